"""What filing costs at the desk, and how long a person waits for the queue and for an incident of 5,000 alerts.

`python -m bench.incidents desk` and `python -m bench.incidents queue [ALERTS]`. The desk over a state of its own, and the answer as the API makes it,
without the network.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from bench.incident_state import a_state, fill
from bench.incidents import HOSTS, LARGE, one_alert
from pydantic import BaseModel
from sqlalchemy import text

from tocsin.api.routes.incident_pages import AlertPage, EntityPage
from tocsin.api.shapes import Incident
from tocsin.api.wire import to_json
from tocsin.detect.alert import Alert
from tocsin.incidents import facts
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.pages import Pages
from tocsin.state import State
from tocsin.tables import entities

__all__ = ["filing", "queue", "table"]

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
    """Prints the table, over a state of so many alerts."""
    with a_state() as state:
        table(state, fill(state, count))


def table(state: State, large: str) -> None:
    """Prints how long the queue's pages take, and an incident of 5,000 alerts, of that id. Some incidents get an owner, a tag and a classification
    first."""
    desk = IncidentDesk(state, correlates=False)
    with state.write() as unit:
        for change in _CHANGES:
            unit.connection.execute(text(change))
    first = desk.page(limit=1)
    deep = max(0, first["total"] - 50)
    owner: dict[str, Any] = {"statuses": ("New",), "severities": ("High", "Medium"), "owner": "none"}
    mine: dict[str, Any] = {"statuses": ("New", "InProgress"), "owner": "ann"}
    far = desk.page(limit=1, offset=deep // 2)["items"][0]["id"]
    alert = desk.alerts(large, limit=1)["items"][0]["id"]
    week = state.clock.now() - timedelta(days=7)

    def page(**wanted: Any) -> bytes:
        return to_json(desk.page(**wanted))

    asked: list[tuple[str, Callable[[], bytes]]] = [
        ("the queue's first page (50 of all, with counts)", page),
        ("the same as the portal asks for it, without alerts", lambda: page(alerts=0)),
        ("the same by last event", lambda: page(sort="last")),
        ("the same by severity", lambda: page(sort="severity")),
        ("the same by title", lambda: page(sort="title", descending=False)),
        ("the same by status", lambda: page(sort="status")),
        ("new ones of Medium and High that nobody has", lambda: page(**owner)),
        ("open ones that somebody has who has ten", lambda: page(**mine)),
        ("those classified as true positives, a dozen", lambda: page(classification="TruePositive")),
        ("those of the last seven days", lambda: page(since=week)),
        ("those with a tag that 18 have", lambda: page(tag="rare")),
        ("those with a tag that a third has", lambda: page(tag="common")),
        ("a page far down, after an incident", lambda: page(after=far)),
        ("the last page of all, by counting", lambda: page(offset=deep)),
        ("a page by a text that few have", lambda: page(text="pc00007")),
        ("a page by a text that all have", lambda: page(text="contoso")),
        ("a page by two letters that nobody has", lambda: page(text="qq")),
        (f"an incident of {LARGE:,} alerts, for the first time", lambda: _json(Incident.model_validate(_anew(desk, large)))),
        ("the same again", lambda: _json(Incident.model_validate(desk.get(large)))),
        (
            "1,000 more of its alerts, without evidence",
            lambda: _json(AlertPage.model_validate(desk.alerts(large, after=alert, limit=1000, evidence=False))),
        ),
        ("its alerts by a word in their evidence", lambda: _json(AlertPage.model_validate(desk.alerts(large, text="--run 10000777")))),
        ("100 of its entities", lambda: _json(EntityPage.model_validate(desk.things(large, kind="Process")))),
    ]  # fmt: skip
    with state.read() as unit:
        alerts_there = unit.connection.execute(text("SELECT COUNT(*) FROM alerts")).scalar_one()
    print(f"{alerts_there:,} alerts in {first['total']:,} incidents that people see.\n")
    print("| what | ms by the clock | ms of CPU | bytes |\n|---|---:|---:|---:|")
    for name, ask in asked:
        clock, cpu, size = _best(ask)
        print(f"| {name} | {clock * 1e3:.0f} | {cpu * 1e3:.0f} | {size:,} |", flush=True)


_CHANGES = (
    "UPDATE incidents SET owner = 'ann' WHERE promoted AND number % 50000 = 0",
    "UPDATE incidents SET classification = 'TruePositive', status = 'Resolved' WHERE promoted AND number % 40000 = 0",
    *(
        "INSERT INTO incident_tags (incident_id, tag, added, added_by)"
        f" SELECT id, '{tag}', created, 'bench' FROM incidents WHERE promoted AND number % {every} = 0 ON CONFLICT DO NOTHING"
        for tag, every in (("rare", 30_000), ("common", 3))
    ),
)


def _json(made: BaseModel) -> bytes:
    return made.model_dump_json().encode()


def _anew(desk: IncidentDesk, incident_id: str) -> dict[str, Any]:
    """The incident, of which nothing has been kept."""
    desk._pages = Pages()
    entities._known.cache_clear()
    facts.keys_of.cache_clear()
    return desk.get(incident_id)


def _best(ask: Callable[[], bytes], times: int = 3) -> tuple[float, float, int]:
    best, size = (float("inf"), float("inf")), 0
    for _ in range(times):
        clock, cpu = time.perf_counter(), time.process_time()
        size = len(ask())
        best = min(best, (time.perf_counter() - clock, time.process_time() - cpu))
    return *best, size
