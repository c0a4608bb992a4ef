"""Graph operators."""

from __future__ import annotations

from tocsin.kql import ast
from tocsin.kql.ast import Expr, Operator
from tocsin.kql.parser.pipelines import ANY, operator
from tocsin.kql.parser.sources import SourceOperators
from tocsin.kql.types import KqlType

__all__ = ["GraphOperators"]

_TABLE_SETTINGS = ("with_node_id", "with_source_id", "with_target_id")


class GraphOperators(SourceOperators):
    """make-graph, graph-match and kin."""

    @operator("make-graph", settings={"with_node_id": ANY})
    def _make_graph(self, keyword: str) -> Operator:
        start = self.node_start()
        settings = self.settings
        params = self.params()
        source = self._plain_path()
        for mark in "-->":
            self.expect(mark, "of '-->' between source and target")
        target = self._plain_path()
        nodes: list[tuple[ast.Pipeline, Expr]] = []
        partitioned: tuple[Expr, tuple[Operator, ...]] | None = None
        while True:
            self.settings = settings
            if self.at("with_node_id"):
                self.more_params(params)
            elif self.accept("with"):
                nodes += self.separated(self._node_table)
            elif self.word() == "partitioned-by":
                self.take_word("partitioned-by")
                partitioned = self._plain_path(), self.subquery()
            else:
                break
        return ast.MakeGraph(self.span_from(start), keyword, params, source, target, tuple(nodes), partitioned)

    def _node_table(self) -> tuple[ast.Pipeline, Expr]:
        table = self.as_pipeline(self.table_operand())
        self.expect("on", "and the column that identifies a node")
        return table, self._plain_path()

    @operator("graph-match", settings={"cycles": ("all", "none", "unique_edges")})
    def _graph_match(self, keyword: str) -> Operator:
        return self._matched(keyword)

    @operator("graph-shortest-paths", settings={"output": ("any", "all")})
    def _graph_shortest_paths(self, keyword: str) -> Operator:
        return self._matched(keyword)

    def _matched(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        patterns = self.separated(self._pattern)
        where = self.expr() if self.accept("where") else None
        project = self.separated(self.item) if self.accept("project") else ()
        return ast.GraphMatch(self.span_from(start), keyword, params, patterns, where, project)

    def _pattern(self) -> tuple[ast.GraphElement, ...]:
        elements = [self._node()]
        while self.at("-") or self.at("<"):
            elements.append(self._edge())
            elements.append(self._node())
        return tuple(elements)

    def _node(self) -> ast.GraphElement:
        start = self.starts[self.i]
        opened = self.expect("(", "and a node of the pattern")
        name = None if self.at(")") else self.name("the node's name")
        self.close(")", opened)
        return ast.GraphElement(self.span_from(start), name, None)

    def _edge(self) -> ast.GraphElement:
        start = self.starts[self.i]
        backward = self.accept("<")
        self.expect("-", "of an edge such as -[e]->")
        name: str | None = None
        low: int | None = None
        high: int | None = None
        if self.at("["):
            opened = self.i
            self.i += 1
            if not self.at("*") and not self.at("]"):
                name = self.name("the edge's name")
            if self.accept("*"):
                low = self._hops()
                self.expect("..", "between the fewest and the most steps")
                high = self._hops()
            self.close("]", opened)
        self.expect("-", "of an edge such as -[e]->")
        direction = "<-" if backward else "->" if self.accept(">") else "--"
        return ast.GraphElement(self.span_from(start), name, direction, low, high)

    def _hops(self) -> int:
        index = self.i
        value = self.operand()
        if not (isinstance(value, ast.Literal) and value.type is KqlType.LONG and isinstance(value.value, int)):
            self.fail("KQL0010", "Expected a number of steps.", index=index)
        return value.value

    @operator("graph-to-table")
    def _graph_to_table(self, keyword: str) -> Operator:
        start = self.node_start()
        items = self.separated(self._graph_table)
        return ast.GraphOther(self.span_from(start), keyword, {}, items)

    def _graph_table(self) -> Expr:
        start = self.starts[self.i]
        if self.values[self.i] not in ("nodes", "edges"):
            self.fail_expected("'nodes' or 'edges'", known=("nodes", "edges"))
        name = self.name()
        span = self.span_from(start)
        args: list[Expr] = []
        while True:
            begin = self.starts[self.i]
            if self.accept("as"):
                value_start = self.starts[self.i]
                alias = ast.Name((value_start, self.ends[self.i]), self.name("the table's name"))
                args.append(ast.Named(self.span_from(begin), ("as",), alias))
            elif self.values[self.i] in _TABLE_SETTINGS:
                key, value = self._option()
                args.append(ast.Named(self.span_from(begin), (key,), value))
            else:
                return ast.Call(self.span_from(start), name, tuple(args), span)

    @operator("graph-mark-components", settings={"kind": ("weak", "strong"), "with_component_id": ANY})
    def _mark_components(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        return ast.GraphOther(self.span_from(start), keyword, params, ())

    @operator("graph-where-nodes", "graph-where-edges")
    def _graph_where(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        predicate = self.expr()
        return ast.GraphOther(self.span_from(start), keyword, params, (predicate,))
