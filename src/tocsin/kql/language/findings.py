"""Findings of a text as it is written: what is wrong, what is defined for nothing, and the edits that would mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from tocsin.kql import ast
from tocsin.kql.diagnostics import Diagnostic, KqlErrors
from tocsin.kql.parser import parse_partial
from tocsin.kql.types import Catalog
from tocsin.kql.walk import walk

__all__ = ["diagnostics"]


def diagnostics(
    text: str,
    catalog: Catalog,
    now: datetime,
    *,
    external: Callable[..., object] | None = None,
    resolver: Callable[..., Iterable[Sequence[object]]] | None = None,
) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with a text; where it parses, what the binder says, and names that are defined for nothing.

    `external` and `resolver` are those of `compile_query`; without a resolver plugins are taken to give no columns of their own.
    """
    from tocsin.kql.compile import compile_query

    if not text.strip():
        return ()
    tree, found = parse_partial(text)
    if found:
        return tuple(sorted(found, key=lambda d: d.span))
    try:
        compiled = compile_query(text, catalog, now=now, external=external, resolver=resolver or (lambda _: ()))
        found = compiled.left_out
    except KqlErrors as error:
        found = error.diagnostics
    return (*found, *_unused(text, tree))


def _unused(text: str, tree: ast.Query) -> Iterator[Diagnostic]:
    """Lets whose name occurs nowhere else."""
    named: dict[str, ast.Let] = {}
    read: set[str] = set()
    for node in walk(tree):
        if isinstance(node, ast.Let):
            named.setdefault(node.name, node)
        elif isinstance(node, ast.Name):
            read.add(node.name)
        elif isinstance(node, ast.Call):
            read.add(node.callee)
    for name, let in named.items():
        if name not in read:
            span = (let.span[0], let.value.span[0])
            yield Diagnostic.at(text, span, "KQL0030", f"'{name}' is defined but not used.", severity="warning")
