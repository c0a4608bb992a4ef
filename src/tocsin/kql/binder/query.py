"""A whole query: its statements, and the one tabular expression that is its result."""

from __future__ import annotations

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder
from tocsin.kql.binder.errors import fail
from tocsin.kql.binder.lets import bind_statements
from tocsin.kql.binder.operators.graph import Graph, results_of
from tocsin.kql.scope import Relation

__all__ = ["bind_query"]


def bind_query(b: Binder, query: ast.Query) -> Relation:
    """Bind the query; its first tabular expression is the result, what further ones give is in `Binder.more`."""
    results = bind_statements(b, query.statements, b.root)
    if not results:
        raise fail("KQL0106", "The query has no tabular expression: nothing to show.", query)
    first = _result(b, results[0])
    more, b.more = b.more, []
    for statement in results[1:]:
        more.append(_result(b, statement))
        more.extend(b.more)
        b.more = []
    b.more = more
    return first


def _result(b: Binder, statement: ast.ExpressionStatement) -> Relation:
    from tocsin.kql.binder.tables import is_table_expression

    value = statement.value
    if isinstance(value, ast.Pipeline) or is_table_expression(b, value, b.root):
        relation = b.table(value, b.root)
        if isinstance(relation, Graph):
            relation, *others = results_of(b, relation)
            b.more.extend(others)
        return relation
    raise fail("KQL0106", "The query's result must be a table.", value, "Use 'print' to show a value.")
