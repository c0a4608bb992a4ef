"""How high a tree is: whoever walks one recursively relies on the bound."""

from __future__ import annotations

from tocsin.kql.ast import Node, Query
from tocsin.kql.diagnostics import Diagnostic
from tocsin.kql.walk import children

__all__ = ["MAX_HEIGHT", "TOO_HIGH", "height_fault"]

MAX_HEIGHT = 250
"""Nodes on the longest way from the query to a leaf. Brackets are bounded by `MAX_DEPTH`, this bounds chains such as ``a + b + …``."""


TOO_HIGH = "Give parts of it names with 'let' or 'extend'."
"""The advice that goes with it."""


def height_fault(query: Query, text: str) -> Diagnostic | None:
    """The fault of a tree that is too high, at its first node beyond the bound; None where all is well."""
    stack: list[tuple[Node, int]] = [(query, 0)]
    while stack:
        node, level = stack.pop()
        if level > MAX_HEIGHT:
            return Diagnostic.at(
                text,
                node.span,
                "KQL0020",
                "This expression has too many parts in a row.",
                hint=TOO_HIGH,
            )
        stack.extend((child, level + 1) for child in children(node))
    return None
