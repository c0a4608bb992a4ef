"""A rule's tree as plain lists, texts and numbers, and back: what a cache may hold, because reading it runs nothing.

`from_plain(to_plain(tree))` equals the tree. What isn't the plain form of a tree is refused by ValueError, never taken for something else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tocsin.detect.sigma.checks import Check, Cidr, Compare, Exists, Glob, Null, Reference, Regex, Text, TimePart
from tocsin.detect.sigma.tree import All, Leaf, Node, Not, Some

__all__ = ["from_plain", "to_plain"]

_ALL, _SOME, _NOT, _LEAF = 0, 1, 2, 3


def to_plain(node: Node) -> list[Any]:
    """The tree as nested lists. Raises TypeError for a kind of check that it doesn't know."""
    match node:
        case Leaf(field, check):
            return [_LEAF, field, *_check(check)]
        case All(parts):
            return [_ALL, *(to_plain(p) for p in parts)]
        case Some(parts):
            return [_SOME, *(to_plain(p) for p in parts)]
        case Not(part):
            return [_NOT, to_plain(part)]


def _check(check: Check) -> list[Any]:
    match check:
        case Text(how, text, cased):
            return ["text", how, text, cased]
        case Glob(parts, cased):
            return ["glob", list(parts), cased]
        case Regex(pattern):
            return ["regex", pattern]
        case Cidr(network):
            return ["cidr", network]
        case Compare(how, number):
            return ["compare", how, number]
        case Null():
            return ["null"]
        case Exists(wanted):
            return ["exists", wanted]
        case Reference(field, starts, ends, cased):
            return ["reference", field, starts, ends, cased]
        case TimePart(part, number):
            return ["time", part, number]
    raise TypeError(f"checks of kind {type(check).__name__} have no plain form")


_CHECKS: dict[str, tuple[Callable[..., Check], tuple[type, ...]]] = {
    "text": (Text, (str, str, bool)),
    "regex": (Regex, (str,)),
    "cidr": (Cidr, (str,)),
    "compare": (Compare, (str, float)),
    "null": (Null, ()),
    "exists": (Exists, (bool,)),
    "reference": (Reference, (str, bool, bool, bool)),
    "time": (TimePart, (str, int)),
}


def from_plain(plain: Any) -> Node:
    """The tree of `to_plain`'s lists. Raises ValueError."""
    if type(plain) is not list or not plain:
        raise ValueError("not the plain form of a tree")
    kind = plain[0]
    if kind == _LEAF and len(plain) >= 3 and type(plain[1]) is str:
        return Leaf(plain[1], _made(plain[2], plain[3:]))
    if kind == _ALL:
        return All(tuple([from_plain(p) for p in plain[1:]]))
    if kind == _SOME:
        return Some(tuple([from_plain(p) for p in plain[1:]]))
    if kind == _NOT and len(plain) == 2:
        return Not(from_plain(plain[1]))
    raise ValueError("not the plain form of a tree")


def _made(kind: Any, values: list[Any]) -> Check:
    if kind == "glob":
        parts, cased = values
        if type(parts) is list and type(cased) is bool and all(p is None or p is True or type(p) is str for p in parts):
            return Glob(tuple(parts), cased)
    elif type(kind) is str and kind in _CHECKS:
        make, types = _CHECKS[kind]
        if tuple(map(type, values)) == types:
            return make(*values)
    raise ValueError("not the plain form of a check")
