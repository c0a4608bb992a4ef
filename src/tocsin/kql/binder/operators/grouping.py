"""summarize: groups, aggregates and the names of what they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tocsin.kql import ast
from tocsin.kql.binder.calls import lower_aggregate, register_aggregate
from tocsin.kql.binder.core import AggregateUse, Binder, Row
from tocsin.kql.binder.errors import fail
from tocsin.kql.binder.names import result_name
from tocsin.kql.binder.operators.columns import free_name, own_name
from tocsin.kql.binder.operators.rows import group
from tocsin.kql.functions import registry
from tocsin.kql.functions.model import Aggregate, RowLowered
from tocsin.kql.plan import OrderKey, Pick, Scalar
from tocsin.kql.scope import BoundColumn, Environment, Relation, open_columns
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS", "Output", "bind_outputs"]

_RETURNS_ROWS = frozenset(("arg_max", "arg_min"))


@dataclass(slots=True)
class Output:
    """A column that summarize gives after its keys: name written or by rule, and its value over the grouped rows."""

    written: bool
    name: str
    value: Scalar
    stored: bool = False


@dataclass(slots=True)
class _Keys:
    items: list[tuple[str, Scalar]] = field(default_factory=list)
    columns: list[BoundColumn] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)  # names of input columns that are keys as they are


def _summarize(b: Binder, relation: Relation, node: ast.Summarize, env: Environment) -> Relation:
    inner = b.row(relation, env)
    keys = bind_keys(b, node.by, inner)
    single = _single_pick(b, relation, node, inner, keys)
    if single is not None:
        return single
    use = AggregateUse(order=relation.order)
    row = Row(env, relation=None, aggregates=use, inner=inner)
    outputs = bind_outputs(b, node.aggregates, row, relation, keys.sources)
    relation = b.settle(relation, inner)
    grouped = group(b, relation, keys.items, use.calls, keys.columns)
    result = _finish(b, grouped, keys.columns, outputs)
    if any(isinstance(a, ast.Star) for item in node.aggregates for a in _arguments(item)):
        result.open_bag = open_columns(relation)
    if relation.partition and not node.by:
        from tocsin.kql.binder.operators.expand import fill_empty_aggregate

        result = fill_empty_aggregate(b, relation, result, use.calls, [o.value for o in outputs])
    return result


def bind_keys(b: Binder, by: Sequence[ast.Expr], row: Row) -> _Keys:
    """The expressions after `by`."""
    keys = _Keys()
    taken: dict[str, int] = {}
    unnamed = 1
    for item in by:
        written = isinstance(item, ast.Named) and len(item.names) == 1
        if isinstance(item, ast.Star):
            raise fail("KQL0106", "'*' can't be a group.", item)
        value = b.scalar(item, row)
        name = result_name(item) if written else own_name(item, row)
        if name is None:
            name = f"Column{unnamed}"
            unnamed += 1
        if not written:
            name = free_name(name, taken)
        if name in taken:
            raise fail("KQL0109", f"The column '{name}' is made twice.", item)
        taken[name] = 1
        alias = b.alias()
        keys.items.append((alias, value))
        keys.columns.append(BoundColumn(name, value.type, alias, value.ticks))
        if isinstance(item, ast.Name) and not written:
            keys.sources.append(item.name)
        elif isinstance(item, ast.Named) and isinstance(item.value, ast.Name):
            keys.sources.append(item.value.name)
        elif name is not None:
            keys.sources.append(name)
    return keys


def bind_outputs(
    b: Binder, items: Sequence[ast.Expr], row: Row, relation: Relation, keys: Sequence[str]
) -> list[Output]:
    """The aggregates with their names."""
    outputs: list[Output] = []
    unnamed = 1
    for item in items:
        names: tuple[str, ...] = ()
        call: ast.Expr = item
        if isinstance(item, ast.Named):
            names, call = item.names, item.value
        while isinstance(call, ast.Paren):
            call = call.inner
        aggregate = registry.aggregate(call.callee) if isinstance(call, ast.Call) else None
        if isinstance(call, ast.Call) and aggregate is not None and row.env.lookup(call.callee) is None:
            outputs.extend(_call_outputs(b, aggregate, call, names, row, relation, keys))
            continue
        value = b.scalar(call, row)
        name = names[0] if names else result_name(call)
        if name is None:
            name = f"Column{unnamed}"
            unnamed += 1
        outputs.append(Output(bool(names), name, value))
    return outputs


def _call_outputs(
    b: Binder,
    aggregate: Aggregate,
    call: ast.Call,
    names: Sequence[str],
    row: Row,
    relation: Relation,
    keys: Sequence[str],
) -> list[Output]:
    automatic, operands = _operands(b, aggregate, call, row, relation, keys)
    lowered, arguments = lower_aggregate(b, aggregate, call, row, operands)
    alias = register_aggregate(row, lowered, arguments, b)
    if not isinstance(lowered, RowLowered):
        value = Scalar(alias, lowered.type, ticks=lowered.ticks, refs=frozenset((alias,)))
        return [Output(bool(names), names[0] if names else automatic[0], value)]
    outputs = []
    for i, column in enumerate(lowered.columns):
        sql = column.sql.replace("{row}", alias)
        value = Scalar(sql, column.type, cheap=False, ticks=column.ticks, refs=frozenset((alias,)), weight=2)
        if i < len(names):
            outputs.append(Output(True, names[i], value))
        elif lowered.suffixes:
            outputs.append(Output(False, automatic[0] + lowered.suffixes[i], value))
        else:
            name = automatic[i] if i < len(automatic) else f"{automatic[0]}{i}"
            outputs.append(Output(False, name, value, _is_stored(relation, name)))
    return outputs


def _operands(
    b: Binder, aggregate: Aggregate, call: ast.Call, row: Row, relation: Relation, keys: Sequence[str]
) -> tuple[list[str], list[Scalar] | None]:
    """Automatic names of the call's columns, and its operands where they are not just its arguments (``*``)."""
    assert row.inner is not None
    args = [a.value if isinstance(a, ast.Named) and len(a.names) == 1 else a for a in call.args]
    given = [a.names[0] if isinstance(a, ast.Named) and len(a.names) == 1 else None for a in call.args]
    if not args and any(not p.optional for p in aggregate.params):
        raise fail("KQL0104", f"{call.callee}() needs an argument.", call)
    if not aggregate.column_named:
        first = (given[0] or result_name(args[0])) if args else None
        return [aggregate_name(aggregate, call, first)], None
    names: list[str] = []
    operands: list[Scalar] = []
    value_first = aggregate.name in _RETURNS_ROWS
    for i, argument in enumerate(args):
        if isinstance(argument, ast.Star):
            used = set(keys) | ({names[0]} if value_first and names else set())
            for column in relation.visible():
                if column.name not in used:
                    names.append(column.name)
                    operands.append(column.scalar())
            continue
        operands.append(b.scalar(argument, row.inner))
        fallback = f"{aggregate.prefix}_" if i == 0 and aggregate.prefix else f"{aggregate.prefix or 'Column'}{i}"
        names.append(given[i] or result_name(argument) or fallback)
    return names, operands


def aggregate_name(aggregate: Aggregate, call: ast.Call, first: str | None) -> str:
    """``sum_x``, ``count_`` …"""
    prefix = aggregate.prefix or aggregate.name
    if aggregate.name.startswith("covariance") and len(call.args) > 1:
        first = f"{first or ''}_{result_name(call.args[1]) or ''}"
    return f"{prefix}_{first or ''}"


def _finish(b: Binder, grouped: Relation, keys: Sequence[BoundColumn], outputs: Sequence[Output]) -> Relation:
    """Name the columns and compute what is an expression over aggregates."""
    columns = list(keys)
    taken = {c.name: i for i, c in enumerate(columns)}
    items: list[tuple[str, Scalar]] = []
    for output in outputs:
        name = output.name
        if not output.written:
            name = _aggregate_free(name, taken)
        if name in taken:
            name = _aggregate_free(name, taken)
        taken[name] = len(columns)
        value = output.value
        if len(value.refs) == 1 and value.sql in value.refs:
            columns.append(BoundColumn(name, value.type, value.sql, value.ticks))
        else:
            alias = b.alias()
            items.append((alias, value))
            columns.append(BoundColumn(name, value.type, alias, value.ticks, stored=output.stored))
    return grouped.with_plan(b.compute(grouped, items), columns)


def _is_stored(relation: Relation, name: str) -> bool:
    """True where a column that arg_max or take_any carries along is a catalogue table's own."""
    column = relation.column(name)
    return column is not None and column.stored and column.name == name


def _aggregate_free(name: str, taken: dict[str, int]) -> str:
    return free_name(name, taken)


def _single_pick(b: Binder, relation: Relation, node: ast.Summarize, inner: Row, keys: _Keys) -> Relation | None:
    """``summarize arg_max(v, *) by k`` alone: one row of each group, without carrying whole rows through an aggregate."""
    if len(node.aggregates) != 1 or not node.by or relation.partition:
        return None
    item = node.aggregates[0]
    names: tuple[str, ...] = ()
    if isinstance(item, ast.Named):
        names, item = item.names, item.value
    if not isinstance(item, ast.Call) or len(names) > 1 or inner.env.lookup(item.callee) is not None:
        return None
    aggregate = registry.aggregate(item.callee)
    if aggregate is None or aggregate.name not in _RETURNS_ROWS or len(item.args) < 2:
        return None
    first = item.args[0]
    if isinstance(first, ast.Star):
        return None
    value = b.scalar(first, inner)
    if value.type is KqlType.DYNAMIC or value.type is KqlType.REAL:
        return None
    outputs: list[tuple[str, Scalar]] = [(names[0] if names else result_name(first) or "max_", value)]
    for argument in item.args[1:]:
        if isinstance(argument, ast.Star):
            used = set(keys.sources) | {outputs[0][0], result_name(first) or ""}
            outputs.extend((c.name, c.scalar()) for c in relation.visible() if c.name not in used)
        else:
            outputs.append((result_name(argument) or f"Column{len(outputs)}", b.scalar(argument, inner)))
    relation = b.settle(relation, inner)
    items = list(keys.items)
    columns = list(keys.columns)
    taken = {c.name: i for i, c in enumerate(columns)}
    order_alias = ""
    for i, (name, scalar) in enumerate(outputs):
        own = free_name(name, taken)
        taken[own] = len(columns)
        if len(scalar.refs) == 1 and scalar.sql in scalar.refs:
            alias = scalar.sql
        else:
            alias = b.alias()
            items.append((alias, scalar))
        if i == 0:
            order_alias = alias
        columns.append(BoundColumn(own, scalar.type, alias, scalar.ticks, stored=_is_stored(relation, own)))
    plan = b.compute(relation, items)
    descending = aggregate.name == "arg_max"
    order = (OrderKey(order_alias, descending, nulls_first=False), *relation.order)
    picked = Pick(plan.aliases, plan, tuple(a for a, _ in keys.items), order)
    whole = any(isinstance(a, ast.Star) for a in item.args)
    kept = open_columns(relation) if whole else None
    return Relation(picked, tuple(columns), () if relation.sorted else relation.order, open_bag=kept)


def _arguments(item: ast.Expr) -> Sequence[ast.Expr]:
    call = item.value if isinstance(item, ast.Named) else item
    return call.args if isinstance(call, ast.Call) else ()


APPLIERS = {ast.Summarize: _summarize}
