"""What an incident means, made from what state and content hold now: its narrative, and what other incidents are like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tocsin.incidents.advice import done_of
from tocsin.incidents.desk import shown
from tocsin.incidents.load import from_row
from tocsin.incidents.narrative import narrative
from tocsin.incidents.similar import similar

if TYPE_CHECKING:
    from tocsin.content import Content
    from tocsin.incidents.priority import Judge
    from tocsin.state import Unit

__all__ = ["meaning"]


def meaning(unit: Unit, incident_id: str, content: Content, judge: Judge | None) -> dict[str, Any]:
    """Summary, facts, stages, blast radius, root cause, advice, matching threat reports and similar incidents, in the API's shape.

    NotFoundError for no such incident, ContentError for a template that fails.
    """
    incident = from_row(shown(unit, incident_id), unit.incidents.alerts_of(incident_id))
    alike = similar(unit, incident_id)
    if not incident.alerts:  # merged into another
        nothing: dict[str, Any] = {n: [] for n in ("facts", "stages", "reports", "advice")}
        return {"summary": "", **nothing, "blast_radius": None, "root_cause": None, "similar": alike}
    return {**narrative(incident, content, judge, done_of(unit, incident.id)), "similar": alike}
