"""Watchlists that people edit: CSV files of the site folder's `watchlists/`, changed item by item or as a whole, seen by the next query.

A change of a pack's watchlist makes a copy of it in the site folder, which then wins. Each change is in the audit trail.
"""

from __future__ import annotations

import csv
import io
import os
import re
import threading
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.access import Principal
from tocsin.base.errors import ContentError, did_you_mean
from tocsin.detect.alert import iso
from tocsin.state import NotFoundError, State
from tocsin.tables.watchlists import CHANGED, ITEM_ID, SEARCH_KEY
from tocsin.workspace.watchlist_csv import read_csv

if TYPE_CHECKING:
    from tocsin.content import Watchlist
    from tocsin.query import QueryService
    from tocsin.workspace.rulebook import RuleBook

__all__ = ["WatchlistBook"]

_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}\Z")
_ID, _KEY, _CHANGED = ITEM_ID, SEARCH_KEY, CHANGED
_NAME_HINT = "A watchlist's name begins with a letter and has letters, digits, dot, dash, underscore, 64 at most."
_SHOWN = 20
_MOST_PROBLEMS = 100


class WatchlistBook:
    """The watchlists in force. Thread-safe."""

    def __init__(self, book: RuleBook, queries: QueryService, state: State, site: Path) -> None:
        self._book, self._queries, self._state = book, queries, state
        self._folder = site / "watchlists"
        self._lock = threading.Lock()

    def list(self) -> list[dict[str, Any]]:
        """Every watchlist: alias, columns, number of items, where it comes from."""
        return [_summary(w) for w in sorted(self._book.content.watchlists, key=lambda w: w.alias.lower())]

    def get(self, alias: str, *, skip: int = 0, limit: int = 1_000, text: str = "") -> dict[str, Any]:
        """A watchlist with some of its items: of those that hold the text, without case, in some column. Raises NotFoundError."""
        found = self._find(alias)
        columns = _columns(found)
        table = found.table
        if text:
            masks = [pc.match_substring(pc.cast(table.column(c), pa.string()), text, ignore_case=True) for c in columns]
            table = table.filter(reduce(pc.or_kleene, masks))
        rows = table.slice(skip, limit).to_pylist()
        items = [
            {"id": r[_ID], "search_key": str(r[_KEY] or ""), "values": {c: r[c] or "" for c in columns}} for r in rows
        ]
        return {**_summary(found), "items": items, "matching": table.num_rows}

    def history(self, alias: str, *, limit: int) -> Sequence[dict[str, Any]]:
        """Who changed a watchlist or an item of it, newest first. Raises NotFoundError."""
        found = self._find(alias)
        with self._state.read() as unit:
            rows = unit.rule_alerts.changes("watchlist", found.alias, limit=limit, within=True)
        return [
            {
                "seq": r.seq,
                "time": iso(r.time),
                "actor": r.actor,
                "action": r.action,
                "item": r.object_id.partition("/")[2],
                "before": r.before,
                "after": r.after,
            }
            for r in rows
        ]

    def check(self, alias: str, text: str, *, search_key: str = "") -> dict[str, Any]:
        """What an import would make, or what is wrong with each of its lines; nothing is changed."""
        read = read_csv(text, search_key)
        problems = [{"line": 1, "message": _NAME_HINT}] if not _ALIAS.match(alias) else []
        problems += [{"line": line, "message": message} for line, message in read.problems]
        known = next((w for w in self._book.content.watchlists if w.alias.lower() == alias.lower()), None)
        return {
            "columns": list(read.columns),
            "search_key": search_key or (read.columns[0] if read.columns else ""),
            "items_count": len(read.items),
            "items": [values for _, values in read.items[:_SHOWN]],
            "duplicates": read.duplicates,
            "empty_keys": read.empty,
            "problems": problems[:_MOST_PROBLEMS],
            "problems_count": len(problems),
            "replaces": _summary(known) if known is not None else None,
        }

    def put(self, alias: str, text: str, *, search_key: str = "", by: Principal) -> dict[str, Any]:
        """Makes or replaces a watchlist from CSV with a header.

        Raises ContentError CNT0020 for text that isn't (`check` tells of every line), for a name that can't be one, for a search key that
        is no column.
        """
        if not _ALIAS.match(alias):
            raise ContentError(f"'{alias}' can't name a watchlist.", code="CNT0020", hint=_NAME_HINT)
        read = read_csv(text, search_key)
        if read.problems:
            line, message = read.problems[0]
            more = f" {len(read.problems) - 1:,} more lines are wrong." if len(read.problems) > 1 else ""
            raise ContentError(f"Line {line}: {message}{more}", code="CNT0020")
        items = [(values.get(_ID) or str(uuid4()), {c: values[c] for c in read.columns}) for values in read.whole]
        columns = read.columns
        with self._lock:
            known = next((w for w in self._book.content.watchlists if w.alias.lower() == alias.lower()), None)
            self._write(known.alias if known else alias, columns, items, search_key)
            detail = {"items": len(items), "columns": columns}
            self._done(alias, "watchlist.import", by, before=_summary(known) if known else None, after=detail)
        return self.get(alias)

    def add(self, alias: str, values: Mapping[str, str], *, by: Principal) -> dict[str, Any]:
        """Adds an item and gives it with its id. Raises NotFoundError, ContentError CNT0020 for a column that isn't there."""
        return self._edit(alias, None, values, "watchlist.item.add", by)

    def change(self, alias: str, item_id: str, values: Mapping[str, str], *, by: Principal) -> dict[str, Any]:
        """Changes some values of an item. Raises as `add`."""
        return self._edit(alias, item_id, values, "watchlist.item.change", by)

    def remove(self, alias: str, item_id: str, *, by: Principal) -> None:
        """Removes an item. Raises NotFoundError."""
        self._edit(alias, item_id, None, "watchlist.item.remove", by)

    def delete(self, alias: str, *, by: Principal) -> None:
        """Deletes a watchlist of the site folder; a pack's is there again then. Raises NotFoundError, ContentError for a pack's own."""
        with self._lock:
            found = self._find(alias)
            if found.path.parent != self._folder:
                raise ContentError(
                    f"'{alias}' belongs to the pack '{found.pack}'.",
                    code="CNT0020",
                    hint="Import an empty one over it.",
                )
            found.path.unlink()
            self._done(alias, "watchlist.delete", by, before=_summary(found), after=None)

    # ------------------------------------------------------------------ inside

    def _edit(
        self, alias: str, item_id: str | None, values: Mapping[str, str] | None, action: str, by: Principal
    ) -> dict[str, Any]:
        with self._lock:
            found = self._find(alias)
            columns = _columns(found)
            for name in values or ():
                if name not in columns:
                    raise ContentError(
                        f"There is no column '{name}'.", code="CNT0020", hint=did_you_mean(name, columns)
                    )
            items = [(str(r[_ID]), {c: r[c] or "" for c in columns}) for r in found.table.to_pylist()]
            before = next((v for i, v in items if i == item_id), None)
            if item_id is not None and before is None:
                raise NotFoundError(f"the watchlist '{alias}' has no item '{item_id}'")
            after: dict[str, str] | None = None
            if values is not None:
                after = {**(before or dict.fromkeys(columns, "")), **values}
            if item_id is None:
                item_id = str(uuid4())
                items.append((item_id, after or {}))
            else:
                items = [
                    (i, after if i == item_id and after is not None else v)
                    for i, v in items
                    if i != item_id or after is not None
                ]
            self._write(found.alias, columns, items, _search_key(found))
            self._done(alias, action, by, before=before, after=after, item=item_id)
        return {"id": item_id, "values": after or {}}

    def _find(self, alias: str) -> Watchlist:
        known = {w.alias.lower(): w for w in self._book.content.watchlists}
        if alias.lower() not in known:
            raise NotFoundError(
                f"there is no watchlist '{alias}'", hint=did_you_mean(alias, [w.alias for w in known.values()])
            )
        return known[alias.lower()]

    def _write(
        self, alias: str, columns: Sequence[str], items: Sequence[tuple[str, Mapping[str, str]]], key: str
    ) -> None:
        """Writes the file whole. The key's column is the first unless another is named; then it is there again as SearchKey."""
        self._folder.mkdir(parents=True, exist_ok=True)
        named = key if key and key != _KEY and key != columns[0] else ""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*columns, *([_KEY] if named else []), _ID])
        for item_id, values in items:
            writer.writerow(
                [*(values.get(c, "") for c in columns), *([values.get(named, "")] if named else []), item_id]
            )
        path = self._folder / f"{alias}.csv"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text.getvalue(), "utf-8")
        os.replace(temporary, path)

    def _done(self, alias: str, action: str, by: Principal, *, before: Any, after: Any, item: str = "") -> None:
        with self._state.write() as unit:
            unit.audit.add(
                by.name,
                action,
                "watchlist",
                f"{alias}/{item}" if item else alias,
                address=by.address,
                before=before,
                after=after,
            )
        self._book.reload_watchlists()
        self._queries.set_watchlists({w.alias: w.table for w in self._book.content.watchlists})


def _columns(found: Watchlist) -> list[str]:
    """The columns that its file names. SearchKey counts where it is none of the others again."""
    names = [c for c in found.table.column_names if c not in (_ID, _CHANGED)]
    others = [c for c in names if c != _KEY]
    return others if _search_key(found) in others else names


def _search_key(found: Watchlist) -> str:
    """The column that the search key is taken from, SearchKey where it is a column of its own."""
    keys = found.table.column(_KEY)
    others = [c for c in found.table.column_names if c not in (_ID, _CHANGED, _KEY)]
    return next((c for c in others if found.table.column(c).equals(keys)), _KEY)


def _summary(found: Watchlist) -> dict[str, Any]:
    return {
        "alias": found.alias,
        "columns": _columns(found),
        "search_key": _search_key(found),
        "items_count": found.table.num_rows,
        "pack": found.pack,
        "source": str(found.path),
    }
