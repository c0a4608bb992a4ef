"""Types: which operands an operator takes, what it gives, and the implicit conversions between."""

from __future__ import annotations

from dataclasses import replace

from tocsin.kql import ast
from tocsin.kql.binder.errors import BindError, fail
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.functions import conversion
from tocsin.kql.plan import Scalar
from tocsin.kql.types import KqlType

__all__ = ["arithmetic_types", "comparable", "convert", "promote"]

_RANK = {KqlType.INT: 0, KqlType.LONG: 1, KqlType.DECIMAL: 2, KqlType.REAL: 3}
_DYNAMIC_TO = {
    KqlType.STRING: "tostring",
    KqlType.LONG: "tolong",
    KqlType.INT: "toint",
    KqlType.REAL: "todouble",
    KqlType.DECIMAL: "todecimal",
    KqlType.BOOL: "tobool",
    KqlType.DATETIME: "todatetime",
    KqlType.TIMESPAN: "totimespan",
    KqlType.GUID: "toguid",
    KqlType.DYNAMIC: "todynamic",
}


def promote(a: KqlType, b: KqlType) -> KqlType:
    """The wider of two number types."""
    return a if _RANK[a] >= _RANK[b] else b


def convert(value: Scalar, kind: KqlType) -> Scalar:
    """An implicit conversion: numbers widen, a dynamic becomes what is asked, anything else goes through KQL's to…() function."""
    if value.type is kind:
        return value
    if value.constant and value.value is None:
        return scalars.null(kind)
    if value.type.is_numeric and kind.is_numeric and _RANK[value.type] <= _RANK[kind]:
        return scalars.cast(value, kind)
    if kind is KqlType.DYNAMIC:
        return scalars.to_dynamic(value)
    if kind is KqlType.STRING and value.type is KqlType.GUID:
        return scalars.make(f"coalesce({value.sql}, '')", kind, (value,))
    return explicit(value, kind)


def implicit(value: Scalar, kinds: tuple[KqlType, ...]) -> Scalar | None:
    """`value` as the first of `kinds` that it converts to by itself, or None."""
    for kind in kinds:
        if value.type.is_numeric and kind.is_numeric and _RANK[value.type] <= _RANK[kind]:
            return convert(value, kind)
    if value.type is KqlType.DYNAMIC or (value.constant and value.value is None):
        return convert(value, kinds[0])
    if KqlType.DYNAMIC in kinds:
        return scalars.to_dynamic(value)
    if KqlType.STRING in kinds:
        return convert(value, KqlType.STRING)
    if value.type is KqlType.REAL and kinds[0] in (KqlType.LONG, KqlType.INT):
        return explicit(value, kinds[0])
    if value.type is KqlType.LONG and kinds[0] is KqlType.INT:
        return scalars.make(f"try_cast({value.sql} AS INTEGER)", KqlType.INT, (value,))
    if value.type is KqlType.DECIMAL and KqlType.REAL in kinds:
        return scalars.make(f"({value.sql})::DOUBLE", KqlType.REAL, (value,))
    if value.type is KqlType.BOOL and kinds[0].is_numeric:
        return scalars.make(f"({value.sql})::BIGINT", KqlType.LONG, (value,))
    if value.type is KqlType.STRING and KqlType.GUID in kinds:
        return explicit(value, KqlType.GUID)
    return None


def explicit(value: Scalar, kind: KqlType) -> Scalar:
    """``tostring(value)`` and kin, with an access into a dynamic as one path."""
    if kind is KqlType.STRING:
        fused = scalars.path_text(value)
        if fused is not None:
            return fused
    if value.type is KqlType.DYNAMIC:
        value = scalars.raw_path(value)
    made = scalars.lifted((value,), lambda plain: _converted(plain[0], kind))
    return replace(made, members=scalars.members_again(value)) if kind is KqlType.STRING and value.members else made


def _converted(value: Scalar, kind: KqlType) -> Scalar:
    lowered = conversion.convert(value, kind)
    return scalars.make(lowered.sql, lowered.type, (value,), ticks=lowered.ticks, copies=lowered.copies)


def comparable(node: ast.Node, left: Scalar, right: Scalar, *, equality: bool = False) -> tuple[Scalar, Scalar]:
    """Bring two operands of a comparison to one type, or refuse as KQL does. For `equality` a number beside a string is its text."""
    a, b = left.type, right.type
    if a is b:
        if a is KqlType.DYNAMIC and not (left.constant or right.constant):
            raise fail("KQL0105", "Two dynamics can't be compared.", node, "Convert them, for example with tostring().")
        return left, right
    if a.is_numeric and b.is_numeric:
        kind = promote(a, b)
        return convert(left, kind), convert(right, kind)
    if a is KqlType.DYNAMIC or b is KqlType.DYNAMIC:
        kind = b if a is KqlType.DYNAMIC else a
        if kind is KqlType.INT:
            kind = KqlType.LONG
        if kind is KqlType.LONG:  # 1.5 in a dynamic must not equal 1
            kind = KqlType.REAL
        return convert(left, kind), convert(right, kind)
    if {a, b} == {KqlType.STRING, KqlType.GUID}:
        return _as_guid(left), _as_guid(right)
    matched = _literal_beside(left, right)
    if matched is not None:
        return matched
    if KqlType.BOOL in (a, b) and (a.is_numeric or b.is_numeric):
        return _as_number(left), _as_number(right)
    if equality and KqlType.STRING in (a, b) and (a.is_numeric or b.is_numeric):
        return convert(left, KqlType.STRING), convert(right, KqlType.STRING)
    raise fail(
        "KQL0105",
        f"Values of types {a} and {b} can't be compared.",
        node,
        f"Convert one side, for example with {_DYNAMIC_TO[a]}() or {_DYNAMIC_TO[b]}().",
    )


def _literal_beside(left: Scalar, right: Scalar) -> tuple[Scalar, Scalar] | None:
    """A number beside a string column is compared by its text, a string beside a number column by its value.

    Log Analytics takes ``ResultType == 0`` and ``EventID == "4624"`` so; only for literals, where the meaning is clear.
    """
    if left.constant == right.constant:
        return None
    literal, other = (left, right) if left.constant else (right, left)
    made: Scalar | None = None
    if other.type is KqlType.STRING and literal.type in (KqlType.INT, KqlType.LONG, KqlType.REAL):
        made = constant(KqlType.STRING, str(literal.value))
    elif other.type.is_numeric and literal.type is KqlType.STRING:
        made = _number_literal(str(literal.value))
        if made is not None:
            kind = promote(made.type, other.type)
            made, other = convert(made, kind), convert(other, kind)
    elif other.type is KqlType.BOOL and literal.type is KqlType.STRING:
        meaning = {"true": True, "1": True, "false": False, "0": False}.get(str(literal.value).lower())
        made = constant(KqlType.BOOL, meaning) if meaning is not None else None
    if made is None:
        return None
    return (made, other) if left.constant else (other, made)


def _number_literal(text: str) -> Scalar | None:
    from tocsin.kql.values import parse_double, parse_long

    whole = parse_long(text)
    if whole is not None:
        return constant(KqlType.LONG, whole)
    real = parse_double(text)
    return constant(KqlType.REAL, real) if real is not None else None


def _as_guid(value: Scalar) -> Scalar:
    return value if value.type is KqlType.GUID else explicit(value, KqlType.GUID)


def _as_number(value: Scalar) -> Scalar:
    return scalars.make(f"({value.sql})::BIGINT", KqlType.LONG, (value,)) if value.type is KqlType.BOOL else value


def arithmetic_types(node: ast.Binary, left: Scalar, right: Scalar) -> tuple[Scalar, Scalar, KqlType]:
    """Operands and result type of ``+ - * / %``."""
    op = node.op
    if left.type is KqlType.DYNAMIC and right.type is KqlType.DYNAMIC:
        raise _bad_operands(node, left.type, right.type)
    if left.type is KqlType.DYNAMIC or right.type is KqlType.DYNAMIC:
        left, right = _dynamic_operands(op, left, right)
    a, b = left.type, right.type
    if KqlType.BOOL in (a, b) and (a.is_numeric or b.is_numeric or a is b):
        left, right = _as_number(left), _as_number(right)
        a, b = left.type, right.type
    if a.is_numeric and b.is_numeric:
        kind = promote(a, b)
        return left, right, KqlType.LONG if kind is KqlType.INT else kind
    date, span = KqlType.DATETIME, KqlType.TIMESPAN
    if op in "+-":
        if (a, b) == (span, span):
            return left, right, span
        if (a, b) == (date, span) or (op == "+" and (a, b) == (span, date)):
            return left, right, date
        if op == "-" and (a, b) == (date, date):
            return left, right, span
    if (a, b) == (span, span) and op in "/%":
        return left, right, KqlType.REAL if op == "/" else span
    if a is span and b.is_numeric and op in "*/%":
        return _span_operands(left, right)
    if b is span and a.is_numeric and op == "*":
        return _span_operands(left, right)
    raise _bad_operands(node, a, b)


def _span_operands(left: Scalar, right: Scalar) -> tuple[Scalar, Scalar, KqlType]:
    def number(value: Scalar) -> Scalar:
        return convert(value, KqlType.REAL) if value.type is KqlType.DECIMAL else value

    return number(left), number(right), KqlType.TIMESPAN


def _dynamic_operands(op: str, left: Scalar, right: Scalar) -> tuple[Scalar, Scalar]:
    """A dynamic takes the type of the other operand (a real when that is a number that it might not fit)."""

    def other(kind: KqlType) -> KqlType:
        if kind in (KqlType.DYNAMIC, KqlType.INT, KqlType.LONG, KqlType.BOOL):
            return KqlType.LONG
        if kind is KqlType.TIMESPAN and op in "*/":
            return KqlType.REAL
        if kind is KqlType.TIMESPAN:
            return KqlType.DATETIME
        return kind

    if left.type is KqlType.DYNAMIC:
        return convert(left, other(right.type)), right
    return left, convert(right, other(left.type))


def _bad_operands(node: ast.Binary, a: KqlType, b: KqlType) -> BindError:
    hint = "Use strcat() to join strings." if node.op == "+" and KqlType.STRING in (a, b) else ""
    if KqlType.DYNAMIC in (a, b):
        hint = "Convert them first, for example with tolong() or toreal()."
    return fail("KQL0105", f"'{node.op}' does not take {a} and {b}.", node, hint)
