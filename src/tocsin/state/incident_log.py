"""The incident log: what happened to incidents, in order, with who did it and when. Append-only; the database itself refuses the rest.

`opened`, `changed` and `imported` entries carry a version: they are what made the incident what it is (`set`, `tags`, `alerts`, `priority`).
The other kinds tell of what belongs to it: `entry`, `entry-changed` and `entry-removed` of its activity, `task` and `task-removed`, and
`dropped` for a cluster of signals that went elsewhere before anybody saw it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, or_, select

from tocsin.state.repository import Repository
from tocsin.state.schema import incident_log
from tocsin.state.types import text_of

__all__ = ["IncidentLog", "LogRow"]


@dataclass(frozen=True, slots=True)
class LogRow:
    """An entry of the incident log."""

    seq: int
    incident_id: str
    version: int | None
    time: datetime
    actor: str
    source: str
    kind: str
    data: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        made = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**made, "time": text_of(self.time), "data": dict(self.data)}


class IncidentLog(Repository):
    """The log. There is no method to change or remove an entry."""

    def append(
        self,
        incident_id: str,
        kind: str,
        data: Mapping[str, Any],
        *,
        actor: str,
        source: str,
        time: datetime,
        version: int | None = None,
    ) -> int:
        """Appends an entry; gives its place. A version that an incident has already is refused by the database."""
        values = self.values(incident_id, kind, data, actor=actor, source=source, time=time, version=version)
        made = self._c.execute(insert(incident_log).values(**values))
        assert made.inserted_primary_key is not None
        return int(made.inserted_primary_key[0])

    @staticmethod
    def values(
        incident_id: str,
        kind: str,
        data: Mapping[str, Any],
        *,
        actor: str,
        source: str,
        time: datetime,
        version: int | None,
    ) -> dict[str, Any]:
        """An entry's values by column, all but its place."""
        return {
            "incident_id": incident_id, "version": version, "time": time, "actor": actor[:128], "source": source, "kind": kind,
            "data": dict(data),
        }  # fmt: skip

    def of(self, incident_id: str, *, until: datetime | None = None) -> list[LogRow]:
        """An incident's entries in order, those after `until` left out."""
        chosen = select(incident_log).where(incident_log.c.incident_id == incident_id)
        if until is not None:
            chosen = chosen.where(incident_log.c.time <= until)
        return [LogRow(**r._mapping) for r in self._c.execute(chosen.order_by(incident_log.c.seq))]

    def by_incident(
        self, *, after: str = "", together: int = 200, entries: int = 2_000
    ) -> Iterator[dict[str, list[LogRow]]]:
        """Every incident's entries in order, of those after that id, so many incidents at a time as have so many entries, and one in any case."""
        last = after
        while True:
            chosen = select(incident_log.c.incident_id, func.count()).where(incident_log.c.incident_id > last)
            chosen = chosen.group_by(incident_log.c.incident_id).order_by(incident_log.c.incident_id).limit(together)
            waiting = [(str(i), int(n)) for i, n in self._c.execute(chosen)]
            if not waiting:
                return
            last = waiting[-1][0]
            ids: list[str] = []
            held = 0
            for incident_id, count in waiting:
                if ids and held + count > entries:
                    yield self._of_several(ids)
                    ids, held = [], 0
                ids.append(incident_id)
                held += count
            yield self._of_several(ids)

    def incidents(self) -> int:
        """How many incidents it tells of."""
        return int(self._c.execute(select(func.count(incident_log.c.incident_id.distinct()))).scalar_one())

    def _of_several(self, incident_ids: Sequence[str]) -> dict[str, list[LogRow]]:
        found: dict[str, list[LogRow]] = {i: [] for i in incident_ids}
        chosen = select(incident_log).where(incident_log.c.incident_id.in_(incident_ids))
        for r in self._c.execute(chosen.order_by(incident_log.c.incident_id, incident_log.c.seq)):
            found[r.incident_id].append(LogRow(**r._mapping))
        return found

    def after(self, seq: int, *, limit: int = 1000) -> list[LogRow]:
        """The entries that follow a place, in order."""
        chosen = select(incident_log).where(incident_log.c.seq > seq).order_by(incident_log.c.seq).limit(limit)
        return [LogRow(**r._mapping) for r in self._c.execute(chosen)]

    def versions(
        self, *, until: datetime, kinds: Sequence[str] = ("opened", "changed", "imported")
    ) -> Iterator[LogRow]:
        """The entries that changed incidents, up to a moment, in order."""
        last = 0
        while True:
            chosen = (
                select(incident_log)
                .where(incident_log.c.seq > last, incident_log.c.time <= until, incident_log.c.kind.in_(kinds))
                .order_by(incident_log.c.seq)
                .limit(1000)
            )
            rows = self._c.execute(chosen).all()
            yield from (LogRow(**r._mapping) for r in rows)
            if not rows:
                return
            last = rows[-1].seq

    def changed_by_others(self, seq: int, source: str, most: int, *, but: str = "") -> list[str]:
        """Ids of the incidents that anybody but that source and the actor `but` changed since that place, at most so many."""
        chosen = select(incident_log.c.incident_id).where(
            incident_log.c.seq > seq,
            incident_log.c.version.is_not(None),
            incident_log.c.source != source,
            incident_log.c.actor != but,
        )
        return [str(i) for (i,) in self._c.execute(chosen.distinct().limit(most))]

    def changed_since(self, seq: int, most: int, *, but: str = "") -> list[str]:
        """Ids of the incidents that changed or went since that place, whoever but `but` did it, at most so many."""
        chosen = select(incident_log.c.incident_id).where(
            incident_log.c.seq > seq,
            incident_log.c.actor != but,
            or_(incident_log.c.version.is_not(None), incident_log.c.kind == "dropped"),
        )
        return [str(i) for (i,) in self._c.execute(chosen.distinct().limit(most))]

    def since(self, incident_id: str, version: int, most: int) -> list[LogRow]:
        """The entries that changed an incident after a version, in order, at most so many, the newest ones."""
        chosen = select(incident_log).where(incident_log.c.incident_id == incident_id, incident_log.c.version > version)
        rows = self._c.execute(chosen.order_by(incident_log.c.version.desc()).limit(most)).all()
        return [LogRow(**r._mapping) for r in reversed(rows)]

    def last_version(self, incident_id: str) -> int:
        """How many versions of an incident the log tells of."""
        chosen = select(func.max(incident_log.c.version)).where(incident_log.c.incident_id == incident_id)
        return int(self._c.execute(chosen).scalar_one() or 0)

    def handled(self, incident_ids: Collection[str], *, source: str, but: str) -> set[str]:
        """Which of the incidents anything else than that source and the actor `but` has changed, commented or given tasks."""
        chosen = select(incident_log.c.incident_id).where(
            incident_log.c.incident_id.in_(incident_ids), incident_log.c.source != source, incident_log.c.actor != but
        )
        return {str(i) for (i,) in self._c.execute(chosen.distinct())}

    def first_modified(self, incident_id: str, *, but: Sequence[str]) -> datetime | None:
        """When anybody but those sources changed an incident first after it was opened; None for nobody yet."""
        chosen = select(func.min(incident_log.c.time)).where(
            incident_log.c.incident_id == incident_id, incident_log.c.version > 1, incident_log.c.source.not_in(but)
        )
        return self._c.execute(chosen).scalar_one_or_none()

    def standing(self, incident_id: str = "") -> int | None:
        """The newest entry's place, with an id of that incident's entries: as long as it is the same, so is all that the log tells of. None where
        transactions end in another order than their entries have."""
        if self._c.dialect.name != "sqlite":
            return None
        chosen = select(func.coalesce(func.max(incident_log.c.seq), 0))
        chosen = chosen.where(incident_log.c.incident_id == incident_id) if incident_id else chosen
        return int(self._c.execute(chosen).scalar_one())

    def last(self) -> int:
        """The newest entry's place; 0 for an empty log."""
        return int(self._c.execute(select(func.coalesce(func.max(incident_log.c.seq), 0))).scalar_one())
