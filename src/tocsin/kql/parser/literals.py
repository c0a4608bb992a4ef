"""The text of a literal to its value. Pure functions; None says that the text is no such value."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from tocsin.kql.ast import Literal
from tocsin.kql.types import KqlType

__all__ = [
    "SMALLEST_LONG",
    "TYPED",
    "TYPE_NAMES",
    "clock_ticks",
    "datetime_text",
    "datetime_ticks",
    "number",
    "timespan_text",
    "timespan_ticks",
    "typed_value",
]

TICKS_PER_SECOND: Final = 10_000_000
TICKS_PER_DAY: Final = 86_400 * TICKS_PER_SECOND
MAX_LONG: Final = 2**63 - 1
SMALLEST_LONG: Final = str(2**63)  # its amount is no long, so it is a literal only where the sign belongs to it
MAX_DATETIME: Final = 3_652_059 * TICKS_PER_DAY - 1

TYPE_NAMES: Final[dict[str, KqlType]] = {
    "bool": KqlType.BOOL,
    "boolean": KqlType.BOOL,
    "int": KqlType.INT,
    "int32": KqlType.INT,
    "long": KqlType.LONG,
    "int64": KqlType.LONG,
    "real": KqlType.REAL,
    "double": KqlType.REAL,
    "decimal": KqlType.DECIMAL,
    "string": KqlType.STRING,
    "datetime": KqlType.DATETIME,
    "date": KqlType.DATETIME,
    "timespan": KqlType.TIMESPAN,
    "time": KqlType.TIMESPAN,
    "guid": KqlType.GUID,
    "uuid": KqlType.GUID,
    "uniqueid": KqlType.GUID,
    "dynamic": KqlType.DYNAMIC,
}
"""Names of column types, aliases included."""

TYPED: Final[dict[str, KqlType]] = {
    name: type_ for name, type_ in TYPE_NAMES.items() if type_ not in (KqlType.STRING, KqlType.DYNAMIC)
}
"""The words of typed literals such as ``datetime(2020-01-01)``."""

_UNITS: dict[str, Fraction] = {}
for _names, _amount in (
    (("d", "day", "days"), TICKS_PER_DAY),
    (("h", "hr", "hrs", "hour", "hours"), 3600 * TICKS_PER_SECOND),
    (("m", "min", "minute", "minutes"), 60 * TICKS_PER_SECOND),
    (("s", "sec", "second", "seconds"), TICKS_PER_SECOND),
    (("ms", "milli", "millis", "millisec", "millisecond", "milliseconds"), TICKS_PER_SECOND // 1000),
    (("micro", "micros", "microsec", "microsecond", "microseconds"), TICKS_PER_SECOND // 1_000_000),
    (("tick", "ticks"), 1),
):
    for _name in _names:
        _UNITS[_name] = Fraction(_amount)
for _name in ("nano", "nanos", "nanosec", "nanosecond", "nanoseconds"):
    _UNITS[_name] = Fraction(1, 100)

_NUMBER = re.compile(
    r"(?P<hex>0[xX][0-9a-fA-F]+)|(?P<real>\d+\.\d*(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)|(?P<amount>\d+(?:\.\d+)?)(?P<unit>[a-z]+)"
)
_SPAN_ZERO = (0, 0)
_LONG, _REAL, _TIMESPAN = KqlType.LONG, KqlType.REAL, KqlType.TIMESPAN


def number(token: str, span: tuple[int, int] = _SPAN_ZERO) -> Literal | None:
    """A number or timespan token as a literal; None where the token is a name (or nonsense) that begins with digits.

    A number out of range is a literal without value: the parser refuses it.
    """
    if token.isdecimal() and token.isascii():
        value = int(token) if len(token) < 25 else MAX_LONG + 1
        return Literal(span, _LONG, value if value <= MAX_LONG else None)
    match = _NUMBER.fullmatch(token)
    if match is None:
        return None
    if match["hex"]:
        digits = match["hex"][2:]
        if len(digits.lstrip("0")) > 16:
            return Literal(span, _LONG, None)
        value = int(digits, 16)
        return Literal(span, _LONG, value - 2**64 if value > MAX_LONG else value)
    if match["real"]:
        real = float(token)
        return Literal(span, _REAL, None if math.isinf(real) else real)
    unit = _UNITS.get(match["unit"])
    if unit is None or len(match["amount"]) > 40:
        return None
    ticks = int(Fraction(match["amount"]) * unit)
    return Literal(span, _TIMESPAN, ticks if ticks <= MAX_LONG else None)


# ------------------------------------------------------------------------------------------------ datetime

_ISO = re.compile(
    r"""(?P<year>\d{4})(?:[-/](?P<month>\d{1,2})(?:[-/](?P<day>\d{1,2})
        (?:[T ]\s*(?P<hour>\d{1,2})(?::(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:[.,](?P<fraction>\d{1,9}))?)?)?
        \s*(?P<half>[AaPp][Mm])?)?)?)?\s*(?P<zone>[Zz]|GMT|UTC|[-+]\d{2}:?\d{2})?""",
    re.VERBOSE,
)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_SPACED_DASH = re.compile(r"(?<=\d) - (?=\d)")
_US = re.compile(
    r"(?P<month>\d{1,2})[-/](?P<day>\d{1,2})[-/](?P<year>\d{4})"
    r"(?:[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:[.,](?P<fraction>\d{1,9}))?)?\s*(?P<half>[AaPp][Mm])?)?"
    r"\s*(?P<zone>[Zz]|GMT|UTC|[-+]\d{2}:?\d{2})?"
)
_RFC = re.compile(
    r"(?:[A-Za-z]{3,9},?\s+)?(?P<day>\d{1,2})[-\s](?P<name>[A-Za-z]{3,9})[-\s,]+(?P<year>\d{4}|\d{2})"
    r"(?:\s+(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:[.,](?P<fraction>\d{1,9}))?)?\s*(?P<half>[AaPp][Mm])?)?"
    r"\s*(?P<zone>[Zz]|GMT|UTC|[-+]\d{2}:?\d{2})?"
)
_MONTH_FIRST = re.compile(
    r"(?:[A-Za-z]{3,9},?\s+)?(?P<name>[A-Za-z]{3,9})\.?\s+(?P<day>\d{1,2})(?:,\s*|\s+)(?P<year>\d{4})"
    r"(?:,?\s+(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:[.,](?P<fraction>\d{1,9}))?)?\s*(?P<half>[AaPp][Mm])?)?"
    r"\s*(?P<zone>[Zz]|GMT|UTC|[-+]\d{2}:?\d{2})?"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_EPOCH = datetime(1, 1, 1)  # noqa: DTZ001 - KQL's datetime has no zone


def datetime_ticks(text: str) -> int | None:
    """Ticks of 100 ns since 0001-01-01 of a datetime as Kusto reads it (ISO 8601, RFC 822 and 850, month/day/year), or None.

    Source: learn.microsoft.com/kusto/query/scalar-data-types/datetime, supported formats.
    """
    text = _SPACED_DASH.sub("-", " ".join(text.split()))
    compact = _COMPACT.fullmatch(text)
    if compact:
        return _ticks({"year": compact[1], "month": compact[2], "day": compact[3]})
    match = _ISO.fullmatch(text) or _US.fullmatch(text) or _RFC.fullmatch(text) or _MONTH_FIRST.fullmatch(text)
    return _ticks(match.groupdict()) if match else None


_CLOCK_TEXT = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*([AaPp][Mm])?")


def clock_ticks(text: str) -> int | None:
    """Ticks since midnight of a time without a date (``8:00``, ``8:00:00 AM``), which `datetime` takes to be today's; or None."""
    match = _CLOCK_TEXT.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    half = (match[4] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    return ((hour * 60 + minute) * 60 + second) * TICKS_PER_SECOND


def _ticks(part: dict[str, str | None]) -> int | None:
    year = int(part["year"] or 0)
    if len(part["year"] or "") == 2:
        year += 2000 if year < 50 else 1900
    name = part.get("name")
    if name:
        if name[:3].lower() not in _MONTHS:
            return None
        month = _MONTHS.index(name[:3].lower()) + 1
    else:
        month = int(part.get("month") or 1)
    hour, minute, second = (int(part.get(k) or 0) for k in ("hour", "minute", "second"))
    half = (part.get("half") or "").lower()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0)
    extra = 0
    if hour == 24 and minute == second == 0:
        hour, extra = 0, TICKS_PER_DAY
    try:
        moment = datetime(year, month, int(part.get("day") or 1), hour, minute, second)  # noqa: DTZ001
    except ValueError:
        return None
    ticks = (moment - _EPOCH) // timedelta(microseconds=1) * 10 + extra
    ticks += int(((part.get("fraction") or "") + "0" * 7)[:7])
    zone = (part.get("zone") or "").upper()
    if zone[:1] in ("+", "-") and zone:
        away = (int(zone[1:3]) * 60 + int(zone[-2:])) * 60 * TICKS_PER_SECOND
        ticks += -away if zone[0] == "+" else away
    return ticks if 0 <= ticks <= MAX_DATETIME else None


def datetime_text(ticks: int) -> str:
    """A datetime as KQL writes it: ``2020-01-01T00:00:00.0000000Z``."""
    moment = _EPOCH + timedelta(microseconds=ticks // 10)
    return f"{moment.isoformat(timespec='microseconds')}{ticks % 10}Z"


# ------------------------------------------------------------------------------------------------ timespan

_CLOCK = re.compile(
    r"(?P<sign>-)?\s*(?:(?P<days>\d{1,8})[.:])??(?P<hours>\d{1,2}):(?P<minutes>\d{1,2})(?::(?P<seconds>\d{1,2})(?:\.(?P<fraction>\d{1,9}))?)?"
)
_DAYS_CLOCK = re.compile(
    r"(?P<sign>-)?\s*(?P<days>\d{1,8})[.:](?P<hours>\d{1,2}):(?P<minutes>\d{1,2}):(?P<seconds>\d{1,2})(?:\.(?P<fraction>\d{1,9}))?"
)


def timespan_ticks(text: str) -> int | None:
    """Ticks of a timespan's text: ``2`` (days), ``1.02:03:04.5``, ``12:30``, ``1.5h``, ``-1d``; or None."""
    text = text.strip()
    match = _DAYS_CLOCK.fullmatch(text) or _CLOCK.fullmatch(text)
    if match:
        hours, minutes, seconds = (int(match[k] or 0) for k in ("hours", "minutes", "seconds"))
        if hours > 23 or minutes > 59 or seconds > 59:
            return None
        total = int(match["days"] or 0) * 86_400 + hours * 3600 + minutes * 60 + seconds
        ticks = total * TICKS_PER_SECOND + int(((match["fraction"] or "") + "0" * 7)[:7])
        return _bounded(-ticks if match["sign"] else ticks)
    negative = text.startswith("-")
    body = text.lstrip("+-").strip() if text[:1] in ("+", "-") else text
    if body.isdecimal() and body.isascii() and len(body) < 12:
        ticks = int(body) * TICKS_PER_DAY
    else:
        literal = number(body)
        if literal is None or literal.type is not KqlType.TIMESPAN or literal.value is None:
            return None
        ticks = int(literal.value)
    return _bounded(-ticks if negative else ticks)


def _bounded(ticks: int) -> int | None:
    return ticks if -(2**63) <= ticks <= MAX_LONG else None


def timespan_text(ticks: int) -> str:
    """A timespan as KQL writes it: ``1.02:03:04.5670000``, ``-02:30:00``."""
    sign = "-" if ticks < 0 else ""
    seconds, fraction = divmod(abs(ticks), TICKS_PER_SECOND)
    days, seconds = divmod(seconds, 86_400)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return sign + (f"{days}." if days else "") + clock + (f".{fraction:07}" if fraction else "")


# ------------------------------------------------------------------------------------------------ typed literals

_GUID = re.compile(r"\{?([0-9a-fA-F]{8})-?([0-9a-fA-F]{4})-?([0-9a-fA-F]{4})-?([0-9a-fA-F]{4})-?([0-9a-fA-F]{12})\}?")
_DECIMAL = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d{1,3})?")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]{1,16})|(\d{1,20}))")
_REAL_TEXT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_SPECIAL_REALS = {"nan": math.nan, "+inf": math.inf, "inf": math.inf, "-inf": -math.inf}


def typed_value(type_: KqlType, text: str) -> bool | int | float | str | None:
    """The value between the parentheses of a typed literal. ``null`` is handled by the caller; None here means ill-formed."""
    if type_ is KqlType.DATETIME:
        return datetime_ticks(text)
    if type_ is KqlType.TIMESPAN:
        return timespan_ticks(text)
    if type_ is KqlType.BOOL:
        return {"true": True, "false": False, "1": True, "0": False}.get(text.lower())
    if type_ in (KqlType.INT, KqlType.LONG):
        return _integer(text, 2**31 if type_ is KqlType.INT else 2**63)
    if type_ is KqlType.REAL:
        special = _SPECIAL_REALS.get(text.lower())
        if special is not None:
            return special
        return float(text) if _REAL_TEXT.fullmatch(text) else None
    if type_ is KqlType.DECIMAL:
        return text if _DECIMAL.fullmatch(text) else None
    match = _GUID.fullmatch(text)
    return "-".join(match.groups()).lower() if match else None


def _integer(text: str, limit: int) -> int | None:
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    if match[2]:
        value = int(match[2], 16)
        if limit == 2**63 and value >= limit:
            value -= 2**64
    else:
        value = int(match[3])
    if match[1] == "-":
        value = -value
    return value if -limit <= value < limit else None
