"""What a Log Analytics client asked: text, time span, preferences, workspaces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.api.ports import Workspace
from tocsin.base.errors import UsageError, did_you_mean
from tocsin.kql.values import EPOCH_TICKS, parse_datetime
from tocsin.lake.engine import Window

__all__ = ["Asked", "Preferences", "asked_of", "check_workspace", "preferences_of", "window_of"]


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the `Prefer` header asks for. Preferences that change nothing here (`ai.response-thinning`: points are never left out) are fine."""

    wait: float | None = None
    statistics: bool = False
    render: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A query with its time span, as written."""

    text: str
    timespan: str | None
    preferences: Preferences


def preferences_of(header: str) -> Preferences:
    """The preferences of a `Prefer` header. Raises UsageError USE0022 for a wait that is no number of seconds."""
    found = dict(_preference(part) for part in header.split(",") if part.strip())
    wait = None
    if "wait" in found:
        if not re.fullmatch(r"\d{1,6}(\.\d+)?", found["wait"]) or float(found["wait"]) <= 0:
            raise UsageError(f"Prefer: wait={found['wait'][:40]} is no number of seconds.", code="USE0022")
        wait = float(found["wait"])
    return Preferences(
        wait=wait,
        statistics=found.get("include-statistics", "false").lower() == "true",
        render=found.get("include-render", "false").lower() == "true",
    )


def _preference(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip().lower(), value.strip().strip('"')


def asked_of(body: Mapping[str, Any], prefer: str, workspace: Workspace) -> Asked:
    """A request's body (or parameters). Raises UsageError USE0022 for a body that isn't one, USE0023 for other workspaces."""
    text, timespan = body.get("query"), body.get("timespan")
    if not isinstance(text, str):
        raise UsageError("The request has no 'query', the text to run.", code="USE0022")
    if timespan is not None and not isinstance(timespan, str):
        raise UsageError("'timespan' is an ISO 8601 duration or interval.", code="USE0022")
    others = body.get("workspaces") or []
    if not isinstance(others, list) or not all(isinstance(w, str) for w in others):
        raise UsageError("'workspaces' is a list of names and ids.", code="USE0022")
    for other in others:
        check_workspace(workspace, other.rpartition("/")[2])
    return Asked(text, timespan or None, preferences_of(prefer))


def check_workspace(workspace: Workspace, name: str) -> None:
    """Raises UsageError USE0023 when that isn't this workspace's id or name: an answer from other rows than those that were meant is worse."""
    if name.lower() not in (workspace.id, workspace.name.lower()):
        hint = did_you_mean(name[:200], [workspace.name, workspace.id])
        raise UsageError(
            f"There is no workspace '{name[:200]}' here.",
            code="USE0023",
            hint=hint or f"This is '{workspace.name}'; give it the id that your scripts know by query.workspace_id.",
        )


_DURATION = re.compile(
    r"P(?:(?P<weeks>\d+(?:\.\d+)?)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
    re.ASCII,
)
_CALENDAR = re.compile(r"P\d+(?:\.\d+)?[YM]", re.ASCII)


def window_of(timespan: str, now: datetime) -> Window:
    """The window of a time span: ``PT1H`` (until now), ``start/end``, ``start/PT1H``, ``PT1H/end``.

    Raises UsageError USE0022 for anything else; years and months too, since their length depends on the calendar.
    """
    first, slash, second = timespan.strip().partition("/")
    if not slash:
        return Window(_before(now, _duration(first, timespan), timespan), now)
    if first.startswith("P") and second.startswith("P"):
        raise _wrong(timespan)
    if first.startswith("P"):
        end = _moment(second, timespan)
        return Window(_before(end, _duration(first, timespan), timespan), end)
    start = _moment(first, timespan)
    if not second.startswith("P"):
        return Window(start, _moment(second, timespan))
    try:
        return Window(start, start + _duration(second, timespan))
    except OverflowError:
        raise _wrong(timespan) from None


def _before(end: datetime, length: timedelta, whole: str) -> datetime:
    try:
        return end - length
    except OverflowError:
        raise _wrong(whole) from None


def _duration(text: str, whole: str) -> timedelta:
    if _CALENDAR.match(text):
        raise UsageError(
            f"The timespan '{whole[:100]}' has years or months, whose length isn't fixed.",
            code="USE0022",
            hint="Write days: P30D.",
        )
    match = _DURATION.fullmatch(text)
    parts = {k: float(v) for k, v in (match.groupdict() if match else {}).items() if v is not None}
    if not parts:
        raise _wrong(whole)
    try:
        return timedelta(**parts)
    except OverflowError:
        raise _wrong(whole) from None


def _moment(text: str, whole: str) -> datetime:
    ticks = parse_datetime(text.strip())
    if ticks is None:
        raise _wrong(whole)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=(ticks - EPOCH_TICKS) // 10)


def _wrong(timespan: str) -> UsageError:
    return UsageError(
        f"The timespan '{timespan[:100]}' is no ISO 8601 duration or interval.",
        code="USE0022",
        hint="PT1H, P7D, or 2026-01-01T00:00:00Z/2026-01-02T00:00:00Z.",
    )
