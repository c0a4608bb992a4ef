"""Constant folding: what must be known while binding (a bin's width, a pattern, a row count) and is written as an expression."""

from __future__ import annotations

import json
import math

from tocsin.kql.emit.duckdb.literals import MAX_TICKS, constant
from tocsin.kql.plan import Scalar
from tocsin.kql.types import KqlType

__all__ = ["arithmetic", "json_constant", "member", "negate"]

_LONG_MIN, _LONG_MAX = -(1 << 63), (1 << 63) - 1


def _number(value: Scalar) -> int | float | None:
    if not value.constant or isinstance(value.value, (bool, str)) or value.value is None:
        return None
    return value.value if isinstance(value.value, (int, float)) else None


def negate(value: Scalar) -> Scalar | None:
    """``-constant``."""
    number = _number(value)
    if number is None or value.type is KqlType.DECIMAL:
        return None
    kind = KqlType.LONG if value.type is KqlType.INT else value.type
    return constant(kind, wrap(-number) if isinstance(number, int) else -number)


def wrap(number: int) -> int:
    """64-bit arithmetic wraps, as the engine's does."""
    return (number - _LONG_MIN) % (1 << 64) + _LONG_MIN


def arithmetic(op: str, left: Scalar, right: Scalar, kind: KqlType) -> Scalar | None:
    """The value of an operation on constants, or None when it is not folded."""
    a, b = _number(left), _number(right)
    if a is None or b is None or kind is KqlType.DECIMAL or KqlType.DECIMAL in (left.type, right.type):
        return None
    if kind is KqlType.REAL:
        value = _real(op, float(a), float(b))
        return constant(kind, value)
    if isinstance(a, float) or isinstance(b, float):
        if op in "*/" and kind is KqlType.TIMESPAN:
            real = _real(op, float(a), float(b))
            if math.isfinite(real):
                return constant(kind, min(max(int(real), _LONG_MIN), _LONG_MAX))
        return None
    integer = _integer(op, a, b)
    if integer is None:
        return constant(kind, None)
    if kind is KqlType.DATETIME:
        return constant(kind, integer if 0 <= integer <= MAX_TICKS else None)
    return constant(kind, wrap(integer))


def _integer(op: str, a: int, b: int) -> int | None:
    if op == "+":
        return a + b
    if op == "-":
        return a - b
    if op == "*":
        return a * b
    if b == 0:
        return None
    if op == "/":
        quotient = abs(a) // abs(b)
        return quotient if (a < 0) == (b < 0) else -quotient
    return a % abs(b)


def _real(op: str, a: float, b: float) -> float:
    if op == "+":
        return a + b
    if op == "-":
        return a - b
    if op == "*":
        return a * b
    if op == "/":
        if b == 0:
            return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)
        return a / b
    if b == 0 or not math.isfinite(a):
        return math.nan
    return math.fmod(math.fmod(a, b) + abs(b), abs(b))


def json_constant(value: object) -> Scalar:
    """A dynamic constant from a Python value."""
    if value is None:
        return constant(KqlType.DYNAMIC, None)
    return constant(KqlType.DYNAMIC, json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def json_value(value: Scalar) -> object:
    """The Python value of a dynamic constant; raises ValueError when it is not JSON."""
    return None if value.value is None else json.loads(str(value.value))


def member(target: Scalar, step: Scalar) -> Scalar | None:
    """``constant[constant]``."""
    try:
        inside = json_value(target)
    except ValueError:
        return None
    key = step.value
    if isinstance(inside, dict) and isinstance(key, str):
        return json_constant(inside.get(key))
    if isinstance(inside, list) and isinstance(key, int) and -len(inside) <= key < len(inside):
        return json_constant(inside[key])
    return constant(KqlType.DYNAMIC, None)
