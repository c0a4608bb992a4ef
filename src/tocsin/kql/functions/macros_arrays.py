r"""Macros over arrays and bags that only the functions of `dynamic.py` use."""

from __future__ import annotations

__all__ = ["ARRAY_MACROS"]

ARRAY_MACROS = r"""
k_zipped(d) := CASE json_type(d) WHEN 'ARRAY' THEN d::JSON[] WHEN 'NULL' THEN [] ELSE [d] END

k_key(d) := CASE WHEN json_type(d) IN ('UBIGINT', 'BIGINT', 'DOUBLE') THEN k_rjson(k_ddouble(d))::VARCHAR ELSE d::VARCHAR END

k_array_index_of(d, v, i, n, k) := CASE WHEN json_type(d) = 'ARRAY' THEN coalesce(list_filter(range(k_alen(d)), lambda z: k_key(json_extract(d, z)) = k_key(v)
  AND z >= CASE WHEN i < 0 THEN greatest(k_alen(d) + i, 0) ELSE i END
  AND (n < 0 OR z < CASE WHEN i < 0 THEN greatest(k_alen(d) + i, 0) ELSE i END + n))[k], -1) END

k_array_sum(d) := CASE WHEN json_type(d) = 'ARRAY' THEN list_sum(k_doubles(d)) END

k_sortkey(d, i, desc_, last_) := {'n': CASE WHEN (d IS NULL OR d = 'null'::JSON) = last_ THEN 1 ELSE 0 END,
  'r': CASE WHEN json_type(d) = 'VARCHAR' THEN NULL ELSE k_ddouble(d) * CASE WHEN desc_ THEN -1 ELSE 1 END END, 't': d->>'$', 'i': i}

k_order(d, desc_, last_) := CASE WHEN json_type(d) = 'ARRAY' THEN list_transform(k_sorted(list_transform(range(k_alen(d)),
  lambda i: {'j': json_extract(d, i), 'i': i}), desc_, last_), lambda e: e.i) END

k_sorted(l, desc_, last_) := list_concat(list_concat(
  CASE WHEN last_ THEN [] ELSE list_filter(l, lambda e: coalesce(e.j, 'null'::JSON) = 'null'::JSON) END,
  CASE WHEN desc_ THEN list_concat(k_sorttexts(l, TRUE), k_sortnumbers(l, TRUE)) ELSE list_concat(k_sortnumbers(l, FALSE), k_sorttexts(l, FALSE)) END),
  CASE WHEN last_ THEN list_filter(l, lambda e: coalesce(e.j, 'null'::JSON) = 'null'::JSON) ELSE [] END)

k_sortnumbers(l, desc_) := CASE WHEN desc_
  THEN list_transform(list_sort(list_transform(list_filter(l, lambda e: json_type(e.j) IN ('UBIGINT', 'BIGINT', 'DOUBLE', 'BOOLEAN')),
    lambda e: {'r': -k_ddouble(e.j), 'i': e.i, 'j': e.j})), lambda x: {'j': x.j, 'i': x.i})
  ELSE list_transform(list_sort(list_transform(list_filter(l, lambda e: json_type(e.j) IN ('UBIGINT', 'BIGINT', 'DOUBLE', 'BOOLEAN')),
    lambda e: {'r': k_ddouble(e.j), 'i': e.i, 'j': e.j})), lambda x: {'j': x.j, 'i': x.i}) END

k_sorttexts(l, desc_) := list_transform(list_sort(list_transform(list_filter(l, lambda e: json_type(e.j) IN ('VARCHAR', 'ARRAY', 'OBJECT')),
  lambda e: {'t': coalesce(e.j->>'$', ''), 'i': e.i, 'j': e.j}), CASE WHEN desc_ THEN 'DESC' ELSE 'ASC' END), lambda x: {'j': x.j, 'i': x.i})

k_take(d, o) := to_json(list_transform(o, lambda i: json_extract(d, i)))

k_take_same(d, o, n) := CASE WHEN k_alen(d) = n THEN k_take(d, o) END

k_array_iff(c, a, b) := CASE WHEN json_type(c) = 'ARRAY' THEN to_json(list_transform(range(k_alen(c)), lambda i:
  CASE k_dbool(json_extract(c, i)) WHEN TRUE THEN k_pick(a, i) WHEN FALSE THEN k_pick(b, i) END)) END

k_pick(a, i) := CASE WHEN json_type(a) = 'ARRAY' THEN json_extract(a, i) ELSE a END

k_range_long(a, b, s) := to_json(range(a::BIGINT, k_range_end(a::BIGINT, b::BIGINT, s::BIGINT), CASE WHEN s = 0 THEN NULL ELSE s::BIGINT END))

k_range_end(a, b, s) := CASE WHEN s > 0 THEN least(b::HUGEINT + 1, a::HUGEINT + 1048576 * s::HUGEINT)::BIGINT
  ELSE greatest(b::HUGEINT - 1, a::HUGEINT + 1048576 * s::HUGEINT)::BIGINT END

k_range_count(a, b, s) := CASE WHEN s = 0 THEN NULL ELSE greatest(0, least(1048576, floor((b - a) / s + 1e-9) + 1))::BIGINT END

k_range_real(a, b, s) := to_json(list_transform(range(k_range_count(a, b, s)), lambda i: k_rjson(a + i * s)))

k_range_dt(a, b, s) := to_json(list_transform(range(a, k_range_end(a, b, s), CASE WHEN s = 0 THEN NULL ELSE s END), lambda t: nullif(k_textt(k_dtr(t)), '')))

k_range_span(a, b, s) := to_json(list_transform(range(a, k_range_end(a, b, s), CASE WHEN s = 0 THEN NULL ELSE s END), lambda t: k_spantext(t)))

k_cuts(d) := list_transform(k_list(d), lambda z: k_dlong(z))

k_cut(n, i) := CASE WHEN i < 0 THEN greatest(n + i, 0) ELSE least(i, n) END

k_array_split(d, c) := CASE WHEN json_type(d) = 'ARRAY' THEN to_json(list_transform(range(len(c) + 1), lambda p:
  coalesce(list_slice(d::JSON[], CASE WHEN p = 0 THEN 1 ELSE k_cut(k_alen(d), c[p]) + 1 END, CASE WHEN p = len(c) THEN k_alen(d) ELSE k_cut(k_alen(d), c[p + 1]) END), []))) END

k_bag_has(d, k) := CASE WHEN json_type(d) = 'OBJECT' THEN CASE WHEN starts_with(k, '$') THEN coalesce(try(json_exists(d, k_kpath(k))), FALSE)
  ELSE list_contains(json_keys(d), k) END END

k_kpath(k) := regexp_replace(k, '\[''([^'']*)''\]', '."\1"', 'g')

k_bag_remove(d, k) := CASE WHEN json_type(d) = 'OBJECT' THEN CASE WHEN regexp_matches(k::VARCHAR, '"\$[.\[]') THEN k_bag_remove_paths(d, k)
  ELSE coalesce(k_bag(list_filter(k_entries(d), lambda e: NOT coalesce(list_contains(list_transform(k_list(k), lambda z: coalesce(z->>'$', '')), e.k), FALSE))), '{}'::JSON) END END

k_bag_set(d, k, v) := CASE WHEN json_type(d) = 'OBJECT' THEN CASE WHEN starts_with(k, '$') THEN k_bag_set_path(d, k, v)
  WHEN list_contains(json_keys(d), k) THEN k_bag(list_transform(k_entries(d), lambda e: CASE WHEN e.k = k THEN {'k': e.k, 'v': v} ELSE e END))
  ELSE k_bag(list_append(k_entries(d), {'k': k, 'v': v})) END END

k_bag_zip(k, v) := CASE WHEN json_type(k) = 'ARRAY' AND json_type(v) = 'ARRAY'
  THEN k_bag(list_transform(range(k_alen(k)), lambda i: {'k': coalesce(json_extract(k, i)->>'$', ''), 'v': json_extract(v, i)})) END

k_bag_remove_paths(d, k) := k_bag_remove_text(d::VARCHAR, k::VARCHAR)::JSON

k_bag_set_path(d, k, v) := k_bag_set_text(d::VARCHAR, k, coalesce(v::VARCHAR, 'null'))::JSON

k_treepath(d) := k_treepath_text(d::VARCHAR)::JSON

k_merge(l) := CASE WHEN l IS NULL THEN '{}'::JSON ELSE k_merge_bags(l::VARCHAR[])::JSON END

k_ip4_cidrs(a, b) := k_ip4_cidrs_text(a, b)::JSON
"""
