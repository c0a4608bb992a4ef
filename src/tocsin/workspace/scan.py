"""A scan: files in, incidents out, without a server. What `tocsin scan` does, as a function.

Files are decoded and mapped batch by batch into a lake (a temporary one, or the one to be kept); Sigma rules look at each batch as it
passes; then the KQL rules run over the rows on the data's own time; then everything is correlated. Memory stays bounded by the lake's settings.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.base.clock import Clock, SystemClock
from tocsin.base.errors import DetectError, IngestError, LakeError, TocsinError
from tocsin.content import Content, load_packs, packs_dir
from tocsin.detect.alert import Alert
from tocsin.detect.backfill import run_over
from tocsin.detect.load import placeholders_of, rules_of_content
from tocsin.detect.rule import Rule, RuleKind
from tocsin.incidents import Correlator, Incident, incident_view
from tocsin.incidents.aliases import Claim
from tocsin.incidents.fusion import patterns_of
from tocsin.incidents.judging import AssetRow, judge_of_scan, set_assets
from tocsin.incidents.links import links_of
from tocsin.incidents.load import alert_of
from tocsin.incidents.priority import Judge
from tocsin.incidents.teaching import row_of_claim
from tocsin.ingest.decoders import decode_paths
from tocsin.ingest.decoders.declared import declare
from tocsin.ingest.letters import DEAD_LETTERS, dead_letter_rows
from tocsin.ingest.mapping import Mapper
from tocsin.ingest.model import DeadLetter, FileReport, SourceBatch
from tocsin.ingest.schemas import EVENT_KINDS
from tocsin.kql.types import Catalog
from tocsin.lake import Lake, TableBatch
from tocsin.lake.settings import EngineSettings, LakeSettings
from tocsin.query import QueryService
from tocsin.tables import INGESTION_TIME, catalogue
from tocsin.tables.own import own
from tocsin.workspace.alertrows import alert_evidence, alert_info, security_alert
from tocsin.workspace.aliases import book_over
from tocsin.workspace.assets import find_assets
from tocsin.workspace.places import use_places
from tocsin.workspace.scan_anomalies import run_anomalies, write_rows
from tocsin.workspace.writeback import security_incident

__all__ = ["Progress", "ScanResult", "scan"]

_UNFIT = ("LAK0006", "LAK0007", "LAK0008")
"""Rows that fit no table."""
_WORTH_MAPPING = 4_000
_UNFED = frozenset({"DET0008", "DET0009"})
_GATHERED_BYTES = 16 << 20
_LETTERS_AT_ONCE = 256
_LETTERS_OF_A_FILE = 5
_LETTERS_IN_ALL = 10_000


@dataclass(slots=True)
class Progress:
    """How far a scan is. `stage` is reading, detecting or correlating; `done` of `total` rules in the second, bytes unknown in the first."""

    stage: str = "reading"
    events: int = 0
    dead: int = 0
    files: int = 0
    path: str = ""
    done: int = 0
    total: int = 0
    alerts: int = 0


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan found. `rule_errors` are rules that could not run; the others did. `dead` holds the first few dead letters of each file."""

    incidents: tuple[Incident, ...]
    alerts: tuple[Alert, ...]
    files: tuple[FileReport, ...]
    dead: tuple[DeadLetter, ...]
    tables: dict[str, int]
    events: int
    seconds: float
    rule_errors: tuple[TocsinError, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)
    judge: Judge = field(default_factory=Judge)
    """What the incidents' priority is judged by."""
    anomalies: tuple[dict[str, Any], ...] = ()
    """What each anomaly found, or why it can't say: id, name, found, windows, entities, ready, note."""

    @property
    def unfed(self) -> int:
        """Rules that had nothing to look at: no source here feeds them, or they need a watchlist that isn't there."""
        return sum(e.code in _UNFED for e in self.rule_errors)

    @property
    def failed_rules(self) -> tuple[TocsinError, ...]:
        """Rules, parsers and files of content that are wrong or could not run."""
        return tuple(e for e in self.rule_errors if e.code not in _UNFED)

    @property
    def unreadable(self) -> bool:
        """True when some input, or a part of it, could not be read."""
        return any(f.unreadable for f in self.files)

    def to_dict(self) -> dict[str, Any]:
        """The object that `tocsin scan --json` prints."""
        return {
            "incidents": [incident_view(i, self.judge) for i in self.incidents],
            "files": [f.as_dict() for f in self.files],
            "events": self.events,
            "tables": self.tables,
            "seconds": round(self.seconds, 3),
            "stages": {k: round(v, 3) for k, v in self.stages.items()},
            "errors": [str(e) for e in self.failed_rules],
            "rules_unfed": self.unfed,
            "anomalies": [dict(a) for a in self.anomalies],
        }


def scan(
    paths: Sequence[Path],
    *,
    sigma: Sequence[Path] = (),
    packs: Sequence[Path] = (),
    keep: Path | None = None,
    clock: Clock | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    lake_settings: LakeSettings | None = None,
    engine_settings: EngineSettings | None = None,
    places: Path | None = None,
    cache: Path | None = None,
    portal: str = "",
) -> ScanResult:
    """Scans files and folders.

    Args:
        paths: what to read.
        sigma: folders of Sigma rules, besides the packs' rules.
        packs: further packs, over the shipped ones.
        keep: a data folder in which the tables stay; None for a temporary one.
        progress: called now and then.
        places: a MaxMind database for geo_info_from_ip_address().
        cache: a folder for compiled Sigma files; None to compile them.
        portal: where a server over the kept folder will have its portal, for links in rows.

    Raises:
        TocsinError: the folder to keep can't be used. Unreadable input is no exception but a file report.
    """
    clock = clock or SystemClock()
    began = clock.monotonic()
    stages: dict[str, float] = {}
    with ExitStack() as stack:
        stack.enter_context(use_places(places))
        folder = (
            keep if keep is not None else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tocsin-scan-")))
        )
        content = load_packs([packs_dir(), *packs], cache=cache)
        patterns, complaints = patterns_of(content)
        errors: list[TocsinError] = [
            *content.problems,
            *declare((str(f.path), f.document) for f in content.sources),
            *complaints,
        ]
        rules, problems = rules_of_content(content, cache=cache)
        errors.extend(problems)
        settings = (lake_settings or LakeSettings()).model_copy(update={"background": False})
        lake = Lake.open(folder / "lake", catalog=catalogue(), clock=clock, settings=settings)
        stack.callback(lake.close)
        queries = QueryService.of_content(lake, content, clock=clock, settings=engine_settings)
        stack.callback(queries.close)
        mapper = Mapper(content.parsers, engine=queries.engine, catalog=queries.catalog)
        matcher, problems = _matcher(rules, sigma, content, cache)
        errors.extend(problems)
        stages["start"] = clock.monotonic() - began

        reader = _Reader(lake, mapper, matcher, progress, clock if keep is not None else None)
        for item in decode_paths(paths):
            reader.take(item)
        reader.finish()
        lake.flush()
        stages["read"] = clock.monotonic() - began - sum(stages.values())

        state = reader.state
        state.stage, state.total = "detecting", sum(r.kind is not RuleKind.SIGMA for r in rules)
        progress(state)
        alerts = list(matcher.finish()) if matcher is not None else []
        stats = lake.stats()
        times = [t for s in stats if s.table != DEAD_LETTERS for t in (s.first_event, s.last_event) if t is not None]

        def ran(_: Rule, found: int) -> None:
            state.done += 1
            state.alerts += found
            progress(state)

        failed: list[DetectError] = []
        anomalies: list[dict[str, Any]] = []
        if times:
            # Before the rules, some of which ask what is unusual.
            span = _aware(min(times)), _aware(max(times))
            anomalies = run_anomalies(content, lake, queries, *span, errors, progress=lambda: progress(state))
            stats = lake.stats()
            found = run_over(rules, queries, _aware(min(times)), _aware(max(times)), errors=failed, progress=ran)
            alerts.extend(found)
            errors.extend(failed)
        errors.extend(mapper.problems)
        errors.extend(reader.refused)
        stages["detect"] = clock.monotonic() - began - sum(stages.values())

        state.stage = "correlating"
        progress(state)
        claims: list[Claim] = []
        if alerts or keep is not None:
            book, unlearned = book_over(queries, content, [s.table for s in stats if s.rows])
            errors.extend(unlearned)
            alerts = [book.resolve(a) for a in alerts]
            claims = book.claims
        correlator = Correlator(links=links_of(content), patterns=patterns)
        alerts.sort(key=lambda a: (a.time, a.id))
        correlator.add(alerts)
        correlator.look_back()
        incidents = correlator.incidents
        for number, incident in enumerate(incidents, 1):
            incident.number = number
        found_assets = find_assets(queries, content) if incidents else []
        joined = {a.alert.id: a.alert for i in incidents for a in i.alerts}
        judge = judge_of_scan(content, found_assets, {**{a.id: a for a in alerts}, **joined}.values())
        if keep is not None:
            # What was scanned is evidence, often older than any retention: a server over this folder deletes nothing of it by itself.
            lake.hold("kept by tocsin scan")
            _keep_incidents(keep, lake, queries.catalog, content, alerts, found_assets, claims, clock, portal)
        stages["correlate"] = clock.monotonic() - began - sum(stages.values())
        return ScanResult(
            incidents=tuple(incidents),
            alerts=tuple(alerts),
            files=tuple(reader.files),
            dead=tuple(reader.dead),
            tables={s.table: s.rows for s in sorted(stats, key=lambda s: s.table) if s.rows},
            events=sum(f.events for f in reader.files),  # a record that makes rows of two kinds is one event
            seconds=clock.monotonic() - began,
            rule_errors=tuple(errors),
            stages=stages,
            judge=judge,
            anomalies=tuple(anomalies),
        )


def _keep_incidents(
    folder: Path,
    lake: Lake,
    catalog: Catalog,
    content: Content,
    alerts: Sequence[Alert],
    assets: Sequence[AssetRow],
    claims: Sequence[Claim],
    clock: Clock,
    portal: str,
) -> None:
    """Files the alerts in the folder's state too, so that `tocsin up --data` shows the incidents and people can work on them; what was learned of who
    is who, for entities' pages; and alerts and incidents as rows, as a server would have written them."""
    from tocsin.incidents.desk import IncidentDesk
    from tocsin.state import IncidentChange, State

    state = State.open(folder / "state.db", clock=clock)
    state.portal = portal
    try:
        with state.write() as unit:
            set_assets(unit, assets)
        desk = IncidentDesk(state, content=lambda: content)
        changed: dict[str, IncidentChange] = {}
        state.on_incidents(lambda changes: changed.update((c.row.id, c) for c in changes))
        desk.add(alerts)
        desk.look_back()
        with state.write() as unit:
            unit.aliases.put(row_of_claim(c) for c in claims)
        with state.read() as unit:
            shown = [c for c in changed.values() if c.row.promoted]
            rows = [security_incident(unit, c) for c in shown]
            filed = [alert_of(a) for c in changed.values() for a in unit.incidents.alerts_of(c.row.id)]
        write_rows(lake, catalog, own("incidents").name, rows)
        write_rows(lake, catalog, own("alerts").name, [security_alert(a) for a in filed])
        write_rows(lake, catalog, own("alert_info").name, [alert_info(a) for a in filed])
        write_rows(lake, catalog, own("alert_evidence").name, [r for a in filed for r in alert_evidence(a)])
        lake.flush()
    finally:
        state.close()


class _Reader:
    """Takes decoded items: rows into the lake, Sigma hits and file reports into lists.

    Dead letters go to the lake when it is to be kept (`clock` is then given); of each file the first few stay here as well, without
    their bytes, so that memory stays bounded however much of the input is bad.
    """

    def __init__(
        self, lake: Lake, mapper: Mapper, matcher: Any, progress: Callable[[Progress], None], clock: Clock | None
    ) -> None:
        self.lake, self.mapper, self.matcher, self.progress, self.clock = lake, mapper, matcher, progress, clock
        self.state = Progress()
        self.files: list[FileReport] = []
        self.dead: list[DeadLetter] = []
        self.refused: list[TocsinError] = []
        self._small: dict[str, list[SourceBatch]] = {}
        self._letters: list[DeadLetter] = []
        self._of_file: list[DeadLetter] = []

    def take(self, item: SourceBatch | DeadLetter | FileReport) -> None:
        """One item of `decode_paths`."""
        match item:
            case SourceBatch():
                self.state.events += len(item)
                self.state.path = item.origin
                if self.matcher is not None:
                    self.matcher.match(item)
                self._gather(item)
            case DeadLetter():
                self.state.dead += 1
                if self.clock is not None:
                    self._letters.append(item)
                    if len(self._letters) >= _LETTERS_AT_ONCE:
                        self._write_letters()
                if len(self._of_file) < _LETTERS_OF_A_FILE:
                    self._of_file.append(replace(item, raw=b""))
            case FileReport():
                self.state.files += 1
                self.files.append(self._account(item))
                self.dead.extend(self._of_file[: max(0, _LETTERS_IN_ALL - len(self.dead))])
                self._of_file.clear()
        self.progress(self.state)

    def finish(self) -> None:
        """To be called after the last item."""
        for kind in list(self._small):
            self._map_gathered(kind)
        if self._letters:
            self._write_letters()

    def _gather(self, batch: SourceBatch) -> None:
        """Maps a batch, small ones together: what a parser costs for a thousand files of ten events each is the start, not the events."""
        if batch.source not in EVENT_KINDS or len(batch) >= _WORTH_MAPPING:
            self._map(batch)
            return
        waiting = self._small.setdefault(batch.source, [])
        waiting.append(batch)
        if sum(map(len, waiting)) >= _WORTH_MAPPING or sum(b.rows.nbytes for b in waiting) >= _GATHERED_BYTES:
            self._map_gathered(batch.source)

    def _map_gathered(self, kind: str) -> None:
        waiting = self._small.pop(kind, [])
        if len(waiting) > 1:
            origin = f"{waiting[0].origin} and {len(waiting) - 1} files after it"
            self._map(SourceBatch(kind, pa.concat_tables([b.rows for b in waiting]).combine_chunks(), origin))
        elif waiting:
            self._map(waiting[0])

    def _map(self, batch: SourceBatch) -> None:
        self._write(list(_received_when_it_happened(self.mapper.map(batch))))

    def _account(self, report: FileReport) -> FileReport:
        """The file's report with what mapping noticed. Where only records could not be read, the first of them is the file's error."""
        if notes := self.mapper.take_notes(report.path):
            report = replace(report, notes=(*report.notes, *notes))
        if report.error is None and report.dead and self._of_file:
            first = self._of_file[0]
            more = f" {report.dead - 1:,} more records of the file couldn't be read." if report.dead > 1 else ""
            report = replace(report, error=IngestError(first.reason + more, code=first.code, place=first.place))
        return report

    def _write(self, batches: list[TableBatch]) -> None:
        try:
            self.lake.write(batches)
        except LakeError as error:
            if error.code not in _UNFIT:
                raise
            if len(batches) > 1:
                for batch in batches:
                    self._write([batch])
            else:
                self.refused.append(error)

    def _write_letters(self) -> None:
        assert self.clock is not None
        rows = dead_letter_rows(self._letters, self.clock.now())
        self._letters.clear()
        self._write(list(_received_when_it_happened([TableBatch(DEAD_LETTERS, rows)])))


def _received_when_it_happened(batches: Sequence[TableBatch]) -> Iterator[TableBatch]:
    """A scan's rows count as received at their event time, so that windows on ingestion time see them as a live system would have."""
    for batch in batches:
        rows = batch.rows
        times = rows.column("TimeGenerated")
        if INGESTION_TIME in rows.column_names:
            rows = rows.drop_columns([INGESTION_TIME])
        yield TableBatch(batch.table, rows.append_column(INGESTION_TIME, pc.cast(times, pa.timestamp("us"))))


def _matcher(
    rules: Sequence[Rule], folders: Sequence[Path], content: Content, cache: Path | None
) -> tuple[Any, list[TocsinError]]:
    wanted = [r for r in rules if r.kind is RuleKind.SIGMA]
    if not wanted and not folders:
        return None, []
    from tocsin.detect.formats.sigma import load_folder
    from tocsin.detect.sigma.matcher import SigmaMatcher
    from tocsin.detect.sigma.networks import SensorNetworks

    placeholders = placeholders_of(content)
    problems: list[TocsinError] = []
    for folder in folders:
        found = load_folder(folder, placeholders=placeholders, cache=cache)
        wanted.extend(found.rules)
        problems.extend(found.problems)
    return SigmaMatcher(wanted, networks=SensorNetworks(lambda: content.watchlists)), problems


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
