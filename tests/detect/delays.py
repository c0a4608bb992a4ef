"""The delay matrix: an hour of recorded logs comes in late, twice and with wrong clocks; thirty rules miss nothing and say nothing twice.

``python -m tests.detect.delays --out FILE`` runs every cell and writes the table of docs/explanation/detection-delays.md; the test runs a
few rules through two cells. What must be found is asked of the whole hour at once, without the scheduler: every row that a filter lets
through, and every group that a counting rule finds in any window of its grid.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.base.clock import ManualClock
from tocsin.content import RuleFile, load_packs, packs_dir
from tocsin.content.yamltext import parse_yaml
from tocsin.detect import make
from tocsin.detect.alert import Alert
from tocsin.detect.formats.sentinel import rules_of
from tocsin.detect.make import Row, row_hash
from tocsin.detect.plan import Plan
from tocsin.detect.rule import Operator, Rule, Windows
from tocsin.detect.run import RULE_LIMITS, query_rows
from tocsin.detect.schedule import Scheduler, ScheduleSettings
from tocsin.detect.windows import index_at, moment_of
from tocsin.ingest.decoders import decode_paths
from tocsin.ingest.mapping import Mapper
from tocsin.ingest.model import SourceBatch
from tocsin.lake import Lake, TableBatch
from tocsin.lake.engine import Window
from tocsin.lake.settings import LakeSettings
from tocsin.query import QueryService
from tocsin.state.rules import LedgerRow
from tocsin.tables import INGESTION_TIME, catalogue

OTRF = Path(__file__).resolve().parents[3] / "shared/data/otrf"
HOUR = datetime(2026, 3, 1, 9, tzinfo=UTC)
STEP = timedelta(minutes=5)
SHORT = (
    "atomic/windows/lateral_movement/host/covenant_sharpsc_query_dcerpc_smb_svcctl.zip",
    "atomic/windows/credential_access/host/psh_lsass_memory_dump_comsvcs.zip",
    "atomic/windows/privilege_escalation/host/cmd_service_mod_fax.zip",
    "atomic/windows/lateral_movement/host/covenant_copy_smb_CreateRequest.zip",
    "atomic/windows/credential_access/host/cmd_sam_copy_esentutl.zip",
    "atomic/windows/defense_evasion/host/psh_mavinject_dll_notepad.zip",
)
LONG = tuple(f"compound/LSASS_campaign_0{n}" for n in (1, 2, 3, 4))


# ------------------------------------------------------------------ rules


def rules() -> list[Rule]:
    """The thirty, as Sentinel YAML holds them."""
    path = Path(__file__).with_name("delays.yaml")
    made = []
    for document in parse_yaml(path.read_text("utf-8"), str(path)):
        found, problems = rules_of(RuleFile(path, "delays", "sentinel", (document,), ""))
        assert problems == [], problems
        made.extend(found)
    assert len(made) == 30, len(made)
    return made


# ------------------------------------------------------------------ the hour


@dataclass
class Recorded:
    """Rows by table, their times within the hour."""

    tables: dict[str, pa.Table]

    def __len__(self) -> int:
        return sum(t.num_rows for t in self.tables.values())


def recorded(
    names: Sequence[str],
    folder: Path,
    *,
    keep: Sequence[str] = ("SecurityEvent", "DeviceProcessEvents", "DeviceEvents"),
) -> Recorded:
    """The recordings one after the other in an hour, each stretched from the start of its part on as it was."""
    content = load_packs([packs_dir()])
    lake = Lake.open(folder / "mapping", catalog=catalogue(), settings=LakeSettings(background=False))
    queries = QueryService(lake, catalogue=catalogue(), functions=content.functions)
    parts: dict[str, list[pa.Table]] = defaultdict(list)
    mapper = Mapper(content.parsers, engine=queries.engine, catalog=queries.catalog)
    try:
        for number, name in enumerate(names):
            found: dict[str, list[pa.Table]] = defaultdict(list)
            for item in decode_paths([OTRF / name]):
                if isinstance(item, SourceBatch):
                    for batch in mapper.map(item):
                        if batch.table in keep:
                            found[batch.table].append(batch.rows)
            begin = HOUR + timedelta(hours=1) * number / len(names)
            first = min(pc.min(t.column("TimeGenerated")).as_py() for ts in found.values() for t in ts)
            for table, pieces in found.items():
                for rows in pieces:
                    parts[table].append(_moved(rows, begin.replace(tzinfo=None) - first.replace(tzinfo=None)))
    finally:
        queries.close()
        lake.close()
    end = pa.scalar((HOUR + timedelta(hours=1)).replace(tzinfo=None), pa.timestamp("us"))
    tables = {t: pa.concat_tables(p, promote_options="default") for t, p in parts.items()}
    return Recorded({t: rows.filter(pc.less(rows.column("TimeGenerated"), end)) for t, rows in tables.items()})


def _moved(rows: pa.Table, by: timedelta) -> pa.Table:
    at = rows.column_names.index("TimeGenerated")
    moved = pc.add(rows.column(at).cast(pa.timestamp("us")), pa.scalar(by, pa.duration("us")))
    made = rows.set_column(at, "TimeGenerated", moved)
    return made.drop_columns([INGESTION_TIME]) if INGESTION_TIME in made.column_names else made


# ------------------------------------------------------------------ cells


@dataclass(frozen=True)
class Cell:
    """How the hour comes in: `delay` of the row's number, `twice` the share of batches that are sent again, `skew` of a host's clock."""

    name: str
    delay: Callable[[random.Random], timedelta]
    twice: float = 0.0
    skew: bool = False
    eager: bool = False


def _always(**span: float) -> Callable[[random.Random], timedelta]:
    return lambda _: timedelta(**span)


def _mixed(chance: random.Random) -> timedelta:
    return timedelta(seconds=chance.choice([0, 0, 3, 90, 400, 1800, 5400, 6 * 3600, 13 * 3600]))


CELLS = (
    Cell("at once", _always(seconds=0)),
    Cell("2 min", _always(minutes=2)),
    Cell("30 min", _always(minutes=30)),
    Cell("6 h", _always(hours=6)),
    Cell("13 h", _always(hours=13)),
    Cell("each row its own, 0 s to 13 h", _mixed),
    Cell("at once, every third batch twice", _always(seconds=0), twice=0.34),
    Cell("own delays, every third batch twice", _mixed, twice=0.34),
    Cell("at once, clocks ±10 min", _always(seconds=0), skew=True),
    Cell("own delays, twice, clocks ±10 min", _mixed, twice=0.34, skew=True),
    Cell("own delays, twice, clocks ±10 min, eager", _mixed, twice=0.34, skew=True, eager=True),
)


@dataclass
class Delivery:
    """Rows by step of receipt. `tables` are the rows as they are dated, each once."""

    tables: dict[str, pa.Table]
    steps: dict[int, list[TableBatch]]


def delivered(hour: Recorded, cell: Cell, seed: int = 5) -> Delivery:
    """When which rows come in."""
    chance = random.Random(seed)
    steps: dict[int, list[TableBatch]] = defaultdict(list)
    dated: dict[str, pa.Table] = {}
    for table, rows in hour.tables.items():
        host = next(c for c in ("Computer", "DeviceName") if c in rows.column_names)
        skews: dict[Any, timedelta] = {}
        happened = [t.replace(tzinfo=UTC) for t in rows.column("TimeGenerated").to_pylist()]
        names = rows.column(host).to_pylist()
        if cell.skew:
            skews = {h: timedelta(seconds=random.Random(f"{seed}{h}").randrange(-600, 601)) for h in set(names)}
        times = [t + skews.get(h, timedelta(0)) for t, h in zip(happened, names, strict=True)]
        column = rows.column_names.index("TimeGenerated")
        rows = rows.set_column(
            column, "TimeGenerated", pa.array([t.replace(tzinfo=None) for t in times], pa.timestamp("us"))
        )
        dated[table] = rows
        # A batch is 20 rows in a row of one delay, as a sender that was away sends them.
        received = []
        for begin in range(0, rows.num_rows, 20):
            late = cell.delay(chance)
            received.extend([t + late for t in happened[begin : begin + 20]])
        again: list[tuple[int, datetime]] = []
        for begin in range(0, rows.num_rows, 20):
            if chance.random() < cell.twice:
                later = timedelta(seconds=chance.choice([1, 30, 600, 4000]))
                again.extend((i, received[i] + later) for i in range(begin, min(begin + 20, rows.num_rows)))
        by_step: dict[int, tuple[list[int], list[datetime]]] = defaultdict(lambda: ([], []))
        for i, at in [*enumerate(received), *again]:
            indexes, moments = by_step[(at - HOUR) // STEP]
            indexes.append(i)
            moments.append(at.replace(tzinfo=None))
        for step, (indexes, moments) in by_step.items():
            piece = rows.take(pa.array(indexes, pa.int64()))
            steps[step].append(
                TableBatch(table, piece.append_column(INGESTION_TIME, pa.array(moments, pa.timestamp("us"))))
            )
    return Delivery(dated, steps)


class Marks(dict[str, LedgerRow]):
    """A ledger in memory that keeps no alerts."""

    def get(self, rule_id: str, default: Any = None) -> LedgerRow:  # type: ignore[override]
        return super().get(rule_id) or LedgerRow(rule_id)

    def put(self, row: LedgerRow, alerts: Sequence[Alert]) -> None:
        self[row.rule_id] = row


class _Watched(Scheduler):
    """A scheduler that notes which rows of which window it said."""

    said: dict[str, list[tuple[datetime | None, Row]]]

    def _commit(self, plan: Plan, end: datetime | None, alerts: Sequence[Alert]) -> None:
        super()._commit(plan, end, alerts)
        if plan.exact or plan.rule.windows is Windows.LOOKBACK:
            at = moment_of(plan.ripe, plan.rule.frequency) if plan.ripe is not None else None
            self.said[plan.rule.id].extend((at, row) for a in alerts for row in _once(a))

    def _window(self, plan: Plan, at: datetime, now: datetime) -> tuple[list[Alert], int]:
        alerts, count = super()._window(plan, at, now)
        self.said[plan.rule.id].extend((at, row) for a in alerts for row in _once(a))
        return alerts, count


@dataclass
class Verdict:
    """What a cell showed, over all rules."""

    cell: str
    expected: int = 0
    said: int = 0
    missed: int = 0
    doubled: int = 0
    rules: dict[str, tuple[int, int]] = field(default_factory=dict)


def run_cell(
    hour: Recorded, cell: Cell, folder: Path, *, lookback: bool = False, chosen: Sequence[Rule] | None = None
) -> Verdict:
    """Delivers the hour to a lake step by step with a scheduler over it, then compares."""
    delivery = delivered(hour, cell)
    clock = ManualClock(HOUR - timedelta(minutes=15))
    used = list(chosen or rules())
    lake = Lake.open(folder / "lake", catalog=catalogue(), clock=clock, settings=LakeSettings(background=False))
    queries = QueryService(lake, catalogue=catalogue(), clock=clock)
    settings = ScheduleSettings(eager=cell.eager, lag=timedelta(0), lookback=lookback)
    scheduler = _Watched(
        queries,
        Marks(),
        clock=clock,
        arrivals=lambda: {s.table: s.last_received for s in lake.stats() if s.last_received is not None},
        settings=settings,
    )
    scheduler.said = defaultdict(list)
    stack = ExitStack()
    try:
        # An alert keeps a hundred rows and the count of all; here every one is looked at.
        stack.enter_context(patch.object(make, "EVIDENCE_ROWS", 1_000_000))
        scheduler.set_rules(used)
        scheduler.tick()
        last = max(delivery.steps)
        for step in range(min(-1, *delivery.steps), last + 20):
            batches = delivery.steps.get(step, [])
            if batches:
                lake.write(batches)
            clock.advance(HOUR + STEP * (step + 1) - clock.now())
            scheduler.tick()
        for rule in used:
            row = scheduler._ledger.get(rule.id)
            assert row.last_status == "Success", row.last_error
    finally:
        stack.close()
        queries.close()
        lake.close()
    whole = Lake.open(folder / "whole", catalog=catalogue(), clock=clock, settings=LakeSettings(background=False))
    asked = QueryService(whole, catalogue=catalogue(), clock=clock)
    try:
        received = pa.scalar(HOUR.replace(tzinfo=None), pa.timestamp("us"))
        whole.write(
            [
                TableBatch(
                    t, r.append_column(INGESTION_TIME, pa.array([received.as_py()] * r.num_rows, pa.timestamp("us")))
                )
                for t, r in delivery.tables.items()
            ]
        )
        return _compare(cell, used, asked, scheduler.said)
    finally:
        asked.close()
        whole.close()


def _compare(
    cell: Cell, used: Sequence[Rule], asked: QueryService, said: dict[str, list[tuple[datetime | None, Row]]]
) -> Verdict:
    verdict = Verdict(cell.name)
    for rule in used:
        expected = _expected(rule, asked)
        grouped = "summarize" in rule.query
        told = said[rule.id]
        if grouped:
            missed, doubled = _stories(rule, expected, told)
            number = len(expected)
        else:
            # Two rows may look the same to a rule (one instant, the columns that it keeps): they are one result.
            want = {_plain(r) for _, r in expected}
            have = Counter(_plain(r) for _, r in told)
            missed = len(want - set(have))
            doubled = sum(n - 1 for n in have.values())
            assert not set(have) - set(want), (rule.id, "said what isn't there")
            number = len(want)
        verdict.expected += number
        verdict.said += len(told)
        verdict.missed += missed
        verdict.doubled += doubled
        if missed or doubled:
            verdict.rules[rule.id] = (missed, doubled)
    return verdict


def _once(alert: Alert) -> list[Row]:
    """The results of one alert, each once."""
    return list({_plain(e.row): e.row for e in alert.events}.values())


def _plain(row: Row) -> str:
    return row_hash({k: v for k, v in row.items() if v is not None and v != "" and v != [] and v != {}})


def _expected(rule: Rule, asked: QueryService) -> list[tuple[datetime, Row]]:
    """What each window of the rule's grid shows of the whole hour."""
    found = []
    step = max(rule.frequency, STEP)
    period = max(rule.period, step)
    begin = index_at(HOUR - timedelta(minutes=15), step)
    for index in range(begin, index_at(HOUR + timedelta(minutes=75), step) + period // step + 1):
        at = moment_of(index, step)
        rows = query_rows(rule, asked, Window(at - period, at), limits=RULE_LIMITS)
        if rule.operator is Operator.GREATER and rows.count > rule.threshold:
            found.extend((at, r) for r in rows.rows)
    return found


def _stories(
    rule: Rule, expected: Sequence[tuple[datetime, Row]], told: Sequence[tuple[datetime | None, Row]]
) -> tuple[int, int]:
    """Groups that were never said while their windows overlap, and groups that overlapping windows said twice."""
    names = [c for c in (expected[0][1] if expected else {}) if c in ("Computer", "TargetUserName", "Host")]

    def key(row: Row) -> tuple[Any, ...]:
        return tuple(row.get(n) for n in names)

    moments: dict[tuple[Any, ...], list[datetime]] = defaultdict(list)
    for at, row in told:
        assert at is not None
        moments[key(row)].append(at)
    chains: dict[tuple[Any, ...], list[list[datetime]]] = defaultdict(list)
    for at, row in sorted(expected, key=lambda e: e[0]):
        of = chains[key(row)]
        if of and at - of[-1][-1] < rule.period:
            of[-1].append(at)
        else:
            of.append([at])
    missed = sum(not any(c[0] <= m <= c[-1] for m in moments[k]) for k, cs in chains.items() for c in cs)
    doubled = 0
    for ms in moments.values():
        ordered = sorted(ms)
        doubled += sum(b - a < rule.period for a, b in pairwise(ordered))
    return missed, doubled


def main() -> int:
    """The long form: every cell, and the plain look-back beside it."""
    reader = argparse.ArgumentParser()
    reader.add_argument("--out", type=Path)
    reader.add_argument("--short", action="store_true", help="the small recordings")
    options = reader.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as name:
        hour = recorded(SHORT if options.short else LONG, Path(name))
        lines.append(
            f"{len(hour):,} rows: " + ", ".join(f"{t} {r.num_rows:,}" for t, r in sorted(hour.tables.items())) + ".\n"
        )
        lines += [
            "| how rows come | results | missed | doubled | plain look-back: missed | doubled |",
            "|---|---|---|---|---|---|",
        ]
        wrong = 0
        for number, cell in enumerate(CELLS):
            ours = run_cell(hour, cell, Path(name) / f"a{number}")
            plain = run_cell(hour, cell, Path(name) / f"b{number}", lookback=True) if not cell.eager else None
            wrong += ours.missed + ours.doubled
            shown = f"{plain.missed:,} | {plain.doubled:,}" if plain else "– | –"
            lines.append(f"| {cell.name} | {ours.expected:,} | {ours.missed:,} | {ours.doubled:,} | {shown} |")
            print(lines[-1], ours.rules, flush=True)
    if options.out:
        text = options.out.read_text("utf-8")
        head, _, rest = text.partition("<!-- measured -->\n")
        _, _, tail = rest.partition("<!-- end -->")
        options.out.write_text(f"{head}<!-- measured -->\n" + "\n".join(lines) + f"\n<!-- end -->{tail}", "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
