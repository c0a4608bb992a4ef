"""fork and facet: one input, several results. The first goes on as the query's; the others are handed out beside it."""

from __future__ import annotations

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder
from tocsin.kql.binder.errors import fail
from tocsin.kql.binder.operators.columns import column_name
from tocsin.kql.binder.operators.rows import group
from tocsin.kql.plan import Scalar
from tocsin.kql.scope import BoundColumn, Environment, Relation
from tocsin.kql.types import KqlType

__all__ = ["APPLIERS"]


def _fork(b: Binder, relation: Relation, node: ast.Fork, env: Environment) -> Relation:
    """Each branch works on the same rows."""
    if relation.partition:
        raise fail("KQL0106", "fork gives several results, so it can't stand in a sub-query.", node)
    shared = b.share(relation, materialized=True, weight=b.stages)
    results = [b.operators(b.read(shared, relation), operators, env) for _, operators in node.branches]
    if not results:
        raise fail("KQL0104", "fork needs at least one branch.", node)
    b.more.extend(results[1:])
    return results[0]


def _facet(b: Binder, relation: Relation, node: ast.Facet, env: Environment) -> Relation:
    """The values of each column with their counts, and what `with` makes of the rows."""
    if relation.partition:
        raise fail("KQL0106", "facet gives several results, so it can't stand in a sub-query.", node)
    shared = b.share(relation, materialized=True, weight=b.stages)
    results = []
    for item in node.by:
        reader = b.read(shared, relation)
        name = column_name(item)
        column = reader.column(name) if name is not None else None
        if column is None:
            raise fail("KQL0101", "facet needs columns after 'by'.", item)
        key, count = b.alias(), b.alias()
        columns = [
            BoundColumn(column.name, column.type, key, column.ticks),
            BoundColumn(f"count_{column.name}", KqlType.LONG, count),
        ]
        counted = [(count, Scalar("count(*)", KqlType.LONG, cheap=False))]
        results.append(group(b, reader, [(key, column.scalar())], counted, columns))
    if node.body:
        results.append(b.operators(b.read(shared, relation), node.body, env))
    if not results:
        raise fail("KQL0104", "facet needs columns after 'by'.", node)
    b.more.extend(results[1:])
    return results[0]


APPLIERS = {ast.Fork: _fork, ast.Facet: _facet}
