"""How long a person waits for the queue and for an incident of 5,000 alerts: `python -m bench.incidents queue [ALERTS]`.

The desk over a state of that many alerts, and the answer as the API makes it (checked against its shape, written as JSON), without the network.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from bench.incidents import DAYS, START, alerts, large_attack

from tocsin.api.routes.incidents import IncidentPage
from tocsin.api.shapes import Incident
from tocsin.base.clock import ManualClock
from tocsin.incidents.desk import IncidentDesk
from tocsin.state import State

__all__ = ["queue"]

_BATCH = 500


def queue(count: int) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        state = State.open(Path(folder) / "state.db", clock=ManualClock(START + timedelta(days=DAYS)))
        desk = IncidentDesk(state)
        began = time.process_time()
        waiting = [*alerts(count), *large_attack()]
        waiting.sort(key=lambda a: (a.time, a.id))
        made = time.process_time()
        for start in range(0, len(waiting), _BATCH):
            desk.add(waiting[start : start + _BATCH])
        spent = time.process_time() - made
        each = spent / len(waiting) * 1e3
        print(
            f"{len(waiting):,} alerts filed in batches of {_BATCH}: {each:.2f} ms CPU an alert ({made - began:.0f} s to make them)\n"
        )
        first = max(desk.page(sort="priority", limit=200)["items"], key=lambda i: i["alert_count"])
        print("| what | ms | bytes |\n|---|---:|---:|")
        for name, ask in (
            ("the queue's first page (50 of all, with counts)", lambda: IncidentPage.model_validate(desk.page())),
            ("a page of it by text", lambda: IncidentPage.model_validate(desk.page(text="pc00007"))),
            (f"an incident of {first['alert_count']:,} alerts", lambda: Incident.model_validate(desk.get(first["id"]))),
        ):
            took, size = _best(ask)
            print(f"| {name} | {took * 1000:.0f} | {size:,} |")
        state.close()


def _best(ask: Callable[[], IncidentPage | Incident], times: int = 3) -> tuple[float, int]:
    best, size = float("inf"), 0
    for _ in range(times):
        began = time.process_time()
        size = len(ask().model_dump_json())
        best = min(best, time.process_time() - began)
    return best, size
