"""Matches Sigma rules on source batches and makes alerts of the hits.

`SigmaMatcher.match` looks at rows as their source names them, before any parser. Events are dispatched by source, channel and event id
to a `Program` that holds only the rules which such an event can satisfy.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa

from tocsin.detect.alert import Alert
from tocsin.detect.make import assets_of
from tocsin.detect.rule import Rule
from tocsin.detect.sigma.computed import COMPUTED
from tocsin.detect.sigma.correlation import Correlations, Hit
from tocsin.detect.sigma.events import EPOCH, event_entities, event_row, event_time
from tocsin.detect.sigma.gather import Gatherer
from tocsin.detect.sigma.logsource import plain_name
from tocsin.detect.sigma.model import CorrelationBody, SigmaBody
from tocsin.detect.sigma.program import Bound, Layout, Program, whole_text
from tocsin.detect.sigma.tree import values_of
from tocsin.ingest.model import SourceBatch

__all__ = ["SigmaMatcher", "SigmaStats"]

WINDOWS = ("windows.event", "linux.sysmon")
_SYSTEM = ("EventID", "Channel", "Provider", "Computer", "TimeCreated", "EventRecordID", "Level", "Task", "Opcode", "Version", "Keywords",
           "UserSid", "ProcessID", "ThreadID", "Message")  # fmt: skip
_SYSTEM_NAMES: Mapping[str, str] = {
    "providername": "Provider", "provider": "Provider", "computer": "Computer", "computername": "Computer", "hostname": "Computer",
    "level": "Level", "task": "Task", "opcode": "Opcode", "version": "Version", "keywords": "Keywords", "userid": "UserSid",
    "usersid": "UserSid", "message": "Message", "eventrecordid": "EventRecordID", "executionprocessid": "ProcessID",
}  # fmt: skip
LATE = timedelta(minutes=5)
"""How much later than its time a live event may come and still be counted in a correlation that waits for the end of its span."""
_COLUMN = "\x02"
"""Marks a getter that reads a column of the batch instead of the event's own fields."""


@dataclass(slots=True)
class SigmaStats:
    """Counts since the start: rows seen, rows that some rule could look at, hits."""

    rows: int = 0
    judged: int = 0
    hits: int = 0


class SigmaMatcher:
    """Evaluates Sigma rules; one thread at a time.

    With `live` each call of `match` gives the alerts of its batch at once, and later hits of the same rule on the same hosts and accounts within
    `burst` are counted but raise no further alert. Without it (a scan) hits are gathered, `match` gives nothing, and `finish`
    gives the alerts of everything, complete with counts.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        live: bool = False,
        burst: timedelta = timedelta(hours=1),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules = [r for r in rules if r.enabled and isinstance(r.compiled, SigmaBody | CorrelationBody)]
        self.stats = SigmaStats()
        self._by_source: dict[str, list[Bound]] = defaultdict(list)
        for number, rule in enumerate(self.rules):
            if isinstance(rule.compiled, SigmaBody):
                events = values_of(rule.compiled.tree, "eventid")
                for binding in rule.compiled.bindings:
                    self._by_source[binding.source].append(Bound(number, rule.compiled.tree, binding, events))
        self._programs: dict[tuple[Any, ...], Program | None] = {}
        self._gather = Gatherer(live=live, burst=burst)
        self._live = live
        self._correlations = Correlations(self.rules)
        self._waiting: list[Hit] = []
        self._clock = clock
        self._latest: tuple[datetime, float] | None = None
        """The latest hit's time, and the clock when it came: the stream's own time goes on from there."""

    @property
    def sources(self) -> frozenset[str]:
        """Source kinds that some rule reads."""
        return frozenset(self._by_source)

    def match(self, batch: SourceBatch) -> list[Alert]:
        """Looks at a batch; see the class for when alerts come out."""
        self.stats.rows += len(batch)
        if batch.source not in self._by_source or not len(batch):
            return self._raise(self._correlations.close(self._now([]) - LATE)) if self._live else []
        hits = self.hits(batch)
        self.stats.hits += len(hits)
        alerts = []
        for hit in hits:
            body = hit.rule.compiled
            if not body.silent:
                alerts.extend(self._gather.add(hit))
        if self._correlations:
            if self._live:
                alerts.extend(self._raise(self._correlations.add(hits)))
                alerts.extend(self._raise(self._correlations.close(self._now(hits) - LATE)))
            else:
                # Files come in any order; correlations need the order of time.
                self._waiting.extend(h for h in hits if self._correlations.wants(h))
        return alerts

    def finish(self) -> list[Alert]:
        """What is left to say at the end of a scan, by time."""
        self._raise(self._correlations.add(self._waiting))
        self._waiting = []
        self._raise(self._correlations.finish())
        return self._gather.finish()

    def _now(self, hits: Sequence[Hit]) -> datetime:
        """What time it is in the stream, by its latest hit and the time since; a replay of old data has old times."""
        for hit in hits:
            if self._latest is None or hit.time > self._latest[0]:
                self._latest = (hit.time, self._clock())
        return self._latest[0] + timedelta(seconds=self._clock() - self._latest[1]) if self._latest else EPOCH + LATE

    def _raise(self, hits: Sequence[Hit]) -> list[Alert]:
        alerts = []
        for hit in hits:
            if not hit.rule.compiled.silent:
                alerts.extend(self._gather.add(hit))
        return alerts

    def hits(self, batch: SourceBatch) -> list[Hit]:
        """Every (rule, event) pair of a batch, in row order."""
        found = self._windows(batch) if batch.source in WINDOWS else self._plain(batch)
        found.sort(key=lambda pair: pair[0])
        made: list[Hit] = []
        for index, numbers in found:
            row = event_row(batch, index)
            at = event_time(batch.source, row)
            entities = event_entities(batch.source, row)
            assets = assets_of(entities)
            made.extend(Hit(self.rules[n], at, batch.source, row, entities, assets) for n in numbers)
        return made

    # ------------------------------------------------------------------ Windows events

    def _windows(self, batch: SourceBatch) -> list[tuple[int, tuple[int, ...]]]:
        channels = batch.rows.column("Channel").to_pylist()
        events = batch.rows.column("EventID").to_pylist()
        data = batch.event_data()
        groups: dict[tuple[Any, ...], tuple[Program, dict[tuple[str, ...], list[int]]]] = {}
        skipped: set[tuple[Any, ...]] = set()
        for index, key in enumerate(zip(channels, events, strict=True)):
            if key in skipped:
                continue
            group = groups.get(key)
            if group is None:
                program = self._windows_program(batch.source, key[0], key[1])
                if program is None:
                    skipped.add(key)
                    continue
                group = groups[key] = (program, defaultdict(list))
            group[1][tuple(data[index])].append(index)
        columns = _Columns(batch.rows)
        found: list[tuple[int, tuple[int, ...]]] = []
        more = {plain: _COLUMN + name for plain, name in _SYSTEM_NAMES.items()}
        for program, layouts in groups.values():
            for names, indexes in layouts.items():
                layout = program.layout(names, more)
                found.extend(self._judge(program, layout, [data[i] for i in indexes], indexes, columns))
        return found

    def _windows_program(self, source: str, channel: str | None, event: int | None) -> Program | None:
        key = (source, channel, event)
        if key not in self._programs:
            low = (channel or "").lower()
            rules = [
                b
                for b in self._by_source[source]
                if (b.binding.channels is None or low in b.binding.channels)
                and (b.binding.events is None or event in b.binding.events)
                and (b.events is None or event is None or str(event) in b.events)
            ]
            constants = {"channel": channel or "", "eventlog": channel or ""}
            if event is not None:
                constants["eventid"] = str(event)
            program = Program(rules, constants)
            self._programs[key] = None if program.empty else program
        return self._programs[key]

    # ------------------------------------------------------------------ other sources

    def _plain(self, batch: SourceBatch) -> list[tuple[int, tuple[int, ...]]]:
        key = (batch.source,)
        if key not in self._programs:
            program = Program(self._by_source[batch.source], {})
            self._programs[key] = None if program.empty else program
        known = self._programs[key]
        if known is None:
            return []
        rows = _dicts(batch)
        layouts: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            layouts[tuple(row)].append(index)
        columns = _Columns(batch.rows)
        found: list[tuple[int, tuple[int, ...]]] = []
        for names, indexes in layouts.items():
            layout = known.layout(names)
            found.extend(self._judge(known, layout, [rows[i] for i in indexes], indexes, columns))
        return found

    # ------------------------------------------------------------------ judging

    def _judge(
        self,
        program: Program,
        layout: Layout,
        events: Sequence[Mapping[str, Any]],
        indexes: Sequence[int],
        columns: _Columns,
    ) -> list[tuple[int, tuple[int, ...]]]:
        self.stats.judged += len(indexes)
        classes = []
        for table, getter in layout.slots:
            values = _values(getter, events, indexes, columns)
            classes.append([table[v] for v in values])
        verdicts = layout.verdicts
        judge = program.verdict
        rows: Iterable[tuple[frozenset[int], ...]] = zip(*classes, strict=True) if classes else [()] * len(indexes)
        found = []
        for index, row in zip(indexes, rows, strict=True):
            verdict = verdicts.get(row)
            if verdict is None:
                verdict = judge(layout, row)
            if verdict:
                found.append((index, verdict))
        return found


class _Columns:
    """A batch's columns as Python lists, made when first asked for."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._lists: dict[str, list[Any]] = {}

    def get(self, name: str) -> list[Any]:
        found = self._lists.get(name)
        if found is None:
            known = name in self._rows.column_names
            found = self._lists[name] = self._rows.column(name).to_pylist() if known else [None] * self._rows.num_rows
        return found


def _values(getter: str, events: Sequence[Mapping[str, Any]], indexes: Sequence[int], columns: _Columns) -> list[Any]:
    if getter == "":
        message = columns.get("Message")
        return [
            whole_text(e.values()) if message[i] is None else whole_text((*e.values(), message[i]))
            for e, i in zip(events, indexes, strict=True)
        ]
    if "\x00" in getter:
        one, other = (_values(g, events, indexes, columns) for g in getter.split("\x00"))
        return list(zip(one, other, strict=True))
    if getter[0] == _COLUMN:
        column = columns.get(getter[1:])
        return [column[i] for i in indexes]
    if getter[0] == "@":
        function: Callable[[Mapping[str, Any]], Any] = COMPUTED[getter]
        return [function(e) for e in events]
    if "\x01" in getter:
        name, _, path = getter.partition("\x01")
        return [_inside(e.get(name), path) for e in events]
    values = [e[getter] for e in events]
    return [_hashable(v) if isinstance(v, list | dict) else v for v in values]


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(v if isinstance(v, str) else orjson.dumps(v).decode() for v in value)
    return orjson.dumps(value).decode()


def _inside(value: Any, path: str) -> Any:
    """A member of a JSON value by dotted path, names compared without case and punctuation."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    for step in path.split("."):
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, dict):
            return None
        wanted = plain_name(step)
        value = next((v for k, v in value.items() if plain_name(k) == wanted), None)
    return _hashable(value) if isinstance(value, list | dict) else value


def _dicts(batch: SourceBatch) -> list[dict[str, Any]]:
    """A batch's rows as mappings without what is null; an audit event's fields beside its types."""
    rows = batch.rows.to_pylist()
    if batch.source == "linux.auditd":
        return [{**orjson.loads(r.get("Fields") or "{}"), "Types": orjson.loads(r.get("Types") or "[]")} for r in rows]
    return [{k: _jsonable(v) for k, v in r.items() if v is not None} for r in rows]


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return value
