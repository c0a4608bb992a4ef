"""YAML text to plain values that remember where they stood.

libyaml makes the events, this module makes dicts, lists and scalars of them with its own stack, so that a content file from a stranger is
bounded in size, depth and alias expansion, a repeated key is an error instead of a silent loss, and every complaint about a field names its
line and column. Scalars follow YAML 1.1 as PyYAML reads it with two exceptions, because they lose what the author wrote: timestamps stay
text, and ``010`` and ``1:30`` stay text. The raw text of every scalar is kept (a version ``1.10`` is a number to YAML).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tocsin.base.errors import ContentError, Place

__all__ = ["Document", "Limits", "parse_one", "parse_yaml"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one file: characters of text, nested containers, and nodes after every alias is followed."""

    characters: int = 4 * 1024 * 1024
    depth: int = 64
    nodes: int = 1_000_000


@dataclass(frozen=True, slots=True)
class _Mark:
    line: int
    column: int
    raw: str | None = None


class Document:
    """One YAML document: its value and the place of each part of it.

    `value` is made of dict, list, str, int, float, bool and None; the keys of every dict are str.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.value: Any = None
        self._root = _Mark(1, 1)
        self._keys: dict[tuple[int, str | int], _Mark] = {}
        self._values: dict[tuple[int, str | int], _Mark] = {}
        self._replaced: set[tuple[int, str | int]] = set()

    def place(self, path: Sequence[str | int] = (), *, key: bool = False) -> Place:
        """Where the value at that path of keys and indexes starts, or its key; the nearest known parent where it isn't there."""
        mark, node = self._root, self.value
        for step in path:
            found = (self._keys if key and isinstance(step, str) else self._values).get((id(node), step))
            if found is None:
                break
            mark = found
            node = node[step]
        return Place(self.source, mark.line, mark.column)

    def raw(self, path: Sequence[str | int]) -> str | None:
        """The scalar at that path as it was written, or None where it isn't a scalar."""
        node = self.value
        for step in path[:-1]:
            try:
                node = node[step]
            except (KeyError, IndexError, TypeError):
                return None
        mark = self._values.get((id(node), path[-1])) if path else self._root
        return mark.raw if mark else None

    def replace(self, path: Sequence[str | int], value: Any) -> None:
        """Puts another value where one stands, as if it had been written there. The path must be there and not be empty."""
        node = self.value
        for step in path[:-1]:
            node = node[step]
        before = self._values.get((id(node), path[-1]), self._root)
        raw = value if isinstance(value, str) else None if isinstance(value, dict | list) else str(value)
        node[path[-1]] = value
        self._values[id(node), path[-1]] = _Mark(before.line, before.column, raw)
        self._replaced.add((id(node), path[-1]))

    def replaced(self, path: Sequence[str | int]) -> bool:
        """Whether the value at that path was put there by `replace`."""
        node = self.value
        for step in path[:-1]:
            node = node[step]
        return (id(node), path[-1]) in self._replaced

    def error(
        self, message: str, path: Sequence[str | int] = (), *, code: str, hint: str = "", key: bool = False
    ) -> ContentError:
        """A `ContentError` at that path."""
        return ContentError(message, code=code, place=self.place(path, key=key), hint=hint)


@dataclass(slots=True)
class _Open:
    """A container being filled."""

    value: dict[str, Any] | list[Any]
    mark: _Mark
    anchor: str | None
    key: str | None = None
    key_mark: _Mark | None = None
    nodes: int = 1
    merges: list[tuple[dict[str, Any], _Mark]] | None = None


def parse_one(text: str, source: str, limits: Limits | None = None) -> Document:
    """The only document of a text.

    Raises `ContentError`: as `parse_yaml`, and CNT0003 for none or several documents.
    """
    documents = parse_yaml(text, source, limits)
    first = next(documents, None)
    if first is None:
        raise ContentError("The file holds no YAML document.", code="CNT0003", place=Place(source, 1, 1))
    second = next(documents, None)
    if second is not None:
        raise second.error("The file holds several YAML documents where one is expected.", code="CNT0003")
    return first


def parse_yaml(text: str, source: str, limits: Limits | None = None) -> Iterator[Document]:
    """Every document of a text, in order.

    Raises `ContentError`: CNT0003 for what isn't YAML, CNT0004 for what exceeds `limits`, CNT0005 for a repeated key.
    """
    bounds = limits or Limits()
    if len(text) > bounds.characters:
        raise ContentError(
            f"The file has {len(text):,} characters; at most {bounds.characters:,} are read.",
            code="CNT0004",
            place=Place(source),
        )
    try:
        events = yaml.parse(text, Loader=yaml.CSafeLoader)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                yield _document(events, source, bounds)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
        raise ContentError(
            f"Not YAML: {error.problem or error.context}.",
            code="CNT0003",
            place=place,
            hint=_yaml_hint(str(error.problem)),
        ) from None
    except yaml.reader.ReaderError as error:
        at = text.count("\n", 0, error.position) + 1
        raise ContentError(f"Not YAML: {error.reason}.", code="CNT0003", place=Place(source, at)) from None
    except (
        ValueError
    ) as error:  # a lone surrogate, a NUL: libyaml's wrapper refuses these by ValueError or UnicodeError
        raise ContentError(f"Not YAML: {error}.", code="CNT0003", place=Place(source)) from None


def _document(events: Iterator[Any], source: str, limits: Limits) -> Document:
    document = Document(source)
    stack: list[_Open] = []
    anchors: dict[str, tuple[Any, int, str | None]] = {}
    total = 0

    def add(value: Any, mark: _Mark, nodes: int) -> None:
        nonlocal total
        total += nodes
        if total > limits.nodes:
            raise ContentError(
                f"The file expands to more than {limits.nodes:,} nodes.",
                code="CNT0004",
                place=Place(source, mark.line, mark.column),
                hint="Anchors and aliases multiply; write the values out.",
            )
        if not stack:
            document.value, document._root = value, mark
            return
        top = stack[-1]
        top.nodes += nodes
        if isinstance(top.value, list):
            document._values[id(top.value), len(top.value)] = mark
            top.value.append(value)
        elif top.key is None:
            _take_key(document, top, value, mark)
        else:
            _take_value(document, top, value, mark)

    for event in events:
        start = event.start_mark
        mark = _Mark(start.line + 1, start.column + 1)
        if isinstance(event, yaml.ScalarEvent):
            quoted = event.style in ("'", '"', "|", ">")
            value = event.value if quoted and not event.tag else _scalar(event.value, event.tag)
            if event.anchor:
                anchors[event.anchor] = (value, 1, event.value)
            add(value, _Mark(mark.line, mark.column, event.value), 1)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                what = "refers to itself" if any(o.anchor == event.anchor for o in stack) else "has no anchor before it"
                raise ContentError(
                    f"The alias '*{event.anchor}' {what}.", code="CNT0003", place=Place(source, mark.line, mark.column)
                )
            value, nodes, raw = anchors[event.anchor]
            add(value, _Mark(mark.line, mark.column, raw), nodes)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(stack) >= limits.depth:
                raise ContentError(
                    f"Nested deeper than {limits.depth} levels.",
                    code="CNT0004",
                    place=Place(source, mark.line, mark.column),
                )
            container: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
            stack.append(_Open(container, mark, event.anchor))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = stack.pop()
            if done.merges and isinstance(done.value, dict):
                _merge(document, done)
            if done.anchor:
                anchors[done.anchor] = (done.value, done.nodes, None)
            total -= done.nodes - 1  # its parts were counted when they came; `add` counts the whole again
            add(done.value, done.mark, done.nodes)
        elif isinstance(event, yaml.DocumentEndEvent):
            break
    return document


def _take_key(document: Document, top: _Open, value: Any, mark: _Mark) -> None:
    assert isinstance(top.value, dict)
    if isinstance(value, dict | list):
        raise ContentError(
            "A list or mapping can't be a key.", code="CNT0003", place=Place(document.source, mark.line, mark.column)
        )
    name = mark.raw if mark.raw is not None else str(value)
    if name in top.value:
        first = document._keys[id(top.value), name]
        raise ContentError(
            f"The key '{name}' is here twice.",
            code="CNT0005",
            place=Place(document.source, mark.line, mark.column),
            hint=f"It is on line {first.line} already.",
        )
    top.key, top.key_mark = name, mark


def _take_value(document: Document, top: _Open, value: Any, mark: _Mark) -> None:
    assert isinstance(top.value, dict)
    assert top.key is not None
    assert top.key_mark is not None
    if top.key == "<<":
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(s, dict) for s in sources):
            raise ContentError(
                "'<<' merges mappings only.", code="CNT0003", place=Place(document.source, mark.line, mark.column)
            )
        top.merges = [*(top.merges or ()), *((s, mark) for s in sources)]
    else:
        top.value[top.key] = value
        document._keys[id(top.value), top.key] = top.key_mark
        document._values[id(top.value), top.key] = mark
    top.key = top.key_mark = None


def _merge(document: Document, done: _Open) -> None:
    assert isinstance(done.value, dict)
    for source, mark in done.merges or ():
        for name, value in source.items():
            if name not in done.value:
                done.value[name] = value
                raw = document._values.get((id(source), name))
                document._keys[id(done.value), name] = mark
                document._values[id(done.value), name] = _Mark(mark.line, mark.column, raw.raw if raw else None)


_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)\Z")
_HEX = re.compile(r"[-+]?0x[0-9a-fA-F_]+\Z")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9_]*)\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?\Z")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_MAX_DIGITS = 400


def _scalar(text: str, tag: str | None) -> Any:
    """The value of a plain (or explicitly tagged) scalar."""
    if tag and tag != "?":
        return text if tag.endswith(":str") or tag in ("!", "!!str") else _scalar(text, None)
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if not (first.isascii() and (first.isdigit() or first in "+-.")) or len(text) > _MAX_DIGITS:
        return text
    if _INT.match(text):
        return int(text.replace("_", ""))
    if _HEX.match(text):
        return int(text.replace("_", ""), 16)
    if "." in text and _FLOAT.match(text):
        return float(text.replace("_", ""))
    return text


def _yaml_hint(problem: str) -> str:
    if "tab" in problem or "\\t" in problem:
        return "Indent with spaces."
    if "mapping values are not allowed" in problem:
        return "A value with ': ' in it needs quotes."
    if "expected <block end>" in problem:
        return "Check the indentation of this line and the one above."
    return ""
