r"""Macros over text that the core does not need."""

from __future__ import annotations

__all__ = ["STRING_MACROS"]

STRING_MACROS = r"""
k_only(l, i) := CASE WHEN i >= 0 AND i < len(l) THEN to_json([l[i + 1]]) END

k_positions(s, p) := CASE WHEN p = '' THEN [] ELSE list_filter(range(length(s) - length(p) + 1), lambda i: substring(s, i + 1, length(p)) = p) END

k_indexof5(s, p, i, n, k) := CASE WHEN p = '' OR k < 1 THEN NULL::BIGINT ELSE coalesce(list_filter(k_positions(s, p),
  lambda z: z >= k_start_index(s, i) AND (n < 0 OR z < k_start_index(s, i) + k_place(n)))[k], -1) END

k_count_over(s, p) := len(k_positions(s, p))

k_replace_strings(s, a, b) := coalesce(k_replace_texts(s, a::VARCHAR, b::VARCHAR), s)

k_repeat_with(s, n, d) := CASE WHEN n > 0 THEN s || repeat(d || s, greatest(least(n, 1024, 4194304 // greatest(length(s) + length(d), 1)) - 1, 0)) ELSE '' END

k_term(n) := CASE WHEN regexp_matches(n, '^[\p{L}\p{N}]') THEN '(?:^|[^\p{L}\p{N}])' ELSE '' END || regexp_escape(n)
  || CASE WHEN regexp_matches(n, '[\p{L}\p{N}]$') THEN '(?:$|[^\p{L}\p{N}])' ELSE '' END

k_has(s, n) := n = '' OR (contains(lower(s), lower(n)) AND regexp_matches(lower(s), k_term(lower(n)), 's'))

k_has_any_index(s, d) := coalesce(list_position(list_transform(k_listof(d), lambda z: k_has(s, coalesce(z->>'$', ''))), TRUE) - 1, -1)::BIGINT

k_bytes(b) := list_transform(range(octet_length(b)), lambda i: ('0x' || substring(hex(b), i * 2 + 1, 2))::INTEGER)

k_base64_array(s) := to_json(k_bytes(try(from_base64(s))))

k_base64_bytes(d) := coalesce(try(base64(unhex(array_to_string(list_transform(d::JSON[], lambda z: printf('%02x', (k_dlong(z) & 255))), '')))), '')

k_swap_guid(h) := substring(h, 7, 2) || substring(h, 5, 2) || substring(h, 3, 2) || substring(h, 1, 2) || substring(h, 11, 2) || substring(h, 9, 2)
  || substring(h, 15, 2) || substring(h, 13, 2) || substring(h, 17)

k_base64_guid(g) := coalesce(base64(unhex(k_swap_guid(replace(g, '-', '')))), '')

k_guid_base64(s) := k_sguid(k_swap_guid(lower(hex(try(from_base64(s))))))

k_longs(d) := CASE WHEN json_type(d) = 'ARRAY' THEN list_transform(d::JSON[], lambda z: k_dlong(z)) END

k_fromcodes(l) := coalesce(array_to_string(list_transform(l, lambda c: CASE WHEN c BETWEEN 1 AND 55295 OR c BETWEEN 57344 AND 1114111 THEN chr(c::INTEGER) ELSE '' END), ''), '')

k_noempty(l) := CASE WHEN len(l) > 0 THEN to_json(l) END

k_indexof_regex(s, p, i, n, k) := CASE WHEN i < 0 OR k < 1 OR k > 1000 THEN NULL::BIGINT ELSE k_regex_place(k_window(s, k_place(i), n), p, k, i) END

k_window(s, i, n) := CASE WHEN n < 0 THEN substring(s, i + 1) ELSE substring(s, i + 1, k_place(n)) END

k_regex_head(p, k) := '^(?s:((?:.*?(?:' || p || ')){' || (k - 1)::VARCHAR || '}.*?))(?:' || p || ')'

k_regex_place(s, p, k, i) := CASE WHEN regexp_matches(s, k_regex_head(p, k)) THEN length(regexp_extract(s, k_regex_head(p, k), 1)) + i ELSE -1 END

k_version(v) := CASE WHEN regexp_full_match(v, '\d{1,8}(\.\d{1,8}){0,3}')
  THEN try_cast(array_to_string(list_transform([1, 2, 3, 4], lambda i: lpad(split_part(v, '.', i), 8, '0')), '') AS DECIMAL(38,0)) END

k_hash_mod(h, m) := ((h::HUGEINT % nullif(m, 0) + abs(m::HUGEINT)) % abs(nullif(m, 0)::HUGEINT))::BIGINT

k_bytes_text(x, n, u) := coalesce(CASE WHEN n > 0 THEN rtrim(rtrim(printf('%.' || least(n, 15)::VARCHAR || 'f', round(x, least(n, 15))), '0'), '.')
  ELSE printf('%.0f', round(x)) END || u, '')

k_format_bytes(x, n) := CASE WHEN abs(x) < 1024 THEN k_bytes_text(x, n, ' Bytes') WHEN abs(x) < 1048576 THEN k_bytes_text(x / 1024, n, ' KB')
  WHEN abs(x) < 1073741824 THEN k_bytes_text(x / 1048576, n, ' MB') WHEN abs(x) < 1099511627776 THEN k_bytes_text(x / 1073741824, n, ' GB')
  WHEN abs(x) < 1125899906842624 THEN k_bytes_text(x / 1099511627776, n, ' TB') WHEN abs(x) < 1152921504606846976 THEN k_bytes_text(x / 1125899906842624, n, ' PB')
  ELSE k_bytes_text(x / 1152921504606846976, n, ' EB') END

k_joined(l, d) := CASE WHEN len(l) > 0 THEN list_reduce(l, lambda x, y: x || d || y) ELSE '' END

k_param(p) := {'k': split_part(p, '=', 1), 'v': to_json(CASE WHEN contains(p, '=') THEN substring(p, strpos(p, '=') + 1) ELSE '' END)}

k_params(q) := CASE WHEN q = '' THEN '{}'::JSON ELSE k_bag(list_transform(list_filter(string_split(q, '&'), lambda p: p <> ''), lambda p: k_param(p))) END

k_url_json(m) := json_object('Scheme', m.s, 'Host', m.h, 'Port', m.o, 'Path', m.p, 'Username', m.u, 'Password', m.w, 'Query Parameters', k_params(m.q), 'Fragment', m.f)

k_url(x) := k_url_json(regexp_extract(k_strip(x), '(?s)^(?:([A-Za-z][A-Za-z0-9+.\-]*):)?(?://(?:([^/?#@:]*)(?::([^/?#@]*))?@)?(\[[^\]]*\]|[^/?#:]*)(?::([0-9]*))?)?([^?#]*)(?:\?([^#]*))?(?:#(.*))?$',
  ['s', 'u', 'w', 'h', 'o', 'p', 'q', 'f']))
"""
