"""``declare pattern``: a function by cases, chosen by its constant arguments (and a path after it).

    declare pattern country = (name:string)[state:string] { ("USA").["New York"] = { print Capital = "Albany" }; … };
    country("USA").["New York"]

The tree keeps the statement as its text; it is read here from its tokens.
"""

from __future__ import annotations

from tocsin.kql import ast
from tocsin.kql.binder.core import Binder, Row
from tocsin.kql.binder.errors import fail
from tocsin.kql.parser.patterns import read_pattern
from tocsin.kql.scope import Environment, PatternValue, Relation

__all__ = ["bind_pattern", "declare_pattern"]


def declare_pattern(b: Binder, statement: ast.DeclarePattern, env: Environment) -> None:
    """Read the statement and declare it."""
    start, end = statement.span
    found = read_pattern(b.text[start:end])
    if found is None:
        raise fail("KQL0106", f"The pattern '{statement.name}' is not written as one.", statement)
    parameters, path, cases = found
    outer = Environment(env)
    env.declare(
        statement.name, PatternValue(statement.name, parameters, path, {key: body for key, body, _ in cases}, outer)
    )


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
