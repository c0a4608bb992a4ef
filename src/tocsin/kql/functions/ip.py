"""IPv4 and IPv6 addresses and ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin.kql.functions.define import scalar
from tocsin.kql.functions.macros import text_copies
from tocsin.kql.functions.model import Lowered, Operand, ScalarFunction
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS"]

B, L, S, J = KqlType.BOOL, KqlType.LONG, KqlType.STRING, KqlType.DYNAMIC
_GROUP = "IPv4 and IPv6"


def _made(sql: str, kind: KqlType) -> Lowered:
    return Lowered(sql, kind, copies=text_copies(sql))


def _any(template: str, *, first: int = 1) -> Callable[[Sequence[Operand]], Lowered]:
    """A predicate over one text and several others, given one by one or as an array."""

    def lower(operands: Sequence[Operand]) -> Lowered:
        subject = operands[0].sql
        parts = []
        for other in operands[first:]:
            if other.type is J:
                inner = template.replace("{0}", subject).replace("{1}", "coalesce(z->>'$', '')")
                parts.append(
                    f"coalesce(len(list_filter(k_listof({other.sql}), lambda z: coalesce({inner}, FALSE))) > 0, FALSE)"
                )
            else:
                parts.append(f"coalesce({template.replace('{0}', subject).replace('{1}', other.sql)}, FALSE)")
        sql = f"({' OR '.join(parts)})"
        return Lowered(sql, B, copies=2)

    return lower


def _mask(operands: Sequence[Operand], default: int) -> str:
    return operands[2].sql if len(operands) > 2 else str(default)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "parse_ipv4(ip: string)",
        L,
        "k_ip4net(k_ip4({0}), k_ip4len({0}))",
        "The address as a number; of a range, its first address; null for what is none.",
        "parse_ipv4('127.0.0.1') => 2130706433",
        "parse_ipv4('192.1.168.1/24') => 3221334016",
        "parse_ipv4('1.2.3.400') => (empty)",
        group=_GROUP,
    ),
    scalar(
        "parse_ipv4_mask(ip: string, prefix: long)",
        L,
        "k_ip4net(k_ip4({0}), least({1}, k_ip4len({0})))",
        "The first address of the range, as a number.",
        "parse_ipv4_mask('127.0.0.1', 24) => 2130706432",
        group=_GROUP,
    ),
    scalar(
        "format_ipv4(ip: string|integer, prefix: long?)",
        S,
        lambda o: _format(o, masked=False),
        "The address as text, cut to the prefix.",
        "format_ipv4('192.168.1.1', 24) => 192.168.1.0",
        "format_ipv4(3232236031) => 192.168.1.255",
        group=_GROUP,
    ),
    scalar(
        "format_ipv4_mask(ip: string|integer, prefix: long?)",
        S,
        lambda o: _format(o, masked=True),
        "The address in CIDR form, cut to the prefix.",
        "format_ipv4_mask('192.168.1.1', 24) => 192.168.1.0/24",
        group=_GROUP,
    ),
    scalar(
        "ipv4_netmask_suffix(ip: string)",
        L,
        "CASE WHEN k_ip4({0}) IS NOT NULL THEN k_ip4len({0}) END",
        "The prefix length after the slash; 32 without one.",
        "ipv4_netmask_suffix('192.168.1.1/24') => 24",
        "ipv4_netmask_suffix('192.168.1.1') => 32",
        group=_GROUP,
    ),
    scalar(
        "ipv4_compare(ip1: string, ip2: string, prefix: long?)",
        L,
        lambda o: _made(f"k_ip4cmp({o[0].sql}, {o[1].sql}, {_mask(o, 32)})", L),
        "-1, 0 or 1, both cut to the shortest prefix; null when one is no address.",
        "ipv4_compare('127.0.0.1', '127.0.0.1') => 0",
        "ipv4_compare('192.168.1.1/24', '192.168.1.255') => 0",
        "ipv4_compare('192.168.1.1', '192.168.1.255') => -1",
        group=_GROUP,
    ),
    scalar(
        "ipv4_is_match(ip1: string, ip2: string, prefix: long?)",
        B,
        lambda o: _made(f"(k_ip4cmp({o[0].sql}, {o[1].sql}, {_mask(o, 32)}) = 0)", B),
        "True when both are equal, cut to the shortest prefix.",
        "ipv4_is_match('192.168.1.1/24', '192.168.1.255') => True",
        group=_GROUP,
    ),
    scalar(
        "ipv4_is_in_range(ip: string, range: string)",
        B,
        "k_ip4in({0}, {1})",
        "True when the address lies in the CIDR range.",
        "ipv4_is_in_range('192.168.1.6', '192.168.1.1/24') => True",
        "ipv4_is_in_range('127.0.0.1', '127.0.0.2') => False",
        "ipv4_is_in_range('abc', '127.0.0.1') => (empty)",
        group=_GROUP,
    ),
    scalar(
        "ipv4_is_in_any_range(ip: string, ranges: string|dynamic*)",
        B,
        _any("k_ip4in({0}, {1})"),
        "True when the address lies in one of the CIDR ranges.",
        "ipv4_is_in_any_range('192.168.1.6', '10.0.0.0/8', '192.168.1.1/24') => True",
        "ipv4_is_in_any_range('1.1.1.1', dynamic(['10.0.0.0/8'])) => False",
        group=_GROUP,
    ),
    scalar(
        "ipv4_is_private(ip: string)",
        B,
        "k_ip4private({0})",
        "True when the address, or the whole range, belongs to a private network.",
        "ipv4_is_private('192.168.1.1') => True",
        "ipv4_is_private('208.1.2.3') => False",
        "ipv4_is_private('10.1.2.3/24') => True",
        "ipv4_is_private('x') => (empty)",
        group=_GROUP,
    ),
    scalar(
        "ipv4_range_to_cidr_list(first: string, last: string)",
        J,
        "k_ip4_cidrs({0}, {1})",
        "The CIDR ranges that cover exactly the addresses from first to last.",
        'ipv4_range_to_cidr_list(\'1.1.128.0\', \'1.1.140.255\') => ["1.1.128.0/21","1.1.136.0/22","1.1.140.0/24"]',
        group=_GROUP,
    ),
    scalar(
        "has_ipv4(source: string, ip: string)",
        B,
        "k_has_ip4({0}, {1})",
        "True when the text has that address, not as a part of a longer one.",
        "has_ipv4('05:04:54 127.0.0.1 GET /favicon.ico 404', '127.0.0.1') => True",
        "has_ipv4('1.127.0.0.1', '127.0.0.1') => False",
        "has_ipv4('127.0.0.256', '127.0.0.256') => False",
        group="Text match",
    ),
    scalar(
        "has_any_ipv4(source: string, ips: string|dynamic*)",
        B,
        _any("k_has_ip4({0}, {1})"),
        "True when the text has one of the addresses.",
        "has_any_ipv4('05:04:54 127.0.0.1 GET', '127.0.0.1', '127.0.0.2') => True",
        group="Text match",
    ),
    scalar(
        "has_ipv4_prefix(source: string, prefix: string)",
        B,
        "k_has_ip4_prefix({0}, {1})",
        "True when the text has an address that starts with the prefix.",
        "has_ipv4_prefix('05:04:54 127.0.0.1 GET', '127.0.') => True",
        "has_ipv4_prefix('05:04:54 128.0.0.1 GET', '127.0.') => False",
        group="Text match",
    ),
    scalar(
        "has_any_ipv4_prefix(source: string, prefixes: string|dynamic*)",
        B,
        _any("k_has_ip4_prefix({0}, {1})"),
        "True when the text has an address that starts with one of the prefixes.",
        "has_any_ipv4_prefix('05:04:54 127.0.0.1 GET', '127.0.', '192.168.') => True",
        group="Text match",
    ),
    scalar(
        "parse_ipv6(ip: string)",
        S,
        "coalesce(k_ip6({0}, 128), '')",
        "The address in full hexadecimal form (IPv4 as ``::ffff:``); empty for what is none.",
        "parse_ipv6('127.0.0.1') => 0000:0000:0000:0000:0000:ffff:7f00:0001",
        "parse_ipv6('::1') => 0000:0000:0000:0000:0000:0000:0000:0001",
        group=_GROUP,
    ),
    scalar(
        "parse_ipv6_mask(ip: string, prefix: long)",
        S,
        "coalesce(k_ip6({0}, {1}), '')",
        "The first address of the range in full hexadecimal form.",
        "parse_ipv6_mask('fe80::85d:e82c:9446:7994', 120) => fe80:0000:0000:0000:085d:e82c:9446:7900",
        group=_GROUP,
    ),
    scalar(
        "ipv6_compare(ip1: string, ip2: string, prefix: long?)",
        L,
        lambda o: Lowered(f"k_ip6cmp({o[0].sql}, {o[1].sql}, {_mask(o, 128)})", L),
        "-1, 0 or 1 for IPv6 and IPv4 addresses, both cut to the shortest prefix.",
        "ipv6_compare('::ffff:7f00:1', '127.0.0.1') => 0",
        "ipv6_compare('fe80::85d:e82c:9446:7994', 'fe80::85d:e82c:9446:7995') => -1",
        group=_GROUP,
    ),
    scalar(
        "ipv6_is_match(ip1: string, ip2: string, prefix: long?)",
        B,
        lambda o: Lowered(f"(k_ip6cmp({o[0].sql}, {o[1].sql}, {_mask(o, 128)}) = 0)", B),
        "True when both are equal, cut to the shortest prefix.",
        "ipv6_is_match('fe80::85d:e82c:9446:7994/120', 'fe80::85d:e82c:9446:7998') => True",
        group=_GROUP,
    ),
    scalar(
        "ipv6_is_in_range(ip: string, range: string)",
        B,
        "k_ip6in({0}, {1})",
        "True when the address lies in the range.",
        "ipv6_is_in_range('a5e:f127:8a9d:146d:e102:b5d3:c755:abcd', 'a5e:f127:8a9d:146d:e102:b5d3:c755:0000/112') => True",
        group=_GROUP,
    ),
    scalar(
        "ipv6_is_in_any_range(ip: string, ranges: string|dynamic*)",
        B,
        _any("k_ip6in({0}, {1})"),
        "True when the address lies in one of the ranges.",
        "ipv6_is_in_any_range('::1', dynamic(['::/120'])) => True",
        group=_GROUP,
    ),
)


def _format(operands: Sequence[Operand], *, masked: bool) -> Lowered:
    value = operands[0]
    address = (
        f"k_ip4({value.sql})"
        if value.type is S
        else f"CASE WHEN ({value.sql}) BETWEEN 0 AND 4294967295 THEN ({value.sql})::BIGINT END"
    )
    length = operands[1].sql if len(operands) > 1 else "32"
    own = f"k_ip4len({value.sql})" if value.type is S else "32"
    prefix = f"least({length}, {own})"
    base = f"k_ip4text(k_ip4net({address}, {prefix}))"
    sql = f"coalesce(nullif({base}, '') || '/' || ({prefix})::VARCHAR, '')" if masked else base
    return Lowered(sql, S, copies=8)
