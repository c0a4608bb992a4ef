"""mv-expand, mv-apply and partition: rows from arrays, and sub-queries that run once for each row or group.

A sub-query is not run row by row. The rows get a hidden key of the row (or group) that they belong to, and the operators of the
sub-query work *inside partitions*: summarize groups by the key too, top and take count within it, windows are partitioned by it.
"""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder
from tocsin.kql.binder.errors import fail, unsupported
from tocsin.kql.binder.names import result_name
from tocsin.kql.binder.typing_rules import explicit
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.plan import Aggregate, Compute, Expand, Filter, Join, OrderKey, Plan, Scalar, Single
from tocsin.kql.scope import BoundColumn, Environment, Relation
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS", "fill_empty", "fill_empty_aggregate"]

_ALIAS = re.compile(r"\b_\d+\b")
ROW_LIMIT = 1_048_576
"""Rows that one row may become (the engine's own cap)."""


def _mv_expand(b: Binder, relation: Relation, node: ast.MvExpand, env: Environment) -> Relation:
    expanded, _ = _expand(b, relation, node.columns, node.limit, node.params, env, node)
    return expanded


def _word(node: ast.Expr | None) -> str:
    if isinstance(node, ast.Name):
        return node.name
    return str(getattr(node, "value", "") or "")


def _expand(
    b: Binder,
    relation: Relation,
    wanted: Sequence[ast.MvColumn],
    limit: ast.Expr | None,
    params: dict[str, ast.Expr],
    env: Environment,
    node: ast.Node,
) -> tuple[Relation, str]:
    """Expand; the second result is the alias of the position in the array."""
    arrays = _word(params.get("bagexpansion") or params.get("kind")) == "array"
    row = b.row(relation, env)
    lists: list[tuple[str, Scalar]] = []
    made: list[tuple[str | None, str, Scalar]] = []
    for column in wanted:
        value = b.scalar(column.value, row)
        if value.type is not KqlType.DYNAMIC:
            raise fail(
                "KQL0105",
                f"Only a dynamic can be expanded; this is a {value.type}.",
                column.value,
                "Use parse_json() or split() to make an array of it.",
            )
        alias = b.alias()
        name = column.name or result_name(column.value) or "Column1"
        if value.texts and column.to is KqlType.STRING and len(wanted) == 1:
            # An array that split() makes needs no JSON on the way to strings; alone it is never padded with nulls.
            lists.append((alias, replace(value, sql=value.texts)))
            made.append((name, name, Scalar(alias, KqlType.STRING, refs=frozenset((alias,)))))
            continue
        value = value if value.cheap else b.hoist(value, row)
        lists.append(
            (
                alias,
                scalars.make(f"q_{'pairs' if arrays else 'items'}({value.sql})", KqlType.DYNAMIC, (value,), copies=3),
            )
        )
        item: Scalar = Scalar(alias, KqlType.DYNAMIC, refs=frozenset((alias,)))
        item = scalars.make(f"q_nn({alias})", KqlType.DYNAMIC, (item,))
        if column.to is not None and column.to is not KqlType.DYNAMIC:
            item = explicit(Scalar(alias, KqlType.DYNAMIC, refs=frozenset((alias,))), column.to)
        made.append((name, name, item))
    count = b.constant_int(limit, env, "limit") if limit is not None else None
    relation = b.settle(relation, row)
    index = b.alias()
    aliases = relation.plan.aliases | {a for a, _ in lists} | {index}
    plan: Plan = Expand(
        aliases, relation.plan, lists, index, None if count is None else max(min(count, ROW_LIMIT * 2), 0)
    )
    order = relation.order
    if order or relation.partition or not _has_scan(relation.plan):
        order = (*order, OrderKey(index))
    expanded = relation.with_plan(plan, order=order)
    index_name = _word(params.get("with_itemindex"))
    from tocsin.kql.binder.operators.columns import extend_relation

    result = extend_relation(b, expanded, made)
    if index_name:
        position = BoundColumn(index_name, KqlType.LONG, index)
        result = result.with_plan(result.plan, [*[c for c in result.columns if c.name != index_name], position])
    return result, index


def _has_scan(plan: Plan) -> bool:
    """False for a chain that starts from one literal row, whose expansion has a natural order."""
    while hasattr(plan, "input"):
        plan = plan.input
    return not isinstance(plan, Single)


# ---------------------------------------------------------------------------------------------- mv-apply


_KEEPS_ROWS = (ast.Where, ast.Sort, ast.Top, ast.Take, ast.MvExpand, ast.Parse, ast.ParseKv)
"""Operators that leave the outer row's columns readable, so that nothing has to be joined back."""


def _mv_apply(b: Binder, relation: Relation, node: ast.MvApply, env: Environment) -> Relation:
    """Expand under a row key, run the sub-query in partitions of it, and put the row's own columns back."""
    keyed = _with_row_key(b, relation)
    simple = all(
        isinstance(o, _KEEPS_ROWS) or (isinstance(o, ast.Project) and o.keyword != "distinct") for o in node.body
    )
    base = None
    inner = keyed
    if not simple:
        shared = b.share(keyed, materialized=True)
        inner = b.read(shared, keyed)

        def base() -> Relation:
            return b.read(shared, keyed)

    expanded, index = _expand(b, inner, node.columns, node.limit, node.params, env, node)
    body = expanded.with_plan(
        expanded.plan,
        order=(OrderKey(index),),
        partition=inner.partition[-1:],
        base=base,
        serialized=True,
        sorted=False,
        row_wise=False,
    )
    result = b.operators(body, node.body, env)
    # An expanded column stands in place of the array that it came from, so what the sub-query leaves out is gone.
    gone = {c.name or result_name(c.value) or "" for c in node.columns}
    if base is None:
        return _keep_columns(relation, inner, result, gone)
    return _rejoin(base(), inner, result, gone)


def _with_row_key(b: Binder, relation: Relation) -> Relation:
    """The relation with a number for each row, as its innermost partition key."""
    from tocsin.kql.emit.duckdb.relations import order_text

    key = b.alias()
    over = f"ORDER BY {order_text(relation.order)}" if relation.order else ""
    number = Scalar(
        f"row_number() OVER ({over})",
        KqlType.LONG,
        cheap=False,
        refs=frozenset(k.alias for k in relation.order),
        window=True,
    )
    return relation.with_plan(b.compute(relation, [(key, number)]), partition=(*relation.partition, key))


def _keep_columns(relation: Relation, inner: Relation, result: Relation, gone: set[str]) -> Relation:
    """The sub-query kept the rows: their columns, then what it added; a name that it made again is its own."""
    made = {c.name: c for c in result.columns}
    columns = [made.pop(c.name, c) for c in inner.columns if c.name in made or c.name not in gone]
    columns += [c for c in result.columns if c.name in made]
    order = tuple(k for k in relation.order if k.alias in result.plan.aliases)
    return Relation(
        result.plan,
        tuple(columns),
        (*order, *(k for k in result.order if k not in order))
        if order
        else result.order
        if not _has_scan(result.plan)
        else (),
        sorted=relation.sorted,
        partition=relation.partition,
        base=relation.base,
    )


def _rejoin(outer: Relation, inner: Relation, result: Relation, gone: set[str]) -> Relation:
    """The outer row's columns joined to the sub-query's rows by the row key."""
    key, outer_key = result.partition[-1], outer.partition[-1]
    condition = Scalar(f"{outer_key} = {key}", KqlType.BOOL, cheap=False, refs=frozenset((outer_key, key)))
    plan = Join(outer.plan.aliases | result.plan.aliases, "inner", outer.plan, result.plan, condition)
    unchanged = {c.alias for c in inner.columns}
    made = {c.name: c for c in result.columns if c.alias not in unchanged}
    columns = [c for c in outer.columns if c.name not in made and c.name not in gone]
    columns += [c for c in result.columns if c.name in made]
    return Relation(
        plan,
        tuple(columns),
        (OrderKey(outer_key), *result.order),
        sorted=False,
        partition=outer.partition[:-1],
        base=outer.base,
    )


def fill_empty(b: Binder, before: Relation, grouped: Relation, defaults: Sequence[tuple[str, Scalar]]) -> Relation:
    """Partitions without rows: an aggregate without `by` gives one row for them too, with the values it has over nothing."""
    if before.base is None:
        return grouped
    base = before.base()
    key, base_key = grouped.partition[-1], base.partition[-1]
    condition = Scalar(f"{base_key} = {key}", KqlType.BOOL, cheap=False, refs=frozenset((base_key, key)))
    items: list[tuple[str, Scalar]] = []
    columns = []
    values = dict(defaults)
    for column in grouped.columns:
        alias = b.alias()
        default = values.get(column.alias) or scalars.null(column.type)
        items.append(
            (
                alias,
                Scalar(
                    f"CASE WHEN {key} IS NULL THEN {default.sql} ELSE {column.alias} END",
                    column.type,
                    cheap=False,
                    ticks=column.ticks,
                    refs=frozenset((key, column.alias)) | default.refs,
                ),
            )
        )
        columns.append(column._replace(alias=alias))
    joined = Join(base.plan.aliases | grouped.plan.aliases, "left", base.plan, grouped.plan, condition)
    plan = Compute(joined.aliases | {a for a, _ in items}, joined, items)
    return Relation(plan, tuple(columns), (), partition=(base_key,), base=None)


def fill_empty_aggregate(
    b: Binder, before: Relation, grouped: Relation, calls: Sequence[tuple[str, Scalar]], values: Sequence[Scalar]
) -> Relation:
    """`fill_empty` for summarize: the defaults are the same aggregates over no rows. `values` are the outputs over `calls`."""
    if before.base is None:
        return grouped
    pairs = [(c.alias, v) for c, v in zip(grouped.columns, values, strict=True)]
    return fill_empty(b, before, grouped, empty_values(b, before, calls, pairs))


def empty_values(
    b: Binder, before: Relation, calls: Sequence[tuple[str, Scalar]], values: Sequence[tuple[str, Scalar]]
) -> list[tuple[str, Scalar]]:
    """What expressions over aggregates are when there are no rows."""
    nothing = Filter(before.plan.aliases, before.plan, Scalar("FALSE", KqlType.BOOL))
    mapping = {alias: b.alias() for alias, _ in calls}
    empty = Aggregate(frozenset(mapping.values()), nothing, [], [(mapping[a], s) for a, s in calls])
    shared = b.share(Relation(empty, ()), materialized=True)
    shared.readers += 1
    shared.needed.update(mapping.values())
    made = []
    for alias, value in values:
        sql = _ALIAS.sub(lambda m: mapping.get(m.group(0), m.group(0)), value.sql)
        made.append((alias, Scalar(f"(SELECT {sql} FROM {shared.name})", value.type, cheap=False, subquery=True)))
    return made


# ---------------------------------------------------------------------------------------------- partition


def _partition(b: Binder, relation: Relation, node: ast.Partition, env: Environment) -> Relation:
    """Run a sub-query for each value of a column."""
    from tocsin.kql.binder.operators.columns import column_name

    name = column_name(node.by)
    column = relation.column(name) if name is not None else None
    if column is None:
        raise fail("KQL0101", "partition needs a column after 'by'.", node.by)
    if relation.partition:
        raise unsupported("partition inside another sub-query", node)
    if isinstance(node.body, ast.Pipeline):
        return _partition_query(b, relation, column, node.body, env)
    inner = replace(relation, partition=(column.alias,), base=None)
    result = b.operators(inner, node.body, env)
    order = (OrderKey(result.partition[0]), *result.order) if result.order else ()
    return Relation(result.plan, result.columns, order)


def _partition_query(
    b: Binder, relation: Relation, column: BoundColumn, body: ast.Pipeline, env: Environment
) -> Relation:
    """A query with a source of its own for each value: it reads the value by the column's name."""
    key = b.alias()
    values = Aggregate(frozenset((key,)), relation.plan, [(key, column.scalar())], [])
    source = b.table(body.source, env)
    plan = Join(values.aliases | source.plan.aliases, "cross", values, source.plan, None)
    value = BoundColumn(column.name, column.type, key, column.ticks, hidden=True)
    inner = Relation(plan, (*source.columns, value), source.order, partition=(key,))
    result = b.operators(inner, body.operators, env)
    return Relation(result.plan, tuple(c for c in result.columns if c.alias != key), result.order)


APPLIERS = {ast.MvExpand: _mv_expand, ast.MvApply: _mv_apply, ast.Partition: _partition}
