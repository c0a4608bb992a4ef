"""``declare pattern``: a function by cases, chosen by its constant arguments (and a path after it).

    declare pattern country = (name:string)[state:string] { ("USA").["New York"] = { print Capital = "Albany" }; … };
    country("USA").["New York"]

The tree keeps the statement as its text; it is read here from its tokens.
"""

from __future__ import annotations

from functools import lru_cache

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail
from tocsin.kql.lexer import tokenize, unquote
from tocsin.kql.scope import Environment, PatternValue, Relation

__all__ = ["bind_pattern", "declare_pattern"]


def declare_pattern(b: Binder, statement: ast.DeclarePattern, env: Environment) -> None:
    """Read the statement and declare it."""
    start, end = statement.span
    found = _read(b.text[start:end])
    if found is None:
        raise fail("KQL0106", f"The pattern '{statement.name}' is not written as one.", statement)
    parameters, path, cases = found
    outer = Environment(env)
    env.declare(statement.name, PatternValue(statement.name, parameters, path, dict(cases), outer))


def bind_pattern(
    b: Binder, pattern: PatternValue, call: ast.Call, path: ast.Expr | str | None, env: Environment
) -> Relation:
    """The body of the case that the arguments choose."""
    from tocsin.kql.binder.lets import bind_statements
    from tocsin.kql.parser import parse

    values = []
    for argument in call.args:
        value = b.scalar(argument, Row(env))
        if not value.constant:
            raise fail("KQL0107", f"{pattern.name}() needs constants.", argument)
        values.append(str(value.value))
    step = path
    if isinstance(path, ast.Expr):
        chosen = b.scalar(path, Row(env))
        step = str(chosen.value) if chosen.constant else None
    body = pattern.cases.get((tuple(values), step if isinstance(step, str) else None))
    if body is None:
        raise fail("KQL0101", f"The pattern '{pattern.name}' has no case for these values.", call)
    query = parse(body)
    inner = Environment(pattern.environment)
    results = bind_statements(b, query.statements, inner)
    if len(results) != 1:
        raise fail("KQL0106", f"A case of the pattern '{pattern.name}' must be one table.", call)
    return b.table(results[0].value, inner)


Case = tuple[tuple[tuple[str, ...], str | None], str]


@lru_cache(maxsize=64)
def _read(text: str) -> tuple[tuple[str, ...], str | None, tuple[Case, ...]] | None:
    """Parameters, path and cases of a declaration, or None where it is not one."""
    tokens = tokenize(text)
    values, starts = tokens.values, tokens.starts
    try:
        at = values.index("=")
        parameters, at = _names(values, at + 1, "(", ")")
        path: str | None = None
        if values[at] == "[":
            names, at = _names(values, at, "[", "]")
            path = names[0]
        if values[at] != "{":
            return None
        at += 1
        cases: list[Case] = []
        while values[at] != "}":
            arguments, at = _strings(values, at, "(", ")")
            step: str | None = None
            if values[at] == ".":
                found, at = _strings(values, at + 1, "[", "]")
                step = found[0]
            if values[at] != "=" or values[at + 1] != "{":
                return None
            close = _closing(values, at + 1)
            cases.append(((arguments, step), text[starts[at + 1] + 1 : starts[close]]))
            at = close + 1
            if values[at] == ";":
                at += 1
    except (IndexError, ValueError):
        return None
    return parameters, path, tuple(cases)


def _names(values: list[str], at: int, opening: str, closing: str) -> tuple[tuple[str, ...], int]:
    """``(a:string, b:long)``: the names."""
    if values[at] != opening:
        raise ValueError(values[at])
    end = values.index(closing, at)
    return tuple(values[i - 1] for i in range(at + 1, end) if values[i] == ":"), end + 1


def _strings(values: list[str], at: int, opening: str, closing: str) -> tuple[tuple[str, ...], int]:
    """``("a", "b")``: the texts."""
    if values[at] != opening:
        raise ValueError(values[at])
    end = values.index(closing, at)
    return tuple(unquote(v) if v[:1] in "'\"@hH" else v for v in values[at + 1 : end] if v != ","), end + 1


def _closing(values: list[str], at: int) -> int:
    depth = 0
    for i in range(at, len(values)):
        if values[i] == "{":
            depth += 1
        elif values[i] == "}":
            depth -= 1
            if not depth:
                return i
    raise ValueError("not closed")
