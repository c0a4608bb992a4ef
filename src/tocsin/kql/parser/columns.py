"""Operators over rows and columns of one table, and those that combine tables."""

from __future__ import annotations

from typing import Final

from tocsin.kql import ast
from tocsin.kql.ast import Expr, Operator
from tocsin.kql.parser.pipelines import ANY, BOOLEANS, PipelineParser, operator

__all__ = ["JOIN_KINDS", "ColumnOperators"]

JOIN_KINDS: Final = (
    "innerunique",
    "inner",
    "leftouter",
    "rightouter",
    "fullouter",
    "leftanti",
    "leftantisemi",
    "anti",
    "rightanti",
    "rightantisemi",
    "leftsemi",
    "rightsemi",
    "semi",
    "left",
    "right",
    "outer",
    "full",
)


class ColumnOperators(PipelineParser):
    """where, project and kin, summarize, sort, top, take, count, join, union."""

    @operator("where", "filter")
    def _where(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        predicate = self.expr()
        return ast.Where(self.span_from(start), keyword, params, predicate)

    @operator("extend", "distinct")
    def _items(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        items = self.separated(self.item)
        return ast.Project(self.span_from(start), keyword, params, items)

    @operator("project", "project-rename", "serialize")
    def _items_or_none(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        items = () if self.at_end() else self.separated(self.item)
        return ast.Project(self.span_from(start), keyword, params, items)

    @operator("print", source=True, piped=False)
    def _print(self, keyword: str) -> Operator:
        start = self.node_start()
        return ast.Project(self.span_from(start), keyword, {}, self.separated(self.item))

    @operator("project-away", "project-keep")
    def _patterns(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        items = self.separated(self.column_pattern)
        return ast.Project(self.span_from(start), keyword, params, items)

    @operator("project-reorder")
    def _reorder(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        items = () if self.at_end() else self.separated(self._reordered)
        return ast.Project(self.span_from(start), keyword, params, items)

    def _reordered(self) -> Expr:
        column = self.column_pattern()
        word = self.word()
        if word not in ("asc", "desc", "granny-asc", "granny-desc"):
            return column
        self.take_word(word)
        return ast.Ordered(self.span_from(column.span[0]), column, word.endswith("desc"))

    @operator("project-by-names")
    def _by_names(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        items = self.separated(lambda: self.wildcard_here() or self.expr())
        return ast.Project(self.span_from(start), keyword, params, items)

    # ------------------------------------------------------------------------------------ rows

    @operator("summarize")
    def _summarize(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        aggregates: tuple[Expr, ...] = ()
        by: tuple[Expr, ...] = ()
        if not self.at("by") and not self.at_end():
            aggregates = self.separated(self.item)
        if self.accept("by"):
            by = self.separated(self.item)
        return ast.Summarize(self.span_from(start), keyword, params, aggregates, by)

    @operator("sort", "order")
    def _sort(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        if not self.at("by"):
            self.fail_expected(f"'by' after '{keyword}'", hint=f"Write: {keyword} by column [asc|desc].")
        self.i += 1
        keys = self.separated(self.sort_key)
        return ast.Sort(self.span_from(start), keyword, params, keys)

    @operator("top")
    def _top(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        count = self.expr()
        self.expect("by", "after the number of rows")
        keys = self.separated(self.sort_key)
        return ast.Top(self.span_from(start), keyword, params, count, keys)

    @operator("top-hitters")
    def _top_hitters(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        count = self.expr()
        self.expect("of", "after the number of values")
        of = self.item()
        by = self.sort_key().value if self.accept("by") else None
        return ast.TopHitters(self.span_from(start), keyword, params, count, of, by)

    @operator("take", "limit", "sample")
    def _take(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        count = self.expr()
        return ast.Take(self.span_from(start), keyword, params, count)

    @operator("sample-distinct")
    def _sample_distinct(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        count = self.expr()
        self.expect("of", "after the number of values")
        of = self.item()
        return ast.SampleDistinct(self.span_from(start), keyword, params, count, of)

    @operator("count")
    def _count(self, keyword: str) -> Operator:
        start = self.node_start()
        if self.at("("):
            self.fail_expected(
                "the end of 'count'", hint="The operator is '| count'; the function is 'summarize count()'."
            )
        name = self.name() if self.accept("as") else None
        return ast.Count(self.span_from(start), keyword, {}, name)

    @operator("as")
    def _as(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        name = self.name("the table's name")
        return ast.As(self.span_from(start), keyword, params, name)

    @operator("getschema", "execute-and-cache")
    def _simple(self, keyword: str) -> Operator:
        return ast.Simple(self.span_from(self.node_start()), keyword, {})

    @operator("consume", settings={"decodeblocks": BOOLEANS})
    def _consume(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        return ast.Simple(self.span_from(start), keyword, params)

    # ------------------------------------------------------------------------------------ tables

    @operator("join", settings={"kind": JOIN_KINDS, "isfuzzy": BOOLEANS, "withsource": ANY})
    def _join(self, keyword: str) -> Operator:
        return self._joined(keyword)

    @operator("lookup", settings={"kind": ("leftouter", "inner")})
    def _lookup(self, keyword: str) -> Operator:
        return self._joined(keyword)

    def _joined(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        right = self.as_pipeline(self.table_operand())
        on: tuple[Expr, ...] = ()
        where: Expr | None = None
        if self.accept("on"):
            if not self.at_end() or self.at(","):
                on = self.separated(self.expr)
        elif self.accept("where"):
            where = self.expr()
        return ast.Join(self.span_from(start), keyword, params, right, on, where)

    @operator(
        "union",
        source=True,
        settings={"kind": ("inner", "outer"), "withsource": ANY, "with_source": ANY, "isfuzzy": BOOLEANS},
    )
    def _union(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        tables = self.separated(self.table_operand)
        return ast.Union(self.span_from(start), keyword, params, tables)
