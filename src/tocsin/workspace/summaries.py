"""Summary rules: a query over each bin of event time, its rows kept in a small table of its own.

As in Azure Monitor (learn.microsoft.com/azure/azure-monitor/logs/summary-rules): a bin is run `binDelay` after it ended, and a row says in
_BinStartTime and _BinSize (minutes) which bin it is of; TimeGenerated is the bin's start where the query gives none. What nothing is said of there:

- A row whose event time lies in a bin that was run, and which came in afterwards, makes the bin run again while the bin is younger than
  `lateHours`: the new rows take the old ones' place in one step. Later ones are counted as missed, in the rule's runs.
- Each run is a commit that carries the rule's run number. A run that a crash cut short is there as a whole or is run again.
- A run that fails is tried again at growing intervals, ten times; then the bin is noted as failed and the next one follows. `rerun` runs any bin.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pyarrow as pa
import structlog

from tocsin.access import Principal, require
from tocsin.base.errors import ContentError, Place, TocsinError, UsageError
from tocsin.base.ids import stable_uuid
from tocsin.content import Content, SummaryFile
from tocsin.lake import Lake
from tocsin.lake.engine import Limits, QueryResult, Window
from tocsin.lake.engine.standard import item_numbers
from tocsin.query import QueryService
from tocsin.query.catalog import WATCHLIST
from tocsin.query.service import check_scopes
from tocsin.state import ConflictError, NotFoundError, State
from tocsin.tables import INGESTION_TIME
from tocsin.workspace.samples import sample
from tocsin.workspace.summarymodel import SIZES, SummaryRule

__all__ = ["SIZES", "Summaries", "SummaryRule"]

_log = structlog.get_logger("tocsin.summaries")
_RULE, _LEDGER = "summary.rule.", "summary.ledger."
_POLL = 20.0
_ATTEMPTS = 10
_RUNS = 200
_SHOWN = 100
"""Rows of a trial that are shown."""
_AT_ONCE = 48
"""Bins of one rule that are run in a row, so that one that has much to catch up doesn't keep the others waiting."""
_RESULT = Limits(rows=None, seconds=600.0, result_bytes=100 << 20)


class Parts(Protocol):
    """The parts of the workspace that summary rules need."""

    lake: Lake
    queries: QueryService
    state: State


class Summaries:
    """The summary rules of one workspace: those of packs, and those made here. Runs in a thread of its own."""

    def __init__(self, parts: Parts, content: Callable[[], Content], watermark: Callable[[], datetime]) -> None:
        """`watermark` gives the instant before which all that was received is visible."""
        self._parts = parts
        self._content = content
        self._watermark = watermark
        self._stopping = threading.Event()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None

    # ---------------------------------------------------------------------------------------------- life

    def start(self) -> None:
        """Begins to run bins as they end."""
        self._thread = threading.Thread(target=self._loop, name="tocsin-summaries", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends after the bin that is being run."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.wait(_POLL):
            try:
                self.run_due()
            except Exception:
                _log.exception("summaries.crashed")

    # ---------------------------------------------------------------------------------------------- rules

    def rules(self) -> list[SummaryRule]:
        """Every rule, by name. A pack's file that can't be is left out and logged; `problems` has it."""
        return sorted(self._known()[0].values(), key=lambda r: r.name.lower())

    def readers(self, table: str) -> list[SummaryRule]:
        """The rules that are on and read a table, by name."""
        found = []
        for rule in self.rules():
            try:
                if rule.enabled and table in self._tables(rule):
                    found.append(rule)
            except TocsinError:
                continue  # a query that doesn't compile any more reads nothing; its runs tell of it
        return found

    def problems(self) -> list[TocsinError]:
        """What is wrong with the packs' summary rules."""
        return self._known()[1]

    def listed(self, *, by: Principal) -> list[dict[str, Any]]:
        """Every rule with its state, for people."""
        require(by, "rules.read")
        return [self._shown(r) for r in self.rules()]

    def get(self, rule_id: str, *, by: Principal) -> dict[str, Any]:
        """One rule with its state and its runs, newest first. Raises NotFoundError."""
        require(by, "rules.read")
        rule = self._one(rule_id)
        return {**self._shown(rule), "runs": list(reversed(self._ledger(rule)["runs"]))}

    def save(self, raw: Mapping[str, Any], *, by: Principal, rule_id: str = "") -> dict[str, Any]:
        """Makes a rule, or changes one that was made here. Raises UsageError, KqlErrors, ConflictError for one of a pack."""
        require(by, "rules.write")
        known = self._known()[0]
        if rule_id and self._one(rule_id).pack:
            raise ConflictError("A pack's summary rule can only be switched.", hint="Make one of your own of it.")
        now = self._now().isoformat()
        rule = SummaryRule.of(raw, rule_id=rule_id or str(stable_uuid("summary", str(raw["name"]), now)), changed=now)
        self._check(rule, by)
        if any(r.table == rule.table and r.id != rule.id for r in known.values()):
            raise ConflictError(f"Another summary rule writes {rule.table} already.", hint="Take another name.")
        with self._parts.state.write() as unit:
            unit.kv.set(_RULE + rule.id, rule.to_dict())
            unit.audit.add(
                by.name, "summary.save", "summary", rule.id, before=known[rule.id].to_dict() if rule.id in known else None,
                after=rule.to_dict(), address=by.address,
            )  # fmt: skip
        return self._shown(rule)

    def attempt(self, raw: Mapping[str, Any], *, by: Principal) -> dict[str, Any]:
        """Checks a rule as `save` does and runs it over the last bin that has ended; nothing is stored.

        Gives the bin, how long it took, and its rows. Raises what `save` raises of the rule itself, and QueryError for a run that can't finish.
        """
        require(by, "rules.write")
        rule = SummaryRule.of(raw, rule_id="attempt")
        self._check(rule, by)
        start = _floor(self._now(), rule.span) - rule.span
        begun = self._parts.state.clock.monotonic()
        result = self._result(rule, start)
        seconds = round(self._parts.state.clock.monotonic() - begun, 3)
        return {
            "bin": start.isoformat(),
            "end": (start + rule.span).isoformat(),
            "seconds": seconds,
            **sample(result, _SHOWN),
        }

    def set_enabled(self, rule_id: str, enabled: bool, *, by: Principal) -> dict[str, Any]:
        """Switches a rule. It begins with the bin in which it is first switched on; bins that end while it is off are run when it is on again."""
        require(by, "rules.write")
        rule = replace(self._one(rule_id), enabled=enabled)
        with self._parts.state.write() as unit:
            if rule.pack:
                unit.kv.set(_RULE + rule_id, {"enabled": enabled})
            else:
                unit.kv.set(_RULE + rule_id, rule.to_dict())
            ledger = unit.kv.get(_LEDGER + rule_id)
            if enabled and ledger is not None and not ledger["runs"]:
                unit.kv.remove(_LEDGER + rule_id)  # switched on for the first time: it begins with the bin of now
            unit.audit.add(
                by.name, "summary.switch", "summary", rule_id, after={"enabled": enabled}, address=by.address
            )
        return self._shown(rule)

    def remove(self, rule_id: str, *, by: Principal) -> None:
        """Removes a rule that was made here; its table stays. Raises ConflictError for one of a pack."""
        require(by, "rules.write")
        rule = self._one(rule_id)
        if rule.pack:
            raise ConflictError("A pack's summary rule can only be switched off.")
        with self._turn, self._parts.state.write() as unit:
            unit.kv.remove(_RULE + rule_id)
            unit.kv.remove(_LEDGER + rule_id)
            unit.audit.add(by.name, "summary.remove", "summary", rule_id, before=rule.to_dict(), address=by.address)

    def rerun(self, rule_id: str, moment: datetime, *, by: Principal) -> dict[str, Any]:
        """Runs the bin that holds a moment again, now. Raises UsageError USE0036 for one that hasn't ended."""
        require(by, "rules.write")
        rule = self._one(rule_id)
        start = _floor(moment, rule.span)
        if start + rule.span > self._now():
            raise UsageError("That bin hasn't ended yet.", code="USE0036")
        with self._turn:
            run = self._bin(rule, start, "Rerun", 0)
        with self._parts.state.write() as unit:
            unit.audit.add(
                by.name, "summary.rerun", "summary", rule_id, detail={"bin": start.isoformat()}, address=by.address
            )
        return run

    # ---------------------------------------------------------------------------------------------- running

    def run_due(self) -> int:
        """Runs every bin that is due, and those that late rows came for; gives how many. Never raises for what one rule does."""
        count = 0
        for rule in self.rules():
            if not rule.enabled or self._stopping.is_set():
                continue
            with self._turn:
                try:
                    count += self._rule(rule)
                except TocsinError as error:
                    _log.warning("summary.failed", rule=rule.id, error=str(error))
        return count

    def _rule(self, rule: SummaryRule) -> int:
        now, watermark = self._now(), self._watermark()
        ledger = self._ledger(rule)
        count = 0
        for start, rows in self._late(rule, ledger, watermark):
            if start + rule.span + timedelta(hours=rule.late) > now:
                self._bin(rule, start, "Again", rows)
                count += 1
            else:
                self._note(rule, start, "Missed", late=rows)
        self._change(rule, seen=watermark.isoformat())
        for _ in range(_AT_ONCE):
            ledger = self._ledger(rule)
            start = datetime.fromisoformat(ledger["next"])
            end = start + rule.span
            if end + timedelta(minutes=rule.delay) > now or end > watermark or self._stopping.is_set():
                break
            if ledger["retry"] and datetime.fromisoformat(ledger["retry"]) > now:
                break
            try:
                self._bin(rule, start, "Succeeded", 0)
            except TocsinError as error:
                attempts = ledger["attempts"] + 1
                self._note(rule, start, "Failed", error=str(error))
                if attempts < _ATTEMPTS:
                    retry = now + timedelta(minutes=min(2**attempts, 60))
                    self._change(rule, attempts=attempts, retry=retry.isoformat())
                    break
            self._change(rule, next=end.isoformat(), attempts=0, retry="")
            count += 1
        return count

    def _late(self, rule: SummaryRule, ledger: Mapping[str, Any], watermark: datetime) -> list[tuple[datetime, int]]:
        """Bins that were run and for which rows came in since the last look, with how many."""
        seen, done = datetime.fromisoformat(ledger["seen"]), datetime.fromisoformat(ledger["next"])
        if seen >= watermark:
            return []
        found: dict[datetime, int] = {}
        first = datetime.fromisoformat(ledger["first"])
        window = Window(seen, watermark, INGESTION_TIME)
        for table in sorted(self._tables(rule)):
            text = (
                f"['{table}'] | where TimeGenerated >= datetime({_text(first)}) and TimeGenerated < datetime({_text(done)}) "
                f"| summarize rows = count() by start = bin(TimeGenerated, {rule.size}m)"
            )
            for start, rows in self._parts.queries.run(text, window=window, limits=_RESULT).rows():
                at = datetime.fromisoformat(start)
                found[at] = found.get(at, 0) + rows
        return sorted(found.items())

    def _bin(self, rule: SummaryRule, start: datetime, status: str, late: int) -> dict[str, Any]:
        """Runs a bin: its rows take the place of those that it has. Gives the run as noted."""
        lake, queries = self._parts.lake, self._parts.queries
        application = f"tocsin-summary-{rule.id}"
        begun = self._parts.state.clock.monotonic()
        result = self._result(rule, start)
        rows = self._shaped(rule, result.stored(), start)
        old = None
        schema = lake.schema(rule.table)
        if schema is not None and any(c.name == "_RuleId" for c in schema.columns):
            chosen = queries.run(
                f"{rule.table} | where _RuleId == '{rule.id}' and _BinStartTime == datetime({_text(start)}) | project _ItemId",
                limits=_RESULT,
            )
            old = item_numbers(rule.table, chosen.table.column(0)) if len(chosen) else None
        # One number a run, from the table itself: what a crash cut short has none and is run again, or has one and is replaced.
        version = lake.appended(rule.table, application) + 1
        lake.append_once(rule.table, [rows], application, version, old)
        seconds = round(self._parts.state.clock.monotonic() - begun, 3)
        return self._note(rule, start, status, rows=rows.num_rows, late=late, seconds=seconds)

    def _result(self, rule: SummaryRule, start: datetime) -> QueryResult:
        """What a rule gives of a bin, whole or not at all."""
        end = start + rule.span
        result = self._parts.queries.run(rule.query, window=Window(start, end), now=end, limits=_RESULT)
        if result.truncated and result.cut is not None:
            raise result.cut
        if result.problems:
            raise result.problems[0]  # a part is no sum
        return result

    def _shaped(self, rule: SummaryRule, rows: pa.Table, start: datetime) -> pa.Table:
        kept = rows.select([n for n in rows.column_names if n not in (INGESTION_TIME, "Type", "TenantId", *_OWN)])
        at = start.astimezone(UTC).replace(tzinfo=None)
        now = self._now().astimezone(UTC).replace(tzinfo=None)
        stamp = pa.timestamp("us")
        more: dict[str, pa.Scalar] = {
            "_RuleId": pa.scalar(rule.id),
            "_RuleName": pa.scalar(rule.name),
            "_BinStartTime": pa.scalar(at, stamp),
            "_BinSize": pa.scalar(rule.size, pa.int64()),
            INGESTION_TIME: pa.scalar(now, stamp),
        }
        if "TimeGenerated" not in kept.column_names:
            more["TimeGenerated"] = pa.scalar(at, stamp)
        for name, value in more.items():
            kept = kept.append_column(name, pa.repeat(value, kept.num_rows))
        return kept

    # ---------------------------------------------------------------------------------------------- inside

    def _known(self) -> tuple[dict[str, SummaryRule], list[TocsinError]]:
        found: dict[str, SummaryRule] = {}
        problems: list[TocsinError] = []
        with self._parts.state.read() as unit:
            saved: Mapping[str, Any] = unit.kv.starting(_RULE)
        own = {k.removeprefix(_RULE): v for k, v in saved.items()}
        for file in self._content().summaries:
            try:
                rule = SummaryRule.of(file.document.value, pack=file.pack)
            except UsageError as error:
                problems.append(_about(file, error))
                continue
            found[rule.id] = replace(rule, enabled=bool(own.get(rule.id, {}).get("enabled", rule.enabled)))
        for rule_id, raw in own.items():
            if "query" in raw and rule_id not in found:
                found[rule_id] = SummaryRule.of(raw, changed=str(raw.get("changed", "")))
        return found, problems

    def _one(self, rule_id: str) -> SummaryRule:
        found = self._known()[0].get(rule_id)
        if found is None:
            raise NotFoundError(f"There is no summary rule {rule_id}.")
        return found

    def _check(self, rule: SummaryRule, by: Principal) -> None:
        compiled = self._parts.queries.compile(rule.query, self._now())
        check_scopes(by, frozenset(compiled.tables))
        if rule.table in compiled.tables:
            raise UsageError("A summary can't be made of its own table.", code="USE0036")
        if not self._own_tables(compiled.tables):
            raise UsageError("The query reads no table, so there are no bins of it.", code="USE0036")
        names = {c.name for c in compiled.columns} & set(_OWN)
        if names:
            raise UsageError(f"The query must not give a column {min(names)}.", code="USE0036")

    def _tables(self, rule: SummaryRule) -> frozenset[str]:
        return self._own_tables(self._parts.queries.compile(rule.query, self._now()).tables)

    @staticmethod
    def _own_tables(tables: Sequence[str] | frozenset[str]) -> frozenset[str]:
        return frozenset(t for t in tables if not t.startswith(WATCHLIST) and t.replace("_", "").isalnum())

    def _ledger(self, rule: SummaryRule) -> dict[str, Any]:
        with self._parts.state.read() as unit:
            found = unit.kv.get(_LEDGER + rule.id)
        if found is not None and found["size"] == rule.size:
            return dict(found)
        # A new rule, or bins of another size: from the bin on in which it is now.
        start = _floor(self._now(), rule.span).isoformat()
        runs = found["runs"] if found is not None else []
        return self._change(
            rule,
            size=rule.size,
            first=start,
            next=start,
            seen=self._watermark().isoformat(),
            attempts=0,
            retry="",
            runs=runs,
        )

    def _change(self, rule: SummaryRule, **changes: Any) -> dict[str, Any]:
        with self._parts.state.write() as unit:
            ledger = {**(unit.kv.get(_LEDGER + rule.id) or {}), **changes}
            unit.kv.set(_LEDGER + rule.id, ledger)
        return ledger

    def _note(
        self,
        rule: SummaryRule,
        start: datetime,
        status: str,
        *,
        rows: int = 0,
        late: int = 0,
        seconds: float = 0.0,
        error: str = "",
    ) -> dict[str, Any]:
        run = {
            "time": self._now().isoformat(), "bin": start.isoformat(), "status": status, "rows": rows, "late": late,
            "seconds": seconds, "error": error,
        }  # fmt: skip
        self._change(rule, runs=[*self._ledger(rule)["runs"], run][-_RUNS:])
        return run

    def _shown(self, rule: SummaryRule) -> dict[str, Any]:
        ledger = self._ledger(rule)
        runs = ledger["runs"]
        return {
            **rule.to_dict(),
            "next": ledger["next"],
            "attempts": ledger["attempts"],
            "last": runs[-1] if runs else None,
            "failed": sum(r["status"] == "Failed" for r in runs),
            "missed": sum(r["late"] for r in runs if r["status"] == "Missed"),
        }

    def _now(self) -> datetime:
        return self._parts.state.clock.now()


_OWN = ("_RuleId", "_RuleName", "_BinStartTime", "_BinSize")


def _floor(moment: datetime, span: timedelta) -> datetime:
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment - (moment - datetime(1970, 1, 1, tzinfo=UTC)) % span


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _about(file: SummaryFile, error: TocsinError) -> ContentError:
    return ContentError(error.message, code="CNT0052", place=Place(str(file.path)), hint=error.hint)
