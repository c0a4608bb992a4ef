"""Statements, functions and whole queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tocsin.base.errors import Advice
from tocsin.kql import ast
from tocsin.kql.ast import Expr, Operator, Statement
from tocsin.kql.diagnostics import Diagnostic
from tocsin.kql.lexer import END, NAME, NUMBER
from tocsin.kql.parser.cursor import StopParsing, SyntaxFault
from tocsin.kql.parser.expressions import EQUALITY_HINT, INFIX_WORDS
from tocsin.kql.parser.graphs import GraphOperators
from tocsin.kql.parser.patterns import read_pattern
from tocsin.kql.parser.pipelines import OPERATORS, operator

__all__ = ["STATEMENTS", "Parser"]

_LOOK_AHEAD: Final = 400  # tokens of a parameter list that are looked through for the '{' after it


class Parser(GraphOperators):
    """Reads one text. `in_pattern`: it is the body of a pattern's case."""

    in_pattern = False

    def query(self) -> ast.Query:
        """The whole text, as far as it could be read; what is wrong with it is in `diagnostics`."""
        statements: list[Statement] = []
        try:
            while self.kinds[self.i] != END:
                if self.accept(";"):
                    continue
                start = self.i
                try:
                    statements.append(self.statement())
                    if self.kinds[self.i] != END and not self.at(";"):
                        self._after_statement(statements[-1])
                except SyntaxFault as fault:
                    self._resume(fault, start)
        except StopParsing:
            pass
        except RecursionError:  # called from a stack that is already deep: the same answer as for deep text
            span = self.starts[self.i], self.ends[self.i]
            message = "The query is nested too deeply here."
            self.diagnostics.append(Diagnostic.at(self.text, span, "KQL0020", message))
        return ast.Query((0, len(self.text)), tuple(statements))

    def _resume(self, fault: SyntaxFault, start: int) -> None:
        """After a fault outside of operators: the pipeline's operators are still read, for their own faults."""
        self.depth = 0
        self.in_search = False
        self.report(fault)
        self.recover(start, fault.index, "|;")
        while self.kinds[self.i] != END and not self.at(";"):
            if self.at("|"):
                self.pipes()
            else:
                self.i += 1

    def _after_statement(self, statement: Statement) -> None:
        index = self.i
        value = self.values[index]
        if value in (")", "]", "}"):
            self.fail(
                "KQL0014",
                f"There is a '{value}' here that closes nothing.",
                hint=Advice("Remove it, or open it before.", ""),
            )
        if self.begins_line(index):
            if isinstance(statement, ast.ExpressionStatement) and self.lacks_pipe():
                self.pipes()
                return
            if self.at_statement() or not isinstance(statement, ast.ExpressionStatement):
                span = self.starts[index], self.ends[index]
                message = f"There is no ';' before {self.found(index)}."
                end = self.ends[index - 1]
                hint: str = Advice("A statement ends with ';' before the next one begins.", ";", (end, end))
                self.report(SyntaxFault(Diagnostic.at(self.text, span, "KQL0010", message, hint=hint), index))
                return  # and the next statement is read from here
        known = OPERATORS if self.begins_line(index) else INFIX_WORDS
        hint = EQUALITY_HINT if value == "=" else ""
        self.fail_expected("'|', ';' or the end of the query", known=known, hint=hint)

    # ------------------------------------------------------------------------------------ statements

    def at_statement(self) -> bool:
        """Whether a statement with a keyword of its own begins here."""
        index = self.i
        value = self.values[index]
        if value not in STATEMENTS or self.kinds[index] != NAME:
            return False
        follower = self.values[index + 1]
        if value == "let":
            return follower not in ("|", ";", "") or self.kinds[index + 1] == END
        if value in ("restrict", "declare", "alias"):
            return self.kinds[index + 1] == NAME
        return self.kinds[index + 1] in (NAME, NUMBER)

    def statement(self) -> Statement:
        """One statement, without its ``;``."""
        if self.at_statement():
            return STATEMENTS[self.values[self.i]](self)
        start = self.starts[self.i]
        if self._at_piped_operator():
            keyword = self.word()
            self.fail(
                "KQL0010",
                f"The query begins with the operator '{keyword}'.",
                hint="A table stands first: Table | " + keyword + " ….",
            )
        value = self.table_value()
        return ast.ExpressionStatement(self.span_from(start), value)

    def _at_piped_operator(self) -> bool:
        """Whether a piped operator stands where a table should."""
        keyword = self.word()
        info = OPERATORS.get(keyword)
        if info is None or info.source or keyword in ("count", "as", "sample"):
            return False
        return self.kinds[self.i + 1 + 2 * keyword.count("-")] == NAME

    def _let(self) -> Statement:
        start = self.starts[self.i]
        self.i += 1
        index = self.i
        name = self.name("the name that 'let' defines")
        if self.at("("):
            self.fail_expected(f"'=' after '{name}'", hint=f"A function is written: let {name} = (x:string) {{ … }}.")
        self.expect("=", f"after '{self.values[index]}'")
        value = self._function() or self.value()
        return ast.Let(self.span_from(start), name, value)

    def _set(self) -> Statement:
        start = self.starts[self.i]
        self.i += 1
        name = self.name("the name of an option")
        value = self.setting() if self.accept("=") else None
        return ast.SetOption(self.span_from(start), name, value)

    def _alias(self) -> Statement:
        start = self.starts[self.i]
        self.i += 1
        self.expect("database", "after 'alias'")
        name = self.name("the alias")
        self.expect("=")
        value = self.expr()
        return ast.Alias(self.span_from(start), name, value)

    def _restrict(self) -> Statement:
        start = self.starts[self.i]
        self.i += 1
        self.expect("access", "after 'restrict'")
        self.expect("to")
        entities = self.bracketed(self.table_operand)
        return ast.Restrict(self.span_from(start), entities)

    def _declare(self) -> Statement:
        start = self.starts[self.i]
        self.i += 1
        if self.accept("query_parameters"):
            params = self.bracketed(self.parameter)
            return ast.DeclareParameters(self.span_from(start), params)
        if not self.accept("pattern"):
            self.fail_expected("'query_parameters' or 'pattern' after 'declare'", known=("query_parameters", "pattern"))
        name = self.name("the pattern's name")
        level = 0
        while self.kinds[self.i] != END and (level > 0 or not self.at(";")):
            level += {"{": 1, "}": -1}.get(self.values[self.i], 0)
            self.i += 1
        statement = ast.DeclarePattern(self.span_from(start), name)
        self._check_pattern(statement)
        return statement

    def _check_pattern(self, statement: ast.DeclarePattern) -> None:
        """The binder reads a case's body when it is called; what is wrong with it is said here."""
        start, end = statement.span
        text = self.text[start:end]
        if "=" not in text:
            return
        if self.in_pattern:  # reading bodies within bodies would read the innermost as often as they are deep
            message = "A pattern can't be declared inside a pattern."
            self.diagnostics.append(Diagnostic.at(self.text, statement.span, "KQL0010", message))
            return
        found = read_pattern(text)
        if found is None:
            message = f"The pattern '{statement.name}' is not written as one."
            hint = 'declare pattern name = (argument:string) [path:string] { ("value").["path"] = { query }; }'
            self.diagnostics.append(Diagnostic.at(self.text, statement.span, "KQL0010", message, hint=hint))
            return
        for _, body, begin in found[2]:
            inner = Parser(body)
            inner.in_pattern = True
            inner.query()
            for fault in inner.diagnostics:
                a, b = (start + begin + place for place in fault.span)
                self.diagnostics.append(
                    Diagnostic.at(
                        self.text, (a, b), fault.code, fault.message, hint=fault.hint, severity=fault.severity
                    )
                )

    # ------------------------------------------------------------------------------------ functions

    def _function(self) -> Expr | None:
        """``[view] (params) { … }`` if that is what stands here."""
        index = self.i
        view = self.values[index] == "view" and self.values[index + 1] == "("
        opened = index + 1 if view else index
        if self.values[opened] != "(" or not (view or self._is_parameter_list(opened)):
            return None
        self.i = opened
        params = self.bracketed(self.parameter)
        statements, body = self._body()
        return ast.Lambda(self.span_from(self.starts[index]), params, statements, body, view)

    def _is_parameter_list(self, opened: int) -> bool:
        values, kinds = self.values, self.kinds
        first = values[opened + 1]
        if first == ")":
            return values[opened + 2] == "{"
        if values[opened + 2] == ":" or (first == "[" and values[opened + 3 : opened + 5] == ["]", ":"]):
            return True
        if kinds[opened + 1] != NAME:
            return False
        level = 0
        for index in range(opened, min(opened + _LOOK_AHEAD, len(values) - 1)):
            level += {"(": 1, ")": -1}.get(values[index], 0)
            if level == 0:
                return values[index + 1] == "{"
        return False

    def _body(self) -> tuple[tuple[Statement, ...], Expr]:
        opened = self.expect("{", "and the function's body")
        self.enter(3)
        statements: list[Statement] = []
        body: Expr | None = None
        while not self.at("}"):
            if self.accept(";"):
                continue
            if body is not None:
                self.fail_expected(
                    "'}' after the function's expression", hint="The expression is the last part of a function."
                )
            if self.at_statement():
                statements.append(self.statement())
                if not self.at(";") and not self.at("}"):
                    self.expect(";", "after the statement")
            else:
                body = self.value()
                if not self.at(";") and not self.at("}"):
                    self.fail_expected("'|', ';' or '}'", known=INFIX_WORDS)
        if body is None:
            self.fail(
                "KQL0010",
                "The function has no expression.",
                hint="Its last part is the value or the table that it gives.",
            )
        self.close("}", opened)
        self.depth -= 3
        return tuple(statements), body

    def parameter(self) -> ast.Parameter:
        """``name:type [= default]``, ``name:(schema)`` or ``name:(*)``."""
        start = self.starts[self.i]
        name = self.declared_name("a parameter's name")
        self.expect(":", f"and a type after '{name}'")
        if self.at("("):
            schema, _ = self.open_schema()
            return ast.Parameter(self.span_from(start), name, None, schema)
        type_ = self.type_name()
        default = self.expr() if self.accept("=") else None
        return ast.Parameter(self.span_from(start), name, type_, None, default)

    @operator("macro-expand", source=True, piped=False, settings={"kind": (), "isfuzzy": ("true", "false")})
    def _macro_expand(self, keyword: str) -> Operator:
        start = self.node_start()
        params = self.params()
        group = self.operand()
        self.expect("as", "and a name for the entity")
        name = self.name()
        opened = self.expect("(", "and the query")
        self.enter(3)
        statements: list[Statement] = []
        while not self.at(")"):
            if self.accept(";"):
                continue
            statements.append(self.statement())
            if not self.at(";") and not self.at(")"):
                self.fail_expected("'|', ';' or ')'", known=INFIX_WORDS)
        self.close(")", opened)
        self.depth -= 3
        return ast.MacroExpand(self.span_from(start), keyword, params, group, name, tuple(statements))


STATEMENTS: Final[dict[str, Callable[[Parser], Statement]]] = {
    "let": Parser._let,
    "set": Parser._set,
    "alias": Parser._alias,
    "restrict": Parser._restrict,
    "declare": Parser._declare,
}
"""First word → the method that reads the statement."""
