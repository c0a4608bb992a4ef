"""Patterns of attributes that many rows share: the search behind basket, autocluster and diffpatterns.

Rows come coded: a small number for each frequent value of each column, 0 for all others, and rows of the same codes as one with
their weights summed up. What is searched are **closed** patterns: those that can't be made more specific without losing rows. Each is found
through one of its generators (values of which each loses rows), which is also what limits its dimensions: values that
come along with others do not count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.kql.functions.model import Udf

__all__ = ["UDFS", "Pattern", "TooManyPatternsError", "autocluster", "basket", "closed_patterns", "diffpatterns"]

NODE_LIMIT = 50_000
"""Patterns that a search may look at."""
WORK_LIMIT = 3_000_000_000
"""Cells that a search may read: some seconds."""

Array = Any


class TooManyPatternsError(Exception):
    """The rows have more frequent patterns than a search may look at."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The code of each column (0: any value) and the weights of the rows that have it, in two sets."""

    codes: tuple[int, ...]
    a: float
    b: float

    def within(self, other: Pattern) -> bool:
        """True when `other` says all that this pattern says."""
        return all(x in (0, y) for x, y in zip(self.codes, other.codes, strict=True))

    def related(self, other: Pattern) -> bool:
        """True when one of both is more specific than the other."""
        return self.within(other) or other.within(self)


def closed_patterns(
    codes: Array, a: Array, b: Array, frequent: Callable[[Array, Array], Array], dimensions: int
) -> list[Pattern]:
    """All closed patterns whose weights are `frequent` and that some generator of at most `dimensions` values gives.

    Args:
        codes: rows by columns.
        a, b: the rows' weights in both sets.
        frequent: of arrays of weights, which are enough; must not grow true for fewer rows.
        dimensions: the most values of a generator.

    Raises:
        TooManyPatternsError: there are more than a search may look at.
    """
    rows, width = codes.shape
    found: dict[tuple[int, ...], Pattern] = {}
    seen: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    work = nodes = 0
    stack: list[tuple[Array, int, int]] = [(np.arange(rows), -1, 0)]
    while stack:
        members, last, depth = stack.pop()
        part = codes[members]
        nodes += 1
        work += part.size
        if nodes > NODE_LIMIT or work > WORK_LIMIT:
            raise TooManyPatternsError
        low = part.min(axis=0)
        closure = np.where(low == part.max(axis=0), low, 0)
        key = tuple(closure.tolist())
        weight_a, weight_b = a[members], b[members]
        if key not in found:
            found[key] = Pattern(key, float(weight_a.sum()), float(weight_b.sum()))
        visits = seen.setdefault(key, [])
        if any(before <= last and shallower <= depth for before, shallower in visits):
            continue
        visits.append((last, depth))
        if depth >= dimensions:
            continue
        for column in range(last + 1, width):
            if closure[column]:
                continue
            values = part[:, column]
            enough = frequent(np.bincount(values, weights=weight_a), np.bincount(values, weights=weight_b))
            stack.extend((members[values == v], column, depth + 1) for v in np.flatnonzero(enough) if v)
    return [p for p in found.values() if any(p.codes)]


def _apart(patterns: list[Pattern], limit: int) -> list[Pattern]:
    """The first patterns, without those that say more or less of the same as one before."""
    chosen: list[Pattern] = []
    for pattern in patterns:
        if len(chosen) >= limit:
            break
        if not any(pattern.related(c) for c in chosen):
            chosen.append(pattern)
    return chosen


def basket(codes: Array, a: Array, b: Array, options: list[float]) -> list[Pattern]:
    """All closed patterns of at least a share of the rows, the most frequent first. Options: threshold, dimensions."""
    least = options[0] * a.sum()
    patterns = closed_patterns(codes, a, b, lambda x, _: x >= least, int(options[1]))
    return sorted((p for p in patterns if p.a >= least), key=lambda p: (-p.a, p.codes))


def autocluster(codes: Array, a: Array, b: Array, options: list[float]) -> list[Pattern]:
    """A few patterns that cover much and say much. Options: least share, dimensions, the weight of covering, the most patterns.

    The score is the weighted geometric mean of the share of rows and of the pattern's information, the bits of its values on their own.
    """
    total = a.sum()
    least = options[0] * total
    bits = []
    for column in range(codes.shape[1]):
        share = np.bincount(codes[:, column], weights=a) / total
        bits.append(-np.log2(np.clip(share, 1e-12, 1.0)))
    patterns = closed_patterns(codes, a, b, lambda x, _: x >= least, int(options[1]))

    def score(pattern: Pattern) -> float:
        told = sum(float(bits[c][code]) for c, code in enumerate(pattern.codes) if code)
        return float((pattern.a / total) ** options[2] * told ** (1 - options[2])) if told > 0 else 0.0

    ranked = sorted((p for p in patterns if p.a >= least), key=lambda p: (-score(p), -p.a, p.codes))
    return _apart(ranked, int(options[3]))


def diffpatterns(codes: Array, a: Array, b: Array, options: list[float]) -> list[Pattern]:
    """Patterns whose shares of both sets differ most, without those that say more or less of the same. Options: threshold, dimensions."""
    threshold = options[0]
    total_a, total_b = max(a.sum(), 1e-300), max(b.sum(), 1e-300)
    patterns = closed_patterns(
        codes, a, b, lambda x, y: np.maximum(x / total_a, y / total_b) >= threshold, int(options[1])
    )

    def difference(pattern: Pattern) -> float:
        return abs(float(pattern.a / total_a - pattern.b / total_b))

    ranked = sorted(
        (p for p in patterns if difference(p) >= threshold), key=lambda p: (-difference(p), -p.a - p.b, p.codes)
    )
    return _apart(ranked, NODE_LIMIT)


_SEARCHES = {"basket": basket, "autocluster": autocluster, "diffpatterns": diffpatterns}


def _search(name: str, codes: Array, a: Array, b: Array, options: list[float]) -> list[float]:
    if not len(a):
        return []
    table = codes.reshape(len(a), -1)
    try:
        patterns = _SEARCHES[name](table, a, b, options)
    except TooManyPatternsError:
        return [-1.0]
    return [x for p in patterns for x in (*map(float, p.codes), p.a, p.b)]


def _patterns(names: pa.Array, codes: pa.Array, a: pa.Array, b: pa.Array, options: pa.Array) -> pa.Array:
    found: list[list[float]] = []
    for i, name in enumerate(names.to_pylist()):
        lists = [x[i].values for x in (codes, a, b)]
        if any(x is None for x in lists):
            found.append([])
            continue
        numbers = [x.to_numpy(zero_copy_only=False) for x in lists]
        found.append(_search(name, numbers[0].astype(np.int32), numbers[1], numbers[2], options[i].as_py()))
    return pa.array(found, pa.list_(pa.float64()))


UDFS: tuple[Udf, ...] = (
    Udf("k_patterns", ("VARCHAR", "BIGINT[]", "DOUBLE[]", "DOUBLE[]", "DOUBLE[]"), "DOUBLE[]", _patterns),
)
