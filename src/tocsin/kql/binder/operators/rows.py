"""Operators on the set of rows: where, distinct, sort, top, take, count …; those that choose columns are in `columns`."""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, unknown
from tocsin.kql.binder.expressions import bind_boolean
from tocsin.kql.binder.names import result_name
from tocsin.kql.binder.operators.columns import APPLIERS_BY_KEYWORD, bind_items, extend, free_name, matching
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.plan import Aggregate, Filter, Limit, OrderKey, Scalar, Values
from tocsin.kql.scope import BoundColumn, Environment, Relation
from tocsin.kql.types import CLR_TYPES, KqlType

__all__ = ["APPLIERS", "group", "limit_relation", "sort_relation", "values_relation", "where_relation"]


# ---------------------------------------------------------------------------------------------- where


def _where(b: Binder, relation: Relation, node: ast.Where, env: Environment) -> Relation:
    return where_relation(b, relation, node.predicate, env)


def where_relation(b: Binder, relation: Relation, predicate: ast.Expr, env: Environment) -> Relation:
    """The rows for which the predicate is true."""
    row = b.row(relation, env, windows=True)
    row.positive = True
    value = bind_boolean(b, predicate, row, "where")
    relation = b.settle(relation, row)
    if value.constant and value.value is True:
        return relation
    return relation.with_plan(Filter(relation.plan.aliases, relation.plan, value))


def _distinct(b: Binder, relation: Relation, node: ast.Project, env: Environment) -> Relation:
    row = b.row(relation, env)
    bound: list[tuple[str | None, str, Scalar]] = []
    for item in node.items:
        if isinstance(item, ast.Star):
            bound.extend((None, c.name, c.scalar()) for c in matching(relation, item.pattern))
        else:
            bound.extend(bind_items(b, [item], row, "Column", len(bound) + 1))
    relation = b.settle(relation, row)
    keys: list[tuple[str, Scalar]] = []
    columns: list[BoundColumn] = []
    names: dict[str, int] = {}
    for written, name, value in bound:
        own = written if written is not None else free_name(name, names)
        names[own] = 1
        alias = b.alias()
        keys.append((alias, value))
        columns.append(BoundColumn(own, value.type, alias, value.ticks))
    return group(b, relation, keys, [], columns)


def group(
    b: Binder,
    relation: Relation,
    keys: Sequence[tuple[str, Scalar]],
    aggregates: Sequence[tuple[str, Scalar]],
    columns: Sequence[BoundColumn],
) -> Relation:
    """GROUP BY, inside each partition; groups keep the order of their first rows where rows had an order of their own."""
    inner = [(p, Scalar(p, KqlType.LONG, refs=frozenset((p,)))) for p in relation.partition]
    partition_keys = [(b.alias(), s) for _, s in inner]
    all_keys = [*partition_keys, *keys]
    extra: list[tuple[str, Scalar]] = []
    order: tuple[OrderKey, ...] = ()
    if all_keys and relation.order and not relation.sorted:
        for key in relation.order:
            alias = b.alias()
            extra.append((alias, Scalar(f"min({key.alias})", KqlType.LONG, cheap=False, refs=frozenset((key.alias,)))))
            order = (*order, OrderKey(alias, key.descending, key.nulls_first))
    made = [*aggregates, *extra]
    plan = Aggregate(frozenset(a for a, _ in (*all_keys, *made)), relation.plan, all_keys, made)
    return Relation(plan, tuple(columns), order, partition=tuple(a for a, _ in partition_keys), base=relation.base)


# ---------------------------------------------------------------------------------------------- sort, top, take


def _sort(b: Binder, relation: Relation, node: ast.Sort, env: Environment) -> Relation:
    return sort_relation(b, relation, node.keys, env)


def sort_relation(b: Binder, relation: Relation, keys: Sequence[ast.Ordered], env: Environment) -> Relation:
    """A new order; rows with equal keys keep the order that they had."""
    row = b.row(relation, env, windows=True)
    order: list[OrderKey] = []
    items: list[tuple[str, Scalar]] = []
    for key in keys:
        value = b.scalar(key.value, row)
        order.append(sort_key(b, value, key, items))
    relation = b.settle(relation, row)
    kept = tuple(k for k in relation.order if k.alias not in {o.alias for o in order})
    return relation.with_plan(
        b.compute(relation, items),
        order=steady_order(b, relation, (*order, *kept)),
        serialized=True,
        sorted=True,
        row_wise=False,
    )


def steady_order(b: Binder, relation: Relation, order: tuple[OrderKey, ...]) -> tuple[OrderKey, ...]:
    """The order; in a steady query rows that are equal by it follow one another by all their columns."""
    if not b.steady:
        return order
    known = {k.alias for k in order}
    return (*order, *(OrderKey(c.alias) for c in relation.visible() if c.alias not in known))


def sort_key(b: Binder, value: Scalar, key: ast.Ordered, items: list[tuple[str, Scalar]]) -> OrderKey:
    """The order key of one sort expression; what must be computed for it is added to `items`."""
    descending = True if key.descending is None else key.descending
    nulls_first = (not descending) if key.nulls_first is None else key.nulls_first
    if value.type is KqlType.DYNAMIC:
        raise fail(
            "KQL0105", "Rows can't be sorted by a dynamic.", key, "Convert it, for example with tostring() or tolong()."
        )
    if len(value.refs) == 1 and value.sql in value.refs:
        alias = value.sql
    else:
        alias = b.alias()
        items.append((alias, value))
    return OrderKey(alias, descending, nulls_first, value.type is KqlType.REAL)


def _top(b: Binder, relation: Relation, node: ast.Top, env: Environment) -> Relation:
    count = _count_value(b, node.count, env, "top")
    relation = sort_relation(b, relation, node.keys, env)
    return limit_relation(relation, count)


def _take(b: Binder, relation: Relation, node: ast.Take, env: Environment) -> Relation:
    count = _count_value(b, node.count, env, node.keyword)
    if node.keyword == "sample":
        b.volatile = True
        plan = Limit(relation.plan.aliases, relation.plan, count, (), relation.partition, sample=True)
        return relation.with_plan(plan, row_wise=False)
    return limit_relation(relation, count)


def limit_relation(relation: Relation, count: Scalar) -> Relation:
    """The first rows."""
    plan = Limit(relation.plan.aliases, relation.plan, count, relation.order, relation.partition)
    return relation.with_plan(plan, row_wise=False)


def _count_value(b: Binder, node: ast.Expr, env: Environment, what: str) -> Scalar:
    value = b.scalar(node, Row(env))
    if value.type is KqlType.DYNAMIC or value.type is KqlType.REAL:
        from tocsin.kql.binder.typing_rules import explicit

        value = _whole(value, node, what) if value.constant else explicit(value, KqlType.LONG)
    if value.type not in (KqlType.INT, KqlType.LONG):
        raise fail("KQL0105", f"{what} needs a number of rows; this is a {value.type}.", node)
    if value.constant:
        return constant(KqlType.LONG, max(int(value.value or 0), 0))  # type: ignore[call-overload]
    return scalars.make(f"greatest(coalesce({value.sql}, 0), 0)", KqlType.LONG, (value,))


def _whole(value: Scalar, node: ast.Expr, what: str) -> Scalar:
    try:
        return constant(KqlType.LONG, int(float(str(value.value))))
    except (ValueError, OverflowError):
        raise fail("KQL0105", f"{what} needs a number of rows.", node) from None


def _sample_distinct(b: Binder, relation: Relation, node: ast.SampleDistinct, env: Environment) -> Relation:
    count = _count_value(b, node.count, env, "sample-distinct")
    name = result_name(node.of) or "Column1"
    distinct = _distinct(b, relation, ast.Project(node.span, "distinct", {}, (node.of,)), env)
    assert distinct.columns[0].name == name
    plan = Limit(distinct.plan.aliases, distinct.plan, count, distinct.order, distinct.partition)
    return distinct.with_plan(plan)


def _count(b: Binder, relation: Relation, node: ast.Count, env: Environment) -> Relation:
    alias = b.alias()
    column = BoundColumn(node.name or "Count", KqlType.LONG, alias)
    counted = group(b, relation, [], [(alias, Scalar("count(*)", KqlType.LONG, cheap=False))], [column])
    if relation.partition:
        from tocsin.kql.binder.operators.expand import fill_empty

        return fill_empty(b, relation, counted, [(alias, constant(KqlType.LONG, 0))])
    return counted


# ---------------------------------------------------------------------------------------------- the rest


def _serialize(b: Binder, relation: Relation, node: ast.Project, env: Environment) -> Relation:
    order = steady_order(b, relation, relation.order)
    relation = relation.with_plan(relation.plan, order=order, serialized=True, row_wise=False)
    return extend(b, relation, node, env) if node.items else relation


def _simple(b: Binder, relation: Relation, node: ast.Simple, env: Environment) -> Relation:
    if node.keyword == "getschema":
        return _getschema(b, relation)
    if node.keyword == "consume":
        empty = Scalar("FALSE", KqlType.BOOL)
        return relation.with_plan(Filter(relation.plan.aliases, relation.plan, empty))
    if node.keyword == "execute-and-cache":
        return relation
    from tocsin.kql.binder.errors import unsupported

    raise unsupported(f"The operator '{node.keyword}'", node)


def _getschema(b: Binder, relation: Relation) -> Relation:
    visible = relation.visible()
    columns = [
        BoundColumn("ColumnName", KqlType.STRING, b.alias()),
        BoundColumn("ColumnOrdinal", KqlType.LONG, b.alias()),
        BoundColumn("DataType", KqlType.STRING, b.alias()),
        BoundColumn("ColumnType", KqlType.STRING, b.alias()),
    ]
    rows = [
        [
            constant(KqlType.STRING, c.name),
            constant(KqlType.LONG, i),
            constant(KqlType.STRING, CLR_TYPES[c.type]),
            constant(KqlType.STRING, str(c.type)),
        ]
        for i, c in enumerate(visible)
    ]
    return values_relation(b, columns, rows)


def values_relation(b: Binder, columns: Sequence[BoundColumn], rows: Sequence[Sequence[Scalar]]) -> Relation:
    """Literal rows."""
    ordinal = b.alias()
    plan = Values(
        frozenset(c.alias for c in columns) | {ordinal},
        tuple(c.alias for c in columns),
        tuple((c.type, c.ticks) for c in columns),
        rows,
        ordinal,
    )
    return Relation(plan, tuple(columns), (OrderKey(ordinal),))


def _render(b: Binder, relation: Relation, node: ast.Render, env: Environment) -> Relation:
    properties: dict[str, object] = {}
    for name, value in node.params.items():
        properties[name] = _render_value(value)
    b.render = (node.visualization, properties)
    return relation


def _render_value(value: ast.Expr) -> object:
    if isinstance(value, ast.Literal):
        return value.value
    if isinstance(value, ast.Name):
        return value.name
    return str(result_name(value) or "")


def _as(b: Binder, relation: Relation, node: ast.As, env: Environment) -> Relation:
    shared = b.share(relation, materialized=False, weight=b.stages)
    from tocsin.kql.scope import TableValue

    named = replace(relation, name=node.name)
    value = TableValue(node.name, lambda: replace(b.read(shared, named), name=node.name), labelled=True)
    env.declare(node.name, value)
    return value.reader()


def _invoke(b: Binder, relation: Relation, node: ast.Invoke, env: Environment) -> Relation:
    from tocsin.kql.binder.lets import call_table, resolve, stored_function
    from tocsin.kql.scope import FunctionValue, LazyLet

    call = node.call
    value = env.lookup(call.callee)
    if isinstance(value, LazyLet):
        value = resolve(b, value)
    if isinstance(value, FunctionValue):
        return call_table(b, value, call, env, first=relation)
    stored = b.catalog.function(call.callee)
    if stored is not None:
        return call_table(b, stored_function(b, stored, call), call, env, first=relation)
    known = [*env.all_names(), *b.catalog.function_names()]
    raise unknown("KQL0103", "function", call.callee, known, call.callee_span)


def _projects(b: Binder, relation: Relation, node: ast.Project, env: Environment) -> Relation:
    return _BY_KEYWORD[node.keyword](b, relation, node, env)


_BY_KEYWORD = {**APPLIERS_BY_KEYWORD, "distinct": _distinct, "serialize": _serialize}

APPLIERS = {
    ast.Where: _where,
    ast.Project: _projects,
    ast.Sort: _sort,
    ast.Top: _top,
    ast.Take: _take,
    ast.SampleDistinct: _sample_distinct,
    ast.Count: _count,
    ast.Simple: _simple,
    ast.Render: _render,
    ast.As: _as,
    ast.Invoke: _invoke,
}
