"""The tuning report: what each weight does on the tuning half of the pairings, one changed at a time from what stands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from bench.correlation import pairs
from bench.correlation.datasets import Dataset, datasets

import tocsin.incidents.correlate as engine
from tocsin.detect.alert import Alert
from tocsin.incidents.signature import Signature
from tocsin.incidents.weights import CorrelationSettings

__all__ = ["STEPS", "main", "remember_signatures", "summary", "tried"]

HOUR = timedelta(hours=1)

STEPS: dict[str, tuple[object, ...]] = {
    "grace": (HOUR / 4, HOUR, 2 * HOUR),
    "half_life": (HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR),
    "high_half_life": (3 * HOUR, 24 * HOUR),
    "artefact_half_life": (24 * HOUR, 168 * HOUR),
    "hub_degree": (2, 3, 6, 12),
    "noisy_hosts": (2, 6, 12),
    "noisy_share": (0.3, 0.4, 0.6, 0.7, 1.0),
    "low_share": (0.6, 0.75, 1.0),
    "stranger_share": (0.4, 0.8, 1.0),
    "coincidence": (0.001, 0.002, 0.01, 0.02, 0.05, 0.999),
    "background_alerts": (20, 200, 100_000),
    "next_tactic": (0.0, 10.0),
    "same_rule": (0.0, 10.0),
    "support": (0.0, 10.0, 40.0),
    "anchor": (10.0, 25.0, 35.0),
    "threshold": (35.0, 45.0, 50.0),
}


def tried(made: Sequence[pairs.Pairing]) -> list[tuple[str, str, list[pairs.Result]]]:
    """Every step over the pairings: the setting, its value, the results."""
    found = [("as it stands", "", [pairs.judge(m) for m in made])]
    for name, values in STEPS.items():
        for value in values:
            settings = CorrelationSettings(**{name: value})  # type: ignore[arg-type]
            found.append((name, str(value), [pairs.judge(m, settings) for m in made]))
    return found


def summary(results: Sequence[pairs.Result]) -> tuple[int, int, float, float]:
    """How many are as demanded, how many stay apart, mean share inside, mean share foreign."""
    sides = 2 * len(results)
    inside, foreign = sum(sum(r.inside) for r in results) / sides, sum(sum(r.foreign) for r in results) / sides
    return sum(r.good for r in results), sum(r.apart for r in results), inside, foreign


def remember_signatures() -> None:
    """Makes each alert's signature once for all tries: it doesn't depend on the weights."""
    original = engine.signature
    known: dict[int, tuple[Alert, Signature]] = {}

    def remembered(alert: Alert, links: object) -> Signature:
        held = known.get(id(alert))
        if held is None or held[0] is not alert:
            held = known[id(alert)] = (alert, original(alert, links))  # type: ignore[arg-type]
        return held[1]

    engine.signature = remembered  # type: ignore[assignment]


def pairings(all_of_them: Sequence[Dataset]) -> list[pairs.Pairing]:
    """The twenty pairings; those at even places are for tuning, the others for the report."""
    return [pairs.make(pair, all_of_them, seed) for seed, pair in enumerate(pairs.pairings(all_of_them))]


def main() -> None:
    """Prints the table."""
    remember_signatures()
    made = pairings(datasets())[::2]
    for name, value, results in tried(made):
        good, apart, inside, foreign = summary(results)
        print(
            f"{name:20s} {value:20s} as demanded {good:2d} apart {apart:2d} inside {inside:6.1%} foreign {foreign:6.1%}",
            flush=True,
        )
