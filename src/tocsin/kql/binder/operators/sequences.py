"""evaluate: who was active how often, and what followed what: active_users_count, sequence_detect, the funnels.

What the operators of KQL say in a paragraph is a text (see `library`); windows over ranges of time and as-of joins are the engine's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder
from tocsin.kql.binder.errors import fail
from tocsin.kql.binder.fold import json_value
from tocsin.kql.binder.names import result_name
from tocsin.kql.binder.operators.columns import extend_relation
from tocsin.kql.binder.operators.library import Call, bind_call, bind_text, sort_out
from tocsin.kql.binder.operators.plugin_texts import Template
from tocsin.kql.binder.typing_rules import convert
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant, text
from tocsin.kql.plan import Custom, Scalar
from tocsin.kql.scope import BoundColumn, Environment, Relation, ScalarValue
from tocsin.kql.types import KqlType

__all__ = ["PLUGINS"]

STEP_LIMIT = 32
"""Steps of one sequence."""


def _plain(name: str) -> str:
    """The name inside ``['name']``."""
    return name[2:-2].replace("\\'", "'").replace("\\\\", "\\")


def _quoted(name: str) -> str:
    return "['" + name.replace("\\", "\\\\").replace("'", "\\'") + "']"


def _bound(relation: Relation, call: Call, label: str) -> BoundColumn:
    column = relation.column(_plain(call.columns[label]))
    assert column is not None
    return column


def _number(value: Scalar, node: ast.Evaluate) -> str:
    """A datetime, timespan or whole number as BIGINT."""
    if value.type is KqlType.DATETIME:
        return scalars.ticks(value)
    if value.type in (KqlType.TIMESPAN, KqlType.LONG, KqlType.INT):
        return f"({value.sql})::BIGINT"
    raise fail("KQL0105", f"{node.call.callee}() counts in times or whole numbers; this is a {value.type}.", node.call)


def _timeline(column: BoundColumn, alias: str) -> BoundColumn:
    """The time column as it comes out of `_number`."""
    return BoundColumn(column.name, column.type, alias, ticks=column.type is KqlType.DATETIME)


# ---------------------------------------------------------------------------------------------- active_users_count

_ACTIVE = Template(
    ("{id}", "{time}", "=start", "=end", "=lookback", "=period", "=least", "=size"),
    "summarize ['dcount'] = dcount({id}) by {time} = {bin} {, dims} | sort by {time} asc",
)


def _active_users(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """Of each period the values that were there in so many periods of the time before, each appearance looked at on its own."""
    call = sort_out(b, relation, node, _ACTIVE, env)
    who, when = _bound(relation, call, "id"), _bound(relation, call, "time")
    kept = [who, *(c for d in call.dimensions if (c := relation.column(_plain(d))) is not None)]
    limits = {name: _number(call.scalars[name], node) for name in ("start", "end", "lookback", "period", "least")}
    moment = b.alias()
    time = scalars.make(_number(when.scalar(), node), KqlType.LONG, (when.scalar(), *call.scalars.values()))
    plan = b.compute(relation, [(moment, time)])
    columns = ", ".join(c.alias for c in kept)

    def build(names: Sequence[str]) -> str:
        size = f"greatest({limits['period']}, 1)"
        period = f"({moment} - (({moment} % {size}) + {size}) % {size})"
        rows = (
            f"SELECT DISTINCT {columns}, {moment}, {period} AS p FROM {names[0]}"
            f" WHERE {moment} <= {limits['end']} AND {moment} > {limits['start']} - {limits['lookback']}"
        )
        over = (
            f"(PARTITION BY {columns} ORDER BY {moment} RANGE BETWEEN greatest({limits['lookback']} - 1, 0) PRECEDING"
            " AND CURRENT ROW)"
        )
        return (
            f"SELECT {columns}, {moment} FROM (SELECT {columns}, {moment}, count(DISTINCT p) OVER {over} AS n FROM ({rows}))"
            f" WHERE n >= {limits['least']} AND {moment} >= {limits['start']}"
        )

    reads = frozenset((moment, *(c.alias for c in kept)))
    made = Relation(Custom(reads, [(plan, reads)], build), (*kept, _timeline(when, moment)))
    return bind_call(b, made, node, _ACTIVE, call)


# ---------------------------------------------------------------------------------------------- sequence_detect


def _sequence_detect(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """Rows that satisfy one condition after another, each later than (or as late as) the one before and not too late."""
    template = Template(("{time}", "=step", "=span"), "")
    head = ast.Evaluate(
        node.span,
        node.keyword,
        node.params,
        ast.Call(node.call.span, node.call.callee, node.call.args[:3], node.call.callee_span),
        None,
    )
    call = sort_out(b, relation, head, template, env)
    _above_zero(call.scalars["step"], node)
    row = b.row(relation, env)
    bound: list[tuple[str | None, str, Scalar]] = []
    steps: list[str] = []
    dims: list[str] = []
    for argument in node.call.args[3:]:
        value = b.scalar(argument.value if isinstance(argument, ast.Named) else argument, row)
        name = argument.names[0] if isinstance(argument, ast.Named) else result_name(argument)
        if value.type is KqlType.BOOL:
            steps.append(name or f"Expr{len(steps) + 1}")
            bound.append((f"$s{len(steps)}", "", value))
        else:
            dims.append(name or f"Column{len(dims) + 1}")
            bound.append((dims[-1], "", value))
    if len(steps) < 2:
        raise fail("KQL0104", "sequence_detect() needs at least two conditions.", node.call)
    if len(steps) > STEP_LIMIT:
        raise fail("KQL0110", f"A sequence has at most {STEP_LIMIT} steps.", node.call)
    when = _plain(call.columns["time"])
    bound.append(("$t", "", _bound(relation, call, "time").scalar()))
    made = extend_relation(b, b.settle(relation, row), bound)
    inner = Environment(b.root_catalogue)
    for label, value in call.scalars.items():
        inner.declare(label, ScalarValue(value))
    return bind_text(b, made, _detect_text(steps, dims, when), inner, node, query=True)


def _above_zero(value: Scalar, node: ast.Evaluate) -> None:
    if value.constant and isinstance(value.value, (int, float)) and value.value <= 0:
        raise fail("KQL0105", f"The longest step of {node.call.callee}() must be above zero.", node.call)


def _detect_text(steps: Sequence[str], dims: Sequence[str], when: str) -> str:
    """A join for each step. Rows within a step of one another lie in the same span of that length or in neighbours, so the joins
    are equalities of spans, however many rows there are."""
    own = "".join(f", {_quoted(d)}" for d in dims)
    lines = [
        "let N = T | serialize | extend ['$r'] = row_number();",
        f"N | where ['$s1'] | project ['$1'] = ['$t'], ['$r1'] = ['$r'], ['$b'] = bin(['$t'], step){own}",
    ]
    for k in range(2, len(steps) + 1):
        hits = f"N | where ['$s{k}'] | project ['${k}'] = ['$t'], ['$r{k}'] = ['$r'], ['$b'] = bin(['$t'], step)"
        lines.append(
            f"| join kind=inner (union ({hits}{own}), ({hits} - step{own})) on ['$b']{own}"
            f" | where ['${k}'] >= ['${k - 1}'] and ['${k}'] - ['${k - 1}'] <= step and ['${k}'] - ['$1'] <= span"
            f" and ['$r{k}'] != ['$r{k - 1}'] | extend ['$b'] = bin(['${k}'], step)"
        )
    times = ", ".join(f"{_quoted(f'{s}_{when}')} = ['${k}']" for k, s in enumerate(steps, 1))
    columns = f"{own[2:]}, {times}" if own else times
    lines.append(f"| sort by ['$1'] asc | project {columns}, Duration = ['${len(steps)}'] - ['$1']")
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------- funnels


def _sequence(call: Call, node: ast.Evaluate) -> list[str]:
    """The states of a funnel, a constant array."""
    value = call.scalars["sequence"]
    states = json_value(value) if value.constant and value.type is KqlType.DYNAMIC else None
    if not isinstance(states, list) or not states:
        raise fail("KQL0107", f"{node.call.callee}() needs its sequence as a constant array of states.", node.call)
    if len(states) > STEP_LIMIT:
        raise fail("KQL0110", f"A sequence has at most {STEP_LIMIT} steps.", node.call)
    return [str(s) for s in states]


_FUNNEL = ("{id}", "{time}", "=start", "=end", "=window", "=size", "{state}", "=sequence")


def _funnel_sequence(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """What came before and after a run of states: by both, by the one before and by the one after, as three results."""
    call = sort_out(b, relation, node, Template(_FUNNEL, "", dimensions=False), env)
    states = _sequence(call, node)
    names = [f"s{i}" for i in range(1, len(states) + 1)]
    for name, state in zip(names, states, strict=True):
        call.scalars[name] = constant(KqlType.STRING, state)
    near = [
        f"next(['$s'], {i}) == {name} and next({{id}}, {i}) == {{id}} and {_gap(i)} <= window"
        for i, name in enumerate(names)
        if i
    ]
    last = len(states)
    # A state that goes on is one step, unless the sequence itself asks for it twice running.
    collapse = "| where isnull(prev({time})) or prev({id}) != {id} or prev(['$s']) != ['$s']"
    repeated = any(a == z for a, z in itertools.pairwise(states))
    shared = f"""
        let M = materialize(T
            | where {{time}} between (start .. end)
            | project {{id}}, {{time}}, ['$s'] = tostring({{state}})
            | sort by {{id}} asc, {{time}} asc
            {"" if repeated else collapse}
            | extend ['$ok'] = {" and ".join(["['$s'] == s1", *near])},
                ['prev'] = iff(prev({{id}}) == {{id}} and {{time}} - prev({{time}}) <= window, prev(['$s']), ''),
                ['next'] = iff(next({{id}}, {last}) == {{id}} and {_gap(last)} <= window, next(['$s'], {last}), '')
            | where ['$ok'] | extend ['$bin'] = {{bin}});"""
    tables = [
        f"M | summarize ['dcount'] = dcount({{id}}), samples = make_set({{id}}, 128) by {{time}} = ['$bin'], {by}"
        f" | sort by {{time}} asc, ['dcount'] desc, {by}"
        for by in ("['prev'], ['next']", "['prev']", "['next']")
    ]
    made = Template(_FUNNEL, shared + ";\n".join(tables), dimensions=False, query=True)
    return bind_call(b, relation, node, made, call)


def _gap(i: int) -> str:
    """The time from the row before it to row `i` of the sequence, counted from 0."""
    return f"next({{time}}, {i}) - " + (f"next({{time}}, {i - 1})" if i > 1 else "{time}")


_COMPLETION = Template(
    ("{id}", "{time}", "=start", "=end", "=size", "{state}", "=sequence", "=windows"),
    """
    T
    | extend ['$bin'] = {bin}
    | summarize ['$took'] = min(['$done'] - {time}) by {id}, ['$bin'], ['$step'], {state}
    | extend ['$k'] = 1
    | join kind=inner (print Period = windows | mv-expand Period to typeof(timespan) | extend ['$k'] = 1) on ['$k']
    | summarize ['dcount'] = dcountif({id}, ['$took'] <= Period) by {time} = ['$bin'], {state}, Period, ['$step']
    | sort by {time} asc, Period asc, ['$step'] asc
    | project {time}, {state}, Period, ['dcount']
    """,
    dimensions=False,
    query=True,
)


def _funnel_completion(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """How many values came how far through a sequence of states within each of several spans, counted from the first state.

    From each first state the earliest second after it, from that the earliest third and so on: as-of joins.
    """
    call = sort_out(b, relation, node, _COMPLETION, env)
    states = _sequence(call, node)
    who, when = _bound(relation, call, "id"), _bound(relation, call, "time")
    state = _bound(relation, call, "state")
    start, end = (_number(call.scalars[n], node) for n in ("start", "end"))
    moment, label, done, step = b.aliases(4)
    plan = b.compute(
        relation,
        [
            (moment, scalars.make(_number(when.scalar(), node), KqlType.LONG, (when.scalar(), *call.scalars.values()))),
            (label, convert(state.scalar(), KqlType.STRING)),
        ],
    )
    me = who.alias

    def build(names: Sequence[str]) -> str:
        ctes = [
            (
                f"events AS MATERIALIZED (SELECT {me}, {moment} AS t, {label} AS s FROM {names[0]}"
                f" WHERE {moment} BETWEEN {start} AND {end} AND {me} IS NOT NULL)"
            ),
            f"e1 AS MATERIALIZED (SELECT DISTINCT {me}, t AS t1, t AS tk FROM events WHERE s = {text(states[0])})",
        ]
        for k, (before, name) in enumerate(itertools.pairwise(states), 2):
            later = "<" if before == name else "<="
            ctes.append(
                f"e{k} AS MATERIALIZED (SELECT e.{me}, e.t1, x.t AS tk FROM e{k - 1} AS e ASOF LEFT JOIN"
                f" (SELECT {me}, t FROM events WHERE s = {text(name)}) AS x ON e.{me} = x.{me} AND e.tk {later} x.t)"
            )
        parts = [
            f"SELECT {me}, t1 AS {moment}, tk AS {done}, {k} AS {step}, {text(name)} AS {label} FROM e{k}"
            for k, name in enumerate(states, 1)
        ]
        return f"WITH {', '.join(ctes)} {' UNION ALL '.join(parts)}"

    reads = frozenset((me, moment, label))
    columns = (
        who,
        _timeline(when, moment),
        BoundColumn(state.name, KqlType.STRING, label),
        BoundColumn("$done", when.type, done, ticks=when.type is KqlType.DATETIME),
        BoundColumn("$step", KqlType.LONG, step),
    )
    made = Relation(Custom(frozenset((me, moment, label, done, step)), [(plan, reads)], build), columns)
    return bind_call(b, made, node, _COMPLETION, call)


PLUGINS: dict[str, Callable[[Binder, Relation, ast.Evaluate, Environment], Relation]] = {
    "active_users_count": _active_users,
    "sequence_detect": _sequence_detect,
    "funnel_sequence": _funnel_sequence,
    "funnel_sequence_completion": _funnel_completion,
}
"""Name → what binds its call."""
