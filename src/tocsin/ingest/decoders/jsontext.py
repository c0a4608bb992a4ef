"""JSON in all the ways that logs hold it: a line per object, arrays, pretty-printed objects one after another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from tocsin.base.errors import Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.context import Context
from tocsin.ingest.decoders.lines import LongLine, line_blocks
from tocsin.ingest.decoders.shapes import add_object
from tocsin.ingest.decoders.source import Source
from tocsin.ingest.model import DecodedItem

__all__ = ["JsonSplitter", "decode_json", "decode_json_lines", "load_tolerant", "looks_like_lines", "split_json"]

_loads = orjson.loads
_WRAPPER = re.compile(rb'\s*\{\s*(?:"@?[\w.]+"\s*:\s*(?:"[^"]*"|[\d.]+|null|true|false)\s*,\s*){0,8}'
                      rb'"(?:Records|records|value|events|Events|results|Results|logs)"\s*:\s*(?=\[)')  # fmt: skip
_SURROGATE = re.compile("[\ud800-\udfff]")


_SPACED_KEY = re.compile(rb'(?<!\\)"\s+:')
_TWICE = "an object names a key twice; the last value counts"


def key_twice(text: bytes, value: dict[str, Any]) -> str | None:
    """A key that one object in the text names twice, or None. Parsers keep the last value; a reader that keeps the first sees another event.

    Cheap for the usual text: as many keys are written as the value holds.
    """
    # A quote after an escaped backslash ends a key; then no count is sure and the slow way decides.
    if b'\\\\"' not in text:
        written = text.count(b'":')
        if any(quote in text for quote in (b'" ', b'"\t', b'"\n', b'"\r')):
            written += len(_SPACED_KEY.findall(text))
        try:
            if written <= len(value) or written - text.count(b'\\":') <= _keys(value):
                return None
        except RecursionError:
            return None
    found: list[str] = []

    def seen(pairs: list[tuple[str, Any]]) -> None:
        names = set()
        for name, _ in pairs:
            if name in names:
                found.append(name)
            names.add(name)

    try:
        json.loads(text, object_pairs_hook=seen)
    except (ValueError, RecursionError):
        return None
    return found[0][:128] if found else None


def _keys(value: Any) -> int:
    if value.__class__ is dict:
        return len(value) + sum(_keys(v) for v in value.values() if v.__class__ is dict or v.__class__ is list)
    return sum(_keys(v) for v in value if v.__class__ is dict or v.__class__ is list)


def decode_json(source: Source, context: Context) -> Iterator[DecodedItem]:
    """Decodes a stream that starts like JSON; tells lines from documents by its head."""
    head = source.head
    if looks_like_lines(head):
        yield from decode_json_lines(source, context)
    else:
        yield from _decode_documents(source, context)


def looks_like_lines(head: bytes) -> bool:
    """True when objects stand one on a line. One good line in the first few is proof; so is an over-long first line."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] != b"{":
        return False
    lines = text.split(b"\n")
    for line in lines[:-1][:5]:
        stripped = line.strip()
        if not stripped:
            continue
        if stripped[:1] == b"{" and stripped[-1:] == b"}" and _is_object(stripped):
            return True
    first = lines[0].strip()
    if len(lines) == 1:
        # A single line, or the start of a longer one: objects may follow each other on it.
        return not _WRAPPER.match(text)
    return first[:1] == b"{" and first[-1:] == b"}"


def _is_object(line: bytes) -> bool:
    try:
        return _loads(line).__class__ is dict
    except orjson.JSONDecodeError:
        return load_tolerant(line)[0].__class__ is dict


def decode_json_lines(source: Source, context: Context) -> Iterator[DecodedItem]:
    """One object on each line; a bad line becomes one dead letter."""
    limit = context.limits.max_record_bytes
    for number, lines in line_blocks(source, limit, context.limits.dead_letter_bytes):
        for index, line in enumerate(lines):
            try:
                value = _loads(line)  # type: ignore[arg-type]
                context.record_bytes = len(line)  # type: ignore[arg-type]
                context.line = line  # type: ignore[assignment]
                if value.__class__ is dict:
                    twice = key_twice(line, value)  # type: ignore[arg-type]
                    if add_object(value, context):
                        if twice is not None:
                            context.note(_TWICE, f"line {number + index}, '{twice}'")
                        continue
            except orjson.JSONDecodeError:
                pass
            context.line = None  # a repaired line isn't what it was decoded from
            place = Place(source.name, line=number + index)
            if line.__class__ is LongLine:
                yield context.too_long(line, place)
                continue
            yield from _add_odd(line, place, context)  # type: ignore[arg-type]
        context.line = None
        yield from context.full()


def _add_odd(line: bytes, place: Place, context: Context) -> Iterator[DecodedItem]:
    """A line that is no single good object: blank, repairable, several objects, a list of objects, or a dead letter."""
    text = line.strip(b" \t\r\n\x1e\xef\xbb\xbf")
    if not text:
        return
    value, note = load_tolerant(text)
    if value.__class__ is dict:
        if note:
            context.note(note, f"line {place.line}" if place.line is not None else f"byte {place.offset}")
        if not add_object(value, context):
            yield context.dead("The object holds no event.", codes.JSON_NOT_OBJECT, place, text)
        return
    if value.__class__ is list and any(v.__class__ is dict for v in value):
        for item in value:
            if item.__class__ is not dict or not add_object(item, context):
                yield context.dead(
                    "An element of the array isn't an object.", codes.JSON_NOT_OBJECT, place, _dump(item)
                )
        return
    if value is not None:
        yield context.dead("The JSON value isn't an object.", codes.JSON_NOT_OBJECT, place, text)
        return
    pieces = [piece for piece in split_json(text) if piece.strip()]
    if len(pieces) > 1:
        parsed = [(piece, load_tolerant(piece)[0]) for piece in pieces]
        if any(v.__class__ is dict for _, v in parsed):
            for piece, item in parsed:
                if item.__class__ is not dict or not add_object(item, context):
                    yield context.dead(f"{_syntax(piece)}", codes.JSON_SYNTAX, place, piece)
            return
    yield context.dead(_syntax(text), codes.JSON_SYNTAX, place, text)


def _dump(value: object) -> bytes:
    return orjson.dumps(value, default=str)


def _syntax(text: bytes) -> str:
    try:
        _loads(text)
    except orjson.JSONDecodeError as error:
        return f"It isn't valid JSON: {error.msg} at character {error.pos + 1}."
    return "The JSON value isn't an object."


def load_tolerant(text: bytes) -> tuple[Any, str]:
    """Parses JSON that strict parsers refuse for its text: invalid UTF-8, lone surrogates, control characters, NaN.

    Returns (value, what was repaired); the value is None when it isn't JSON at all. Of equal keys the last one counts.
    """
    note = ""
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        decoded = text.decode("utf-8", "replace")
        note = "invalid UTF-8 was replaced"
    try:
        return _loads(decoded), note
    except (orjson.JSONDecodeError, TypeError):
        pass
    try:
        value = json.loads(decoded, strict=False)
    except (ValueError, RecursionError):
        return None, ""
    # A lone surrogate has no UTF-8 form; nothing below could store it.
    clean = _SURROGATE.sub("�", json.dumps(value, ensure_ascii=False))
    if clean != json.dumps(value, ensure_ascii=False):
        note = note or "lone surrogates were replaced"
    try:
        return _loads(clean), note or "JSON was repaired"
    except orjson.JSONDecodeError:
        try:
            return _scrub(value), note or "JSON was repaired"
        except RecursionError:
            return None, ""


def _scrub(value: Any) -> Any:
    """Replaces what orjson can't write (NaN, lone surrogates, huge integers) all through a value."""
    if isinstance(value, str):
        return _SURROGATE.sub("�", value)
    if isinstance(value, dict):
        return {_SURROGATE.sub("�", k): _scrub(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_scrub(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < (1 << 64):
        return str(value)
    return value


_QUOTE, _BRACKET, _CLOSE = b'"[]'
_OPEN = b"{["
_BETWEEN = b" \t\r\n,\x1e\xef\xbb\xbf"
# A whole string, a bracket, or the quote of a string that isn't finished yet.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["{}\[\]]', re.DOTALL)


class JsonSplitter:
    """Cuts a stream of JSON into its top-level objects, or the elements of its top-level array, with bounded memory.

    `feed` returns the finished pieces with their offset. Commas and white space between pieces are passed over; junk is returned as a
    piece of its own so that it isn't lost. A piece that grows over `limit` is given up as far as the next line that starts an object.
    With `stop_at_close`, reading ends where the outer array closes; `rest` is then what follows it.
    """

    def __init__(self, limit: int, *, stop_at_close: bool = False) -> None:
        self.limit = limit
        self.closed = False
        self._stop = stop_at_close
        self._buffer = b""
        self._offset = 0  # of the buffer within the stream
        self._scan = 0  # everything before was tokenised
        self._start = -1  # of the current piece, -1 between pieces
        self._between = 0  # end of the piece before; junk is looked for from here
        self._depth = 0
        self._begun = False

    def begin(self) -> None:
        """Says that the stream has no outer array: a bracket at its beginning is an element."""
        self._begun = True

    def feed(self, block: bytes) -> Iterator[tuple[int, bytes, bool]]:
        """Yields (offset, piece, too_long)."""
        self._buffer += block
        if self.closed:
            return
        buffer = self._buffer
        position = self._scan
        while (token := _TOKEN.search(buffer, position)) is not None:
            char = buffer[token.start()]
            if char == _QUOTE:
                if token.end() - token.start() == 1:
                    break
                position = token.end()
                continue
            position = token.end()
            if self._start >= 0:
                self._depth += 1 if char in _OPEN else -1
                if self._depth == 0:
                    yield self._offset + self._start, buffer[self._start : position], False
                    self._start, self._between = -1, position
                continue
            junk = buffer[self._between : token.start()].strip(_BETWEEN)
            if junk:
                yield self._offset + self._between, junk, False
            self._between = position
            if char == _BRACKET and not self._begun:
                self._begun = True
            elif char in _OPEN:
                self._start, self._depth, self._begun = token.start(), 1, True
            elif self._stop and char == _CLOSE:
                self.closed = True
                break
        keep = self._start if self._start >= 0 else self._between
        if not self.closed:
            # An unfinished string is looked at again from its quote.
            position = token.start() if token is not None else len(buffer)
            if len(buffer) - keep > self.limit:
                resume = buffer.find(b"\n{", keep + 1)
                end = resume + 1 if resume >= 0 else len(buffer)
                yield self._offset + keep, buffer[keep:end], True
                self._start, self._depth, self._between, keep, position = -1, 0, end, end, end
        self._buffer = buffer[keep:]
        self._offset += keep
        self._scan = position - keep
        self._between = 0
        if self._start >= 0:
            self._start = 0

    def rest(self) -> tuple[int, bytes]:
        """What is left at the end of the stream, with its offset: an unfinished piece, junk, or what follows a closed array."""
        return self._offset, self._buffer if self.closed else self._buffer.strip(_BETWEEN + b"]")


def split_json(text: bytes) -> list[bytes]:
    """The top-level JSON values (objects, arrays) of a text, junk between and after them as pieces too."""
    splitter = JsonSplitter(len(text) + 1)
    if text.lstrip()[:1] != b"[":
        splitter.begin()
    pieces = [piece for _, piece, _ in splitter.feed(text)]
    _, rest = splitter.rest()
    return [*pieces, rest] if rest else pieces


def _decode_documents(source: Source, context: Context) -> Iterator[DecodedItem]:
    """Arrays, envelopes around arrays, and objects over several lines."""
    limit = context.limits.max_record_bytes
    head = source.head
    wrapper = _WRAPPER.match(head.removeprefix(b"\xef\xbb\xbf"))
    if wrapper is not None:
        # `{"Records": [` … `]}`: read on from the array, so that the envelope may be as long as it likes.
        source.read(wrapper.end() + (3 if head.startswith(b"\xef\xbb\xbf") else 0))
    splitter = JsonSplitter(limit, stop_at_close=wrapper is not None)
    base = source.position
    while not splitter.closed and (block := source.read(1 << 20)):
        for offset, piece, too_long in splitter.feed(block):
            yield from _add_piece(piece, Place(source.name, offset=base + offset), too_long, context)
        yield from context.full()
    offset, rest = splitter.rest()
    if splitter.closed:
        yield from _after_envelope(rest, source, context)
    elif rest:
        place = Place(source.name, offset=base + offset)
        value, _ = load_tolerant(rest)
        if value.__class__ is dict and add_object(value, context):
            return
        reason = "The file ends within a JSON value." if rest[:1] in b"{[" else _syntax(rest)
        yield context.dead(reason, codes.JSON_SYNTAX, place, rest)


def _after_envelope(rest: bytes, source: Source, context: Context) -> Iterator[DecodedItem]:
    """Passes over the fields behind an envelope's list; another document may follow the envelope."""
    while True:
        depth = 0
        for token in _TOKEN.finditer(rest):
            char = rest[token.start()]
            if char != _QUOTE:
                depth += 1 if char in _OPEN else -1
                if depth < 0:
                    following = Source(source.name, _Joined(rest[token.end() :].lstrip(_BETWEEN), source))
                    if following.head.strip(_BETWEEN):
                        yield from _decode_documents(following, context)
                    return
        limit = context.limits.max_record_bytes
        block = source.read(1 << 20) if len(rest) <= limit else b""
        if not block:
            if rest.strip(_BETWEEN):
                place = Place(source.name, offset=source.position - len(rest))
                reason, code = "The file ends within what follows an envelope's list.", codes.JSON_SYNTAX
                if len(rest) > limit:
                    reason, code = f"What follows an envelope's list is longer than {limit} bytes.", codes.TOO_LONG
                yield context.dead(reason, code, place, rest)
            return
        rest += block


class _Joined:
    """Bytes that were read already, then the rest of their source."""

    def __init__(self, first: bytes, source: Source) -> None:
        self._first = first
        self._source = source

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes."""
        if self._first:
            out, self._first = self._first[:size], self._first[size:]
            return out
        return self._source.read(size)


def _add_piece(piece: bytes, place: Place, too_long: bool, context: Context) -> Iterator[DecodedItem]:
    if too_long:
        yield context.dead(
            f"A JSON value is longer than {context.limits.max_record_bytes} bytes.",
            codes.TOO_LONG,
            place,
            piece,
            hint="max_record_bytes",
        )
        return
    try:
        value = _loads(piece)
        if value.__class__ is dict:
            twice = key_twice(piece, value)
            if add_object(value, context):
                if twice is not None:
                    context.note(_TWICE, f"byte {place.offset}, '{twice}'")
                return
    except orjson.JSONDecodeError:
        pass
    yield from _add_odd(piece, place, context)
