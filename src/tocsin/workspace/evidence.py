"""Which rows are evidence of incidents that somebody still works on: retention, deletion and purge must leave them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from tocsin.detect.columns import COLUMNS
from tocsin.incidents.model import Status
from tocsin.lake.pins import Pin
from tocsin.state import State
from tocsin.tables import catalogue

__all__ = ["evidence_pins"]

_OPEN = (Status.NEW.value, Status.IN_PROGRESS.value)
_TIMES: list[str] = COLUMNS["times"]["of_a_row"]


def evidence_pins(state: State) -> list[Pin]:
    """A pin for each piece of evidence of each open incident: its moment, or the alert's whole span where the evidence tells none.

    Evidence of a source's own shape, as Sigma rules have it, isn't a table's: it pins its moment in every table.
    """
    found: dict[Pin, None] = {}
    with state.read() as unit:
        for incident_id, number, alert in unit.incidents.alerts_in(_OPEN):
            holder = f"incident {number}" if number is not None else f"incident {incident_id}"
            found.update(dict.fromkeys(_pins(alert, holder)))
    return list(found)


def _pins(alert: Mapping[str, Any], holder: str) -> Iterator[Pin]:
    span = _moment(alert.get("time")), _moment(alert.get("end"))
    for event in alert.get("events", ()):
        named = str(event.get("table", ""))
        table = named if catalogue().table(named) is not None or named.endswith("_CL") else ""
        row = event.get("row", {})
        at = next((m for n in _TIMES if (m := _moment(row.get(n))) is not None), None)
        start, end = (at, at) if at is not None else span
        if start is not None and end is not None:
            yield Pin(table, start, end, holder)


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        # Seven digits of a second are KQL's; the lake keeps six.
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
