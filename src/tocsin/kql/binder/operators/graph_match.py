"""graph-match and graph-shortest-paths: patterns as joins, edges of variable length as a recursive walk.

Each node of a pattern is a reader of the nodes, each edge a reader of the edges, joined by ids; a name that stands twice is one
reader. An edge of variable length is a walk that gathers, along with the ids of its edges and inner nodes, the values that the query
asks of them (``map(e, x)``, ``all(inner_nodes(e), p)``), so that these are lists when the match is filtered.
"""

# ruff: noqa: ARG001 - functions of a graph share one signature

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, unknown, unsupported
from tocsin.kql.binder.expressions import bind_boolean
from tocsin.kql.binder.operators.columns import bind_items, project_relation
from tocsin.kql.binder.operators.graph import Graph, hidden
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.plan import Custom, Filter, Join, Pick, Plan, Scalar, Single
from tocsin.kql.scope import Environment, Relation
from tocsin.kql.types import KqlType

__all__ = ["match"]

STEP_LIMIT = 64
"""Steps of an edge of variable length whose end is not given."""


@dataclass(slots=True)
class _Walk:
    """An edge of variable length: its aliases, and the values to gather of its edges and inner nodes."""

    start: str
    end: str
    edges: str
    inner: str
    steps: str
    minimum: int
    maximum: int
    direction: str
    of_edges: list[tuple[str, Scalar]] = field(default_factory=list)
    of_nodes: list[tuple[str, Scalar]] = field(default_factory=list)
    edge_reader: Relation | None = None
    node_reader: Relation | None = None


@dataclass(slots=True)
class _State:
    """What has been matched so far."""

    graph: Graph
    node: ast.GraphMatch
    env: Environment
    plan: Plan
    nodes: dict[str, Relation] = field(default_factory=dict)
    edges: dict[str, Relation] = field(default_factory=dict)
    walks: dict[str, _Walk] = field(default_factory=dict)
    conditions: list[Scalar] = field(default_factory=list)
    pending: list[tuple[_Walk, str, str]] = field(default_factory=list)


def match(b: Binder, graph: Graph, node: ast.GraphMatch, env: Environment) -> Relation:
    """Bind the patterns, the filter and the projection."""
    if not node.project:
        raise fail("KQL0104", f"{node.keyword} needs 'project': which columns to show.", node)
    cycles = _word(node.params.get("cycles")) or ("none" if node.keyword == "graph-shortest-paths" else "unique_edges")
    if cycles not in ("all", "none", "unique_edges"):
        raise fail("KQL0105", f"cycles is all, none or unique_edges, not '{cycles}'.", node)
    state = _State(graph, node, env, Single(frozenset()))
    first = True
    for pattern in node.patterns:
        first = _pattern(b, state, pattern, first)
    row = _row(b, state)
    where = bind_boolean(b, node.where, row, "where") if node.where is not None else None
    outputs = bind_items(b, node.project, row, "Column", 1)
    plan = _join_walks(b, state, cycles)
    for condition in (*state.conditions, *_distinctness(state, cycles), *((where,) if where is not None else ())):
        plan = Filter(plan.aliases, plan, condition)
    if node.keyword == "graph-shortest-paths":
        plan = _shortest(b, state, plan)
    return project_relation(b, Relation(plan, ()), outputs, node)


def _word(node: ast.Expr | None) -> str:
    return node.name if isinstance(node, ast.Name) else str(getattr(node, "value", "") or "")


# ---------------------------------------------------------------------------------------------- patterns


def _pattern(b: Binder, state: _State, pattern: Sequence[ast.GraphElement], first: bool) -> bool:
    """Join one pattern on; the result says whether nothing has been joined yet."""
    left: Relation | None = None
    for position, element in enumerate(pattern):
        if position % 2:
            continue
        known = element.name is not None and element.name in state.nodes
        right = state.nodes[element.name] if known and element.name is not None else state.graph.read_nodes(b)
        name = element.name or f"${len(state.nodes)}"
        state.nodes[name] = right
        edge = pattern[position - 1] if position else None
        if edge is not None and left is not None:
            first = _edge(b, state, edge, left, right, known)
        elif not known:
            state.plan = right.plan if first else _cross(state.plan, right.plan)
            first = False
        left = right
    return first


def _cross(left: Plan, right: Plan) -> Plan:
    return Join(left.aliases | right.aliases, "cross", left, right, None)


def _edge(b: Binder, state: _State, edge: ast.GraphElement, left: Relation, right: Relation, known: bool) -> bool:
    name = edge.name or f"${len(state.edges) + len(state.walks)}"
    if name in state.edges or name in state.walks or name in state.nodes:
        raise fail("KQL0109", f"The name '{name}' stands for two things in the pattern.", edge)
    left_id, right_id = hidden(left, "$id").alias, hidden(right, "$id").alias
    direction = edge.direction or "->"
    if edge.minimum is not None or edge.maximum is not None:
        start, end, edges, inner, steps = (b.alias() for _ in range(5))
        least = edge.minimum if edge.minimum is not None else 1
        most = min(edge.maximum if edge.maximum is not None else STEP_LIMIT, STEP_LIMIT)
        walk = _Walk(start, end, edges, inner, steps, least, most, direction)
        if walk.minimum < 0 or walk.maximum < walk.minimum:
            raise fail("KQL0105", "The range of an edge must rise.", edge)
        state.walks[name] = walk
        if not known:
            state.plan = _cross(state.plan, right.plan)
        state.pending.append((walk, left_id, right_id))
        return False
    reader = state.graph.read_edges(b)
    state.edges[name] = reader
    start, end = hidden(reader, "$from").alias, hidden(reader, "$to").alias
    forwards, backwards = (left_id, right_id), (right_id, left_id)
    pairs = {"->": [forwards], "<-": [backwards], "--": [forwards, backwards]}[direction]
    meets = " OR ".join(f"({start} = {a} AND {end} = {z})" for a, z in pairs)
    test = Scalar(f"({meets})", KqlType.BOOL, cheap=False, refs=frozenset((start, end, left_id, right_id)))
    if direction == "--" or known:
        plan = state.plan if known else _cross(state.plan, right.plan)
        state.plan = Join(plan.aliases | reader.plan.aliases, "inner", plan, reader.plan, test)
        return False
    # Join the edge to the node at hand, then the other node to the edge: two equalities, two hash joins.
    near, far = (start, end) if direction == "->" else (end, start)
    on_left = Scalar(f"{near} = {left_id}", KqlType.BOOL, cheap=False, refs=frozenset((near, left_id)))
    plan = Join(state.plan.aliases | reader.plan.aliases, "inner", state.plan, reader.plan, on_left)
    on_right = Scalar(f"{far} = {right_id}", KqlType.BOOL, cheap=False, refs=frozenset((far, right_id)))
    state.plan = Join(plan.aliases | right.plan.aliases, "inner", plan, right.plan, on_right)
    return False


def _distinctness(state: _State, cycles: str) -> list[Scalar]:
    """No edge twice (unique_edges), or no node twice (none)."""
    if cycles == "all":
        return []
    edges = [hidden(r, "$edge").alias for r in state.edges.values()]
    walks = list(state.walks.values())
    tests: list[tuple[str, frozenset[str]]] = []
    for i, one in enumerate(edges):
        tests.extend((f"{one} <> {other}", frozenset((one, other))) for other in edges[i + 1 :])
        tests.extend((f"NOT list_contains({w.edges}, {one})", frozenset((w.edges, one))) for w in walks)
    for i, walk in enumerate(walks):
        tests.extend(
            (f"NOT list_has_any({walk.edges}, {w.edges})", frozenset((walk.edges, w.edges))) for w in walks[i + 1 :]
        )
    if cycles == "none":
        ids = [hidden(r, "$id").alias for r in state.nodes.values()]
        ids = list(dict.fromkeys(ids))
        for i, one in enumerate(ids):
            tests.extend((f"{one} <> {other}", frozenset((one, other))) for other in ids[i + 1 :])
    return [Scalar(f"({sql})", KqlType.BOOL, cheap=False, refs=refs) for sql, refs in tests]


# ---------------------------------------------------------------------------------------------- walks


def _join_walks(b: Binder, state: _State, cycles: str) -> Plan:
    """The walks are joined last: by then it is known which values they gather."""
    plan = state.plan
    for walk, left, right in state.pending:
        tree = _walk_plan(b, state.graph, walk, cycles)
        on = Scalar(
            f"({walk.start} = {left} AND {walk.end} = {right})",
            KqlType.BOOL,
            cheap=False,
            refs=frozenset((walk.start, walk.end, left, right)),
        )
        plan = Join(plan.aliases | tree.aliases, "inner", plan, tree, on)
    return plan


def _walk_plan(b: Binder, graph: Graph, walk: _Walk, cycles: str) -> Plan:
    edges = walk.edge_reader if walk.edge_reader is not None else graph.read_edges(b)
    nodes = walk.node_reader if walk.node_reader is not None else graph.read_nodes(b)
    start, end, number = (hidden(edges, n).alias for n in ("$from", "$to", "$edge"))
    identity = hidden(nodes, "$id").alias
    edge_plan = b.compute(edges, walk.of_edges)
    node_plan = b.compute(nodes, walk.of_nodes)
    edge_values = [a for a, _ in walk.of_edges]
    node_values = [a for a, _ in walk.of_nodes]

    def build(names: Sequence[str]) -> str:
        hop = f"SELECT {start} AS f, {end} AS t, {number} AS e{''.join(f', {v}' for v in edge_values)} FROM {names[0]}"
        back = f"SELECT {end} AS f, {start} AS t, {number} AS e{''.join(f', {v}' for v in edge_values)} FROM {names[0]}"
        hops = {"->": hop, "<-": back, "--": f"{hop} UNION ALL {back}"}[walk.direction]
        lists = "".join(f", [h.{v}] AS {v}" for v in edge_values) + "".join(f", [] AS {v}" for v in node_values)
        grown = "".join(f", list_append(w.{v}, h.{v})" for v in edge_values)
        grown += "".join(f", list_append(w.{v}, n.{v})" for v in node_values)
        anchor = f"SELECT h.f AS f, h.t AS t, [h.e] AS es, []::VARCHAR[] AS ns, 1 AS k{_typed(lists, walk)} FROM hop h"
        if cycles == "none":
            anchor += " WHERE h.f <> h.t"
        barred = {
            "none": " AND h.t <> w.f AND h.t <> w.t AND NOT list_contains(w.ns, h.t)",
            "unique_edges": " AND NOT list_contains(w.es, h.e)",
            "all": "",
        }[cycles]
        inner = f" LEFT JOIN {names[1]} n ON n.{identity} = w.t" if node_values else ""
        step = (
            f"SELECT w.f, h.t, list_append(w.es, h.e), list_append(w.ns, w.t), w.k + 1{grown} "
            f"FROM walk w JOIN hop h ON h.f = w.t{inner} WHERE w.k < {walk.maximum}{barred}"
        )
        listed = "".join(f", {v}" for v in (*edge_values, *node_values))
        result = (
            f"SELECT f AS {walk.start}, t AS {walk.end}, es AS {walk.edges}, ns AS {walk.inner}, k AS {walk.steps}{listed} "
            f"FROM walk WHERE k >= {walk.minimum}"
        )
        if walk.minimum == 0:
            empty = "".join(f", [] AS {v}" for v in (*edge_values, *node_values))
            result += f" UNION ALL SELECT {identity}, {identity}, [], [], 0{empty} FROM {names[1]}"
        return f"WITH RECURSIVE hop AS ({hops}), walk AS ({anchor} UNION ALL {step}) {result}"

    aliases = frozenset((walk.start, walk.end, walk.edges, walk.inner, walk.steps, *edge_values, *node_values))
    reads = frozenset((start, end, number, *edge_values))
    return Custom(aliases, [(edge_plan, reads), (node_plan, frozenset((identity, *node_values)))], build)


def _typed(lists: str, walk: _Walk) -> str:
    """Empty lists need the type of what will be appended."""
    from tocsin.kql.emit.duckdb.literals import sql_type

    for alias, value in walk.of_nodes:
        lists = lists.replace(f", [] AS {alias}", f", []::{sql_type(value.type, value.ticks)}[] AS {alias}")
    return lists


def _shortest(b: Binder, state: _State, plan: Plan) -> Plan:
    """Of the paths between two nodes only the shortest: one of them, or all."""
    from tocsin.kql.plan import OrderKey

    if len(state.walks) != 1:
        raise unsupported("graph-shortest-paths with other than one edge of variable length", state.node)
    walk = next(iter(state.walks.values()))
    keys = tuple(dict.fromkeys(hidden(r, "$id").alias for r in state.nodes.values()))
    output = _word(state.node.params.get("output")) or "any"
    if output == "any":
        return Pick(plan.aliases, plan, keys, (OrderKey(walk.steps), OrderKey(walk.edges)))
    rank = b.alias()
    over = f"PARTITION BY {', '.join(keys)} ORDER BY {walk.steps}"
    number = Scalar(
        f"rank() OVER ({over})", KqlType.LONG, cheap=False, refs=frozenset((*keys, walk.steps)), window=True
    )
    relation = Relation(plan, ())
    ranked = b.compute(relation, [(rank, number)])
    return Filter(ranked.aliases, ranked, Scalar(f"{rank} = 1", KqlType.BOOL, cheap=False, refs=frozenset((rank,))))


# ---------------------------------------------------------------------------------------------- expressions


def _row(b: Binder, state: _State) -> Row:
    """Names of the pattern in expressions: ``node.column``, ``edge.column``, and the functions of graphs."""
    row = Row(state.env, Relation(state.plan, ()))
    row.fixed = True

    def value(name: str, column: str) -> Scalar | None:
        table = state.nodes.get(name) or state.edges.get(name)
        if table is None:
            if name in state.walks:
                raise fail("KQL0105", f"'{name}' is a path; use map({name}, {column}).", state.node)
            return None
        found = table.column(column)
        if found is None or found.name.startswith("$"):
            raise unknown("KQL0101", f"column of '{name}'", column, (c.name for c in table.visible()), state.node)
        return found.scalar()

    row.state = value
    row.functions = {
        "map": partial(_over, b, state, "map"),
        "all": partial(_over, b, state, "all"),
        "any": partial(_over, b, state, "any"),
        "inner_nodes": _bare,
        "node_id": partial(_node_id, state),
        "node_degree_in": partial(_degree, b, state, "$to"),
        "node_degree_out": partial(_degree, b, state, "$from"),
        "array_length": partial(_length, state),
    }
    return row


def _bare(call: ast.Call, row: Row) -> Scalar:
    raise fail("KQL0106", "inner_nodes() has a meaning only inside map(), all() and any().", call)


def _length(state: _State, call: ast.Call, row: Row) -> Scalar | None:
    """``array_length(path)``: its number of edges; of anything else the ordinary function."""
    if len(call.args) == 1 and isinstance(call.args[0], ast.Name) and call.args[0].name in state.walks:
        walk = state.walks[call.args[0].name]
        return Scalar(f"{walk.steps}::BIGINT", KqlType.LONG, cheap=False, refs=frozenset((walk.steps,)))
    return None


def _over(b: Binder, state: _State, how: str, call: ast.Call, row: Row) -> Scalar:
    """``map``, ``all`` and ``any`` over the edges or the inner nodes of a path."""
    if len(call.args) != 2:
        raise fail("KQL0104", f"{how}() takes a path and an expression.", call)
    target, expression = call.args
    inner = isinstance(target, ast.Call) and target.callee == "inner_nodes"
    named = target.args[0] if inner and isinstance(target, ast.Call) and target.args else target
    if not isinstance(named, ast.Name):
        raise fail("KQL0105", f"{how}() needs an edge of the pattern.", target)
    walk = state.walks.get(named.name)
    if walk is None:
        return _over_one(b, state, call, how, named.name, inner)
    if inner:
        if walk.node_reader is None:
            walk.node_reader = state.graph.read_nodes(b)
        table, gathered = walk.node_reader, walk.of_nodes
    else:
        if walk.edge_reader is None:
            walk.edge_reader = state.graph.read_edges(b)
        table, gathered = walk.edge_reader, walk.of_edges
    value = _element(b, state, table, expression, how, inner)
    alias = b.alias()
    gathered.append((alias, value))
    return _gathered(how, alias)


def _element(b: Binder, state: _State, table: Relation, expression: ast.Expr, how: str, node: bool) -> Scalar:
    """The expression for one edge or node, over its own columns."""
    row = b.row(table, state.env)
    row.fixed = True
    if node:
        identity = hidden(table, "$id").scalar()
        row.functions = {
            "node_id": partial(_own_id, identity),
            "node_degree_in": partial(_own_degree, b, state, identity, "$to"),
            "node_degree_out": partial(_own_degree, b, state, identity, "$from"),
        }
    if how == "map":
        return scalars.to_dynamic(b.scalar(expression, row))
    return bind_boolean(b, expression, row, f"{how}()")


def _own_id(identity: Scalar, call: ast.Call, row: Row) -> Scalar:
    return identity


def _own_degree(b: Binder, state: _State, identity: Scalar, end: str, call: ast.Call, row: Row) -> Scalar:
    return _degree_of(b, state, identity, end)


def _gathered(how: str, alias: str) -> Scalar:
    refs = frozenset((alias,))
    if how == "map":
        return Scalar(f"to_json({alias})", KqlType.DYNAMIC, cheap=False, refs=refs)
    test = "lambda x: NOT coalesce(x, FALSE)" if how == "all" else "lambda x: coalesce(x, FALSE)"
    sign = "= 0" if how == "all" else "> 0"
    return Scalar(f"(len(list_filter({alias}, {test})) {sign})", KqlType.BOOL, cheap=False, refs=refs)


def _over_one(b: Binder, state: _State, call: ast.Call, how: str, name: str, inner: bool) -> Scalar:
    """The same over an edge of length one, which has no inner nodes."""
    table = state.edges.get(name)
    if table is None:
        raise unknown("KQL0101", "edge", name, (*state.edges, *state.walks), call)
    if inner:
        return constant(KqlType.DYNAMIC, "[]") if how == "map" else constant(KqlType.BOOL, how == "all")
    value = _element(b, state, table, call.args[1], how, False)
    if how != "map":
        return value
    return scalars.make(f"json_array({value.sql})", KqlType.DYNAMIC, (value,))


def _variable(state: _State, call: ast.Call) -> Scalar:
    argument = call.args[0] if len(call.args) == 1 else None
    table = state.nodes.get(argument.name) if isinstance(argument, ast.Name) else None
    if table is None:
        raise fail("KQL0105", f"{call.callee}() needs a node of the pattern.", call)
    return hidden(table, "$id").scalar()


def _node_id(state: _State, call: ast.Call, row: Row) -> Scalar:
    return _variable(state, call)


def _degree(b: Binder, state: _State, end: str, call: ast.Call, row: Row) -> Scalar:
    return _degree_of(b, state, _variable(state, call), end)


def _degree_of(b: Binder, state: _State, identity: Scalar, end: str) -> Scalar:
    """How many edges end (or start) at a node."""
    assert state.graph.edges is not None
    shared = b.graph_tables[id(state.graph.edges)]
    column = hidden(state.graph.edges, end).alias
    shared.needed.add(column)
    shared.readers += 1
    sql = f"(SELECT count(*) FROM {shared.name} WHERE {column} = {identity.sql})"
    return Scalar(sql, KqlType.LONG, cheap=False, refs=identity.refs, subquery=True)
