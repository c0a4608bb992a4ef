"""Automatic column names: what Kusto calls a column that the query does not name.

The rules are facts of the language (documented per function as the result's name kind): a column or member access names itself (``d.a.b`` is
``d_a_b``), some functions take their first argument's name, aggregates put a prefix before it, everything else is ``Column1`` or, in print, ``print_0``.
"""

from __future__ import annotations

from tocsin.kql import ast

__all__ = ["automatic_name", "result_name"]

FIRST_ARGUMENT = frozenset(
    """
    bin floor bin_at bin_auto startofday split tostring tohex todynamic parse_json parsejson toobject tobool toboolean todatetime todecimal
    todouble toreal toguid toint tolong totimespan totime make_timespan datetime_local_to_utc
    datetime_utc_to_local materialize toscalar series_fir ceiling
    """.split()
)
"""Functions whose result is called like their first argument."""


def result_name(node: ast.Expr) -> str | None:
    """The name an expression gives to its column, or None when it has none of its own."""
    if isinstance(node, ast.Paren):
        return result_name(node.inner)
    if isinstance(node, ast.Named):
        return node.names[0] if node.names else None
    if isinstance(node, ast.Ordered):
        return result_name(node.value)
    if isinstance(node, ast.Name):
        return node.name
    if isinstance(node, ast.Member):
        left = None if isinstance(node.target, ast.Side) else result_name(node.target)
        return f"{left}_{node.name}" if left else node.name
    if isinstance(node, ast.Index):
        left = result_name(node.target)
        right = _index_name(node.index)
        if right is None:
            return f"{left}_" if left else None
        return f"{left}_{right}" if left else right
    if isinstance(node, ast.Call) and node.callee in FIRST_ARGUMENT and node.args:
        return result_name(node.args[0])
    return None


def _index_name(node: ast.Expr) -> str | None:
    if isinstance(node, ast.Literal) and node.value is not None and isinstance(node.value, (str, int)):
        return str(node.value)
    if isinstance(node, ast.Unary) and isinstance(node.operand, ast.Literal) and node.op == "-":
        return f"-{node.operand.value}"
    return None


def automatic_name(node: ast.Expr, prefix: str, number: int) -> str:
    """`result_name`, or the numbered default of the operator (``Column`` from 1, ``print_`` from 0)."""
    return result_name(node) or f"{prefix}{number}"
