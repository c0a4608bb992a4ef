"""The dead letters of a workspace: listed, counted and replayed. What waits is a stored function's business (`DeadLetters`, pack core)."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from tocsin.access import Principal
from tocsin.base.errors import IngestError
from tocsin.ingest.letters import DEAD_LETTERS, body_of_letter
from tocsin.ingest.pipeline import Intake, IntakeBusyError
from tocsin.lake import Body
from tocsin.query import QueryService
from tocsin.state import NotFoundError, State

__all__ = ["DeadLetterDesk"]

_LETTERS = "DeadLetters"
"""The stored function that gives the letters that wait."""
_CHUNK = 50
_SHOWN = 3_000
"""Bytes of a letter that a list shows; the letter itself has them all."""
_PATIENCE = 60.0
_FILTERS = {"code": "Code ==", "source": "Sender ==", "format": "Format ==", "text": "Reason contains"}


class DeadLetterDesk:
    """Safe to use from several threads: replays go one after another, so that no letter goes twice."""

    def __init__(self, queries: QueryService, intake: Intake, state: State) -> None:
        self._queries = queries
        self._intake = intake
        self._state = state
        self._lock = threading.Lock()

    # ------------------------------------------------------------------ reading

    def page(
        self,
        *,
        limit: int,
        offset: int = 0,
        wanted: Mapping[str, str] | None = None,
        principal: Principal | None = None,
    ) -> Mapping[str, Any]:
        """The letters that wait, newest first, and how many there are by code and by sender.

        `wanted` narrows them: `code`, `source`, `format` (equal), `text` (within the reason).
        """
        if not self._any():
            return {"items": [], "total": 0, "counts": {"code": {}, "source": {}}, "replayable": 0}
        head, given = _narrowed(wanted)
        counted = self._rows(
            f"{head} | summarize n = count(), whole = countif(Replayable) by Code, Sender | order by n desc",
            given,
            principal,
        )
        counts: dict[str, dict[str, int]] = {"code": {}, "source": {}}
        for row in counted:
            counts["code"][row["Code"]] = counts["code"].get(row["Code"], 0) + row["n"]
            counts["source"][row["Sender"]] = counts["source"].get(row["Sender"], 0) + row["n"]
        found = self._rows(
            f"{head} | top {int(limit) + int(offset)} by TimeGenerated desc "
            f"| project TimeGenerated, Id, Code, Reason, Sender, Format, Place, Rows, Size, Replayable, Raw = substring(Raw, 0, {_SHOWN // 3 * 4})",
            given,
            principal,
        )
        return {
            "items": [_letter(r) for r in found[int(offset) :]],
            "total": sum(r["n"] for r in counted),
            "replayable": sum(r["whole"] for r in counted),
            "counts": counts,
        }

    def get(self, letter_id: str, *, principal: Principal | None = None) -> Mapping[str, Any]:
        """One letter with all its bytes. Raises NotFoundError for one that isn't there or was replayed."""
        rows = self._some([letter_id], principal) if self._any() else []
        if not rows:
            raise NotFoundError(f"there is no dead letter '{letter_id}' that waits")
        return {**_letter(rows[0]), "meta": orjson.loads(rows[0]["Meta"] or "{}"), "body": rows[0]["Body"]}

    def _any(self) -> bool:
        return self._queries.catalog.table(DEAD_LETTERS) is not None

    # ------------------------------------------------------------------ replaying

    def replay(
        self,
        *,
        by: Principal,
        ids: Sequence[str] = (),
        wanted: Mapping[str, str] | None = None,
        before: str = "",
        limit: int = 1000,
    ) -> Mapping[str, Any]:
        """Sends letters through intake again: those of `ids`, or the oldest of `wanted` (all, when it is empty) that came before `before`.

        A letter whose bytes still can't be taken becomes a new letter. Gives how many were `replayed`, how many of those are `dead` again,
        which were `skipped` and why, how many are `left`, and the `before` to go on with. Raises IngestError ING0056 when nothing says which.
        """
        with self._lock:
            # Letters of this replay are told from those before by their instant, and have ids of their own by it.
            now = self._intake.now(later=True)
            until = before or now.astimezone(UTC).isoformat()
            if not self._any():
                return {"replayed": 0, "dead": 0, "skipped": [], "left": 0, "before": until}
            head, given = _narrowed(wanted)
            head += " | where TimeGenerated < todatetime(before_)"
            given |= {"before_": until}
            if ids:
                chosen, left = list(dict.fromkeys(ids)), 0
            else:
                waiting = self._rows(
                    f"{head} | where Replayable | order by TimeGenerated asc, Id asc | project Id", given, None
                )
                chosen, left = [r["Id"] for r in waiting[:limit]], max(0, len(waiting) - limit)
            skipped: list[dict[str, str]] = []
            replayed: list[str] = []
            for start in range(0, len(chosen), _CHUNK):
                replayed += self._chunk(chosen[start : start + _CHUNK], by, skipped)
            dead = self._again(now) if replayed else 0
        with self._state.write() as unit:
            unit.audit.add(
                by.name,
                "deadletter.replay",
                "deadletter",
                replayed[0] if len(replayed) == 1 else "",
                address=by.address,
                detail={
                    "filter": dict(wanted or {}),
                    "asked": len(chosen),
                    "replayed": len(replayed),
                    "dead": dead,
                    "ids": replayed[:100],
                },
            )
        return {"replayed": len(replayed), "dead": dead, "skipped": skipped, "left": left, "before": until}

    def _chunk(self, ids: Sequence[str], by: Principal, skipped: list[dict[str, str]]) -> list[str]:
        rows = {r["Id"]: r for r in self._some(ids, None)}
        bodies: list[Body] = []
        sent = []
        for letter_id in ids:
            row = rows.get(letter_id)
            if row is None:
                skipped.append({"id": letter_id, "reason": "It isn't there, or it was replayed already."})
            elif not row["Replayable"]:
                reason = f"Only the first {len(base64.b64decode(row['Raw'])):,} of its {row['Size']:,} bytes were kept (dead_letter_bytes)."
                skipped.append({"id": letter_id, "reason": reason})
            else:
                meta = orjson.loads(row["Meta"] or "{}")
                bodies.append(body_of_letter(letter_id, 0, row["Body"], base64.b64decode(row["Raw"]), meta, by.name))
                sent.append(letter_id)
        if bodies:
            self._intake.now(later=True)  # equal letters of two chunks, too
            self._take(bodies)
        return sent

    def _take(self, bodies: Sequence[Body]) -> None:
        """Hands bodies to intake and waits until their rows are visible: only then the letters don't wait any more."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                seq = self._intake.submit(bodies).result()
                break
            except IntakeBusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        if not self._intake.wait_visible(seq, _PATIENCE):
            raise IngestError(
                "The replayed letters are stored and not visible yet",
                code="ING0057",
                hint="They will be; look again in a moment.",
            )

    def _again(self, since: datetime) -> int:
        rows = self._rows(
            f"{_LETTERS} | where TimeGenerated >= todatetime(since_) | count",
            {"since_": since.astimezone(UTC).isoformat()},
            None,
        )
        return int(rows[0]["Count"])

    def _some(self, ids: Sequence[str], principal: Principal | None) -> list[dict[str, Any]]:
        wanted = {"ids_": orjson.dumps(list(ids)).decode()}
        return self._rows(f"{_LETTERS} | where Id in (todynamic(ids_))", wanted, principal)

    def _rows(self, text: str, given: Mapping[str, str], principal: Principal | None) -> list[dict[str, Any]]:
        declared = ", ".join(f"{name}:string" for name in given)
        head = f"declare query_parameters({declared}); " if given else ""
        return self._queries.run(head + text, principal=principal, parameters=dict(given)).dicts()


def _narrowed(wanted: Mapping[str, str] | None) -> tuple[str, dict[str, str]]:
    text, given = _LETTERS, {}
    for name, value in (wanted or {}).items():
        if value:
            text += f" | where {_FILTERS[name]} {name}_"
            given[f"{name}_"] = value
    return text, given


def _letter(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["Id"] or "",
        "time": row["TimeGenerated"],
        "source": row["Sender"] or "",
        "format": row["Format"] or "",
        "code": row["Code"] or "",
        "reason": row["Reason"] or "",
        "place": row["Place"] or "",
        "rows": row["Rows"] or 1,
        "size": row["Size"] or 0,
        "replayable": bool(row["Replayable"]),
        "raw": row["Raw"] or "",
    }
