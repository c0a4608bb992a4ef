"""What a rule has said already, so that overlapping windows and windows looked at again say nothing twice.

A result that is a row with its own time is said once. A result of counting is about something (its entities, else its texts): a story, that may
grow. A story is said once while the windows that show it overlap; apart in event time it is another story.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tocsin.detect.alert import iso
from tocsin.detect.make import Row, later, moment, row_entities, row_hash
from tocsin.detect.rule import Rule
from tocsin.detect.shapes import TIMES, Shape

__all__ = ["Told"]

REMEMBERED = timedelta(days=30)
"""How long what was said is known, by the scheduler's clock."""
_MOST = 5_000


class Told:
    """One rule's memory. Not thread-safe: a rule never runs twice at once."""

    def __init__(self) -> None:
        self._rows: dict[str, datetime] = {}
        self._stories: dict[str, tuple[datetime, list[list[datetime]]]] = {}

    def __len__(self) -> int:
        return len(self._rows) + len(self._stories)

    def copy(self) -> Told:
        """As it is now: what couldn't be saved wasn't said."""
        made = Told()
        made._rows = dict(self._rows)
        made._stories = {k: (m, [list(r) for r in ranges]) for k, (m, ranges) in self._stories.items()}
        return made

    def unsaid(self, rows: Sequence[Row]) -> list[Row]:
        """The rows without those that were said: a batch that is sent again brings the same rows. A row without a time of its own is
        never the same."""
        return [r for r in rows if row_hash(r) not in self._rows or not _timed(r)]

    def say(self, rows: Sequence[Row], now: datetime) -> None:
        """Notes rows as said."""
        self._rows.update((row_hash(r), now) for r in rows if _timed(r))

    def fresh(self, rule: Rule, rows: Sequence[Row], end: datetime, now: datetime, shape: Shape) -> list[Row]:
        """The results of the window that ends at `end` that weren't said yet. All are known from now on."""
        overlap = max(rule.frequency, min(rule.period, timedelta(days=1)))
        fresh = []
        new_stories: dict[str, None] = {}
        for row in rows:
            digest = row_hash(row)
            known = digest in self._rows
            self._rows[digest] = now
            own_time = _timed(row)
            if own_time and (not shape.groups or shape.by_time):
                if shape.by_time:
                    story = f"{_story(rule, row, shape)}@{row.get('TimeGenerated') or row.get('Timestamp')}"
                    known = known or story in self._stories
                    new_stories[story] = None
                if not known:
                    fresh.append(row)
                continue
            story = _story(rule, row, shape)
            if not self._overlaps(story, end, overlap) and not (known and own_time):
                fresh.append(row)
            new_stories[story] = None
        for story in new_stories:
            self._extend(story, end, now, overlap)
        return fresh

    def _overlaps(self, story: str, end: datetime, overlap: timedelta) -> bool:
        _, ranges = self._stories.get(story, (end, []))
        return any(later(low, -overlap) < end < later(high, overlap) for low, high in ranges)

    def _extend(self, story: str, end: datetime, now: datetime, overlap: timedelta) -> None:
        _, ranges = self._stories.get(story, (end, []))
        merged = [end, end]
        apart = []
        for low, high in ranges:
            if later(low, -overlap) < end < later(high, overlap):
                merged = [min(merged[0], low), max(merged[1], high)]
            else:
                apart.append([low, high])
        self._stories[story] = (now, [*apart, merged])

    def forget(self, now: datetime) -> None:
        """Drops what is too old, and the oldest of too much."""
        since = later(now, -REMEMBERED)
        self._rows = _newest({k: m for k, m in self._rows.items() if m >= since})
        kept = _newest({k: m for k, (m, _) in self._stories.items() if m >= since})
        self._stories = {k: v for k, v in self._stories.items() if k in kept}

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "rows": {k: iso(m) for k, m in self._rows.items()},
            "stories": {k: [iso(m), [[iso(a), iso(b)] for a, b in r]] for k, (m, r) in self._stories.items()},
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any] | None) -> Told:
        """The memory of a `to_dict` form."""
        made = cls()
        at = datetime.fromisoformat
        made._rows = {k: at(m) for k, m in ((raw or {}).get("rows") or {}).items()}
        made._stories = {
            k: (at(m), [[at(a), at(b)] for a, b in ranges])
            for k, (m, ranges) in ((raw or {}).get("stories") or {}).items()
        }
        return made


def _timed(row: Row) -> bool:
    return any(moment(row.get(n)) is not None for n in TIMES)


def _newest(known: dict[str, datetime]) -> dict[str, datetime]:
    if len(known) <= _MOST:
        return known
    return dict(sorted(known.items(), key=lambda kv: kv[1])[-_MOST:])


def _story(rule: Rule, row: Row, shape: Shape) -> str:
    """What a result is about: the group that it counts, as far as it shows which, else its entities, else its texts."""
    if shape.keys and all(k in row for k in shape.keys):
        return row_hash({k: row[k] for k in shape.keys})
    group = {k: row[k] for k in shape.shown if k in row}
    if group and shape.whole:
        return row_hash(group)
    entities = row_entities(rule, row)
    if entities:
        return row_hash({**group, "e": sorted(f"{e.type}:{e.label.lower()}" for e in entities)})
    return row_hash({k: v for k, v in row.items() if isinstance(v, str) and moment(v) is None})
