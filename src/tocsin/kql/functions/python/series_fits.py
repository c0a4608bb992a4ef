"""Statistics, fits and Fourier transforms of series."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tocsin.kql.functions.python.series_values import Array, is_number, json_real, listed, numbers, usable

__all__ = ["FITS", "straight_line"]


def _stats(series: Any, ignore: Any = False) -> list[Any] | None:
    values = numbers(series)
    if values is None or len(values) == 0:
        return None
    if ignore:
        kept = np.isfinite(values)
        if not kept.any():
            return None
    else:
        kept = np.ones(len(values), dtype=bool)
        if not np.isfinite(values).all():
            return [None] * 9
    places = np.flatnonzero(kept)
    found = values[kept]
    low, high = int(np.argmin(found)), int(np.argmax(found))
    variance = float(found.var(ddof=1)) if len(found) > 1 else 0.0
    return [
        float(found[low]),
        int(places[low]),
        float(found[high]),
        int(places[high]),
        float(found.mean()),
        math.sqrt(variance),
        variance,
        float(found.sum()),
        len(found),
    ]


_STATS = ("min", "min_idx", "max", "max_idx", "avg", "stdev", "variance", "sum", "len")


def _stats_dynamic(series: Any, ignore: Any = False) -> dict[str, Any] | None:
    found = _stats(series, ignore)
    return None if found is None else dict(zip(_STATS, found, strict=True))


def straight_line(values: Array, start: int = 1) -> tuple[float, float, Array]:
    """Slope, interception (the series counts from `start`) and the fitted line."""
    x = np.arange(start, start + len(values), dtype=np.float64)
    centered = x - x.mean()
    spread = float(np.dot(centered, centered))
    slope = float(np.dot(centered, values - values.mean())) / spread if spread else 0.0
    interception = float(values.mean()) - slope * float(x.mean())
    return slope, interception, slope * x + interception


def _variance(values: Array) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def _fit(values: Array, start: int = 1) -> dict[str, Any]:
    slope, interception, line = straight_line(values, start)
    variance, rest = _variance(values), _variance(values - line)
    return {
        "rsquare": 1 - rest / variance if variance else (1.0 if rest == 0 else 0.0),
        "slope": slope,
        "variance": variance,
        "rvariance": rest,
        "interception": interception,
        "line_fit": line,
    }


def _fit_line_dynamic(series: Any) -> dict[str, Any] | None:
    values = usable(series)
    if values is None:
        return None
    found = _fit(values)
    return {**{k: json_real(v) for k, v in found.items() if k != "line_fit"}, "line_fit": listed(found["line_fit"])}


def _fit_line(series: Any) -> list[Any] | None:
    found = _fit_line_dynamic(series)
    return None if found is None else list(found.values())


def _split_errors(values: Array) -> Any:
    """For every split, the squared errors left by a line on each side; from running sums, so that long series are quick."""
    n = len(values)
    x = np.arange(n, dtype=np.float64)
    sums = [np.concatenate(([0.0], np.cumsum(s))) for s in (x, values, x * x, x * values, values * values)]

    def error(first: Any, last: Any) -> Any:
        count = (last - first).astype(np.float64)
        sx, sy, sxx, sxy, syy = (s[last] - s[first] for s in sums)
        vx, vy, cxy = sxx - sx * sx / count, syy - sy * sy / count, sxy - sx * sy / count
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.maximum(vy - np.where(vx > 0, cxy * cxy / np.where(vx > 0, vx, 1), 0.0), 0.0)

    splits = np.arange(1, n)
    return error(np.zeros_like(splits), splits) + error(splits, np.full_like(splits, n))


def _fit_2lines_dynamic(series: Any) -> dict[str, Any] | None:
    values = usable(series)
    if values is None or len(values) < 3:
        return None
    split = int(np.argmin(_split_errors(values))) + 1
    left, right = _fit(values[:split]), _fit(values[split:], split + 1)
    line = np.concatenate((left["line_fit"], right["line_fit"]))
    variance, rest = _variance(values), _variance(values - line)
    keys = ("rsquare", "slope", "interception", "variance", "rvariance")
    return {
        "rsquare": json_real(1 - rest / variance if variance else 1.0),
        "split_idx": split,
        "variance": json_real(variance),
        "rvariance": json_real(rest),
        "line_fit": listed(line),
        "right": {k: json_real(right[k]) for k in keys},
        "left": {k: json_real(left[k]) for k in keys},
    }


def _fit_2lines(series: Any) -> list[Any] | None:
    found = _fit_2lines_dynamic(series)
    if found is None:
        return None
    head = [found[k] for k in ("rsquare", "split_idx", "variance", "rvariance", "line_fit")]
    return [*head, *found["right"].values(), *found["left"].values()]


def _fit_poly(series: Any, x: Any = None, degree: Any = 3) -> list[Any] | None:
    if is_number(x):  # series_fit_poly(y, degree) is not a form of the language, but x may be left out as null
        x, degree = None, x
    values = usable(series)
    places = usable(x) if x is not None else None
    if values is None or (x is not None and (places is None or len(places) != len(values))):
        return None
    if places is None:
        places = np.arange(len(values), dtype=np.float64)
    degree = int(degree)
    if not 1 <= degree <= min(10, len(values) - 1):
        return None
    try:
        coefficients = np.polynomial.polynomial.Polynomial.fit(places, values, degree).convert().coef
    except np.linalg.LinAlgError:
        return None
    coefficients = np.concatenate((coefficients, np.zeros(degree + 1 - len(coefficients))))
    fitted = np.polynomial.polynomial.polyval(places, coefficients)
    variance, rest = _variance(values), _variance(values - fitted)
    rsquare = 1 - rest / variance if variance else 1.0
    return [json_real(rsquare), listed(coefficients[::-1]), json_real(variance), json_real(rest), listed(fitted)]


def _fft(real: Any, imaginary: Any = None) -> list[Any] | None:
    return _transform(np.fft.fft, real, imaginary)


def _ifft(real: Any, imaginary: Any = None) -> list[Any] | None:
    return _transform(np.fft.ifft, real, imaginary)


def _transform(operation: Callable[[Any], Any], real: Any, imaginary: Any) -> list[Any] | None:
    a, b = usable(real), usable(imaginary) if imaginary is not None else None
    if a is None or (imaginary is not None and (b is None or len(a) != len(b))):
        return None
    found = operation(a + 1j * b if b is not None else a)
    return [listed(found.real), listed(found.imag)]


FITS: dict[str, Callable[..., Any]] = {
    "series_stats": _stats,
    "series_stats_dynamic": _stats_dynamic,
    "series_fit_line": _fit_line,
    "series_fit_line_dynamic": _fit_line_dynamic,
    "series_fit_2lines": _fit_2lines,
    "series_fit_2lines_dynamic": _fit_2lines_dynamic,
    "series_fit_poly": _fit_poly,
    "series_fft": _fft,
    "series_ifft": _ifft,
}
"""By name, a part of `SERIES`."""
