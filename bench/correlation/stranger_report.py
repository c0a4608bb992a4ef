"""The document's section about a stranger's pairings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.correlation import stranger
from bench.correlation.datasets import Dataset

__all__ = ["NUMBER", "SEEDS", "section"]

NUMBER = 30
SEEDS = {
    "known": "seen while correlation was worked on",
    "unseen": "chosen before any of its pairings was made",
}
"""What is published: pairings of two seeds, `NUMBER` of each."""

_STRANGERS = 3
_TOLD = (
    "fleet",
    "hours",
    "noise",
    "users",
    "order",
    "way",
    "shared",
    "of",
    "rows",
    "clocks",
    "names",
    "bursts",
    "attacked",
)


def section(everything: Sequence[Dataset]) -> Iterator[str]:
    """The section: how many are as demanded, by what was drawn, and which aren't."""
    judged = {seed: [stranger.judge(stranger.make(everything, f"{seed}-{n}")) for n in range(NUMBER)] for seed in SEEDS}
    yield "## As a stranger makes them"
    yield ""
    yield from (stranger.__doc__ or "").strip().splitlines()[2:]
    yield ""
    yield "| seed | number | two incidents | as demanded | mean inside | mean foreign | |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for seed, results in judged.items():
        yield f"| {seed} | {_summed(results)} | {SEEDS[seed]} |"
    yield ""
    yield "As demanded, of both seeds together, by what was drawn:"
    yield ""
    yield "| drawn | as demanded |"
    yield "|---|---|"
    every = [r for results in judged.values() for r in results]
    for name in _TOLD:
        cells = []
        for value in stranger.CHOICES[name]:
            some = [r for r in every if r.made.drawn[name] == value]
            if some:
                cells.append(f"{value}: {sum(r.good for r in some)} of {len(some)}")
        yield f"| {name} | {', '.join(cells)} |"
    yield ""
    yield "Those that aren't:"
    yield ""
    for seed, results in judged.items():
        yield from (f"- {seed} {n}: {_told(r)}" for n, r in enumerate(results) if not r.good)
    yield ""


def _summed(results: Sequence[stranger.Judged]) -> str:
    sides = 2 * len(results)
    inside, foreign = sum(sum(r.inside) for r in results) / sides, sum(sum(r.foreign) for r in results) / sides
    good, apart = sum(r.good for r in results), sum(r.apart for r in results)
    return f"{len(results)} | {apart} | {good} | {inside:.1%} | {foreign:.1%}"


def _told(result: stranger.Judged) -> str:
    drawn = ", ".join(f"{name} {result.made.drawn[name]}" for name in _TOLD[:8])
    sides = " and ".join(
        f"{name} ({inside:.0%} inside, {foreign:.0%} foreign)"
        for name, inside, foreign in zip(result.made.names, result.inside, result.foreign, strict=True)
    )
    one = "" if result.apart else "one incident; "
    strangers = "; ".join(s.partition(" (")[0] for s in result.strangers[:_STRANGERS])
    return f"{one}{sides}; {drawn}{'; foreign: ' + strangers if strangers else ''}"
