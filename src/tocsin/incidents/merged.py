"""Where an incident's alerts are: in itself, or in what it was merged into, and that one, in the end."""

from __future__ import annotations

from tocsin.incidents.model import Status
from tocsin.state import IncidentRow, Unit

__all__ = ["final"]


def final(unit: Unit, row: IncidentRow) -> IncidentRow:
    """The incident that links to this one lead to. The log keeps what each was merged into, so that merges can be undone one by one."""
    there = row
    while there.status == Status.REDIRECTED and there.redirect_to:
        there = unit.incidents.require(there.redirect_to)
    return there
