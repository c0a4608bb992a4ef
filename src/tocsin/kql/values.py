"""Values outside the engine: the text forms that KQL prints, their parsers, and the JSON-able forms of the REST answers.

The same functions serve constant folding, the engine's Python UDFs and the doors, so that a value has one text everywhere.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from tocsin.kql.types import KqlType

__all__ = [
    "EPOCH_TICKS",
    "MAX_TICKS",
    "datetime_text",
    "decimal_text",
    "parse_datetime",
    "parse_double",
    "parse_long",
    "parse_timespan",
    "python_value",
    "real_text",
    "ticks_of",
    "timespan_text",
    "to_text",
]

EPOCH_TICKS = 621355968000000000
"""Ticks of 100 ns from 0001-01-01 to 1970-01-01."""
MAX_TICKS = 3155378975999999999
"""The last tick of the year 9999."""

_ORIGIN = datetime(1, 1, 1)  # noqa: DTZ001 - a datetime of KQL has no zone
_DAY = 864_000_000_000
_HOUR = 36_000_000_000
_MINUTE = 600_000_000
_SECOND = 10_000_000
_UNITS = {
    **dict.fromkeys(("d", "day", "days"), _DAY),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), _HOUR),
    **dict.fromkeys(("m", "min", "minute", "minutes"), _MINUTE),
    **dict.fromkeys(("s", "sec", "second", "seconds"), _SECOND),
    **dict.fromkeys(("ms", "milli", "millis", "millisec", "millisecond", "milliseconds"), 10_000),
    **dict.fromkeys(("micro", "micros", "microsec", "microsecond", "microseconds"), 10),
    **dict.fromkeys(("nano", "nanos", "nanosecond", "nanoseconds"), 0.01),
    **dict.fromkeys(("tick", "ticks"), 1),
}
_MONTHS = {
    m: i + 1 for i, m in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
}


def ticks_of(moment: datetime) -> int:
    """Ticks of a datetime without zone."""
    delta = moment - _ORIGIN
    return (delta.days * 86400 + delta.seconds) * _SECOND + delta.microseconds * 10


def moment_of(ticks: int) -> datetime:
    """The datetime of those ticks, cut to the microsecond."""
    return _ORIGIN + timedelta(microseconds=ticks // 10)


def datetime_text(ticks: int) -> str:
    """``2020-01-01T00:00:00.0000000Z``: always seven digits, as the engine prints."""
    moment = moment_of(ticks)
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}.{ticks % _SECOND:07d}Z"


def timespan_text(ticks: int) -> str:
    """``[-][d.]hh:mm:ss[.fffffff]``."""
    sign, size = ("-", -ticks) if ticks < 0 else ("", ticks)
    days, rest = divmod(size, _DAY)
    hours, rest = divmod(rest, _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    seconds, fraction = divmod(rest, _SECOND)
    head = f"{days}." if days else ""
    tail = f".{fraction:07d}" if fraction else ""
    return f"{sign}{head}{hours:02d}:{minutes:02d}:{seconds:02d}{tail}"


def real_text(value: float) -> str:
    """A real as `tostring` prints it: ``1.0``, ``1e+16``, ``NaN``, ``inf``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = repr(value)
    if text.endswith(".0") and abs(value) >= 1e15:
        return text[:-2]
    return text


def decimal_text(value: Decimal | str) -> str:
    """A decimal without trailing zeros."""
    text = format(Decimal(value), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


_LONG = re.compile(r"\s*([-+]?[0-9]+)\s*", re.ASCII)
_HEX = re.compile(r"\s*0[xX]([0-9a-fA-F]{1,16})\s*", re.ASCII)
_DOUBLE = re.compile(
    r"\s*\+?(-?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[iI]nf|[iI]nfinity|NaN|nan))\s*", re.ASCII
)


def parse_long(text: str) -> int | None:
    """`tolong` of a string: digits, or 0x and hexadecimal digits (16 of them wrap)."""
    match = _LONG.fullmatch(text)
    if match:
        value = int(match[1]) if len(match[1]) < 40 else 1 << 64
        return value if -(1 << 63) <= value < 1 << 63 else None
    match = _HEX.fullmatch(text)
    if match:
        value = int(match[1], 16)
        return value - (1 << 64) if value >= 1 << 63 else value
    return None


def parse_double(text: str) -> float | None:
    """`todouble` of a string."""
    match = _DOUBLE.fullmatch(text)
    return float(match[1]) if match else None


_CLOCK_DAYS = re.compile(r"\s*(-)?(\d{1,8})\.(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,7}))?)?\s*", re.ASCII)
_CLOCK_PLAIN = re.compile(r"\s*(-)?()(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,7}))?)?\s*", re.ASCII)
_CLOCK_FULL = re.compile(r"\s*(-)?(\d{1,8}):(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,7}))?\s*", re.ASCII)
_AMOUNT = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.ASCII)
_DAYS = re.compile(r"\s*-?\d{1,8}\s*", re.ASCII)


@lru_cache(maxsize=4096)
def parse_timespan(text: str) -> int | None:
    """`totimespan` of a string: ``[-][d.]hh:mm[:ss[.fffffff]]``, ``1.5h`` and kin, or whole days; else None."""
    match = _CLOCK_DAYS.fullmatch(text) or _CLOCK_PLAIN.fullmatch(text) or _CLOCK_FULL.fullmatch(text)
    if match:
        sign, days, hours, minutes, seconds, fraction = match.groups()
        if int(hours) > 23 or int(minutes) > 59 or int(seconds or 0) > 59:
            return None
        ticks = int(days or 0) * _DAY + int(hours) * _HOUR + int(minutes) * _MINUTE + int(seconds or 0) * _SECOND
        ticks += int((fraction or "").ljust(7, "0"))
        return _span(-ticks if sign else ticks)
    match = _AMOUNT.fullmatch(text)
    if match:
        unit = _UNITS.get(match[2])
        if unit is None:
            return None
        if "." not in match[1] and isinstance(unit, int):
            return _span(int(match[1]) * unit)
        value = float(match[1]) * unit
        return _span(round(value)) if abs(value) < 1e19 else None
    if _DAYS.fullmatch(text):
        return _span(int(text) * _DAY)
    return None


def _span(ticks: int) -> int | None:
    return ticks if -(1 << 63) <= ticks < 1 << 63 else None


_TIME = (
    r"(?:[T ,]\s*(?P<h>\d{1,2}):(?P<m>\d{1,2})(?::(?P<s>\d{1,2})(?:[.,](?P<f>\d{1,12}))?)?\s*(?P<p>[AaPp]\.?[Mm]\.?)?)?"
)
_ZONE = r"\s*(?P<z>Z|z|UTC|GMT|UT|EST|EDT|CST|CDT|MST|MDT|PST|PDT|(?:GMT|UTC)?[+-]\d{1,2}:?(?:\d{2})?)?\s*"
_DATE_FORMATS = tuple(
    re.compile(r"\s*" + date + r"\s*" + _TIME + _ZONE, re.ASCII | re.IGNORECASE)
    for date in (
        r"(?P<y>\d{4})-(?P<mo>\d{1,2})-(?P<d>\d{1,2})",
        r"(?P<y>\d{4})/(?P<mo>\d{1,2})/(?P<d>\d{1,2})",
        r"(?P<mo>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4}|\d{2})",
        r"(?P<mo>\d{1,2})-(?P<d>\d{1,2})-(?P<y>\d{4})",
        r"(?:[a-z]{3,9},?\s+)?(?P<d>\d{1,2})[ -](?P<mon>[a-z]{3})[a-z]*[- ,]\s*(?P<y>\d{4}|\d{2})",
        r"(?:[a-z]{3,9},?\s+)?(?P<mon>[a-z]{3})[a-z]*\.?\s+(?P<d>\d{1,2}),?\s+(?P<y>\d{4})",
    )
)
_CTIME = re.compile(
    r"\s*(?:[a-z]{3,9},?\s+)?(?P<mon>[a-z]{3})\s+(?P<d>\d{1,2})\s+(?P<h>\d{1,2}):(?P<m>\d{1,2})(?::(?P<s>\d{1,2})(?:\.(?P<f>\d{1,9}))?)?"
    r"\s*(?P<p>)(?P<z>[A-Z]{3})?\s+(?P<y>\d{4})\s*",
    re.ASCII | re.IGNORECASE,
)
_COMPACT = re.compile(
    r"\s*(?P<y>\d{4})(?P<mo>\d\d)(?P<d>\d\d)T(?P<h>\d\d)(?P<m>\d\d)(?:(?P<s>\d\d)(?:\.(?P<f>\d{1,9}))?)?(?P<p>)\s*(?P<z>Z|[+-]\d{2}:?\d{2})?\s*",
    re.ASCII,
)
_TICKS = re.compile(r"\s*\d{1,3}|\d{5,19}\s*", re.ASCII)
_ZONES = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}


@lru_cache(maxsize=4096)
def parse_datetime(text: str) -> int | None:
    """`todatetime` of a string as ticks: ISO 8601, RFC 822, RFC 850, US month/day/year, ctime; else None.

    An offset is applied, so the result is UTC. Source: the format list of Kusto's datetime page.
    """
    if len(text) > 100:
        return None
    if _TICKS.fullmatch(text):
        value = int(text)
        return value if value <= MAX_TICKS else None
    for pattern in (*_DATE_FORMATS, _CTIME, _COMPACT):
        match = pattern.fullmatch(text)
        if match:
            return _from_parts(match.groupdict())
    return None


def _from_parts(part: dict[str, str | None]) -> int | None:
    year = int(part["y"] or 0)
    if len(part["y"] or "") == 2:
        year += 2000 if year < 50 else 1900
    month = int(part["mo"] or 0) if part.get("mo") else _MONTHS.get((part.get("mon") or "").lower(), 0)
    hour = int(part["h"] or 0)
    half = (part["p"] or "").lower()[:1]
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    try:
        moment = datetime(year, month, int(part["d"] or 0), hour, int(part["m"] or 0), int(part["s"] or 0))  # noqa: DTZ001
    except ValueError:
        return None
    ticks = ticks_of(moment) + int((part["f"] or "0")[:7].ljust(7, "0")) - _offset(part["z"] or "")
    return ticks if 0 <= ticks <= MAX_TICKS else None


def _offset(zone: str) -> int:
    zone = zone.upper().removeprefix("GMT").removeprefix("UTC")
    if zone in _ZONES:
        return _ZONES[zone] * _HOUR
    match = re.fullmatch(r"([+-])(\d{1,2}):?(\d{2})?", zone)
    if not match:
        return 0
    size = int(match[2]) * _HOUR + int(match[3] or 0) * _MINUTE
    return -size if match[1] == "-" else size


def to_text(kind: KqlType, value: object) -> str:
    """`tostring` of a value in the shapes of `ast.Literal.value` (datetime and timespan as ticks); null is the empty string."""
    if value is None:
        return ""
    if kind is KqlType.BOOL:
        return "True" if value else "False"
    if kind is KqlType.REAL:
        return real_text(float(value))  # type: ignore[arg-type]
    if kind is KqlType.DECIMAL:
        return decimal_text(str(value))
    if kind is KqlType.DATETIME:
        return datetime_text(int(value))  # type: ignore[call-overload]
    if kind is KqlType.TIMESPAN:
        return timespan_text(int(value))  # type: ignore[call-overload]
    if kind is KqlType.DYNAMIC:
        parsed = json.loads(str(value))
        return parsed if isinstance(parsed, str) else "" if parsed is None else str(value)
    return str(value)


def python_value(kind: KqlType, physical: object, ticks: bool = False) -> object:
    """The JSON-able form, as Kusto's REST answers have it, of a value that came out of the engine.

    `physical` is what Arrow or DuckDB gives for the physical column (`tocsin.kql.types`); `ticks` tells a datetime's form.
    """
    if physical is None:
        return "" if kind is KqlType.STRING else None
    if kind is KqlType.DATETIME:
        if isinstance(physical, datetime):
            return datetime_text(ticks_of(physical.replace(tzinfo=None)))
        number = int(physical)  # type: ignore[call-overload]
        return datetime_text(number if ticks else number * 10 + EPOCH_TICKS)
    if kind is KqlType.TIMESPAN:
        return timespan_text(int(physical))  # type: ignore[call-overload]
    if kind is KqlType.REAL:
        number_ = float(physical)  # type: ignore[arg-type]
        if math.isnan(number_):
            return "NaN"
        if math.isinf(number_):
            return "Infinity" if number_ > 0 else "-Infinity"
        return number_
    if kind is KqlType.DECIMAL:
        return decimal_text(physical if isinstance(physical, Decimal) else str(physical))
    if kind is KqlType.DYNAMIC and isinstance(physical, str):
        try:
            return json.loads(physical)
        except ValueError:
            return physical
    return physical
