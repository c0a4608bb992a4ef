"""top-nested and top-hitters."""

from __future__ import annotations

from collections.abc import Callable

from tocsin.kql import ast
from tocsin.kql.binder.core import AggregateUse, Binder, Row
from tocsin.kql.binder.errors import fail
from tocsin.kql.binder.names import result_name
from tocsin.kql.binder.operators.grouping import bind_outputs
from tocsin.kql.binder.operators.rows import limit_relation
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.plan import Aggregate, Compute, Filter, Join, OrderKey, Plan, Scalar
from tocsin.kql.scope import BoundColumn, Environment, Relation
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS"]


def _top_hitters(b: Binder, relation: Relation, node: ast.TopHitters, env: Environment) -> Relation:
    """The values with the largest counts or sums. The engine estimates them; these are exact."""
    count = b.constant_int(node.count, env, "top-hitters")
    row = b.row(relation, env)
    value = b.scalar(node.of, row)
    name = result_name(node.of) or "Column1"
    if node.by is None:
        total, label = Scalar("count(*)", KqlType.LONG, cheap=False), f"approximate_count_{name}"
    else:
        weight = b.scalar(node.by, row)
        if not weight.type.is_numeric:
            raise fail("KQL0105", f"top-hitters sums numbers; this is a {weight.type}.", node.by)
        label = f"approximate_sum_{result_name(node.by) or ''}"
        whole = weight.type in (KqlType.INT, KqlType.LONG)
        sql = f"q_wrap(coalesce(sum({weight.sql}), 0))" if whole else f"coalesce(sum({weight.sql}), 0)"
        total = Scalar(sql, KqlType.LONG if whole else weight.type, cheap=False, refs=weight.refs)
    relation = b.settle(relation, row)
    key, amount = b.alias(), b.alias()
    plan = Aggregate(frozenset((key, amount)), relation.plan, [(key, value)], [(amount, total)])
    columns = (BoundColumn(name, value.type, key, value.ticks), BoundColumn(label, total.type, amount))
    # Ties: the engine keeps any; here the greater value, so that the answer is always the same.
    order = (OrderKey(amount, descending=True, nulls_first=False), OrderKey(key, descending=True, nulls_first=False))
    grouped = Relation(plan, columns, order, sorted=True)
    return limit_relation(grouped, constant(KqlType.LONG, max(count, 0)))


def _top_nested(b: Binder, relation: Relation, node: ast.TopNested, env: Environment) -> Relation:
    """Each level ranks the values of its expression within the rows that the levels above kept."""
    shared = b.share(_with_levels(b, relation, node, env), materialized=True)
    base_columns = _LEVELS.pop(id(node))
    base = Relation(shared.plan, base_columns)
    # A level's rows are read by the level below and by those that gather what it left out.
    reader: Callable[[], Relation] | None = None
    others: list[Relation] = []
    for depth, level in enumerate(node.levels):
        kept = _level(b, b.read(shared, base), reader() if reader is not None else None, level, depth, env)
        above, reader = reader, _reader(b, kept)
        if level.others is not None:
            before = above() if above is not None else None
            others.append(_others(b, b.read(shared, base), before, reader(), node, depth, env))
    assert reader is not None
    previous = reader()
    columns = tuple(c for c in previous.columns if not c.hidden)
    made = Relation(previous.plan, columns)
    if not others:
        return made
    from tocsin.kql.binder.operators.unions import Part, union_relations

    return union_relations(b, [Part(made, ""), *(Part(o, "") for o in others)], source=None, inner=False, node=node)


def _reader(b: Binder, relation: Relation) -> Callable[[], Relation]:
    shared = b.share(relation, materialized=True)
    return lambda: b.read(shared, relation)


def _same(rows: Relation, other: Relation, depth: int) -> Scalar:
    """The rows' values of the first levels are those of the other side."""
    pairs = [(rows.column(f"${up}"), other.column(f"${up}")) for up in range(depth)]
    aliases = [(own.alias, theirs.alias) for own, theirs in pairs if own is not None and theirs is not None]
    return Scalar(
        " AND ".join(f"{a} IS NOT DISTINCT FROM {c}" for a, c in aliases) or "TRUE",
        KqlType.BOOL,
        cheap=False,
        refs=frozenset(x for pair in aliases for x in pair),
    )


def _others(
    b: Binder,
    rows: Relation,
    above: Relation | None,
    kept: Relation,
    node: ast.TopNested,
    depth: int,
    env: Environment,
) -> Relation:
    """One row for what a level left out of each value of the levels above. Levels below that ask for others show the same rows' aggregate;
    those that don't show nothing."""
    plan = rows.plan
    parents: list[BoundColumn] = []
    if above is not None:
        plan = Join(plan.aliases | above.plan.aliases, "inner", plan, above.plan, _same(rows, above, depth))
        parents = [c for c in above.columns if not c.hidden]
    plan = Join(plan.aliases, "anti", plan, kept.plan, _same(rows, kept, depth + 1))
    inner = b.row(Relation(plan, rows.columns, rows.order), env)
    use = AggregateUse(order=rows.order)
    row = Row(env, relation=None, aggregates=use, inner=inner)
    made: list[tuple[str, Scalar]] = []
    for place, level in enumerate(node.levels[depth:], depth):
        if level.others is None:
            continue
        key = rows.column(f"${place}")
        assert key is not None
        label = b.scalar(level.others, Row(env))
        if label.type is not key.type:
            raise fail(
                "KQL0105", f"The value for the others is a {label.type}, the level's a {key.type}.", level.others
            )
        output = bind_outputs(b, [level.by.value], row, rows, ())[0]
        name = (level.of.names[0] if isinstance(level.of, ast.Named) else result_name(level.of)) or "Column1"
        written = isinstance(level.by.value, ast.Named)
        made += [(name, label), (output.name if written else f"aggregated_{name}", output.value)]
    settled = b.settle(Relation(plan, rows.columns), inner)
    keys = [(b.alias(), c.scalar()) for c in parents]
    count = b.alias()
    calls = [*use.calls, (count, Scalar("count(*)", KqlType.LONG, cheap=False))]
    grouped: Plan = Aggregate(frozenset(a for a, _ in (*keys, *calls)), settled.plan, keys, calls)
    some = Scalar(f"{count} > 0", KqlType.BOOL, cheap=False, refs=frozenset((count,)))
    grouped = Filter(grouped.aliases, grouped, some)
    items = [(b.alias(), value) for _, value in made]
    grouped = Compute(grouped.aliases | {a for a, _ in items}, grouped, items)
    columns = [c._replace(alias=a) for c, (a, _) in zip(parents, keys, strict=True)]
    columns += [BoundColumn(n, v.type, a, v.ticks) for (n, v), (a, _) in zip(made, items, strict=True)]
    return Relation(grouped, tuple(columns))


_LEVELS: dict[int, tuple[BoundColumn, ...]] = {}


def _with_levels(b: Binder, relation: Relation, node: ast.TopNested, env: Environment) -> Relation:
    """The rows with the level expressions as hidden columns ``$0``, ``$1`` …"""
    row = b.row(relation, env)
    items = []
    columns = list(relation.columns)
    for depth, level in enumerate(node.levels):
        value = b.scalar(level.of.value if isinstance(level.of, ast.Named) else level.of, row)
        alias = b.alias()
        items.append((alias, value))
        columns.append(BoundColumn(f"${depth}", value.type, alias, value.ticks, hidden=True))
    relation = b.settle(relation, row)
    made = relation.with_plan(b.compute(relation, items), columns)
    _LEVELS[id(node)] = made.columns
    return made


def _level(
    b: Binder,
    rows: Relation,
    previous: Relation | None,
    level: ast.TopNestedLevel,
    depth: int,
    env: Environment,
) -> Relation:
    plan = rows.plan
    parents: list[BoundColumn] = []
    if previous is not None:
        condition = _same(rows, previous, depth)
        plan = Join(plan.aliases | previous.plan.aliases, "inner", plan, previous.plan, condition)
        parents = list(previous.columns)
    inner = b.row(Relation(plan, rows.columns, rows.order), env)
    use = AggregateUse(order=rows.order)
    row = Row(env, relation=None, aggregates=use, inner=inner)
    written = isinstance(level.by.value, ast.Named)
    output = bind_outputs(b, [level.by.value], row, rows, ())[0]
    name = (level.of.names[0] if isinstance(level.of, ast.Named) else result_name(level.of)) or "Column1"
    key = rows.column(f"${depth}")
    assert key is not None
    keys = [(b.alias(), c.scalar()) for c in parents]
    ranked = b.alias()
    settled = b.settle(Relation(plan, rows.columns), inner)
    all_keys = [*keys, (ranked, key.scalar())]
    grouped: Plan = Aggregate(
        frozenset([*(a for a, _ in all_keys), *(a for a, _ in use.calls)]), settled.plan, all_keys, use.calls
    )
    amount = b.alias()
    grouped = Compute(grouped.aliases | {amount}, grouped, [(amount, output.value)])
    columns = [c._replace(alias=a) for c, (a, _) in zip(parents, keys, strict=True)]
    label = output.name if written else f"aggregated_{name}"
    columns += [
        BoundColumn(name, key.type, ranked, key.ticks),
        BoundColumn(label, output.value.type, amount, output.value.ticks),
        BoundColumn(f"${depth}", key.type, ranked, key.ticks, hidden=True),
    ]
    # Hidden level keys of the parents came along as columns of `previous`.
    if level.count is not None:
        count = b.constant_int(level.count, env, "top-nested")
        descending = level.by.descending is not False
        rank = b.alias()
        partition = ", ".join(a for a, _ in keys)
        over = f"{f'PARTITION BY {partition} ' if partition else ''}ORDER BY {amount} {'DESC' if descending else 'ASC'} NULLS LAST, {ranked}"
        reads = frozenset((amount, ranked, *(a for a, _ in keys)))
        number = Scalar(f"row_number() OVER ({over})", KqlType.LONG, cheap=False, refs=reads, window=True)
        grouped = Compute(grouped.aliases | {rank}, grouped, [(rank, number)])
        kept = Scalar(f"{rank} <= {max(count, 0)}", KqlType.BOOL, cheap=False, refs=frozenset((rank,)))
        grouped = Filter(grouped.aliases, grouped, kept)
    return Relation(grouped, tuple(columns))


APPLIERS = {ast.TopHitters: _top_hitters, ast.TopNested: _top_nested}
