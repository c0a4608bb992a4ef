"""JSON lines of Windows events to verdicts by the native kernel, where it was built: `_kernel.c` scans, this module gives it its knowledge.

The kernel asks once for each sequence of keys, (channel, event id) and new value that it can't judge by itself; all answers come from the
same `Program` and `FieldTable` objects that `lines.py` and `SigmaMatcher` use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from tocsin.detect.sigma.checks import Exists, Glob, Regex, Text
from tocsin.detect.sigma.costs import Costs
from tocsin.detect.sigma.fields import FieldTable
from tocsin.detect.sigma.flat import SYSTEM_NAMES
from tocsin.detect.sigma.keywords import keywords_of
from tocsin.detect.sigma.lines import LineLayout, Lines, Programs, line_layout, program_of
from tocsin.detect.sigma.literals import needed_texts
from tocsin.detect.sigma.nested import ENTERED, SEPARATOR
from tocsin.detect.sigma.program import Layout, Program
from tocsin.ingest.decoders import flatvalues

try:
    from tocsin.detect.sigma import _kernel  # type: ignore[attr-defined,unused-ignore]
except ImportError:  # a wheel built without a compiler
    _kernel = None
if getattr(_kernel, "VERSION", 0) != 2:  # built before the last change of what both agree on
    _kernel = None

__all__ = ["AVAILABLE", "NativeLines"]

AVAILABLE = _kernel is not None
"""Whether the native kernel was built."""
VALUE_BYTES = 48 << 20
"""Remembered values; all are forgotten when they take more."""
MOST_LAYOUTS = 20_000
MOST_CLASSES = 2_000_000
MOST_GROUPS = 200_000
"""Layouts with their channels and event ids."""
_HOLDS, _GLOB, _ASK = range(3)
_ANCHORS = {"in": 0, "start": 1, "end": 2, "eq": 3}
_NO_RULE, _SLOW = -1, -2


class NativeLines:
    """The native scanner."""

    def __init__(self, programs: Programs, costs: Costs | None = None) -> None:
        self._programs = programs
        self._costs = costs
        self._begin()

    def _begin(self) -> None:
        self._asker = _Asker(self._programs, self._costs)
        self._kernel = _kernel.Kernel(self._asker, VALUE_BYTES, _entered())
        self._asker.kernel = self._kernel

    def scan(self, lines: Lines | bytes) -> tuple[list[tuple[int, tuple[int, ...]]], list[int]]:
        """See `tocsin.detect.sigma.lines.LineScanner.scan`; also takes a body of lines as it is."""
        hits, slow, _ = self._kernel.scan(lines)
        stats = self._kernel.stats()
        if (
            stats["layouts"] > MOST_LAYOUTS
            or stats["nodes"] > 400_000
            or stats["classes"] > MOST_CLASSES
            or stats["groups"] > MOST_GROUPS
        ):
            self._begin()  # a sender of endless new field names costs time, not memory
        return hits, slow

    def forget(self) -> None:
        """See `tocsin.detect.sigma.lines.LineScanner.forget`."""
        self._kernel.forget()

    def stats(self) -> dict[str, int]:
        """What the kernel counted since its tables were begun."""
        found: dict[str, int] = self._kernel.stats()
        return found


class _Table:
    """A kernel's table: which checks its ids stand for, and how a value is made of tokens."""

    def __init__(
        self, table: FieldTable, layout: LineLayout | None, getter: str, inputs: tuple[str, ...], nested: bool
    ) -> None:
        self.field = flatvalues.own if nested else flatvalues.field
        self.nested = nested
        self.table, self.layout, self.getter, self.inputs = table, layout, getter, inputs
        self.checks = list(table.checks)
        self.numbers = [table.checks[c] for c in self.checks]
        self.finders = (
            {at: c.finder for at, c in enumerate(self.checks) if isinstance(c, Regex)} if layout is None else {}
        )
        self.rest = table.rest_in() if layout is None else None
        self.local = {number: at for at, number in enumerate(self.numbers)}


class _Asker:
    """What the kernel asks."""

    def __init__(self, programs: Programs, costs: Costs | None) -> None:
        self.kernel: Any = None
        self._costs = costs
        self._programs = programs
        self._layouts: list[tuple[tuple[str, ...], LineLayout | None]] = []
        self._tables: list[_Table] = []
        self._by_key: dict[Any, int] = {}
        self._kept: list[Program] = []  # so that no other program gets the id of one that is known
        self._numbers: dict[int, int] = {}

    # ------------------------------------------------------------------ shapes

    def on_layout(self, number: int, names: tuple[bytes | bool, ...]) -> tuple[bool, int, int, int, Any]:
        """Of objects with these keys, True and False where one of them is opened and closed again.

        (whether such objects needn't be decoded, where the channel is, where the event id is, where a text is that may say otherwise, which
        texts say so).
        """
        assert number == len(self._layouts)
        try:
            texts = _joined(names)
            layout = line_layout(texts)
        except ValueError:  # not UTF-8, or an object twice
            texts, layout = (), None
        self._layouts.append((texts, layout))
        if layout is None:
            return False, -1, -1, -1, None
        guard = next(iter(layout.refused), "")
        refused = frozenset(t.encode() for t in layout.refused[guard]) if guard else None
        return (
            True,
            texts.index(layout.channel),
            texts.index(layout.event),
            texts.index(guard) if guard else -1,
            refused,
        )

    def on_group(self, layout: int, channel: bytes, event: bytes) -> int:
        """The plan of a layout's events of that channel and id."""
        names, flat = self._layouts[layout]
        assert flat is not None
        try:
            program = program_of(self._programs, orjson.loads(channel), orjson.loads(event))
        except orjson.JSONDecodeError:
            return _SLOW
        if flat.nested and event == b"null":
            return _SLOW  # the decoder knows where else it may stand
        if program is None:
            return _NO_RULE
        return self._plan(program, program.layout(flat.fields, SYSTEM_NAMES), names, flat)

    def _plan(self, program: Program, layout: Layout, names: tuple[str, ...], flat: LineLayout) -> int:
        places = {name: at for at, name in enumerate(names)}
        constant: set[int] = set(layout.constant)
        slots: list[tuple[int, tuple[int, ...]]] = []
        slow = False
        probes: list[bytes] = []
        words: list[bytes] = []
        for table, getter in layout.slots:
            if getter == "":
                keywords = keywords_of(table.checks)
                if keywords is None:
                    slow = True
                else:
                    probes, words = list(keywords.probes), [w.encode() for w in keywords.words]
                    # The decoder puts braces around ids there.
                    slow |= flat.nested and any("{" in w or "}" in w for w in keywords.words)
                continue
            inputs = flat.inputs(getter)
            if not inputs:
                constant |= table[flat.value(getter, {})]
                continue
            if not places.keys() >= set(inputs):
                return _SLOW  # an object that was opened
            number = self._table(table, flat, getter, inputs)
            slots.append((number, tuple(places[n] for n in inputs)))
        if len(slots) > 64 or any(len(p) > 8 for _, p in slots):
            return _SLOW
        if id(program) not in self._numbers:
            self._numbers[id(program)] = self.kernel.add_program(*program.code())
            self._kept.append(program)
        made: int = self.kernel.add_plan(self._numbers[id(program)], sorted(constant), slots, slow, probes, words)
        return made

    def _table(self, table: FieldTable, flat: LineLayout, getter: str, inputs: tuple[str, ...]) -> int:
        plain = flat.plain(getter)
        key = (id(table), flat.nested if plain else (id(flat), getter))
        known = self._by_key.get(key)
        if known is not None:
            return known
        number = len(self._tables)
        made = _Table(table, None if plain else flat, getter, inputs, flat.nested)
        self._tables.append(made)
        parts: tuple[Any, ...] = _native(made) if plain else ([], [], [], 0, [], [], [])
        given = self.kernel.add_table(
            plain, len(made.checks), *parts, [made.local[i] for i in sorted(table.missing)], made.numbers, flat.nested
        )
        assert given == number
        self._by_key[key] = number
        return number

    # ------------------------------------------------------------------ values

    def on_value(self, number: int, tokens: tuple[bytes, ...]) -> Sequence[int] | None:
        """The checks that hold for a value of these tokens, None where they aren't JSON."""
        made = self._tables[number]
        try:
            values = [orjson.loads(t) for t in tokens]
        except orjson.JSONDecodeError:
            return None
        flat = made.layout
        if flat is None:
            value = values[0]
            absent = value is None and not made.nested
            found = made.table.missing if absent else made.table.class_of(made.field(value))
        else:
            found = made.table.class_of(flat.value(made.getter, dict(zip(made.inputs, values, strict=True))))
        return [made.local[i] for i in found]

    def on_ask(self, number: int, text: bytes, ids: tuple[int, ...]) -> Sequence[int]:
        """Which of these checks hold for an ASCII text; the number behind the last check stands for all that no text guards."""
        made = self._tables[number]
        finders = made.finders
        if self._costs is not None and self._costs.due():
            made.table.measure([c for i in ids if i in finders and isinstance(c := made.checks[i], Regex)], text)
        found = [i for i in ids if i in finders and finders[i](text)]
        if made.rest is not None and ids[-1] == len(made.checks):
            local = made.local
            found.extend([local[i] for i in made.rest(text)])
        return found


def _native(made: _Table) -> tuple[Any, ...]:
    """A table's checks as `add_table` takes them; what isn't ASCII can't hold for the values that the kernel judges by itself."""
    lower: list[tuple[bytes, int, int, int]] = []
    cased: list[tuple[bytes, int, int, int]] = []
    globs: list[Any] = []
    always: list[int] = []
    tried: list[int] = []
    size = 0
    for number, check in enumerate(made.checks):
        match check:
            case Text(how, text, is_cased):
                if text.isascii():
                    (cased if is_cased else lower).append((text.encode(), _ANCHORS[how], number, _HOLDS))
            case Glob(parts, False):
                if all(p.isascii() for p in parts if isinstance(p, str)):
                    segments = _segments(parts)
                    globs.append((number, parts[0] is None, parts[-1] is None, segments))
                    size += sum(2 * len(t) for t, _ in segments)
                    if check.literal:
                        lower.append((check.literal.encode(), 0, number, _GLOB))
                    else:
                        tried.append(number)
            case Regex(pattern):
                lower.extend((text.encode(), 0, number, _ASK) for text in needed_texts(pattern) or ())
            case Exists(True):
                always.append(number)
    return lower, cased, globs, size, always, [] if made.rest is None else [len(made.checks)], tried


def _segments(parts: Sequence[str | bool | None]) -> tuple[tuple[bytes, bytes], ...]:
    """The texts between the asterisks of a glob, each with a mask that is 0 at a question mark."""
    found: list[tuple[bytes, bytes]] = []
    text, mask = b"", b""
    for part in (*parts, None):
        if part is None:
            if text:
                found.append((text, mask))
            text, mask = b"", b""
        elif part is True:
            text, mask = text + b"?", mask + b"\0"
        else:
            piece = str(part).encode()
            text, mask = text + piece, mask + b"\1" * len(piece)
    return tuple(found)


def _joined(names: Sequence[bytes | bool]) -> tuple[str, ...]:
    """The names as `spread` joins them. Raises ValueError where an object is there twice: which one counts is the decoder's business."""
    found: list[str] = []
    way: list[str] = []
    opened: set[str] = set()
    for name in names:
        if name is True:
            if found[-1] in opened:
                raise ValueError("twice")
            opened.add(found[-1])
            way.append(found.pop())
        elif name is False:
            way.pop()
        else:
            assert isinstance(name, bytes)
            found.append(way[-1] + SEPARATOR + name.decode() if way else name.decode())
    if not opened.isdisjoint(found):
        raise ValueError("twice")
    return tuple(found)


def _entered() -> list[tuple[int, bytes]]:
    """The objects to open: (number of the one around it or 0, key); numbers count from one in this order."""
    paths = sorted(ENTERED, key=lambda p: (p.count(SEPARATOR), p))
    numbers = {path: number for number, path in enumerate(paths, 1)}
    return [(numbers.get(path.rpartition(SEPARATOR)[0], 0), path.rpartition(SEPARATOR)[2].encode()) for path in paths]
