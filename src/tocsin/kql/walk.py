"""Walking a syntax tree without recursion."""

from __future__ import annotations

from collections.abc import Iterator

from tocsin.kql.ast import Node

__all__ = ["children", "same_tree", "walk"]


def children(node: Node) -> list[Node]:
    """The nodes directly below, in the order of their fields."""
    found: list[Node] = []
    for name in node.__dataclass_fields__:
        _collect(getattr(node, name), found)
    return found


def _collect(value: object, found: list[Node]) -> None:
    if isinstance(value, Node):
        found.append(value)
    elif isinstance(value, tuple):
        for part in value:
            _collect(part, found)
    elif isinstance(value, dict):
        for part in value.values():
            _collect(part, found)


def walk(tree: Node) -> Iterator[Node]:
    """Every node, parents before children, in the order of the text."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


def same_tree(one: object, other: object) -> bool:
    """Whether two trees are equal but for places in the text."""
    stack: list[tuple[object, object]] = [(one, other)]
    while stack:
        a, b = stack.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, Node):
            names = [name for name in a.__dataclass_fields__ if not name.endswith("span")]
            stack.extend((getattr(a, name), getattr(b, name)) for name in names)
        elif isinstance(a, tuple) and isinstance(b, tuple):
            if len(a) != len(b):
                return False
            stack.extend(zip(a, b, strict=True))
        elif isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            stack.extend((value, b[key]) for key, value in a.items())
        elif a != b and not (a != a and b != b):  # NaN is the same constant as NaN
            return False
    return True
