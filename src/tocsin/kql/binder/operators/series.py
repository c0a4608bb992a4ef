"""make-series: one array of aggregated values for each group, on a regular axis."""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tocsin.kql import ast
from tocsin.kql.binder.core import AggregateUse, Binder, Row
from tocsin.kql.binder.errors import fail
from tocsin.kql.binder.names import result_name
from tocsin.kql.binder.operators.grouping import Output, bind_keys, bind_outputs
from tocsin.kql.binder.typing_rules import convert, promote
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.plan import Aggregate, Compute, Filter, Plan, Scalar
from tocsin.kql.scope import BoundColumn, Environment, Relation
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS"]

POINT_LIMIT = 1_048_576
"""Points of one series (the engine's own limit for an array)."""


_EPOCH = 62_135_596_800_000_000
"""Microseconds from year 1 to 1970."""


@dataclass(slots=True)
class _Axis:
    """The axis as 64-bit numbers (ticks for times) or as reals, and how its points are written."""

    name: str
    kind: KqlType
    value: Scalar
    start: Scalar | None
    stop: Scalar | None
    step: Scalar
    real: bool
    moment: Scalar | None = None  # the axis as a stored time, where start and step are constants of whole microseconds

    @property
    def micros(self) -> tuple[Scalar, int, int] | None:
        """The stored time, and start and step in microseconds since year 1."""
        if self.moment is None or self.start is None:
            return None
        start, step = self.start.value, self.step.value
        if not (self.start.constant and self.step.constant and isinstance(start, int) and isinstance(step, int)):
            return None
        return (self.moment, start // 10, step // 10) if start % 10 == step % 10 == 0 else None


def _make_series(b: Binder, relation: Relation, node: ast.MakeSeries, env: Environment) -> Relation:
    inner = b.row(relation, env)
    keys = bind_keys(b, node.by, inner)
    axis = _axis(b, node, inner)
    use = AggregateUse(order=relation.order)
    row = Row(env, relation=None, aggregates=use, inner=inner)
    outputs: list[Output] = []
    for aggregate in node.aggregates:
        made = bind_outputs(b, [aggregate.value], row, relation, keys.sources)
        if len(made) != 1:
            raise fail(
                "KQL0105", "An aggregate of make-series gives one value; this one gives several.", aggregate.value
            )
        outputs.extend(made)
    defaults = [_default(b, a, o.value, inner) for a, o in zip(node.aggregates, outputs, strict=True)]
    relation = b.settle(relation, inner)
    plan, start, stop = _bounded(b, relation, axis)
    bucket, position = b.alias(), _position(axis, start)
    items = [(a, s) for a, s in keys.items]
    plan = Compute(plan.aliases | {bucket} | {a for a, _ in items}, plan, [*items, (bucket, position)])
    key_columns = [(b.alias(), Scalar(a, s.type, ticks=s.ticks, refs=frozenset((a,)))) for a, s in items]
    bucket_key = b.alias()
    first: Plan = Aggregate(
        frozenset([bucket_key, *(a for a, _ in key_columns), *(a for a, _ in use.calls)]),
        plan,
        [*key_columns, (bucket_key, Scalar(bucket, KqlType.LONG, refs=frozenset((bucket,))))],
        use.calls,
    )
    return _series(b, first, key_columns, keys.columns, bucket_key, axis, outputs, defaults, start, stop, node)


def _axis(b: Binder, node: ast.MakeSeries, row: Row) -> _Axis:
    value = b.scalar(node.axis, row)
    name = result_name(node.axis) or "Column1"
    bounds = [b.scalar(x, row) if x is not None else None for x in (node.start, node.stop)]
    step = b.scalar(node.step, row)
    kind = value.type
    if kind is KqlType.DYNAMIC:
        raise fail("KQL0105", "The axis of make-series must be a number or a time.", node.axis)
    if kind in (KqlType.DATETIME, KqlType.TIMESPAN):
        if step.type is not KqlType.TIMESPAN:
            raise fail("KQL0105", f"The step must be a timespan; this is a {step.type}.", node.step)
    elif kind.is_numeric:
        for other in (*bounds, step):
            if other is not None:
                if not other.type.is_numeric:
                    raise fail("KQL0105", f"A bound of the axis must be a number; this is a {other.type}.", node)
                kind = promote(kind, other.type)
    else:
        raise fail("KQL0105", f"The axis of make-series must be a number or a time; this is a {kind}.", node.axis)
    real = kind in (KqlType.REAL, KqlType.DECIMAL)
    for bound, written in zip((*bounds, step), (node.start, node.stop, node.step), strict=True):
        if bound is not None and bound.refs:
            raise fail(
                "KQL0107", "The bounds and the step of make-series can't differ from row to row.", written or node
            )
    start, stop = (_number(x, kind, real, node) if x is not None else None for x in bounds)
    start, stop = (b.hoist(x, row) if x is not None and x.subquery else x for x in (start, stop))
    step = _number(step, KqlType.TIMESPAN if kind is KqlType.DATETIME else kind, real, node)
    if step.constant and not (isinstance(step.value, (int, float)) and step.value > 0):
        raise fail("KQL0105", "The step of make-series must be above zero.", node.step)
    moment = value if kind is KqlType.DATETIME and not value.ticks and value.cheap else None
    return _Axis(name, kind, _number(value, kind, real, node), start, stop, step, real, moment)


def _number(value: Scalar, kind: KqlType, real: bool, node: ast.Node) -> Scalar:
    """A value of the axis as BIGINT (ticks for times) or DOUBLE."""
    if kind is KqlType.DATETIME:
        if value.type is not KqlType.DATETIME:
            raise fail("KQL0105", f"A bound of the axis must be a datetime; this is a {value.type}.", node)
        if value.constant:
            return constant(KqlType.LONG, value.value)
        return replace(scalars.to_ticks(value), type=KqlType.LONG, ticks=False)
    if kind is KqlType.TIMESPAN:
        if value.type is not KqlType.TIMESPAN:
            raise fail("KQL0105", f"A bound of the axis must be a timespan; this is a {value.type}.", node)
        return replace(value, type=KqlType.LONG)
    return convert(value, KqlType.REAL) if real else convert(value, KqlType.LONG)


def _bounded(b: Binder, relation: Relation, axis: _Axis) -> tuple[Plan, Scalar, Scalar | None]:
    """The rows inside the axis, and its bounds; a start that is not given is the first bin that has data."""
    value, plan = axis.value, relation.plan
    if axis.micros is not None and (axis.stop is None or axis.stop.constant) and axis.start is not None:
        # As times, so that the scan can leave out row groups.
        moment = axis.micros[0]
        bounds = [(">=", axis.start), *([("<", axis.stop)] if axis.stop is not None else [])]
        whole = [scalars.compare(op, moment, constant(KqlType.DATETIME, bound.value)) for op, bound in bounds]
        plan = Filter(plan.aliases, plan, scalars.combine("and", whole))
        return plan, axis.start, axis.stop
    if not value.cheap:
        alias = b.alias()
        plan = Compute(plan.aliases | {alias}, plan, [(alias, value)])
        value = axis.value = Scalar(alias, value.type, refs=frozenset((alias,)))
    tests = [f"{value.sql} IS NOT NULL"]
    refs = value.refs
    if axis.start is not None:
        tests.append(f"{value.sql} >= {axis.start.sql}")
        refs |= axis.start.refs
    if axis.stop is not None:
        tests.append(f"{value.sql} < {axis.stop.sql}")
        refs |= axis.stop.refs
    plan = Filter(plan.aliases, plan, Scalar(" AND ".join(tests), KqlType.BOOL, cheap=False, refs=refs))
    start = axis.start
    if start is None:
        zero = "0::DOUBLE" if axis.real else "0::BIGINT"
        start = Scalar(zero, axis.value.type, constant=True, value=0)
    return plan, start, axis.stop


def _position(axis: _Axis, start: Scalar) -> Scalar:
    """The number of the bin that a row falls into."""
    if axis.micros is not None:
        moment, first, width = axis.micros
        # Rows before the start are left out, so that the engine's division, which cuts towards zero, is the bin's.
        sql = f"((epoch_us({moment.sql}) - ({first - _EPOCH})) // {width})"
        return scalars.make(sql, KqlType.LONG, (moment,))
    difference = f"({axis.value.sql} - {start.sql})"
    if axis.real:
        sql = f"try_cast(floor({difference} / {axis.step.sql}) AS BIGINT)"
    elif axis.start is not None and axis.step.constant:
        # Rows before the start are left out, so that the engine's division, which cuts towards zero, is the bin's.
        sql = f"({difference} // {axis.step.sql})"
    else:
        if (
            axis.kind is not KqlType.DATETIME
        ):  # ticks since year 1 can't overflow; other numbers may be as far apart as they like
            difference = f"({axis.value.sql}::HUGEINT - {start.sql})"
        sql = f"(({difference} - q_mod({difference}, {axis.step.sql})) // {axis.step.sql})"
        if axis.kind is not KqlType.DATETIME:
            sql = f"try_cast({sql} AS BIGINT)"
    return scalars.make(sql, KqlType.LONG, (axis.value, start, axis.step), copies=2)


def _default(b: Binder, aggregate: ast.MakeSeriesAgg, value: Scalar, row: Row) -> Scalar:
    if aggregate.default is None:
        return constant(KqlType.LONG, 0)
    default = b.scalar(aggregate.default, row)
    if value.type.is_numeric and not (default.type.is_numeric or (default.constant and default.value is None)):
        raise fail("KQL0105", f"The default of a number can't be a {default.type}.", aggregate.default)
    return default


def _series(
    b: Binder,
    first: Plan,
    key_aliases: Sequence[tuple[str, Scalar]],
    key_columns: Sequence[BoundColumn],
    bucket: str,
    axis: _Axis,
    outputs: Sequence[Output],
    defaults: Sequence[Scalar],
    start: Scalar,
    stop: Scalar | None,
    node: ast.MakeSeries,
) -> Relation:
    """Second grouping: the bins of each group as a map, then the arrays over the axis."""
    values = [(b.alias(), o.value) for o in outputs]
    plan: Plan = Compute(first.aliases | {a for a, _ in values}, first, values)
    final_keys = [(b.alias(), Scalar(a, s.type, ticks=s.ticks, refs=frozenset((a,)))) for a, s in key_aliases]
    pairs = ", ".join(f"'v{i}': {a}" for i, (a, _) in enumerate(values))
    bins, low, high = b.alias(), b.alias(), b.alias()
    reads = frozenset((bucket, *(a for a, _ in values)))
    entry = f"map_from_entries(list({{'k': {bucket}, 'v': {{{pairs}}}}}) FILTER (WHERE {bucket} IS NOT NULL))"
    aggregates = [
        (bins, Scalar(entry, KqlType.DYNAMIC, cheap=False, refs=reads)),
        (low, Scalar(f"min({bucket})", KqlType.LONG, cheap=False, refs=frozenset((bucket,)))),
        (high, Scalar(f"max({bucket})", KqlType.LONG, cheap=False, refs=frozenset((bucket,)))),
    ]
    grouped: Plan = Aggregate(frozenset([*(a for a, _ in final_keys), bins, low, high]), plan, final_keys, aggregates)
    begin = "0::BIGINT" if axis.start is not None else low
    if stop is not None:
        span = f"({stop.sql} - {start.sql})" if axis.real else f"({stop.sql}::HUGEINT - {start.sql})"
        end = (
            f"try_cast(ceil({span} / {axis.step.sql}) AS BIGINT)"
            if axis.real
            else f"(({span} + {axis.step.sql} - 1) // {axis.step.sql})"
        )
    else:
        end = f"({high}::HUGEINT + 1)"
    points = b.alias()
    ref = frozenset((low, high)) | start.refs | (stop.refs if stop is not None else frozenset()) | axis.step.refs
    first_point = f"coalesce({begin}, 0)::HUGEINT"
    length = f"least(greatest(coalesce({end}, 0), {first_point}), {first_point} + {POINT_LIMIT}, {2**63 - 1})::BIGINT"
    items: list[tuple[str, Scalar]] = [
        (points, Scalar(f"range(coalesce({begin}, 0), {length})", KqlType.DYNAMIC, cheap=False, refs=ref, weight=700))
    ]
    columns = [c._replace(alias=a) for c, (a, _) in zip(key_columns, final_keys, strict=True)]
    taken = {c.name for c in columns}
    for i, (output, default) in enumerate(zip(outputs, defaults, strict=True)):
        alias = b.alias()
        items.append((alias, _array(output.value, default, bins, points, i)))
        name = output.name
        while name in taken:
            name += "1"
        taken.add(name)
        columns.append(BoundColumn(name, KqlType.DYNAMIC, alias))
    alias = b.alias()
    items.append((alias, _axis_array(axis, start, points)))
    name = axis.name
    while name in taken:
        name += "1"
    columns.append(BoundColumn(name, KqlType.DYNAMIC, alias))
    computed = Compute(grouped.aliases | {a for a, _ in items}, grouped, items)
    return Relation(computed, tuple(columns))


def _array(value: Scalar, default: Scalar, bins: str, points: str, number: int) -> Scalar:
    held = f"struct_extract({bins}[i], 'v{number}')"
    refs = frozenset((bins, points)) | default.refs
    if value.type is KqlType.REAL or (value.type.is_numeric and default.type is KqlType.REAL):
        filler = "NULL" if default.value is None and default.constant else scalars.as_double(default)
        body = f"CASE WHEN map_contains({bins}, i) THEN {held}::DOUBLE ELSE {filler} END"
    else:
        as_json = scalars.to_dynamic(Scalar("v", value.type, ticks=value.ticks)).sql
        empty = scalars.to_dynamic(default).sql if not (default.constant and default.value is None) else "NULL::JSON"
        body = (
            f"CASE WHEN map_contains({bins}, i) THEN list_transform([{held}], lambda v: {as_json})[1] ELSE {empty} END"
        )
    sql = f"to_json(list_transform({points}, lambda i: {body}))"
    return Scalar(sql, KqlType.DYNAMIC, cheap=False, refs=refs, weight=8)


def _axis_array(axis: _Axis, start: Scalar, points: str) -> Scalar:
    point = f"({start.sql} + i * {axis.step.sql})"
    if not axis.real and axis.kind is not KqlType.DATETIME:
        point = f"k_wrap({start.sql}::HUGEINT + i::HUGEINT * {axis.step.sql})"
    if axis.kind is KqlType.DATETIME:
        body = scalars.to_dynamic(Scalar(point, KqlType.DATETIME, ticks=True)).sql
    elif axis.kind is KqlType.TIMESPAN:
        body = scalars.to_dynamic(Scalar(point, KqlType.TIMESPAN)).sql
    else:
        body = point
    sql = f"to_json(list_transform({points}, lambda i: {body}))"
    return Scalar(sql, KqlType.DYNAMIC, cheap=False, refs=frozenset((points,)) | start.refs | axis.step.refs, weight=8)


APPLIERS = {ast.MakeSeries: _make_series}
