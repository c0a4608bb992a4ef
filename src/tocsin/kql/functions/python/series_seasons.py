"""Periods, seasons, forecasts and anomalies of series.

A decomposition is the engine's: the season is the median of each phase, the trend the mean or the line through what is left, and the
anomaly score is Tukey's, scaled between two percentiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tocsin.kql.functions.python.series_fits import straight_line
from tocsin.kql.functions.python.series_values import Array, listed, numbers, usable

__all__ = ["SEASONS"]

_CTUKEY = 2.7726056055079155
"""The range between the 10th and the 90th percentile holds this many units of the `ctukey` score (read from the engine's results)."""


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
    values = usable(series)
    if values is None or not 1 <= count <= 16:
        return None
    found = _detect(values, float(low), float(high), int(count))
    found += [(0.0, 0.0)] * (int(count) - len(found))
    return [[p for p, _ in found], [s for _, s in found]]


def _periods_validate(series: Any, *periods: Any) -> list[Any] | None:
    values = usable(series)
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
    values = usable(series)
    if values is None:
        return None
    if period is None or period < 0:
        found = _detect(values, 4, len(values) / 2, 1)
        period = round(found[0][0]) if found else 0
    period = round(period)
    if not 2 <= period <= len(values):
        return listed(np.zeros(len(values)))
    means = np.array([np.median(values[phase::period]) for phase in range(period)])
    return listed(means[np.arange(len(values)) % period])


def _decomposed(
    series: Any, seasonality: Any, trend: Any, test_points: Any, threshold: Any
) -> tuple[Any, Any, Any, Any] | None:
    """Values, season, trend and baseline."""
    values = usable(series)
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
        slope, interception, _ = straight_line(rest, 0)
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
    return [listed(baseline), listed(season), listed(line), listed(values - baseline)]


def _forecast(
    series: Any, points: Any, seasonality: Any = -1, trend: Any = "linefit", threshold: Any = 0.6
) -> list[Any] | None:
    found = _decomposed(series, seasonality, trend, points, threshold)
    return None if found is None else [listed(found[3])]


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
    values = numbers(series)
    if values is None or len(values) == 0:
        return None
    kept = ~np.isnan(values)
    if ignore is not None:
        kept &= values != float(ignore)
    scores = np.zeros(len(values))
    if kept.any():
        scores[kept] = _tukey(values[kept], str(kind or "ctukey"), float(low), float(high))
    return listed(scores)


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
    return [[int(f) for f in flags], listed(scores), listed(baseline)]


SEASONS: dict[str, Callable[..., Any]] = {
    "series_periods_detect": _periods_detect,
    "series_periods_validate": _periods_validate,
    "series_seasonal": _seasonal,
    "series_decompose": _decompose,
    "series_decompose_forecast": _forecast,
    "series_decompose_anomalies": _anomalies,
    "series_outliers": _outliers,
}
"""By name, a part of `SERIES`."""
