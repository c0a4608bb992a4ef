"""What a rule's results are about: groups of rows or rows, and which of their columns say of which group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tocsin.base.errors import KqlError
from tocsin.kql import ast, parse
from tocsin.kql.walk import walk

__all__ = ["TIMES", "Shape", "shape_of"]

TIMES = ("TimeGenerated", "Timestamp")
"""Columns that hold a row's own time."""

_STEADY = (ast.Where, ast.Sort, ast.Top, ast.Take, ast.As, ast.Render)
"""Operators that leave columns as they are."""
_UNSTEADY = frozenset(
    {"now", "ago", "rand", "new_guid", "prev", "next", "row_number", "row_cumsum", "row_window_session"}
)
"""Functions that give something else for the same arguments, by when or in which row they are asked."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a query's results are: groups of rows or rows, whether groups are by time, and the columns that name a group.

    `shown` are the columns of the result that follow from `keys` alone, where the query goes on after it has grouped; `whole` says that each key has
    its part in one of them, so that they name the group.
    """

    groups: bool = False
    by_time: bool = False
    keys: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    whole: bool = False


def shape_of(query: str) -> Shape:
    """The shape of a query's results, by its last `summarize`."""
    try:
        tree = parse(query)
    except (KqlError, RecursionError):
        return Shape()
    last = tree.statements[-1] if tree.statements else None
    value = last.value if isinstance(last, ast.ExpressionStatement) else None
    if not isinstance(value, ast.Pipeline):
        return Shape()
    for place in reversed(range(len(value.operators))):
        operator = value.operators[place]
        if isinstance(operator, ast.Summarize):
            by_time = any(isinstance(n, ast.Name) and n.name in TIMES for e in operator.by for n in walk(e))
            keys: list[str] = []
            for key in operator.by:
                if any(isinstance(n, ast.Name) and n.name in TIMES for n in walk(key)):
                    continue
                if isinstance(key, ast.Name):
                    keys.append(key.name)
                elif isinstance(key, ast.Named):
                    keys.extend(key.names)
                else:
                    return Shape(True, by_time)
            shown = _shown(keys, value.operators[place + 1 :])
            whole = set().union(*shown.values()) == set(keys)
            return Shape(True, by_time, tuple(keys), tuple(sorted(shown)), whole)
    return Shape()


def _shown(keys: Sequence[str], operators: Sequence[ast.Operator]) -> Mapping[str, frozenset[str]]:
    """The columns after these operators that follow from keys alone, each with its keys; none where an operator isn't plain in what it does."""
    known = {key: frozenset([key]) for key in keys}
    for operator in operators:
        if isinstance(operator, ast.Project):
            known = _projected(operator, known)
        elif not isinstance(operator, _STEADY):
            return {}
    return known


def _projected(operator: ast.Project, known: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    match operator.keyword:
        case "project-reorder":
            return dict(known)
        case "project-away" | "project-keep":
            kept = operator.keyword == "project-keep"
            return {n: k for n, k in known.items() if any(_names(item, n) for item in operator.items) is kept}
        case "project" | "distinct":
            made: dict[str, frozenset[str]] = {}
        case "extend" | "serialize" | "project-rename":
            made = dict(known)
        case _:
            return {}
    for item in operator.items:
        match item:
            case ast.Name(name=name):
                made |= {name: known[name]} if name in known else {}
            case ast.Named(names=names, value=value):
                if operator.keyword == "project-rename" and isinstance(value, ast.Name):
                    made.pop(value.name, None)
                follows = _follows(value, known) if len(names) == 1 else frozenset[str]()
                for name in names:
                    made.pop(name, None)
                    made |= {name: follows} if follows else {}
    return made


def _names(item: ast.Expr, column: str) -> bool:
    match item:
        case ast.Name(name=name):
            return name == column
        case ast.Star(pattern=pattern):
            return fnmatchcase(column, pattern)
    return False


def _follows(value: ast.Expr, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The keys from which alone a value follows; none where anything else has a part in it."""
    nodes = list(walk(value))
    names = {n.name for n in nodes if isinstance(n, ast.Name)}
    if not names <= known.keys() or any(isinstance(n, ast.Call) and n.callee in _UNSTEADY for n in nodes):
        return frozenset()
    return frozenset[str]().union(*(known[n] for n in names))
