"""ARM templates of rules: their resources, however deep a package wraps them, with the template's expressions evaluated.

The portal exports a template with one resource a rule; a published solution wraps each in a template of its own and names things through
``variables``. An expression is what a template means by a text in brackets: ``[variables('query')]``, ``[concat(parameters('workspace'), '/…')]``;
``[[`` stands for a bracket (learn.microsoft.com/azure/azure-resource-manager/templates/template-expressions). What depends on a deployment (a
parameter without a default value, ``resourceId``) has no value here, and whoever needs it is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from tocsin.content import Document

__all__ = ["Scope", "UnknownValue", "evaluate", "resources", "settle"]

Path = tuple[str | int, ...]

_DEEPEST = 40
_LONGEST = 1_000_000
_GUIDS = UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")
"""The name space of ARM's ``guid()``."""


class UnknownValue(Exception):  # noqa: N818 - not an error in itself: much of a template depends on its deployment
    """An expression has no value here; the text says why."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a template's expressions may name. An inner template's own names stand before the outer one's."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)

    def inside(self, template: Mapping[str, Any]) -> Scope:
        """The scope of the resources of a template that stands in this one."""
        return Scope(
            {**self.parameters, **_lowered(template.get("parameters"))},
            {**self.variables, **_lowered(template.get("variables"))},
        )


def _lowered(value: Any) -> dict[str, Any]:
    return {str(k).lower(): v for k, v in value.items()} if isinstance(value, dict) else {}


def resources(document: Document) -> Iterator[tuple[Path, Mapping[str, Any], Scope]]:
    """Every resource of a template and of the templates within it: where it stands, itself, and what its expressions may name."""
    yield from _resources(document.value, (), Scope(), 0)


def _resources(template: Any, path: Path, scope: Scope, depth: int) -> Iterator[tuple[Path, Mapping[str, Any], Scope]]:
    if depth > _DEEPEST or not isinstance(template, dict) or not isinstance(template.get("resources"), list):
        return
    inside = scope.inside(template)
    for index, each in enumerate(template["resources"]):
        if not isinstance(each, dict):
            continue
        here = (*path, "resources", index)
        yield here, each, inside
        properties = each.get("properties")
        if isinstance(properties, dict):
            for name in ("mainTemplate", "template"):
                yield from _resources(properties.get(name), (*here, "properties", name), inside, depth + 1)
        yield from _resources(each, here, inside, depth + 1)


def settle(document: Document, path: Path, scope: Scope) -> Iterator[tuple[Path, str]]:
    """Puts the values of expressions in their place, below `path`; gives where one has no value, and why."""
    node = document.value
    for step in path:
        node = node[step]
    steps: list[tuple[str | int, Any]] = []
    if isinstance(node, dict):
        steps = list(node.items())
    elif isinstance(node, list):
        steps = list(enumerate(node))
    for step, value in steps:
        here = (*path, step)
        if isinstance(value, dict | list):
            yield from settle(document, here, scope)
        elif isinstance(value, str) and value.startswith("[") and not document.replaced(here):
            try:
                document.replace(here, evaluate(value, scope))
            except UnknownValue as why:
                yield here, str(why)


def evaluate(text: str, scope: Scope, depth: int = 0) -> Any:
    """The value of a template's text: itself, unless it is an expression. Raises `UnknownValue`."""
    if text.startswith("[["):
        return text[1:]
    if not (text.startswith("[") and text.endswith("]")):
        return text
    reader = _Reader(text[1:-1], scope, depth)
    value = reader.value()
    if reader.peek():
        raise UnknownValue(f"'{reader.peek()}' is unexpected in {text[:80]}")
    return value


_TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<name>[A-Za-z_][\w-]*)|(?P<sign>[()\[\],.]))")


class _Reader:
    def __init__(self, text: str, scope: Scope, depth: int) -> None:
        if depth > _DEEPEST:
            raise UnknownValue("its variables go round in a circle")
        self.scope, self.depth, self.at = scope, depth, 0
        self.tokens: list[tuple[str, str]] = []
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None or found.lastgroup is None:
                raise UnknownValue(f"'{text[place : place + 20]}' can't be read")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> tuple[str, str]:
        if self.at >= len(self.tokens) or (wanted and self.tokens[self.at][1] != wanted):
            raise UnknownValue(f"'{wanted}' is missing" if wanted else "a value is missing")
        self.at += 1
        return self.tokens[self.at - 1]

    def value(self, level: int = 0) -> Any:
        if level > _DEEPEST:
            raise UnknownValue("it is nested too deeply")
        kind, text = self.take()
        found: Any
        if kind == "text":
            found = text[1:-1].replace("''", "'")
        elif kind == "number":
            found = int(text)
        elif kind == "name" and self.peek() == "(":
            self.take("(")
            arguments = []
            while self.peek() != ")":
                arguments.append(self.value(level + 1))
                if self.peek() != ")":
                    self.take(",")
            self.take(")")
            found = self.call(text, arguments)
        else:
            raise UnknownValue(f"'{text}' is unexpected")
        while self.peek() in (".", "["):
            found = self.part(found, level)
        return found

    def part(self, found: Any, level: int) -> Any:
        if self.take()[1] == ".":
            key: Any = self.take()[1]
        else:
            key = self.value(level + 1)
            self.take("]")
        try:
            part = found[key] if isinstance(found, list | str) else _lowered(found)[str(key).lower()]
        except (KeyError, IndexError, TypeError):
            raise UnknownValue(f"there is no '{key}' in it") from None
        return self.again(part)

    def again(self, value: Any) -> Any:
        return evaluate(value, self.scope, self.depth + 1) if isinstance(value, str) else value

    def call(self, name: str, given: list[Any]) -> Any:
        lowered = name.lower()
        if lowered == "variables" and len(given) == 1:
            if (key := str(given[0]).lower()) not in self.scope.variables:
                raise UnknownValue(f"there is no variable '{given[0]}'")
            return self.again(self.scope.variables[key])
        if lowered == "parameters" and len(given) == 1:
            wanted = self.scope.parameters.get(str(given[0]).lower())
            if not isinstance(wanted, dict) or "defaultValue" not in wanted:
                raise UnknownValue(f"the parameter '{given[0]}' has no default value")
            return self.again(wanted["defaultValue"])
        function = _FUNCTIONS.get(lowered)
        if function is None:
            raise UnknownValue(f"{name}() has no value outside of a deployment")
        try:
            value = function(*given)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError):
            raise UnknownValue(f"{name}() can't take these arguments") from None
        if isinstance(value, str) and len(value) > _LONGEST:
            raise UnknownValue("its value is too long")
        return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _format(pattern: str, *values: Any) -> str:
    return re.sub(r"\{(\d+)\}", lambda m: _text(values[int(m[1])]), pattern)


def _concat(*parts: Any) -> Any:
    if parts and all(isinstance(p, list) for p in parts):
        return [v for p in parts for v in p]
    return "".join(_text(p) for p in parts)


def _same(a: Any, b: Any) -> bool:
    return bool(a == b)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "concat": _concat,
    "format": _format,
    "tolower": lambda t: t.lower(),
    "toupper": lambda t: t.upper(),
    "trim": lambda t: t.strip(),
    "replace": lambda t, old, new: t.replace(old, new),
    "split": lambda t, by: t.split(by),
    "join": lambda values, by: by.join(map(_text, values)),
    "substring": lambda t, start, length=None: t[start:] if length is None else t[start : start + length],
    "first": lambda v: v[0],
    "last": lambda v: v[-1],
    "length": len,
    "empty": lambda v: not v,
    "string": _text,
    "int": int,
    "bool": lambda v: _text(v).lower() in ("true", "1"),
    "json": json.loads,
    "null": lambda: None,
    "true": lambda: True,
    "false": lambda: False,
    "if": lambda test, yes, no: yes if test else no,
    "equals": _same,
    "not": lambda v: not v,
    "and": lambda *v: all(v),
    "or": lambda *v: any(v),
    "coalesce": lambda *v: next(x for x in v if x is not None),
    "createarray": lambda *v: list(v),
    "array": lambda v: v if isinstance(v, list) else [v],
    "guid": lambda *v: str(uuid5(_GUIDS, "-".join(map(_text, v)))),
}
