r"""Macros over datetime and timespan. Ticks are 100 ns since 0001-01-01; a TIMESTAMP holds microseconds."""

from __future__ import annotations

__all__ = ["TIME_MACROS"]

TIME_MACROS = r"""
k_ts(t) := make_timestamp(t // 10 - 62135596800000000)

k_tk(u) := epoch_us(u) * 10 + 621355968000000000

k_dtr(t) := CASE WHEN t BETWEEN 0 AND 3155378975999999999 THEN t::BIGINT END

k_tsr(u) := CASE WHEN u BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999' THEN u END

k_us(m) := CASE WHEN m BETWEEN -62135596800000000 AND 253402300799999999 THEN make_timestamp(m::BIGINT) END

k_textu(u) := coalesce(strftime(u, '%Y-%m-%dT%H:%M:%S.%f') || '0Z', '')

k_textt(t) := coalesce(strftime(k_ts(t), '%Y-%m-%dT%H:%M:%S.%f') || (t % 10)::VARCHAR || 'Z', '')

k_spantext(t) := CASE WHEN t IS NULL THEN '' ELSE CASE WHEN t < 0 THEN '-' ELSE '' END
  || CASE WHEN abs(t::HUGEINT) >= 864000000000 THEN (abs(t::HUGEINT) // 864000000000)::VARCHAR || '.' ELSE '' END
  || lpad((abs(t::HUGEINT) // 36000000000 % 24)::VARCHAR, 2, '0') || ':' || lpad((abs(t::HUGEINT) // 600000000 % 60)::VARCHAR, 2, '0')
  || ':' || lpad((abs(t::HUGEINT) // 10000000 % 60)::VARCHAR, 2, '0')
  || CASE WHEN abs(t::HUGEINT) % 10000000 = 0 THEN '' ELSE '.' || lpad((abs(t::HUGEINT) % 10000000)::VARCHAR, 7, '0') END END

k_isodt(x) := k_dtr(k_tk(try_cast(x AS TIMESTAMP)) + coalesce(try_cast(regexp_extract(x, '\.[0-9]{6}([0-9])', 1) AS BIGINT), 0))

k_otherdt(s) := CASE WHEN regexp_matches(s, '[0-9]') THEN k_parse_datetime(s) END

k_sdt(s) := coalesce(k_isodt(regexp_extract(s,
  '^\s*([0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[T ]+[0-9]{1,2}:[0-9]{1,2}(?::[0-9]{1,2}(?:\.[0-9]{1,7})?)?)?)[0-9]*\s*Z?\s*$', 1)), k_otherdt(s))

k_sspan(s) := CASE WHEN s <> '' THEN k_parse_timespan(s) END

k_start_dayu(u, n) := k_us((epoch_us(u) - ((epoch_us(u) + 62135596800000000) % 86400000000)) + n::HUGEINT * 86400000000)

k_start_weeku(u, n) := k_us(epoch_us(u) - ((epoch_us(u) + 62135596800000000 + 86400000000) % 604800000000) + n::HUGEINT * 604800000000)

k_start_monthu(u, n) := k_tsr(try(make_date(year(u), month(u), 1)::TIMESTAMP + to_months(n::INTEGER)))

k_start_yearu(u, n) := k_tsr(try(make_date((year(u) + n)::INTEGER, 1, 1)::TIMESTAMP))

k_end_day(u, n) := k_dtr(k_tk(k_start_dayu(u, n)) + 863999999999)

k_end_week(u, n) := k_dtr(k_tk(k_start_weeku(u, n)) + 6047999999999)

k_end_month(u, n) := k_dtr(k_tk((k_start_monthu(u, n) + to_months(1))) - 1)

k_end_year(u, n) := k_dtr(k_tk((k_start_yearu(u, n) + to_years(1))) - 1)

k_binu(u, m) := CASE WHEN m > 0 THEN k_us(epoch_us(u) - ((epoch_us(u) + 62135596800000000) % m)) END

k_bint(t, b) := CASE WHEN b > 0 THEN k_dtr(t - t % b) END

k_bin_at(x, b, a) := CASE WHEN b > 0 THEN try(x::BIGINT - (((x::BIGINT - a::BIGINT) % b::BIGINT + b::BIGINT) % b::BIGINT)) END

k_bin_atr(x, b, a) := CASE WHEN b > 0 THEN a + floor((x - a) / b) * b END

k_dow(u) := ((epoch_us(u) + 62135596800000000) // 86400000000 + 1) % 7 * 864000000000

k_week(u) := ((epoch_us(u) + 62135596800000000) // 86400000000 + 1) // 7

k_addm(u, n) := k_tsr(try(u + to_months(n::INTEGER)))

k_make_dt(y, mo, d, h, m, s) := CASE WHEN h BETWEEN 0 AND 23 AND m BETWEEN 0 AND 59 AND s >= 0 AND s < 60 THEN
  k_dtr(k_tk(try(make_date(y::INTEGER, mo::INTEGER, d::INTEGER)::TIMESTAMP)) + h::BIGINT * 36000000000 + m::BIGINT * 600000000 + round(s * 1e7)::BIGINT) END

k_make_span(d, h, m, s) := CASE WHEN d >= 0 AND h BETWEEN 0 AND 23 AND m BETWEEN 0 AND 59 AND s >= 0 AND s < 60 THEN
  try_cast(d::HUGEINT * 864000000000 + h::HUGEINT * 36000000000 + m::HUGEINT * 600000000 + round(s * 1e7)::HUGEINT AS BIGINT) END

k_utc_to_local(u, z) := try(timezone(z, timezone('UTC', u)))

k_local_to_utc(u, z) := try(timezone('UTC', timezone(z, u)))

k_num2(n) := lpad(n::VARCHAR, 2, '0')
"""
