"""A small schema language for content files: which fields, of which shape, and precise complaints about the rest.

`check(document, schema)` gives every complaint of a file, not only the first. A field that no schema knows is a warning:
public content carries fields of later versions, and a file with one still loads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tocsin.base.errors import ContentError, TocsinError, did_you_mean
from tocsin.content.yamltext import Document

__all__ = ["Field", "Schema", "check", "is_warning"]

Kind = Literal["text", "int", "number", "bool", "list", "map", "any"]

_NAMES: Mapping[str, str] = {
    "text": "text", "int": "a whole number", "number": "a number", "bool": "true or false", "list": "a list",
    "map": "a mapping", "any": "a value",
}  # fmt: skip

WARNING_CODES = frozenset({"CNT0013", "CNT0022", "DET0015"})


def is_warning(problem: TocsinError) -> bool:
    """True for a complaint that doesn't keep the file from being used: an unknown field, a stray file, a part of a rule that has no table."""
    return problem.code in WARNING_CODES


@dataclass(frozen=True, slots=True)
class Field:
    """What a field may hold.

    `choices` are compared without case. `item` is what a list's elements, or a free mapping's values, must be. `test` returns a
    complaint or an empty string. A `nullable` field may be empty; it counts as absent.
    """

    kind: Kind = "any"
    required: bool = False
    choices: tuple[str, ...] = ()
    longest: int | None = None
    pattern: str | None = None
    least: float | None = None
    most: float | None = None
    item: Field | None = None
    schema: Schema | None = None
    nullable: bool = True
    test: Callable[[Any], str] | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """A mapping's fields. With `open`, unknown fields are nobody's business."""

    what: str
    fields: Mapping[str, Field] = field(default_factory=dict)
    open: bool = False


def check(document: Document, schema: Schema, path: Sequence[str | int] = ()) -> list[ContentError]:
    """Every complaint about the mapping at that path, in order of place."""
    node = document.value
    for step in path:
        node = node[step]
    problems: list[ContentError] = []
    _mapping(document, schema, tuple(path), node, problems)
    return sorted(problems, key=lambda p: (p.place.line or 0, p.place.column or 0) if p.place else (0, 0))


def _mapping(
    document: Document, schema: Schema, path: tuple[str | int, ...], node: Any, problems: list[ContentError]
) -> None:
    if not isinstance(node, dict):
        problems.append(document.error(f"{schema.what} must be a mapping, not {_kind(node)}.", path, code="CNT0011"))
        return
    for name, value in node.items():
        known = schema.fields.get(name)
        if known is None:
            if not schema.open:
                problems.append(
                    document.error(
                        f"{schema.what} has no field '{name}'.",
                        (*path, name),
                        code="CNT0013",
                        hint=did_you_mean(name, schema.fields),
                        key=True,
                    )
                )
        else:
            _value(document, known, name, (*path, name), value, problems)
    for name, known in schema.fields.items():
        if known.required and node.get(name) is None:
            near = [p for p in node if p not in schema.fields and p.lower() == name.lower()]
            hint = f"'{near[0]}' is written '{name}'." if near else ""
            problems.append(document.error(f"{schema.what} lacks the field '{name}'.", path, code="CNT0010", hint=hint))


def _value(
    document: Document, known: Field, name: str, path: tuple[str | int, ...], value: Any, problems: list[ContentError]
) -> None:
    def complain(message: str, code: str, hint: str = "") -> None:
        problems.append(document.error(message, path, code=code, hint=hint))

    if value is None:
        if not known.nullable:
            complain(f"'{name}' is empty.", "CNT0010")
        return
    if not _fits(known.kind, value):
        hint = "Put it in quotes." if known.kind == "text" and isinstance(value, bool) else ""
        complain(f"'{name}' must be {_NAMES[known.kind]}, not {_kind(value)}.", "CNT0011", hint)
        return
    text = (document.raw(path) or str(value)) if known.kind == "text" else ""
    if known.kind == "text":
        if known.choices and text.lower() not in {c.lower() for c in known.choices}:
            hint = did_you_mean(text, known.choices) or f"One of {', '.join(known.choices)}."
            complain(f"'{name}' can't be '{text[:80]}'.", "CNT0012", hint)
        if known.longest is not None and len(text) > known.longest:
            complain(f"'{name}' has {len(text):,} characters; at most {known.longest:,} are allowed.", "CNT0014")
        if known.pattern is not None and not re.fullmatch(known.pattern, text, re.DOTALL):
            complain(f"'{name}' can't be '{text[:80]}'.", "CNT0012")
    elif known.kind in ("int", "number"):
        if known.least is not None and value < known.least:
            complain(f"'{name}' must be at least {known.least:g}, not {value}.", "CNT0014")
        if known.most is not None and value > known.most:
            complain(f"'{name}' must be at most {known.most:g}, not {value}.", "CNT0014")
    elif known.kind == "list":
        if known.longest is not None and len(value) > known.longest:
            complain(f"'{name}' has {len(value)} items; at most {known.longest} are allowed.", "CNT0014")
        if known.item is not None:
            for index, part in enumerate(value):
                _value(document, known.item, f"{name}[{index}]", (*path, index), part, problems)
    elif known.kind == "map":
        if known.longest is not None and len(value) > known.longest:
            complain(f"'{name}' has {len(value)} entries; at most {known.longest} are allowed.", "CNT0014")
        if known.schema is not None:
            _mapping(document, known.schema, path, value, problems)
        if known.item is not None:
            for key, part in value.items():
                _value(document, known.item, f"{name}.{key}", (*path, key), part, problems)
    if known.test is not None and (complaint := known.test(text if known.kind == "text" else value)):
        complain(f"'{name}': {complaint}", "CNT0012")


def _fits(kind: Kind, value: Any) -> bool:
    match kind:
        case "text":
            return isinstance(value, str | int | float) and not isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case "list":
            return isinstance(value, list)
        case "map":
            return isinstance(value, dict)
        case _:
            return True


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "a mapping"
