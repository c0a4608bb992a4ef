r"""Macros of the mathematical functions: SQL raises where KQL gives NaN, infinity or null."""

from __future__ import annotations

__all__ = ["MATH_MACROS"]

MATH_MACROS = r"""
k_exp(x) := CASE WHEN x > 709.782712893384 THEN CASE WHEN isnan(x) THEN x ELSE 'inf'::DOUBLE END ELSE exp(x) END

k_log(y, x) := CASE WHEN isnan(x) THEN x WHEN x > 0 THEN try(y) WHEN x = 0 THEN '-inf'::DOUBLE END

k_pow(a, b) := coalesce(try(pow(a, b)), CASE WHEN a IS NOT NULL AND b IS NOT NULL THEN 'nan'::DOUBLE END)

k_trig(y, x) := CASE WHEN isfinite(x) THEN try(y) WHEN x IS NOT NULL THEN 'nan'::DOUBLE END

k_unit(y, x) := CASE WHEN x BETWEEN -1 AND 1 THEN try(y) WHEN x IS NOT NULL THEN 'nan'::DOUBLE END

k_shl(a, n) := k_wrap((a::HUGEINT & 9223372036854775807::HUGEINT) * (1::HUGEINT << ((n % 64 + 64) % 64)::INTEGER) + CASE WHEN a < 0 AND n % 64 = 0 THEN (-9223372036854775808)::HUGEINT ELSE 0 END)

k_hexpad(s, n) := CASE WHEN n > length(s) THEN lpad(s, least(n, 1024)::INTEGER, '0') ELSE s END

k_haversine(lng1, lat1, lng2, lat2) := 2 * 6371010.0 * asin(least(1.0, sqrt(pow(sin(radians(lat2 - lat1) / 2), 2)
  + cos(radians(lat1)) * cos(radians(lat2)) * pow(sin(radians(lng2 - lng1) / 2), 2))))

k_geo_distance(lng1, lat1, lng2, lat2) := CASE WHEN lng1 BETWEEN -180 AND 180 AND lng2 BETWEEN -180 AND 180
  AND lat1 BETWEEN -90 AND 90 AND lat2 BETWEEN -90 AND 90 THEN k_haversine(lng1, lat1, lng2, lat2) END

k_decsum(a, b) := try_cast((a + b // 100000000000000000) AS DECIMAL(38,17))
  + (b % 100000000000000000)::DECIMAL(18,0) * 0.00000000000000001::DECIMAL(18,17)
"""
