"""Deleting and purging rows that a KQL condition chooses: preview first, evidence of open incidents spared, every step in the audit.

*Delete* takes rows out and keeps them aside for `lake.retention.undo_days`, so that it can be undone. *Purge* takes them out for good, also out of
what was deleted before; it asks for a permission of its own. Both name how many rows they expect, as the preview said: rows that came
in between, or a condition that means something else now, end the request before anything has gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tocsin.access import Principal, require
from tocsin.base.errors import LakeError, UsageError, did_you_mean
from tocsin.kql import ast, parse
from tocsin.lake import Lake
from tocsin.lake.archive import Archived
from tocsin.lake.engine import Limits
from tocsin.lake.engine.standard import item_numbers
from tocsin.lake.erase import Deleted
from tocsin.lake.pins import Pin, pinned
from tocsin.query import QueryService
from tocsin.state import State
from tocsin.workspace.samples import sample

__all__ = ["Chosen", "Erasure"]

_ID_BYTES = 1 << 30
"""Bytes of the chosen rows' identifiers and times: some 20 million rows. More must be erased a piece at a time."""

_SHOWN = 20
"""Chosen rows that a preview shows."""


class Parts(Protocol):
    """The parts of the workspace that erasing needs."""

    lake: Lake
    queries: QueryService
    state: State

    @property
    def aliases(self) -> Learned:
        """What the rows taught."""


class Learned(Protocol):
    """What was learned from rows; see `tocsin.workspace.aliases.Aliases`."""

    def forgetting(self, table: str, going: Iterable[pa.Table | None]) -> AbstractContextManager[Sequence[int]]:
        """Forgets what rows taught that go for good inside."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a condition chooses: rows of the table, of those deleted before and of the archive (only a purge takes these), and the evidence among
    the table's."""

    table: str
    rows: int
    deleted_before: int
    archived: int
    evidence: Mapping[str, int]
    """Rows by what holds them, such as ``incident 12``."""
    first: Mapping[str, Any] = field(default_factory=dict)
    """The newest of the table's chosen rows, as `tocsin.workspace.samples.sample` shows them."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "table": self.table,
            "rows": self.rows,
            "deleted_before": self.deleted_before,
            "archived": self.archived,
            "evidence": [{"holder": h, "rows": n} for h, n in self.evidence.items()],
            "first": dict(self.first),
        }


class Erasure:
    """Preview, delete, undo, purge. Every method checks the principal's permissions and tables."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def preview(self, table: str, condition: str, *, by: Principal) -> Chosen:
        """What would go. Raises ForbiddenError, KqlErrors for a wrong condition, UsageError USE0030 for one that isn't just a condition."""
        require(by, "lake.delete")
        self.check(table, condition, by)
        chosen, held = self._choose(table, condition)
        aside = sum(len(ids) for ids, _ in self._aside(table, condition))
        cold = sum(len(ids) for _, ids, _ in self._cold(table, condition))
        text = f"{_text(table, condition)} | top {_SHOWN} by TimeGenerated desc"
        return Chosen(table, len(chosen), aside, cold, held, sample(self._parts.queries.run(text)))

    def delete(self, table: str, condition: str, *, expected: int, keep_evidence: bool, by: Principal) -> Deleted:
        """Takes the rows out so that `undo` can put them back.

        `expected` is how many rows `preview` named. Evidence of open incidents is an error (LAK0028), or with `keep_evidence` stays.
        """
        require(by, "lake.delete")
        self.check(table, condition, by)
        numbers, kept = self._decided(table, condition, expected, 0, keep_evidence)
        now = self._parts.state.clock.now()
        undo = timedelta(days=self._parts.lake.settings.retention.undo_days)
        done = self._parts.lake.erasures.delete(table, numbers, by=by.name, reason=condition, expires=now + undo)
        self._note(by, "lake.delete", table, condition, done.rows, {"deletion": done.id, "kept": kept})
        return done

    def purge(self, table: str, condition: str, *, expected: int, keep_evidence: bool, by: Principal) -> int:
        """Takes the rows out for good, deleted ones too; gives how many. `expected` is the sum of the preview's three counts."""
        require(by, "lake.purge")
        self.check(table, condition, by)
        aside = list(self._aside(table, condition))
        cold = [c for c in self._cold(table, condition) if len(c[1])]
        before = sum(len(ids) for ids, _ in aside) + sum(len(ids) for _, ids, _ in cold)
        numbers, kept = self._decided(table, condition, expected, before, keep_evidence)
        self._spare(table, [*aside, *((ids, rows) for _, ids, rows in cold)])
        # The audit comes first: what is gone can't be named any more when the note fails.
        self._note(by, "lake.purge", table, condition, len(numbers) + before, {"kept": kept})
        with self._parts.aliases.forgetting(table, self._whole(table, condition)) as forgotten:
            gone = sum(self._parts.lake.erasures.purge_archived(table, entry, ids) for entry, ids, _ in cold)
            gone += self._parts.lake.erasures.purge(table, np.concatenate([numbers, *(ids for ids, _ in aside)]))
        if forgotten[0]:
            with self._parts.state.write() as unit:
                told = {"table": table, "aliases": forgotten[0]}
                unit.audit.add(by.name, "alias.forget", "alias", "", detail=told, address=by.address)
        return gone

    def undo(self, deletion: str, *, by: Principal) -> Deleted:
        """Puts the rows of a deletion back. Raises LakeError LAK0025 when its time is over."""
        require(by, "lake.delete")
        self._authorise(self._parts.lake.erasures.find(deletion).table, by)
        done = self._parts.lake.erasures.put_back(deletion)
        self._note(by, "lake.undelete", done.table, done.reason, done.rows, {"deletion": done.id})
        return done

    def deletions(self, *, by: Principal) -> list[Deleted]:
        """What can be put back."""
        require(by, "lake.delete")
        scopes = getattr(by, "table_scopes", None)
        return [d for d in self._parts.lake.erasures.deletions() if scopes is None or d.table in scopes]

    def check(self, table: str, condition: str, by: Principal) -> None:
        """Raises what `preview` raises of a table and a condition; reads no row."""
        tables = self._parts.lake.tables()
        if table not in tables:
            raise UsageError(
                f"There is no table {table!r} with rows here.", code="USE0030", hint=did_you_mean(table, tables)
            )
        self._authorise(table, by)
        statements = parse(_text(table, condition)).statements
        node = statements[0] if len(statements) == 1 else None
        tree = node.value if isinstance(node, ast.ExpressionStatement) else None
        if not isinstance(tree, ast.Pipeline) or [type(o) for o in tree.operators] != [ast.Where]:
            raise UsageError(
                "Rows are chosen by one condition, such as what stands after `where`.",
                code="USE0030",
                hint="Leave out other operators and statements.",
            )
        reads = self._parts.queries.compile(_text(table, condition)).tables - {table}
        for other in sorted(reads):
            self._authorise(other, by)

    # ---------------------------------------------------------------------------------------------- inside

    def _authorise(self, table: str, by: Principal) -> None:
        from tocsin.query.service import check_scopes

        check_scopes(by, frozenset((table,)))

    def _choose(self, table: str, condition: str) -> tuple[npt.NDArray[np.int64], dict[str, int]]:
        self._parts.lake.erasures.settle(table)
        ids, rows = self._matching(table, condition, None)
        return ids, _held(self._parts.lake.pins(), table, rows)

    def _matching(self, table: str, condition: str, given: pa.Table | None) -> tuple[npt.NDArray[np.int64], pa.Table]:
        text = f"{_text(table, condition)} | project _ItemId, TimeGenerated"
        result = self._parts.queries.run(
            text,
            limits=Limits(rows=None, seconds=None, result_bytes=_ID_BYTES),
            relations=None if given is None else {table: given},
        )
        # What is archived is looked at by itself.
        broken = [p for p in result.problems if p.code != "LAK0033"]
        if broken:
            raise broken[0]
        if result.truncated:
            raise UsageError(
                "The condition chooses too many rows to be erased at once.",
                code="USE0031",
                hint="Add a range of TimeGenerated to it and go piece by piece.",
            )
        found = result.table.rename_columns(["_ItemId", "TimeGenerated"])
        numbers = item_numbers(table, found.column(0))
        if len(numbers) < found.num_rows:
            raise LakeError(
                f"{found.num_rows - len(numbers)} rows of {table} have no identifier, so they can't be told from others.",
                code="LAK0027",
                hint="Nothing has gone.",
            )
        return numbers, found

    def _whole(self, table: str, condition: str) -> Iterator[pa.Table | None]:
        """The chosen rows with all their columns: of the table, of those deleted before, of the archive; None for more than can be looked at."""
        lake = self._parts.lake
        given: Iterator[pa.Table | None] = chain(
            (None,),
            (rows for d in lake.erasures.deletions() if d.table == table for rows in lake.erasures.rows(d)),
            (lake.erasures.archived_rows(table, e) for e in lake.archive.entries(table)),
        )
        for rows in given:
            result = self._parts.queries.run(
                _text(table, condition),
                limits=Limits(rows=None, seconds=None, result_bytes=_ID_BYTES),
                relations=None if rows is None else {table: rows},
            )
            yield None if result.truncated else result.table

    def _aside(self, table: str, condition: str) -> Iterator[tuple[npt.NDArray[np.int64], pa.Table]]:
        """The rows among those deleted before that the condition chooses."""
        erasures = self._parts.lake.erasures
        for deletion in erasures.deletions():
            if deletion.table == table:
                for rows in erasures.rows(deletion):
                    yield self._matching(table, condition, rows)

    def _cold(self, table: str, condition: str) -> Iterator[tuple[Archived, npt.NDArray[np.int64], pa.Table]]:
        """The rows in the archive that the condition chooses, by their file there."""
        lake = self._parts.lake
        for entry in lake.archive.entries(table):
            yield entry, *self._matching(table, condition, lake.erasures.archived_rows(table, entry))
        lake.archive.tidy()

    def _decided(
        self, table: str, condition: str, expected: int, besides: int, keep_evidence: bool
    ) -> tuple[npt.NDArray[np.int64], dict[str, int]]:
        if reason := self._parts.lake.held:
            raise LakeError(
                f"Nothing may be deleted: {reason}.", code="LAK0029", hint="`tocsin lake hold ''` ends the hold."
            )
        self._parts.lake.erasures.settle(table)
        numbers, rows = self._matching(table, condition, None)
        if len(numbers) + besides != expected:
            raise UsageError(
                f"The condition chooses {len(numbers) + besides:,} rows now, not {expected:,}.",
                code="USE0032",
                hint="Look at the preview again. Nothing has gone.",
            )
        pins = self._parts.lake.pins()
        held = _held(pins, table, rows)
        if held and not keep_evidence:
            raise _evidence(held)
        return numbers[pinned(pins, table, rows) < 0] if held else numbers, held

    def _spare(self, table: str, aside: Sequence[tuple[npt.NDArray[np.int64], pa.Table]]) -> None:
        pins = self._parts.lake.pins()
        for _, rows in aside:
            if held := _held(pins, table, rows):
                raise _evidence(held)

    def _note(
        self, by: Principal, action: str, table: str, condition: str, rows: int, detail: Mapping[str, Any]
    ) -> None:
        with self._parts.state.write() as unit:
            unit.audit.add(
                by.name,
                action,
                "table",
                table,
                detail={"condition": condition, "rows": rows, **detail},
                address=by.address,
            )


def _text(table: str, condition: str) -> str:
    # The end of line ends a comment in the condition.
    return f"['{table}'] | where {condition}\n"


def _held(pins: Sequence[Pin], table: str, rows: pa.Table) -> dict[str, int]:
    places, counts = np.unique(pinned(pins, table, rows), return_counts=True)
    found: dict[str, int] = {}
    for place, count in zip(places.tolist(), counts.tolist(), strict=True):
        if place >= 0:
            holder = pins[place].holder
            found[holder] = found.get(holder, 0) + count
    return found


def _evidence(held: Mapping[str, int]) -> LakeError:
    said = ", ".join(f"{n:,} of {h}" for h, n in held.items())
    return LakeError(
        f"Some of these rows are evidence of open incidents: {said}.",
        code="LAK0028",
        hint="Resolve the incidents first, or ask for all rows but their evidence. Nothing has gone.",
    )
