"""Takes a rule's own look-back out of its query.

Most rules begin with ``where TimeGenerated > ago(1h)``. A run that goes over all rows once, whatever their age, must not ask that: a row
is recent in the run that follows it. Where a rule looks back at least as far as it is often run, every row is recent in some run, so
leaving the condition out gives the same rows as all runs together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from tocsin.base.errors import KqlError
from tocsin.kql import ast, parse
from tocsin.kql.types import KqlType

__all__ = ["without_recency"]

_TIMES = frozenset({"TimeGenerated", "Timestamp"})


def without_recency(query: str, frequency: timedelta) -> str | None:
    """The query without its leading conditions on recent time; None where it has none, or looks back less far than `frequency`."""
    try:
        tree = parse(query)
    except (KqlError, RecursionError):
        return None
    last = tree.statements[-1] if tree.statements else None
    if not isinstance(last, ast.ExpressionStatement) or not isinstance(last.value, ast.Pipeline):
        return None
    spans = {
        s.name: s.value.value
        for s in tree.statements
        if isinstance(s, ast.Let) and isinstance(s.value, ast.Literal) and s.value.type is KqlType.TIMESPAN
    }
    cuts: list[tuple[int, int]] = []
    for operator in last.value.operators:
        if not isinstance(operator, ast.Where):
            break
        for part in _conjuncts(operator.predicate):
            back = _look_back(part, spans)
            if back is None:
                continue
            if back < frequency:
                return None
            cuts.append(part.span)
    if not cuts:
        return None
    for start, end in sorted(cuts, reverse=True):
        query = f"{query[:start]}true{query[end:]}"
    return query


def _conjuncts(node: ast.Expr) -> Iterator[ast.Expr]:
    if isinstance(node, ast.Binary) and node.op == "and":
        yield from _conjuncts(node.left)
        yield from _conjuncts(node.right)
    elif isinstance(node, ast.Paren):
        yield from _conjuncts(node.inner)
    else:
        yield node


def _look_back(node: ast.Expr, spans: Mapping[str, object]) -> timedelta | None:
    """How far ``TimeGenerated > ago(x)``, or ``between (ago(x) .. now())``, looks back."""
    match node:
        case ast.Binary(op=">" | ">=", left=ast.Name(name=name), right=ast.Call() as call) if name in _TIMES:
            return _ago(call, spans)
        case ast.Binary(op="<" | "<=", left=ast.Call() as call, right=ast.Name(name=name)) if name in _TIMES:
            return _ago(call, spans)
        case ast.Between(
            negated=False, operand=ast.Name(name=name), low=ast.Call() as call, high=ast.Call() as high
        ) if name in _TIMES:
            return _ago(call, spans) if high.callee == "now" and not high.args else None
        case _:
            return None


def _ago(call: ast.Call, spans: Mapping[str, object]) -> timedelta | None:
    if call.callee != "ago" or len(call.args) != 1:
        return None
    argument = call.args[0]
    ticks = (
        argument.value
        if isinstance(argument, ast.Literal)
        else spans.get(argument.name)
        if isinstance(argument, ast.Name)
        else None
    )
    return timedelta(microseconds=ticks / 10) if isinstance(ticks, int) and not isinstance(ticks, bool) else None
