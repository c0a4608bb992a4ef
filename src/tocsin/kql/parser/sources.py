"""Operators that make tables, search them, call functions on them or show them."""

# ruff: noqa: ARG002 - every operator's method gets its keyword

from __future__ import annotations

from typing import Final

from tocsin.kql import ast
from tocsin.kql.ast import Expr, Operator
from tocsin.kql.lexer import NAME, NUMBER, STRING
from tocsin.kql.parser.literals import SMALLEST_LONG, number
from tocsin.kql.parser.pipelines import ANY, BOOLEANS, operator
from tocsin.kql.parser.shaping import ShapingOperators
from tocsin.kql.types import KqlType

__all__ = ["VISUALIZATIONS", "SourceOperators"]

VISUALIZATIONS: Final = (
    "anomalychart",
    "areachart",
    "barchart",
    "card",
    "columnchart",
    "graph",
    "ladderchart",
    "linechart",
    "list",
    "piechart",
    "pivotchart",
    "plotly",
    "scatterchart",
    "stackedareachart",
    "table",
    "timechart",
    "timeline",
    "timepivot",
    "treemap",
)

_RENDER_SETTINGS: Final = {"title": ANY, "kind": ANY, "accumulate": BOOLEANS}


class SourceOperators(ShapingOperators):
    """range, datatable, externaldata, search, find, evaluate, invoke, render."""

    @operator("range", source=True, piped=False)
    def _range(self, keyword: str) -> Operator:
        start = self.node_start()
        name = self.name("the column's name")
        self.expect("from", "and the first value")
        low = self.expr()
        self.expect("to", "and the last value")
        high = self.expr()
        self.expect("step", "and the distance of two values")
        step = self.expr()
        return ast.Range(self.span_from(start), keyword, {}, name, low, high, step)

    @operator("datatable", source=True, piped=False)
    def _datatable(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        schema = self.row_schema()
        opened = self.expect("[", "and the values")
        values = self._table_values()
        self.close("]", opened)
        return ast.Datatable(self.span_from(start), keyword, params, schema, values)

    def _table_values(self) -> tuple[Expr, ...]:
        """The values of a datatable; texts and numbers, which a table of ten thousand rows has, are read here."""
        kinds, texts, starts, ends = self.kinds, self.values, self.starts, self.ends
        values: list[Expr] = []
        while texts[self.i] != "]":
            index = self.i
            kind = kinds[index]
            value: Expr | None = None
            if texts[index + 1] in (",", "]"):
                if kind == STRING:
                    value = ast.Literal((starts[index], ends[index]), KqlType.STRING, self.string_value(index))
                elif kind == NUMBER:
                    literal = number(texts[index], (starts[index], ends[index]))
                    value = literal if literal is not None and literal.value is not None else None
            elif texts[index] == "-" and texts[index + 1] == SMALLEST_LONG:
                self.i = index = index + 1  # the smallest long: a value here, out of range anywhere else
                value = ast.Literal((starts[index - 1], ends[index]), KqlType.LONG, -(2**63))
            if value is None:
                value = self.expr()
            else:
                self.i = index + 1
            values.append(value)
            if not self.accept(","):
                break
        return tuple(values)

    @operator("externaldata", "external_data", source=True, piped=False)
    def _externaldata(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        schema = self.row_schema()
        uris = self.bracketed(self.expr, "[")
        options = self.options() if self.accept("with") else {}
        return ast.ExternalData(self.span_from(start), "externaldata", params, schema, uris, options)

    @operator("inline_external_table", source=True, piped=False)
    def _inline_external_table(self, keyword: str) -> Operator:
        start = self.node_start()
        schema = self.row_schema()
        options: dict[str, Expr] = {}
        uris: tuple[Expr, ...] = ()
        while True:
            if self.at("(") and not uris:
                uris = self.bracketed(self.expr)
            elif self.accept("with"):
                options.update(self.options())
            elif self.at("partition") or self.at("pathformat"):
                options[self.name()] = ast.Name(self.span_from(start), self._skipped())
            elif self.kinds[self.i] == NAME and self.values[self.i + 1] == "=":
                name, value = self._option()
                options[name] = value
            else:
                return ast.ExternalData(self.span_from(start), keyword, {}, schema, uris, options)

    def _skipped(self) -> str:
        """The text up to and with the parenthesis that closes the next one: clauses that policy refuses anyway."""
        begin = self.starts[self.i]
        while not self.at("(") and not self.at_end():
            self.i += 1
        level = 0
        while not (self.at_end() and not self.at(",") and not self.at(")")):
            level += {"(": 1, ")": -1}.get(self.values[self.i], 0)
            self.i += 1
            if level == 0:
                break
        return self.text[begin : self.ends[self.i - 1]]

    # ------------------------------------------------------------------------------------ search

    @operator(
        "search", source=True, settings={"kind": ("case_sensitive", "case_insensitive", "default"), "datascope": ANY}
    )
    def _search(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        tables = self._scope()
        predicate = self._searched()
        return ast.Search(self.span_from(start), keyword, params, tables, predicate)

    @operator("find", source=True, settings={"withsource": ANY, "isfuzzy": BOOLEANS, "datascope": ANY})
    def _find(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        tables = self._scope()
        self.accept("where")
        predicate = self._searched()
        project: tuple[Expr, ...] = ()
        away: tuple[Expr, ...] = ()
        smart = False
        while True:
            word = self.word()
            if word == "project":
                self.i += 1
                project = self.separated(self._found_column)
            elif word == "project-smart":
                self.take_word(word)
                smart = True
            elif word == "project-away":
                self.take_word(word)
                away = self.separated(self.column_pattern)
            else:
                break
        return ast.Find(self.span_from(start), keyword, params, tables, predicate, project, away, smart)

    def _scope(self) -> tuple[Expr, ...]:
        if self.at("in") and self.values[self.i + 1] == "(":
            self.i += 1
            return self.bracketed(self._scope_table)
        return ()

    def _scope_table(self) -> Expr:
        table = self.table_operand()
        return self.pipeline_of(table) if self.at("|") else table

    def _searched(self) -> Expr:
        before, self.in_search = self.in_search, True
        predicate = self.expr()
        self.in_search = before
        return predicate

    def _found_column(self) -> Expr:
        start = self.starts[self.i]
        if self.at("pack") and self.values[self.i + 1] == "(":
            return self.operand()
        quoted = self.at("[")
        name = self.name("a column")
        span = self.span_from(start)
        if not self.accept(":"):
            return ast.Name(span, name, quoted)
        type_ = self.type_name()
        span = self.span_from(start)
        return ast.TypeOf(span, None, (ast.ColumnDecl(span, name, type_),))

    # ------------------------------------------------------------------------------------ calls

    @operator("evaluate", source=True)
    def _evaluate(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        call = self._call("a plugin")
        schema: tuple[ast.ColumnDecl, ...] | None = None
        star = False
        if self.accept(":"):
            schema, star = self.open_schema()
        return ast.Evaluate(self.span_from(start), keyword, params, call, schema, star)

    @operator("invoke")
    def _invoke(self, keyword: str) -> Operator:
        start = self.node_start()
        call = self._call("a function")
        return ast.Invoke(self.span_from(start), keyword, {}, call)

    def _call(self, what: str) -> ast.Call:
        index = self.i
        start = self.starts[index]
        name = self.name(f"{what}'s name")
        span = self.span_from(start)
        while self.accept("."):  # a scope before it: cluster('c').database('d').f()
            name = self.name(f"{what}'s name")
        if not self.at("("):
            self.fail_expected(f"'(' after '{name}'", hint=f"{what.capitalize()} is called with parentheses: {name}().")
        args = self.arguments()
        while self.accept("."):
            name = self.name(f"{what}'s name")
            if not self.at("("):
                self.fail_expected(f"'(' after '{name}'")
            args = self.arguments()
        return ast.Call(self.span_from(start), name, args, span)

    # ------------------------------------------------------------------------------------ render

    @operator("render", settings=_RENDER_SETTINGS)
    def _render(self, keyword: str) -> Operator:
        start = self.node_start()
        if self.kinds[self.i] not in (NAME, NUMBER):
            self.fail_expected("a visualization after 'render'", known=VISUALIZATIONS)
        kind = self.values[self.i]
        self.i += 1
        properties: dict[str, Expr] = {}
        if self.at("with") and self.values[self.i + 1] == "(":
            self.i += 1
            properties = dict(self.bracketed(self._render_property))
        else:
            while self.values[self.i] in ("by", "with") or self.values[self.i + 1 : self.i + 2] == ["="]:
                if self.accept("by"):
                    properties["by"] = self._column_list()
                elif self.accept("with"):
                    properties["with"] = self.operand()
                else:
                    name, value = self._render_property()
                    properties[name] = value
                self.accept(",")
        return ast.Render(self.span_from(start), keyword, properties, kind)

    def _render_property(self) -> tuple[str, Expr]:
        name = self.name("a property").lower()
        self.expect("=", f"after '{name}'")
        value = self._column_list() if name in ("ycolumns", "series", "anomalycolumns") else self.setting()
        return name, value

    def _column_list(self) -> Expr:
        start = self.starts[self.i]
        if not self.at_name():
            return self.setting()
        quoted = self.at("[")
        names = [self.name()]
        while self.at(",") and self.values[self.i + 2] != "=":
            before = self.i
            self.i += 1
            if not self.at_name():
                self.i = before
                break
            names.append(self.name())
        span = self.span_from(start)
        if len(names) == 1:
            return ast.Name(span, names[0], quoted)
        return ast.Literal(span, KqlType.STRING, ",".join(names))
