"""bin and bin_at: values rounded down to a multiple; datetimes count from 0001-01-01."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.kql.functions.datetime import made
from tocsin.kql.functions.define import scalar
from tocsin.kql.functions.model import FunctionError, Lowered, Operand, ScalarFunction
from tocsin.kql.functions.sql import ticks
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS"]

L, R, T, P = KqlType.LONG, KqlType.REAL, KqlType.DATETIME, KqlType.TIMESPAN
I = KqlType.INT  # noqa: E741


def _bin(operands: Sequence[Operand]) -> Lowered:
    value, size = operands[0], operands[1]
    if value.type is T:
        return _bin_datetime(value, size)
    if value.type is P or (value.type in (L, I) and size.type in (L, I, P)):
        kind = P if value.type is P or size.type is P else L
        if size.type in (R, KqlType.DECIMAL):
            return made(f"k_rlong(k_rbin(({value.sql})::DOUBLE, ({size.sql})::DOUBLE))", kind)
        if size.constant and isinstance(size.value, int) and 0 < size.value < 1 << 62:
            width = size.value
            v = f"({value.sql})::BIGINT"
            return Lowered(f"try({v} - (({v} % {width} + {width}) % {width}))", kind, copies=2)
        return made(f"k_lbin({value.sql}, {size.sql})", kind)
    if value.type is KqlType.DECIMAL and size.type is not R:
        return made(f"try_cast(k_rbin(({value.sql})::DOUBLE, ({size.sql})::DOUBLE) AS DECIMAL(38,17))", KqlType.DECIMAL)
    return made(f"k_rbin(({value.sql})::DOUBLE, ({size.sql})::DOUBLE)", R)


_PARTS = {1_000_000: "second", 60_000_000: "minute", 3_600_000_000: "hour"}
"""Widths in microseconds that the engine's date_trunc knows; it is faster than arithmetic."""


def _bin_datetime(value: Operand, size: Operand) -> Lowered:
    if size.type in (L, I) and size.constant and isinstance(size.value, int):
        # A bare number is days, as in timespan(1).
        size = Operand(f"{size.value * 864000000000}::BIGINT", P, True, size.value * 864000000000)
    if size.type is not P:
        raise FunctionError("a datetime is rounded to a timespan", 1)
    if not value.ticks and size.constant and isinstance(size.value, int) and size.value % 10 == 0:
        if size.value <= 0:
            return Lowered("NULL::TIMESTAMP", T)
        width = size.value // 10
        if width > 315537897600000000:
            return Lowered(f"CASE WHEN ({value.sql}) IS NOT NULL THEN TIMESTAMP '0001-01-01' END", T)
        u = f"epoch_us({value.sql})"
        part = _PARTS.get(width)
        if part is not None:
            return Lowered(f"date_trunc('{part}', {value.sql})", T)
        return Lowered(f"make_timestamp({u} - ({u} + 62135596800000000) % {width})", T, copies=2)
    return made(f"k_bint({ticks(value)}, {size.sql})", T, in_ticks=True)


def _bin_at(operands: Sequence[Operand]) -> Lowered:
    value, size, fixed = operands
    if value.type is T:
        if fixed.type is not T or size.type is not P:
            raise FunctionError("a datetime is rounded to a timespan from a datetime", 2)
        return made(f"k_dtr(k_bin_at({ticks(value)}, {size.sql}, {ticks(fixed)}))", T, in_ticks=True)
    if value.type is P:
        if fixed.type not in (P, L, I) or size.type not in (P, L, I):
            raise FunctionError("a timespan is rounded to a timespan from a timespan", 2)
        return made(f"k_bin_at({value.sql}, {size.sql}, {fixed.sql})", P)
    if not all(o.type.is_numeric for o in operands):
        raise FunctionError("a number is rounded to a number from a number", 1)
    if all(o.type in (L, I) for o in operands):
        return made(f"k_bin_at({value.sql}, {size.sql}, {fixed.sql})", L)
    a, b, c = (f"({o.sql})::DOUBLE" for o in operands)
    return made(f"k_bin_atr({a}, {b}, {c})", R)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "bin(value: number|datetime|timespan, roundTo: number|timespan)",
        None,
        _bin,
        "The value rounded down to a multiple; datetimes count from 0001-01-01.",
        "bin(4.5, 1) => 4.0",
        "bin(-5, 2) => -6",
        "bin(16d, 7d) => 14.00:00:00",
        "bin(datetime(1955-11-05), 7d) => 1955-10-31T00:00:00.0000000Z",
        "bin(7, 0) => (empty)",
        group="Rounding",
        aliases=("floor",),
    ),
    scalar(
        "bin_at(value: number|datetime|timespan, size: number|timespan, fixed: number|datetime|timespan)",
        None,
        _bin_at,
        "The value rounded down to a multiple counted from a fixed point.",
        "bin_at(6.5, 2.5, 7) => 4.5",
        "bin_at(datetime(2017-05-15 10:20:00), 1d, datetime(1970-01-01 12:00:00)) => 2017-05-14T12:00:00.0000000Z",
        group="Rounding",
    ),
)
