"""How often completion offers what an author really wrote next: ``python -m tests.kql.completion_quality [--queries N] [--show N]``.

For each word of a query that names something (operator, table, column, function, variable, setting, choice, keyword) the text is cut
before it, or after its first letters, and completion is asked. Words that the author invents there (new columns, lets, properties of a
dynamic value) can't be known and are left out.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.kql.trees import corpus
from tocsin.kql.language import completion
from tocsin.kql.lexer import NAME, STRING, tokenize
from tocsin.kql.parser import OPERATORS, parse
from tocsin.kql.types import Catalog

_SETTINGS = {name for info in OPERATORS.values() for name in info.settings}
_DECLARE = {"let", "as", "step"}


@dataclass
class Quality:
    """What was asked and what was offered. `found[k]`: the word was offered after its first k letters."""

    asked: int = 0
    found: collections.Counter[int] = field(default_factory=collections.Counter)
    first: collections.Counter[int] = field(default_factory=collections.Counter)
    missed: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: list[tuple[float, int]] = field(default_factory=list)

    def share(self, letters: int) -> float:
        """Part of the words that were offered after so many letters."""
        return self.found[letters] / max(self.asked, 1)


def words(text: str) -> Iterator[tuple[int, int]]:
    """Offset of each word of a query that names what exists, and of its end."""
    tokens = tokenize(text)
    kinds, values = tokens.kinds, tokens.values
    for k, kind in enumerate(kinds[:-1]):
        value, after = values[k], values[k + 1]
        before = values[k - 1] if k else ""
        if kind != NAME or "\n" in value:
            continue
        hyphen_before = (
            before == "-" and k and tokens.ends[k - 1] == tokens.starts[k] and k > 1 and kinds[k - 2] == NAME
        )
        if hyphen_before and tokens.ends[k - 2] == tokens.starts[k - 1]:
            continue  # the second half of mv-expand, or a difference written without blanks
        if before in (".", "?.") and values[k - 2] not in ("$left", "$right"):
            continue
        if before in _DECLARE or after == ":" or (before == ":" and after in (":", "*")):
            continue
        if after == "=" and value not in _SETTINGS:
            continue
        if before == "*" or after == "*" or (kinds[k - 1] == STRING and after in ("*", "|", ";", "") and k):
            continue  # parse's columns between patterns, wildcards
        end = tokens.ends[k]
        j = k
        while (
            values[j + 1] == "-"
            and kinds[j + 2] == NAME
            and tokens.ends[j] == tokens.starts[j + 1]
            and tokens.ends[j + 1] == tokens.starts[j + 2]
        ):
            j += 2
            end = tokens.ends[j]
        if j > k and before not in ("|", "(", ""):
            end = tokens.ends[k]
        yield tokens.starts[k], end


def measure(cases: list[dict], catalog: Catalog, letters: tuple[int, ...], positions: int, seed: int) -> Quality:
    """Asks at up to `positions` words of each query."""
    chance = random.Random(seed)
    quality = Quality()
    for case in cases:
        text = case["query"]
        places = list(words(text))
        for start, end in chance.sample(places, min(positions, len(places))):
            quality.asked += 1
            wanted = text[start:end]
            for count in letters:
                typed = min(count, end - start)
                began = time.process_time()
                offered = completion(text[: start + typed], start + typed, catalog)
                quality.seconds.append((time.process_time() - began, len(text)))
                names = [item.label.lower() for item in offered]
                hit = [
                    i for i, name in enumerate(names) if name == wanted.lower() or name.split(" ")[0] == wanted.lower()
                ]
                if hit:
                    quality.found[count] += 1
                    quality.first[count] += hit[0] < 10
                elif count == letters[-1]:
                    quality.missed.append((case["id"], wanted, text[max(0, start - 70) : start].replace("\n", " ⏎ ")))
    return quality


def main() -> int:
    """Measures over a sample and prints it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--positions", type=int, default=10)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--show", type=int, default=0)
    args = parser.parse_args()
    from tocsin.cli.kql_engine import CaseEngine

    everything = corpus("kql-hunting")
    good = []
    for case in random.Random(args.seed).sample(everything, min(len(everything), args.queries)):
        try:
            parse(case["query"])
        except Exception:
            continue
        good.append(case)
    with CaseEngine() as engine:
        quality = measure(good, engine.catalog, (0, 1, 2), args.positions, args.seed)
    for count in (0, 1, 2):
        offered, early = 100 * quality.share(count), 100 * quality.first[count] / max(quality.asked, 1)
        print(f"after {count} letters: {offered:.1f} % offered, {early:.1f} % among the first ten")
    times = sorted(1000 * t for t, _ in quality.seconds)
    middle, late = times[len(times) // 2], times[int(len(times) * 0.95)]
    print(
        f"{quality.asked} words of {len(good)} queries; CPU ms median {middle:.1f}, p95 {late:.1f}, worst {times[-1]:.1f}"
    )
    for miss in quality.missed[: args.show]:
        print(miss)
    return 0


if __name__ == "__main__":
    sys.exit(main())
