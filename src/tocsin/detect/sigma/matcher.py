"""Matches Sigma rules on source batches and makes alerts of the hits.

`SigmaMatcher.match` looks at rows as their source names them, before any parser. Events are dispatched by source, channel and event id
to a `Program` that holds only the rules which such an event can satisfy.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import orjson
import pyarrow as pa

from tocsin.detect.alert import Alert
from tocsin.detect.rule import Rule
from tocsin.detect.sigma.checks import Check, Regex
from tocsin.detect.sigma.computed import COMPUTED, hashable, inside
from tocsin.detect.sigma.correlation import Correlations, Hit
from tocsin.detect.sigma.costs import Costs
from tocsin.detect.sigma.events import EPOCH, Assets, batch_events, line_events
from tocsin.detect.sigma.flat import COLUMN, SYSTEM_NAMES
from tocsin.detect.sigma.gather import Gatherer
from tocsin.detect.sigma.kernel import AVAILABLE, NativeLines
from tocsin.detect.sigma.lines import LineScanner, PythonLines
from tocsin.detect.sigma.model import CorrelationBody, SigmaBody
from tocsin.detect.sigma.networks import SensorNetworks
from tocsin.detect.sigma.program import Bound, Layout, Program, whole_text
from tocsin.detect.sigma.tree import leaves, values_of
from tocsin.ingest.decoders import decode_body
from tocsin.ingest.eventlogs import name_key
from tocsin.ingest.model import SourceBatch
from tocsin.tables.kinds import KINDS

__all__ = ["SigmaMatcher", "SigmaStats"]

WINDOWS = (KINDS.windows, KINDS.sysmon_linux)
LATE = timedelta(minutes=5)
"""How much later than its time a live event may come and still be counted in a correlation that waits for the end of its span."""


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
    gives the alerts of everything, complete with counts. JSON lines go through the native kernel where it was built, unless `native` says
    otherwise; what it finds is the same.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        live: bool = False,
        burst: timedelta = timedelta(hours=1),
        clock: Callable[[], float] = time.monotonic,
        native: bool | None = None,
        costs: Costs | None = None,
        networks: SensorNetworks | None = None,
    ) -> None:
        """`networks`: those that Zeek's sensors watch; one for all where it isn't given."""
        self._networks = networks or SensorNetworks()
        self.rules = [r for r in rules if r.enabled and isinstance(r.compiled, SigmaBody | CorrelationBody)]
        self.stats = SigmaStats()
        self.costs = costs or Costs()
        self._checks_of: dict[int, frozenset[Check]] = {}
        self._by_source: dict[str, list[Bound]] = defaultdict(list)
        for number, rule in enumerate(self.rules):
            if isinstance(rule.compiled, SigmaBody):
                if checks := frozenset(x.check for x in leaves(rule.compiled.tree) if isinstance(x.check, Regex)):
                    self._checks_of[number] = checks
                events = values_of(rule.compiled.tree, "eventid")
                for binding in rule.compiled.bindings:
                    self._by_source[binding.source].append(Bound(number, rule.compiled.tree, binding, events))
        self._programs: dict[tuple[Any, ...], Program | None] = {}
        self._gather = Gatherer(live=live, burst=burst, clock=clock)
        self._live = live
        self._assets = Assets(self._networks)
        self._correlations = Correlations(self.rules)
        self._waiting: list[Hit] = []
        self.native = AVAILABLE if native is None else native
        self._scanner: LineScanner = self._new_scanner()
        self._clock = clock
        self._latest: tuple[datetime, float] | None = None
        """The latest hit's time, and the clock when it came: the stream's own time goes on from there."""

    def _new_scanner(self) -> LineScanner:
        scanner = NativeLines if self.native else PythonLines
        return scanner(lambda c, e: self._windows_program(KINDS.windows, c, e), self.costs)

    def spent(self) -> dict[str, int]:
        """What rules took since the last time: nanoseconds of CPU by rule id; see `tocsin.detect.sigma.costs`."""
        found = self.costs.take(self._checks_of)
        return {self.rules[number].id: took for number, took in found.items() if took}

    def drop(self, rule_ids: Collection[str]) -> None:
        """Evaluates these rules no more. What others have gathered stays; values and verdicts are learnt anew."""
        numbers = {n for n, rule in enumerate(self.rules) if rule.id in rule_ids}
        for source, bound in self._by_source.items():
            self._by_source[source] = [b for b in bound if b.number not in numbers]
        for number in numbers:
            self._checks_of.pop(number, None)
        self._programs = {}
        self._scanner = self._new_scanner()

    @property
    def sources(self) -> frozenset[str]:
        """Source kinds that some rule reads."""
        return frozenset(self._by_source)

    def fed(self) -> frozenset[str]:
        """Ids of the rules that could hold for some kind of event that has come: of their source, channel and number. From any thread."""
        programs = list(self._programs.values())
        return frozenset(self.rules[n].id for p in programs if p is not None for n in p.numbers)

    def match(self, batch: SourceBatch) -> list[Alert]:
        """Looks at a batch; see the class for when alerts come out."""
        self.stats.rows += len(batch)
        if batch.source not in self._by_source or not len(batch):
            return self._raise(self._correlations.close(self._now([]) - LATE)) if self._live else []
        return self._take(self.hits(batch))

    def _take(self, hits: Sequence[Hit]) -> list[Alert]:
        self.stats.hits += len(hits)
        began = self.costs.now()
        now = self._now(hits) if self._live else EPOCH
        alerts: list[Alert] = []
        fired = [hit.number for hit in hits]
        for hit in hits:
            body = hit.rule.compiled
            if not body.silent:
                alerts.extend(self._gather.add(hit))
        if self._correlations:
            hits = [h for h in hits if self._correlations.wants(h)]
            for hit in hits:
                hit.event.keep()
            if self._live:
                alerts.extend(self._raise(self._correlations.add(hits)))
                alerts.extend(self._raise(self._correlations.close(now - LATE)))
            else:
                # Files come in any order; correlations need the order of time.
                self._waiting.extend(hits)
        self.costs.hits(fired, self.costs.now() - began)
        return alerts

    def finish(self) -> list[Alert]:
        """What is left to say at the end of a scan, by time."""
        self._raise(self._correlations.add(self._waiting))
        self._waiting = []
        self._raise(self._correlations.finish())
        return self._gather.finish()

    def kept(self, now: datetime) -> dict[str, Any]:
        """What a live matcher knows of the past, as plain values that `take_back` goes on from; `now` is the time of day."""
        latest = self._latest[0] if self._latest else None
        return {
            **self._gather.kept(now),
            "correlations": self._correlations.kept(latest),
            "latest": latest.isoformat() if latest else None,
        }

    def take_back(self, plain: Mapping[str, Any], now: datetime) -> None:
        """Goes on where another matcher, of an earlier run or of other rules, gave `kept`. Raises TypeError, ValueError or KeyError for
        what isn't of `kept`'s shape."""
        rules = {r.id: (n, r) for n, r in enumerate(self.rules)}
        self._gather.take_back(plain, rules, now)
        self._correlations.take_back(plain["correlations"], rules)
        if plain["latest"] is not None:
            self._latest = (datetime.fromisoformat(plain["latest"]), self._clock())

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

    def hits(self, batch: SourceBatch, *, lines: bool = True) -> list[Hit]:
        """Every (rule, event) pair of a batch, in row order. Without `lines` only the decoded rows are looked at."""
        return [hit for _, hit in self._numbered(batch, lines=lines)]

    def _numbered(self, batch: SourceBatch, *, lines: bool) -> list[tuple[int, Hit]]:
        """As `hits`, each with the number of its row."""
        found = self._windows(batch, lines=lines) if batch.source in WINDOWS else self._plain(batch)
        found.sort(key=itemgetter(0))
        events = batch_events(batch, [i for i, _ in found], self._assets) if found else []
        return [
            (row, Hit(self.rules[n], event, number=n))
            for (row, numbers), event in zip(found, events, strict=True)
            for n in numbers
        ]

    # ------------------------------------------------------------------ Windows events

    def forget(self) -> None:
        """Forgets values, classes, verdicts and open bursts, not the compiled rules: as after a start."""
        self._scanner.forget()
        self._assets = Assets(self._networks)
        self._gather.forget()

    def match_lines(self, lines: Sequence[bytes], origin: str = "") -> list[Alert]:
        """Looks at JSON lines of Windows events; as `match` on what they decode to, but only what fires is decoded.

        Hits are taken in the order of the lines, whichever way a line went: bursts and correlations see the same stream with the kernel and without.
        """
        verdicts, slow = self._scanner.scan(lines)
        self.stats.judged += len(lines) - len(slow)
        self.stats.rows += len(lines) - len(slow)
        events = line_events([lines[i] for i, _ in verdicts], self._assets) if verdicts else []
        found = [
            (at, Hit(self.rules[n], event, number=n))
            for (at, numbers), event in zip(verdicts, events, strict=True)
            for n in numbers
        ]
        if slow:
            found += self._decoded(lines, slow, origin)
        found.sort(key=itemgetter(0))
        return self._take([hit for _, hit in found])

    def _decoded(self, lines: Sequence[bytes], slow: Sequence[int], origin: str) -> list[tuple[int, Hit]]:
        """Hits of the lines that must be decoded, each with the number of its line; equal lines may stand for each other."""
        places: dict[bytes, deque[int]] = defaultdict(deque)
        for at in sorted(slow):
            places[lines[at]].append(at)
        found: list[tuple[int, Hit]] = []
        for batch in self._batches([lines[i] for i in slow], origin):
            of = [
                None if line is None or not places.get(line) else places[line].popleft() for line in batch.lines or ()
            ]
            self.stats.rows += sum(at is not None for at in of)
            for row, hit in self._numbered(batch, lines=False) if any(at is not None for at in of) else ():
                if (place := of[row]) is not None:
                    found.append((place, hit))
        # What isn't a row's whole line (an envelope, a line that was repaired) only tells its place by itself.
        for at in sorted(at for left in places.values() for at in left):
            for batch in self._batches([lines[at]], origin):
                self.stats.rows += len(batch)
                found.extend((at, hit) for _, hit in self._numbered(batch, lines=False))
        return found

    def _batches(self, lines: Sequence[bytes], origin: str) -> list[SourceBatch]:
        body = _Body(b"\n".join(lines), {"path": origin})
        return [b for b in decode_body(body) if isinstance(b, SourceBatch)]

    def _windows(self, batch: SourceBatch, *, lines: bool = True) -> list[tuple[int, tuple[int, ...]]]:
        if not lines or batch.lines is None or batch.source != KINDS.windows:
            return self._windows_rows(batch, range(len(batch)))
        at = [i for i, line in enumerate(batch.lines) if line is not None]
        verdicts, slow = self._scanner.scan([line for line in batch.lines if line is not None])
        self.stats.judged += len(at) - len(slow)
        others = sorted({at[i] for i in slow} | (set(range(len(batch))) - set(at)))
        return [(at[i], numbers) for i, numbers in verdicts] + (self._windows_rows(batch, others) if others else [])

    def _windows_rows(self, batch: SourceBatch, chosen: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
        channels = batch.rows.column("Channel").to_pylist()
        events = batch.rows.column("EventID").to_pylist()
        data = batch.event_data()
        groups: dict[tuple[Any, ...], tuple[Program, dict[tuple[str, ...], list[int]]]] = {}
        skipped: set[tuple[Any, ...]] = set()
        for index in chosen:
            key = (channels[index], events[index])
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
        for program, layouts in groups.values():
            for names, indexes in layouts.items():
                layout = program.layout(names, SYSTEM_NAMES)
                found.extend(self._judge(program, layout, [data[i] for i in indexes], indexes, columns))
        return found

    def _windows_program(self, source: str, channel: str | None, event: int | None) -> Program | None:
        key = (source, channel, event)
        if key not in self._programs:
            name = name_key(channel or "")
            rules = [
                b
                for b in self._by_source[source]
                if (b.binding.channels is None or name in b.binding.channels)
                and (b.binding.events is None or event in b.binding.events)
                and (b.events is None or event is None or str(event) in b.events)
            ]
            constants = {"channel": channel or "", "eventlog": channel or ""}
            if event is not None:
                constants["eventid"] = str(event)
            program = Program(rules, constants, self.costs)
            self._programs[key] = None if program.empty else program
        return self._programs[key]

    # ------------------------------------------------------------------ other sources

    def _plain(self, batch: SourceBatch) -> list[tuple[int, tuple[int, ...]]]:
        key = (batch.source,)
        if key not in self._programs:
            program = Program(self._by_source[batch.source], {}, self.costs)
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


@dataclass(frozen=True, slots=True)
class _Body:
    """Lines as the decoder of bodies takes them."""

    data: bytes
    meta: Mapping[str, str]
    source: str = "jsonl"
    received: datetime = EPOCH


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
    if getter[0] == COLUMN:
        column = columns.get(getter[1:])
        return [column[i] for i in indexes]
    if getter[0] == "@":
        function: Callable[[Mapping[str, Any]], Any] = COMPUTED[getter]
        return [function(e) for e in events]
    if "\x01" in getter:
        name, _, path = getter.partition("\x01")
        return [inside(e.get(name), path) for e in events]
    values = [e[getter] for e in events]
    return [hashable(v) if isinstance(v, list | dict) else v for v in values]


def _dicts(batch: SourceBatch) -> list[dict[str, Any]]:
    """A batch's rows as mappings without what is null; an audit event's fields beside its types."""
    rows = batch.rows.to_pylist()
    if batch.source == KINDS.audit:
        return [{**orjson.loads(r.get("Fields") or "{}"), "Types": orjson.loads(r.get("Types") or "[]")} for r in rows]
    return [{k: _jsonable(v) for k, v in r.items() if v is not None} for r in rows]


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return value
