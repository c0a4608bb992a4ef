"""Calls that the binder answers itself: the query's moment, columns by name, tables as values."""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin.kql import ast
from tocsin.kql.binder import fold
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail
from tocsin.kql.binder.typing_rules import convert
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.plan import Scalar
from tocsin.kql.types import KqlType

__all__ = ["SPECIAL_FORMS", "now_ticks", "pack"]


def _now(b: Binder, node: ast.Call, row: Row) -> Scalar:
    if len(node.args) > 1:
        raise fail("KQL0104", f"{node.callee}() takes at most one argument.", node)
    b.uses_now = True
    moment = constant(KqlType.DATETIME, now_ticks(b))
    if not node.args:
        return moment
    offset = b.scalar(node.args[0], row)
    return _shift(node, moment, offset, "+")


def now_ticks(b: Binder) -> int:
    """The query's own moment, in whole microseconds."""
    from datetime import UTC, datetime

    moment = b.now if b.now.tzinfo is None else b.now.astimezone(UTC).replace(tzinfo=None)
    delta = moment - datetime(1, 1, 1)  # noqa: DTZ001 - ticks count from a zoneless origin
    return (delta.days * 86_400 + delta.seconds) * 10_000_000 + delta.microseconds * 10


def _ago(b: Binder, node: ast.Call, row: Row) -> Scalar:
    if len(node.args) != 1:
        raise fail("KQL0104", "ago() takes one timespan.", node)
    b.uses_now = True
    return _shift(node, constant(KqlType.DATETIME, now_ticks(b)), b.scalar(node.args[0], row), "-")


def _shift(node: ast.Call, moment: Scalar, span: Scalar, op: str) -> Scalar:
    if span.type is KqlType.DYNAMIC:
        span = convert(span, KqlType.TIMESPAN)
    if span.type.is_numeric and span.constant and isinstance(span.value, int):
        # A bare number is a number of days, as in time(2).
        span = constant(KqlType.TIMESPAN, span.value * 864_000_000_000)
    if span.type is not KqlType.TIMESPAN:
        raise fail("KQL0105", f"{node.callee}() needs a timespan; this is a {span.type}.", node.args[0])
    folded = fold.arithmetic(op, moment, span, KqlType.DATETIME)
    return folded if folded is not None else scalars.arithmetic(op, moment, span, KqlType.DATETIME)


def _ingestion_time(b: Binder, node: ast.Call, row: Row) -> Scalar:
    column = row.relation.column("_TimeReceived") if row.relation is not None else None
    if column is None:
        return scalars.null(KqlType.DATETIME)
    return column.scalar()


def _column_ifexists(b: Binder, node: ast.Call, row: Row) -> Scalar:
    if len(node.args) != 2:
        raise fail("KQL0104", f"{node.callee}() takes a column's name and a default.", node)
    name = b.constant_text(node.args[0], row.env, f"{node.callee}()")
    default = b.scalar(node.args[1], row)
    column = row.relation.column(name) if row.relation is not None else None
    if column is None:
        return default
    return column.scalar()


def _pack_all(b: Binder, node: ast.Call, row: Row) -> Scalar:
    relation = row.relation
    if relation is None:
        raise fail("KQL0106", "pack_all() needs the columns of a table.", node.callee_span)
    skip = False
    if node.args:
        flag = b.scalar(node.args[0], row)
        if not flag.constant:
            raise fail("KQL0107", "pack_all() needs a constant for 'ignore_null_empty'.", node.args[0])
        skip = bool(flag.value)
    return pack([(c.name, c.scalar()) for c in relation.visible()], skip)


def _bag_pack_columns(b: Binder, node: ast.Call, row: Row) -> Scalar:
    pairs = []
    for argument in node.args:
        if not isinstance(argument, ast.Name):
            raise fail("KQL0105", "bag_pack_columns() takes columns.", argument)
        pairs.append((argument.name, b.scalar(argument, row)))
    return pack(pairs, False)


def pack(pairs: Sequence[tuple[str, Scalar]], skip_empty: bool) -> Scalar:
    """A bag of named values; with `skip_empty`, without those that are null or ''."""
    values = [v for _, v in pairs]
    if not pairs:
        return constant(KqlType.DYNAMIC, "{}")
    parts = []
    for name, value in pairs:
        key = constant(KqlType.STRING, name).sql
        made = scalars.to_dynamic(value).sql
        if not skip_empty:
            parts.append(f"{key}, {made}")
            continue
        keep = f"{value.sql} <> ''" if value.type is KqlType.STRING else f"({value.sql}) IS NOT NULL"
        parts.append(f"CASE WHEN {keep} THEN to_json({key})::VARCHAR || ':' || ({made})::VARCHAR END")
    if skip_empty:
        return scalars.make(f"('{{' || concat_ws(',', {', '.join(parts)}) || '}}')::JSON", KqlType.DYNAMIC, values)
    return scalars.make(f"json_object({', '.join(parts)})", KqlType.DYNAMIC, values)


def _toscalar(b: Binder, node: ast.Call, row: Row) -> Scalar:
    from tocsin.kql.binder.expressions import subquery_value

    if len(node.args) != 1:
        raise fail("KQL0104", "toscalar() takes one table.", node)
    return subquery_value(b, node.args[0], row)


def _materialize(b: Binder, node: ast.Call, row: Row) -> Scalar:
    if len(node.args) != 1:
        raise fail("KQL0104", "materialize() takes one table.", node)
    return b.scalar(node.args[0], row)


def _not(b: Binder, node: ast.Call, row: Row) -> Scalar:
    from tocsin.kql.binder.expressions import bind_boolean

    if len(node.args) != 1:
        raise fail("KQL0104", "not() takes one bool.", node)
    positive, row.positive = row.positive, False
    value = bind_boolean(b, node.args[0], row, "not()")
    row.positive = positive
    return scalars.inverse(value)


def _principal(b: Binder, node: ast.Call, row: Row) -> Scalar:
    value = b.parameters.get("__principal", "")
    return constant(KqlType.STRING, str(value))


def _database(b: Binder, node: ast.Call, row: Row) -> Scalar:
    return constant(KqlType.STRING, "Tocsin")


def _bin_auto(b: Binder, node: ast.Call, row: Row) -> Scalar:
    """``bin_at`` with the size and the fixed point of the query's settings."""
    size, at = (b.options.get(n) for n in ("query_bin_auto_size", "query_bin_auto_at"))
    if len(node.args) != 1 or size is None:
        raise fail(
            "KQL0104",
            "bin_auto() takes one value and the setting query_bin_auto_size.",
            node,
            "Write 'set query_bin_auto_size=1h;'.",
        )
    function = "bin_at" if at is not None else "bin"
    args = (node.args[0], size, at) if at is not None else (node.args[0], size)
    return b.scalar(ast.Call(node.span, function, args, node.callee_span), row)


def _column_names_of(b: Binder, node: ast.Call, row: Row) -> Scalar:
    if len(node.args) != 1:
        raise fail("KQL0104", "column_names_of() takes one table.", node)
    return fold.json_constant([c.name for c in b.table(node.args[0], row.env).visible()])


SPECIAL_FORMS: dict[str, Callable[[Binder, ast.Call, Row], Scalar]] = {
    "now": _now,
    "ago": _ago,
    "ingestion_time": _ingestion_time,
    "column_ifexists": _column_ifexists,
    "columnifexists": _column_ifexists,
    "pack_all": _pack_all,
    "bag_pack_columns": _bag_pack_columns,
    "toscalar": _toscalar,
    "materialize": _materialize,
    "not": _not,
    "current_principal": _principal,
    "current_database": _database,
    "bin_auto": _bin_auto,
    "column_names_of": _column_names_of,
}
