"""Conversions: every type to every other as `to…()` does it, the implicit ones, and the text forms.

No conversion fails: what can't be converted is null (of a string: the empty string). Text rules are the engine's, which are stricter than
SQL's (``tolong("5.9")`` is null) and sometimes laxer (``tolong("0x1F")`` is 31); a real is cut towards zero where SQL rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin.kql import values
from tocsin.kql.functions.define import Lowering, scalar
from tocsin.kql.functions.macros import text_copies
from tocsin.kql.functions.model import FunctionError, Lowered, Operand, ScalarFunction
from tocsin.kql.functions.sql import null, text, ticks
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS", "convert", "implicit", "null_literal", "to_dynamic", "to_text"]

B, I, L, R, D = KqlType.BOOL, KqlType.INT, KqlType.LONG, KqlType.REAL, KqlType.DECIMAL  # noqa: E741
S, T, P, G, J = KqlType.STRING, KqlType.DATETIME, KqlType.TIMESPAN, KqlType.GUID, KqlType.DYNAMIC

_GROUP = "Conversion"

# (from, to) → template over the operand's physical form; a datetime comes in ticks and goes out in ticks.
_TABLE: dict[tuple[KqlType, KqlType], str] = {
    (I, B): "({0} <> 0)",
    (L, B): "({0} <> 0)",
    (R, B): "({0} <> 0)",
    (D, B): "({0} <> 0)",
    (S, B): "k_sbool({0})",
    (J, B): "k_dbool({0})",
    (B, I): "({0})::INTEGER",
    (L, I): "k_wrap32({0})",
    (R, I): "k_rint({0})",
    (D, I): "k_rint(({0})::DOUBLE)",
    (P, I): "k_wrap32({0})",
    (T, I): "k_wrap32({0})",
    (S, I): "k_sint({0})",
    (J, I): "k_dint({0})",
    (B, L): "({0})::BIGINT",
    (I, L): "({0})::BIGINT",
    (R, L): "k_rlong({0})",
    (D, L): "k_rlong(({0})::DOUBLE)",
    (P, L): "{0}",
    (T, L): "{0}",
    (S, L): "k_slong({0})",
    (J, L): "k_dlong({0})",
    (B, R): "({0})::INTEGER::DOUBLE",
    (I, R): "({0})::DOUBLE",
    (L, R): "({0})::DOUBLE",
    (D, R): "({0})::DOUBLE",
    (P, R): "({0})::DOUBLE",
    (T, R): "({0})::DOUBLE",
    (S, R): "k_sdouble({0})",
    (J, R): "k_ddouble({0})",
    (B, D): "({0})::INTEGER::DECIMAL(38,17)",
    (I, D): "({0})::DECIMAL(38,17)",
    (L, D): "({0})::DECIMAL(38,17)",
    (R, D): "try_cast(k_rtext({0}) AS DECIMAL(38,17))",
    (P, D): "({0})::DECIMAL(38,17)",
    (T, D): "({0})::DECIMAL(38,17)",
    (S, D): "k_sdec({0})",
    (J, D): "k_ddec({0})",
    (I, T): "k_dtr(({0})::BIGINT)",
    (L, T): "k_dtr({0})",
    (R, T): "k_dtr(k_rlong({0}))",
    (D, T): "k_dtr(k_rlong(({0})::DOUBLE))",
    (P, T): "k_dtr({0})",
    (S, T): "k_sdt({0})",
    (J, T): "k_ddt({0})",
    (I, P): "({0})::BIGINT",
    (L, P): "{0}",
    (R, P): "k_rlong({0})",
    (D, P): "k_rlong(({0})::DOUBLE)",
    (T, P): "{0}",
    (S, P): "k_sspan({0})",
    (J, P): "k_dspan({0})",
    (S, G): "k_sguid({0})",
    (J, G): "k_sguid({0}->>'$')",
    (B, S): "k_bstr({0})",
    (I, S): "coalesce(({0})::VARCHAR, '')",
    (L, S): "coalesce(({0})::VARCHAR, '')",
    (R, S): "k_rstr({0})",
    (D, S): "k_decstr({0})",
    (T, S): "k_textt({0})",
    (P, S): "k_spantext({0})",
    (G, S): "coalesce({0}, '')",
    (J, S): "coalesce({0}->>'$', '')",
    (B, J): "to_json({0})",
    (I, J): "to_json({0})",
    (L, J): "to_json({0})",
    (R, J): "k_rjson({0})",
    (D, J): "to_json(nullif(k_decstr({0}), ''))",
    (S, J): "to_json({0})",
    (T, J): "to_json(nullif(k_textt({0}), ''))",
    (P, J): "to_json(nullif(k_spantext({0}), ''))",
    (G, J): "to_json({0})",
}


def null_literal(kind: KqlType) -> Lowered:
    """The typed null; a string has none, so it is the empty string."""
    return Lowered(null(kind), kind)


def convert(operand: Operand, to: KqlType) -> Lowered:
    """`operand` as the type `to`, as KQL's ``to…()`` functions do it. Raises FunctionError for a pair that has no conversion."""
    kind = operand.type
    if kind is to:
        return Lowered(operand.sql, to, operand.ticks)
    if operand.constant and operand.value is None:
        return null_literal(to)
    entry = _TABLE.get((kind, to))
    if entry is None:
        raise FunctionError(f"a {kind} can't be converted to {to}", 0)
    if kind is T and not operand.ticks and to in (S, J):
        sql = f"k_textu({operand.sql})" if to is S else f"to_json(nullif(k_textu({operand.sql}), ''))"
    else:
        sql = entry.replace("{0}", ticks(operand) if kind is T else operand.sql)
    return Lowered(sql, to, to is T, text_copies(sql))


def to_text(operand: Operand) -> str:
    """`tostring` as SQL text; never null."""
    return convert(operand, S).sql


def to_dynamic(operand: Operand) -> str:
    """The value inside a `dynamic`, as SQL text of a JSON: numbers and bools as such, other types as their text; null is SQL NULL."""
    return convert(operand, J).sql


_NUMBERS = {I: 0, L: 1, R: 2, D: 3}


def implicit(kind: KqlType, to: KqlType) -> bool:
    """True when KQL converts by itself: numbers widen, a dynamic becomes what is asked, everything becomes dynamic."""
    if kind is to or J in (kind, to):
        return True
    if kind in _NUMBERS and to in _NUMBERS:
        return _NUMBERS[kind] < _NUMBERS[to]
    return (kind is G and to is S) or (kind is S and to is G)


def _to(kind: KqlType) -> Lowering:
    def lower(operands: Sequence[Operand]) -> Lowered:
        return convert(operands[0], kind)

    return lower


def _todatetime(operands: Sequence[Operand]) -> Lowered:
    value = operands[0]
    if value.constant and isinstance(value.value, str):
        parsed = values.parse_datetime(value.value)
        return _datetime_constant(parsed)
    return convert(value, T)


def _datetime_constant(parsed: int | None) -> Lowered:
    if parsed is None:
        return null_literal(T)
    if parsed % 10:
        return Lowered(f"{parsed}::BIGINT", T, True)
    return Lowered(f"make_timestamp({parsed // 10 - 62135596800000000})", T)


def _folding(parse: Callable[[str], object]) -> Callable[[Sequence[object]], object]:
    """Fold a text that parses. What does not is left to the engine: it may be the JSON text of a dynamic."""

    def fold(arguments: Sequence[object]) -> object:
        parsed = parse(arguments[0]) if isinstance(arguments[0], str) else None
        return NotImplemented if parsed is None else parsed

    return fold


def _todynamic(operands: Sequence[Operand]) -> Lowered:
    value = operands[0]
    if value.type is J:
        # A string inside a dynamic is parsed too; every other value is itself.
        if value.constant:
            return Lowered(value.sql, J)
        return Lowered(f"k_reparse({value.sql})", J, copies=text_copies("k_reparse("))
    if value.type is S:
        if value.constant and isinstance(value.value, str) and len(value.value) < 200_000:
            return Lowered(f"k_parse({value.sql})", J)
        return Lowered(f"k_parse({value.sql})", J, copies=text_copies("k_parse("))
    return convert(value, J)


def _gettype(operands: Sequence[Operand]) -> Lowered:
    value = operands[0]
    if value.type is J:
        return Lowered(f"k_type({value.sql})", S, copies=text_copies("k_type("))
    return Lowered(text(str(value.type)), S)


def _typed(kind: KqlType) -> Lowering:
    def lower(operands: Sequence[Operand]) -> Lowered:
        return convert(operands[0], kind)

    return lower


FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "tostring(value: any)",
        S,
        _to(S),
        "The text of a value; of null, the empty string. A bag or array gives its JSON.",
        "tostring(123) => 123",
        "tostring(true) => True",
        "tostring(1d) => 1.00:00:00",
        "tostring(datetime(2020-01-01)) => 2020-01-01T00:00:00.0000000Z",
        "tostring(dynamic(true)) => true",
        "tostring(1.0) => 1.0",
        "tostring(real(+inf)) => inf",
        "tostring(toint('bad')) => (empty)",
        group=_GROUP,
    ),
    scalar(
        "tolong(value: any)",
        L,
        _to(L),
        "A long: a real is cut towards zero; text must be digits or 0x and hexadecimal digits; a datetime or timespan gives its ticks.",
        "tolong('42') => 42",
        "tolong('5.9') => (empty)",
        "tolong(-9.99) => -9",
        "tolong('0xFFFFFFFFFFFFFFFF') => -1",
        "tolong(1d) => 864000000000",
        "tolong(dynamic('9223372036854775807')) => 9223372036854775807",
        group=_GROUP,
        fold=_folding(values.parse_long),
    ),
    scalar(
        "toint(value: any)",
        I,
        _to(I),
        "An int: as tolong, in 32 bits. A long that does not fit wraps, a real is cut to the nearest end.",
        "toint(2.5) => 2",
        "toint(-2.5) => -2",
        "toint('0xFF') => 255",
        "toint('2147483648') => (empty)",
        "toint(true) => 1",
        "toint(dynamic(2147483648)) => -2147483648",
        "toint(dynamic([1])) => (empty)",
        group=_GROUP,
    ),
    scalar(
        "todouble(value: any)",
        R,
        _to(R),
        "A real. Text may have an exponent, be NaN or Infinity; a datetime or timespan gives its ticks.",
        "todouble('1.5e10') => 15000000000.0",
        "todouble('1_000') => (empty)",
        "todouble('INF') => (empty)",
        "todouble('+Infinity') => inf",
        "todouble(1h) => 36000000000.0",
        "todouble('.5') => 0.5",
        group=_GROUP,
        aliases=("toreal",),
        fold=_folding(values.parse_double),
    ),
    scalar(
        "todecimal(value: any)",
        D,
        _to(D),
        "A decimal, kept here with 17 digits after the point and 21 before it.",
        "todecimal('100.50') => 100.5",
        "todecimal('abc') => (empty)",
        "todecimal(true) => 1",
        group=_GROUP,
    ),
    scalar(
        "tobool(value: any)",
        B,
        _to(B),
        "A bool: text true or false in any case, or an integer; a number is true when it is not 0.",
        "tobool('tRuE') => True",
        "tobool('0') => False",
        "tobool('-1') => True",
        "tobool('1.0') => (empty)",
        "tobool('yes') => (empty)",
        group=_GROUP,
        aliases=("toboolean",),
    ),
    scalar(
        "todatetime(value: any)",
        T,
        _todatetime,
        "A datetime (UTC): ISO 8601, RFC 822, RFC 850 and US month/day/year texts; a number is taken as ticks since 0001-01-01. "
        "A year alone, or year and month, gives null.",
        "todatetime('2020-06-15T13:45:09.1234567Z') => 2020-06-15T13:45:09.1234567Z",
        "todatetime('2020-06-15 13:45:09') => 2020-06-15T13:45:09.0000000Z",
        "todatetime('2020-06-15T13:45:09+02:00') => 2020-06-15T11:45:09.0000000Z",
        "todatetime(1) => 0001-01-01T00:00:00.0000001Z",
        "todatetime('2020') => (empty)",
        group=_GROUP,
        fold=_folding(values.parse_datetime),
    ),
    scalar(
        "totimespan(value: any)",
        P,
        _to(P),
        "A timespan: ``[-][d.]hh:mm[:ss[.fffffff]]`` or ``1.5h`` and kin; a number is taken as ticks.",
        "totimespan('1.02:03:04.5') => 1.02:03:04.5000000",
        "totimespan('1d') => 1.00:00:00",
        "totimespan('0:0:0.001') => 00:00:00.0010000",
        "totimespan('25:00') => (empty)",
        group=_GROUP,
        aliases=("totime",),
        fold=_folding(values.parse_timespan),
    ),
    scalar(
        "toguid(value: any)",
        G,
        _to(G),
        "A guid, in lower case with dashes.",
        "toguid('70FC66F7-8279-44FC-9092-D364D70FCE44') => 70fc66f7-8279-44fc-9092-d364d70fce44",
        "toguid('abc') => (empty)",
        group=_GROUP,
    ),
    scalar(
        "todynamic(value: any)",
        J,
        _todynamic,
        "Text parsed as JSON; text that is not JSON stays a string; the empty text is null.",
        "todynamic('[1,2,3]')[1] => 2",
        "parse_json('not json') => not json",
        "parse_json('') => (empty)",
        'parse_json(\'{"a": 1}\') => {"a":1}',
        group="Dynamic",
        aliases=("parse_json", "parsejson", "toobject"),
    ),
    scalar(
        "gettype(value: any)",
        S,
        _gettype,
        "The type's name. Of a dynamic: long, double, bool, string, array, dictionary or null.",
        "gettype(1) => long",
        "gettype(dynamic({})) => dictionary",
        "gettype(dynamic(null)) => null",
        "gettype(1s) => timespan",
        group="Metadata",
    ),
    *(
        scalar(
            f"{name}(value: any)",
            kind,
            _typed(kind),
            f"The value as {kind}; the literal's form with a computed argument.",
            example,
            group=_GROUP,
        )
        for name, kind, example in (
            ("bool", B, "bool(true) => True"),
            ("boolean", B, "boolean(true) => True"),
            ("int", I, "int(5) => 5"),
            ("long", L, "long(5) => 5"),
            ("real", R, "real(1.5) => 1.5"),
            ("double", R, "double(1.5) => 1.5"),
            ("decimal", D, "decimal(1.5) => 1.5"),
            ("string", S, "string(5) => 5"),
            ("guid", G, "guid(70fc66f7-8279-44fc-9092-d364d70fce44) => 70fc66f7-8279-44fc-9092-d364d70fce44"),
            ("datetime", T, "datetime(2020-01-01) => 2020-01-01T00:00:00.0000000Z"),
            ("date", T, "date(2020-01-01) => 2020-01-01T00:00:00.0000000Z"),
            ("timespan", P, "timespan(1d) => 1.00:00:00"),
            ("time", P, "time(1d) => 1.00:00:00"),
        )
    ),
)
