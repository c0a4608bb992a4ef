"""Functions over series (arrays of numbers): fills, filters, fits, seasons, anomalies. Arguments and results are JSON values.

A decomposition is the engine's: the season is the median of each phase, the trend the mean or the line through what is left, and the
anomaly score is Tukey's, scaled between two percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SERIES"]

Array = npt.NDArray[np.float64]

_CTUKEY = 2.7726056055079155
"""The range between the 10th and the 90th percentile holds this many units of the `ctukey` score (read from the engine's results)."""


def _numbers(series: Any) -> Array | None:
    """The series as reals, what is no number as NaN; None for what is no array."""
    if not isinstance(series, list):
        return None
    return np.array([_real(x) for x in series], dtype=np.float64)


def _real(x: Any) -> float:
    if isinstance(x, bool):
        return float(x)
    if isinstance(x, (int, float)):
        return float(x)
    if isinstance(x, str):
        return {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(x, math.nan)
    return math.nan


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def json_real(x: float) -> float | str:
    """A real as a dynamic holds it."""
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "Infinity" if x > 0 else "-Infinity"
    return float(x)


def _listed(values: Any) -> list[float | str]:
    return [json_real(float(x)) for x in values]


def _usable(series: Any) -> Array | None:
    """A series of numbers for statistics: missing values are 0."""
    values = _numbers(series)
    if values is None or len(values) == 0:
        return None
    return np.nan_to_num(values, nan=0.0)


# ---------------------------------------------------------------------------------------------- element by element


def _unary(operation: Callable[[float], float], *, whole: bool = False) -> Callable[[Any], Any]:
    def apply(series: Any) -> Any:
        if not isinstance(series, list):
            return None
        found: list[Any] = []
        for x in series:
            if not _is_number(x) and x not in ("NaN", "Infinity", "-Infinity"):
                found.append(None)
                continue
            try:
                value = operation(_real(x))
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
            if not (_is_number(x) and _is_number(y)):
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
    a, b = _numbers(left), _numbers(right)
    if a is None or b is None or len(a) != len(b) or np.isnan(a).any() or np.isnan(b).any():
        return None
    return float(np.dot(a, b))


def _magnitude(series: Any) -> float | None:
    a = _numbers(series)
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
    a, b = _numbers(left), _numbers(right)
    if a is None or b is None or len(a) != len(b) or len(a) < 2 or np.isnan(a).any() or np.isnan(b).any():
        return None
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(np.dot(a, a)) * float(np.dot(b, b)))
    return float(np.dot(a, b)) / scale if scale else math.nan


def _sum(series: Any) -> float | None:
    a = _numbers(series)
    return None if a is None or np.isnan(a).any() else float(a.sum())


def _product(series: Any) -> float | None:
    a = _numbers(series)
    return None if a is None or np.isnan(a).any() else float(np.prod(a))


# ---------------------------------------------------------------------------------------------- fills


def _missing(x: Any, placeholder: Any) -> bool:
    return x is None or (placeholder is not None and _is_number(x) and x == placeholder)


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
    known = [i for i, x in enumerate(series) if _is_number(x) and not _missing(x, placeholder)]
    if not known:
        return [float(constant or 0)] * len(series)
    if len(known) == len(series):
        return list(series)
    whole = all(isinstance(series[i], int) for i in known)
    found: list[Any] = list(series)
    for i, x in enumerate(series):
        if i in known or not (_missing(x, placeholder) or not _is_number(x)):
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
    values, taps = _usable(series), _numbers(weights)
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
    return _listed(full[shift : shift + len(values)])


def _iir(series: Any, numerators: Any, denominators: Any) -> Any:
    values, b, a = _usable(series), _numbers(numerators), _numbers(denominators)
    if values is None or b is None or a is None or not len(b) or not len(a) or a[0] == 0:
        return None
    found = np.zeros(len(values))
    for i in range(len(values)):
        total = sum(b[j] * values[i - j] for j in range(min(len(b), i + 1)))
        total -= sum(a[j] * found[i - j] for j in range(1, min(len(a), i + 1)))
        found[i] = total / a[0]
    return _listed(found)


# ---------------------------------------------------------------------------------------------- statistics and fits


def _stats(series: Any, ignore: Any = False) -> list[Any] | None:
    values = _numbers(series)
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


def _line(values: Array, start: int = 1) -> tuple[float, float, Array]:
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
    slope, interception, line = _line(values, start)
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
    values = _usable(series)
    if values is None:
        return None
    found = _fit(values)
    return {**{k: json_real(v) for k, v in found.items() if k != "line_fit"}, "line_fit": _listed(found["line_fit"])}


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
    values = _usable(series)
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
        "line_fit": _listed(line),
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
    if _is_number(x):  # series_fit_poly(y, degree) is not a form of the language, but x may be left out as null
        x, degree = None, x
    values = _usable(series)
    places = _usable(x) if x is not None else None
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
    return [json_real(rsquare), _listed(coefficients[::-1]), json_real(variance), json_real(rest), _listed(fitted)]


def _fft(real: Any, imaginary: Any = None) -> list[Any] | None:
    return _transform(np.fft.fft, real, imaginary)


def _ifft(real: Any, imaginary: Any = None) -> list[Any] | None:
    return _transform(np.fft.ifft, real, imaginary)


def _transform(operation: Callable[[Any], Any], real: Any, imaginary: Any) -> list[Any] | None:
    a, b = _usable(real), _usable(imaginary) if imaginary is not None else None
    if a is None or (imaginary is not None and (b is None or len(a) != len(b))):
        return None
    found = operation(a + 1j * b if b is not None else a)
    return [_listed(found.real), _listed(found.imag)]


# ---------------------------------------------------------------------------------------------- periods and seasons


def _autocorrelation(values: Array) -> Array:
    """The correlation of the series with itself at each lag up to half its length."""
    n = len(values)
    centered = values - values.mean()
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centered, size)
    products = np.fft.irfft(spectrum * np.conj(spectrum), size)[: n // 2 + 1]
    if products[0] <= 1e-12 * max(1.0, float(np.abs(values).max()) ** 2):
        return np.zeros(len(products))
    lags = np.arange(len(products))
    scores: Array = products / products[0] * np.sqrt(n / (n - lags))
    return scores


def _strengths(values: Array) -> Array:
    """The score of each lag as a period: the series' correlation with itself turned round by the lag, where the least one counts 0.

    Kusto does not publish its formula; this one gives the recorded score in all its digits.
    """
    n = len(values)
    spectrum = np.fft.rfft(values - values.mean())
    turned = np.fft.irfft(spectrum * np.conj(spectrum), n)
    least = turned.min()
    strengths: Array = (turned - least) / (turned[0] - least) if turned[0] > least else np.zeros(n)
    return strengths


def _score(scores: Array, strengths: Array, period: float) -> float:
    """The score of a period: of its nearest whole lag, where that is the peak of its neighbourhood."""
    lag = round(period)
    if lag < 4 or lag >= len(scores):
        return 0.0
    reach = max(1, lag // 4)
    if scores[lag] <= 0 or scores[lag] < scores[lag - reach : lag + reach + 1].max():
        return 0.0
    return float(min(max(strengths[lag], 0.0), 1.0))


def _detect(values: Array, low: float, high: float, count: int) -> list[tuple[float, float]]:
    """The best periods, with their scores. A multiple of a better period adds nothing and is left out."""
    if len(values) < 8:
        return []
    scores, strengths = _autocorrelation(values), _strengths(values)
    found = [
        (p, s)
        for p in range(4, len(scores))
        if low <= p <= high and scores[p] > 0.3 and (s := _score(scores, strengths, p)) > 0
    ]
    found.sort(key=lambda item: -item[1])
    kept: list[tuple[float, float]] = []
    for period, score in found:
        if any(_related(period, other) for other, _ in kept):
            continue
        kept.append((float(period), score))
        if len(kept) == count:
            break
    return kept


def _related(period: float, other: float) -> bool:
    ratio = period / other if period > other else other / period
    return abs(ratio - round(ratio)) * min(period, other) <= 1


def _periods_detect(series: Any, low: Any, high: Any, count: Any) -> list[Any] | None:
    values = _usable(series)
    if values is None or not 1 <= count <= 16:
        return None
    found = _detect(values, float(low), float(high), int(count))
    found += [(0.0, 0.0)] * (int(count) - len(found))
    return [[p for p, _ in found], [s for _, s in found]]


def _periods_validate(series: Any, *periods: Any) -> list[Any] | None:
    values = _usable(series)
    if values is None:
        return None
    if len(values) < 8:
        return [[float(p) for p in periods], [0.0] * len(periods)]
    scores, strengths = _autocorrelation(values), _strengths(values)
    return [
        [float(p) for p in periods],
        [_score(scores, strengths, float(p)) if p <= len(values) / 2 else 0.0 for p in periods],
    ]


def _season(values: Array, learned: int, seasonality: float, threshold: float) -> Array:
    """The seasonal part: the median of each phase over the points that are learned from."""
    size = len(values)
    if seasonality == 0:
        return np.zeros(size)
    if seasonality < 0:
        found = _detect(values[:learned], 4, learned / 2, 1)
        if not found or found[0][1] < threshold:
            return np.zeros(size)
        seasonality = found[0][0]
    period = round(seasonality)
    if period < 2 or period > learned:
        return np.zeros(size)
    phases = np.array([np.median(values[phase:learned:period]) for phase in range(period)])
    repeated: Array = phases[np.arange(size) % period]
    return repeated


def _seasonal(series: Any, period: Any = -1) -> Any:
    values = _usable(series)
    if values is None:
        return None
    if period is None or period < 0:
        found = _detect(values, 4, len(values) / 2, 1)
        period = round(found[0][0]) if found else 0
    period = round(period)
    if not 2 <= period <= len(values):
        return _listed(np.zeros(len(values)))
    means = np.array([np.median(values[phase::period]) for phase in range(period)])
    return _listed(means[np.arange(len(values)) % period])


def _decomposed(
    series: Any, seasonality: Any, trend: Any, test_points: Any, threshold: Any
) -> tuple[Any, Any, Any, Any] | None:
    """Values, season, trend and baseline."""
    values = _usable(series)
    if values is None:
        return None
    learned = len(values) - max(0, int(test_points or 0))
    if learned < 1:
        return None
    season = _season(
        values,
        learned,
        float(-1 if seasonality is None else seasonality),
        float(0.6 if threshold is None else threshold),
    )
    rest = (values - season)[:learned]
    kind = str(trend or "avg").lower()
    if kind == "linefit":
        slope, interception, _ = _line(rest, 0)
        line = slope * np.arange(len(values)) + interception
    elif kind == "avg":
        line = np.full(len(values), float(rest.mean()))
    else:
        line = np.zeros(len(values))
    return values, season, line, season + line


def _decompose(
    series: Any, seasonality: Any = -1, trend: Any = "avg", test_points: Any = 0, threshold: Any = 0.6
) -> list[Any] | None:
    found = _decomposed(series, seasonality, trend, test_points, threshold)
    if found is None:
        return None
    values, season, line, baseline = found
    return [_listed(baseline), _listed(season), _listed(line), _listed(values - baseline)]


def _forecast(
    series: Any, points: Any, seasonality: Any = -1, trend: Any = "linefit", threshold: Any = 0.6
) -> list[Any] | None:
    found = _decomposed(series, seasonality, trend, points, threshold)
    return None if found is None else [_listed(found[3])]


def _tukey(values: Array, kind: str, low: float = 10, high: float = 90) -> Array:
    """The outlier score: 0 between the percentiles, else the distance from the nearer one in units of the range."""
    if kind.lower() == "tukey":
        low, high, unit = 25.0, 75.0, 1.0
    else:
        unit = _CTUKEY
    bottom, top = np.percentile(values, [low, high])
    span = (top - bottom) / unit
    if span == 0:
        return np.where(values > top, np.inf, np.where(values < bottom, -np.inf, 0.0))
    over, under = np.maximum(values - top, 0.0), np.minimum(values - bottom, 0.0)
    scores: Array = (over + under) / span
    return scores


def _outliers(series: Any, kind: Any = "ctukey", ignore: Any = None, low: Any = 10, high: Any = 90) -> Any:
    values = _numbers(series)
    if values is None or len(values) == 0:
        return None
    kept = ~np.isnan(values)
    if ignore is not None:
        kept &= values != float(ignore)
    scores = np.zeros(len(values))
    if kept.any():
        scores[kept] = _tukey(values[kept], str(kind or "ctukey"), float(low), float(high))
    return _listed(scores)


def _anomalies(
    series: Any,
    threshold: Any = 1.5,
    seasonality: Any = -1,
    trend: Any = "avg",
    test_points: Any = 0,
    method: Any = "ctukey",
    seasonality_threshold: Any = 0.6,
) -> list[Any] | None:
    found = _decomposed(series, seasonality, trend, test_points, seasonality_threshold)
    if found is None:
        return None
    values, _, _, baseline = found
    scores = _tukey(values - baseline, str(method or "ctukey"))
    limit = float(1.5 if threshold is None else threshold)
    flags = np.where(scores > limit, 1, np.where(scores < -limit, -1, 0))
    return [[int(f) for f in flags], _listed(scores), _listed(baseline)]


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
    "series_stats": _stats,
    "series_stats_dynamic": _stats_dynamic,
    "series_fit_line": _fit_line,
    "series_fit_line_dynamic": _fit_line_dynamic,
    "series_fit_2lines": _fit_2lines,
    "series_fit_2lines_dynamic": _fit_2lines_dynamic,
    "series_fit_poly": _fit_poly,
    "series_fft": _fft,
    "series_ifft": _ifft,
    "series_periods_detect": _periods_detect,
    "series_periods_validate": _periods_validate,
    "series_seasonal": _seasonal,
    "series_decompose": _decompose,
    "series_decompose_forecast": _forecast,
    "series_decompose_anomalies": _anomalies,
    "series_outliers": _outliers,
}
"""By name: what the UDF ``k_call`` runs."""
