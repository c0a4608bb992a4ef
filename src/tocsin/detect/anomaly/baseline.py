"""The statistics: medians, and answers that are null where there is too little to say anything."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Spread", "rarity", "score_of", "spread_of"]

_NORMAL = 1.4826
"""What a median absolute deviation is multiplied with to be a normal distribution's standard deviation."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and median absolute deviation of so many values."""

    median: float
    mad: float
    count: int

    @property
    def scale(self) -> float:
        """One deviation. Counts scatter by the root of their size at least, and by one: equal values all along don't make the next one strange."""
        return max(_NORMAL * self.mad, math.sqrt(max(0.0, self.median)), 1.0)

    def deviations(self, value: float) -> float:
        """How many deviations a value is above the median (below: negative)."""
        return (value - self.median) / self.scale


def spread_of(values: Sequence[float], least: int) -> Spread | None:
    """The spread of values, None for fewer than `least`."""
    if len(values) < max(1, least):
        return None
    median = statistics.median(values)
    return Spread(median, statistics.median(abs(v - median) for v in values), len(values))


def rarity(count: int, total: int) -> float:
    """The share of a term, 0 for one never seen."""
    return count / total if total else 0.0


def score_of(weights: Iterable[float]) -> float:
    """Independent reasons as one score from 0 to 1: each makes the rest of the way shorter by its weight."""
    left = 1.0
    for weight in weights:
        left *= 1.0 - min(1.0, max(0.0, weight))
    return 1.0 - left
