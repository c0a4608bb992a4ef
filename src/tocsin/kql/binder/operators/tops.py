"""top-nested and top-hitters."""

from __future__ import annotations

from tocsin.kql import ast
from tocsin.kql.binder.core import AggregateUse, Binder, Row
from tocsin.kql.binder.errors import fail, unsupported
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
    previous: Relation | None = None
    for depth, level in enumerate(node.levels):
        if level.others is not None:
            raise unsupported("top-nested with others", level)
        previous = _level(b, b.read(shared, base), previous, level, depth, env)
    assert previous is not None
    columns = tuple(c for c in previous.columns if not c.hidden)
    return Relation(previous.plan, columns)


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
        pairs = []
        for up in range(depth):
            own, theirs = rows.column(f"${up}"), previous.column(f"${up}")
            assert own is not None
            assert theirs is not None
            pairs.append((own.alias, theirs.alias))
        condition = Scalar(
            " AND ".join(f"{a} IS NOT DISTINCT FROM {c}" for a, c in pairs),
            KqlType.BOOL,
            cheap=False,
            refs=frozenset(x for pair in pairs for x in pair),
        )
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
        over = f"{f'PARTITION BY {partition} ' if partition else ''}ORDER BY {amount} {'DESC' if descending else 'ASC'} NULLS LAST"
        reads = frozenset((amount, *(a for a, _ in keys)))
        number = Scalar(f"row_number() OVER ({over})", KqlType.LONG, cheap=False, refs=reads, window=True)
        grouped = Compute(grouped.aliases | {rank}, grouped, [(rank, number)])
        kept = Scalar(f"{rank} <= {max(count, 0)}", KqlType.BOOL, cheap=False, refs=frozenset((rank,)))
        grouped = Filter(grouped.aliases, grouped, kept)
    return Relation(grouped, tuple(columns))


APPLIERS = {ast.TopHitters: _top_hitters, ast.TopNested: _top_nested}
