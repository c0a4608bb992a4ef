"""Query texts from arguments, files, folders and standard input, and the queries inside of rules in YAML."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tocsin.base.errors import ContentError, UsageError

__all__ = ["KQL_SUFFIXES", "Located", "located_texts", "one_text", "read_text", "texts"]

KQL_SUFFIXES = (".kql", ".kusto", ".csl")
YAML_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Located:
    """A query text inside of a file. `file_text` is the whole file; `offset` tells where in it a character of the query stands.

    `syntax_only`: the text can be read but not bound by itself: the body of a function with parameters. `source` is the kind of rows that a
    parser's query reads. `fault`: the file is no
    YAML that can be read; there is no text then.
    """

    path: str
    text: str
    file_text: str
    offset: Callable[[int], int] = field(default=lambda offset: offset)
    syntax_only: bool = False
    source: str = ""
    fault: ContentError | None = None


def read_text(path: Path) -> str:
    """The text of a file. Raises UsageError USE0005."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read {path}: it is no UTF-8 text (byte {error.start})", code="USE0005") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UsageError(f"cannot read {path}: {reason}", code="USE0005") from error


def one_text(text: str | None, file: Path | None) -> str:
    """The text that was given as an argument, in a file, or by - on standard input. Raises UsageError USE0004, USE0005."""
    if (text is None) == (file is None):
        raise UsageError("give a query, or --file with one", code="USE0004", hint="- reads it from standard input.")
    if text == "-" or str(file) == "-":
        return sys.stdin.read()
    return read_text(file) if file is not None else str(text)


def texts(paths: Sequence[str]) -> Iterator[tuple[Path | None, str]]:
    """The texts of files, of the query files in folders, and of standard input (without a path)."""
    for name, path in _files(paths, KQL_SUFFIXES):
        yield path, sys.stdin.read() if path is None else read_text(Path(name))


def located_texts(paths: Sequence[str]) -> Iterator[Located]:
    """The same with the queries of YAML files among them: `query` of Sentinel's and Tocsin's rules and hunts, `body` of functions.

    Raises UsageError USE0005.
    """
    for name, path in _files(paths, (*KQL_SUFFIXES, *YAML_SUFFIXES)):
        text = sys.stdin.read() if path is None else read_text(path)
        if path is not None and path.suffix in YAML_SUFFIXES:
            try:
                yield from _of_yaml(name, text)
            except ContentError as error:
                yield Located(name, "", text, fault=error)
        else:
            yield Located(name, text, text)


def _files(paths: Sequence[str], suffixes: tuple[str, ...]) -> Iterator[tuple[str, Path | None]]:
    for name in paths:
        if name == "-":
            yield name, None
            continue
        path = Path(name)
        if not path.is_dir():
            yield name, path
            continue
        found = sorted(p for p in path.rglob("*") if p.suffix in suffixes and p.is_file())
        if not found:
            raise UsageError(
                f"there is no query file in {path}", code="USE0005", hint=f"They end in {', '.join(suffixes)}."
            )
        for file in found:
            yield str(file), file


def _of_yaml(name: str, text: str) -> Iterator[Located]:
    from tocsin.content import PAGE_KINDS, PAGE_PARAMETERS, REACH_PARAMETERS
    from tocsin.content.yamltext import parse_yaml

    for document in parse_yaml(text, name):
        value = document.value
        if not isinstance(value, dict):
            continue
        if isinstance(value.get("query"), str):
            kind = str(value["source"]) if "source" in value and "table" in value else ""
            declared = PAGE_PARAMETERS if "entity" in value and value.get("kind") in PAGE_KINDS else ""
            declared = REACH_PARAMETERS if value.get("kind") == "reach" else declared
            offset = _after(declared, _mapping(document, "query", text, value["query"]))
            yield Located(name, declared + value["query"], text, offset, source=kind)
        elif isinstance(value.get("body"), str) and "parameters" in value:
            offset = _mapping(document, "body", text, value["body"])
            yield Located(name, value["body"], text, offset, syntax_only=bool(str(value["parameters"] or "").strip()))


def _after(declared: str, offset: Callable[[int], int]) -> Callable[[int], int]:
    """The same offsets for a text before which `declared` was put."""
    return (lambda at: offset(max(0, at - len(declared)))) if declared else offset


def _mapping(document: Any, key: str, text: str, query: str) -> Callable[[int], int]:
    """From offsets in a YAML value to offsets in the file: exact for block texts and for what is written on one line as it is."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    place = document.place((key,))
    first = starts[min((place.line or 1) - 1, len(starts) - 1)] + (place.column or 1) - 1
    if text[first : first + 1] == "|":
        return _block_mapping(query, lines, starts, place.line or 1, first)
    at = text.find(query, first)
    if "\n" not in query and 0 <= at - first <= 1:
        return lambda offset: at + offset
    return lambda _: first  # folded, or with escapes: the value's beginning is said


def _block_mapping(query: str, lines: list[str], starts: list[int], line: int, first: int) -> Callable[[int], int]:
    following = [(k, shown) for k, shown in enumerate(lines[line:], line) if shown.strip()]
    if not following:
        return lambda _: first
    shown = following[0][1]
    indent = len(shown) - len(shown.lstrip(" "))

    def offset(at: int) -> int:
        at = min(at, len(query.rstrip()))  # the end of the text is that of what is written, not of a line after it
        number = query.count("\n", 0, at)
        column = at - (query.rfind("\n", 0, at) + 1)
        row = min(line + number, len(lines) - 1)
        return min(starts[row] + indent + column, starts[row + 1])

    return offset
