"""Operators that take values apart, build series, or run a sub-pipeline on parts of a table."""

# ruff: noqa: ARG002 - every operator's method gets its keyword

from __future__ import annotations

from tocsin.kql import ast
from tocsin.kql.ast import Expr, Operator
from tocsin.kql.lexer import STRING
from tocsin.kql.parser.columns import ColumnOperators
from tocsin.kql.parser.expressions import ADDITIVE, NO_OPERAND
from tocsin.kql.parser.pipelines import ANY, operator
from tocsin.kql.types import KqlType

__all__ = ["ShapingOperators"]

_MV_SETTINGS = {"bagexpansion": ("bag", "array"), "kind": ("bag", "array"), "with_itemindex": ANY}
_PARSE_SETTINGS = {"kind": ("simple", "regex", "relaxed"), "flags": ANY}


class ShapingOperators(ColumnOperators):
    """mv-expand, mv-apply, parse and kin, make-series, top-nested, partition, scan, fork, facet, reduce."""

    @operator("mv-expand", "mvexpand", settings=_MV_SETTINGS)
    def _mv_expand(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        columns = self.separated(self._mv_column)
        limit = self.expr() if self.accept("limit") else None
        return ast.MvExpand(self.span_from(start), "mv-expand", params, columns, limit)

    @operator("mv-apply", "mvapply", settings={**_MV_SETTINGS, "id": ANY})
    def _mv_apply(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        columns = () if self.at("on") else self.separated(self._mv_column)
        limit = self.expr() if self.accept("limit") else None
        if self.accept("id"):
            params["id"] = self.operand()
        self.expect("on", "and a subquery in parentheses")
        body = self.subquery()
        return ast.MvApply(self.span_from(start), "mv-apply", params, columns, limit, body)

    def _mv_column(self) -> ast.MvColumn:
        start = self.starts[self.i]
        value = self.item()
        name: str | None = None
        if isinstance(value, ast.Named):
            if len(value.names) != 1:
                self.fail("KQL0010", "One name can be given to an expanded value.")
            name, value = value.names[0], value.value
        to: KqlType | None = None
        if self.accept("to"):
            if not self.accept("typeof"):
                self.fail_expected("'typeof(…)' after 'to'")
            to, columns, star = self.type_of()
            if columns or star:
                self.fail("KQL0010", "One type stands in 'to typeof(…)'.", index=self.i - 1)
        return ast.MvColumn(self.span_from(start), name, value, to)

    # ------------------------------------------------------------------------------------ parse

    @operator("parse", "parse-where", settings=_PARSE_SETTINGS)
    def _parse(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        value = self.expr()
        self.expect("with", "and a pattern after the text to parse")
        parts: list[ast.ParsePart] = []
        while not self.at_end():
            parts.append(self._parse_part(parts[-1] if parts else None))
        if not parts:
            self.fail_expected("a pattern after 'with'")
        return ast.Parse(self.span_from(start), keyword, params, value, tuple(parts))

    def _parse_part(self, before: ast.ParsePart | None) -> ast.ParsePart:
        index = self.i
        start = self.starts[index]
        if self.kinds[index] == STRING:
            text = self._string()
            assert isinstance(text, ast.Literal)
            return ast.ParsePart(text.span, str(text.value), None)
        if self.accept("*"):
            return ast.ParsePart(self.span_from(start), None, None)
        if self.values[index] in NO_OPERAND:
            self.reserved(index, self.values[index])
        name = self.name("a text, a column or '*'")
        if before is not None and before.column is not None:
            self.fail(
                "KQL0010",
                f"There is no text between the columns '{before.column.name}' and '{name}'.",
                index=index,
                hint="A pattern needs a text between two columns to know where the first ends.",
            )
        type_ = self.type_name() if self.accept(":") else KqlType.STRING
        span = self.span_from(start)
        return ast.ParsePart(span, None, ast.ColumnDecl(span, name, type_))

    @operator("parse-kv")
    def _parse_kv(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        value = self.expr()
        self.expect("as", "and the columns in parentheses")
        columns = self.row_schema()
        options = self.options() if self.accept("with") else {}
        return ast.ParseKv(self.span_from(start), keyword, params, value, columns, options)

    # ------------------------------------------------------------------------------------ series and nested tops

    @operator("make-series", settings={"kind": ("nonempty",)})
    def _make_series(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        aggregates = self.separated(self._series_aggregate)
        self.expect("on", "and the axis")
        axis = self._axis()
        low: Expr | None = None
        high: Expr | None = None
        in_range = self.accept("in")
        if in_range:
            begin = self.i
            call = self.operand()
            if not (isinstance(call, ast.Call) and call.callee == "range" and len(call.args) == 3):
                self.fail("KQL0010", "Expected range(start, stop, step) after 'in'.", index=begin)
            low, high, step = call.args
        else:
            if self.accept("from"):
                low = self.expr()
            if self.accept("to"):
                high = self.expr()
            self.expect("step", "and the distance of two points")
            step = self.expr()
        by = self.separated(self.item) if self.accept("by") else ()
        return ast.MakeSeries(self.span_from(start), keyword, params, aggregates, axis, low, high, step, by, in_range)

    def _series_aggregate(self) -> ast.MakeSeriesAgg:
        start = self.starts[self.i]
        value = self.item()
        default: Expr | None = None
        if self.accept("default"):
            self.expect("=")
            default = self.expr()
        return ast.MakeSeriesAgg(self.span_from(start), value, default)

    def _axis(self) -> Expr:
        axis = self.expr(ADDITIVE)  # `in` belongs to the operator here
        if not self.at("="):
            return axis
        if not isinstance(axis, ast.Name):
            self.fail_expected("'from', 'to', 'step' or 'in' after the axis")
        self.i += 1
        value = self.expr(ADDITIVE)
        return ast.Named((axis.span[0], value.span[1]), (axis.name,), value)

    @operator("top-nested")
    def _top_nested(self, keyword: str) -> Operator:
        start = self.node_start()
        levels = [self._nested_level()]
        while self.accept(","):
            if self.word() != "top-nested":
                self.fail_expected("'top-nested' after ','", hint="Every level begins with 'top-nested'.")
            self.take_word("top-nested")
            levels.append(self._nested_level())
        return ast.TopNested(self.span_from(start), keyword, {}, tuple(levels))

    def _nested_level(self) -> ast.TopNestedLevel:
        start = self.starts[self.i]
        count = None if self.at("of") else self.expr()
        self.expect("of", "and a column")
        of = self.item()
        others: Expr | None = None
        if self.accept("with"):
            self.expect("others", "after 'with'")
            self.expect("=")
            others = self.expr()
        self.expect("by", "and an aggregate")
        by = self.sort_key()
        if self.at("with"):
            self.fail(
                "KQL0010",
                "'with others' stands before 'by'.",
                hint="Write: top-nested 3 of x with others='…' by sum(y).",
            )
        return ast.TopNestedLevel(self.span_from(start), count, of, others, by)

    # ------------------------------------------------------------------------------------ parts of a table

    @operator("partition")
    def _partition(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        self.expect("by", "and a column")
        return self._partitioned(start, params)

    @operator("__partitionby")
    def _partition_by(self, keyword: str) -> Operator:
        start = self.node_start()
        return self._partitioned(start, self.params())

    def _partitioned(self, start: int, params: dict[str, Expr]) -> Operator:
        by = self._plain_path()
        if self.accept("in"):
            self.operand()
        if self.accept("id"):
            self.operand()
        if self.at("{"):
            opened = self.i
            self.i += 1
            self.enter(3)
            query = self.table_value()
            while self.accept(";"):
                pass
            self.close("}", opened)
            self.depth -= 3
            return ast.Partition(self.span_from(start), "partition", params, by, query)
        return ast.Partition(self.span_from(start), "partition", params, by, self.subquery())

    def _plain_path(self) -> Expr:
        """A column, perhaps with a path; never a call, because the subquery's parenthesis follows."""
        start = self.starts[self.i]
        quoted = self.at("[")
        name = self.name("a column")
        column: Expr = ast.Name(self.span_from(start), name, quoted)
        while self.accept("."):
            name = self.name("a name after '.'")
            column = ast.Member(self.span_from(start), column, name)
        return column

    @operator("fork")
    def _fork(self, keyword: str) -> Operator:
        start = self.node_start()
        branches: list[tuple[str | None, tuple[Operator, ...]]] = []
        while not self.at_end():
            name: str | None = None
            if not self.at("("):
                name = self.name("a branch in parentheses or its name")
                self.expect("=", "after the branch's name")
            branches.append((name, self.subquery()))
        if not branches:
            self.fail_expected("branches in parentheses after 'fork'")
        return ast.Fork(self.span_from(start), keyword, {}, tuple(branches))

    @operator("facet")
    def _facet(self, keyword: str) -> Operator:
        start = self.node_start()
        self.expect("by", "and columns")
        by = self.separated(self._plain_path)
        body: tuple[Operator, ...] = ()
        if self.accept("with"):
            body = self.subquery() if self.at("(") else (self.piped(),)
        return ast.Facet(self.span_from(start), keyword, {}, by, body)

    @operator("reduce", settings={"kind": ANY})
    def _reduce(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        self.expect("by", "and a text")
        by = self.item()
        options = dict(self.separated(self._option)) if self.accept("with") else {}
        return ast.Reduce(self.span_from(start), keyword, params, by, options)

    # ------------------------------------------------------------------------------------ scan

    @operator("scan", settings={"with_match_id": ANY, "with_step_name": ANY, "kind": ANY})
    def _scan(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        order: tuple[ast.Ordered, ...] = ()
        partition: tuple[Expr, ...] = ()
        declare: tuple[ast.Parameter, ...] = ()
        while not self.at("with"):
            if self.accept("order"):
                self.expect("by")
                order = self.separated(self.sort_key)
            elif self.accept("partition"):
                self.expect("by")
                partition = self.separated(self.expr)
            elif self.accept("declare"):
                declare = self.bracketed(self.parameter)
            elif self.values[self.i] in self.settings:
                self.more_params(params)
            else:
                self.fail_expected("'declare', 'order by', 'partition by' or 'with' in 'scan'")
        self.i += 1
        opened = self.expect("(", "and the steps")
        steps: list[ast.ScanStep] = []
        while not self.at(")"):
            steps.append(self._scan_step())
        self.close(")", opened)
        if not steps:
            self.fail("KQL0010", "'scan' needs at least one step.", index=opened)
        return ast.Scan(self.span_from(start), keyword, params, order, partition, declare, tuple(steps))

    def _scan_step(self) -> ast.ScanStep:
        start = self.starts[self.i]
        self.expect("step")
        name = self.name("the step's name")
        optional = self.accept("optional")
        output: str | None = None
        if self.accept("output"):
            self.expect("=")
            if self.values[self.i] not in ("all", "last", "none"):
                self.fail_expected("all, last or none", known=("all", "last", "none"), code="KQL0012")
            output = self.name()
        self.expect(":", "and a condition")
        condition = self.expr()
        assignments = self.separated(self._assignment) if self.accept("=>") else ()
        self.expect(";", "after the step")
        return ast.ScanStep(self.span_from(start), name, optional, output, condition, assignments)

    def _assignment(self) -> ast.Named:
        index = self.i
        item = self.item()
        if not isinstance(item, ast.Named):
            self.fail("KQL0010", "A step assigns with name = value.", index=index)
        return item

    def parameter(self) -> ast.Parameter:
        """A function's parameter (`statements` reads it)."""
        raise NotImplementedError
