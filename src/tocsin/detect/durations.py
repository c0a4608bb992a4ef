"""Durations as rules write them: short KQL spans (``20m``) in YAML, ISO 8601 (``PT1H``) in ARM."""

from __future__ import annotations

import re
from datetime import timedelta

__all__ = ["duration_text", "parse_duration", "too_fine"]

_LONGEST = timedelta(days=3660)
_MOST_WINDOWS = 25_000

_SPAN = re.compile(
    r"(\d+(?:\.\d+)?)\s*(w|d|h|m|s)(?:(?<=w)eeks?|(?<=d)ays?|(?<=h)(?:ou)?rs?|(?<=m)in(?:ute)?s?|(?<=s)ec(?:ond)?s?)?\Z",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})\Z")
_ISO = re.compile(
    r"P(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?\Z",
    re.IGNORECASE,
)
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def parse_duration(text: str) -> timedelta | None:
    """The duration, or None for text that is none or longer than ten years: ``1d``, ``20m``, ``1hour``, ``1.02:00:00``, ``PT1H``, ``P2DT1H30M``."""
    text = text.strip()
    found = _parsed(text) if len(text) <= 40 else None
    return found if found is not None and found <= _LONGEST else None


def too_fine(frequency: timedelta, period: timedelta) -> str:
    """What is wrong with a rule that looks back so far so often that a row lies in too many of its windows; else an empty text."""
    if not frequency or period / frequency <= _MOST_WINDOWS:
        return ""
    return f"The period is more than {_MOST_WINDOWS:,} times the frequency, so a row would lie in as many windows."


def _parsed(text: str) -> timedelta | None:
    try:
        if found := _SPAN.match(text):
            return timedelta(**{_UNITS[found[2].lower()]: float(found[1])})
        if found := _CLOCK.match(text):
            days, hours, minutes, seconds = (int(g or 0) for g in found.groups())
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if (found := _ISO.match(text)) and any(found.groups()):
            weeks, days_, hours_, minutes_, seconds_ = (float(g or 0) for g in found.groups())
            return timedelta(weeks=weeks, days=days_, hours=hours_, minutes=minutes_, seconds=seconds_)
    except OverflowError:
        return None
    return None


def duration_text(value: timedelta) -> str:
    """The shortest KQL span: ``1d``, ``90m``."""
    seconds = int(value.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
