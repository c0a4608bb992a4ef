"""What became of the runs of scheduled rules: the last hundred of each, quiet ones that follow each other as one entry.

They are kept in memory and written to state a few seconds later, those in which something happened first: a crash loses at most the telling of
quiet runs, never a mark or an alert (both are saved with the run itself).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from tocsin.base.ids import stable_id
from tocsin.state import State
from tocsin.tables.own import own

__all__ = ["RuleRuns"]

_OWN = own("rule_health")
_KEY = "rule.runs/"
_KEPT = 100
_QUIET_ROUNDS = 12
_LONGEST = 100


class RuleRuns:
    """Entries by rule: `start`, `end`, `at`, `status`, `results`, `alerts`, `seconds`, `code`, `error`, `runs`, `eager`. Thread-safe."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._known: dict[str, list[dict[str, Any]]] = {}
        self._loud: set[str] = set()
        self._quiet: set[str] = set()
        self._rounds = 0

    def take(self, row: Mapping[str, Any]) -> None:
        """A run as the scheduler tells it (a row of the table of rules' health)."""
        more = row[_OWN.column("details")]
        failed = row[_OWN.column("status")] != "Success"
        entry = {
            "start": more["QueryStartTimeUTC"],
            "end": more["QueryEndTimeUTC"],
            "at": row[_OWN.column("time")],
            "status": row[_OWN.column("status")],
            "results": more["QueryResultAmount"],
            "alerts": more["AlertsGeneratedAmount"],
            "seconds": more["DurationSeconds"],
            "code": row[_OWN.column("reason")] if failed else "",
            "error": row[_OWN.column("description")] if failed else "",
            "runs": 1,
            "eager": more["Eager"],
        }
        rule_id = row[_OWN.column("id")]
        with self._lock:
            entries = self._of(rule_id)
            last = entries[-1] if entries else None
            if last is not None and _same(last, entry):
                kept = {
                    "start": last["start"],
                    "runs": last["runs"] + 1,
                    "seconds": max(last["seconds"], entry["seconds"]),
                }
                entries[-1] = {**entry, **kept}
                self._quiet.add(rule_id)
            else:
                entries.append(entry)
                del entries[:-_KEPT]
                self._loud.add(rule_id)

    def of(self, rule_id: str) -> list[dict[str, Any]]:
        """A rule's entries, newest first."""
        with self._lock:
            return [dict(e) for e in reversed(self._of(rule_id))]

    def save(self, *, every: bool = False) -> None:
        """Writes what is new: at each call what happened, now and then (or with `every`) the quiet runs, too."""
        with self._lock:
            self._rounds += 1
            due = set(self._loud)
            if every or self._rounds % _QUIET_ROUNDS == 0:
                due |= self._quiet
            values = {rule_id: list(self._known[rule_id]) for rule_id in due}
            self._loud -= due
            self._quiet -= due
        if not values:
            return
        with self._state.write() as unit:
            for rule_id, entries in values.items():
                unit.kv.set(_key(rule_id), entries)

    def _of(self, rule_id: str) -> list[dict[str, Any]]:
        if rule_id not in self._known:
            with self._state.read() as unit:
                self._known[rule_id] = list(unit.kv.get(_key(rule_id)) or ())
        return self._known[rule_id]


def _key(rule_id: str) -> str:
    return _KEY + (rule_id if len(rule_id) <= _LONGEST else stable_id("rule", rule_id))


def _same(last: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Whether a run says no more than the one before: nothing was found, or the same failure."""
    if last["status"] != entry["status"] or last["error"] != entry["error"]:
        return False
    return entry["status"] != "Success" or not (
        last["results"] or entry["results"] or last["alerts"] or entry["alerts"]
    )
