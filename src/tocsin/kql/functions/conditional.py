"""Conditions, null tests and functions that look at their argument's type."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.kql.functions.conversion import convert
from tocsin.kql.functions.define import refused, scalar
from tocsin.kql.functions.model import FunctionError, Lowered, Operand, ScalarFunction
from tocsin.kql.functions.sql import ticks
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS", "common_type", "unified"]

B, I, L, R, D = KqlType.BOOL, KqlType.INT, KqlType.LONG, KqlType.REAL, KqlType.DECIMAL  # noqa: E741
S, T, P, G, J = KqlType.STRING, KqlType.DATETIME, KqlType.TIMESPAN, KqlType.GUID, KqlType.DYNAMIC
_GROUP = "Conditional"
_RANK = {I: 0, L: 1, D: 2, R: 3}


def common_type(operands: Sequence[Operand]) -> KqlType:
    """The type that all branches are brought to. Null literals give way; a dynamic beside another type wins."""
    kinds = [o.type for o in operands if not (o.constant and o.value is None and o.type is not S)] or [
        o.type for o in operands
    ]
    distinct = set(kinds)
    if len(distinct) == 1:
        return kinds[0]
    if distinct <= set(_RANK):
        return max(distinct, key=lambda k: _RANK[k])
    if J in distinct:
        return J
    if distinct == {S, G}:
        return S
    raise FunctionError(
        f"the branches have different types: {', '.join(sorted(str(k) for k in distinct))}", len(operands) - 1
    )


_NUMBER_CLASSES = {I: 1, L: 1, R: 2, D: 3}


def unified(operands: Sequence[Operand]) -> tuple[list[str], KqlType, bool]:
    """The operands' texts in one type and one physical form.

    Raises FunctionError for a whole number beside a real or decimal: the engine refuses to choose between them.
    """
    classes = [0 if o.constant and o.value is None else _NUMBER_CLASSES.get(o.type, 0) for o in operands]
    numbers = {c for c in classes if c}
    if len(numbers) > 1:
        first = next(c for c in classes if c)
        at = next(i for i, c in enumerate(classes) if c not in (0, first))
        raise FunctionError(
            f"its values must be of one type; there are {operands[classes.index(first)].type} and {operands[at].type}",
            hint="Convert one with toreal(), tolong() or todecimal().",
        )
    kind = common_type(operands)
    if kind is T:
        in_ticks = any(o.ticks for o in operands)
        if in_ticks:
            return [ticks(o) if o.type is T else "NULL::BIGINT" for o in operands], T, True
        return [o.sql if o.type is T else "NULL::TIMESTAMP" for o in operands], T, False
    return [o.sql if o.type is kind else convert(o, kind).sql for o in operands], kind, False


def _condition(operand: Operand) -> str:
    if operand.type is B:
        return operand.sql
    if operand.type.is_numeric:
        return f"({operand.sql} <> 0)"
    return convert(operand, B).sql


def _iff(operands: Sequence[Operand]) -> Lowered:
    test, yes, no = operands
    (a, b), kind, in_ticks = unified((yes, no))
    return Lowered(f"CASE WHEN {_condition(test)} THEN {a} ELSE {b} END", kind, in_ticks)


def _case(operands: Sequence[Operand]) -> Lowered:
    if len(operands) < 3 or len(operands) % 2 == 0:
        raise FunctionError("give predicates and values in turn, then the value for all else", len(operands) - 1)
    branches = [*operands[1:-1:2], operands[-1]]
    values, kind, in_ticks = unified(branches)
    tests = [_condition(o) for o in operands[0:-1:2]]
    arms = " ".join(f"WHEN {t} THEN {v}" for t, v in zip(tests, values[:-1], strict=True))
    return Lowered(f"CASE {arms} ELSE {values[-1]} END", kind, in_ticks)


def _coalesce(operands: Sequence[Operand]) -> Lowered:
    values, kind, in_ticks = unified(operands)
    if kind is S:
        items = [f"nullif({v}, '')" for v in values[:-1]]
        return Lowered(f"coalesce({', '.join([*items, values[-1]])})", S, copies=2)
    return Lowered(f"coalesce({', '.join(values)})", kind, in_ticks)


def _isnull(operands: Sequence[Operand]) -> Lowered:
    value = operands[0]
    if value.type is S:
        return Lowered("FALSE", B)
    return Lowered(f"({value.sql} IS NULL)", B)


def _isnotnull(operands: Sequence[Operand]) -> Lowered:
    value = operands[0]
    if value.type is S:
        return Lowered("TRUE", B)
    return Lowered(f"({value.sql} IS NOT NULL)", B)


def _size(operands: Sequence[Operand]) -> Lowered:
    parts = []
    for o in operands:
        if o.type in (S, J):
            parts.append(f"strlen(coalesce({o.sql}::VARCHAR, ''))")
        else:
            parts.append({B: "1", I: "4", L: "8", R: "8", D: "16", T: "8", P: "8", G: "16"}[o.type])
    return Lowered(f"({' + '.join(parts) or '0'})::BIGINT", L)


_ASSERTION = "KQL0105 An assertion of the query failed: "
"""How an error begins that ``assert`` raises while a query runs (a code, as the engine's door wants it); the query's own message follows."""


def _assert(operands: Sequence[Operand]) -> Lowered:
    test, message = operands
    if test.constant:
        if not test.value:
            raise FunctionError(str(message.value or "the assertion failed"), 0)
        return Lowered("TRUE", B)
    return Lowered(f"CASE WHEN {test.sql} THEN TRUE ELSE error('{_ASSERTION}' || {message.sql}) END", B)


def _new_guid(_operands: Sequence[Operand]) -> Lowered:
    return Lowered("uuid()::VARCHAR", G)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "iff(condition: any, whenTrue: any, whenFalse: any)",
        None,
        _iff,
        "The one value where the condition is true, the other where it is false or null.",
        "iff(1 < 2, 'yes', 'no') => yes",
        "iff(bool(null), 1, 2) => 2",
        group=_GROUP,
        aliases=("iif",),
    ),
    scalar(
        "case(conditionsAndValues: any*)",
        None,
        _case,
        "The value after the first condition that is true; the last argument where none is.",
        "case(1 > 2, 'a', 2 > 1, 'b', 'c') => b",
        "case(false, 1, 2) => 2",
        group=_GROUP,
    ),
    scalar(
        "coalesce(values: any*)",
        None,
        _coalesce,
        "The first value that is not null (of strings: not empty).",
        "coalesce(long(null), 5) => 5",
        "coalesce('', 'x') => x",
        group=_GROUP,
    ),
    scalar(
        "isnull(value: any)",
        B,
        _isnull,
        "True for null. A string is never null.",
        "isnull(long(null)) => True",
        "isnull('') => False",
        group=_GROUP,
    ),
    scalar(
        "isnotnull(value: any)",
        B,
        _isnotnull,
        "True for what is not null.",
        "isnotnull(1) => True",
        group=_GROUP,
        aliases=("notnull",),
    ),
    scalar("not(value: bool)", B, "(NOT {0})", "The opposite; null of null.", "not(false) => True", group=_GROUP),
    scalar(
        "estimate_data_size(values: any*)",
        L,
        _size,
        "About how many bytes the values take.",
        "estimate_data_size('abc', 1) => 11",
        group="Metadata",
    ),
    scalar(
        "assert(condition: bool, message: string)",
        B,
        _assert,
        "Stops the query with the message unless the constant condition is true.",
        "assert(true, 'fine') => True",
        group="Metadata",
    ),
    scalar(
        "new_guid()",
        G,
        _new_guid,
        "A new random guid in every row.",
        "strlen(tostring(new_guid())) => 36",
        group="Metadata",
        deterministic=False,
    ),
    scalar(
        "current_cluster_endpoint()",
        S,
        "'localhost'",
        "The name of the server that answers.",
        "isnotempty(current_cluster_endpoint()) => True",
        group="Metadata",
    ),
    scalar(
        "current_principal_details()",
        J,
        "'{}'::JSON",
        "What is known of the signed-in user.",
        "current_principal_details() => {}",
        group="Metadata",
    ),
    scalar(
        "current_principal_is_member_of(groups: any?*)",
        B,
        "FALSE",
        "True when the signed-in user is in one of the groups: never here, where roles take that place.",
        "current_principal_is_member_of('x') => False",
        group="Metadata",
    ),
    scalar(
        "ingestion_time()",
        T,
        "NULL::TIMESTAMP",
        "When the row was received.",
        "isnull(ingestion_time()) => True",
        group="Metadata",
    ),
    scalar(
        "extent_id()",
        G,
        "NULL::VARCHAR",
        "The storage shard of the row: rows have none here.",
        "isnull(extent_id()) => True",
        group="Metadata",
        aliases=("extentid",),
    ),
    scalar(
        "extent_tags()",
        J,
        "NULL::JSON",
        "The tags of the row's storage shard: rows have none here.",
        "isnull(extent_tags()) => True",
        group="Metadata",
    ),
    scalar(
        "cursor_after(cursor: string)",
        B,
        "TRUE",
        "True for rows that came after a database cursor: there are no cursors here, so for every row.",
        "cursor_after('') => True",
        group="Metadata",
        aliases=("cursor_before_or_at",),
    ),
    refused(
        "rowstore_ordinal_range", "rows have no storage ordinals here", "Storage internals of Kusto.", group="Metadata"
    ),
)
