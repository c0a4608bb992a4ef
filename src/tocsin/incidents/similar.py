"""Past incidents that are like one: by the rules, techniques and things that both have, each said."""

from __future__ import annotations

from typing import Any

from tocsin.detect.alert import iso
from tocsin.state import Unit

__all__ = ["similar"]

_LOOKED_AT = 200
_PARTS = (("rules", 50.0), ("techniques", 30.0), ("entities", 20.0))


def similar(unit: Unit, incident_id: str, *, limit: int = 5) -> list[dict[str, Any]]:
    """The incidents most like it, with what they have in common and how each was judged. Likeness is 0 to 100: the shares of rules (50), techniques
    (30) and things (20) that both have. Of those that share rules the 200 that share most are looked at.
    """
    mine = unit.incidents.require(incident_id)
    names = unit.incidents.rule_names(incident_id)
    rules = set(names)
    if not rules:
        return []
    ours = {"rules": rules, **_sets(mine.payload)}
    found: list[dict[str, Any]] = []
    for other_id in unit.incidents.sharing_rules(sorted(rules), but=incident_id, limit=_LOOKED_AT):
        row = unit.incidents.get(other_id)
        if row is None or row.status == "Redirected":
            continue
        theirs = {"rules": set(unit.incidents.alert_rules(other_id).values()), **_sets(row.payload)}
        common = {name: ours[name] & theirs[name] for name, _ in _PARTS}
        score = sum(
            weight * len(common[name]) / len(every) for name, weight in _PARTS if (every := ours[name] | theirs[name])
        )
        found.append(
            {
                "id": row.id,
                "number": row.number,
                "title": row.title,
                "status": row.status,
                "classification": row.classification,
                "determination": row.determination,
                "owner": row.owner,
                "last": iso(row.last),
                "likeness": round(score, 1),
                "shared": {
                    name: sorted(names[c] if name == "rules" else c for c in common[name])[:20] for name, _ in _PARTS
                },
            }
        )
    found.sort(key=lambda f: (-f["likeness"], -f["number"]))
    return found[:limit]


def _sets(payload: Any) -> dict[str, set[str]]:
    return {
        "techniques": set(payload.get("techniques", ())),
        "entities": {f"{e['type']} {e['label']}" for e in payload.get("entities", ())},
    }
