"""evaluate: basket, autocluster and diffpatterns: what many rows have in common, or what sets two sets of rows apart.

SQL numbers the frequent values of each column and sums up rows of the same numbers; the search over what is left is
`functions.python.patterns`. Counts are exact. Kusto samples and says so; which patterns autocluster and diffpatterns show is their own
choice by the documentation, and here the one told in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail, unknown
from tocsin.kql.binder.operators.columns import column_name
from tocsin.kql.binder.typing_rules import convert
from tocsin.kql.emit.duckdb import scalars
from tocsin.kql.emit.duckdb.literals import constant, text
from tocsin.kql.plan import Custom, OrderKey, Scalar
from tocsin.kql.scope import BoundColumn, Environment, Relation, unique_name
from tocsin.kql.types import KqlType

__all__ = ["LIMIT_ERROR", "PLUGINS"]

COLUMN_LIMIT = 64
"""Columns that a search looks at."""
LIMIT_ERROR = "KQL0110"
"""What an error of the running query begins with when a search had to give up."""

_LEAST_SHARE = 0.05
"""The smallest share of the rows that a pattern of autocluster covers."""
_TOO_MANY = (
    f"{LIMIT_ERROR} {{name}}() found too many patterns. Give it fewer columns with 'project', or a higher threshold."
)


@dataclass(slots=True)
class _Arguments:
    """The arguments after the leading ones, by place; '~' stands for the default."""

    given: list[ast.Expr | None]

    def at(self, place: int) -> ast.Expr | None:
        """The argument at a place, None for the default."""
        return self.given[place] if place < len(self.given) else None

    def rest(self, place: int) -> list[ast.Expr]:
        """Those from a place on."""
        return [a for a in self.given[place:] if a is not None]


def _arguments(b: Binder, args: Sequence[ast.Expr], relation: Relation, env: Environment) -> _Arguments:
    given: list[ast.Expr | None] = []
    for argument in args:
        name = column_name(argument) if not isinstance(argument, ast.Literal) else None
        if name is not None and relation.column(name) is not None:
            given.append(argument)
            continue
        value = b.scalar(argument, Row(env))
        given.append(None if value.constant and value.value == "~" else argument)
    return _Arguments(given)


def _number(b: Binder, node: ast.Expr | None, env: Environment, default: float, low: float, high: float) -> float:
    if node is None:
        return default
    value = b.scalar(node, Row(env))
    if not value.constant or isinstance(value.value, bool) or not isinstance(value.value, (int, float)):
        raise fail("KQL0107", "A constant number is needed here.", node)
    if not low <= value.value <= high:
        raise fail("KQL0105", f"This must be a number from {low:g} to {high:g}.", node)
    return float(value.value)


def _weight(relation: Relation, node: ast.Expr | None) -> BoundColumn | None:
    if node is None:
        return None
    name = column_name(node)
    column = relation.column(name) if name is not None else None
    if column is None:
        raise unknown("KQL0101", "column", name or "?", (c.name for c in relation.columns), node)
    if not column.type.is_numeric:
        raise fail("KQL0105", f"Weights are numbers; '{column.name}' is a {column.type}.", node)
    return column


def _wildcards(b: Binder, nodes: Sequence[ast.Expr], env: Environment) -> dict[KqlType, Scalar]:
    values = {}
    for node in nodes:
        value = b.scalar(node, Row(env))
        if not value.constant:
            raise fail("KQL0107", "A wildcard is a constant.", node)
        values[value.type] = value
    return values


@dataclass(slots=True)
class _Search:
    """What a plugin asks for."""

    name: str
    relation: Relation
    columns: list[BoundColumn]
    options: list[float]
    weight: BoundColumn | None
    wildcards: dict[KqlType, Scalar]
    split: BoundColumn | None = None
    values: tuple[str, str] = ("", "")


def _bind(b: Binder, search: _Search, node: ast.Evaluate) -> Relation:
    """The search as a plan: one row for each pattern."""
    if not search.columns:
        raise fail("KQL0104", f"{search.name}() needs columns to look at.", node.call)
    if len(search.columns) > COLUMN_LIMIT:
        raise fail(
            "KQL0110",
            f"{search.name}() looks at {COLUMN_LIMIT} columns at most; the table has {len(search.columns)}.",
            node.call,
            "Choose those of interest with 'project'.",
        )
    labels = _LABELS[search.split is not None]
    facts = [BoundColumn(name, kind, b.alias()) for name, kind, _ in labels]
    taken = {c.name for c in facts}
    columns = list(facts)
    for column in search.columns:
        name = unique_name(column.name, taken)
        taken.add(name)
        columns.append(BoundColumn(name, column.type, b.alias(), column.ticks))
    aliases = [c.alias for c in columns]
    needed = [*search.columns, *(c for c in (search.weight, search.split) if c is not None)]

    def build(names: Sequence[str]) -> str:
        return _sql(search, names[0], aliases)

    plan = Custom(frozenset(aliases), [(search.relation.plan, frozenset(c.alias for c in needed))], build)
    return Relation(plan, tuple(columns), (OrderKey(aliases[0]),))


_LABELS: dict[bool, list[tuple[str, KqlType, str]]] = {
    False: [
        ("SegmentId", KqlType.LONG, "i"),
        ("Count", KqlType.LONG, "round(a)::BIGINT"),
        ("Percent", KqlType.REAL, "round(100 * a / total_a, 1)"),
    ],
    True: [
        ("SegmentId", KqlType.LONG, "i"),
        ("CountA", KqlType.LONG, "round(a)::BIGINT"),
        ("CountB", KqlType.LONG, "round(b)::BIGINT"),
        ("PercentA", KqlType.REAL, "round(100 * a / total_a, 2)"),
        ("PercentB", KqlType.REAL, "round(100 * b / total_b, 2)"),
        ("PercentDiffAB", KqlType.REAL, "round(abs(100 * a / total_a - 100 * b / total_b), 2)"),
    ],
}
"""The columns before the table's own, by whether there are two sets, and what computes them."""


def _sql(search: _Search, source: str, aliases: Sequence[str]) -> str:
    width = len(search.columns)
    weight = f"greatest(coalesce(({search.weight.alias})::DOUBLE, 0), 0)" if search.weight is not None else "1::DOUBLE"
    a, b, where = weight, "0::DOUBLE", ""
    if search.split is not None:
        label = convert(search.split.scalar(), KqlType.STRING).sql
        first, second = (text(v) for v in search.values)
        a, b = (f"CASE WHEN {label} = {v} THEN {weight} ELSE 0 END" for v in (first, second))
        where = f" WHERE {label} IN ({first}, {second})"
    # JSON is compared as its text.
    cells = [f"({c.alias})::VARCHAR" if c.type is KqlType.DYNAMIC else c.alias for c in search.columns]
    own = ", ".join(f"{cell} AS v{i}" for i, cell in enumerate(cells))
    threshold = repr(search.options[0])
    ctes = [
        f"cells AS MATERIALIZED (SELECT {own}, {a} AS a, {b} AS b FROM {source}{where})",
        "totals AS MATERIALIZED (SELECT sum(a) AS total_a, sum(b) AS total_b FROM cells)",
    ]
    enough = f"sum(a) > 0 AND sum(a) >= {threshold} * any_value(total_a)"
    if search.split is not None:
        enough = f"({enough} OR sum(b) > 0 AND sum(b) >= {threshold} * any_value(total_b))"
    ctes += [
        f"i{i} AS MATERIALIZED (SELECT v{i}, row_number() OVER (ORDER BY n DESC, v{i}) AS code FROM"
        f" (SELECT v{i}, sum(a + b) AS n FROM cells, totals GROUP BY v{i} HAVING {enough}))"
        for i in range(width)
    ]
    codes = ", ".join(f"coalesce(i{i}.code, 0)::BIGINT AS k{i}" for i in range(width))
    joins = "".join(f" LEFT JOIN i{i} ON i{i}.v{i} IS NOT DISTINCT FROM cells.v{i}" for i in range(width))
    options = ", ".join(repr(o) for o in search.options)
    keys = ", ".join(f"k{i}" for i in range(width))
    ctes += [
        f"coded AS (SELECT {codes}, a, b FROM cells{joins})",
        f"summed AS (SELECT {keys}, sum(a) AS a, sum(b) AS b FROM coded GROUP BY ALL)",
        (
            f"packed AS MATERIALIZED (SELECT k_patterns({text(search.name)}, flatten(list([{keys}])), list(a), list(b),"
            f" [{options}]::DOUBLE[]) AS r FROM summed)"
        ),
        (
            f"checked AS (SELECT CASE WHEN len(r) = 1 THEN error({text(_TOO_MANY.format(name=search.name))}) ELSE r END AS r"
            " FROM packed)"
        ),
        (
            f"patterns AS (SELECT i, list_slice(r, i * {width + 2} + 1, (i + 1) * {width + 2}) AS p"
            f" FROM (SELECT unnest(range(len(r) // {width + 2})) AS i, r FROM checked))"
        ),
        f"counted AS (SELECT i, p, p[{width + 1}] AS a, p[{width + 2}] AS b FROM patterns)",
    ]
    shown = [
        f"{sql} AS {alias}" for (_, _, sql), alias in zip(_LABELS[search.split is not None], aliases, strict=False)
    ]
    for i, (column, alias) in enumerate(zip(search.columns, aliases[-width:], strict=True)):
        wildcard = search.wildcards.get(column.type) or constant(column.type, None)
        if column.type is KqlType.DATETIME:
            wildcard = scalars.to_ticks(wildcard) if column.ticks else scalars.micros(wildcard)
        value = f"(i{i}.v{i})::JSON" if column.type is KqlType.DYNAMIC else f"i{i}.v{i}"
        shown.append(f"CASE WHEN p[{i + 1}] = 0 THEN {wildcard.sql} ELSE {value} END AS {alias}")
    back = "".join(f" LEFT JOIN i{i} ON i{i}.code = p[{i + 1}]::BIGINT" for i in range(width))
    return f"WITH {', '.join(ctes)} SELECT {', '.join(shown)} FROM counted CROSS JOIN totals{back}"


def _basket(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """Frequent patterns: threshold, weight column, dimensions, wildcards."""
    given = _arguments(b, node.call.args, relation, env)
    weight = _weight(relation, given.at(1))
    options = [_number(b, given.at(0), env, 0.05, 0.015, 1), _number(b, given.at(2), env, 5, 1, COLUMN_LIMIT)]
    columns = [c for c in relation.visible() if c != weight]
    return _bind(b, _Search("basket", relation, columns, options, weight, _wildcards(b, given.rest(3), env)), node)


def _autocluster(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """A few telling patterns: the weight of covering, weight column, seeds, wildcards."""
    given = _arguments(b, node.call.args, relation, env)
    weight = _weight(relation, given.at(1))
    size, seeds = _number(b, given.at(0), env, 0.5, 0, 1), _number(b, given.at(2), env, 25, 1, 1000)
    options = [_LEAST_SHARE, float(COLUMN_LIMIT), size, seeds]
    columns = [c for c in relation.visible() if c != weight]
    return _bind(b, _Search("autocluster", relation, columns, options, weight, _wildcards(b, given.rest(3), env)), node)


def _diffpatterns(b: Binder, relation: Relation, node: ast.Evaluate, env: Environment) -> Relation:
    """What sets rows of one value of a column apart from those of another."""
    args = node.call.args
    if len(args) < 3:
        raise fail("KQL0104", "diffpatterns() needs a column and two of its values.", node.call)
    name = column_name(args[0])
    split = relation.column(name) if name is not None else None
    if split is None:
        raise unknown("KQL0101", "column", name or "?", (c.name for c in relation.columns), args[0])
    values = [b.scalar(a, Row(env)) for a in args[1:3]]
    if any(not v.constant for v in values):
        raise fail("KQL0107", "diffpatterns() needs the two values as constants.", node.call)
    first, second = (str(v.value) if v.type is KqlType.STRING else convert(v, KqlType.STRING).sql for v in values)
    given = _arguments(b, args[3:], relation, env)
    weight = _weight(relation, given.at(0))
    options = [
        _number(b, given.at(1), env, 0.05, 0.015, 1),
        _number(b, given.at(2), env, COLUMN_LIMIT, 1, COLUMN_LIMIT),
    ]
    columns = [c for c in relation.visible() if c not in (weight, split)]
    search = _Search(
        "diffpatterns", relation, columns, options, weight, _wildcards(b, given.rest(3), env), split, (first, second)
    )
    return _bind(b, search, node)


PLUGINS: dict[str, Callable[[Binder, Relation, ast.Evaluate, Environment], Relation]] = {
    "basket": _basket,
    "autocluster": _autocluster,
    "diffpatterns": _diffpatterns,
}
"""Name → what binds its call."""
