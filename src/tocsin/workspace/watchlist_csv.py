"""A watchlist's CSV, read as a whole: its columns and items, and for each line that isn't right what is wrong with it."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field

from tocsin.base.errors import did_you_mean
from tocsin.tables.watchlists import CHANGED, ITEM_ID

__all__ = ["WatchlistText", "read_csv"]

MOST = 500_000
"""How many items a watchlist has at most."""

_OWN = (ITEM_ID, CHANGED)
_LONGEST_ROW = 10_240
"""Bytes of a row, Microsoft's limit."""


@dataclass(slots=True)
class WatchlistText:
    """What a text holds. `whole` has every value of a line by column, those that Tocsin adds too; `duplicates` counts search keys that come
    again, `empty` items without one."""

    columns: tuple[str, ...] = ()
    whole: list[dict[str, str]] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    duplicates: int = 0
    empty: int = 0

    @property
    def items(self) -> list[tuple[str, dict[str, str]]]:
        """Id ("" for one to be given) and values of each item."""
        return [(v.get(_OWN[0], ""), {c: v[c] for c in self.columns}) for v in self.whole]


def read_csv(text: str, search_key: str = "") -> WatchlistText:
    """Reads CSV with a header. What is wrong is in `problems` by line of the text; lines that are right are read all the same."""
    found = WatchlistText()
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    header: list[str] | None = None
    keys: set[str] = set()
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            # A quote that never ends swallows the rest: nothing after it can be told apart.
            found.problems.append((line, f"This isn't CSV: {error}."))
            break
        if not any(row):
            continue
        if header is None:
            header = [h.strip() for h in row]
            found.columns = tuple(h for h in header if h not in _OWN)
            if complaint := _header(header, found.columns, search_key):
                found.problems.append((line, complaint))
                break
            continue
        if len(row) != len(header):
            found.problems.append((line, f"It has {len(row)} values instead of {len(header)}."))
            continue
        if sum(len(v.encode()) for v in row) > _LONGEST_ROW:
            found.problems.append((line, f"It is longer than {_LONGEST_ROW:,} bytes."))
            continue
        if len(found.whole) == MOST:
            found.problems.append((line, f"A watchlist has at most {MOST:,} items."))
            break
        values = dict(zip(header, row, strict=True))
        key = values[search_key or found.columns[0]]
        found.empty += not key.strip()
        found.duplicates += key in keys
        keys.add(key)
        found.whole.append(values)
    if header is None:
        found.problems.append((1, "The first line must name every column, each once."))
    return found


def _header(header: list[str], columns: tuple[str, ...], search_key: str) -> str:
    if not columns or not all(header) or len({h.lower() for h in header}) < len(header):
        return "The first line must name every column, each once."
    if search_key and search_key not in columns:
        return f"There is no column '{search_key}'. {did_you_mean(search_key, columns) or ''}".strip()
    return ""
