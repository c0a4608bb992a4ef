"""Pipelines: sources, ``|``, and the table of operators that the other modules fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from tocsin.base.errors import Advice, did_you_mean
from tocsin.kql import ast
from tocsin.kql.ast import Expr, Operator
from tocsin.kql.diagnostics import Diagnostic
from tocsin.kql.lexer import END, NAME, NUMBER
from tocsin.kql.parser.cursor import SyntaxFault
from tocsin.kql.parser.expressions import EQUALITY_HINT, INFIX_WORDS, ExpressionParser
from tocsin.kql.parser.literals import TYPED
from tocsin.kql.parser.names import RESERVED
from tocsin.kql.types import KqlType

__all__ = ["BOOLEANS", "OPERATORS", "OperatorInfo", "PipelineParser", "operator"]

ANY: Final = ()
BOOLEANS: Final = ("true", "false")

_R = TypeVar("_R", bound=Callable[[Any, str], Operator])


@dataclass(frozen=True, slots=True)
class OperatorInfo:
    """How an operator is read and where it may stand.

    `read` is the method that reads it, given its keyword. `settings` are its ``name=value`` parameters and, where they are a closed
    set, their values. `source` operators begin a pipeline, `piped` ones follow a ``|``.
    """

    read: Callable[[Any, str], Operator]
    settings: Mapping[str, tuple[str, ...]]
    source: bool
    piped: bool


OPERATORS: Final[dict[str, OperatorInfo]] = {}
"""Keyword → operator; filled by the decorator `operator` when the modules of this package are loaded."""

_SOURCES: Final[dict[str, str]] = {}
"""First word → keyword, of the operators that begin a pipeline."""


def operator(
    *keywords: str, settings: Mapping[str, tuple[str, ...]] | None = None, source: bool = False, piped: bool = True
) -> Callable[[_R], _R]:
    """Declares the method that reads the operators of these keywords."""

    def declare(method: _R) -> _R:
        for keyword in keywords:
            OPERATORS[keyword] = OperatorInfo(method, settings or {}, source, piped)
            if source:
                _SOURCES[keyword.split("-")[0]] = keyword
        return method

    return declare


_AFTER_PIPELINE: Final = frozenset(("", "|", ";", ")", "}", "]", ","))
_NO_SOURCE_BEFORE: Final = frozenset(
    ("", "|", ";", ")", "}", "]", ",", ".", "=", "==", "!=", "+", "/", "%", "<", ">", ":", "..")
)
_NO_OPERAND_BEFORE: Final = frozenset(("=", ",", "==", ".", "(", ")"))
_TABLE_LITERALS: Final = frozenset(("datatable", "externaldata", "external_data", "inline_external_table"))


class PipelineParser(ExpressionParser):
    """What every operator needs."""

    settings: Mapping[str, tuple[str, ...]] = {}
    keyword = ""
    told = -1  # the token whose missing pipe was reported last

    def pipes(self) -> tuple[Operator, ...]:
        """Every ``| operator`` from here on; a fault in one is kept and reading goes on at the next."""
        operators: list[Operator] = []
        values = self.values
        while True:
            start = self.i
            if values[start] == "|":
                self.i = start + 1
            elif self.lacks_pipe():
                start -= 1
            else:
                return tuple(operators)
            depth = self.depth
            try:
                operators.append(self.piped())
                if values[self.i] not in _AFTER_PIPELINE and not self.lacks_pipe():
                    self._trailing()
            except SyntaxFault as fault:
                self.depth = depth
                self.in_search = False
                self.report(fault)
                self.recover(start + 1, fault.index, "|;")

    def lacks_pipe(self) -> bool:
        """Whether a line begins here with an operator that has no ``|``; that is reported."""
        index = self.i
        if self.kinds[index] == NAME and self.begins_line(index):
            keyword = self.word()
            info = OPERATORS.get(keyword)
            if (
                info is not None
                and info.piped
                and self.values[index + keyword.count("-") * 2 + 1] not in _NO_OPERAND_BEFORE
            ):
                if index == self.told:
                    return True
                self.told = index
                span = self.starts[index], self.starts[index] + len(keyword)
                message = f"There is no '|' before '{keyword}'."
                advice = Advice(f"Write | {keyword} ….", f"| {keyword}")
                fault = Diagnostic.at(self.text, span, "KQL0010", message, hint=advice)
                self.report(SyntaxFault(fault, index))
                return True
        return False

    def _trailing(self) -> NoReturn:
        """Refuses what follows an operator that seemed complete, with the likeliest reason."""
        index = self.i
        value = self.values[index]
        if value == "=":
            self.fail("KQL0010", "A value is not assigned here.", hint=EQUALITY_HINT)
        if self.begins_line(index):
            if value in ("let", "set", "declare"):
                end = self.ends[index - 1]
                hint = Advice("Statements are separated by ';'.", ";", (end, end))
                self.fail("KQL0010", f"There is no ';' before '{value}'.", hint=hint)
            self.fail_expected("'|', ';' or the end of the query", known=OPERATORS)
        self.fail_expected("an operator, ',' or '|'", known=INFIX_WORDS, hint=self.negation_hint())

    def piped(self) -> Operator:
        """One operator after a ``|`` or at the beginning of a subquery."""
        index = self.i
        word = self.values[index]
        info = OPERATORS.get(word)
        if self.values[index + 1] == "-" or info is None:
            word = self.word()
            info = OPERATORS.get(word)
        if info is None or not info.piped:
            self._no_operator(self.word())
        self.i = index + 1 + 2 * word.count("-")
        self.keyword, self.settings = word, info.settings
        return info.read(self, word)

    def _no_operator(self, word: str) -> NoReturn:
        known = [k for k, info in OPERATORS.items() if info.piped]
        span = self.starts[self.i], self.starts[self.i] + max(len(word), 1)
        if word in OPERATORS:
            self.fail("KQL0010", f"'{word}' begins a query and can't follow '|'.", span=span)
        if self.kinds[self.i] != NAME:
            self.fail_expected("an operator after '|'", code="" if self.kinds[self.i] == END else "KQL0011")
        if word in _NOT_BUILT:
            self.fail("KQL0201", f"The operator '{word}' is not supported.", span=span, hint=_NOT_BUILT[word])
        hint = _OTHER_LANGUAGES.get(word.lower(), "")
        if hint:
            self.fail("KQL0015", f"KQL has no operator '{word}'.", span=span, hint=hint)
        hint = did_you_mean(word, known)
        self.fail("KQL0011", f"There is no operator '{word}'.", span=span, hint=hint)

    # ------------------------------------------------------------------------------------ sources

    def source_here(self) -> Expr | None:
        """See `ExpressionParser.source_here`."""
        index = self.i
        keyword = _SOURCES.get(self.values[index])
        if keyword is None:
            return None
        follower = self.values[index + 1]
        if "-" in keyword:
            if self.word() != keyword:
                return None
        elif keyword in _TABLE_LITERALS:
            if follower != "(" and self.kinds[index + 1] != NAME:
                return None
        elif keyword == "range":
            if self.kinds[index + 1] not in (NAME, NUMBER) and follower != "[":
                return None
        elif (follower in _NO_SOURCE_BEFORE and not (keyword == "print" and follower in ("", "|", ";"))) or (
            follower in INFIX_WORDS and follower != "in"
        ):
            return None
        start = self.starts[index]
        self.i = index + 1 + 2 * keyword.count("-")
        info = OPERATORS[keyword]
        self.keyword, self.settings = keyword, info.settings
        first = info.read(self, keyword)
        return ast.Pipeline((start, self.ends[self.i - 1]), first, ())

    def table_value(self) -> ast.Pipeline:
        """A tabular expression as a statement, a subquery or a body has it."""
        return self.pipeline_of(self.source_here() or self.expr())

    def table_operand(self) -> Expr:
        """A table where an operator takes one: a name, a call, a wildcard, or a pipeline in parentheses (given without them)."""
        opened = self.i
        if self.values[opened] == "(":
            self.i = opened + 1
            self.enter(3)
            inner = self.table_value()
            while self.accept(";"):
                pass
            self.close(")", opened)
            self.depth -= 3
            while (
                not inner.operators
                and isinstance(inner.source, ast.Paren)
                and isinstance(inner.source.inner, ast.Pipeline)
            ):
                inner = inner.source.inner
            return inner
        return self.wildcard_here() or self.source_here() or self.operand()

    def wildcard_here(self) -> ast.Star | None:
        """A wildcard if one begins here."""
        index = self.i
        if self.values[index] == "*" or (self.values[index + 1] == "*" and self.adjacent(index + 1)):
            return self.wildcard()
        return None

    def as_pipeline(self, table: Expr) -> ast.Pipeline:
        """A table as a pipeline, without operators where it has none."""
        return table if isinstance(table, ast.Pipeline) else ast.Pipeline(table.span, table, ())

    def subquery(self) -> tuple[Operator, ...]:
        """``( operator | operator … )``: the first has no ``|`` before it."""
        opened = self.expect("(")
        self.enter(3)
        start = self.i
        first: tuple[Operator, ...] = ()
        if self.values[start] != "|":
            depth = self.depth
            try:
                first = (self.piped(),)
                if self.values[self.i] not in _AFTER_PIPELINE:
                    self._trailing()
            except SyntaxFault as fault:
                self.depth = depth
                self.report(fault)
                self.recover(start, fault.index, "|")
        operators = first + self.pipes()
        while self.accept(";"):
            pass
        self.close(")", opened)
        self.depth -= 3
        return operators

    # ------------------------------------------------------------------------------------ parts of operators

    def node_start(self) -> int:
        """Where the keyword taken last begins: an operator's span starts there."""
        return self.starts[self.i - 1 - 2 * self.keyword.count("-")]

    def params(self, found: dict[str, Expr] | None = None) -> dict[str, Expr]:
        """``name=value`` settings: ``hint.*`` everywhere, else those that the operator declares."""
        params: dict[str, Expr] = {} if found is None else found
        while True:
            index = self.i
            word = self.values[index]
            if word == "hint" and self.values[index + 1] == ".":
                self.i = index + 2
                name = "hint." + self.name("the name of a hint")
            elif self.values[index + 1] == "=" and (word in self.settings or word.lower() in self.settings):
                name = word.lower()
                self.i = index + 1
            else:
                return params
            self.expect("=")
            value = self.setting()
            allowed = self.settings.get(name)
            if allowed and isinstance(value, ast.Name) and value.name.lower() not in allowed:
                self.i -= 1
                shown = ", ".join(allowed[:8]) + (", …" if len(allowed) > 8 else "")
                self.fail_expected(f"one of {shown} for '{name}'", known=allowed, code="KQL0012")
            params[name] = value

    def more_params(self, params: dict[str, Expr]) -> None:
        """Settings after other clauses of an operator: one begins here."""
        index = self.i
        self.params(params)
        if self.i == index:
            self.i = index + 1
            self.expect("=", f"after '{self.values[index]}'")

    def setting(self) -> Expr:
        """A setting's value: a bare word or a constant."""
        index = self.i
        if self.kinds[index] == NAME and not (self.values[index] in TYPED and self.values[index + 1] == "("):
            word = self.values[index]
            span = self.starts[index], self.ends[index]
            self.i = index + 1
            if word.lower() in BOOLEANS:
                return ast.Literal(span, KqlType.BOOL, word.lower() == "true")
            return ast.Name(span, word)
        return self.operand()

    def options(self) -> dict[str, Expr]:
        """``(name = value, …)`` after ``with``."""
        found: dict[str, Expr] = {}
        for named in self.bracketed(self._option):
            found[named[0]] = named[1]
        return found

    def _option(self) -> tuple[str, Expr]:
        name = self.name("the name of an option")
        self.expect("=", f"after '{name}'")
        return name, self.setting()

    def item(self) -> Expr:
        """``expr``, ``name = expr`` or ``(a, b) = expr``."""
        index = self.i
        if self.values[index] == "(":
            names = self._name_list(index)
            if names:
                value = self.expr()
                return ast.Named((self.starts[index], value.span[1]), names, value)
        expr = self.expr()
        if self.values[self.i] != "=":
            return expr
        if not isinstance(expr, ast.Name):
            self.fail("KQL0010", "Only a column's name can stand before '='.", hint="Equality is written ==.")
        if not expr.quoted and expr.name in RESERVED:
            self.reserved(index, expr.name)
        self.i += 1
        value = self.expr()
        return ast.Named((expr.span[0], value.span[1]), (expr.name,), value)

    def _name_list(self, opened: int) -> tuple[str, ...]:
        """The names of ``(a, b) =``, taken with the ``=``; nothing is taken where it is something else."""
        index = opened + 1
        names: list[str] = []
        while self.kinds[index] in (NAME, NUMBER):
            names.append(self.values[index])
            follower = self.values[index + 1]
            if follower == ")":
                if self.values[index + 2] != "=":
                    return ()
                self.i = index + 3
                return tuple(names)
            if follower != ",":
                return ()
            index += 2
        return ()

    def column_pattern(self) -> Expr:
        """A column's name or a wildcard: project-away and kin."""
        star = self.wildcard_here()
        if star is not None:
            return star
        start = self.starts[self.i]
        quoted = self.values[self.i] == "["
        name = self.name("a column's name")
        column: Expr = ast.Name(self.span_from(start), name, quoted)
        return self._path(column) if self.values[self.i] in (".", "[") else column

    def sort_key(self) -> ast.Ordered:
        """``expr [asc|desc] [nulls first|last]``."""
        start = self.starts[self.i]
        value = self.item()
        descending: bool | None = None
        nulls: bool | None = None
        if self.accept("asc"):
            descending = False
        elif self.accept("desc"):
            descending = True
        if self.accept("nulls"):
            if self.accept("first"):
                nulls = True
            elif self.accept("last"):
                nulls = False
            else:
                self.fail_expected("'first' or 'last' after 'nulls'", known=("first", "last"))
        return ast.Ordered(self.span_from(start), value, descending, nulls)

    def at_end(self) -> bool:
        """Whether the operator ends here."""
        return self.values[self.i] in _AFTER_PIPELINE


_NOT_BUILT: Final = {"assert-schema": "See the columns that come with 'getschema', or choose them with 'project'."}
"""Operators that KQL's grammar knows and Tocsin has not: to say that there is none would be wrong."""

_OTHER_LANGUAGES: Final = {
    "select": "Choose columns with 'project'.",
    "group": "Group with 'summarize … by'.",
    "groupby": "Group with 'summarize … by'.",
    "having": "Filter after 'summarize' with 'where'.",
    "stats": "Aggregate with 'summarize … by'.",
    "eval": "Compute columns with 'extend'.",
    "table": "Choose columns with 'project'.",
    "fields": "Choose columns with 'project'.",
    "head": "Take rows with 'take', or the first by an order with 'top'.",
    "tail": "Take the last rows by an order with 'top'.",
    "dedup": "Remove duplicates with 'distinct', or 'summarize take_any(*) by …'.",
    "rename": "Rename with 'project-rename'.",
    "rex": "Extract with 'extend x = extract(…)' or with 'parse'.",
    "append": "Append rows with 'union'.",
    "fillnull": "Replace nulls with 'extend x = coalesce(x, …)'.",
    "orderby": Advice("Write 'order by' as two words.", "order by"),
    "sortby": Advice("Write 'sort by' as two words.", "sort by"),
}
