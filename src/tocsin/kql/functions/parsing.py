"""Functions that take a text with a grammar apart, hashes, compression, and texts for people."""

from __future__ import annotations

import json
import zoneinfo
from collections.abc import Callable, Sequence

from tocsin.kql.functions.conversion import to_text
from tocsin.kql.functions.define import refused, scalar
from tocsin.kql.functions.model import FunctionError, Lowered, Operand, ScalarFunction
from tocsin.kql.functions.python import geoip
from tocsin.kql.functions.sql import text, ticks
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS"]

B, I, L, R, D = KqlType.BOOL, KqlType.INT, KqlType.LONG, KqlType.REAL, KqlType.DECIMAL  # noqa: E741
S, T, P, G, J = KqlType.STRING, KqlType.DATETIME, KqlType.TIMESPAN, KqlType.GUID, KqlType.DYNAMIC
_PARSING = "Parsing"
_HASH = "Hash"


def _hash(operands: Sequence[Operand]) -> Lowered:
    value = operands[0]
    if value.type in (S, G, J, D):
        sql = f"k_xxhash_text({to_text(value)})"
    elif value.type is R:
        sql = f"k_xxhash_real({value.sql})"
    elif value.type is T:
        sql = f"k_xxhash_long({ticks(value)})"
    else:
        sql = f"k_xxhash_long(({value.sql})::BIGINT)"
    if len(operands) == 2:
        # The remainder is never negative, as of every % in KQL.
        return Lowered(f"k_hash_mod({sql}, ({operands[1].sql})::BIGINT)", L, copies=2)
    return Lowered(sql, L)


def _digest(function: str) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        return Lowered(f"{function}({to_text(operands[0])})", S)

    return lower


def _user_agent(operands: Sequence[Operand]) -> Lowered:
    agent, wanted = operands
    look_for = f"({wanted.sql})::VARCHAR" if wanted.type is J else wanted.sql
    return Lowered(f"k_parse_user_agent({agent.sql}, {look_for})::JSON", J)


def _format_bytes(operands: Sequence[Operand]) -> Lowered:
    size = f"({operands[0].sql})::DOUBLE"
    digits = f"least(greatest({operands[1].sql}, 0), 15)::INTEGER" if len(operands) > 1 else "0"
    unit = operands[2] if len(operands) > 2 else None
    if unit is None:
        return Lowered(f"k_format_bytes({size}, {digits})", S, copies=9)
    if not unit.constant or str(unit.value) not in _BYTES:
        raise FunctionError("the unit must be one of " + ", ".join(_BYTES), 2)
    name = str(unit.value)
    return Lowered(f"k_bytes_text({size} / {1024 ** _BYTES.index(name)}.0, {digits}, {text(' ' + name)})", S, copies=2)


_BYTES = ("Bytes", "KB", "MB", "GB", "TB", "PB", "EB")


def _around(operands: Sequence[Operand]) -> Lowered:
    value, center, delta = operands
    if value.type in (T, P):
        if center.type is not value.type or delta.type is not P:
            raise FunctionError(f"a {value.type} is compared with a {value.type} and a timespan", 1)
        a, b = (f"({ticks(o)})::HUGEINT" if o.type is T else f"({o.sql})::HUGEINT" for o in (value, center))
        return Lowered(f"(abs({a} - {b}) <= {delta.sql})", B)
    if not (center.type.is_numeric and delta.type.is_numeric):
        raise FunctionError("a number is compared with numbers", 1)
    if {o.type for o in operands} <= {I, L}:
        return Lowered(f"(abs(({value.sql})::HUGEINT - ({center.sql})::HUGEINT) <= {delta.sql})", B)
    a, b, c = (f"({o.sql})::DOUBLE" for o in operands)
    return Lowered(f"(abs({a} - {b}) <= {c} AND NOT isnan({a} - {b}))", B, copies=2)


def _timezones(_operands: Sequence[Operand]) -> Lowered:
    names = sorted(zoneinfo.available_timezones() - {"Factory", "localtime", "posixrules"})
    return Lowered(f"{text(json.dumps(names, separators=(',', ':')))}::JSON", J)


def _geo_info(operands: Sequence[Operand]) -> Lowered:
    if not geoip.configured():
        raise FunctionError(
            "there is no database of places to look addresses up in",
            hint="Name a MaxMind database (City or Country, MMDB) in the setting geoip.database.",
            code="KQL0202",
        )
    return Lowered(f"k_geo_info({operands[0].sql})::JSON", J)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "geo_info_from_ip_address(ip: string)",
        J,
        _geo_info,
        "Where an address is: country, state, city, latitude and longitude, from the database that the installation provides.",
        "geo_info_from_ip_address('81.2.69.142').country => United Kingdom",
        group="Geospatial",
    ),
    scalar(
        "parse_url(url: string)",
        J,
        "k_url({0})",
        "The parts of a URL; missing ones are empty.",
        "parse_url('scheme://u:p@host:1234/a/b?k1=v1&k2=v2#f').Host => host",
        "parse_url('https://a.example/x?k=v')['Query Parameters'].k => v",
        group=_PARSING,
    ),
    scalar(
        "parse_urlquery(query: string)",
        J,
        "json_object('Query Parameters', k_params(ltrim({0}, '?')))",
        "The parameters of a URL's query.",
        'parse_urlquery(\'k1=v1&k2=v2\') => {"Query Parameters":{"k1":"v1","k2":"v2"}}',
        group=_PARSING,
    ),
    scalar(
        "parse_path(path: string)",
        J,
        "k_parse_path({0})::JSON",
        "The parts of a Windows or Unix path.",
        "parse_path(@'C:\\temp\\file.txt').Filename => file.txt",
        "parse_path('file://C:/temp/file.txt:some.exe').AlternateDataStreamName => some.exe",
        group=_PARSING,
    ),
    scalar(
        "parse_csv(text: string)",
        J,
        "k_parse_csv({0})::JSON",
        "The values of the first record as an array of strings.",
        'parse_csv(\'aa,"b,b",cc\') => ["aa","b,b","cc"]',
        group=_PARSING,
    ),
    scalar(
        "parse_version(version: string)",
        D,
        "k_version({0})",
        "A number that sorts as versions of up to four parts do; null for other text.",
        "parse_version('1.2.3.4') > parse_version('1.2.3') => True",
        "parse_version('0.0.7.0') => 700000000",
        "parse_version('a') => (empty)",
        group=_PARSING,
    ),
    scalar(
        "parse_command_line(command_line: string, parser_type: string)",
        J,
        "k_parse_command_line({0}, {1})::JSON",
        "The arguments of a Windows command line as an array.",
        'parse_command_line(\'echo "hello world!"\', \'windows\') => ["echo","hello world!"]',
        group=_PARSING,
    ),
    scalar(
        "parse_xml(xml: string)",
        J,
        "k_parse_xml({0})::JSON",
        "XML as a bag: attributes with @, text beside them as #text, equal siblings as an array; null for other text.",
        'parse_xml(\'<e n="v">t</e>\') => {"e":{"@n":"v","#text":"t"}}',
        'parse_xml(\'<e><a>1</a><a>2</a></e>\') => {"e":{"a":["1","2"]}}',
        "parse_xml('x') => (empty)",
        group=_PARSING,
    ),
    scalar(
        "parse_user_agent(user_agent: string, look_for: string|dynamic)",
        J,
        _user_agent,
        "Browser, operating system (os) or device of a user agent, by the public uap-core patterns.",
        "parse_user_agent('Mozilla/5.0 (Windows; U; en-US) AppleWebKit/531.9 (KHTML, like Gecko) AdobeAIR/2.5.1', 'browser')"
        ".Browser.Family => AdobeAIR",
        group=_PARSING,
    ),
    scalar(
        "punycode_from_string(text: string)",
        S,
        "coalesce(k_punycode({0}), '')",
        "The text in Punycode.",
        "punycode_from_string('acad\u00e9mie-fran\u00e7aise') => acadmie-franaise-npb1a",
        group="String",
    ),
    scalar(
        "punycode_to_string(text: string)",
        S,
        "coalesce(k_unpunycode({0}), '')",
        "The text that Punycode holds.",
        "punycode_to_string('acadmie-franaise-npb1a') => acad\u00e9mie-fran\u00e7aise",
        group="String",
    ),
    scalar(
        "punycode_domain_from_string(domain: string)",
        S,
        "coalesce(k_unpunycode_domain({0}), '')",
        "A domain with its xn-- labels decoded.",
        "punycode_domain_from_string('xn--Ge-mia.Bulg.edu') => G\u00e1e.Bulg.edu",
        group="String",
    ),
    scalar(
        "punycode_domain_to_string(domain: string)",
        S,
        "coalesce(k_punycode_domain({0}), '')",
        "A domain with its labels encoded as xn--.",
        "punycode_domain_to_string('Ri\u00f0ill.org') => xn--Riill-jta.org",
        group="String",
    ),
    scalar(
        "hash(source: any, mod: long?)",
        L,
        _hash,
        "A stable 64-bit hash (xxHash); with `mod`, its remainder.",
        "hash('World') => 1846988464401551951",
        "hash('World', 100) => 51",
        "hash(datetime(2015-01-01)) => 1380966698541616202",
        group=_HASH,
    ),
    scalar(
        "hash_xxhash64(source: any, mod: long?)",
        L,
        _hash,
        "The xxHash of the value, 64 bits.",
        "hash_xxhash64('World') => 1846988464401551951",
        "hash_xxhash64('World', 100) => 51",
        group=_HASH,
    ),
    scalar(
        "hash_md5(source: any)",
        S,
        _digest("md5"),
        "The MD5 digest of the value's text, in hexadecimal.",
        "hash_md5('World') => f5a7924e621e84c9280a9a27e1bcb7f6",
        group=_HASH,
    ),
    scalar(
        "hash_sha1(source: any)",
        S,
        _digest("sha1"),
        "The SHA-1 digest of the value's text, in hexadecimal.",
        "hash_sha1('World') => 70c07ec18ef89c5309bbb0937f3a6342411e1fdd",
        group=_HASH,
    ),
    scalar(
        "hash_sha256(source: any)",
        S,
        _digest("sha256"),
        "The SHA-256 digest of the value's text, in hexadecimal.",
        "hash_sha256(datetime(2020-01-01)) => ba666752dc1a20eb750b0eb64e780cc4c968bc9fb8813461c1d7e750f302d71d",
        group=_HASH,
    ),
    refused(
        "hash_combine",
        "how Kusto combines hashes is not published, so no result would be the same",
        "Combines hash values.",
        group=_HASH,
        returns=L,
    ),
    refused(
        "hash_many",
        "how Kusto combines hashes is not published, so no result would be the same",
        "The combined hash of several values.",
        group=_HASH,
        returns=L,
    ),
    scalar(
        "gzip_compress_to_base64_string(text: string)",
        S,
        "coalesce(k_gzip({0}), '')",
        "The text, gzipped, in base64.",
        "gzip_decompress_from_base64_string(gzip_compress_to_base64_string('abc')) => abc",
        group="String",
    ),
    scalar(
        "gzip_decompress_from_base64_string(text: string)",
        S,
        "coalesce(k_gunzip({0}), '')",
        "The text that base64 of gzip holds; empty when it is none.",
        "gzip_decompress_from_base64_string('H4sIAAAAAAAA/wEUAOv/MTIzNDU2Nzg5MHF3ZXJ0eXVpb3A6m7f2FAAAAA==') => 1234567890qwertyuiop",
        group="String",
    ),
    scalar(
        "zlib_compress_to_base64_string(text: string)",
        S,
        "coalesce(k_zlib({0}), '')",
        "The text, compressed by zlib, in base64.",
        "zlib_decompress_from_base64_string(zlib_compress_to_base64_string('abc')) => abc",
        group="String",
    ),
    scalar(
        "zlib_decompress_from_base64_string(text: string)",
        S,
        "coalesce(k_unzlib({0}), '')",
        "The text that base64 of zlib holds; empty when it is none.",
        "zlib_decompress_from_base64_string('x0x0x0') => (empty)",
        "zlib_decompress_from_base64_string('eJwLSS0uUSguKcrMS1cwNDIGACxqBQ4=') => Test string 123",
        group="String",
    ),
    scalar(
        "format_bytes(value: number, precision: long?, units: string?)",
        S,
        _format_bytes,
        "A number of bytes for people: in the largest unit that fits, or the one given.",
        "format_bytes(564) => 564 Bytes",
        "format_bytes(10332, 1) => 10.1 KB",
        "format_bytes(20010332) => 19 MB",
        "format_bytes(20010332, 0, 'KB') => 19541 KB",
        group="Conversion",
    ),
    scalar(
        "around(value: number|datetime|timespan, center: number|datetime|timespan, delta: number|timespan)",
        B,
        _around,
        "True when the value is at most `delta` away from the centre.",
        "around(datetime(2021-01-01 01:29), datetime(2021-01-01 01:30), 1m) => True",
        "around(1, 5, 3) => False",
        group="Datetime and timespan",
    ),
    scalar(
        "datetime_list_timezones()",
        J,
        _timezones,
        "The names of all time zones.",
        "array_length(datetime_list_timezones()) > 400 => True",
        group="Datetime and timespan",
    ),
)
