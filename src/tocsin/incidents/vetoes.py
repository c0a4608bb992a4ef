"""What speaks against emptying one incident into another."""

from __future__ import annotations

from tocsin.incidents.model import Incident, Status

__all__ = ["ENTITY_CAP", "merge_vetoes", "vetoes"]

ENTITY_CAP = 1000
"""Entities above which an incident takes in no other."""


def merge_vetoes(target: Incident, source: Incident) -> list[str]:
    """What speaks against emptying one incident into another, a sentence each (Defender's vetoes).

    A closed or locked one, different owners, classifications or determinations (nothing on one side is compatible), too many entities.
    """
    entities = len(target.entities()) + len(source.entities())
    if entities > ENTITY_CAP:
        entities = len({*_labels(target), *_labels(source)})
    return vetoes(target, source, entities)


def vetoes(target: Incident, source: Incident, entities: int) -> list[str]:
    """The same where it is known already how many entities they have together."""
    found = [
        f"#{i.number} is {'resolved' if i.status is Status.RESOLVED else 'merged into another already'}."
        for i in (target, source)
        if i.status in (Status.RESOLVED, Status.REDIRECTED)
    ]
    found.extend(f"#{i.number} is locked." for i in (target, source) if i.locked)
    for name in ("owner", "classification", "determination"):
        here, there = getattr(target, name), getattr(source, name)
        if here and there and here != there:
            found.append(f"The {name} of #{target.number} is {here}, that of #{source.number} {there}.")
    if entities > ENTITY_CAP:
        found.append(f"#{target.number} would have more than {ENTITY_CAP} entities.")
    return found


def _labels(incident: Incident) -> set[tuple[str, str]]:
    return {(e.type, e.label.lower()) for e in incident.entities()}
