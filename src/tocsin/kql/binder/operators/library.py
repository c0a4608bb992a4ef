"""Plugins that are KQL themselves: a template over the input table, bound in the plugin's place.

So a plugin costs a paragraph (in `plugin_texts`) and has the operators' semantics and speed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import BindError, fail, unknown
from tocsin.kql.binder.operators.plugin_texts import TEXTS, Template
from tocsin.kql.plan import Scalar
from tocsin.kql.scope import Environment, Relation, ScalarValue, TableValue
from tocsin.kql.types import KqlType

__all__ = ["LIBRARY", "Call", "Template", "apply_template", "bind_call", "bind_text", "sort_out"]

LIBRARY = TEXTS

_PERIODS = ("week", "month", "year")
_NAMED_COLUMN = re.compile(r"\b(\w*)\{(\w+):name\}(\w*)(?:\{(\w+):text\})?")


@dataclass(slots=True)
class Call:
    """A call's arguments, sorted out."""

    columns: dict[str, str] = field(default_factory=dict)
    types: dict[str, KqlType] = field(default_factory=dict)
    scalars: dict[str, Scalar] = field(default_factory=dict)
    period: str = ""
    dimensions: list[str] = field(default_factory=list)
    table: TableValue | None = None


def apply_template(b: Binder, relation: Relation, node: ast.Evaluate, template: Template, env: Environment) -> Relation:
    """Bind the template in place of the plugin's call."""
    return bind_call(b, relation, node, template, sort_out(b, relation, node, template, env))


def bind_call(b: Binder, relation: Relation, node: ast.Evaluate, template: Template, call: Call) -> Relation:
    """Bind the template with arguments that are sorted out."""
    text = _fill(b, template.text, call, node)
    inner = Environment(b.root_catalogue)
    for label, value in call.scalars.items():
        inner.declare(label, ScalarValue(value))
    if call.table is not None:
        inner.declare("L", call.table)
    return bind_text(b, relation, text, inner, node, query=template.query)


def bind_text(
    b: Binder, relation: Relation, text: str, inner: Environment, node: ast.Evaluate, *, query: bool = False
) -> Relation:
    """Bind a text of operators over `relation`, or a query in which it is called ``T``; what is wrong is said of the plugin's call.

    A query may give several results: the first is the plugin's, the others are handed out beside it.
    """
    try:
        if not query:
            return b.operators(relation, _operators(text), inner)
        from tocsin.kql.binder.lets import bind_statements

        shared = b.share(relation, materialized=True)
        inner.declare("T", TableValue("T", lambda: b.read(shared, relation)))
        first, *others = [b.table(s.value, inner) for s in bind_statements(b, _statements(text), inner)]
        b.more.extend(others)
        return first
    except BindError as error:
        name = node.call.callee
        raise BindError(error.code, f"In {name}(): {error.message}", node.call.span, error.hint) from None


def sort_out(b: Binder, relation: Relation, node: ast.Evaluate, template: Template, env: Environment) -> Call:
    """The arguments of a call by the template's parameters. Raises BindError for too few, too many or wrong ones."""
    name = node.call.callee
    args = list(node.call.args)
    named = {a.names[0]: a.value for a in args if isinstance(a, ast.Named)}
    args = [a for a in args if not isinstance(a, ast.Named)]
    call = Call()
    if template.defaults and not template.parameters and len(args) <= len(template.defaults):
        named |= {label: a for (label, _), a in zip(template.defaults, args, strict=False)}
        args = []
    if template.table and args:
        call.table = _table(b, relation, args[-1], env)
        args = args[:-1] if call.table is not None else args
    parameters = _present(relation, template.parameters, args, env)
    if len(args) < len(parameters) or (len(args) > len(parameters) and not template.dimensions):
        least = sum(1 for p in template.parameters if not p.endswith("?"))
        raise fail("KQL0104", f"{name}() takes {least} arguments, not {len(args)}.", node.call)
    for parameter, argument in zip(parameters, args, strict=False):
        label = parameter.strip("{}=?")
        if not parameter.startswith("="):
            call.columns[label], call.types[label] = _column(relation, argument)
            continue
        value = b.scalar(argument, Row(env))
        if label == "size" and value.constant and value.type is KqlType.STRING:
            call.period = _period(str(value.value), argument)
        else:
            call.scalars[label] = value
    for label, default in template.defaults:
        call.scalars[label] = b.scalar(named.get(label, _expression(default)), Row(env))
    unknown_name = next((n for n in named if n not in dict(template.defaults)), None)
    if unknown_name is not None:
        raise fail("KQL0104", f"{name}() has no argument named '{unknown_name}'.", node.call)
    call.dimensions = [_column(relation, a)[0] for a in args[len(parameters) :]]
    return call


def _present(relation: Relation, parameters: Sequence[str], args: Sequence[ast.Expr], env: Environment) -> list[str]:
    """The parameters that the call gives: one that may be left out is there when its argument is a scalar and enough follow."""
    scalars = [a for a in args if not _is_column(relation, a, env)]
    needed = sum(1 for p in parameters if p.startswith("=") and not p.endswith("?"))
    spare = len(scalars) - needed
    optional = [p for p in parameters if p.endswith("?")]
    given = set(optional) if spare >= len(optional) else set()
    return [p for p in parameters if not p.endswith("?") or p in given]


def _is_column(relation: Relation, node: ast.Expr, env: Environment) -> bool:
    from tocsin.kql.binder.operators.columns import column_name

    name = column_name(node) if not isinstance(node, ast.Literal) else None
    return name is not None and relation.column(name) is not None and env.lookup(name) is None


def _table(b: Binder, relation: Relation, node: ast.Expr, env: Environment) -> TableValue | None:
    from tocsin.kql.binder.tables import is_table_expression

    if _is_column(relation, node, env) or not is_table_expression(b, node, env):
        return None
    return TableValue("L", lambda: b.table(node, env))


def _period(text: str, node: ast.Expr) -> str:
    if text.lower() not in _PERIODS:
        raise unknown("KQL0105", "period", text, _PERIODS, node)
    return text.lower()


def _column(relation: Relation, node: ast.Expr) -> tuple[str, KqlType]:
    from tocsin.kql.binder.operators.columns import column_name

    name = column_name(node)
    if name is None:
        raise fail("KQL0105", "A column's name is expected here.", node)
    column = relation.column(name)
    if column is None:
        raise unknown("KQL0101", "column", name, (c.name for c in relation.columns), node)
    return _quoted(column.name), column.type


def _quoted(name: str) -> str:
    return "['" + name.replace("\\", "\\\\").replace("'", "\\'") + "']"


def _fill(b: Binder, text: str, call: Call, node: ast.Evaluate) -> str:
    text = _periods(b, text, call, node)
    text = _NAMED_COLUMN.sub(lambda m: _made_name(m, call, node), text)
    for label, column in call.columns.items():
        text = text.replace(f"{{{label}:type}}", str(call.types[label])).replace(f"{{{label}}}", column)
    dims = call.dimensions
    text = text.replace("{dims or one}", ", ".join([*dims, "['$k'] = 1"]))
    text = text.replace("{, dims}", "".join(f", {d}" for d in dims))
    text = text.replace("{, dims asc}", "".join(f", {d} asc" for d in dims))
    text = text.replace("{dims asc,}", "".join(f"{d} asc, " for d in dims))
    text = text.replace("{or next dims differ}", "".join(f" or next({d}) != {d}" for d in dims))
    return text.replace("{or dims changed}", "".join(f" or prev({d}) != {d}" for d in dims))


def _made_name(match: re.Match[str], call: Call, node: ast.Evaluate) -> str:
    """A column's name made of arguments: ``from_{time:name}``, ``rolling_{bins:text}_percentile_{value:name}_{percent:text}``."""
    before, label, between, last = match.groups()
    column = call.columns[label][2:-2].replace("\\'", "'").replace("\\\\", "\\")
    return _quoted(f"{before}{column}{between}{_plain(call, last, node) if last else ''}")


def _plain(call: Call, label: str, node: ast.Evaluate) -> str:
    value = call.scalars[label]
    if not value.constant or not isinstance(value.value, (int, float)):
        raise fail("KQL0107", f"{node.call.callee}() needs a constant number.", node.call)
    number = float(value.value)
    return str(int(number)) if number.is_integer() else repr(number)


def _periods(b: Binder, text: str, call: Call, node: ast.Evaluate) -> str:
    """Fill in what a period is: spans of a size counted from the start, or weeks, months and years of the calendar."""
    dated = "start" in call.scalars
    text = text.replace("{where in range}", "where {time} between (start .. end) |" if dated else "")
    text = text.replace("{where cohort}", "| where ['$from'] == {cohort}" if "cohort" in call.scalars else "")
    lookback = "| join kind=leftanti (L | summarize by {id}) on {id}" if call.table is not None else ""
    text = re.sub(r"\{(\w+):text\}(?=_percentile)", lambda m: _plain(call, m[1], node), text)
    text = text.replace("{without lookback}", lookback)
    if "{range}" in text and not dated:
        # Without a range all rows are looked at: from the first row's period to the last row.
        start = "bin({time}, size)" if not call.period else f"startof{call.period}({{time}})"
        first = f"let start = toscalar(T | summarize min({start})); let end = toscalar(T | summarize max({{time}}));"
        text, dated = text.replace("{range}", first), True
    text = text.replace("{range}", "")
    period = call.period
    if not period:
        bins = "bin_at({0}, size, start)" if dated else "bin({0}, size)"
        fill = {
            "bin": bins.format("{time}"),
            "cohort": bins.format("cohort"),
            "back": "(['$bin'] - size)",
            "from": "start",
            "windows": "range ['$w'] from start to end step size",
        }
    else:
        if period == "week":
            call.scalars.setdefault("size", b.scalar(_expression("7d"), Row(Environment(b.root_catalogue))))
        elif re.search(r"\bsize\b", text):
            raise fail(
                "KQL0201",
                f"{node.call.callee}() with periods of a {period} is not supported: its windows are spans of a fixed length.",
                node.call,
                "Give the step as a timespan or as 'week'.",
            )
        fill = {
            "bin": f"startof{period}({{time}})",
            "cohort": f"startof{period}(cohort)",
            "back": f"startof{period}(['$bin'], -1)",
            "from": f"startof{period}(start)",
            "windows": f"range ['$i'] from 0 to datetime_diff('{period}', end, start) step 1"
            f" | project ['$w'] = startof{period}(start, toint(['$i']))",
        }
    for label, filling in fill.items():
        text = text.replace(f"{{{label}}}", filling)
    return text


@lru_cache(maxsize=256)
def _operators(text: str) -> tuple[ast.Operator, ...]:
    from tocsin.kql.parser import parse

    statement = parse(f"T | {text.strip()}").statements[0]
    assert isinstance(statement, ast.ExpressionStatement)
    assert isinstance(statement.value, ast.Pipeline)
    return statement.value.operators


@lru_cache(maxsize=256)
def _statements(text: str) -> tuple[ast.Statement, ...]:
    from tocsin.kql.parser import parse

    return tuple(parse(text).statements)


def _expression(text: str) -> ast.Expr:
    from tocsin.kql.parser import parse

    statement = parse(f"print {text}").statements[0]
    assert isinstance(statement, ast.ExpressionStatement)
    assert isinstance(statement.value, ast.Pipeline)
    source = statement.value.source
    assert isinstance(source, ast.Project)
    return source.items[0]
