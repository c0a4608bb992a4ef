"""The cases beside an anomaly: a history, rows, and what must come of them, on nothing but themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from tocsin.base.errors import ContentError, Place, TocsinError
from tocsin.content import Document
from tocsin.detect.alert import iso
from tocsin.detect.anomaly.evaluate import evaluate
from tocsin.detect.anomaly.model import Anomaly
from tocsin.detect.anomaly.rows import anomaly_row, behavior_row
from tocsin.detect.cases import relation, timed
from tocsin.detect.durations import parse_duration
from tocsin.detect.make import moment
from tocsin.detect.run import Queries
from tocsin.kql.types import Catalog
from tocsin.lake.engine import Window
from tocsin.tables.own import own

__all__ = ["AnomalyResult", "run_anomaly_cases"]


@dataclass(frozen=True, slots=True)
class AnomalyResult:
    """What a case showed; `message` says why it failed."""

    anomaly: Anomaly
    name: str
    place: Place
    message: str = ""

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.message


def run_anomaly_cases(anomaly: Anomaly, tests: Document, queries: Queries, catalog: Catalog) -> list[AnomalyResult]:
    """Every case of a file. What is wrong with a case makes it fail with the reason."""
    found = []
    for number, case in enumerate(tests.value["cases"]):
        place = tests.place(("cases", number))
        try:
            message = _run(anomaly, case, place, queries, catalog)
        except TocsinError as error:
            message = str(error)
        found.append(AnomalyResult(anomaly, str(case["name"]), place, message))
    return found


def _run(anomaly: Anomaly, case: Mapping[str, Any], place: Place, queries: Queries, catalog: Catalog) -> str:
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for table, given in case["rows"].items():
        rows[table].extend(timed(given))
    times = [t for given in rows.values() for r in given if (t := moment(r.get("TimeGenerated"))) is not None]
    now = moment(case.get("now")) or (max(times) if times else datetime(2026, 1, 1, tzinfo=UTC))
    end = _up(now, anomaly.frequency)
    for history in case.get("history") or ():
        every = parse_duration(str(history["every"]))
        if every is None:
            raise ContentError(f"'{history['every']}' isn't a duration.", code="CNT0012", place=place)
        for table, given in (history.get("rows") or {}).items():
            for row in timed(given):
                at = moment(row.get("TimeGenerated"))
                if at is None:
                    raise ContentError("A row of the history has a time.", code="CNT0012", place=place)
                rows[table].extend({**row, "TimeGenerated": iso(at - every * n)} for n in range(history["times"]))

    def relations(window: Window) -> dict[str, pa.Table]:
        low, high = window.start, window.end
        assert low is not None
        assert high is not None
        return {
            table: relation(
                table, [r for r in given if (t := moment(r.get("TimeGenerated"))) and low <= t < high], place, catalog
            )
            for table, given in rows.items()
        }

    found = evaluate(anomaly, queries, end - anomaly.frequency, end, relations=relations)
    made = [f for f in found.findings if anomaly_row(anomaly, f, end) is not None]
    if len(made) != case["anomalies"]:
        said = "; ".join(f"{f.entity}: {f.insights}" for f in found.findings) or "nothing was found"
        return f"It made {len(made)} anomalies instead of {case['anomalies']}: {said}."
    for name, wanted in (case.get("insights") or {}).items():
        have = [
            behavior_row(anomaly, f, end)[own("behavior").column("insights")].get(name, "absent")
            for f in found.findings
        ]
        if wanted not in have:
            return f"No row says {name} = {wanted}; they say {have}."
    return ""


def _up(now: datetime, step: timedelta) -> datetime:
    """The end of the step that an instant lies in."""
    since = now - datetime(1970, 1, 1, tzinfo=UTC)
    return datetime(1970, 1, 1, tzinfo=UTC) + (since // step + 1) * step
