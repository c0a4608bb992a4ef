"""Special functions of mathematics and weighted percentiles."""

from __future__ import annotations

import math

from tocsin.kql.functions.model import Udf
from tocsin.kql.functions.python.define import each

__all__ = ["UDFS", "beta_cdf"]


def gamma(x: float) -> float:
    """The gamma function; infinite where it overflows, NaN at its poles."""
    try:
        return math.gamma(x)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def loggamma(x: float) -> float:
    """The logarithm of |gamma|."""
    try:
        return math.lgamma(x)
    except (OverflowError, ValueError):
        return math.inf


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    result = d
    for m in range(1, 500):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + numerator * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + numerator / c
            c = c if abs(c) > tiny else tiny
            result *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return result


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function; NaN for parameters that are not positive."""
    if not (a > 0 and b > 0 and 0 <= x <= 1):
        return math.nan
    if x in (0, 1):
        return x
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def beta_inv(p: float, a: float, b: float) -> float | None:
    """The x whose beta_cdf is p, by bisection to the last digit; null for what is no probability."""
    if not 0 <= p <= 1:
        return None
    if not (a > 0 and b > 0):
        return math.nan
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if beta_cdf(middle, a, b) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def beta_pdf(x: float, a: float, b: float) -> float:
    """The density of the beta distribution."""
    if not (a > 0 and b > 0 and 0 <= x <= 1):
        return math.nan
    if x in (0, 1):
        return 0.0
    return math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x)
    )


def welch_test(m1: float, v1: float, c1: float, m2: float, v2: float, c2: float) -> float | None:
    """The p-value of Welch's t-test from means, variances and counts of two samples."""
    if c1 < 2 or c2 < 2 or v1 < 0 or v2 < 0:
        return None
    a, b = v1 / c1, v2 / c2
    if a + b == 0:
        return 1.0 if m1 == m2 else 0.0
    t = (m1 - m2) ** 2 / (a + b)
    freedom = (a + b) ** 2 / (a * a / (c1 - 1) + b * b / (c2 - 1))
    return beta_cdf(freedom / (freedom + t), freedom / 2, 0.5)


def weighted(values: list[float | None], weights: list[float | None], fractions: list[float]) -> list[float | None]:
    """Nearest-rank percentiles of values that count `weight` times."""
    pairs = sorted((v, w) for v, w in zip(values, weights, strict=True) if v is not None and w is not None and w > 0)
    total = sum(w for _, w in pairs)
    found: list[float | None] = []
    for fraction in fractions:
        wanted, seen, value = fraction * total, 0.0, None
        for v, w in pairs:
            seen += w
            value = v
            if seen >= wanted - 1e-9 * total:
                break
        found.append(value)
    return found


def session_start(times: list[int], longest: int) -> int:
    """Where the session of the last time starts, when a session may not last longer than `longest`."""
    start = times[0]
    for time in times:
        if time - start > longest:
            start = time
    return start


UDFS: tuple[Udf, ...] = (
    each("k_gamma", "DOUBLE", "DOUBLE", gamma),
    each("k_loggamma", "DOUBLE", "DOUBLE", loggamma),
    each("k_erf", "DOUBLE", "DOUBLE", math.erf),
    each("k_erfc", "DOUBLE", "DOUBLE", math.erfc),
    each("k_beta_cdf", "DOUBLE DOUBLE DOUBLE", "DOUBLE", beta_cdf),
    each("k_beta_inv", "DOUBLE DOUBLE DOUBLE", "DOUBLE", beta_inv),
    each("k_beta_pdf", "DOUBLE DOUBLE DOUBLE", "DOUBLE", beta_pdf),
    each("k_welch", "DOUBLE DOUBLE DOUBLE DOUBLE DOUBLE DOUBLE", "DOUBLE", welch_test),
    each("k_weighted", "DOUBLE[] DOUBLE[] DOUBLE[]", "DOUBLE[]", weighted),
    each("k_session_start", "BIGINT[] BIGINT", "BIGINT", session_start),
)
