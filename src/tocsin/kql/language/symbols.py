"""What a text defines: its lets, parameters and names given by `as`; where each is used, renaming, and what can be folded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from tocsin.kql import ast
from tocsin.kql.cursor_place import place_at, scope_at
from tocsin.kql.diagnostics import Diagnostic, KqlErrors
from tocsin.kql.lexer import END, NAME, comments, tokenize
from tocsin.kql.parser import parse_partial
from tocsin.kql.parser.names import RESERVED
from tocsin.kql.types import Catalog
from tocsin.kql.walk import children, walk

__all__ = ["Fold", "Kind", "Symbol", "definition", "folds", "references", "rename", "symbols"]

Kind = Literal["function", "table", "value", "parameter"]
_TABULAR_CALLS: Final = frozenset(("materialize", "table", "view", "datatable", "externaldata", "union", "range"))
_OPENING: Final = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name that the text defines. `name_span` is the name as it is written there, `span` the whole definition."""

    name: str
    kind: Kind
    span: tuple[int, int]
    name_span: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Fold:
    """Lines, from 1, of which all but the first can be hidden."""

    first: int
    last: int
    kind: Literal["region", "comment"] = "region"


@dataclass(slots=True)
class _Frame:
    """A function's body or the whole text. A name holds from an offset on."""

    parent: _Frame | None = None
    names: dict[str, list[tuple[int, Symbol]]] = field(default_factory=dict)

    def define(self, symbol: Symbol, start: int) -> None:
        self.names.setdefault(symbol.name, []).append((start, symbol))

    def find(self, name: str, offset: int) -> Symbol | None:
        frame: _Frame | None = self
        while frame is not None:
            for start, symbol in reversed(frame.names.get(name, ())):
                if start <= offset:
                    return symbol
            frame = frame.parent
        return None


class _Reader:
    """All definitions and uses of a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree, self.faults = parse_partial(text)
        self.tokens = tokenize(text)
        self.at = {start: k for k, start in enumerate(self.tokens.starts)}
        self.symbols: list[Symbol] = []
        self.uses: list[tuple[tuple[int, int], Symbol]] = []
        self._read()
        self.symbols.sort(key=lambda s: s.name_span)

    def _read(self) -> None:
        stack: list[tuple[ast.Node, _Frame]] = [(self.tree, _Frame())]
        found: list[tuple[ast.Name | ast.Call, _Frame]] = []
        while stack:
            node, frame = stack.pop()
            if isinstance(node, ast.Lambda):
                frame = _Frame(frame)
                for parameter in node.params:
                    self._define(frame, parameter.name, "parameter", parameter.span, parameter.span[0], 0)
            elif isinstance(node, ast.Let):
                name_at = self._after(node.span[0])
                self._define(frame, node.name, _kind(node.value), node.span, name_at, node.span[1])
            elif isinstance(node, ast.As):
                self._define(frame, node.name, "table", node.span, self._last(node.span[1]), node.span[1])
            elif isinstance(node, ast.DeclareParameters):
                for parameter in node.params:
                    self._define(frame, parameter.name, "parameter", parameter.span, parameter.span[0], node.span[1])
            elif isinstance(node, ast.Name | ast.Call):
                found.append((node, frame))
            stack.extend((child, frame) for child in children(node))
        for use, frame in found:
            name = use.name if isinstance(use, ast.Name) else use.callee
            span = use.span if isinstance(use, ast.Name) else use.callee_span
            symbol = frame.find(name, span[0])
            if symbol is not None:
                self.uses.append((span, symbol))

    def _define(
        self, frame: _Frame, name: str, kind: Kind, span: tuple[int, int], name_start: int, holds_from: int
    ) -> None:
        symbol = Symbol(name, kind, span, (name_start, self._name_end(name_start)))
        self.symbols.append(symbol)
        frame.define(symbol, holds_from)

    def _after(self, start: int) -> int:
        """Where the token after the one at an offset begins."""
        return self.tokens.starts[self.at[start] + 1]

    def _last(self, end: int) -> int:
        """Where the name that ends at an offset begins."""
        k = self.tokens.ends.index(end)
        while self.tokens.values[k] == "]" and k:
            k -= 2
        return self.tokens.starts[k]

    def _name_end(self, start: int) -> int:
        k = self.at[start]
        while self.tokens.values[k] == "[" and self.tokens.kinds[k + 2] != END:
            k += 2
        return self.tokens.ends[k]


def _kind(value: ast.Expr) -> Kind:
    if isinstance(value, ast.Lambda):
        return "function"
    if isinstance(value, ast.Pipeline) or (isinstance(value, ast.Call) and value.callee in _TABULAR_CALLS):
        return "table"
    return "value"


def symbols(text: str) -> list[Symbol]:
    """What the text defines, in its order. Parameters of functions are left out: they belong to their function."""
    return [symbol for symbol in _Reader(text).symbols if symbol.kind != "parameter"]


def definition(text: str, offset: int) -> Symbol | None:
    """The definition of the name at an offset."""
    return _at(_Reader(text), offset)


def references(text: str, offset: int, catalog: Catalog) -> list[tuple[int, int]]:
    """Every place of the name that is defined for the word at an offset, its definition too.

    A column of the same name hides it (as when the query runs): such places are not among them.
    """
    reader = _Reader(text)
    symbol = _at(reader, offset)
    return _places(reader, symbol, catalog) if symbol is not None else []


def rename(text: str, offset: int, name: str, catalog: Catalog) -> list[tuple[tuple[int, int], str]]:
    """The edits that give the name at an offset another; none where no name of the text's own stands.

    Raises KqlErrors: the new name can't be one, or the text has it already.
    """
    reader = _Reader(text)
    symbol = _at(reader, offset)
    if symbol is None:
        return []
    token = tokenize(name)
    if token.kinds != [NAME, END] or token.values[0] != name or name in RESERVED or name.startswith(("$", "!")):
        hint = "A name has letters, digits and underscores, and is no word of the language."
        raise KqlErrors(
            [Diagnostic.at(text, symbol.name_span, "KQL0010", f"'{name}' can't be a name.", hint=hint)], text
        )
    if name != symbol.name and any(isinstance(n, ast.Name) and n.name == name for n in walk(reader.tree)):
        message = f"The query uses the name '{name}' already."
        raise KqlErrors([Diagnostic.at(text, symbol.name_span, "KQL0109", message, hint="Choose another one.")], text)
    if name != symbol.name and any(s.name == name for s in reader.symbols):
        message = f"The query defines '{name}' already."
        raise KqlErrors([Diagnostic.at(text, symbol.name_span, "KQL0109", message, hint="Choose another one.")], text)
    places = _places(reader, symbol, catalog)
    if symbol.kind in ("value", "parameter") and any(_is_column(text, span, name, catalog) for span in places[1:]):
        message = f"'{name}' is a column where the name is used, and would be read as that."
        raise KqlErrors([Diagnostic.at(text, symbol.name_span, "KQL0109", message, hint="Choose another one.")], text)
    return [(span, name) for span in places]


def _at(reader: _Reader, offset: int) -> Symbol | None:
    for symbol in reader.symbols:
        if symbol.name_span[0] <= offset <= symbol.name_span[1]:
            return symbol
    return next((symbol for span, symbol in reader.uses if span[0] <= offset <= span[1]), None)


def _places(reader: _Reader, symbol: Symbol, catalog: Catalog) -> list[tuple[int, int]]:
    spans = [span for span, used in reader.uses if used is symbol]
    if symbol.kind in ("value", "parameter"):  # a column can stand only where a value stands
        spans = [span for span in spans if not _is_column(reader.text, span, symbol.name, catalog)]
    return sorted({symbol.name_span, *spans})


def _is_column(text: str, span: tuple[int, int], name: str, catalog: Catalog) -> bool:
    return any(column.name == name for column in scope_at(place_at(text, span[0]), catalog).columns)


def folds(text: str) -> list[Fold]:
    """Brackets, statements and runs of comments that go over several lines."""
    tokens = tokenize(text)
    found: set[Fold] = set()
    opened: list[int] = []
    line_of = _Lines(text)
    begin = 0
    for k, value in enumerate(tokens.values):
        if value in _OPENING:
            opened.append(k)
        elif value in (")", "]", "}") and opened:
            if _OPENING[tokens.values[opened[-1]]] == value:
                found.update(_fold(line_of(tokens.starts[opened.pop()]), line_of(tokens.starts[k])))
        elif (value == ";" and not opened) or tokens.kinds[k] == END:
            if k > begin:
                found.update(_fold(line_of(tokens.starts[begin]), line_of(tokens.ends[k - 1])))
            begin = k + 1
    found.update(_comment_folds(text, line_of))
    return sorted(found, key=lambda fold: (fold.first, -fold.last))


def _fold(first: int, last: int, kind: Literal["region", "comment"] = "region") -> Iterator[Fold]:
    if last > first:
        yield Fold(first, last, kind)


def _comment_folds(text: str, line_of: _Lines) -> Iterator[Fold]:
    tokens = tokenize(text)
    previous = 0
    for start, end in zip(tokens.starts, tokens.ends, strict=True):
        lines = [line_of(at) for at, _ in comments(text, previous, start)]
        run: list[int] = []
        for line in lines:
            if run and line != run[-1] + 1:
                yield from _fold(run[0], run[-1], "comment")
                run = []
            run.append(line)
        if run:
            yield from _fold(run[0], run[-1], "comment")
        previous = end


class _Lines:
    """Lines of offsets that are asked for in any order."""

    def __init__(self, text: str) -> None:
        self._breaks = [k for k, character in enumerate(text) if character == "\n"]

    def __call__(self, offset: int) -> int:
        from bisect import bisect_left

        return bisect_left(self._breaks, offset) + 1
