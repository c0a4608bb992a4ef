r"""Macros over `dynamic`: JSON text whose SQL NULL is KQL's null. A bag keeps its keys' order."""

from __future__ import annotations

__all__ = ["DYNAMIC_MACROS"]

DYNAMIC_MACROS = r"""
k_nn(j) := nullif(j, 'null'::JSON)

k_path(k) := '/' || replace(replace(k, '~', '~0'), '/', '~1')

k_get(d, k) := k_nn(json_extract(d, k_path(k)))

k_idx(d, i) := k_nn(CASE WHEN json_type(d) = 'ARRAY' THEN json_extract(d, i::BIGINT) END)

k_dstr(d) := coalesce(d->>'$', '')

k_jlong_odd(t) := CASE WHEN t = 'true' THEN 1 WHEN t = 'false' THEN 0 WHEN starts_with(t, '"') THEN k_hex(trim(t, '"'))
  ELSE k_rlong(try_cast(t AS DOUBLE)) END

k_jlong(t) := coalesce(try_cast(regexp_extract(t, '^"?\s*([-+]?[0-9]+)\s*"?$', 1) AS BIGINT), k_jlong_odd(t))

k_dlong(d) := k_jlong(d::VARCHAR)

k_jint_odd(t) := CASE WHEN t = 'true' THEN 1 WHEN t = 'false' THEN 0 ELSE k_rint(try_cast(t AS DOUBLE)) END

k_jint(t) := CASE WHEN starts_with(t, '"') THEN k_sint(trim(t, '"'))
  ELSE coalesce(k_wrap32(try_cast(regexp_extract(t, '^[-+]?[0-9]+$') AS BIGINT)), k_jint_odd(t)) END

k_dint(d) := k_jint(d::VARCHAR)

k_bit(t) := CASE WHEN t = 'true' THEN 1 WHEN t = 'false' THEN 0 END

k_jdouble(t) := coalesce(k_sdouble(trim(t, '"')), k_bit(t)::DOUBLE)

k_ddouble(d) := k_jdouble(d::VARCHAR)

k_jdec(t) := coalesce(k_sdec(trim(t, '"')), k_bit(t)::DECIMAL(38,17))

k_ddec(d) := k_jdec(d::VARCHAR)

k_jbool(t) := coalesce(try_cast(regexp_extract(lower(t), '^"?\s*(true|false)\s*"?$', 1) AS BOOLEAN),
  CASE WHEN starts_with(t, '"') THEN k_slong(trim(t, '"')) <> 0 ELSE try_cast(t AS DOUBLE) <> 0 END)

k_dbool(d) := k_jbool(d::VARCHAR)

k_ddt(d) := k_sdt(d->>'$')

k_dspan(d) := CASE WHEN starts_with(d::VARCHAR, '"') THEN k_sspan(d->>'$') ELSE k_dlong(d) END

k_parse(s) := CASE WHEN s = '' THEN NULL WHEN json_valid(s) THEN k_nn(try(json(s))) ELSE to_json(s) END

k_reparse(d) := CASE WHEN json_type(d) = 'VARCHAR' THEN k_parse(d->>'$') ELSE d END

k_rjson(r) := CASE WHEN isfinite(r) THEN to_json(r) WHEN isnan(r) THEN '"NaN"'::JSON WHEN r > 0 THEN '"Infinity"'::JSON
  WHEN r < 0 THEN '"-Infinity"'::JSON END

k_list(d) := CASE WHEN json_type(d) = 'ARRAY' THEN d::JSON[] END

k_alen(d) := CASE WHEN json_type(d) = 'ARRAY' THEN json_array_length(d)::BIGINT END

k_listof(d) := CASE json_type(d) WHEN 'ARRAY' THEN d::JSON[] WHEN 'NULL' THEN NULL ELSE [d] END

k_slice(d, a, b) := to_json(list_slice(k_list(d), CASE WHEN a < 0 THEN greatest(1, k_alen(d) + k_place(a) + 1) ELSE k_place(a) + 1 END,
  CASE WHEN b < 0 THEN k_alen(d) + k_place(b) + 1 ELSE k_place(b) + 1 END))

k_firsts(s) := list_filter(s, lambda e, j: j = 1 OR s[j - 1].z IS DISTINCT FROM e.z)

k_placed(s) := list_transform(list_sort(list_transform(s, lambda e: {'i': e.i, 'z': e.z})), lambda e: e.z)

k_dedup(l) := CASE WHEN len(l) <= 24 THEN list_filter(l, lambda z, i: list_position(l, z) = i)
  ELSE k_placed(k_firsts(list_sort(list_transform(l, lambda z, i: {'z': z, 'i': i})))) END

k_union(a, b) := k_dedup(list_concat(a, b))

k_difference(a, b) := k_dedup(list_filter(a, lambda z: NOT list_contains(b, z)))

k_intersect(a, b) := k_dedup(list_filter(a, lambda z: list_contains(b, z)))

k_jaccard(a, b) := CASE WHEN len(k_union(a, b)) = 0 THEN 'nan'::DOUBLE
  ELSE len(k_intersect(a, b)) / len(k_union(a, b)) END

k_entries(d) := CASE WHEN json_type(d) = 'OBJECT' THEN list_transform(json_keys(d), lambda k: {'k': k, 'v': json_extract(d, k_path(k))}) END

k_bag(l) := to_json(map_from_entries(list_filter(l, lambda e, i: list_position(list_transform(l, lambda y: y.k), e.k) = i)))

k_items(d) := CASE json_type(d) WHEN 'ARRAY' THEN d::JSON[] WHEN 'OBJECT' THEN list_transform(json_keys(d), lambda k: json_object(k, json_extract(d, k_path(k))))
  WHEN 'NULL' THEN NULL ELSE [d] END

k_sortjson(d) := CASE WHEN d IS NULL THEN '' ELSE coalesce(try(d::VARIANT::JSON::VARCHAR), d::VARCHAR) END

k_type(d) := CASE json_type(d) WHEN 'VARCHAR' THEN 'string' WHEN 'BOOLEAN' THEN 'bool' WHEN 'DOUBLE' THEN 'double' WHEN 'UBIGINT' THEN 'long'
  WHEN 'BIGINT' THEN 'long' WHEN 'ARRAY' THEN 'array' WHEN 'OBJECT' THEN 'dictionary' ELSE 'null' END

k_shift(d, n, v) := CASE WHEN json_type(d) = 'ARRAY' THEN to_json(list_transform(range(k_alen(d)), lambda i: CASE WHEN i + k_place(n) BETWEEN 0 AND k_alen(d) - 1
  THEN json_extract(d, i + k_place(n)) ELSE v END)) END

k_rotate(d, n) := CASE WHEN json_type(d) = 'ARRAY' THEN to_json(list_transform(range(k_alen(d)),
  lambda i: json_extract(d, ((i + n % k_alen(d)) % k_alen(d) + k_alen(d)) % k_alen(d)))) END

k_doubles(d) := CASE WHEN json_type(d) = 'ARRAY' THEN list_transform(d::JSON[], lambda z: k_ddouble(z)) END

k_djson(l) := to_json(list_transform(l, lambda r: k_rjson(r)))
"""
