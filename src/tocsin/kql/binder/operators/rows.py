"""Operators that work row by row or on the set of rows as it is: where, extend, project and kin, sort, top, take, distinct, count …"""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, unknown
from tocsin.kql.binder.expressions import bind_boolean
from tocsin.kql.binder.names import result_name
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.plan import Aggregate, Filter, Limit, OrderKey, Scalar, Values
from tocsin.kql.scope import BoundColumn, Environment, Relation, unique_name
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS", "bind_items", "sort_relation", "where_relation"]


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


# ---------------------------------------------------------------------------------------------- extend, project


def bind_items(
    b: Binder, items: Sequence[ast.Expr], row: Row, prefix: str, first: int, *, by_position: bool = False
) -> list[tuple[str | None, str, Scalar]]:
    """Bind named expressions: (the written name or None, the name by rule, the value)."""
    bound: list[tuple[str | None, str, Scalar]] = []
    unnamed = first
    for position, item in enumerate(items):
        if isinstance(item, ast.Named) and len(item.names) == 1:
            bound.append((item.names[0], item.names[0], b.scalar(item.value, row)))
            continue
        if isinstance(item, ast.Named):
            bound.extend(_unpacked(b, item, row))
            continue
        value = b.scalar(item, row)
        if value.parts and isinstance(item, ast.Call):
            bound.extend((None, _part_name(template, item), part) for template, part in value.parts)
            continue
        name = own_name(item, row)
        if name is None:
            name = f"{prefix}{position if by_position else unnamed}"
            unnamed += 1
        bound.append((None, name, value))
    return bound


def own_name(item: ast.Expr, row: Row) -> str | None:
    """`result_name`, but a let variable gives no name to its column."""
    while isinstance(item, ast.Paren):
        item = item.inner
    if isinstance(item, ast.Name) and (row.relation is None or row.relation.column(item.name) is None):
        return item.name if row.env.lookup(item.name) is None else None
    return result_name(item)


def _part_name(template: str, call: ast.Call) -> str:
    """The name by rule of one column of a function that gives several: ``{function}_{0}_min`` with the arguments' names."""
    names = [result_name(a) or "" for a in call.args]
    return re.sub(r"\{(\d+)\}", lambda m: names[int(m[1])], template.replace("{function}", call.callee))


def _unpacked(b: Binder, item: ast.Named, row: Row) -> list[tuple[str | None, str, Scalar]]:
    """``(a, b) = array``: the items of a dynamic array, one a name."""
    value = b.scalar(item.value, row)
    if value.parts:
        return [(name, name, part) for name, (_, part) in zip(item.names, value.parts, strict=False)]
    if value.type is not KqlType.DYNAMIC:
        raise fail("KQL0105", "Several names on the left need an array on the right.", item)
    value = b.hoist(value, row)
    return [(name, name, scalars.access(value, constant(KqlType.LONG, i))) for i, name in enumerate(item.names)]


def _extend(b: Binder, relation: Relation, node: ast.Project, env: Environment) -> Relation:
    row = b.row(relation, env, windows=True)
    bound = bind_items(b, node.items, row, "Column", 1)
    relation = b.settle(relation, row)
    return extend_relation(b, relation, bound)


def extend_relation(b: Binder, relation: Relation, bound: Sequence[tuple[str | None, str, Scalar]]) -> Relation:
    """Add or replace columns. A written name replaces the column of that name; one made by rule takes a free name."""
    columns = list(relation.columns)
    places = {c.name: i for i, c in enumerate(columns)}
    items = []
    for written, name, value in bound:
        own = written
        if own is None:
            existing = places.get(name)
            if existing is not None and value.sql == columns[existing].alias:
                continue
            own = _free(name, places)
        column, item = _column(b, own, value)
        if item is not None:
            items.append(item)
        if own in places:
            columns[places[own]] = column
        else:
            places[own] = len(columns)
            columns.append(column)
    return relation.with_plan(b.compute(relation, items), columns)


def _free(name: str, taken: dict[str, int]) -> str:
    if name not in taken:
        return name
    numbered = re.fullmatch(r"(Column|print_)(\d+)", name)
    if numbered:
        number = int(numbered[2])
        while f"{numbered[1]}{number}" in taken:
            number += 1
        return f"{numbered[1]}{number}"
    return unique_name(name, taken)


def _column(b: Binder, name: str, value: Scalar) -> tuple[BoundColumn, tuple[str, Scalar] | None]:
    """The column for a value; a value that already is a column keeps its alias."""
    if len(value.refs) == 1 and value.sql in value.refs:
        return BoundColumn(name, value.type, value.sql, value.ticks), None
    alias = b.alias()
    if value.json_text:
        b.json_texts[alias] = value.json_text
    if value.members:
        b.members[alias] = value.members
    return BoundColumn(name, value.type, alias, value.ticks), (alias, value)


def _project(b: Binder, relation: Relation, node: ast.Project, env: Environment) -> Relation:
    row = b.row(relation, env, windows=True)
    bound: list[tuple[str | None, str, Scalar]] = []
    for item in node.items:
        if isinstance(item, ast.Star):
            bound.extend((None, c.name, c.scalar()) for c in _matching(relation, item.pattern))
        else:
            bound.extend(
                bind_items(
                    b, [item], row, "Column", 1 + sum(1 for w, n, _ in bound if w is None and n.startswith("Column"))
                )
            )
    relation = b.settle(relation, row)
    return project_relation(b, relation, bound, node)


def project_relation(
    b: Binder, relation: Relation, bound: Sequence[tuple[str | None, str, Scalar]], node: ast.Node
) -> Relation:
    """Just these columns, in this order."""
    columns: list[BoundColumn] = []
    places: dict[str, int] = {}
    items = []
    for written, name, value in bound:
        own = written if written is not None else _free(name, places)
        if own in places:
            raise fail("KQL0109", f"The column '{own}' is made twice.", node)
        column, item = _column(b, own, value)
        if item is not None:
            items.append(item)
        places[own] = len(columns)
        columns.append(column)
    return relation.with_plan(b.compute(relation, items), columns, open_bag=None)


def _matching(relation: Relation, pattern: str) -> list[BoundColumn]:
    if pattern == "*":
        return list(relation.visible())
    expression = re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
    return [c for c in relation.columns if expression.fullmatch(c.name)]


def _named_columns(relation: Relation, items: Sequence[ast.Expr], *, missing_ok: bool = False) -> list[BoundColumn]:
    found: list[BoundColumn] = []
    for item in items:
        while isinstance(item, (ast.Ordered, ast.Paren)):
            item = item.value if isinstance(item, ast.Ordered) else item.inner
        if isinstance(item, ast.Star):
            found.extend(c for c in _matching(relation, item.pattern) if c not in found)
            continue
        name = column_name(item)
        if name is None:
            raise fail("KQL0105", "A column's name is expected here.", item)
        column = relation.column(name)
        if column is None:
            if missing_ok or relation.open_value(name) is not None:
                continue
            raise unknown("KQL0101", "column", name, (c.name for c in relation.columns), item)
        if column not in found:
            found.append(column)
    return found


def column_name(node: ast.Expr) -> str | None:
    """The name, where the expression is just a name."""
    if isinstance(node, ast.Name):
        return node.name
    if isinstance(node, ast.Member):
        left = column_name(node.target)
        return f"{left}.{node.name}" if left else None
    if isinstance(node, ast.Literal) and isinstance(node.value, str):
        return node.value
    return None


def _project_away(b: Binder, relation: Relation, node: ast.Project, env: Environment) -> Relation:
    gone = set(_named_columns(relation, node.items))
    return relation.with_plan(relation.plan, [c for c in relation.columns if c not in gone])


def _project_keep(b: Binder, relation: Relation, node: ast.Project, env: Environment) -> Relation:
    kept = set(_named_columns(relation, node.items))
    return relation.with_plan(relation.plan, [c._replace(hidden=False) for c in relation.columns if c in kept])


def _project_rename(b: Binder, relation: Relation, node: ast.Project, env: Environment) -> Relation:
    columns = list(relation.columns)
    absent: list[tuple[str, Scalar]] = []
    for item in node.items:
        if not isinstance(item, ast.Named) or len(item.names) != 1:
            raise fail("KQL0105", "project-rename takes NewName = OldName.", item)
        name = column_name(item.value)
        old = relation.column(name) if name is not None else None
        unlisted = relation.open_value(name) if old is None and name is not None else None
        if unlisted is not None:
            alias = b.alias()
            absent.append((alias, unlisted))
            columns.append(BoundColumn(item.names[0], unlisted.type, alias))
            continue
        if old is None:
            raise unknown("KQL0101", "column", name or "?", (c.name for c in relation.columns), item.value)
        columns = [
            c._replace(name=item.names[0], hidden=False) if c.alias == old.alias and c.name == old.name else c
            for c in columns
        ]
    names = [c.name for c in columns]
    for item in node.items:
        assert isinstance(item, ast.Named)
        if names.count(item.names[0]) > 1:
            raise fail("KQL0109", f"There is already a column '{item.names[0]}'.", item)
    return relation.with_plan(b.compute(relation, absent), columns)


def _project_reorder(b: Binder, relation: Relation, node: ast.Project, env: Environment) -> Relation:
    front: list[BoundColumn] = []
    for item in node.items:
        descending: bool | None = None
        ordered = isinstance(item, ast.Ordered)
        target: ast.Expr = item
        if isinstance(item, ast.Ordered):
            descending, target = item.descending, item.value
        found = [c for c in _named_columns(relation, [target]) if c not in front]
        if ordered and descending is not None:
            found.sort(key=lambda c: _natural(c.name), reverse=descending)
        front.extend(found)
    rest = [c for c in relation.columns if c not in front]
    return relation.with_plan(relation.plan, [*front, *rest])


def _natural(name: str) -> str:
    return name


def _project_by_names(b: Binder, relation: Relation, node: ast.Project, env: Environment) -> Relation:
    wanted: list[BoundColumn] = []
    for item in node.items:
        patterns = _name_list(b, item, env)
        for pattern in patterns:
            wanted.extend(c for c in _matching(relation, pattern) if c not in wanted)
    return relation.with_plan(relation.plan, wanted)


def _name_list(b: Binder, item: ast.Expr, env: Environment) -> list[str]:
    from tocsin.kql.binder import fold

    if isinstance(item, ast.Star):
        return [item.pattern]
    if isinstance(item, ast.Name) and env.lookup(item.name) is None:
        return [item.name]
    value = b.scalar(item, Row(env))
    if value.constant and value.type is KqlType.STRING:
        return [str(value.value)]
    if value.constant and value.type is KqlType.DYNAMIC:
        listed = fold.json_value(value)
        if isinstance(listed, list) and all(isinstance(x, str) for x in listed):
            return [str(x) for x in listed]
    raise fail("KQL0107", "project-by-names takes names, constant strings or a constant array of strings.", item)


def _distinct(b: Binder, relation: Relation, node: ast.Project, env: Environment) -> Relation:
    row = b.row(relation, env)
    bound: list[tuple[str | None, str, Scalar]] = []
    for item in node.items:
        if isinstance(item, ast.Star):
            bound.extend((None, c.name, c.scalar()) for c in _matching(relation, item.pattern))
        else:
            bound.extend(bind_items(b, [item], row, "Column", len(bound) + 1))
    relation = b.settle(relation, row)
    keys: list[tuple[str, Scalar]] = []
    columns: list[BoundColumn] = []
    names: dict[str, int] = {}
    for written, name, value in bound:
        own = written if written is not None else _free(name, names)
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
    return _extend(b, relation, node, env) if node.items else relation


_SYSTEM_TYPES = {
    KqlType.BOOL: "System.SByte",
    KqlType.INT: "System.Int32",
    KqlType.LONG: "System.Int64",
    KqlType.REAL: "System.Double",
    KqlType.DECIMAL: "System.Data.SqlTypes.SqlDecimal",
    KqlType.STRING: "System.String",
    KqlType.DATETIME: "System.DateTime",
    KqlType.TIMESPAN: "System.TimeSpan",
    KqlType.GUID: "System.Guid",
    KqlType.DYNAMIC: "System.Object",
}


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
            constant(KqlType.STRING, _SYSTEM_TYPES[c.type]),
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


_BY_KEYWORD = {
    "extend": _extend,
    "project": _project,
    "project-away": _project_away,
    "project-keep": _project_keep,
    "project-rename": _project_rename,
    "project-reorder": _project_reorder,
    "project-by-names": _project_by_names,
    "distinct": _distinct,
    "serialize": _serialize,
}

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
