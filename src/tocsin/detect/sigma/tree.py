"""A Sigma rule's condition as a tree of checks on named fields; `parsed.py` makes it from pySigma's parse tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tocsin.detect.sigma.checks import Check, Reference, Text

__all__ = [
    "FALSE",
    "KEYWORD",
    "TRUE",
    "All",
    "Leaf",
    "Node",
    "Not",
    "Placeholders",
    "Some",
    "fields_of",
    "joined",
    "leaves",
    "rewrite",
    "values_of",
]

KEYWORD = ""
"""The field name of a search in the whole event."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A check on a field."""

    field: str
    check: Check


@dataclass(frozen=True, slots=True)
class All:
    """True when every part is; without parts, true."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """True when a part is; without parts, false."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True when its part isn't."""

    part: Node


Node = Leaf | All | Some | Not
TRUE = All(())
FALSE = Some(())

Placeholders = Mapping[str, Sequence[str]]


def joined(kind: type[All] | type[Some], parts: Sequence[Node]) -> Node:
    """The parts under one node: nested ones of its kind opened, each once, a single one as itself."""
    flat: list[Node] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, kind) else (part,))
    distinct = tuple(dict.fromkeys(flat))
    return distinct[0] if len(distinct) == 1 else kind(distinct)


# ---------------------------------------------------------------------------------------------- walks


def leaves(node: Node) -> Iterator[Leaf]:
    """Every leaf."""
    match node:
        case Leaf():
            yield node
        case Not(part):
            yield from leaves(part)
        case All(parts) | Some(parts):
            for each in parts:
                yield from leaves(each)


def fields_of(node: Node) -> set[str]:
    """Every field that it reads."""
    found = set()
    for leaf in leaves(node):
        found.add(leaf.field)
        if isinstance(leaf.check, Reference):
            found.add(leaf.check.field)
    return found


def values_of(node: Node, field: str) -> frozenset[str] | None:
    """The only values of a field (lower case name) with which the node can hold, or None where it may hold with any."""
    match node:
        case Leaf(name, Text("eq", text, _)) if name.lower() == field:
            return frozenset({text.lower()})
        case All(parts):
            known = [v for p in parts if (v := values_of(p, field)) is not None]
            return frozenset.intersection(*known) if known else None
        case Some(parts):
            found = [values_of(p, field) for p in parts]
            return None if any(v is None for v in found) else frozenset().union(*(v for v in found if v is not None))
        case _:
            return None


def rewrite(node: Node, change: Callable[[Leaf], Node]) -> Node:
    """The tree with every leaf replaced by what `change` makes of it, and constants (`TRUE`, `FALSE`) folded away."""
    match node:
        case Leaf():
            return change(node)
        case Not(part):
            made = rewrite(part, change)
            return FALSE if made == TRUE else TRUE if made == FALSE else Not(made)
        case All(parts):
            kept = []
            for each in parts:
                made = rewrite(each, change)
                if made == FALSE:
                    return FALSE
                if made != TRUE:
                    kept.append(made)
            return joined(All, kept)
        case Some(parts):
            kept = []
            for each in parts:
                made = rewrite(each, change)
                if made == TRUE:
                    return TRUE
                if made != FALSE:
                    kept.append(made)
            return joined(Some, kept)
