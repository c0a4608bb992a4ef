"""Functions over series (arrays of numbers), element by element and as a whole. Arguments and results are JSON values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tocsin.kql.functions.python.series_fits import FITS
from tocsin.kql.functions.python.series_seasons import SEASONS
from tocsin.kql.functions.python.series_values import is_number, json_real, listed, numbers, real, usable

__all__ = ["SERIES"]


# ---------------------------------------------------------------------------------------------- element by element


def _unary(operation: Callable[[float], float], *, whole: bool = False) -> Callable[[Any], Any]:
    def apply(series: Any) -> Any:
        if not isinstance(series, list):
            return None
        found: list[Any] = []
        for x in series:
            if not is_number(x) and x not in ("NaN", "Infinity", "-Infinity"):
                found.append(None)
                continue
            try:
                value = operation(real(x))
            except (ValueError, OverflowError):
                value = math.nan
            found.append(int(value) if whole and isinstance(x, int) else json_real(value))
        return found

    return apply


def _binary(operation: Callable[[float, float], Any], *, whole: bool = False) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        if not isinstance(left, list) and not isinstance(right, list):
            return None
        size = max(len(s) for s in (left, right) if isinstance(s, list))
        a = left if isinstance(left, list) else [left] * size
        b = right if isinstance(right, list) else [right] * size
        found: list[Any] = []
        for i in range(size):
            x: Any = a[i] if i < len(a) else None
            y: Any = b[i] if i < len(b) else None
            if not (is_number(x) and is_number(y)):
                found.append(None)
                continue
            try:
                value = operation(x, y)
            except ZeroDivisionError:
                value = math.nan if x == 0 else math.copysign(math.inf, x)
            except (ValueError, OverflowError):
                value = math.nan
            if isinstance(value, bool):
                found.append(value)
            elif whole and isinstance(x, int) and isinstance(y, int):
                found.append(int(value))
            else:
                found.append(json_real(float(value)))
        return found

    return apply


# ---------------------------------------------------------------------------------------------- one number


def _dot(left: Any, right: Any) -> float | None:
    a, b = numbers(left), numbers(right)
    if a is None or b is None or len(a) != len(b) or np.isnan(a).any() or np.isnan(b).any():
        return None
    return float(np.dot(a, b))


def _magnitude(series: Any) -> float | None:
    a = numbers(series)
    return None if a is None or np.isnan(a).any() else float(math.sqrt(float(np.dot(a, a))))


def _cosine(left: Any, right: Any, left_size: Any = None, right_size: Any = None) -> float | None:
    dot = _dot(left, right)
    sizes = (
        (left_size if left_size is not None else _magnitude(left)),
        (right_size if right_size is not None else _magnitude(right)),
    )
    if dot is None or sizes[0] is None or sizes[1] is None or not sizes[0] * sizes[1]:
        return None if dot is None else math.nan
    return dot / (float(sizes[0]) * float(sizes[1]))


def _pearson(left: Any, right: Any) -> float | None:
    a, b = numbers(left), numbers(right)
    if a is None or b is None or len(a) != len(b) or len(a) < 2 or np.isnan(a).any() or np.isnan(b).any():
        return None
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(np.dot(a, a)) * float(np.dot(b, b)))
    return float(np.dot(a, b)) / scale if scale else math.nan


def _sum(series: Any) -> float | None:
    a = numbers(series)
    return None if a is None or np.isnan(a).any() else float(a.sum())


def _product(series: Any) -> float | None:
    a = numbers(series)
    return None if a is None or np.isnan(a).any() else float(np.prod(a))


# ---------------------------------------------------------------------------------------------- fills


def _missing(x: Any, placeholder: Any) -> bool:
    return x is None or (placeholder is not None and is_number(x) and x == placeholder)


def _forward(series: Any, placeholder: Any = None) -> Any:
    if not isinstance(series, list):
        return None
    found: list[Any] = []
    for x in series:
        found.append(found[-1] if found and _missing(x, placeholder) else x)
    return found


def _backward(series: Any, placeholder: Any = None) -> Any:
    return None if not isinstance(series, list) else _forward(series[::-1], placeholder)[::-1]


def _constant(series: Any, value: Any, placeholder: Any = None) -> Any:
    return None if not isinstance(series, list) else [value if _missing(x, placeholder) else x for x in series]


def _linear(series: Any, placeholder: Any = None, edges: Any = True, constant: Any = 0) -> Any:
    if not isinstance(series, list):
        return None
    known = [i for i, x in enumerate(series) if is_number(x) and not _missing(x, placeholder)]
    if not known:
        return [float(constant or 0)] * len(series)
    if len(known) == len(series):
        return list(series)
    whole = all(isinstance(series[i], int) for i in known)
    found: list[Any] = list(series)
    for i, x in enumerate(series):
        if i in known or not (_missing(x, placeholder) or not is_number(x)):
            continue
        left = max((k for k in known if k < i), default=None)
        right = min((k for k in known if k > i), default=None)
        if left is None or right is None:
            nearest = right if left is None else left
            found[i] = series[nearest] if edges and nearest is not None else x
        else:
            step = (series[right] - series[left]) / (right - left)
            found[i] = series[left] + step * (i - left)
            if whole:
                found[i] = math.trunc(found[i])
    return found


# ---------------------------------------------------------------------------------------------- filters


def _fir(series: Any, weights: Any, normalize: Any = None, center: Any = False) -> Any:
    values, taps = usable(series), numbers(weights)
    if values is None or taps is None or not 0 < len(taps) < 1024 or np.isnan(taps).any():
        return None
    negative = bool((taps < 0).any())
    scaled = not negative if normalize is None else bool(normalize)
    if scaled:
        if negative or not taps.sum():
            return None
        taps = taps / taps.sum()
    shift = len(taps) // 2 if center else 0
    full = np.convolve(values, taps)
    return listed(full[shift : shift + len(values)])


def _iir(series: Any, numerators: Any, denominators: Any) -> Any:
    values, b, a = usable(series), numbers(numerators), numbers(denominators)
    if values is None or b is None or a is None or not len(b) or not len(a) or a[0] == 0:
        return None
    found = np.zeros(len(values))
    for i in range(len(values)):
        total = sum(b[j] * values[i - j] for j in range(min(len(b), i + 1)))
        total -= sum(a[j] * found[i - j] for j in range(1, min(len(a), i + 1)))
        found[i] = total / a[0]
    return listed(found)


def _sign(x: float) -> float:
    return (x > 0) - (x < 0) if x == x else x


SERIES: dict[str, Callable[..., Any]] = {
    "series_abs": _unary(abs),
    "series_acos": _unary(math.acos),
    "series_asin": _unary(math.asin),
    "series_atan": _unary(math.atan),
    "series_ceiling": _unary(lambda x: float(math.ceil(x))),
    "series_cos": _unary(math.cos),
    "series_exp": _unary(math.exp),
    "series_floor": _unary(lambda x: float(math.floor(x))),
    "series_log": _unary(lambda x: -math.inf if x == 0 else math.log(x)),
    "series_sign": _unary(_sign, whole=True),
    "series_sin": _unary(math.sin),
    "series_tan": _unary(math.tan),
    "series_add": _binary(lambda x, y: x + y, whole=True),
    "series_subtract": _binary(lambda x, y: x - y, whole=True),
    "series_multiply": _binary(lambda x, y: x * y, whole=True),
    "series_divide": _binary(lambda x, y: x / y),
    "series_pow": _binary(lambda x, y: math.pow(x, y)),
    "series_equals": _binary(lambda x, y: x == y),
    "series_not_equals": _binary(lambda x, y: x != y),
    "series_greater": _binary(lambda x, y: x > y),
    "series_greater_equals": _binary(lambda x, y: x >= y),
    "series_less": _binary(lambda x, y: x < y),
    "series_less_equals": _binary(lambda x, y: x <= y),
    "series_dot_product": _dot,
    "series_magnitude": _magnitude,
    "series_cosine_similarity": _cosine,
    "series_pearson_correlation": _pearson,
    "series_sum": _sum,
    "series_product": _product,
    "series_fill_forward": _forward,
    "series_fill_backward": _backward,
    "series_fill_const": _constant,
    "series_fill_linear": _linear,
    "series_fir": _fir,
    "series_iir": _iir,
    **FITS,
    **SEASONS,
}
"""By name: what the UDF ``k_call`` runs."""
