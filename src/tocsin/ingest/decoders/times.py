"""Times as sources write them → microseconds UTC, a column at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import polars as pl

__all__ = ["parse_time", "parse_times"]

_ISO_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.fZ",
)
_US = pl.Datetime("us")
# Below that many values going one by one is faster than setting up whole-column work.
_FEW = 400


def parse_times(values: Sequence[object] | pl.Series) -> pl.Series:
    """A column of instants (`Datetime('us')`, UTC without zone) from text or epoch numbers; what can't be read is null. A series is one of text.

    Text without a zone is taken as UTC. The common ISO forms are parsed as whole columns; the rest one by one.
    """
    if len(values) < _FEW:
        return pl.Series([parse_time(v) for v in values], dtype=_US)
    text = values if isinstance(values, pl.Series) else [v if v.__class__ is str else None for v in values]
    column = pl.Series(text, dtype=pl.String)
    out = pl.Series([None], dtype=_US).new_from_index(0, len(values))
    for pattern in _ISO_FORMATS:
        missing = out.is_null() & column.is_not_null()
        if not missing.any():
            break
        parsed = column.str.to_datetime(pattern, time_unit="us", strict=False)
        out = out.fill_null(parsed) if out.null_count() < len(out) else parsed
    if out.null_count():
        # Epoch times as text (Zeek): one pass for the column, seconds only; larger numbers are sorted out one by one.
        seconds = column.cast(pl.Float64, strict=False)
        epoch = pl.select(
            pl.when((seconds >= 100_000_000) & (seconds < 100_000_000_000))
            .then((seconds * 1_000_000).round())
            .cast(pl.Int64, strict=False)
            .cast(_US)
        ).to_series()
        out = out.fill_null(epoch)
    left = out.is_null() & column.is_not_null() if isinstance(values, pl.Series) else out.is_null()
    if left.any():
        rest = {
            i: parse_time(values[i]) for i in left.arg_true().to_list() if values[i] is not None and values[i] != ""
        }
        found = {i: t for i, t in rest.items() if t is not None}
        if found:
            out = out.scatter(list(found), pl.Series(list(found.values()), dtype=_US))
    return out


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - zoneless UTC, as columns hold it
_FRACTION = re.compile(r"\.(\d{6})\d+")
_NUMBER = re.compile(r"-?\d{1,22}(?:\.\d*)?(?:[eE][+-]?\d{1,3})?")
_COMPACT_DATE = re.compile(r"(?:19|20)\d{6}")
_ZONE_NAME = re.compile(r"\s*(?:UTC|GMT|Z)$", re.IGNORECASE)
_OTHER_FORMATS = (
    "%m/%d/%Y, %I:%M:%S.%f %p",  # exports of the Azure portal
    "%m/%d/%Y, %I:%M:%S %p",
    "%m/%d/%Y %I:%M:%S.%f %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%b %d, %Y %I:%M:%S %p",  # exports of the Defender portal
    "%b %d, %Y %I:%M:%S.%f %p",
    "%b %d, %Y @ %H:%M:%S.%f",  # Kibana
    "%d/%b/%Y:%H:%M:%S %z",  # web servers
    "%a, %d %b %Y %H:%M:%S %z",  # RFC 5322
    "%a %b %d %H:%M:%S %Y",
    "%b %d %Y %H:%M:%S",  # CEF
    "%b %d %Y %H:%M:%S.%f",
    "%b %d %Y %H:%M:%S %z",
    "%Y/%m/%d %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
)


@lru_cache(maxsize=8192)
def _parse_text(text: str) -> datetime | None:
    stripped = text.strip()
    value = _FRACTION.sub(r".\1", stripped)
    if not value:
        return None
    if _NUMBER.fullmatch(stripped) and not _COMPACT_DATE.fullmatch(stripped):
        return _from_number(float(stripped))
    try:
        return _naive_utc(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        pass
    bare = _ZONE_NAME.sub("", value)
    for pattern in _OTHER_FORMATS:
        try:
            return _naive_utc(datetime.strptime(bare, pattern))  # noqa: DTZ007 - zoneless means UTC here
        except (ValueError, OverflowError):
            continue
    return None


def parse_time(value: object) -> datetime | None:
    """The instant (UTC, without zone) that a text or number means, or None.

    Numbers are seconds, milliseconds, microseconds, 100 ns or nanoseconds since 1970, told apart by their size.
    """
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _from_number(float(value)) if not isinstance(value, int) else _from_int(value)
    if isinstance(value, datetime):
        return _naive_utc(value)
    return None


def _naive_utc(value: datetime) -> datetime:
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def _from_int(value: int) -> datetime | None:
    size = abs(value)
    if size < 100_000_000_000:
        micros = value * 1_000_000
    elif size < 100_000_000_000_000:
        micros = value * 1_000
    elif size < 100_000_000_000_000_000:
        micros = value
    else:
        micros = value // 1_000
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return None


def _from_number(value: float) -> datetime | None:
    if value != value or value in (float("inf"), float("-inf")):
        return None
    if abs(value) >= 100_000_000_000:
        return _from_int(int(value))
    try:
        # Through whole microseconds: a float of seconds holds about a tenth of one.
        return _EPOCH + timedelta(microseconds=round(value * 1_000_000))
    except OverflowError:
        return None
