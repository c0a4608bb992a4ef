"""Statements and whole queries."""

from __future__ import annotations

from typing import Final

from tocsin.kql import ast
from tocsin.kql.ast import Expr, Operator, Statement
from tocsin.kql.lexer import END, NAME, NUMBER
from tocsin.kql.parser.cursor import StopParsing, SyntaxFault
from tocsin.kql.parser.operators import Operators

__all__ = ["Parser"]

_STATEMENTS: Final = ("let", "set", "declare", "alias", "restrict")


class Parser(Operators):
    """Reads one text."""

    def query(self) -> ast.Query:
        """The whole text; faults are in `diagnostics`."""
        statements: list[Statement] = []
        try:
            while self.kinds[self.i] != END:
                if self.accept(";"):
                    continue
                start = self.i
                try:
                    statements.append(self.statement())
                    if self.kinds[self.i] != END and not self.at(";"):
                        self._trailing()
                except SyntaxFault as fault:
                    self.depth = 0
                    self.in_search = False
                    self.report(fault)
                    self.recover(start, fault.index, "|;")
                    if self.at("|"):
                        self.pipes()
                    while self.kinds[self.i] != END and not self.at(";"):
                        self.i += 1
        except StopParsing:
            pass
        return ast.Query((0, len(self.text)), tuple(statements))

    def _trailing(self) -> None:
        value = self.values[self.i]
        if value in (")", "]", "}"):
            self.fail("KQL0014", f"There is a '{value}' here that closes nothing.")
        self.fail_expected("'|', ';' or the end of the query")

    # ------------------------------------------------------------------------------------ statements

    def statement(self) -> Statement:
        """One statement, without its ``;``."""
        word = self.values[self.i]
        if self.at_statement():
            return getattr(self, f"st_{word}")()  # type: ignore[no-any-return]
        start = self.starts[self.i]
        value = self.tabular_or_scalar()
        if not isinstance(value, ast.Pipeline):
            value = ast.Pipeline(value.span, value, ())
        return ast.ExpressionStatement(self.span_from(start), value)

    def at_statement(self) -> bool:
        """Whether one of the statements that begin with a keyword stands here."""
        if self.kinds[self.i] != NAME or self.values[self.i] not in _STATEMENTS:
            return False
        return self.kinds[self.i + 1] in (NAME, NUMBER) or (self.at("let") and self.values[self.i + 1] == "[")

    def st_let(self) -> Statement:
        start = self.starts[self.i]
        self.i += 1
        name = self.name("the name that 'let' gives")
        self.expect("=", "after the name")
        value = self.let_value()
        return ast.Let(self.span_from(start), name, value)

    def let_value(self) -> Expr:
        if self.at("view") and self.values[self.i + 1] == "(":
            start = self.starts[self.i]
            self.i += 1
            found = self.try_lambda()
            if isinstance(found, ast.Lambda):
                return ast.Lambda(self.span_from(start), found.params, found.statements, found.body, True)
            self.fail_expected("a view's parameters and body")
        return self.tabular_or_scalar()

    def st_set(self) -> Statement:
        start = self.starts[self.i]
        self.i += 1
        name = self.name("an option")
        value = None
        if self.accept("="):
            value = self.setting()
        return ast.SetOption(self.span_from(start), name, value)

    def st_declare(self) -> Statement:
        start = self.starts[self.i]
        self.i += 1
        if self.accept("pattern"):
            name = self.name("the pattern's name")
            level = 0
            while self.kinds[self.i] != END and (level or not self.at(";")):
                level += {"{": 1, "}": -1}.get(self.values[self.i], 0)
                self.i += 1
            return ast.DeclarePattern(self.span_from(start), name)
        self.expect("query_parameters", "after 'declare'")
        return ast.DeclareParameters(self.span_from(start), self.bracketed(self.parameter))

    def st_alias(self) -> Statement:
        start = self.starts[self.i]
        self.i += 1
        self.expect("database", "after 'alias'")
        name = self.name()
        self.expect("=")
        return ast.Alias(self.span_from(start), name, self.expr())

    def st_restrict(self) -> Statement:
        start = self.starts[self.i]
        self.i += 1
        self.expect("access", "after 'restrict'")
        self.expect("to")
        return ast.Restrict(self.span_from(start), self.bracketed(self.table_expression))

    # ------------------------------------------------------------------------------------ functions

    def parameter(self) -> ast.Parameter:
        """``name:type [= default]`` or ``T:(schema)``."""
        start = self.starts[self.i]
        name = self.name("a parameter's name")
        self.expect(":", "and a type after the parameter's name")
        if self.at("("):
            opened = self.i
            self.i += 1
            columns: list[ast.ColumnDecl] = []
            while not self.at(")"):
                if not self.accept("*"):
                    columns.append(self.column_decl())
                if not self.accept(","):
                    break
            self.close(")", opened)
            return ast.Parameter(self.span_from(start), name, None, tuple(columns))
        type_ = self.type_name()
        default = self.expr() if self.accept("=") else None
        return ast.Parameter(self.span_from(start), name, type_, None, default)

    def try_lambda(self) -> Expr | None:
        """``(params) { … }``, or None where the bracket opens something else."""
        index = self.i
        close = self._matching(index)
        if close < 0 or self.values[close + 1] != "{" or self.kinds[close + 1] == END:
            return None
        start = self.starts[index]
        params = self.bracketed(self.parameter)
        opened = self.expect("{")
        self.enter(3)
        statements: list[Statement] = []
        body: Expr | None = None
        while not self.at("}"):
            if self.accept(";"):
                continue
            if self.at_statement():
                statements.append(self.statement())
            else:
                if body is not None:
                    self.fail("KQL0015", "A function has one expression, its last.")
                body = self.tabular_or_scalar()
            if not self.at("}"):
                self.expect(";", "between the statements of a function")
        if body is None:
            self.fail_expected("the function's expression")
        self.depth -= 3
        self.close("}", opened)
        return ast.Lambda(self.span_from(start), params, tuple(statements), body)

    def _matching(self, index: int) -> int:
        """The index of the bracket that closes the one at `index`, by a quick look; -1 if there is none soon."""
        if self.values[index + 1] != ")" and self.values[index + 2] != ":" and self.values[index + 1] != "[":
            return -1
        level = 0
        at = index
        while self.kinds[at] != END:
            value = self.values[at]
            if value == "(":
                level += 1
            elif value == ")":
                level -= 1
                if level == 0:
                    return at
            at += 1
        return -1

    # ------------------------------------------------------------------------------------ macro-expand

    def op_macro_expand(self, word: str) -> Operator:
        """``macro-expand [kind=…] group as name ( statements )``."""
        start = self.begin(word)
        params = self.params("kind")
        group = self.primary()
        self.expect("as")
        name = self.name()
        opened = self.expect("(")
        self.enter(3)
        statements: list[Statement] = []
        while not self.at(")"):
            if self.accept(";"):
                continue
            statements.append(self.statement())
        self.depth -= 3
        self.close(")", opened)
        return ast.MacroExpand(self.span_from(start), word, params, group, name, tuple(statements))
