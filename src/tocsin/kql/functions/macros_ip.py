r"""Macros over IPv4 addresses. IPv6 goes through Python functions."""

from __future__ import annotations

__all__ = ["IP_MACROS"]

IP_MACROS = r"""
k_ip4gate(s) := regexp_extract(s, '^\s*((?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])(?:\.|(?:/[0-9]{1,2})?\s*$)){4})', 1)

k_ip4host(s) := regexp_extract(k_ip4gate(s), '^[0-9.]+')

k_ip4(s) := list_reduce(list_transform(string_split(k_ip4host(s), '.'), lambda o: try_cast(o AS BIGINT)), lambda a, b: a * 256 + b)

k_ip4len(s) := coalesce(try_cast(regexp_extract(s, '/([0-9]{1,2})\s*$', 1) AS BIGINT), 32)

k_ip4net(a, n) := CASE WHEN n BETWEEN 0 AND 32 THEN a & (4294967296 - (1::BIGINT << (32 - n))) END

k_ip4text(a) := coalesce(((a >> 24) & 255)::VARCHAR || '.' || ((a >> 16) & 255)::VARCHAR || '.' || ((a >> 8) & 255)::VARCHAR || '.' || (a & 255)::VARCHAR, '')

k_ip4cmp(a, b, n) := sign(k_ip4net(k_ip4(a), least(n, k_ip4len(a), k_ip4len(b))) - k_ip4net(k_ip4(b), least(n, k_ip4len(a), k_ip4len(b))))::BIGINT

k_ip4in(a, r) := (k_ip4net(k_ip4(a), k_ip4len(r)) = k_ip4net(k_ip4(r), k_ip4len(r)))

k_ip4private(s) := k_ip4private_number(k_ip4(s), k_ip4len(s))

k_ip4private_number(a, n) := CASE WHEN a IS NULL THEN NULL ELSE (n >= 8 AND (a >> 24) = 10) OR (n >= 12 AND (a >> 20) = 2753) OR (n >= 16 AND (a >> 16) = 49320) END

k_has_ip4(s, p) := contains(s, p) AND k_ip4host(p) = p AND regexp_matches(s, '(?:^|[^\p{L}\p{N}.])' || regexp_escape(p) || '(?:$|[^\p{L}\p{N}.]|\.(?:$|[^\p{L}\p{N}]))')

k_has_ip4_prefix(s, p) := contains(s, p) AND regexp_full_match(p, '(?:[0-9]{1,3}\.){1,3}|(?:[0-9]{1,3}\.){3}[0-9]{1,3}') AND len(list_filter(regexp_extract_all(s,
  '(?:^|[^\p{L}\p{N}.])(' || regexp_escape(p) || '[0-9.]*)(?:$|[^\p{L}\p{N}.]|\.(?:$|[^\p{L}\p{N}]))', 1), lambda z: k_ip4(rtrim(z, '.')) IS NOT NULL)) > 0
"""
