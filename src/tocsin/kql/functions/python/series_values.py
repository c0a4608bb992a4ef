"""Series as arrays of reals, and back as a dynamic holds them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "is_number", "json_real", "listed", "numbers", "real", "usable"]

Array = npt.NDArray[np.float64]


def numbers(series: Any) -> Array | None:
    """The series as reals, what is no number as NaN; None for what is no array."""
    if not isinstance(series, list):
        return None
    return np.array([real(x) for x in series], dtype=np.float64)


def real(x: Any) -> float:
    """A JSON value as a real; NaN for what is no number."""
    if isinstance(x, bool):
        return float(x)
    if isinstance(x, (int, float)):
        return float(x)
    if isinstance(x, str):
        return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(x, math.nan)
    return math.nan


def is_number(x: Any) -> bool:
    """Whether a JSON value is a number; true and false are none."""
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def json_real(x: float) -> float | str:
    """A real as a dynamic holds it."""
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "Infinity" if x > 0 else "-Infinity"
    return float(x)


def listed(values: Any) -> list[float | str]:
    """Reals as a dynamic array holds them."""
    return [json_real(float(x)) for x in values]


def usable(series: Any) -> Array | None:
    """A series of numbers for statistics: missing values are 0."""
    values = numbers(series)
    if values is None or len(values) == 0:
        return None
    return np.nan_to_num(values, nan=0.0)
