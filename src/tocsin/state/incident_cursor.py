"""Where a page of the queue ended: what its last incident was sorted by then. It stays good when that incident is changed or merged meanwhile."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Any

from tocsin.base.errors import UsageError
from tocsin.state.incident_rows import IncidentRow
from tocsin.state.types import plain

__all__ = ["BY", "is_cursor", "place_after", "place_of"]

BY = {"severity": "severity_rank"}
"""What the queue is sorted by, where a row's member is called otherwise."""

_MARK = "~"


def is_cursor(text: str) -> bool:
    """Whether it is a `place_after`, not an incident's id."""
    return text.startswith(_MARK)


def place_after(row: IncidentRow, sort: str) -> str:
    """The place behind a row in the queue sorted by that, as a text for URLs."""
    by = getattr(row, BY.get(sort, sort))
    values = [sort, by.isoformat() if isinstance(by, datetime) else by, row.last.isoformat(), row.number]
    return _MARK + base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def place_of(text: str, sort: str) -> tuple[Any, datetime, int]:
    """What a row at that place is sorted by, its last event and number. UsageError INC0007 for what is none, or one of another order."""
    try:
        raw = text.removeprefix(_MARK).encode("ascii")
        made, by, last, number = json.loads(base64.b64decode(raw + b"=" * (-len(raw) % 4), b"-_", validate=True))
        moment, place = datetime.fromisoformat(last), int(number)
        if made in ("last", "first", "updated"):
            by = datetime.fromisoformat(by)
        elif not isinstance(by, int if made in ("priority", "severity", "number") else str):
            raise TypeError
        if isinstance(by, str):
            by = plain(by)
        if moment.tzinfo is None or (isinstance(by, datetime) and by.tzinfo is None) or abs(place) > 2**62:
            raise ValueError
        if isinstance(by, int) and abs(by) > 2**62:
            raise ValueError
    except (ValueError, TypeError, UnicodeError, binascii.Error, RecursionError) as error:
        raise UsageError(
            "This is no place in the queue.", code="INC0007", hint="Pass on what a page gave as `next`."
        ) from error
    if made != sort:
        raise UsageError(f"The page before was sorted by {made}, not by {sort}.", code="INC0007", hint="Begin anew.")
    return by, moment, place
