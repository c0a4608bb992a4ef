"""Tabular operators, by group. Each takes the relation before it and gives the one after it."""

from __future__ import annotations

from collections.abc import Callable

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder
from tocsin.kql.binder.errors import fail, unsupported
from tocsin.kql.scope import Environment, Relation

__all__ = ["apply_operator", "bind_source"]

Apply = Callable[[Binder, Relation, ast.Operator, Environment], Relation]
Source = Callable[[Binder, ast.Operator, Environment], Relation]


def apply_operator(b: Binder, relation: Relation, node: ast.Operator, env: Environment) -> Relation:
    """One stage of a pipeline."""
    apply = _appliers().get(type(node))
    from tocsin.kql.binder.operators import graph

    if apply is None:
        raise unsupported(f"The operator '{node.keyword}'", node)
    if isinstance(relation, graph.Graph) and type(node) not in graph.APPLIERS and not isinstance(node, ast.Render):
        raise fail(
            "KQL0106", f"'{node.keyword}' does not work on a graph.", node, "Make a table of it with graph-to-table."
        )
    return apply(b, relation, node, env)


def bind_source(b: Binder, node: ast.Operator, env: Environment) -> Relation:
    """An operator that stands before the first pipe."""
    b.stages += 1
    source = _sources().get(type(node))
    if source is None:
        raise unsupported(f"'{node.keyword}' as the start of a query", node)
    return source(b, node, env)


_APPLIERS: dict[type, Apply] = {}
_SOURCES: dict[type, Source] = {}


def _appliers() -> dict[type, Apply]:
    if not _APPLIERS:
        _load()
    return _APPLIERS


def _sources() -> dict[type, Source]:
    if not _SOURCES:
        _load()
    return _SOURCES


def _load() -> None:
    from tocsin.kql.binder.operators import (
        expand,
        forks,
        graph,
        grouping,
        joins,
        parsing,
        plugins,
        reducing,
        rows,
        scan,
        series,
        sources,
        tops,
        unions,
    )

    for module in (
        rows,
        forks,
        graph,
        grouping,
        joins,
        unions,
        expand,
        parsing,
        plugins,
        reducing,
        scan,
        series,
        sources,
        tops,
    ):
        _APPLIERS.update(getattr(module, "APPLIERS", {}))
        _SOURCES.update(getattr(module, "SOURCES", {}))
