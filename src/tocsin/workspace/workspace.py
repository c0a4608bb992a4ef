"""`Workspace`: the whole house, opened over one data folder. What the API asks for, and what `tocsin up` starts and stops.

    with Workspace.open(settings) as workspace:
        workspace.start()

Layout of the data folder: `lake/` (log, tables), `state.db`, `site/` (your content), `drop/` (watched), `intake/` (what receivers must remember).
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from types import TracebackType
from typing import Self

import structlog

from tocsin import __version__
from tocsin.access import Access
from tocsin.base.clock import Clock, SystemClock
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.tuning import Tuning
from tocsin.ingest.mapping import Mapper
from tocsin.ingest.pipeline import Intake
from tocsin.ingest.settings import DecodeLimits
from tocsin.ingest.transforms import Samples, Transforms
from tocsin.ingest.watch import SourceWatch, WatchSettings
from tocsin.lake import Lake
from tocsin.lake.archive import Moved
from tocsin.lake.engine import Engine
from tocsin.lake.retention import Deletion
from tocsin.query import QueryService
from tocsin.respond import Gate, all_kinds
from tocsin.respond.automation import Automation
from tocsin.state import State
from tocsin.tables import catalogue
from tocsin.workspace.aliases import Aliases
from tocsin.workspace.anomalies import Anomalies
from tocsin.workspace.deadletters import DeadLetterDesk
from tocsin.workspace.detection import Detection
from tocsin.workspace.entitypages import EntityPages
from tocsin.workspace.erasure import Erasure
from tocsin.workspace.evidence import evidence_pins
from tocsin.workspace.health import Health
from tocsin.workspace.jobs import Jobs
from tocsin.workspace.metrics import Metrics
from tocsin.workspace.ownrows import OwnRows
from tocsin.workspace.places import use_places
from tocsin.workspace.purging import PurgeRows
from tocsin.workspace.receiving import Receiving
from tocsin.workspace.rulebook import RuleBook
from tocsin.workspace.rulecare import RuleCare
from tocsin.workspace.rulework import RuleWork
from tocsin.workspace.settings import Settings
from tocsin.workspace.story import Stories
from tocsin.workspace.summaries import Summaries
from tocsin.workspace.tabledesk import TableDesk
from tocsin.workspace.threatreports import ThreatReports
from tocsin.workspace.transforms import TransformBook
from tocsin.workspace.watchlists import WatchlistBook
from tocsin.workspace.writeback import WriteBack

__all__ = ["Workspace"]

_log = structlog.get_logger("tocsin.workspace")


class Workspace:
    """Everything of one data folder, wired. Use `Workspace.open`; the parts are attributes."""

    version = __version__

    def __init__(self, settings: Settings, clock: Clock, stack: ExitStack) -> None:
        self.settings = settings
        self.clock = clock
        self._stack = stack
        data = settings.data
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lake = Lake.open(data / "lake", clock=clock, settings=settings.lake, catalog=catalogue())
        stack.callback(self.lake.close)
        self.state = State.open(settings.database or data / "state.db", clock=clock)
        stack.callback(self.state.close)
        self.state.portal = settings.server.address()
        self.lake.on_deleted = self._deleted
        self.lake.on_archived = self._archived
        self.id = (settings.query.workspace_id or self.state.workspace_id()).lower()
        self.lake.workspace = self.id
        self.name = settings.query.workspace
        self.access = Access(self.state, settings=settings.access)
        stack.enter_context(use_places(settings.geoip.database))
        engine = Engine(
            folders=[self.lake.path], spill=self.lake.path / "spill", catalog=catalogue(), settings=settings.engine
        )
        stack.callback(engine.close)
        site = settings.detect.site or data / "site"
        self.rules = RuleBook(self.state, lambda: self.queries, site=site, clock=clock, cache=data / "cache" / "sigma")
        content = self.rules.content
        watchlists = {w.alias: w.table for w in content.watchlists}
        self.queries = QueryService(
            self.lake,
            catalogue=catalogue(),
            functions=content.functions,
            watchlists=watchlists,
            clock=clock,
            settings=settings.query,
            engine=engine,
        )
        stack.callback(self.queries.close)
        self.lake.pins = lambda: evidence_pins(self.state)
        self.erasure = Erasure(self)
        self.jobs = Jobs(self)
        self.incidents = IncidentDesk(
            self.state,
            settings=settings.correlation,
            content=lambda: self.rules.content,
            memory=data / "cache" / "incidents" / "memory",
            beside=True,
        )
        stack.callback(self.incidents.close)
        self.gate = Gate(
            self.state,
            self.incidents,
            [*all_kinds(self.state, self.incidents, settings.respond), PurgeRows(self.erasure)],
            settings=settings.respond,
        )
        self.automation = Automation(
            self.state, self.incidents, self.gate, content.automation_rules, rule_of=self.rules.known
        )
        limits = DecodeLimits(max_record_bytes=settings.ingest.max_record_bytes, zones=settings.ingest.time_zones)
        mapper = Mapper(content.parsers, engine=engine, catalog=self.queries.catalog, limits=limits)
        samples = Samples(data / "intake" / "samples")
        mapper.transforms = Transforms(engine, self.queries.catalog, samples=samples, limits=limits)
        told = settings.ingest.health
        watch = SourceWatch(
            data / "intake" / "sources.msgpack",
            clock=clock,
            settings=WatchSettings(
                factor=told.silent_factor,
                least=timedelta(minutes=told.silent_minutes),
                forget=timedelta(days=told.forget_days),
            ),
        )
        self._intake = Intake(self.lake, mapper, clock=clock, limits=limits, state=data / "intake", watch=watch)
        self._intake.memories.append(samples)
        self.dead_letters = DeadLetterDesk(self.queries, self._intake, self.state)
        self.transforms = TransformBook(
            self.state, mapper.transforms, self.queries, lambda: sorted({p.source for p in content.parsers})
        )
        self.aliases: Aliases = Aliases(self, lambda: self.rules.content, self._intake.watermark)
        self.summaries = Summaries(self, lambda: self.rules.content, self._intake.watermark)
        self.intake = Receiving(self._intake, self.access, settings)
        self.own_rows = OwnRows(self._intake, clock)
        self.written = WriteBack(self)
        self.stories = Stories(self, lambda: self.rules.content, lambda: self.state.judge)
        self.tuning = Tuning(self.state, self.incidents)
        self.entity_pages = EntityPages(self, lambda: self.rules.content)
        self.health = Health(
            self._intake,
            self.lake,
            self.queries,
            self.state,
            self.own_rows,
            clock=clock,
            workspace_id=self.id,
            seconds=told.seconds,
        )
        self.incidents.pace.told = self.health.correlation_slow
        mapper.transforms.failed = self.health.transform_failed
        mapper.drift.told = self.health.columns_came
        self.drift = mapper.drift
        self.metrics = Metrics(self)
        self.detection = Detection(self)
        self.rule_work = RuleWork(
            self.state,
            self.rules,
            lambda: self.queries,
            self.lake,
            lambda alerts: self.detection.file(alerts),
            fed=lambda since: self.detection.fed(since),
            would_join=self.incidents.would_join,
        )
        stack.callback(self.rule_work.tests.stop)
        self.rule_care = RuleCare(
            self.state,
            self.rules,
            lambda: self.queries,
            budget=settings.detect.noise_budget,
            filled=self.rule_work.filled,
        )
        self.rules.work, self.rules.care = self.rule_work, self.rule_care
        self.rules.cap_percent = settings.detect.cap_percent
        self.tables = TableDesk(self, drift=lambda: self.drift.rows(), readers=self._readers)
        self.watchlists = WatchlistBook(self.rules, self.queries, self.state, site)
        self.threat_reports = ThreatReports(
            self.state, self.incidents, site, lambda: self.rules.content, self.rules.reload_incident_content
        )
        self.anomalies = Anomalies(self)

    @classmethod
    def open(cls, settings: Settings, *, clock: Clock | None = None) -> Workspace:
        """Opens a data folder, making it when it isn't there.

        Raises LakeError LAK0002 when another process has it open, StateError for a database that can't be used.
        """
        stack = ExitStack()
        try:
            return cls(settings, clock or SystemClock(), stack)
        except BaseException:
            stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Replays what a crash left, opens the receivers, begins to detect, to automate and to let actions expire."""
        self.detection.prepare()
        replayed = self._intake.start()
        self._stack.callback(self._intake.stop)
        if replayed:
            _log.info("intake.replayed", bodies=replayed)
        self.gate.recover()
        self.jobs.start()
        self._stack.callback(self.jobs.stop)
        self.summaries.start()
        self._stack.callback(self.summaries.stop)
        self.automation.start()
        self._stack.callback(self.automation.stop)
        self.written.start()
        self._stack.callback(self.written.stop)
        self.aliases.start()
        self._stack.callback(self.aliases.stop)
        self.detection.start()
        self._stack.callback(self.detection.stop)
        self.anomalies.start()
        self._stack.callback(self.anomalies.stop)
        self.intake.start()
        self._stack.callback(self.intake.stop)
        self.health.start()
        self._stack.callback(self.health.stop)
        self._stack.callback(self.incidents.stop)

    def _readers(self, table: str) -> list[dict[str, str]]:
        """What is in force and reads a table: detection rules, and summary rules."""
        rules = [{"kind": "rule", "id": r.id, "name": r.name} for r in self.rule_work.readers(table)]
        summaries = [{"kind": "summary", "id": r.id, "name": r.name} for r in self.summaries.readers(table)]
        return [*rules, *summaries]

    def _deleted(self, deletion: Deletion) -> None:
        with self.state.write() as unit:
            unit.audit.add(
                "system:retention",
                "lake.delete",
                "table",
                deletion.table,
                detail={"rows": deletion.rows, "bytes": deletion.bytes, "reason": deletion.reason},
            )

    def _archived(self, moved: Moved) -> None:
        with self.state.write() as unit:
            unit.audit.add(
                "system:retention",
                "lake.archive",
                "table",
                moved.table,
                detail={"rows": moved.rows, "bytes": moved.bytes, "files": moved.files},
            )

    def close(self) -> None:
        """Stops in the order in which nothing is lost: receivers, detection, automation, intake (all rows visible), lake, state."""
        self._stack.close()
