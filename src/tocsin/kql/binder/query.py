"""A whole query: its statements, and the one tabular expression that is its result."""

from __future__ import annotations

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder
from tocsin.kql.binder.errors import fail
from tocsin.kql.binder.lets import bind_statements
from tocsin.kql.scope import Relation

__all__ = ["bind_query"]


def bind_query(b: Binder, query: ast.Query) -> Relation:
    """Bind the query; its last tabular expression is the result."""
    results = bind_statements(b, query.statements, b.root)
    if not results:
        raise fail("KQL0106", "The query has no tabular expression: nothing to show.", query)
    if len(results) > 1:
        raise fail("KQL0201", "Only one result is given; this is a second tabular expression.", results[1])
    value = results[0].value
    from tocsin.kql.binder.tables import is_table_expression

    if isinstance(value, ast.Pipeline) or is_table_expression(b, value, b.root):
        return b.table(value, b.root)
    raise fail("KQL0106", "The query's result must be a table.", value, "Use 'print' to show a value.")
