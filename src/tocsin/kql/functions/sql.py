"""Pieces of SQL text that lowerings share: literals, typed nulls, and the two physical forms of a datetime."""

from __future__ import annotations

from tocsin.kql.functions.model import Operand
from tocsin.kql.types import KqlType

__all__ = ["EPOCH_TICKS", "MAX_TICKS", "SQL_TYPES", "TIES", "micros", "null", "sql_type", "text", "ticks"]

EPOCH_TICKS = 621355968000000000
"""Ticks of 100 ns from 0001-01-01 to 1970-01-01."""
MAX_TICKS = 3155378975999999999
"""The last tick of the year 9999."""

TIES = "\x00ties\x00"
"""Stands in an aggregate's ORDER BY for all that the aggregates of its stage read: rows that are equal there may stand for each other. Only in
steady queries; no statement's text holds a NUL otherwise."""

SQL_TYPES: dict[KqlType, str] = {
    KqlType.BOOL: "BOOLEAN",
    KqlType.INT: "INTEGER",
    KqlType.LONG: "BIGINT",
    KqlType.REAL: "DOUBLE",
    KqlType.DECIMAL: "DECIMAL(38,17)",
    KqlType.STRING: "VARCHAR",
    KqlType.DATETIME: "TIMESTAMP",
    KqlType.TIMESPAN: "BIGINT",
    KqlType.GUID: "VARCHAR",
    KqlType.DYNAMIC: "JSON",
}


def sql_type(kind: KqlType, ticks: bool = False) -> str:
    """DuckDB's type of a value of that KQL type."""
    return "BIGINT" if ticks and kind is KqlType.DATETIME else SQL_TYPES[kind]


def text(value: str) -> str:
    """A string literal. Quotes are doubled; NUL, which would end the statement's text, is built from its code."""
    if "\x00" in value:
        return "(" + " || chr(0) || ".join("'" + part.replace("'", "''") + "'" for part in value.split("\x00")) + ")"
    return "'" + value.replace("'", "''") + "'"


def null(kind: KqlType) -> str:
    """The typed null (of a string: the empty string)."""
    return "''" if kind is KqlType.STRING else f"NULL::{SQL_TYPES[kind]}"


def ticks(operand: Operand) -> str:
    """A datetime as BIGINT ticks."""
    if operand.constant and isinstance(operand.value, int):
        return f"{operand.value}::BIGINT"
    return operand.sql if operand.ticks else f"k_tk({operand.sql})"


def micros(operand: Operand) -> str:
    """A datetime as TIMESTAMP; what a microsecond can't hold is cut."""
    return f"k_ts({operand.sql})" if operand.ticks else operand.sql
