"""The parser: recursive descent for operators, Pratt for expressions, several faults reported at once.

    cursor       walking the tokens, refusing with prose, going on after a fault
    literals     the text of a literal to its value
    names        names, wildcards, types, schemas
    expressions  scalar expressions and calls                dynamic   the JSON of dynamic(…)
    pipelines    sources, ``|``, the table of operators
    columns, shaping, sources, graphs                        one method an operator, by topic
    statements   let, set, functions, the whole query

To add an operator: a node in `tocsin.kql.ast.operators` and one method with the decorator `operator` in the module of its topic.
"""

from __future__ import annotations

import re

from tocsin.kql import ast
from tocsin.kql.diagnostics import Diagnostic, KqlErrors
from tocsin.kql.parser.cursor import MAX_DEPTH
from tocsin.kql.parser.height import MAX_HEIGHT, height_fault
from tocsin.kql.parser.pipelines import OPERATORS, OperatorInfo
from tocsin.kql.parser.statements import STATEMENTS, Parser

__all__ = ["MAX_DEPTH", "MAX_HEIGHT", "MAX_TEXT", "OPERATORS", "STATEMENTS", "OperatorInfo", "parse", "parse_partial"]

MAX_TEXT = 2_000_000
"""Characters that a query may have; Kusto's own default is the same."""

_HALF = re.compile("[\ud800-\udfff]")
_SURELY_LOW = 100  # depth of brackets times length of chains up to which no tree reaches MAX_HEIGHT


def parse(text: str) -> ast.Query:
    """The syntax tree of a query.

    Raises KqlErrors: everything that is wrong with the text, each with its place and advice.
    """
    query, diagnostics = parse_partial(text)
    if diagnostics:
        raise KqlErrors(diagnostics, text)
    return query


def parse_partial(text: str) -> tuple[ast.Query, tuple[Diagnostic, ...]]:
    """What could be read of a text, and what is wrong with it (nothing where `parse` would succeed). For editors."""
    if len(text) > MAX_TEXT:
        message = f"The query is longer than {MAX_TEXT:,} characters."
        return ast.Query((0, len(text)), ()), (Diagnostic.at(text, (MAX_TEXT, MAX_TEXT + 1), "KQL0004", message),)
    halves: list[Diagnostic] = []
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # One character for another, so that places stay.
        message = f"U+{ord(text[error.start]):04X} is half a character."
        halves.append(Diagnostic.at(text, (error.start, error.start + 1), "KQL0001", message))
        text = _HALF.sub("\ufffd", text)
    parser = Parser(text)
    query = parser.query()
    diagnostics = halves + parser.diagnostics
    if not query.statements and not diagnostics:
        diagnostics.append(Diagnostic.at(text, (len(text), len(text)), "KQL0013", "There is no query here."))
    elif not diagnostics and (parser.deepest + 1) * parser.longest > _SURELY_LOW:
        fault = height_fault(query, text)
        if fault is not None:
            diagnostics.append(fault)
    return query, tuple(diagnostics)
