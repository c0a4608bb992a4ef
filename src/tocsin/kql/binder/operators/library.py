"""Plugins that are KQL themselves: a template over the input table, bound in the plugin's place.

A template is a run of operators. ``{name}`` stands for a column argument (or several, for the dimensions at the end), and the constant
arguments are scalars under their own names. So a plugin costs a paragraph here and has the operators' semantics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import BindError, fail, unknown
from tocsin.kql.scope import Environment, Relation, ScalarValue
from tocsin.kql.types import KqlType

__all__ = ["LIBRARY", "Template", "apply_template"]


@dataclass(frozen=True, slots=True)
class Template:
    """`columns` and `constants` are the parameters in order (a constant's name starts with ``=``); dimensions may follow."""

    parameters: tuple[str, ...]
    text: str
    dimensions: bool = True
    defaults: tuple[tuple[str, str], ...] = ()


LIBRARY: dict[str, Template] = {
    # Every row counts in the bins of the windows that it lies in: its own bin and those that look back to it.
    "sliding_window_counts": Template(
        ("{id}", "{time}", "=start", "=end", "=lookback", "=size"),
        """
        extend ['$bin'] = bin_at({time}, size, start)
        | where ['$bin'] <= end and ['$bin'] > start - lookback
        | mv-expand ['$bin'] = range(['$bin'], ['$bin'] + lookback - size, size) to typeof({time:type})
        | where ['$bin'] between (start .. end)
        | summarize Count = count(), Dcount = dcount({id}) by {time} = ['$bin'] {, dims}
        | sort by {time} asc
        """,
    ),
    # A session begins with a value's first row and after each pause that is as long as the look-back window.
    "session_count": Template(
        ("{id}", "{time}", "=start", "=end", "=size", "=lookback"),
        """
        where {time} between (start .. end)
        | summarize by {id}, {time} {, dims}
        | sort by {id} asc {, dims asc}, {time} asc
        | extend ['$new'] = isnull(prev({time})) or prev({id}) != {id} {or dims changed} or {time} - prev({time}) >= lookback
        | where ['$new']
        | summarize count_sessions = count() by {time} = bin({time}, size) {, dims}
        | sort by {time} asc
        """,
    ),
    "activity_engagement": Template(
        ("{id}", "{time}", "=start", "=end", "=inner", "=outer"),
        """
        extend ['$bin'] = bin_at({time}, inner, start)
        | where ['$bin'] <= end and ['$bin'] > start - outer
        | summarize by {id}, ['$own'] = ['$bin'] {, dims}
        | mv-expand ['$bin'] = range(['$own'], ['$own'] + outer - inner, inner) to typeof({time:type})
        | where ['$bin'] between (start .. end)
        | summarize dcount_activities_inner = dcountif({id}, ['$own'] == ['$bin']), dcount_activities_outer = dcount({id})
            by {time} = ['$bin'] {, dims}
        | where dcount_activities_inner > 0
        | extend activity_ratio = todouble(dcount_activities_inner) / dcount_activities_outer
        | sort by {time} asc
        """,
    ),
    # Of each value and bin one row; a value is new in the first bin that it has.
    "activity_counts_metrics": Template(
        ("{id}", "{time}", "=start", "=end", "=size"),
        """
        extend ['$bin'] = bin_at({time}, size, start)
        | where ['$bin'] between (start .. end)
        | summarize ['$rows'] = count() by {id}, ['$bin'] {, dims}
        | sort by {id} asc {, dims asc}, ['$bin'] asc
        | extend ['$new'] = isnull(prev(['$bin'])) or prev({id}) != {id} {or dims changed}
        | summarize ['count'] = sum(['$rows']), ['dcount'] = count(), new_dcount = countif(['$new'])
            by {time} = ['$bin'] {, dims}
        | sort by {dims asc,} {time} asc
        | extend aggregated_dcount = row_cumsum(new_dcount, isnull(prev({time})) {or dims changed})
        | sort by {time} asc
        """,
    ),
    "schema_merge": Template(
        (),
        """
        summarize low = min(ColumnOrdinal), high = max(ColumnOrdinal), DataType = take_any(DataType),
            ColumnType = take_any(ColumnType) by ColumnName
        | sort by high asc
        | extend wrong = PreserveOrder and low != high
        | project ColumnName, ColumnOrdinal = iff(wrong, long(-1), row_number() - 1),
            DataType = iff(wrong, "ERROR(unknown CSL type:ERROR(columns are out of order))", DataType),
            ColumnType = iff(wrong, "ERROR(columns are out of order)", ColumnType)
        """,
        dimensions=False,
        defaults=(("PreserveOrder", "true"),),
    ),
}


def apply_template(b: Binder, relation: Relation, node: ast.Evaluate, template: Template, env: Environment) -> Relation:
    """Bind the template in place of the plugin's call."""
    name = node.call.callee
    inner = Environment(b.root_catalogue)
    args = list(node.call.args)
    named = {a.names[0]: a.value for a in args if isinstance(a, ast.Named)}
    args = [a for a in args if not isinstance(a, ast.Named)]
    if len(args) < len(template.parameters) or (len(args) > len(template.parameters) and not template.dimensions):
        raise fail("KQL0104", f"{name}() takes {len(template.parameters)} arguments, not {len(args)}.", node.call)
    columns: dict[str, str] = {}
    types: dict[str, KqlType] = {}
    for parameter, argument in zip(template.parameters, args, strict=False):
        if parameter.startswith("="):
            inner.declare(parameter[1:], ScalarValue(b.scalar(argument, Row(env))))
        else:
            columns[parameter[1:-1]], types[parameter[1:-1]] = _column(relation, argument)
    for label, default in template.defaults:
        value = b.scalar(named[label], Row(env)) if label in named else b.scalar(_expression(default), Row(env))
        inner.declare(label, ScalarValue(value))
    dimensions = [_column(relation, a)[0] for a in args[len(template.parameters) :]]
    text = _fill(template.text, columns, types, dimensions)
    try:
        return b.operators(relation, _operators(text), inner)
    except BindError as error:
        raise BindError(error.code, f"In {name}(): {error.message}", node.call.span, error.hint) from None


def _column(relation: Relation, node: ast.Expr) -> tuple[str, KqlType]:
    from tocsin.kql.binder.operators.rows import column_name

    name = column_name(node)
    column = relation.column(name) if name is not None else None
    if column is None:
        raise unknown("KQL0101", "column", name or "?", (c.name for c in relation.columns), node)
    return _quoted(column.name), column.type


def _quoted(name: str) -> str:
    return "['" + name.replace("\\", "\\\\").replace("'", "\\'") + "']"


def _fill(text: str, columns: dict[str, str], types: dict[str, KqlType], dimensions: Sequence[str]) -> str:
    for label, column in columns.items():
        text = text.replace(f"{{{label}:type}}", str(types[label])).replace(f"{{{label}}}", column)
    text = text.replace("{, dims}", "".join(f", {d}" for d in dimensions))
    text = text.replace("{, dims asc}", "".join(f", {d} asc" for d in dimensions))
    text = text.replace("{dims asc,}", "".join(f"{d} asc, " for d in dimensions))
    return text.replace("{or dims changed}", "".join(f" or prev({d}) != {d}" for d in dimensions))


@lru_cache(maxsize=256)
def _operators(text: str) -> tuple[ast.Operator, ...]:
    from tocsin.kql.parser import parse

    statement = parse(f"T | {text.strip()}").statements[0]
    assert isinstance(statement, ast.ExpressionStatement)
    assert isinstance(statement.value, ast.Pipeline)
    return statement.value.operators


def _expression(text: str) -> ast.Expr:
    from tocsin.kql.parser import parse

    statement = parse(f"print {text}").statements[0]
    assert isinstance(statement, ast.ExpressionStatement)
    assert isinstance(statement.value, ast.Pipeline)
    source = statement.value.source
    assert isinstance(source, ast.Project)
    return source.items[0]
