"""Taking one change of a rule back without taking later ones with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tocsin.state import AuditRow, ConflictError

__all__ = ["undo_exclusions", "undo_tuning"]


def undo_exclusions(known: Sequence[Mapping[str, Any]] | None, row: AuditRow) -> list[Mapping[str, Any]]:
    """The exclusions without those that the change added, and with those that it took away. Raises ConflictError where that is so already."""
    now = {e["id"]: e for e in known or ()}
    before = {e["id"]: e for e in row.before or ()}
    after = {e["id"]: e for e in row.after or ()}
    added, removed = after.keys() - before.keys(), before.keys() - after.keys()
    if not (added & now.keys() or removed - now.keys()):
        raise ConflictError("This was taken back already.")
    kept = [e for i, e in now.items() if i not in added]
    return [*kept, *(before[i] for i in before if i in removed and i not in now)]


def undo_tuning(known: Mapping[str, Any], row: AuditRow) -> dict[str, Any]:
    """What to tune so that the settings that the change touched are as before it; None takes an override away.

    Raises ConflictError where one of them was changed again since.
    """
    before, after = row.before or {}, row.after or {}
    touched = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    for name in sorted(touched):
        if known.get(name) != after.get(name):
            raise ConflictError(f"'{name}' was changed again since.")
    if not touched:
        raise ConflictError("This changed nothing.")
    return {name: before.get(name) for name in touched}
