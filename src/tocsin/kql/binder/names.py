"""Automatic column names: what Kusto calls a column that the query does not name.

The rules are facts of the language, known for each function: a column or a member access names itself (``d.a.b`` is ``d_a_b``), some
functions take their first argument's name, some put a prefix before it, aggregates do so too; everything else is ``Column1`` or, in
print, ``print_0``.
"""

from __future__ import annotations

from tocsin.kql import ast
from tocsin.kql.functions import registry

__all__ = ["result_name"]

FIRST_ARGUMENT = frozenset(
    (
        *(
            "tostring",
            "tohex",
            "todynamic",
            "toobject",
            "tolong",
            "toint",
            "toreal",
            "todouble",
            "todatetime",
            "totimespan",
        ),
        *("totime", "tobool", "toboolean", "todecimal", "toguid", "parse_csv", "parse_json", "parsejson", "parse_xml"),
        *("format_datetime", "format_timespan", "startofday", "bin", "floor", "bin_at", "bin_auto", "split"),
        *("binary_and", "binary_or", "binary_xor", "binary_not", "binary_shift_left", "binary_shift_right"),
        *("bitset_count_ones", "series_fir", "series_iir", "series_outliers", "series_fill_backward"),
        *("series_fill_forward", "series_fill_const", "series_fill_linear", "materialize"),
    )
)
"""Functions whose result is called like their first argument."""

PREFIXED = {
    "strlen": "strlen",
    "string_size": "string_size",
    "dcount_hll": "dcount_hll",
    "percentile_tdigest": "percentile_tdigest",
    "gettype": "type",
    "treepath": "tree",
    "repeat": "repeat",
}
"""Functions whose result is called like their first argument, after a prefix and an underscore."""

_ONLY_ARGUMENT = frozenset(("make_datetime", "make_timespan"))
_FIXED = {
    "node_degree_in": "node_degree_in",
    "node_degree_out": "node_degree_out",
    "hll_merge": "hll_merged_result",
    "tdigest_merge": "tdigests_merge_result",
    "merge_tdigests": "tdigests_merge_result",
}


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
        left = None if isinstance(node.target, ast.Side) else result_name(node.target)
        right = _index_name(node.index)
        if right is None:
            return f"{left}_" if left else None
        return f"{left}_{right}" if left else right
    return _call_name(node) if isinstance(node, ast.Call) else None


def _call_name(node: ast.Call) -> str | None:
    name = node.callee
    if name in _FIXED:
        return _FIXED[name]
    if not node.args:
        return None
    first = node.args[0]
    if name in FIRST_ARGUMENT or (name in _ONLY_ARGUMENT and len(node.args) == 1):
        return result_name(first)
    if name in PREFIXED:
        inner = result_name(first)
        return f"{PREFIXED[name]}_{inner}" if inner else None
    aggregate = registry.aggregate(name)
    if aggregate is not None:
        return (
            result_name(first)
            if aggregate.column_named
            else f"{aggregate.prefix or aggregate.name}_{result_name(first) or ''}"
        )
    if name in ("column_ifexists", "columnifexists"):
        return str(first.value) if isinstance(first, ast.Literal) else None
    return None


def _index_name(node: ast.Expr) -> str | None:
    if isinstance(node, ast.Literal) and node.value is not None and isinstance(node.value, (str, int)):
        return str(node.value)
    if isinstance(node, ast.Unary) and isinstance(node.operand, ast.Literal) and node.op == "-":
        return f"-{node.operand.value}"
    return None
