"""The roots of the syntax tree: what every node is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Expr",
    "Node",
    "Operator",
    "Span",
    "Statement",
]

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Node:
    """Anything with a place in the text."""

    span: Span


@dataclass(frozen=True, slots=True)
class Expr(Node):
    """A scalar expression (or, where a `Pipeline` stands in it, a tabular one)."""


@dataclass(frozen=True, slots=True)
class Operator(Node):
    """One stage. `params` are its ``name=value`` settings such as kind, hint.*, isfuzzy, withsource, as Exprs."""

    keyword: str
    params: dict[str, Expr]


@dataclass(frozen=True, slots=True)
class Statement(Node):
    """One statement of a query."""
