"""JSON lines of Windows events to verdicts with wheels alone: `orjson` reads them, dictionaries remember values and their classes.

`kernel.py` does the same natively. Both give back as *slow* the lines that aren't flat objects of known shape, or that need a look at their
whole text; those go through the decoder and `SigmaMatcher`, whose code says what rules mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import getitem, itemgetter
from typing import Any, Protocol

import orjson

from tocsin.detect.sigma.costs import Costs
from tocsin.detect.sigma.fields import FieldTable
from tocsin.detect.sigma.flat import SYSTEM_NAMES, FlatLayout, flat_layout
from tocsin.detect.sigma.keywords import Keywords, keywords_of
from tocsin.detect.sigma.nested import SEPARATOR, NestedLayout, nested_layout, spread
from tocsin.detect.sigma.program import Layout, Program
from tocsin.ingest.decoders import flatvalues

__all__ = ["LineLayout", "LineScanner", "Lines", "Programs", "PythonLines", "line_layout", "program_of"]

Lines = Sequence[bytes]
LineLayout = FlatLayout | NestedLayout
Programs = Callable[[str | None, int | None], Program | None]
"""The program of a channel and an event id."""
LAYOUTS = 4096
VALUE_BYTES = 48 << 20
"""About how much the values may take that are remembered."""
CHUNK = 1_000


class LineScanner(Protocol):
    """Judges lines."""

    def scan(self, lines: Lines) -> tuple[list[tuple[int, tuple[int, ...]]], list[int]]:
        """(number of the line, rules that hold) pairs, and the numbers of the lines that must be decoded."""
        ...

    def forget(self) -> None:
        """Forgets what was learnt of values."""
        ...


def line_layout(names: Sequence[str]) -> LineLayout | None:
    """The layout of objects of these names, as `spread` gives them; None for those that must be decoded."""
    if "EventID" in names:  # what was opened of a flat object is one value there
        return flat_layout(tuple(dict.fromkeys(n.partition(SEPARATOR)[0] for n in names)))
    return nested_layout(names)


def program_of(programs: Programs, channel: Any, event: Any) -> Program | None:
    """The program of the values of ``Channel`` and ``EventID`` in JSON."""
    name = channel if channel is None or channel.__class__ is str else flatvalues.field(channel)
    return programs(name, flatvalues.int32(event))


class _Budget:
    """Bounds what all tables remember together."""

    def __init__(self) -> None:
        self.tables: list[_Values] = []
        self._held = 0

    def take(self, size: int) -> None:
        """Counts a value's bytes; when they are too many, all tables forget theirs."""
        self._held += size
        if self._held > VALUE_BYTES:
            self.forget()

    def forget(self) -> None:
        """Empties all tables."""
        self._held = 0
        for table in self.tables:
            table.forget()


class _Values(dict[Any, frozenset[int]]):
    """Classes of one key's values, as JSON gives them."""

    def __init__(self, table: FieldTable, budget: _Budget, nested: bool) -> None:
        super().__init__()
        self._table = table
        self._budget = budget
        self._field = flatvalues.own if nested else flatvalues.field
        self._nested = nested
        budget.tables.append(self)
        self.forget()

    def __missing__(self, value: Any) -> frozenset[int]:
        if value.__class__ is not str:
            hash(value)  # a list or an object: TypeError
            return self._table.class_of(self._field(value)) if self._nested else self[self._field(value)]
        self._budget.take(len(value) + 100)
        found = self[value] = self._table.class_of(self._field(value))
        return found

    def forget(self) -> None:
        """Forgets all values."""
        self.clear()
        if not self._nested:
            self[None] = self._table.missing


class _Joined(dict[Any, frozenset[int]]):
    """Classes of what is made of several keys' values, or of one's in another way."""

    def __init__(self, table: FieldTable, layout: LineLayout, getter: str, inputs: tuple[str, ...]) -> None:
        super().__init__()
        self._table, self._layout, self._getter, self._inputs = table, layout, getter, inputs

    def __missing__(self, values: Any) -> frozenset[int]:
        if len(self) > 100_000:
            self.clear()
        raw = dict(zip(self._inputs, values if len(self._inputs) > 1 else (values,), strict=True))
        # True and 1 are one key: only texts are remembered.
        found = self._table[self._layout.value(self._getter, raw)]
        if all(v is None or v.__class__ is str for v in raw.values()):
            self[values] = found
        return found


class _Plan:
    """What is looked up for events of one layout, channel and event id."""

    def __init__(
        self,
        program: Program,
        layout: Layout,
        flat: LineLayout,
        tables: dict[tuple[int, bool], _Values],
        budget: _Budget,
        number: Any,
    ) -> None:
        self.program, self.layout = program, layout
        self.event = flat.event
        self.small = number in (0, 1)
        """Whether Python takes true or false for the event id."""
        self.keywords: Keywords | None = None
        self.always_slow = False
        getters: list[Any] = []
        self.tables: list[Mapping[Any, frozenset[int]]] = []
        constant: set[int] = set(layout.constant)
        plain: list[str] = []
        for table, getter in layout.slots:
            if getter == "":
                self.keywords = keywords_of(table.checks)
                self.always_slow |= self.keywords is None or (
                    flat.nested and any("{" in w or "}" in w for w in self.keywords.words)
                )
                continue
            inputs = flat.inputs(getter)
            if not inputs:
                constant |= table[flat.value(getter, {})]
            elif flat.plain(getter):
                plain.append(inputs[0])
                known = (id(table), flat.nested)
                values = tables.get(known)
                if values is None:
                    values = tables[known] = _Values(table, budget, flat.nested)
                self.tables.append(values)
            else:
                getters.append((itemgetter(*inputs), _Joined(table, flat, getter, inputs)))
        self.constant = frozenset(constant)
        self.joined = getters
        self.pick = itemgetter(*plain) if plain else None
        self.single = len(plain) == 1
        self.verdicts: dict[Any, tuple[int, ...]] = {}

    def judge(self, key: tuple[frozenset[int], ...]) -> tuple[int, ...]:
        """The verdict of classes not seen together before."""
        if len(self.verdicts) >= 200_000:
            self.verdicts.clear()
        found = self.verdicts[key] = self.program.judge(self.constant.union(*key))
        return found


class _Known:
    """A layout and its plans by channel and event id."""

    def __init__(self, flat: LineLayout) -> None:
        self.flat = flat
        self.head = itemgetter(flat.channel, flat.event)
        self.refused = next(iter(flat.refused.items()), None)
        self.plans: dict[Any, _Plan | None] = {}

    def refuses(self, event: Mapping[str, Any]) -> bool:
        """Whether the object says that it is something else."""
        if self.refused is None:
            return False
        value = event[self.refused[0]]
        return value.__class__ is str and value in self.refused[1]


class PythonLines:
    """The scanner of wheels alone."""

    def __init__(self, programs: Programs, costs: Costs | None = None) -> None:
        del costs  # values are judged by `FieldTable`, which counts
        self._programs = programs
        self._layouts: dict[tuple[str, ...], _Known | None] = {}
        self._tables: dict[tuple[int, bool], _Values] = {}
        self._budget = _Budget()

    def scan(self, lines: Lines) -> tuple[list[tuple[int, tuple[int, ...]]], list[int]]:
        """See `LineScanner.scan`."""
        hits: list[tuple[int, tuple[int, ...]]] = []
        slow: list[int] = []
        for start in range(0, len(lines), CHUNK):
            self._chunk(lines[start : start + CHUNK], start, hits, slow)
        return hits, slow

    def forget(self) -> None:
        """See `LineScanner.forget`."""
        self._budget.forget()
        for known in self._layouts.values():
            for plan in known.plans.values() if known else ():
                if plan is not None:
                    plan.verdicts.clear()
                    for _, joined in plan.joined:
                        joined.clear()

    def _chunk(self, lines: Lines, start: int, hits: list[tuple[int, tuple[int, ...]]], slow: list[int]) -> None:
        loads, layouts = orjson.loads, self._layouts
        spoken: list[Keywords | None] = [None] * len(lines)
        found: list[tuple[int, tuple[int, ...]]] = []
        plan: Any
        for index, line in enumerate(lines):
            try:
                event = loads(line)
                if "EventID" not in event and event.__class__ is dict:
                    if b"\\u001" in line:  # a name might hold the separator
                        slow.append(start + index)
                        continue
                    event = spread(event)
                known = layouts[tuple(event)]
                if known is None or (known.refused is not None and known.refuses(event)):
                    slow.append(start + index)
                    continue
                plan = known.plans[known.head(event)]
            except (KeyError, TypeError):
                plan = self._learn(event) if event.__class__ is dict else False
            except orjson.JSONDecodeError:
                plan = False
            if plan is None:
                continue
            if plan is False or plan.always_slow or (plan.small and event[plan.event].__class__ is bool):
                slow.append(start + index)
                continue
            try:
                pick = plan.pick
                if pick is None:
                    key: tuple[frozenset[int], ...] = ()
                elif plan.single:
                    key = (plan.tables[0][pick(event)],)
                else:
                    key = tuple(map(getitem, plan.tables, pick(event)))
                if plan.joined:
                    key += tuple([table[get(event)] for get, table in plan.joined])
            except TypeError:  # a list or an object in a field that a rule reads
                slow.append(start + index)
                continue
            verdict = plan.verdicts.get(key)
            if verdict is None:
                verdict = plan.judge(key)
            spoken[index] = plan.keywords
            if verdict:
                found.append((index, verdict))
        may = {at for at, keywords in enumerate(spoken) if keywords is not None and keywords.suspicious(lines[at])}
        hits.extend((start + index, verdict) for index, verdict in found if index not in may)
        slow.extend(start + index for index in may)

    def _learn(self, event: dict[str, Any]) -> Any:
        """The plan for an event of a kind not seen before: None where no rule can hold, False where it must be decoded."""
        names = tuple(event)
        if names not in self._layouts:
            if len(self._layouts) >= LAYOUTS:
                self._layouts.clear()
                self._tables.clear()
                self._budget = _Budget()
            flat = line_layout(names)
            self._layouts[names] = None if flat is None else _Known(flat)
        known = self._layouts[names]
        if known is None:
            return False
        channel, number = known.head(event)
        if known.refuses(event):
            return False
        if not isinstance(channel, str | None) or number.__class__ not in (int, str):
            return False
        key = (channel, number)
        if key not in known.plans:
            if len(known.plans) >= LAYOUTS:
                known.plans.clear()
            program = program_of(self._programs, channel, number)
            known.plans[key] = (
                None
                if program is None
                else _Plan(
                    program,
                    program.layout(known.flat.fields, SYSTEM_NAMES),
                    known.flat,
                    self._tables,
                    self._budget,
                    number,
                )
            )
        return known.plans[key]
