"""What must be there for a query to find anything: filters that need no other row, taken out of a rule's query.

A rule that counts or joins is run window after window, and most windows can't hold what it asks for. ``T | where A | summarize n = count()
by x | where n > 5`` finds nothing where no row of T passes A, and an inner join nothing where one of its sides is empty. Such a filter
looks at each row by itself, so one query tells for all windows at once where it holds. The filters found here may let more through than the
rule does, never less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tocsin.base.errors import KqlError
from tocsin.kql import ast, parse

__all__ = ["Filter", "necessary"]


@dataclass(frozen=True, slots=True)
class Filter:
    """Queries over one table, the strictest first, of which any one that looks at each row by itself may be asked."""

    table: str
    texts: tuple[str, ...]


_TIME = "TimeGenerated"
_CLOCK = re.compile(r"\b(?:now|ago)\s*\(")
_NEEDS_BOTH_SIDES = frozenset({"inner", "innerunique", "leftsemi"})
_NEEDS_LEFT_SIDE = frozenset({*_NEEDS_BOTH_SIDES, "leftouter", "leftanti", "anti", "leftantisemi"})
# Operators that make no row out of none.
_QUIET = (ast.Where, ast.Sort, ast.Top, ast.Take, ast.MvExpand, ast.MvApply, ast.Parse, ast.ParseKv, ast.As, ast.Render)
_QUIET_PROJECTS = frozenset(
    {"project", "extend", "distinct", "project-away", "project-keep", "project-rename", "project-reorder", "serialize"}
)
_DEEPEST = 20


def necessary(query: str) -> list[tuple[Filter, ...]]:
    """Conditions that all hold in every window in which the query gives rows: that one of the filters lets a row through.

    Empty for a query of which nothing can be told. The filters leave the row's TimeGenerated as it is stored.
    """
    try:
        tree = parse(query)
    except KqlError:
        return []
    if not tree.statements or not isinstance(last := tree.statements[-1], ast.ExpressionStatement):
        return []
    if sum(isinstance(s, ast.ExpressionStatement) for s in tree.statements) > 1:
        return []  # the first one's rows are the query's result
    lets = {s.name: s.value for s in tree.statements if isinstance(s, ast.Let)}
    return _Finder(query, query[: last.span[0]], lets).conditions(last.value, 0)


class _Finder:
    def __init__(self, query: str, head: str, lets: Mapping[str, ast.Expr]) -> None:
        self.query, self.head, self.lets = query, head, lets
        self._let_name = re.compile(rf"\b(?:{'|'.join(map(re.escape, lets))})\b") if lets else None

    def conditions(self, node: ast.Expr, depth: int) -> list[tuple[Filter, ...]]:
        if depth > _DEEPEST:
            return []
        if isinstance(node, ast.Paren):
            return self.conditions(node.inner, depth + 1)
        if isinstance(node, ast.Name):
            if node.name in self.lets:
                return self.conditions(self.lets[node.name], depth + 1)
            return [(Filter(node.name, (self._text(node.span, []),)),)]
        if not isinstance(node, ast.Pipeline):
            return []
        found = self._of_source(node, depth)
        for operator in node.operators:
            if isinstance(operator, ast.Join):
                kind = _join_kind(operator)
                if kind not in _NEEDS_LEFT_SIDE:
                    return []
                if kind in _NEEDS_BOTH_SIDES:
                    found = found + self.conditions(operator.right, depth + 1)
            elif not _is_quiet(operator):
                return []
        return found

    def _of_source(self, node: ast.Pipeline, depth: int) -> list[tuple[Filter, ...]]:
        source = node.source
        if isinstance(source, ast.Union):
            alternatives: list[Filter] = []
            for branch in source.tables:
                conditions = self.conditions(branch, depth + 1)
                if not conditions:
                    return []
                alternatives.extend(conditions[0])
            return [tuple(alternatives)]
        if isinstance(source, ast.Operator):
            return []
        inner = self.conditions(source, depth + 1)
        table = self._table(source)
        if table is None:
            return inner
        leading = list(_leading(node.operators))
        if not leading:
            return inner
        span = (source.span[0], leading[-1].span[1])
        own = [self._text(span, [])]
        if cuts := [c for operator in leading for c in self._unsure(operator)]:
            own.append(self._text(span, cuts))
        return [(Filter(table, tuple(own)),)]

    def _table(self, source: ast.Expr) -> str | None:
        """The table that a name stands for, by itself or through a `let` that only filters it; None for anything else."""
        for _ in range(_DEEPEST):
            if not isinstance(source, ast.Name):
                return None
            if source.name not in self.lets:
                return source.name
            value = self.lets[source.name]
            while isinstance(value, ast.Paren):
                value = value.inner
            if isinstance(value, ast.Pipeline):
                if len(list(_leading(value.operators))) < len(value.operators) or isinstance(
                    value.source, ast.Operator
                ):
                    return None
                value = value.source
            source = value
        return None

    def _unsure(self, operator: ast.Operator) -> Iterator[tuple[int, int]]:
        """Parts of a filter that speak of the current time or of something else than the row: true for all that is known."""
        if not isinstance(operator, ast.Where):
            return
        for part in _conjuncts(operator.predicate):
            text = self.query[slice(*part.span)]
            if _CLOCK.search(text) or "|" in text or (self._let_name and self._let_name.search(text)):
                yield part.span

    def _text(self, span: tuple[int, int], cuts: Sequence[tuple[int, int]]) -> str:
        text, at = self.head, span[0]
        for start, end in sorted(cuts):
            text += f"{self.query[at:start]}true"
            at = end
        return text + self.query[at : span[1]]


def _leading(operators: Sequence[ast.Operator]) -> Iterator[ast.Operator]:
    """The filters and computed columns at the front that leave the row's time alone."""
    for operator in operators:
        if isinstance(operator, ast.Where):
            yield operator
        elif isinstance(operator, ast.Project) and operator.keyword == "extend":
            if any(isinstance(i, ast.Named) and _TIME in i.names for i in operator.items):
                return
            yield operator
        else:
            return


def _is_quiet(operator: ast.Operator) -> bool:
    if isinstance(operator, ast.Summarize):
        return bool(operator.by)
    if isinstance(operator, ast.Project):
        return operator.keyword in _QUIET_PROJECTS
    return isinstance(operator, _QUIET)


def _join_kind(operator: ast.Join) -> str:
    kind = operator.params.get("kind")
    if kind is None:
        return "leftouter" if operator.keyword == "lookup" else "innerunique"
    if isinstance(kind, ast.Name):
        return kind.name
    return str(kind.value) if isinstance(kind, ast.Literal) else ""


def _conjuncts(node: ast.Expr) -> Iterator[ast.Expr]:
    if isinstance(node, ast.Binary) and node.op == "and":
        yield from _conjuncts(node.left)
        yield from _conjuncts(node.right)
    elif isinstance(node, ast.Paren):
        yield from _conjuncts(node.inner)
    else:
        yield node
