"""Statements, and the query that they make."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.kql.ast.expressions import Parameter
from tocsin.kql.ast.nodes import Expr, Node, Statement

__all__ = [
    "Alias",
    "DeclareParameters",
    "DeclarePattern",
    "ExpressionStatement",
    "Let",
    "Query",
    "Restrict",
    "SetOption",
]


@dataclass(frozen=True, slots=True)
class Let(Statement):
    """``let name = value``; the value is an Expr, a Pipeline or a Lambda."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class SetOption(Statement):
    """``set name [= value]``."""

    name: str
    value: Expr | None


@dataclass(frozen=True, slots=True)
class Alias(Statement):
    """``alias database name = cluster(…).database(…)``."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Restrict(Statement):
    """``restrict access to (…)``."""

    entities: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class DeclareParameters(Statement):
    """``declare query_parameters (…)``."""

    params: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class DeclarePattern(Statement):
    """``declare pattern …``: kept as text; the binder reads it."""

    name: str


@dataclass(frozen=True, slots=True)
class ExpressionStatement(Statement):
    """The tabular expression that is the query's result."""

    value: Expr


@dataclass(frozen=True, slots=True)
class Query(Node):
    """A whole query text."""

    statements: tuple[Statement, ...]
