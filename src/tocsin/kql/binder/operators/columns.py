"""Operators that choose, make and name columns: extend, project and its kin."""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

import re
from collections.abc import Sequence

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, unknown
from tocsin.kql.binder.names import result_name
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.plan import Scalar
from tocsin.kql.scope import BoundColumn, Environment, Relation, unique_name
from tocsin.kql.types import KqlType

__all__ = [
    "APPLIERS_BY_KEYWORD",
    "bind_items",
    "column_name",
    "extend",
    "extend_relation",
    "free_name",
    "matching",
    "own_name",
    "project_relation",
]


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


def extend(b: Binder, relation: Relation, node: ast.Project, env: Environment) -> Relation:
    """The columns of an `extend` (or of a `serialize`), each new or in place of the one of its name."""
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
            own = free_name(name, places)
        column, item = _column(b, own, value)
        if item is not None:
            items.append(item)
        if own in places:
            columns[places[own]] = column
        else:
            places[own] = len(columns)
            columns.append(column)
    return relation.with_plan(b.compute(relation, items), columns)


def free_name(name: str, taken: dict[str, int]) -> str:
    """The name, or where it is taken the next one that is free: Column1, Column2 … count on, others get a number behind them."""
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
            bound.extend((None, c.name, c.scalar()) for c in matching(relation, item.pattern))
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
        own = written if written is not None else free_name(name, places)
        if own in places:
            raise fail("KQL0109", f"The column '{own}' is made twice.", node)
        column, item = _column(b, own, value)
        if item is not None:
            items.append(item)
        places[own] = len(columns)
        columns.append(column)
    return relation.with_plan(b.compute(relation, items), columns, open_bag=None)


def matching(relation: Relation, pattern: str) -> list[BoundColumn]:
    """The columns that `*` or a name with `*` in it stands for."""
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
            found.extend(c for c in matching(relation, item.pattern) if c not in found)
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
            wanted.extend(c for c in matching(relation, pattern) if c not in wanted)
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


APPLIERS_BY_KEYWORD = {
    "extend": extend,
    "project": _project,
    "project-away": _project_away,
    "project-keep": _project_keep,
    "project-rename": _project_rename,
    "project-reorder": _project_reorder,
    "project-by-names": _project_by_names,
}
"""By the operator's keyword; the tree has one node for all of them."""
