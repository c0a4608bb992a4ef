"""What filing costs at the desk, and how long a person waits for the queue and for an incident of 5,000 alerts.

`python -m bench.incidents desk` and `python -m bench.incidents queue [ALERTS]`. The desk over a state of its own, and the answer as the API makes it
(checked against its shape, written as JSON), without the network.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.incident_state import a_state, fill
from bench.incidents import HOSTS, LARGE, one_alert
from pydantic import BaseModel
from sqlalchemy import text

from tocsin.api.routes.incident_pages import AlertPage, EntityPage
from tocsin.api.routes.incidents import IncidentPage
from tocsin.api.shapes import Incident
from tocsin.detect.alert import Alert
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.pages import Pages

__all__ = ["filing", "queue"]

# ---------------------------------------------------------------------------------------------- filing


def filing() -> None:
    """Prints what an alert costs at the desk."""
    print("| what | alerts at once | ms of CPU an alert | ms by the clock | incidents |\n|---|---:|---:|---:|---:|")
    for name, made in (("one attack on two machines", list(_attack())), ("a machine each", list(_apart()))):
        for batch in (500, 10):
            with a_state() as state:
                desk = IncidentDesk(state)
                cpu, clock = time.process_time(), time.perf_counter()
                for start in range(0, len(made), batch):
                    desk.add(made[start : start + batch])
                spent = (time.process_time() - cpu) * 1e3 / len(made), (time.perf_counter() - clock) * 1e3 / len(made)
                with state.read() as unit:
                    incidents = len(unit.incidents.every_id())
                print(f"| {name} | {batch} | {spent[0]:.2f} | {spent[1]:.2f} | {incidents:,} |", flush=True)


def _attack() -> Iterator[Alert]:
    """5,000 alerts that all join one incident: two machines and their user, within half an hour."""
    rng = random.Random(8)
    for part in range(LARGE):
        yield one_alert(part, part * 1800 / LARGE, 7 + part % 2, 700 + part % 40, rng, attack=7)


def _apart() -> Iterator[Alert]:
    """5,000 alerts that each open an incident."""
    rng = random.Random(9)
    for part in range(LARGE):
        yield one_alert(part, part * 400.0, part % HOSTS, part % 600, rng)


# ---------------------------------------------------------------------------------------------- the queue


def queue(count: int) -> None:
    """Prints the table."""
    with a_state() as state:
        large = fill(state, count)
        desk = IncidentDesk(state, correlates=False)
        first = desk.page(limit=1)
        deep = max(0, first["total"] - 50)
        owner: dict[str, Any] = {"statuses": ("New",), "severities": ("High", "Medium"), "owner": "none"}
        far = desk.page(limit=1, offset=deep // 2)["items"][0]["id"]
        alert = desk.alerts(large, limit=1)["items"][0]["id"]
        asked: list[tuple[str, Callable[[], BaseModel]]] = [
            ("the queue's first page (50 of all, with counts)", lambda: IncidentPage.model_validate(desk.page())),
            ("the same by last event", lambda: IncidentPage.model_validate(desk.page(sort="last"))),
            ("the same by severity", lambda: IncidentPage.model_validate(desk.page(sort="severity"))),
            ("new ones of Medium and High that nobody has", lambda: IncidentPage.model_validate(desk.page(**owner))),
            ("a page far down, after an incident", lambda: IncidentPage.model_validate(desk.page(after=far))),
            ("the last page of all, by counting", lambda: IncidentPage.model_validate(desk.page(offset=deep))),
            ("a page by a text that few have", lambda: IncidentPage.model_validate(desk.page(text="pc00007"))),
            ("a page by a text that all have", lambda: IncidentPage.model_validate(desk.page(text="contoso"))),
            (f"an incident of {LARGE:,} alerts, for the first time", lambda: Incident.model_validate(_anew(desk, large))),
            ("the same again", lambda: Incident.model_validate(desk.get(large))),
            (
                "1,000 more of its alerts, without evidence",
                lambda: AlertPage.model_validate(desk.alerts(large, after=alert, limit=1000, evidence=False)),
            ),
            ("its alerts by a word in their evidence", lambda: AlertPage.model_validate(desk.alerts(large, text="--run 10000777"))),
            ("100 of its entities", lambda: EntityPage.model_validate(desk.things(large, kind="Process"))),
        ]  # fmt: skip
        with state.read() as unit:
            alerts_there = unit.connection.execute(text("SELECT COUNT(*) FROM alerts")).scalar_one()
        print(f"{alerts_there:,} alerts in {first['total']:,} incidents that people see.\n")
        print("| what | ms by the clock | ms of CPU | bytes |\n|---|---:|---:|---:|")
        for name, ask in asked:
            clock, cpu, size = _best(ask)
            print(f"| {name} | {clock * 1e3:.0f} | {cpu * 1e3:.0f} | {size:,} |", flush=True)


def _anew(desk: IncidentDesk, incident_id: str) -> dict[str, Any]:
    """The incident, of which the desk has kept nothing."""
    desk._pages = Pages()
    return desk.get(incident_id)


def _best(ask: Callable[[], BaseModel], times: int = 3) -> tuple[float, float, int]:
    best, size = (float("inf"), float("inf")), 0
    for _ in range(times):
        clock, cpu = time.perf_counter(), time.process_time()
        size = len(ask().model_dump_json())
        best = min(best, (time.perf_counter() - clock, time.process_time() - cpu))
    return *best, size
