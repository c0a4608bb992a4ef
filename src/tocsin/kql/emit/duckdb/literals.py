"""Constants as SQL text. With `tocsin.kql.functions.sql.text`, which escapes every string, the place to review for injection."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from tocsin.kql.functions.sql import EPOCH_TICKS, MAX_TICKS, SQL_TYPES, sql_type, text
from tocsin.kql.plan import Scalar
from tocsin.kql.types import KqlType

__all__ = ["EPOCH_TICKS", "MAX_TICKS", "SQL_TYPES", "constant", "literal", "quote_identifier", "sql_type", "text"]

_ORIGIN = datetime(1, 1, 1)  # noqa: DTZ001 - a datetime of KQL has no zone


def quote_identifier(name: str) -> str:
    """A quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def constant(kind: KqlType, value: object) -> Scalar:
    """A constant of that type as a bound scalar. `value` has the shape that `ast.Literal.value` documents."""
    sql, ticks = _sql(kind, value)
    return Scalar(sql, kind, constant=True, value=value, cheap=True, ticks=ticks)


def literal(kind: KqlType, value: object) -> str:
    """Only the SQL text of `constant`."""
    return _sql(kind, value)[0]


def _sql(kind: KqlType, value: object) -> tuple[str, bool]:
    if value is None:
        return ("''" if kind is KqlType.STRING else f"NULL::{SQL_TYPES[kind]}"), False
    if kind is KqlType.STRING or kind is KqlType.GUID:
        return text(str(value)), False
    if kind is KqlType.BOOL:
        return ("TRUE" if value else "FALSE"), False
    if kind is KqlType.INT:
        return f"({int(value)})::INTEGER" if _fits(int(value), 31) else "NULL::INTEGER", False  # type: ignore[call-overload]
    if kind is KqlType.LONG or kind is KqlType.TIMESPAN:
        number = int(value)  # type: ignore[call-overload]
        return (_bigint(number) if _fits(number, 63) else "NULL::BIGINT"), False
    if kind is KqlType.REAL:
        number_ = float(value)  # type: ignore[arg-type]
        if math.isnan(number_):
            return "'nan'::DOUBLE", False
        if math.isinf(number_):
            return ("'inf'::DOUBLE" if number_ > 0 else "'-inf'::DOUBLE"), False
        return f"{number_!r}::DOUBLE", False
    if kind is KqlType.DECIMAL:
        return f"try_cast({text(str(value))} AS DECIMAL(38,17))", False
    if kind is KqlType.DATETIME:
        return _datetime(int(value))  # type: ignore[call-overload]
    return f"{text(str(value))}::JSON", False


def _fits(number: int, bits: int) -> bool:
    return -(1 << bits) <= number < (1 << bits)


def _bigint(number: int) -> str:
    # -9223372036854775808 is read as the negation of a number that does not fit.
    if number == -(1 << 63):
        return "(-9223372036854775807::BIGINT - 1)"
    return f"{number}::BIGINT" if number >= 0 else f"({number})::BIGINT"


def _datetime(ticks: int) -> tuple[str, bool]:
    if not 0 <= ticks <= MAX_TICKS:
        return "NULL::TIMESTAMP", False
    if ticks % 10:
        return f"{ticks}::BIGINT", True
    moment = _ORIGIN + timedelta(microseconds=ticks // 10)
    return f"TIMESTAMP '{moment.isoformat(sep=' ')}'", False
