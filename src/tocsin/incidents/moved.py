"""What people have moved out of an incident: where it is now, by whom and why it went, and which way leads back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.incidents.answers import shown
from tocsin.incidents.merged import led_here
from tocsin.incidents.model import Status
from tocsin.state import ActionRow, IncidentRow, Unit, text_of

__all__ = ["MOVE", "moved_away"]

MOVE = "incident.move-alerts"
"""The action by which alerts are moved."""
_MOVES = 100
_NAMED = 20


def moved_away(unit: Unit, incident_id: str) -> list[dict[str, Any]]:
    """The alerts that were moved out of an incident, or out of one that was merged into it since, and aren't back, the newest move first: of at most
    100 moves, each by the incident that holds its alerts now. NotFoundError when there is none to show.

    `back` is the way back: ``undo`` (of the action; all is as it was left), ``move`` (from where they are now), ``merge`` (they are all that the
    other incident has), or "" while one of the two is closed.
    """
    here = shown(unit, incident_id)
    moves = unit.actions.of_incidents([here.id, *led_here(unit, here.id)], MOVE, "Succeeded", limit=_MOVES)
    wanted = {m.id: [str(a) for a in m.input.get("alerts", ())] for m in moves}
    every = list(dict.fromkeys(a for ids in wanted.values() for a in ids))
    holders = unit.incidents.holders(every)
    there = unit.incidents.several(set(holders.values()))
    named = unit.incidents.alerts_named(every)
    told: set[str] = set()  # what was moved, brought back and moved again is told of the last time
    found = []
    for move in moves:
        groups: dict[str, list[str]] = {}
        for alert in wanted[move.id]:
            holder = holders.get(alert)
            if holder is not None and holder != incident_id and alert not in told:
                groups.setdefault(holder, []).append(alert)
        for holder, alerts in groups.items():
            told.update(alerts)
            found.append(_entry(here, move, there[holder], alerts, named))
    return found


def _entry(
    here: IncidentRow,
    move: ActionRow,
    there: IncidentRow,
    alerts: list[str],
    named: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    in_time = sorted((named[a] for a in alerts), key=lambda a: (a["time"], a["id"]))
    return {
        "action": move.id,
        "by": move.proposed_by,
        "time": text_of(move.decided_at or move.proposed_at),
        "reason": str(move.input.get("reason") or ""),
        "incident": {"id": there.id, "number": there.number, "title": there.title, "status": there.status},
        "alerts": [{**a, "time": text_of(a["time"])} for a in in_time[:_NAMED]],
        "alert_count": len(alerts),
        "back": _back(here, move, there, alerts),
    }


def _back(here: IncidentRow, move: ActionRow, there: IncidentRow, alerts: list[str]) -> str:
    undo = move.undo_data or {}
    whole = len(alerts) == there.alert_count
    if here.status in (Status.RESOLVED, Status.REDIRECTED):
        return ""
    own = move.incident_id == here.id  # an undo brings nothing back to an incident that was merged since
    brings = there.id == undo.get("target") and len(alerts) == len(undo.get("alerts", ()))
    if own and brings and (undo.get("new") or not whole):
        return "undo"
    if there.status == Status.RESOLVED:
        return ""
    return "merge" if whole else "move"
