"""SQL macros of the operators. The functions' macros are in `tocsin.kql.functions`; the engine runs both scripts."""

from __future__ import annotations

__all__ = ["OPERATOR_MACROS"]

# A macro's argument is copied as often as it is used: the binder gives columns or literals to those that use one twice.
OPERATOR_MACROS = r"""
CREATE OR REPLACE TEMP MACRO q_wrap(h) AS CASE WHEN h BETWEEN -9223372036854775808 AND 9223372036854775807 THEN h::BIGINT
  ELSE (((h + 9223372036854775808::HUGEINT) % 18446744073709551616::HUGEINT + 18446744073709551616::HUGEINT)
        % 18446744073709551616::HUGEINT - 9223372036854775808::HUGEINT)::BIGINT END;
CREATE OR REPLACE TEMP MACRO q_add(a, b) AS coalesce(try(a::BIGINT + b::BIGINT), q_wrap(a::HUGEINT + b::HUGEINT));
CREATE OR REPLACE TEMP MACRO q_sub(a, b) AS coalesce(try(a::BIGINT - b::BIGINT), q_wrap(a::HUGEINT - b::HUGEINT));
CREATE OR REPLACE TEMP MACRO q_mul(a, b) AS coalesce(try(a::BIGINT * b::BIGINT), q_wrap(a::HUGEINT * b::HUGEINT));
CREATE OR REPLACE TEMP MACRO q_div(a, b) AS CASE WHEN b = -1 THEN q_sub(0, a) ELSE a::BIGINT // nullif(b::BIGINT, 0) END;
CREATE OR REPLACE TEMP MACRO q_mod(a, b) AS CASE WHEN b = -1 THEN CASE WHEN a IS NOT NULL THEN 0::BIGINT END
  ELSE ((a::HUGEINT % nullif(b::HUGEINT, 0) + abs(b::HUGEINT)) % abs(nullif(b::HUGEINT, 0)))::BIGINT END;
CREATE OR REPLACE TEMP MACRO q_modr(a, b) AS fmod(fmod(a, b) + abs(b), abs(b));
CREATE OR REPLACE TEMP MACRO q_eq(a, b) AS CASE WHEN a IS NULL AND b IS NULL THEN NULL ELSE a IS NOT DISTINCT FROM b END;
CREATE OR REPLACE TEMP MACRO q_ne(a, b) AS CASE WHEN a IS NULL AND b IS NULL THEN NULL ELSE a IS DISTINCT FROM b END;
CREATE OR REPLACE TEMP MACRO q_rlong(r) AS CASE WHEN isfinite(r) THEN
  CASE WHEN r >= 9.2233720368547758e18 THEN 9223372036854775807 WHEN r <= -9.2233720368547758e18 THEN -9223372036854775807 - 1
  ELSE try_cast(trunc(r)::HUGEINT AS BIGINT) END END;
CREATE OR REPLACE TEMP MACRO q_ticks(t) AS epoch_us(t) * 10 + 621355968000000000;
CREATE OR REPLACE TEMP MACRO q_time(x) AS CASE WHEN x BETWEEN 0 AND 3155378975999999999
  THEN make_timestamp((x - x % 10 - 621355968000000000) // 10) END;
CREATE OR REPLACE TEMP MACRO q_micros(u) AS CASE WHEN u BETWEEN -62135596800000000 AND 253402300799999999 THEN make_timestamp(u) END;
CREATE OR REPLACE TEMP MACRO q_range(t) AS CASE WHEN t BETWEEN 0 AND 3155378975999999999 THEN t END;
CREATE OR REPLACE TEMP MACRO q_nn(j) AS nullif(j, 'null'::JSON);
CREATE OR REPLACE TEMP MACRO q_at(d, i) AS q_nn(CASE WHEN json_type(d) = 'ARRAY' THEN json_extract(d, i::BIGINT) END);
CREATE OR REPLACE TEMP MACRO q_key(d, k) AS q_nn(CASE WHEN json_type(d) = 'OBJECT'
  THEN json_extract(d, '/' || replace(replace(k, '~', '~0'), '/', '~1')) END);
CREATE OR REPLACE TEMP MACRO q_has(x, n, before, after) AS CASE WHEN contains(x, n) THEN q_term(x, n, before, after) ELSE FALSE END;
CREATE OR REPLACE TEMP MACRO q_texts(d) AS CASE json_type(d) WHEN 'ARRAY'
  THEN list_transform(d::JSON[], lambda j: coalesce(j->>'$', '')) WHEN 'NULL' THEN [] ELSE [coalesce(d->>'$', '')] END;
CREATE OR REPLACE TEMP MACRO q_values(d) AS CASE json_type(d) WHEN 'ARRAY' THEN d::JSON[] WHEN 'NULL' THEN [] ELSE [d] END;
CREATE OR REPLACE TEMP MACRO q_items(d) AS CASE json_type(d) WHEN 'ARRAY' THEN d::JSON[]
  WHEN 'OBJECT' THEN list_transform(json_keys(d), lambda k: json_object(k, json_extract(d, '/' || replace(replace(k, '~', '~0'), '/', '~1'))))
  ELSE [d] END;
CREATE OR REPLACE TEMP MACRO q_pairs(d) AS CASE json_type(d) WHEN 'ARRAY' THEN d::JSON[]
  WHEN 'OBJECT' THEN list_transform(json_keys(d), lambda k: json_array(k, json_extract(d, '/' || replace(replace(k, '~', '~0'), '/', '~1'))))
  ELSE [d] END;
"""
