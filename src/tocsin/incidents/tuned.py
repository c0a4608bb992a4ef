"""What was set of correlation's and priority's weights: the values over the usual ones, their version, and who set which when.

The version is the number of the newest entry of the history: who sets weights that somebody else has set meanwhile is told so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.base.errors import UsageError
from tocsin.detect.alert import iso
from tocsin.incidents import judging, reshape
from tocsin.incidents.life import Actor
from tocsin.state import ConflictError, NotFoundError, Unit

__all__ = ["WeightsOvertakenError", "entries", "nested", "version", "without", "write"]

_HISTORY = "incidents.weights.history"
_TURN = "incidents.weights.turn"
_KEPT = 200
_SINCE = 20
"""Changes that are told to who was overtaken."""
_WHERE = {"correlation": judging.CORRELATION, "priority": judging.WEIGHTS}


class WeightsOvertakenError(ConflictError):
    """A change of weights that aren't any more what was read. `more` has their `version` now and the newest `changes` since: version, time, actor,
    reason, and the names of the weights that were set."""

    def __init__(self, unit: Unit, since: int, said: str, hint: str) -> None:
        """`since`: the version that was read."""
        later = [e for e in entries(unit) if e["id"] > since][-_SINCE:]
        changes = [
            {"version": e["id"], "time": e["time"], "actor": e["actor"], "reason": e["reason"], "changed": _changed(e)}
            for e in later
        ]
        last = f" The last change: {', '.join(_changed(later[-1])[:_SINCE])} by {later[-1]['actor']}." if later else ""
        super().__init__(f"{said}{last}", hint=hint)
        self.more = {"version": version(unit), "changes": changes}


def entries(unit: Unit) -> list[dict[str, Any]]:
    """What was set, oldest first."""
    found: list[dict[str, Any]] = unit.kv.get(_HISTORY, [])
    return found


def version(unit: Unit) -> int:
    """How often weights were set."""
    kept = entries(unit)
    return int(kept[-1]["id"]) if kept else 0


def write(
    unit: Unit,
    correlation: Mapping[str, Any] | None,
    priorities: Mapping[str, Any] | None,
    *,
    reason: str,
    actor: Actor,
    version: int | None = None,
) -> dict[str, Any]:
    """Keeps the values, the entry of the history and the audit row, in one transaction; gives the entry. What changes nothing is kept nowhere: its
    entry has the number of the newest. WeightsOvertakenError when the weights aren't at that version any more."""
    unit.kv.next(_TURN)  # who sets weights waits for who is just setting some
    kept = entries(unit)
    now = int(kept[-1]["id"]) if kept else 0
    if version is not None and version != now:
        raise WeightsOvertakenError(
            unit,
            version,
            f"The weights were changed by somebody else meanwhile: they are at version {now}, not {version}.",
            "Look at them again, then decide.",
        )
    after: dict[str, Any] = {}
    if correlation is not None:
        after["correlation"] = dict(correlation)
    if priorities is not None:
        after["priority"] = nested(priorities)
    before = {side: unit.kv.get(_WHERE[side], {}) for side in after}
    entry = {
        "id": now + 1,
        "time": iso(unit.clock.now()),
        "actor": actor.name,
        "reason": reason,
        "before": before,
        "after": after,
    }
    if before == after:
        return {**entry, "id": now}
    if "correlation" in after:
        unit.kv.set(judging.CORRELATION, after["correlation"])
        reshape.count(unit)  # whoever else correlates on this state reads anew
    if "priority" in after:
        judging.set_weights(unit, after["priority"])
    unit.kv.set(_HISTORY, [*kept, entry][-_KEPT:])
    unit.audit.add(
        actor.name, "incident.weights", "settings", judging.WEIGHTS, before=before, after=after, detail={"reason": reason},
        address=actor.address,
    )  # fmt: skip
    return entry


def without(unit: Unit, entry_id: int) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The values of both sides, None for one that stays, without what an entry of the history set: what it changed is as it was before, all else as
    it is now. NotFoundError for no such entry; WeightsOvertakenError where something that it changed was set again since."""
    unit.kv.next(_TURN)
    entry = next((e for e in entries(unit) if e["id"] == entry_id), None)
    if entry is None:
        raise NotFoundError(f"The weights' history has no entry {entry_id}.")
    sides: dict[str, dict[str, Any]] = {}
    for side, was in entry["before"].items():
        old, made, now = _flat(was), _flat(entry["after"][side]), _flat(unit.kv.get(_WHERE[side], {}))
        for name in old.keys() | made.keys():
            if old.get(name) == made.get(name):
                continue
            if now.get(name) != made.get(name):
                raise WeightsOvertakenError(
                    unit,
                    entry_id,
                    f"The weight {name} was set again since.",
                    "Undo the later change first, or set the weight.",
                )
            now.pop(name, None)
            if name in old:
                now[name] = old[name]
        sides[side] = now
    return sides.get("correlation"), sides.get("priority")


def _changed(entry: Mapping[str, Any]) -> list[str]:
    """The names of the weights that an entry set."""
    found: list[str] = []
    for side, was in entry["before"].items():
        old, made = _flat(was), _flat(entry["after"][side])
        found += sorted(n for n in old.keys() | made.keys() if old.get(n) != made.get(n))
    return found


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name (``severity.High``)."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        made |= {f"{name}.{part}": v for part, v in value.items()} if isinstance(value, Mapping) else {name: value}
    return made


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``severity.High`` and its like as mappings, as weights are kept; what is nested already stays."""
    made: dict[str, Any] = {}
    for name, value in flat.items():
        head, dot, rest = name.partition(".")
        if not dot:
            made[name] = (
                {**made[name], **value} if isinstance(made.get(name), dict) and isinstance(value, Mapping) else value
            )
        else:
            held = made.setdefault(head, {})
            if not isinstance(held, dict):
                raise UsageError(f"The weight {head!r} has no parts.", code="INC0004")
            held[rest] = value
    return made
