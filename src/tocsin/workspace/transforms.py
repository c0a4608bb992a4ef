"""The transforms of a workspace: kept in versions, tried before they take effect, switched and undone, every step in the audit log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from tocsin.access import Principal
from tocsin.base.errors import did_you_mean
from tocsin.base.ids import stable_uuid
from tocsin.ingest.letters import DEAD_LETTERS
from tocsin.ingest.transforms import TABLE_STREAM, Transform, TransformError, Transforms, table_of
from tocsin.query import QueryService
from tocsin.state import NotFoundError, State, text_of
from tocsin.workspace.samples import sample

__all__ = ["TransformBook"]

_KEY = "transform:"
_VERSIONS = 50
"""Versions kept of a transform."""
_OWN = "Tocsin"
"""Category of the tables that Tocsin writes about itself: what tells of failures must not depend on a transform."""


class TransformBook:
    """Safe to use from several threads. What is saved here is in force from the next batch on."""

    def __init__(
        self, state: State, transforms: Transforms, queries: QueryService, kinds: Callable[[], Sequence[str]]
    ) -> None:
        """`kinds` gives the source kinds that the packs' parsers read."""
        self._state = state
        self._transforms = transforms
        self._queries = queries
        self._kinds = kinds
        self._lock = threading.Lock()
        self._take()

    def _take(self) -> None:
        self._transforms.use(Transform.of(v["versions"][-1]) for v in self._all().values() if not v.get("removed"))

    def _all(self) -> dict[str, Any]:
        with self._state.read() as unit:
            return unit.kv.starting(_KEY)

    def _one(self, transform_id: str) -> dict[str, Any]:
        with self._state.read() as unit:
            found = unit.kv.get(_KEY + transform_id)
        if found is None or found.get("removed"):
            raise NotFoundError(f"there is no transform '{transform_id}'")
        return dict(found)

    # ------------------------------------------------------------------ reading

    def list(self) -> Sequence[Mapping[str, Any]]:
        """Every transform in its newest version, with what it did since it took effect."""
        runs = self._transforms.runs()
        kept = [v["versions"][-1] for v in self._all().values() if not v.get("removed")]
        return [self._shown(v, runs) for v in sorted(kept, key=lambda v: v["name"].lower())]

    def get(self, transform_id: str) -> Mapping[str, Any]:
        """One transform with its versions, newest first. Raises NotFoundError."""
        found = self._one(transform_id)
        return {
            **self._shown(found["versions"][-1], self._transforms.runs()),
            "versions": list(reversed(found["versions"])),
        }

    def _shown(self, version: Mapping[str, Any], runs: Mapping[str, Any]) -> dict[str, Any]:
        run = runs.get(version["id"])
        counted = (
            {n: getattr(run, n) for n in ("rows_in", "rows_out", "rows_failed", "failures", "last_error")}
            if run
            else {}
        )
        return {**version, "run": counted or None}

    def streams(self) -> Sequence[Mapping[str, Any]]:
        """What a transform can be put on: source kinds that came or have a parser, and tables with rows; whether rows were kept to try on."""
        seen = set(self._transforms.samples.streams())
        kinds = sorted({s for s in (*seen, *self._kinds()) if not s.startswith((TABLE_STREAM, "table."))})
        tables = [TABLE_STREAM + t for t in self._queries.catalog.table_names() if self._may(t)]
        taken = {v["stream"]: v["id"] for v in self.list() if v["enabled"]}
        return [{"name": s, "seen": s in seen or s in tables, "transform": taken.get(s)} for s in (*kinds, *tables)]

    @staticmethod
    def _may(table: str) -> bool:
        from tocsin.tables import catalogue

        info = catalogue().info(table)
        return table != DEAD_LETTERS and (info is None or info.category != _OWN)

    # ------------------------------------------------------------------ trying

    def check(self, given: Mapping[str, Any]) -> Transform:
        """The transform that the form describes, compiled once. Raises KqlErrors and TransformError: see `Transforms.check`."""
        made = Transform.of({**given, "id": given.get("id") or ""})
        table = table_of(made.stream)
        if table and not self._may(table):
            raise TransformError(
                f"Table {table} tells how Tocsin itself works and can't be transformed", code="ING0053"
            )
        if not table and made.stream not in self._kinds() and made.stream not in self._transforms.samples.streams():
            names = [s["name"] for s in self.streams()]
            raise TransformError(
                f"There is no stream {made.stream!r}",
                hint=did_you_mean(made.stream, names)
                or f"A stream is a source kind, such as {', '.join(names[:3])}, or {TABLE_STREAM}<Table>.",
            )
        self._transforms.check(made)
        return made

    def preview(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The stream's last 100 rows, as they came, and what each flow makes of them. Nothing changes."""
        made = self.check(given)
        rows = self._rows(made.stream)
        if rows is None:
            raise TransformError(
                f"No rows of {made.stream} came yet to try it on", code="ING0054", hint="Send some rows first."
            )
        before, after = self._transforms.preview(made, rows)
        return {
            "stream": made.stream,
            "before": sample(before),
            "after": [{"table": p.table, **sample(p.result)} for p in after],
        }

    def _rows(self, stream: str) -> pa.Table | None:
        table = table_of(stream)
        active = any(t["stream"] == stream and t["enabled"] for t in self.list())
        if not table or active:
            return self._transforms.samples.last(stream)
        # Rows of a table that no transform touched are as they would come to one.
        result = self._queries.run(f"['{table}'] | top 100 by ingestion_time() desc")
        names = [c.name for c in result.columns]
        kept = [i for i, c in enumerate(result.table.columns) if c.null_count < len(c)]
        found = pa.table([result.table.column(i) for i in kept], names=[names[i] for i in kept])
        return found if found.num_rows else None

    # ------------------------------------------------------------------ changing

    def save(self, given: Mapping[str, Any], *, by: Principal) -> Mapping[str, Any]:
        """Saves a new transform, or a new version of the one whose `id` is given, and puts it into force.

        Raises as `check`; TransformError ING0052 when the stream has another one.
        """
        made = self.check(given)
        with self._lock:
            before = self._one(made.id) if made.id else {"versions": []}
            made = replace(made, id=made.id or stable_uuid("transform", made.stream, made.name)[:8])
            self._alone(made)
            if not before["versions"] and self._exists(made.id):
                raise TransformError(f"There is a transform {made.name!r} on {made.stream} already", code="ING0052")
            self._append(made, before["versions"], "transform.save", by)
        return self.get(made.id)

    def set_enabled(self, transform_id: str, enabled: bool, *, by: Principal) -> Mapping[str, Any]:
        """Switches a transform: rows then go on as they come."""
        with self._lock:
            versions = self._one(transform_id)["versions"]
            made = replace(Transform.of(versions[-1]), enabled=enabled)
            if enabled:
                self._transforms.check(made)
                self._alone(made)
            self._append(made, versions, "transform.switch", by)
        return self.get(transform_id)

    def undo(self, transform_id: str, *, by: Principal) -> Mapping[str, Any]:
        """Goes back to what was in force before the last change: a further version, so that this can be undone as well.

        Raises TransformError ING0055 when there is no earlier version.
        """
        with self._lock:
            versions = self._one(transform_id)["versions"]
            if len(versions) < 2:
                raise TransformError(
                    "There is no earlier version to go back to", code="ING0055", hint="Switch it off, or remove it."
                )
            made = Transform.of(versions[-2])
            if made.enabled:
                self._transforms.check(made)
                self._alone(made)
            self._append(made, versions, "transform.undo", by)
        return self.get(transform_id)

    def remove(self, transform_id: str, *, by: Principal) -> None:
        """Removes a transform. Its versions stay in the audit log."""
        with self._lock:
            found = self._one(transform_id)
            with self._state.write() as unit:
                unit.kv.set(_KEY + transform_id, {**found, "removed": True})
                unit.audit.add(
                    by.name, "transform.remove", "transform", transform_id, address=by.address, before=found["versions"][-1], after=None
                )  # fmt: skip
            self._take()

    def _exists(self, transform_id: str) -> bool:
        with self._state.read() as unit:
            found = unit.kv.get(_KEY + transform_id)
        return found is not None and not found.get("removed")

    def _alone(self, made: Transform) -> None:
        other = next(
            (t for t in self.list() if t["stream"] == made.stream and t["enabled"] and t["id"] != made.id), None
        )
        if made.enabled and other is not None:
            raise TransformError(
                f"{made.stream} has the transform {other['name']!r} already",
                code="ING0052",
                hint="Add a flow to that one, or switch it off first.",
            )

    def _append(self, made: Transform, versions: Sequence[Mapping[str, Any]], action: str, by: Principal) -> None:
        last = versions[-1] if versions else None
        made = replace(made, version=(last["version"] if last else 0) + 1)
        with self._state.write() as unit:
            new = {**made.as_dict(), "changed": text_of(unit.clock.now()), "changed_by": by.name}
            unit.kv.set(_KEY + made.id, {"versions": [*versions, new][-_VERSIONS:]})
            unit.audit.add(by.name, action, "transform", made.id, address=by.address, before=last, after=new)
        self._take()
