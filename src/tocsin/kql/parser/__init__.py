"""The parser: hand-written, recursive descent for operators, Pratt for expressions, several faults reported at once."""

from __future__ import annotations

from tocsin.kql import ast
from tocsin.kql.diagnostics import Diagnostic, KqlErrors
from tocsin.kql.parser.cursor import MAX_DEPTH
from tocsin.kql.parser.expressions import MAX_HEIGHT
from tocsin.kql.parser.operators import OPERATORS
from tocsin.kql.parser.statements import Parser

__all__ = ["MAX_DEPTH", "MAX_HEIGHT", "MAX_TEXT", "OPERATORS", "parse"]

MAX_TEXT = 2_000_000
"""Characters that a query may have."""


def parse(text: str) -> ast.Query:
    """The syntax tree of a query.

    Raises KqlErrors: everything that is wrong with the text, each with its place and advice.
    """
    if len(text) > MAX_TEXT:
        span = (MAX_TEXT, MAX_TEXT + 1)
        raise KqlErrors((Diagnostic.at(text, span, "KQL0022", f"A query has at most {MAX_TEXT:,} characters."),), text)
    parser = Parser(text)
    query = parser.query()
    if any(d.severity == "error" for d in parser.diagnostics):
        raise KqlErrors(tuple(parser.diagnostics), text)
    if not query.statements:
        raise KqlErrors((Diagnostic.at(text, (0, len(text)), "KQL0016", "There is no query here."),), text)
    return query
