"""Trees as text, for tests: `show` writes a tree so that a person can compare it, `shape` without places for equality."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from tocsin.kql import ast
from tocsin.kql.parser import parse

SHARED = Path("/work/shared/corpus")


@cache
def corpus(name: str) -> list[dict]:
    """The cases of a corpus file; skips the test where the corpora are not on this machine."""
    path = SHARED / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def shape(value: object) -> object:
    """A tree without its places."""
    if isinstance(value, ast.Node):
        fields = [f for f in value.__dataclass_fields__ if not f.endswith("span")]
        return (type(value).__name__, *(shape(getattr(value, f)) for f in fields))
    if isinstance(value, tuple):
        return tuple(shape(v) for v in value)
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, float):
        return repr(value)  # NaN equals itself here
    return value


def show(value: object) -> str:
    """A tree as an S-expression; literals as values, names bare, quoted names in brackets."""
    match value:
        case None:
            return "-"
        case ast.Literal(_, type_, constant):
            text = json.dumps(constant) if type_ == "string" else str(constant)
            return text if type_ in ("string", "long", "real", "bool") and constant is not None else f"{type_}:{text}"
        case ast.Name(_, name, quoted):
            return f"[{name}]" if quoted else name
        case ast.Star(_, pattern):
            return pattern
        case ast.Side(_, name):
            return f"${name}"
        case ast.Member(_, target, name, args):
            return f"(. {show(target)} {name}{'' if args is None else ' ' + show(args)})"
        case ast.Index(_, target, index):
            return f"(at {show(target)} {show(index)})"
        case ast.Unary(_, op, operand):
            return f"({op} {show(operand)})"
        case ast.Binary(_, op, left, right):
            return f"({op} {show(left)} {show(right)})"
        case ast.Paren(_, inner):
            return f"(paren {show(inner)})"
        case ast.Call(_, callee, args, _):
            return f"{callee}{show(args)}"
        case ast.Named(_, names, inner):
            return f"{','.join(names)}={show(inner)}"
        case ast.ColumnDecl(_, name, type_):
            return f"{name}:{type_}"
        case ast.Pipeline(_, source, operators):
            return " | ".join([show(source), *(show(o) for o in operators)])
        case ast.ExpressionStatement(_, inner):
            return show(inner)
        case ast.Query(_, statements):
            return "; ".join(show(s) for s in statements)
        case tuple():
            return "(" + " ".join(show(v) for v in value) + ")"
        case dict():
            return "{" + " ".join(f"{k}={show(v)}" for k, v in value.items()) + "}"
        case ast.Node():
            fields = [f for f in value.__dataclass_fields__ if not f.endswith("span")]
            parts = [show(getattr(value, f)) for f in fields if getattr(value, f) not in (None, (), {}, False)]
            return f"<{type(value).__name__} {' '.join(parts)}>"
    return str(value)


def expression(text: str) -> str:
    """The tree of one scalar expression."""
    query = parse(f"print x = {text}")
    statement = query.statements[0]
    assert isinstance(statement, ast.ExpressionStatement)
    assert isinstance(statement.value, ast.Pipeline)
    project = statement.value.source
    assert isinstance(project, ast.Project)
    named = project.items[0]
    assert isinstance(named, ast.Named)
    return show(named.value)


def query(text: str) -> str:
    """The tree of a query."""
    return show(parse(text))
