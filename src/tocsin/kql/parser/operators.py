"""Tabular operators: one method an operator, found by its keyword."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tocsin.kql import ast
from tocsin.kql.ast import Expr, Operator
from tocsin.kql.lexer import END, NAME, NUMBER, STRING
from tocsin.kql.parser.cursor import SyntaxFault
from tocsin.kql.parser.expressions import Expressions
from tocsin.kql.parser.literals import TYPED
from tocsin.kql.types import KqlType

__all__ = ["OPERATORS", "Operators"]


class Operators(Expressions):
    """The part of the parser that reads pipelines."""

    def pipes(self) -> tuple[Operator, ...]:
        """Every ``| operator`` from here on; a fault in one is kept and reading goes on at the next."""
        operators: list[Operator] = []
        while self.values[self.i] == "|" and self.kinds[self.i] != STRING:
            start = self.i
            self.i += 1
            depth = self.depth
            try:
                operators.append(self.operator())
            except SyntaxFault as fault:
                self.depth = depth
                self.in_search = False
                self.report(fault)
                self.recover(start + 1, fault.index, "|;")
        return tuple(operators)

    def operator(self) -> Operator:
        word = self.word()
        method = OPERATORS.get(word)
        if method is None and "-" in word:
            word = self.values[self.i]
            method = OPERATORS.get(word)
        if method is None or self.kinds[self.i] != NAME:
            self.fail_expected("an operator after '|'", known=OPERATORS, code="KQL0011")
        return getattr(self, method)(word)  # type: ignore[no-any-return]

    def source_operator(self) -> Callable[[], Operator] | None:
        """The reader of the source operator that stands here, or None."""
        if self.kinds[self.i] != NAME:
            return None
        word = self.values[self.i]
        method = SOURCES.get(word)
        if method is None:
            return None
        following = self.values[self.i + 1]
        kind = self.kinds[self.i + 1]
        if word in ("range", "datatable", "externaldata", "external_data"):
            if word == "range" and kind not in (NAME, NUMBER):
                return None
            if word != "range" and following != "(":
                return None
        elif word == "print":
            if (following in (",", ")", "|", ";", "=", ".") and kind != STRING) or kind == END:
                return None
        elif word in ("union", "search", "find", "evaluate", "macro-expand"):
            if (following in ("=", ".", ",", ")", "|", ";", "==") and kind != STRING) or kind == END:
                return None
            if word in ("find", "search", "evaluate") and following == "(" and word != "search":
                return None
        return lambda: getattr(self, method)(word)

    def source(self, method: Callable[[], Operator]) -> Expr:
        """A pipeline that begins with a source operator."""
        start = self.starts[self.i]
        first = method()
        operators = self.pipes()
        return ast.Pipeline(self.span_from(start), first, operators)

    def body(self) -> tuple[Operator, ...]:
        """Operators of a subquery in brackets: the first has no pipe before it."""
        first_pipe = self.at("|")
        operators: list[Operator] = []
        if not first_pipe:
            operators.append(self.operator())
        operators.extend(self.pipes())
        while self.accept(";"):
            pass
        return tuple(operators)

    # ------------------------------------------------------------------------------------ settings

    def params(self, *names: str) -> dict[str, Expr]:
        """``name = value`` settings of an operator; ``hint.*`` everywhere."""
        found: dict[str, Expr] = {}
        while self.kinds[self.i] == NAME:
            word = self.values[self.i]
            if word == "hint" and self.values[self.i + 1] == ".":
                self.i += 2
                name = "hint." + self.name("a hint's name")
            elif self.values[self.i + 1] == "=" and (word in names or word.lower() in names):
                self.i += 1
                name = word.lower()
            else:
                break
            self.expect("=")
            found[name] = self.setting()
        return found

    def setting(self) -> Expr:
        """A setting's value: a bare word or a literal."""
        start = self.starts[self.i]
        if self.kinds[self.i] == NAME and self.values[self.i] not in TYPED:
            word = self.word()
            if word.lower() in ("true", "false"):
                self.i += 1
                return ast.Literal(self.span_from(start), KqlType.BOOL, word.lower() == "true")
            self.take_word(word)
            return ast.Name(self.span_from(start), word)
        return self.unary()

    def begin(self, word: str) -> int:
        start = self.starts[self.i]
        self.take_word(word)
        return start

    # ------------------------------------------------------------------------------------ columns

    def op_where(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        predicate = self.expr()
        return ast.Where(self.span_from(start), word, params, predicate)

    def item(self) -> Expr:
        """``expr``, ``name = expr``, ``(a, b) = expr``, ``*``, a wildcard such as ``Device*``."""
        start = self.starts[self.i]
        if self.at("(") and self.kinds[self.i] != STRING:
            names = self._names_before_assignment()
            if names is not None:
                value = self.expr()
                return ast.Named(self.span_from(start), names, value)
        if self.at_name():
            here = self.i
            if self.values[here + 1] == "=" and self.kinds[here] in (NAME, NUMBER):
                name = self.name()
                self.i += 1
                return ast.Named(self.span_from(start), (name,), self.tabular_or_scalar())
            if self.values[here] == "[":
                name = self.name()
                if self.accept("="):
                    return ast.Named(self.span_from(start), (name,), self.expr())
                self.i = here
        return self.expr()

    def _names_before_assignment(self) -> tuple[str, ...] | None:
        here = self.i
        self.i += 1
        names: list[str] = []
        while self.at_name():
            names.append(self.name())
            if not self.accept(","):
                break
        if names and self.accept(")") and self.accept("="):
            return tuple(names)
        self.i = here
        return None

    def pattern_item(self) -> Expr:
        """A column's name or a wildcard of names, for project-away, -keep, -reorder and the like."""
        start = self.starts[self.i]
        pieces: list[str] = []
        wild = False
        while True:
            if self.at("*") and (not pieces or self.adjacent(self.i)):
                pieces.append("*")
                wild = True
                self.i += 1
            elif self.kinds[self.i] in (NAME, NUMBER) and (not pieces or (wild and self.adjacent(self.i))):
                pieces.append(self.values[self.i])
                self.i += 1
            else:
                break
        if wild:
            return ast.Star(self.span_from(start), "".join(pieces))
        if pieces:
            return ast.Name(self.span_from(start), pieces[0])
        return ast.Name((start, self.ends[self.i]), self.name("a column"), True)

    def op_project(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        if word in ("serialize", "print", "project") and self._ends_operator():
            return ast.Project(self.span_from(start), word, params, ())
        return ast.Project(self.span_from(start), word, params, self.separated(self.item))

    def op_project_names(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        if word == "project-rename":
            return ast.Project(self.span_from(start), word, params, self.separated(self.item))
        if word == "project-by-names":
            return ast.Project(self.span_from(start), word, params, self.separated(self.argument))
        if word == "project-reorder":
            return ast.Project(self.span_from(start), word, params, self.separated(self._reorder_item))
        return ast.Project(self.span_from(start), word, params, self.separated(self.pattern_item))

    def _reorder_item(self) -> Expr:
        start = self.starts[self.i]
        value = self.pattern_item()
        word = self.word()
        if word in ("asc", "desc", "granny-asc", "granny-desc"):
            self.take_word(word)
            return ast.Ordered(self.span_from(start), value, word.endswith("desc"))
        return value

    def _ends_operator(self) -> bool:
        return self.kinds[self.i] == END or (
            self.values[self.i] in ("|", ";", ")", "}") and self.kinds[self.i] != STRING
        )

    # ------------------------------------------------------------------------------------ rows

    def op_summarize(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        aggregates: tuple[Expr, ...] = ()
        if not (self.at("by") and self.values[self.i + 1] != "=") and not self._ends_operator():
            aggregates = self.separated(self.item)
        by: tuple[Expr, ...] = ()
        if self.accept("by"):
            by = self.separated(self.item)
        return ast.Summarize(self.span_from(start), word, params, aggregates, by)

    def ordered(self) -> ast.Ordered:
        """A sort key."""
        start = self.starts[self.i]
        value = self.item()
        descending: bool | None = None
        if self.accept("asc"):
            descending = False
        elif self.accept("desc"):
            descending = True
        nulls: bool | None = None
        if self.at("nulls"):
            self.i += 1
            if self.accept("first"):
                nulls = True
            elif self.accept("last"):
                nulls = False
            else:
                self.fail_expected("'first' or 'last' after 'nulls'", known=("first", "last"))
        return ast.Ordered(self.span_from(start), value, descending, nulls)

    def op_sort(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        self.expect("by", f"after '{word}'")
        return ast.Sort(self.span_from(start), word, params, self.separated(self.ordered))

    def op_top(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        count = self.expr()
        self.expect("by", "after the number of rows")
        return ast.Top(self.span_from(start), word, params, count, self.separated(self.ordered))

    def op_top_hitters(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        count = self.expr()
        self.expect("of")
        of = self.item()
        by = self.expr() if self.accept("by") else None
        return ast.TopHitters(self.span_from(start), word, params, count, of, by)

    def op_top_nested(self, word: str) -> Operator:
        start = self.begin(word)
        levels = []
        while True:
            begin = self.starts[self.i]
            count = None if self.at("of") else self.expr()
            self.expect("of")
            of = self.item()
            others = None
            if self.accept("with"):
                self.expect("others")
                self.expect("=")
                others = self.expr()
            self.expect("by")
            by = self.ordered()
            levels.append(ast.TopNestedLevel(self.span_from(begin), count, of, others, by))
            if not self.accept(","):
                break
            self.take_word(self.word()) if self.word() == "top-nested" else None
        return ast.TopNested(self.span_from(start), word, {}, tuple(levels))

    def op_take(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        return ast.Take(self.span_from(start), word, params, self.expr())

    def op_sample_distinct(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        count = self.expr()
        self.expect("of")
        return ast.SampleDistinct(self.span_from(start), word, params, count, self.item())

    def op_count(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        name = self.name() if self.accept("as") else None
        return ast.Count(self.span_from(start), word, params, name)

    # ------------------------------------------------------------------------------------ two tables

    def table_expression(self) -> Expr:
        """A table where an operator wants one: a name, a call, or a pipeline in brackets (given without them)."""
        start = self.starts[self.i]
        if self.at("("):
            opened = self.i
            self.i += 1
            self.enter(3)
            inner = self.tabular_or_scalar()
            while self.accept(";"):
                pass
            self.depth -= 3
            self.close(")", opened)
            if isinstance(inner, ast.Paren):
                inner = inner.inner
            if isinstance(inner, ast.Pipeline):
                return inner
            return ast.Pipeline(self.span_from(start), inner, ())
        wild = self._wild_table()
        if wild is not None:
            return wild
        return self.postfix(self.primary())

    def _wild_table(self) -> Expr | None:
        here = self.i
        if self.kinds[here] in (NAME, NUMBER) and self.values[here + 1] == "*" and self.adjacent(here + 1):
            return self.pattern_item()
        if self.at("*"):
            return self.pattern_item()
        return None

    def op_join(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("kind", "withsource", "isfuzzy")
        right = self.as_pipeline(self.table_expression())
        params.update(self.params("kind"))
        on: tuple[Expr, ...] = ()
        where = None
        if self.accept("on"):
            on = self.separated(self.expr)
        elif self.accept("where"):
            where = self.expr()
        return ast.Join(self.span_from(start), word, params, right, on, where)

    def op_union(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("kind", "withsource", "isfuzzy", "with_source")
        tables = [self.table_expression()]
        while self.accept(","):
            tables.append(self.table_expression())
        return ast.Union(self.span_from(start), word, params, tuple(tables))

    # ------------------------------------------------------------------------------------ dynamic and text

    def mv_column(self) -> ast.MvColumn:
        start = self.starts[self.i]
        name = None
        if self.at_name() and self.values[self.i + 1] == "=" and self.kinds[self.i] == NAME:
            name = self.name()
            self.i += 1
        value = self.expr()
        to = None
        if self.at("to") and self.values[self.i + 1] == "typeof":
            self.i += 1
            found = self.typeof()
            assert isinstance(found, ast.TypeOf)
            to = found.type
        return ast.MvColumn(self.span_from(start), name, value, to)

    def op_mv_expand(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("bagexpansion", "kind", "with_itemindex")
        columns = self.separated(self.mv_column)
        limit = self.expr() if self.accept("limit") else None
        return ast.MvExpand(self.span_from(start), "mv-expand", params, columns, limit)

    def op_mv_apply(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("with_itemindex", "kind", "id", "bagexpansion")
        columns: tuple[ast.MvColumn, ...] = () if self.at("on") else self.separated(self.mv_column)
        limit = self.expr() if self.accept("limit") else None
        self.expect("on")
        body = self.bracketed_body()
        return ast.MvApply(self.span_from(start), "mv-apply", params, columns, limit, body)

    def bracketed_body(self) -> tuple[Operator, ...]:
        opened = self.expect("(")
        self.enter(3)
        body = self.body()
        self.depth -= 3
        self.close(")", opened)
        return body

    def op_parse(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("kind", "flags")
        value = self.expr()
        self.expect("with")
        parts: list[ast.ParsePart] = []
        while not self._ends_operator():
            begin = self.starts[self.i]
            if self.kinds[self.i] == STRING:
                literal = self.string()
                assert isinstance(literal, ast.Literal)
                parts.append(ast.ParsePart(literal.span, str(literal.value), None))
            elif self.accept("*"):
                parts.append(ast.ParsePart(self.span_from(begin), None, None))
            else:
                name = self.name("a text, a column or '*' of the pattern")
                type_ = KqlType.STRING
                if self.accept(":"):
                    type_ = self.type_name()
                span = self.span_from(begin)
                parts.append(ast.ParsePart(span, None, ast.ColumnDecl(span, name, type_)))
        return ast.Parse(self.span_from(start), word, params, value, tuple(parts))

    def op_parse_kv(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        value = self.expr()
        self.expect("as")
        columns = self.bracketed(self.column_decl)
        options = self.options() if self.accept("with") else {}
        return ast.ParseKv(self.span_from(start), word, params, value, columns, options)

    def options(self) -> dict[str, Expr]:
        """``(name = value, …)``."""
        found: dict[str, Expr] = {}
        opened = self.expect("(")
        while not self.at(")"):
            name = self.name("an option's name")
            self.expect("=")
            found[name] = self.expr()
            if not self.accept(","):
                break
        self.close(")", opened)
        return found

    # ------------------------------------------------------------------------------------ series, partitions, scan

    def op_make_series(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("kind")
        aggregates = []
        while True:
            begin = self.starts[self.i]
            value = self.item()
            default = None
            if self.at("default") and self.values[self.i + 1] == "=":
                self.i += 2
                default = self.expr()
            aggregates.append(ast.MakeSeriesAgg(self.span_from(begin), value, default))
            if not self.accept(","):
                break
        self.expect("on")
        axis = self.item()
        low = high = None
        in_range = False
        if self.at("in") or (isinstance(axis, ast.InList) and axis.op == "in"):
            in_range = True
            if isinstance(axis, ast.InList):
                call = axis.items[0]
                axis = axis.left
            else:
                self.i += 1
                call = self.expr()
            if not (isinstance(call, ast.Call) and len(call.args) == 3):
                self.fail_expected("range(from, to, step)")
            low, high, step = call.args
        else:
            if self.accept("from"):
                low = self.expr()
            if self.accept("to"):
                high = self.expr()
            self.expect("step")
            step = self.expr()
        by = self.separated(self.item) if self.accept("by") else ()
        return ast.MakeSeries(
            self.span_from(start), word, params, tuple(aggregates), axis, low, high, step, by, in_range
        )

    def op_partition(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        if word == "partition":
            self.expect("by")
        begin = self.starts[self.i]
        name = self.name("a column")  # not an expression: a bracket after it opens the subquery
        by: Expr = ast.Name(self.span_from(begin), name)
        params.update(self.params())
        if self.accept("in"):
            self.expr()
        if self.at("{"):
            opened = self.i
            self.i += 1
            self.enter(3)
            inner = self.as_pipeline(self.tabular_or_scalar())
            while self.accept(";"):
                pass
            self.depth -= 3
            self.close("}", opened)
            return ast.Partition(self.span_from(start), word, params, by, inner)
        return ast.Partition(self.span_from(start), word, params, by, self.bracketed_body())

    def op_scan(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("with_match_id", "kind")
        order: tuple[ast.Ordered, ...] = ()
        partition: tuple[Expr, ...] = ()
        declare: tuple[ast.Parameter, ...] = ()
        while True:
            if self.accept("order"):
                self.expect("by")
                order = self.separated(self.ordered)
            elif self.accept("partition"):
                self.expect("by")
                partition = self.separated(self.expr)
            elif self.accept("declare"):
                declare = self.bracketed(self.parameter)
            elif self.at("with_match_id"):
                params.update(self.params("with_match_id"))
            else:
                break
        self.expect("with")
        opened = self.expect("(")
        steps = []
        while self.at("step"):
            steps.append(self.scan_step())
            while self.accept(";"):
                pass
        self.close(")", opened)
        return ast.Scan(self.span_from(start), word, params, order, partition, declare, tuple(steps))

    def scan_step(self) -> ast.ScanStep:
        start = self.starts[self.i]
        self.i += 1
        name = self.name("the step's name")
        optional = self.accept("optional")
        output = None
        if self.accept("output"):
            self.expect("=")
            output = self.name("all, last or none")
        self.expect(":")
        condition = self.expr()
        assignments: list[ast.Named] = []
        if self.accept("=>"):
            for one in self.separated(self.item):
                if not isinstance(one, ast.Named):
                    self.fail_expected("name = value")
                assignments.append(one)
        return ast.ScanStep(self.span_from(start), name, optional, output, condition, tuple(assignments))

    def parameter(self) -> ast.Parameter:
        """``name:type [= default]`` or ``T:(schema)``."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------ search

    def searching(self, read: Callable[[], Expr]) -> Expr:
        """Reads with search's own operator ``:`` allowed."""
        before, self.in_search = self.in_search, True
        value = read()
        self.in_search = before
        return value

    def op_search(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("kind", "withsource")
        tables: tuple[Expr, ...] = ()
        if self.at("in") and self.values[self.i + 1] == "(":
            self.i += 1
            tables = self.bracketed(self.table_expression)
            params.update(self.params("kind"))
        predicate = self.searching(self.expr)
        return ast.Search(self.span_from(start), word, params, tables, predicate)

    def op_find(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("withsource", "datascope", "isfuzzy", "kind")
        tables: tuple[Expr, ...] = ()
        if self.at("in") and self.values[self.i + 1] == "(":
            self.i += 1
            tables = self.bracketed(self.table_expression)
            params.update(self.params("kind"))
        self.accept("where")
        predicate = self.searching(self.expr)
        project: tuple[Expr, ...] = ()
        away: tuple[Expr, ...] = ()
        smart = False
        while True:
            following = self.word()
            if following == "project-smart":
                self.take_word(following)
                smart = True
            elif following == "project-away":
                self.take_word(following)
                away = self.separated(self.pattern_item)
            elif following == "project":
                self.i += 1
                project = self.separated(self._find_column)
            else:
                break
        return ast.Find(self.span_from(start), word, params, tables, predicate, project, away, smart)

    def _find_column(self) -> Expr:
        start = self.starts[self.i]
        if self.at("pack") and self.values[self.i + 1] == "(":
            return self.expr()
        name = self.name("a column")
        if self.accept(":"):
            type_ = self.type_name()
            return ast.TypeOf(self.span_from(start), None, (ast.ColumnDecl(self.span_from(start), name, type_),))
        return ast.Name(self.span_from(start), name)

    # ------------------------------------------------------------------------------------ branches

    def op_fork(self, word: str) -> Operator:
        start = self.begin(word)
        branches = []
        while self.at("(") or (self.at_name() and self.values[self.i + 1] == "="):
            name = None
            if not self.at("("):
                name = self.name()
                self.i += 1
            branches.append((name, self.bracketed_body()))
        return ast.Fork(self.span_from(start), word, {}, tuple(branches))

    def op_facet(self, word: str) -> Operator:
        start = self.begin(word)
        self.expect("by")
        by = self.separated(self.expr)
        body = self.bracketed_body() if self.accept("with") else ()
        return ast.Facet(self.span_from(start), word, {}, by, body)

    def op_reduce(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("kind")
        self.expect("by")
        by = self.expr()
        options: dict[str, Expr] = {}
        if self.accept("with"):
            while True:
                name = self.name("an option's name")
                self.expect("=")
                options[name] = self.expr()
                if not self.accept(","):
                    break
        return ast.Reduce(self.span_from(start), word, params, by, options)

    # ------------------------------------------------------------------------------------ calls

    def plain_call(self) -> ast.Call:
        start = self.starts[self.i]
        name = self.name("a function's name")
        span = self.span_from(start)
        while self.accept("."):
            name = self.name()
        args = self.bracketed(self.argument)
        return ast.Call(self.span_from(start), name, args, span)

    def op_evaluate(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        call = self.plain_call()
        schema: list[ast.ColumnDecl] | None = None
        star = False
        if self.accept(":"):
            schema = []
            opened = self.expect("(")
            while not self.at(")"):
                if self.accept("*"):
                    star = True
                else:
                    schema.append(self.column_decl())
                if not self.accept(","):
                    break
            self.close(")", opened)
        return ast.Evaluate(self.span_from(start), word, params, call, None if schema is None else tuple(schema), star)

    def op_invoke(self, word: str) -> Operator:
        start = self.begin(word)
        return ast.Invoke(self.span_from(start), word, {}, self.plain_call())

    def op_as(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params()
        return ast.As(self.span_from(start), word, params, self.name())

    def op_render(self, word: str) -> Operator:
        start = self.begin(word)
        kind = self.name("a kind of chart")
        params: dict[str, Expr] = {}
        if self.accept("with"):
            opened = self.expect("(")
            while not self.at(")"):
                name = self.name("a property")
                self.expect("=")
                params[name.lower()] = self._property()
                if not self.accept(","):
                    break
            self.close(")", opened)
        else:
            params.update(self.params("kind", "title", "xcolumn", "ycolumns", "series", "accumulate", "by", "legend"))
        return ast.Render(self.span_from(start), word, params, kind)

    def _property(self) -> Expr:
        start = self.starts[self.i]
        value = self.setting()
        names = [value.name] if isinstance(value, ast.Name) else []
        while names and self.at(",") and self.at_name_after_comma():
            self.i += 1
            names.append(self.name())
        if len(names) > 1:
            return ast.Literal(self.span_from(start), KqlType.STRING, ",".join(names))
        return value

    def at_name_after_comma(self) -> bool:
        """Whether a list of columns goes on after the comma: a name that is no ``name =``."""
        return self.kinds[self.i + 1] == NAME and self.values[self.i + 2] in (",", ")")

    def op_simple(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("decodeblocks")
        return ast.Simple(self.span_from(start), word, params)

    # ------------------------------------------------------------------------------------ sources

    def op_print(self, word: str) -> Operator:
        return self.op_project(word)

    def op_range(self, word: str) -> Operator:
        start = self.begin(word)
        name = self.name("the column's name")
        self.expect("from")
        low = self.expr()
        self.expect("to")
        high = self.expr()
        self.expect("step")
        return ast.Range(self.span_from(start), word, {}, name, low, high, self.expr())

    def op_datatable(self, word: str) -> Operator:
        start = self.begin(word)
        schema = self.bracketed(self.column_decl)
        values = self.bracketed(self.expr, "[")
        return ast.Datatable(self.span_from(start), word, {}, schema, values)

    def op_externaldata(self, word: str) -> Operator:
        start = self.begin(word)
        schema = self.bracketed(self.column_decl)
        uris = self.bracketed(self.expr, "[")
        options = self.options() if self.accept("with") else {}
        return ast.ExternalData(self.span_from(start), "externaldata", {}, schema, uris, options)

    # ------------------------------------------------------------------------------------ graphs

    def op_make_graph(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("with_node_id")
        source = self.name("the source column")
        span = self.span_from(self.starts[self.i - 1])
        for mark in ("-", "-", ">"):
            self.expect(mark)
        target = self.name("the target column")
        target_span = self.span_from(self.starts[self.i - 1])
        nodes: list[tuple[ast.Pipeline, Expr]] = []
        partitioned: tuple[Expr, tuple[Operator, ...]] | None = None
        while True:
            if self.at("with_node_id"):
                params.update(self.params("with_node_id"))
            elif self.accept("with"):
                while True:
                    table = self.as_pipeline(self.table_expression())
                    self.expect("on")
                    nodes.append((table, self.expr()))
                    if not self.accept(","):
                        break
            elif self.word() == "partitioned-by":
                self.take_word("partitioned-by")
                begin = self.starts[self.i]
                name = self.name("a column")
                partitioned = (ast.Name(self.span_from(begin), name), self.bracketed_body())
            else:
                break
        return ast.MakeGraph(
            self.span_from(start),
            word,
            params,
            ast.Name(span, source),
            ast.Name(target_span, target),
            tuple(nodes),
            partitioned,
        )

    def op_graph_match(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("cycles", "output")
        patterns = self.separated(self.graph_pattern)
        where = self.expr() if self.accept("where") else None
        project = self.separated(self.item) if self.accept("project") else ()
        return ast.GraphMatch(self.span_from(start), word, params, patterns, where, project)

    def graph_pattern(self) -> tuple[ast.GraphElement, ...]:
        elements = [self.graph_node()]
        while self.at("-") or self.at("<"):
            elements.append(self.graph_edge())
            elements.append(self.graph_node())
        return tuple(elements)

    def graph_node(self) -> ast.GraphElement:
        start = self.starts[self.i]
        opened = self.expect("(")
        name = None if self.at(")") else self.name()
        self.close(")", opened)
        return ast.GraphElement(self.span_from(start), name, None)

    def graph_edge(self) -> ast.GraphElement:
        start = self.starts[self.i]
        backwards = self.accept("<")
        self.expect("-")
        name: str | None = None
        low: int | None = None
        high: int | None = None
        if self.at("["):
            opened = self.i
            self.i += 1
            if self.at_name():
                name = self.name()
            if self.accept("*"):
                low = self._hops()
                self.expect("..")
                high = self._hops()
            self.close("]", opened)
            self.expect("-")
        else:
            self.expect("-")
        direction = "<-" if backwards else "->" if self.accept(">") else "--"
        return ast.GraphElement(self.span_from(start), name, direction, low, high)

    def _hops(self) -> int:
        value = self.primary()
        if not isinstance(value, ast.Literal) or not isinstance(value.value, int):
            self.fail_expected("a number of hops")
        return int(value.value)

    def op_graph_other(self, word: str) -> Operator:
        start = self.begin(word)
        params = self.params("kind", "with_component_id")
        items: list[Expr] = []
        if word == "graph-to-table":
            items = list(self.separated(self._graph_table))
        elif not self._ends_operator():
            items = list(self.separated(self.expr))
        return ast.GraphOther(self.span_from(start), word, params, tuple(items))

    def _graph_table(self) -> Expr:
        start = self.starts[self.i]
        name = self.name("nodes or edges")
        span = self.span_from(start)
        args: list[Expr] = []
        if self.accept("as"):
            begin = self.starts[self.i]
            alias = self.name()
            args.append(ast.Named(self.span_from(begin), ("as",), ast.Name(self.span_from(begin), alias)))
        for key, value in self.params("with_node_id", "with_source_id", "with_target_id").items():
            args.append(ast.Named(value.span, (key,), value))
        return ast.Call(self.span_from(start), name, tuple(args), span)

    def op_macro_expand(self, word: str) -> Operator:
        """macro-expand."""
        raise NotImplementedError


OPERATORS: Final[dict[str, str]] = {
    "where": "op_where", "filter": "op_where",
    "project": "op_project", "extend": "op_project", "distinct": "op_project", "serialize": "op_project",
    "project-away": "op_project_names", "project-keep": "op_project_names", "project-rename": "op_project_names",
    "project-reorder": "op_project_names", "project-by-names": "op_project_names",
    "summarize": "op_summarize", "sort": "op_sort", "order": "op_sort", "top": "op_top", "top-hitters": "op_top_hitters",
    "top-nested": "op_top_nested", "take": "op_take", "limit": "op_take", "sample": "op_take", "sample-distinct": "op_sample_distinct",
    "count": "op_count", "join": "op_join", "lookup": "op_join", "union": "op_union",
    "mv-expand": "op_mv_expand", "mvexpand": "op_mv_expand", "mv-apply": "op_mv_apply", "mvapply": "op_mv_apply",
    "parse": "op_parse", "parse-where": "op_parse", "parse-kv": "op_parse_kv", "make-series": "op_make_series",
    "partition": "op_partition", "__partitionby": "op_partition", "scan": "op_scan", "search": "op_search", "find": "op_find",
    "fork": "op_fork", "facet": "op_facet", "reduce": "op_reduce", "evaluate": "op_evaluate", "invoke": "op_invoke", "as": "op_as",
    "render": "op_render", "getschema": "op_simple", "consume": "op_simple", "execute-and-cache": "op_simple",
    "make-graph": "op_make_graph", "graph-match": "op_graph_match", "graph-shortest-paths": "op_graph_match",
    "graph-to-table": "op_graph_other", "graph-mark-components": "op_graph_other", "graph-where-nodes": "op_graph_other",
    "graph-where-edges": "op_graph_other", "macro-expand": "op_macro_expand",
}  # fmt: skip
"""Keyword → the method that reads it."""

SOURCES: Final[dict[str, str]] = {
    "print": "op_print", "range": "op_range", "datatable": "op_datatable", "externaldata": "op_externaldata",
    "external_data": "op_externaldata", "union": "op_union", "search": "op_search", "find": "op_find", "evaluate": "op_evaluate",
}  # fmt: skip
