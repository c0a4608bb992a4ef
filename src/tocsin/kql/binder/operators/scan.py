"""scan: sequences of rows that match steps.

The rows are walked by a recursive query, one row of each partition an iteration, so that conditions and assignments are the same SQL as
everywhere. The state of step k is a struct of the values that later conditions read: of the rows which matched steps 1 … k of
the sequence that has come as far as k. For each row the steps are tried from the last to the first:

1. the state of k-1 holds a sequence and the row meets the condition of k: that sequence moves to k;
2. else the state of k holds one (or k is the first step) and the row meets the condition: the row takes its place in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, unknown, unsupported
from tocsin.kql.binder.expressions import bind_boolean
from tocsin.kql.binder.typing_rules import convert
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import sql_type
from tocsin.kql.plan import Custom, OrderKey, Scalar
from tocsin.kql.scope import BoundColumn, Environment, Relation
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS"]


@dataclass(slots=True)
class _Field:
    """A value that the state keeps of a step: the column that it comes from."""

    name: str
    kind: KqlType
    ticks: bool
    default: Scalar
    source: Scalar | None  # an input column, or None for a declared one


@dataclass(slots=True)
class _Machine:
    """Everything that the recursive query is made of."""

    names: list[str]
    declared: dict[str, Scalar]
    relation: Relation
    fields: list[dict[str, _Field]] = field(default_factory=list)


def _scan(b: Binder, relation: Relation, node: ast.Scan, env: Environment) -> Relation:
    from tocsin.kql.binder.operators.rows import sort_relation

    if node.order_by:
        relation = sort_relation(b, relation, node.order_by, env)
    if not relation.serialized:
        raise fail("KQL0106", "scan needs rows in order.", node, "Put 'sort by' or 'serialize' before it.")
    row = b.row(relation, env)
    partitions = [b.scalar(p, row) for p in node.partition_by]
    declared: dict[str, Scalar] = {}
    for parameter in node.declare:
        kind = parameter.type or KqlType.DYNAMIC
        value = convert(b.scalar(parameter.default, Row(env)), kind) if parameter.default is not None else None
        declared[parameter.name] = value if value is not None else scalars.null(kind)
    relation = b.settle(relation, row)
    partitions += [Scalar(p, KqlType.LONG, refs=frozenset((p,))) for p in relation.partition]
    keys = [(b.alias(), p) for p in partitions]
    number = b.alias()
    from tocsin.kql.emit.duckdb.relations import order_text

    over = f"PARTITION BY {', '.join(p.sql for p in partitions)} " if partitions else ""
    over += f"ORDER BY {order_text(relation.order)}" if relation.order else ""
    reads = frozenset(k.alias for k in relation.order).union(*(p.refs for p in partitions))
    position = Scalar(f"row_number() OVER ({over})", KqlType.LONG, cheap=False, refs=reads, window=True)
    plan = b.compute(relation, [*keys, (number, position)])
    machine = _Machine([s.name for s in node.steps], declared, relation, [{} for _ in node.steps])
    for step in node.steps:
        for assignment in step.assignments:
            column = relation.column(assignment.names[0])
            if assignment.names[0] not in declared and column is not None:
                declared[assignment.names[0]] = (
                    column.scalar()
                )  # a column of the input: where no step assigns to it, it stays
    steps = [_bind_step(b, machine, i, step, env) for i, step in enumerate(node.steps)]
    return _emit(b, machine, node, steps, plan, [a for a, _ in keys], number)


@dataclass(slots=True)
class _Step:
    """A bound step: condition and assignments against the state of the step before (`moved`) and of its own (`kept`)."""

    moved: Scalar | None
    kept: Scalar
    assigned: dict[str, tuple[Scalar | None, Scalar]]


def _bind_step(b: Binder, machine: _Machine, index: int, step: ast.ScanStep, env: Environment) -> _Step:
    if step.optional:
        raise unsupported("An optional step of scan", step)
    if step.output not in (None, "all", "none"):
        raise unsupported(f"output={step.output} of scan", step)
    moved = None
    if index:
        moved = bind_boolean(b, step.condition, _row(b, machine, index - 1, env), "A step")
    kept = bind_boolean(b, step.condition, _row(b, machine, index, env), "A step")
    assigned: dict[str, tuple[Scalar | None, Scalar]] = {}
    for assignment in step.assignments:
        name = assignment.names[0]
        if name not in machine.declared:
            raise unknown("KQL0101", "declared column", name, machine.declared, assignment)
        kind = machine.declared[name].type
        before = convert(b.scalar(assignment.value, _row(b, machine, index - 1, env)), kind) if index else None
        assigned[name] = (before, convert(b.scalar(assignment.value, _row(b, machine, index, env)), kind))
    return _Step(moved, kept, assigned)


def _row(b: Binder, machine: _Machine, holder: int, env: Environment) -> Row:
    """A row context whose ``step.column`` are read from the state of step number `holder`."""
    row = b.row(machine.relation, env)
    row.fixed = True
    row.extra = dict(machine.declared)

    def state(step: str, column: str) -> Scalar | None:
        if step not in machine.names:
            return None
        index = machine.names.index(step)
        kept = _field(machine, index, column)
        if kept is None:
            return None
        if index > holder:
            return kept.default
        held = f"struct_extract(struct_extract(st{holder}, 's{index}'), '{kept.name}')"
        sql = f"CASE WHEN st{holder} IS NOT NULL THEN {held} ELSE {kept.default.sql} END"
        return Scalar(sql, kept.kind, cheap=False, ticks=kept.ticks, weight=3)

    row.state = state
    return row


def _field(machine: _Machine, index: int, column: str) -> _Field | None:
    fields = machine.fields[index]
    found = fields.get(column)
    if found is not None:
        return found
    default = machine.declared.get(column)
    if default is not None and default.refs:
        empty = Scalar("NULL::BIGINT", KqlType.DATETIME, ticks=True) if default.ticks else scalars.null(default.type)
        made = _Field(f"f{len(fields)}", default.type, default.ticks, empty, None)
    elif default is not None:
        made = _Field(f"f{len(fields)}", default.type, default.ticks, default, None)
    else:
        source = machine.relation.column(column)
        if source is None:
            return None
        empty = scalars.null(source.type)
        if source.ticks:
            empty = Scalar("NULL::BIGINT", KqlType.DATETIME, ticks=True)
        made = _Field(f"f{len(fields)}", source.type, source.ticks, empty, source.scalar())
    fields[column] = made
    return made


def _emit(
    b: Binder,
    machine: _Machine,
    node: ast.Scan,
    steps: Sequence[_Step],
    plan: object,
    keys: Sequence[str],
    number: str,
) -> Relation:
    from tocsin.kql.plan import Plan

    assert isinstance(plan, Plan)
    count = len(steps)
    outputs = {name: b.alias() for name in machine.declared}
    ticks = {name: any(_ticks(s, name) for s in steps) for name in machine.declared}
    match_name = node.params.get("with_match_id")
    match_alias, order_alias, step_alias = b.alias(), b.alias(), b.alias()
    columns = machine.relation.columns
    carried = list(
        dict.fromkeys(
            (*(c.alias for c in columns), *machine.relation.partition, *(k.alias for k in machine.relation.order))
        )
    )
    text = _Text(machine, steps, outputs, ticks, keys, number)

    def build(names: Sequence[str]) -> str:
        source = names[0]
        anchor = ", ".join(
            [
                "0::BIGINT AS rn",
                *(f"{k} AS p{i}" for i, k in enumerate(keys)),
                *(f"NULL::{text.state_type(i)} AS st{i}" for i in range(count)),
                "-1::BIGINT AS m",
                *(f"FALSE AS hit{i}" for i in range(count)),
                *(f"NULL::{text.row_type()} AS out{i}" for i in range(count)),
            ]
        )
        start = f"SELECT DISTINCT {anchor} FROM {source}" if keys else f"SELECT {anchor}"
        parts = []
        for i, step in enumerate(node.steps):
            if step.output == "none":
                continue
            declared = [f"struct_extract(w.out{i}, 'd{n}') AS {alias}" for n, alias in enumerate(outputs.values())]
            listed = ", ".join(
                [
                    *(f"t.{c} AS {c}" for c in carried),
                    *declared,
                    f"struct_extract(w.out{i}, 'm') AS {match_alias}",
                    f"t.{number} AS {order_alias}",
                    f"{count - i} AS {step_alias}",
                ]
            )
            same = " AND ".join(
                [f"t.{number} = w.rn", *(f"t.{k} IS NOT DISTINCT FROM w.p{n}" for n, k in enumerate(keys))]
            )
            parts.append(f"SELECT {listed} FROM walk w JOIN {source} t ON {same} WHERE w.hit{i}")
        if not parts:
            raise fail("KQL0105", "No step of scan gives rows.", node)
        return f"WITH RECURSIVE walk AS ({start} UNION ALL {text.iteration(source)}) {' UNION ALL '.join(parts)}"

    aliases = frozenset((*carried, *outputs.values(), match_alias, order_alias, step_alias))
    reads = frozenset((*carried, *keys, number))
    made = Custom(aliases, [(plan, reads)], build)
    own = {name: BoundColumn(name, machine.declared[name].type, alias, ticks[name]) for name, alias in outputs.items()}
    result = [own.pop(c.name, c) for c in columns]
    if match_name is not None:
        label = match_name.name if isinstance(match_name, ast.Name) else str(getattr(match_name, "value", "match_id"))
        result.append(BoundColumn(label, KqlType.LONG, match_alias))
    result.extend(own.values())
    # Partitions are walked side by side: their rows come back in the order of the input where it is still known.
    order = (*machine.relation.order, OrderKey(step_alias)) if keys else (OrderKey(order_alias), OrderKey(step_alias))
    kept = tuple(k for k in order if k.alias in aliases)
    return Relation(
        made,
        tuple(result),
        kept,
        serialized=True,
        sorted=machine.relation.sorted,
        partition=machine.relation.partition,
        base=machine.relation.base,
    )


def _ticks(step: _Step, name: str) -> bool:
    pair = step.assigned.get(name)
    return pair is not None and any(v is not None and v.ticks for v in pair)


@dataclass(slots=True)
class _Text:
    """The SQL pieces of the recursion."""

    machine: _Machine
    steps: Sequence[_Step]
    outputs: dict[str, str]
    ticks: dict[str, bool]
    keys: Sequence[str]
    number: str

    def state_type(self, index: int) -> str:
        """The struct that step `index` keeps."""
        inner = [f"m BIGINT"]  # noqa: F541 - reads with the others
        for i in range(index + 1):
            fields = [f"{f.name} {sql_type(f.kind, f.ticks)}" for f in self.machine.fields[i].values()]
            inner.append(f"s{i} STRUCT({', '.join(['x BOOLEAN', *fields])})")
        return f"STRUCT({', '.join(inner)})"

    def row_type(self) -> str:
        """The struct of a matched row: its declared columns and its match."""
        declared = self.machine.declared
        fields = [f"d{i} {sql_type(v.type, self.ticks[n])}" for i, (n, v) in enumerate(declared.items())]
        return f"STRUCT({', '.join([*fields, 'm BIGINT'])})"

    def iteration(self, source: str) -> str:
        """The recursive term: the next row of each partition, the steps from the last to the first."""
        count = len(self.steps)
        states = ", ".join(f"walk.st{i} AS st{i}" for i in range(count))
        keys = "".join(f", walk.p{i} AS p{i}" for i in range(len(self.keys)))
        same = "".join(f" AND {source}.{k} IS NOT DISTINCT FROM walk.p{i}" for i, k in enumerate(self.keys))
        sql = (
            f"SELECT {source}.*, walk.rn + 1 AS rn{keys}, {states}, walk.m AS m FROM walk JOIN {source} "
            f"ON {source}.{self.number} = walk.rn + 1{same}"
        )
        for index in range(count - 1, -1, -1):
            sql = self._step(index, sql)
        listed = ["rn", *(f"p{i}" for i in range(len(self.keys))), *(f"st{i}" for i in range(count)), "m"]
        listed += [f"hit{i}" for i in range(count)] + [f"out{i}" for i in range(count)]
        return f"SELECT {', '.join(listed)} FROM ({sql})"

    def _step(self, index: int, inner: str) -> str:
        step = self.steps[index]
        moved = (
            f"(st{index - 1} IS NOT NULL AND coalesce({step.moved.sql}, FALSE))" if step.moved is not None else "FALSE"
        )
        has_state = f"st{index} IS NOT NULL AND " if index else ""
        kept = f"({has_state}coalesce({step.kept.sql}, FALSE))"
        first = f"SELECT *, {moved} AS mv{index}, {kept} AS kp{index} FROM ({inner})"
        values = []
        for number, (name, default) in enumerate(self.machine.declared.items()):
            values.append(f"'d{number}': {self._value(step, name, default, index)}")
        new_match = (
            "m + 1"
            if index == 0
            else f"CASE WHEN mv{index} THEN struct_extract(st{index - 1}, 'm') ELSE struct_extract(st{index}, 'm') END"
        )
        values.append(f"'m': {new_match}")
        made = f"CASE WHEN mv{index} OR kp{index} THEN {{{', '.join(values)}}} END"
        second = f"SELECT *, (mv{index} OR kp{index}) AS hit{index}, {made} AS out{index} FROM ({first})"
        return self._advance(index, second)

    def _value(self, step: _Step, name: str, default: Scalar, index: int) -> str:
        pair = step.assigned.get(name)
        form = self.ticks[name]
        if pair is None:
            return scalars.ticks(default) if form and default.type is KqlType.DATETIME else default.sql
        before, own = (
            (scalars.ticks(v) if form and v.type is KqlType.DATETIME else v.sql) if v is not None else None
            for v in pair
        )
        return f"CASE WHEN mv{index} THEN {before} ELSE {own} END" if before is not None else str(own)

    def _advance(self, index: int, inner: str) -> str:
        """The states after the step: of its own, and of the step before when its sequence moved on."""
        fields = ["'x': TRUE"]
        for name, kept in self.machine.fields[index].items():
            if kept.source is not None:
                fields.append(f"'{kept.name}': {kept.source.sql}")
            else:
                position = list(self.machine.declared).index(name)
                fields.append(f"'{kept.name}': struct_extract(out{index}, 'd{position}')")
        own = f"'s{index}': {{{', '.join(fields)}}}"

        def packed(holder: int) -> str:
            earlier = [f"'s{i}': struct_extract(st{holder}, 's{i}')" for i in range(index)]
            return f"{{{', '.join([f''' 'm': struct_extract(out{index}, 'm')''', *earlier, own])}}}"

        value = (
            f"CASE WHEN mv{index} THEN {packed(index - 1)} WHEN kp{index} THEN {packed(index)} ELSE st{index} END"
            if index
            else (f"CASE WHEN kp0 THEN {packed(0)} ELSE st0 END")
        )
        replaced = [f"{value} AS st{index}"]
        if index:
            replaced.append(f"CASE WHEN mv{index} THEN NULL ELSE st{index - 1} END AS st{index - 1}")
        else:
            replaced.append("CASE WHEN kp0 THEN m + 1 ELSE m END AS m")
        return f"SELECT * REPLACE ({', '.join(replaced)}) FROM ({inner})"


APPLIERS = {ast.Scan: _scan}
