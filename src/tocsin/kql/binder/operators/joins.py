"""join and lookup."""

from __future__ import annotations

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, unknown
from tocsin.kql.binder.typing_rules import comparable, convert
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.plan import Compute, Join, Pick, Scalar
from tocsin.kql.scope import BoundColumn, Environment, Relation, open_columns, unique_name
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS", "join_relations"]

_KINDS = {
    "innerunique": "innerunique",
    "inner": "inner",
    "leftouter": "left",
    "rightouter": "right",
    "fullouter": "full",
    "leftsemi": "semi",
    "semi": "semi",
    "rightsemi": "rightsemi",
    "anti": "anti",
    "leftanti": "anti",
    "leftantisemi": "anti",
    "rightanti": "rightanti",
    "rightantisemi": "rightanti",
    "cross": "cross",
}


def _join(b: Binder, relation: Relation, node: ast.Join, env: Environment) -> Relation:
    lookup = node.keyword == "lookup"
    kind = _kind(node, "left" if lookup else "innerunique")
    if lookup and kind not in ("left", "inner"):
        raise fail("KQL0105", "lookup takes kind=leftouter or kind=inner.", node)
    right = b.table(node.right, env)
    if relation.partition:
        right = Relation(right.plan, right.columns, right.order)
    return join_relations(b, relation, right, node, kind, env, lookup=lookup)


def _kind(node: ast.Join, default: str) -> str:
    value = node.params.get("kind")
    if value is None:
        return default
    name = value.name if isinstance(value, ast.Name) else str(getattr(value, "value", ""))
    kind = _KINDS.get(name)
    if kind is None:
        raise unknown("KQL0105", "kind of join", name, _KINDS, value)
    return kind


def join_relations(
    b: Binder, left: Relation, right: Relation, node: ast.Join, kind: str, env: Environment, *, lookup: bool = False
) -> Relation:
    """Join two bound relations by the node's conditions."""
    pairs = _conditions(b, left, right, node, env)
    if not pairs and kind != "cross":
        raise fail("KQL0104", f"{node.keyword} needs at least one condition after 'on'.", node)
    left_items: list[tuple[str, Scalar]] = []
    right_items: list[tuple[str, Scalar]] = []
    conditions: list[Scalar] = []
    left_keys: list[str] = []
    right_keys: list[str] = []
    for a, c, where in pairs:
        a, c = _same_type(where, a, c)
        left_key, right_key = _key(b, a, left_items), _key(b, c, right_items)
        left_keys.append(left_key)
        right_keys.append(right_key)
        conditions.append(
            Scalar(
                f"{left_key} IS NOT DISTINCT FROM {right_key}",
                KqlType.BOOL,
                cheap=False,
                refs=frozenset((left_key, right_key)),
            )
        )
    left_plan, right_plan = b.compute(left, left_items), b.compute(right, right_items)
    on = scalars.combine("and", conditions) if conditions else None
    if kind == "innerunique":
        keys = tuple(dict.fromkeys((*left.partition, *left_keys)))
        left_plan = Pick(left_plan.aliases, left_plan, keys, left.order)
        kind = "inner"
    if kind in ("semi", "anti"):
        plan = Join(left_plan.aliases, kind, left_plan, right_plan, on)
        return left.with_plan(plan, row_wise=False, serialized=False)
    if kind in ("rightsemi", "rightanti"):
        plan = Join(right_plan.aliases, kind[5:], right_plan, left_plan, on)
        return right.with_plan(plan, row_wise=False, serialized=False)
    plan = Join(left_plan.aliases | right_plan.aliases, kind, left_plan, right_plan, on)
    columns = list(left.columns)
    dropped = set()
    if lookup:
        dropped = {c.alias for c in right.columns if c.alias in right_keys}
    taken = {c.name for c in columns}
    added = []
    for column in right.columns:
        if column.alias in dropped:
            continue
        name = unique_name(column.name, taken)
        taken.add(name)
        added.append(BoundColumn(name, column.type, column.alias, column.ticks, column.hidden))
    joined = Relation(
        plan,
        (*columns, *added),
        order=(*left.order, *right.order) if left.order and kind != "right" else (),
        partition=left.partition,
        base=left.base,
        open_bag=open_columns(left, right),
    )
    return _fill(b, joined, kind, left.plan.aliases, right.plan.aliases)


def _fill(b: Binder, joined: Relation, kind: str, left: frozenset[str], right: frozenset[str]) -> Relation:
    missing: frozenset[str] = frozenset()
    if kind in ("left", "full"):
        missing |= right
    if kind in ("right", "full"):
        missing |= left
    return fill_strings(b, joined, missing) if missing else joined


def fill_strings(b: Binder, joined: Relation, missing: frozenset[str]) -> Relation:
    """Strings of the side that may be missing become '' again."""
    items: list[tuple[str, Scalar]] = []
    renamed: dict[str, str] = {}
    columns = []
    for column in joined.columns:
        if column.type is KqlType.STRING and column.alias in missing:
            alias = renamed.get(column.alias)
            if alias is None:
                alias = renamed[column.alias] = b.alias()
                reads = frozenset((column.alias,))
                items.append((alias, Scalar(f"coalesce({column.alias}, '')", KqlType.STRING, cheap=False, refs=reads)))
            column = BoundColumn(column.name, column.type, alias, hidden=column.hidden)
        columns.append(column)
    plan = Compute(joined.plan.aliases | {a for a, _ in items}, joined.plan, items) if items else joined.plan
    return joined.with_plan(plan, columns)


def _key(b: Binder, value: Scalar, items: list[tuple[str, Scalar]]) -> str:
    if len(value.refs) == 1 and value.sql in value.refs:
        return value.sql
    alias = b.alias()
    items.append((alias, value))
    return alias


def _same_type(where: ast.Node, left: Scalar, right: Scalar) -> tuple[Scalar, Scalar]:
    if left.type is KqlType.DYNAMIC and right.type is KqlType.DYNAMIC:
        return convert(left, KqlType.STRING), convert(right, KqlType.STRING)
    left, right = comparable(where, left, right, equality=True)
    if left.type is KqlType.DATETIME and left.ticks != right.ticks:
        return scalars.to_ticks(left), scalars.to_ticks(right)
    return left, right


def _conditions(
    b: Binder, left: Relation, right: Relation, node: ast.Join, env: Environment
) -> list[tuple[Scalar, Scalar, ast.Expr]]:
    pairs: list[tuple[Scalar, Scalar, ast.Expr]] = []
    pending = list(node.on)
    if node.where is not None:
        pending.append(node.where)
    while pending:
        item = pending.pop(0)
        while isinstance(item, ast.Paren):
            item = item.inner
        if isinstance(item, ast.Binary) and item.op == "and":
            pending[:0] = [item.left, item.right]
            continue
        if isinstance(item, ast.Name):
            pairs.append((_column(left, item, "left"), _column(right, item, "right"), item))
            continue
        if isinstance(item, ast.Binary) and item.op in ("==", "=~"):
            pairs.append(_equality(b, left, right, item, env))
            continue
        if isinstance(item, ast.Member) and isinstance(item.target, ast.Side):
            named = ast.Name(item.span, item.name)
            pairs.append((_column(left, named, "left"), _column(right, named, "right"), item))
            continue
        raise fail("KQL0105", "A join condition is a column's name or an equality of $left and $right columns.", item)
    return pairs


def _column(relation: Relation, node: ast.Name, side: str) -> Scalar:
    column = relation.column(node.name)
    if column is None:
        unlisted = relation.open_value(node.name)
        if unlisted is not None:
            return unlisted
        raise unknown("KQL0101", f"column of the {side} side", node.name, (c.name for c in relation.columns), node)
    return column.scalar()


def _equality(
    b: Binder, left: Relation, right: Relation, node: ast.Binary, env: Environment
) -> tuple[Scalar, Scalar, ast.Expr]:
    row = Row(env, sides=(left, right))
    a, c = b.scalar(node.left, row), b.scalar(node.right, row)
    left_aliases = left.plan.aliases
    right_aliases = right.plan.aliases
    if a.refs <= right_aliases and c.refs <= left_aliases and a.refs and c.refs:
        a, c = c, a
    elif isinstance(node.left, ast.Name) and isinstance(node.right, ast.Name):
        a, c = _column(left, node.left, "left"), _column(right, node.right, "right")
    if not (a.refs and a.refs <= left_aliases and c.refs and c.refs <= right_aliases):
        raise fail("KQL0105", "One side of the equality must be of $left, the other of $right.", node)
    return a, c, node


APPLIERS = {ast.Join: _join}
