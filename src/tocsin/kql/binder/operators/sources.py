"""Sources: print, range, externaldata."""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

from collections.abc import Sequence

from tocsin.base.errors import TocsinError
from tocsin.kql import ast
from tocsin.kql.binder import fold
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, policy
from tocsin.kql.binder.typing_rules import convert, explicit, promote
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.functions import registry
from tocsin.kql.plan import Compute, Custom, OrderKey, Scalar
from tocsin.kql.scope import BoundColumn, Environment, Relation
from tocsin.kql.types import KqlType

__all__ = ["SOURCES"]

RANGE_LIMIT = 100_000_000
"""Rows that `range` may make."""


def _print(b: Binder, node: ast.Project, env: Environment) -> Relation:
    from tocsin.kql.binder.operators.columns import bind_items, project_relation

    if node.keyword != "print":
        raise fail("KQL0106", f"'{node.keyword}' needs a table before it.", node)
    relation = b.single()
    row = b.row(relation, env)
    bound = bind_items(b, node.items, row, "print_", 0, by_position=True)
    return project_relation(b, b.settle(relation, row), bound, node)


def _range(b: Binder, node: ast.Range, env: Environment) -> Relation:
    row = Row(env)
    start, stop, step = (b.scalar(n, row) for n in (node.start, node.stop, node.step))
    start, stop, step, kind = range_types(node, start, stop, step)
    number = b.alias()
    count = _range_count(start, stop, step, kind)
    if isinstance(count, int):
        if count > RANGE_LIMIT:
            raise fail("KQL0110", f"range makes {count} rows; the limit is {RANGE_LIMIT}.", node)
        rows = str(count)

        def build(names: Sequence[str]) -> str:
            return f"SELECT range AS {number} FROM range(0, {rows})"
    else:
        text = count

        def build(names: Sequence[str]) -> str:
            return f"SELECT unnest(range(0, n)) AS {number} FROM (SELECT least(greatest(coalesce({text}, 0), 0), {RANGE_LIMIT}) AS n)"

    plan = Custom(frozenset((number,)), [], build)
    alias = b.alias()
    value = range_value(start, step, kind, number)
    column = BoundColumn(node.name, kind, alias, value.ticks)
    computed = Compute(plan.aliases | {alias}, plan, [(alias, value)])
    return Relation(computed, (column,), (OrderKey(number),), serialized=True)


def range_types(node: ast.Node, start: Scalar, stop: Scalar, step: Scalar) -> tuple[Scalar, Scalar, Scalar, KqlType]:
    """Bring the bounds and the step of a range to one type."""
    if start.type is KqlType.DYNAMIC or stop.type is KqlType.DYNAMIC:
        start, stop = (convert(x, KqlType.LONG) if x.type is KqlType.DYNAMIC else x for x in (start, stop))
    if start.type.is_numeric and stop.type.is_numeric and step.type.is_numeric:
        kind = promote(promote(start.type, stop.type), step.type)
        if kind is KqlType.INT:
            kind = KqlType.LONG
        if kind is KqlType.DECIMAL:
            kind = KqlType.REAL
        return convert(start, kind), convert(stop, kind), convert(step, kind), kind
    if start.type is stop.type and start.type in (KqlType.DATETIME, KqlType.TIMESPAN) and step.type is KqlType.TIMESPAN:
        return start, stop, step, start.type
    raise fail("KQL0105", f"range does not take {start.type}, {stop.type} and a step of {step.type}.", node)


def _range_count(start: Scalar, stop: Scalar, step: Scalar, kind: KqlType) -> int | str:
    if all(s.constant for s in (start, stop, step)):
        values = [s.value for s in (start, stop, step)]
        if any(not isinstance(v, (int, float)) for v in values) or not values[2]:
            return 0
        a, z, s = (float(str(v)) if kind is KqlType.REAL else int(str(v)) for v in values)
        if kind is KqlType.REAL:
            return max(int((z - a) / s + 1e-9) + 1, 0) if (z - a) / s >= 0 else 0
        return int(max((z - a) // s + 1, 0) if s > 0 else max((a - z) // -s + 1, 0))
    if kind is KqlType.DATETIME:
        low, high = scalars.ticks(start), scalars.ticks(stop)
    else:
        low, high = start.sql, stop.sql
    if kind is KqlType.REAL:
        steps = f"({high} - {low}) / {step.sql}"
        return f"CASE WHEN {steps} >= 0 THEN try_cast(floor({steps} + 1e-9) + 1 AS BIGINT) END"
    forwards, backwards = f"{step.sql} > 0 AND {high} >= {low}", f"{step.sql} < 0 AND {high} <= {low}"
    return f"CASE WHEN {forwards} OR {backwards} THEN ({high} - {low}) // {step.sql} + 1 END"


def range_value(start: Scalar, step: Scalar, kind: KqlType, number: str) -> Scalar:
    """The value at a position."""
    position = Scalar(number, KqlType.LONG, refs=frozenset((number,)))
    if kind is KqlType.REAL:
        return scalars.make(f"({start.sql} + {number} * {step.sql})", kind, (start, step, position))
    if kind is KqlType.DATETIME:
        whole = step.constant and isinstance(step.value, int) and step.value % 10 == 0 and not start.ticks
        if whole:
            micros = step.value // 10  # type: ignore[operator]
            return scalars.make(f"q_micros(epoch_us({start.sql}) + {number} * ({micros}))", kind, (start, position))
        return scalars.make(
            f"q_range({scalars.ticks(start)} + {number} * {step.sql})", kind, (start, step, position), ticks=True
        )
    return scalars.make(f"({start.sql} + {number} * {step.sql})", kind, (start, step, position))


def _externaldata(b: Binder, node: ast.ExternalData, env: Environment) -> Relation:
    """Rows of files. Whether that may be at all is the caller's policy; here it is only a table by another name."""
    if b.external is None:
        raise policy("externaldata", "reading from other places is not allowed here", node)
    uris = []
    for uri in node.uris:
        value = b.scalar(uri, Row(env))
        if not value.constant or value.type is not KqlType.STRING:
            raise fail("KQL0107", "externaldata needs constant addresses.", uri)
        uris.append(str(value.value))
    options = {k: getattr(v, "value", None) for k, v in node.options.items()}
    try:
        name = b.external(tuple((c.name, c.type) for c in node.schema), tuple(uris), options)
    except TocsinError as error:
        refused = "KQL0202" if error.code == "QRY0010" else "KQL0203"
        raise fail(refused, error.message.rstrip(".") + ".", node, error.hint) from error
    if name is None:
        from tocsin.kql.binder.operators.rows import values_relation

        columns = [BoundColumn(c.name, c.type, b.alias()) for c in node.schema]
        return values_relation(b, columns, [])
    from tocsin.kql.binder.operators.columns import project_relation
    from tocsin.kql.binder.tables import scan_table
    from tocsin.kql.types import Column, TableSchema

    schema = TableSchema(str(name), tuple(Column(c.name, KqlType.STRING) for c in node.schema))
    relation = scan_table(b, schema)
    cells = zip(node.schema, relation.columns, strict=True)
    bound = [(None, c.name, _typed(column.scalar(), c.type)) for c, column in cells]
    return project_relation(b, relation, bound, node)


def _typed(cell: Scalar, kind: KqlType) -> Scalar:
    """A cell of a file as the declared type, by the conversion that a query would write."""
    if kind is KqlType.DYNAMIC:
        parse = registry.scalar("parse_json")
        assert parse is not None
        return scalars.make(parse.lower((cell,)).sql, kind, (cell,), copies=2)
    return cell if kind is KqlType.STRING else explicit(cell, kind)


def _macro_expand(b: Binder, node: ast.MacroExpand, env: Environment) -> Relation:
    raise policy("macro-expand", "its entities are other databases, and queries stay in this one", node)


SOURCES = {
    ast.Project: _print,
    ast.Range: _range,
    ast.ExternalData: _externaldata,
    ast.MacroExpand: _macro_expand,
}
_ = (constant, fold)
