"""Graphs: make-graph, graph-to-table, graph-mark-components, graph-where-nodes and graph-where-edges.

A graph is two shared tables. Nodes have a hidden column ``$id`` that says which node a row is, edges have ``$from``, ``$to`` (ids of nodes) and
``$edge`` (a number of their own). A node that only an edge names has its id and nothing else. Matching is in `graph_match`.
"""

# ruff: noqa: ARG001 - the handlers of a table share one signature

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder
from tocsin.kql.binder.errors import fail, unknown, unsupported
from tocsin.kql.binder.operators.columns import column_name
from tocsin.kql.binder.operators.rows import where_relation
from tocsin.kql.binder.operators.unions import Part, union_relations
from tocsin.kql.binder.typing_rules import convert
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.plan import Custom, Join, OrderKey, Pick, Plan, Scalar
from tocsin.kql.scope import BoundColumn, Environment, Relation
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS", "Graph", "graph_of"]


@dataclass(slots=True)
class Graph(Relation):
    """A graph in a pipeline: what it is made of is in `nodes` and `edges`; it has no columns of its own."""

    nodes: Relation | None = None
    edges: Relation | None = None

    def read_nodes(self, b: Binder) -> Relation:
        """A new reader of the nodes."""
        assert self.nodes is not None
        return _read(b, self.nodes)

    def read_edges(self, b: Binder) -> Relation:
        """A new reader of the edges."""
        assert self.edges is not None
        return _read(b, self.edges)


def _read(b: Binder, relation: Relation) -> Relation:
    return b.read(b.graph_tables[id(relation)], relation)


def graph_of(relation: Relation, node: ast.Operator) -> Graph:
    """The graph that an operator works on."""
    if not isinstance(relation, Graph):
        raise fail("KQL0106", f"{node.keyword} works on a graph.", node, "Make one with make-graph.")
    return relation


def new_graph(b: Binder, nodes: Relation, edges: Relation) -> Graph:
    """A graph of two tables that are read as often as needed."""
    for table in (nodes, edges):
        b.graph_tables[id(table)] = b.share(table, materialized=True)
    return Graph(nodes.plan, (), nodes=nodes, edges=edges)


def results_of(b: Binder, graph: Graph) -> list[Relation]:
    """What a query shows whose result is a graph: its edges and its nodes."""
    edges, nodes = graph.read_edges(b), graph.read_nodes(b)
    return [
        Relation(edges.plan, edges.visible(), (OrderKey(hidden(edges, "$edge").alias),)),
        Relation(nodes.plan, nodes.visible(), (OrderKey(hidden(nodes, "$node").alias),)),
    ]


def hidden(relation: Relation, name: str) -> BoundColumn:
    """One of the hidden columns of nodes and edges."""
    column = relation.column(name)
    assert column is not None, name
    return column


# ---------------------------------------------------------------------------------------------- make-graph


def _make_graph(b: Binder, relation: Relation, node: ast.MakeGraph, env: Environment) -> Relation:
    source, target = _end(relation, node.source), _end(relation, node.target)
    partition = _end(relation, node.partitioned_by[0]) if node.partitioned_by is not None else None
    numbered = b.alias()
    number = Scalar("row_number() OVER ()", KqlType.LONG, cheap=False, window=True)
    if relation.order:
        from tocsin.kql.emit.duckdb.relations import order_text

        reads = frozenset(k.alias for k in relation.order)
        number = Scalar(
            f"row_number() OVER (ORDER BY {order_text(relation.order)})",
            KqlType.LONG,
            cheap=False,
            refs=reads,
            window=True,
        )
    ends = [_identity(b, c, partition) for c in (source, target)]
    items = [(b.alias(), e) for e in ends]
    plan = b.compute(relation, [(numbered, number), *items])
    edges = relation.with_plan(
        plan,
        [
            *relation.columns,
            BoundColumn("$from", KqlType.STRING, items[0][0], hidden=True),
            BoundColumn("$to", KqlType.STRING, items[1][0], hidden=True),
            BoundColumn("$edge", KqlType.LONG, numbered, hidden=True),
        ],
        order=(OrderKey(numbered),),
    )
    held = b.share(edges, materialized=True)
    reader = b.read(held, edges)
    nodes = _nodes(b, b.read(held, edges), (source, target, partition), node, env)
    graph = new_graph(b, nodes, reader)
    if node.partitioned_by is None:
        return graph
    return b.operators(graph, node.partitioned_by[1], env)


def _end(relation: Relation, node: ast.Expr) -> BoundColumn:
    name = column_name(node)
    column = relation.column(name) if name is not None else None
    if column is None:
        raise unknown("KQL0101", "column", name or "?", (c.name for c in relation.columns), node)
    return column


def _identity(b: Binder, column: BoundColumn, partition: BoundColumn | None) -> Scalar:
    """The text by which a node is known; inside a partitioned graph the partition is part of it."""
    value = convert(column.scalar(), KqlType.STRING)
    if partition is None:
        return value
    outer = convert(partition.scalar(), KqlType.STRING)
    return scalars.make(f"({outer.sql} || chr(1) || {value.sql})", KqlType.STRING, (outer, value))


def _nodes(
    b: Binder,
    edges: Relation,
    ends: tuple[BoundColumn, BoundColumn, BoundColumn | None],
    node: ast.MakeGraph,
    env: Environment,
) -> Relation:
    """All nodes: those of the node tables, and those that only edges name."""
    source = _by_name(edges, ends[0])
    tables: list[Part] = []
    id_names: list[str] = []
    for pipeline, key in node.nodes:
        table = b.table(pipeline, env)
        column = _end(table, key)
        own_partition = table.column(ends[2].name) if ends[2] is not None else None
        identity = b.alias()
        plan = b.compute(table, [(identity, _identity(b, column, own_partition))])
        named = BoundColumn("$id", KqlType.STRING, identity, hidden=True)
        tables.append(Part(table.with_plan(plan, [*table.columns, named]), ""))
        id_names.append(column.name)
    given = node.params.get("with_node_id")
    if given is not None and not tables:
        id_names = [given.name if isinstance(given, ast.Name) else str(getattr(given, "value", "id"))]
    name = id_names[0] if id_names else source.name
    tables.append(Part(_named_by_edges(b, edges, ends, name), ""))
    together = union_relations(b, tables, source=None, inner=False, node=node)
    known = hidden(together, "$id").alias
    position = b.alias()
    number = Scalar("row_number() OVER ()", KqlType.LONG, cheap=False, window=True)
    if together.order:
        from tocsin.kql.emit.duckdb.relations import order_text

        reads = frozenset(k.alias for k in together.order)
        number = Scalar(
            f"row_number() OVER (ORDER BY {order_text(together.order)})",
            KqlType.LONG,
            cheap=False,
            refs=reads,
            window=True,
        )
    plan = b.compute(together, [(position, number)])
    order = (OrderKey(position),)
    picked = Pick(plan.aliases, plan, (known,), order)
    return Relation(picked, (*together.columns, BoundColumn("$node", KqlType.LONG, position, hidden=True)), order)


def _by_name(relation: Relation, column: BoundColumn) -> BoundColumn:
    found = relation.column(column.name)
    assert found is not None
    return found


def _named_by_edges(
    b: Binder, edges: Relation, ends: tuple[BoundColumn, BoundColumn, BoundColumn | None], name: str
) -> Relation:
    """One row for each end of each edge: its value under `name`, and the partition's column."""
    columns = []
    sides = []
    shared = b.share(edges, materialized=False)
    for side, label in ((ends[0], "$from"), (ends[1], "$to")):
        reader = b.read(shared, edges)
        value, identity = _by_name(reader, side), hidden(reader, label)
        columns = [
            BoundColumn(name, value.type, value.alias, value.ticks),
            BoundColumn("$id", KqlType.STRING, identity.alias, hidden=True),
        ]
        if ends[2] is not None:
            own = _by_name(reader, ends[2])
            columns.append(own)
        sides.append(Part(Relation(reader.plan, tuple(columns), reader.order), ""))
    made = union_relations(b, sides, source=None, inner=False, node=ast.Node((0, 0)))
    # The first end of the first edge comes first.
    return made.with_plan(made.plan, order=tuple(reversed(made.order)))


# ---------------------------------------------------------------------------------------------- operators on graphs


def _other(b: Binder, relation: Relation, node: ast.GraphOther, env: Environment) -> Relation:
    graph = graph_of(relation, node)
    if node.keyword == "graph-to-table":
        return _to_table(b, graph, node)
    if node.keyword == "graph-mark-components":
        return _components(b, graph, node)
    if node.keyword in ("graph-where-nodes", "graph-where-edges") and len(node.items) == 1:
        return _where(b, graph, node, env)
    raise unsupported(f"The operator '{node.keyword}'", node)


def _to_table(b: Binder, graph: Graph, node: ast.GraphOther) -> Relation:
    """The nodes, the edges, or both as two results."""
    results = []
    for item in node.items:
        if not isinstance(item, ast.Call):
            raise fail("KQL0105", "graph-to-table gives nodes or edges.", item)
        settings = {a.names[0]: _word(a.value) for a in item.args if isinstance(a, ast.Named)}
        table = graph.read_nodes(b) if item.callee == "nodes" else graph.read_edges(b)
        ids = (
            [("with_node_id", "$id")]
            if item.callee == "nodes"
            else [("with_source_id", "$from"), ("with_target_id", "$to")]
        )
        front, items = [], []
        for setting, column in ids:
            if setting in settings:
                alias = b.alias()
                items.append((alias, _node_number(hidden(table, column).scalar())))
                front.append(BoundColumn(settings[setting], KqlType.LONG, alias))
        order = hidden(table, "$node" if item.callee == "nodes" else "$edge").alias
        plan = b.compute(table, items)
        result = Relation(plan, (*front, *table.visible()), (OrderKey(order),))
        if "as" in settings:
            from tocsin.kql.binder.lets import shared_value

            b.root.declare(settings["as"], shared_value(b, settings["as"], result, weight=1))
        results.append(result)
    b.more.extend(results[1:])
    return results[0]


def _word(node: ast.Expr) -> str:
    return node.name if isinstance(node, ast.Name) else str(getattr(node, "value", ""))


def _node_number(identity: Scalar) -> Scalar:
    """The number of a node: the hash of its id."""
    from tocsin.kql.functions import registry

    function = registry.scalar("hash")
    assert function is not None
    lowered = function.lower((identity,))
    return scalars.make(lowered.sql, lowered.type, (identity,))


def _components(b: Binder, graph: Graph, node: ast.GraphOther) -> Relation:
    """Number the connected components, in the order of their first nodes."""
    kind = _word(node.params["kind"]) if "kind" in node.params else "weak"
    if kind not in ("weak", "strong"):
        raise fail("KQL0105", f"graph-mark-components takes kind=weak or kind=strong, not '{kind}'.", node)
    name = _word(node.params["with_component_id"]) if "with_component_id" in node.params else "ComponentId"
    nodes, edges, ids = graph.read_nodes(b), graph.read_edges(b), graph.read_nodes(b)
    own, key, position = b.alias(), hidden(ids, "$id").alias, hidden(ids, "$node").alias
    left, right = hidden(edges, "$from").alias, hidden(edges, "$to").alias
    number = b.alias()

    def build(names: Sequence[str]) -> str:
        ends = f"SELECT a.p AS x, z.p AS y FROM {names[1]} JOIN n a ON a.k = {left} JOIN n z ON z.k = {right}"
        listed = "SELECT list(p ORDER BY p) AS p, list(k ORDER BY p) AS k FROM n"
        pairs = f"SELECT coalesce(list(x), []) AS x, coalesce(list(y), []) AS y FROM ({ends})"
        marked = f"SELECT k, q_components(p, x, y, {'TRUE' if kind == 'strong' else 'FALSE'}) AS c FROM ({listed}), ({pairs})"
        return (
            f"WITH n AS (SELECT {key} AS k, {position}::BIGINT AS p FROM {names[0]}) "
            f"SELECT unnest(k) AS {own}, unnest(c) AS {number} FROM ({marked})"
        )

    marks = Custom(
        frozenset((own, number)),
        [(ids.plan, frozenset((key, position))), (edges.plan, frozenset((left, right)))],
        build,
    )
    identity = hidden(nodes, "$id").alias
    on = Scalar(f"{identity} = {own}", KqlType.BOOL, cheap=False, refs=frozenset((identity, own)))
    joined: Plan = Join(nodes.plan.aliases | marks.aliases, "inner", nodes.plan, marks, on)
    columns = [c for c in nodes.columns if c.name != name]
    made = Relation(joined, (*columns, BoundColumn(name, KqlType.LONG, number)), nodes.order)
    return new_graph(b, made, graph.read_edges(b))


def _where(b: Binder, graph: Graph, node: ast.GraphOther, env: Environment) -> Relation:
    """Fewer nodes (and the edges between those that are left), or fewer edges."""
    nodes, edges = graph.read_nodes(b), graph.read_edges(b)
    if node.keyword == "graph-where-edges":
        return new_graph(b, nodes, where_relation(b, edges, node.items[0], env))
    kept = where_relation(b, nodes, node.items[0], env)
    shared = b.share(kept, materialized=True)
    plan: Plan = edges.plan
    for label in ("$from", "$to"):
        reader = b.read(shared, kept)
        end, identity = hidden(edges, label).alias, hidden(reader, "$id").alias
        on = Scalar(f"{end} = {identity}", KqlType.BOOL, cheap=False, refs=frozenset((end, identity)))
        plan = Join(plan.aliases, "semi", plan, reader.plan, on)
    return new_graph(b, b.read(shared, kept), edges.with_plan(plan))


def _match(b: Binder, relation: Relation, node: ast.GraphMatch, env: Environment) -> Relation:
    from tocsin.kql.binder.operators.graph_match import match

    return match(b, graph_of(relation, node), node, env)


APPLIERS = {ast.MakeGraph: _make_graph, ast.GraphOther: _other, ast.GraphMatch: _match}
