"""Where an incident's alerts are: in itself, or in what it was merged into, and that one, in the end; and which incidents lead to one."""

from __future__ import annotations

from tocsin.incidents.model import Status
from tocsin.state import IncidentRow, Unit

__all__ = ["final", "led_here"]

_MOST = 1000
"""Merged incidents that are followed: the merge of more was one of scanners' noise, out of which nobody has moved anything by hand."""


def final(unit: Unit, row: IncidentRow) -> IncidentRow:
    """The incident that links to this one lead to. The log keeps what each was merged into, so that merges can be undone one by one."""
    there = row
    while there.status == Status.REDIRECTED and there.redirect_to:
        there = unit.incidents.require(there.redirect_to)
    return there


def led_here(unit: Unit, incident_id: str) -> list[str]:
    """The incidents that were merged into this one, and into those, and aren't taken out again; of very many the last 1,000 merges."""
    found: dict[str, None] = {}
    here = {incident_id}
    while here and len(found) < _MOST:
        told = unit.incidents.activity_details(sorted(here), ("merge", "alerts"))
        named = dict.fromkeys(str(other) for d in told if (other := d.get("from") or d.get("other")))
        asked = [i for i in named if i not in found and i != incident_id][: _MOST - len(found)]
        rows = unit.incidents.several(set(asked)).values()
        merged = {r.id for r in rows if r.status == Status.REDIRECTED and r.redirect_to in here}
        found.update(dict.fromkeys(sorted(merged)))
        here = merged
    return list(found)
