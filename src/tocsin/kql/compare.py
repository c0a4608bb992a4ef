"""Whether a query's result is the one that a recorded case expects.

A case records what Kusto gave (`types` present: typed JSON values) or what a documentation page prints (texts, compared loosely: the page may
have rounded a number, quoted a string or left a null empty). Rows are a multiset unless the case is flagged ``ordered``. Numbers
are equal within a millionth of their size or to the digits that a text shows; datetimes and timespans are compared as instants and
lengths, dynamics as JSON values.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

__all__ = ["Verdict", "compare_result", "same_value"]

Verdict = Literal["exact", "columns", "values"]
"""``exact``; ``columns``: the right values under other names or in another order of columns; ``values``: other rows."""

_RELATIVE: Final = 1e-6
_ABSOLUTE: Final = 1e-9
_NULLS: Final = frozenset(("", "null", "(null)", "n/a"))
_TRUTH: Final = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_NUMBER: Final = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][-+]?\d+)?")
_NAMED_NUMBERS: Final = {
    "nan": math.nan,
    "inf": math.inf,
    "+inf": math.inf,
    "-inf": -math.inf,
    "infinity": math.inf,
    "-infinity": -math.inf,
    "∞": math.inf,
    "-∞": -math.inf,
}
_SPAN: Final = re.compile(r"(-)?(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?")
_INSTANT: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?\s*(?:Z|\+00:?00)?"
)
_US_INSTANT: Final = re.compile(r"(\d\d?)/(\d\d?)/(\d{4}),? (\d\d?):(\d\d):(\d\d)(?:\.(\d{1,7}))?(?: ([AP]M))?")


def compare_result(case: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Verdict:
    """The verdict on a result. `rows` hold JSON-able values as `QueryResult.rows` gives them."""
    loose = "types" not in case
    expected: list[list[object]] = case["rows"]
    wanted: list[str] = case["columns"]
    got = [list(row) for row in rows]
    if len(got) != len(expected) or (expected and len(wanted) != len(columns)):
        return "values"
    verdict: Verdict = "exact" if list(columns) == wanted else "columns"
    if verdict == "columns" and sorted(columns) == sorted(wanted) and len(set(columns)) == len(columns):
        places = [list(columns).index(name) for name in wanted]
        got = [[row[place] for place in places] for row in got]
    if all(_same_row(row, other, loose) for row, other in zip(got, expected, strict=True)):
        return verdict
    if "ordered" in case.get("flags", ()):
        return "values"
    for other in expected:
        found = next((k for k, row in enumerate(got) if _same_row(row, other, loose)), None)
        if found is None:
            return "values"
        del got[found]
    return verdict


def _same_row(row: Sequence[object], expected: Sequence[object], loose: bool) -> bool:
    return len(row) == len(expected) and all(same_value(a, b, loose=loose) for a, b in zip(row, expected, strict=True))


def same_value(actual: object, expected: object, *, loose: bool) -> bool:
    """Whether a value is the expected one. `loose`: what is expected is a text from a page."""
    if expected is None:
        return actual is None
    if actual is None:
        return loose and isinstance(expected, str) and expected.strip().lower() in _NULLS
    both_texts = isinstance(actual, str) and isinstance(expected, str)
    if isinstance(actual, str) and isinstance(expected, str) and _same_text(actual.strip(), expected.strip(), loose):
        return True
    if isinstance(actual, bool) or isinstance(expected, bool):
        truth = _TRUTH.get(str(actual).strip().lower())
        return truth is not None and truth == _TRUTH.get(str(expected).strip().lower())
    one, other = _number(actual), _number(expected)
    if one is not None and other is not None and (loose or not both_texts):
        return _same_number(one, other, expected)
    one_json, other_json = _json(actual), _json(expected)
    if one_json is not None and other_json is not None:
        return _same_json(one_json, other_json, loose)
    if isinstance(one_json, str) and not isinstance(expected, list | dict):
        return one_json != actual and same_value(one_json, expected, loose=loose)
    return str(actual) == str(expected)


def _same_text(one: str, other: str, loose: bool) -> bool:
    if one == other:
        return True
    if loose and (one == other.strip("'\"") or one.split() == other.split() or (not one and other.lower() == "null")):
        return True
    for reading in (_instant, _length):
        first, second = reading(one), reading(other)
        if first is not None and second is not None:
            return abs(first - second) <= 1
    return False


def _instant(text: str) -> int | None:
    """Microseconds on some scale, of the texts of datetimes."""
    match = _INSTANT.fullmatch(text)
    if match:
        year, month, day, hour, minute, second, fraction = match.groups()
    else:
        match = _US_INSTANT.fullmatch(text)
        if match is None:
            return None
        month, day, year, hour, minute, second, fraction, half = match.groups()
        if half:
            hour = str(int(hour) % 12 + (12 if half == "PM" else 0))
    if not 1 <= int(month) <= 12:
        return None
    days = _days(int(year), int(month), int(day))
    seconds = (int(hour or 0) * 60 + int(minute or 0)) * 60 + int(second or 0)
    return (days * 86_400 + seconds) * 1_000_000 + int(((fraction or "") + "000000")[:6])


def _days(year: int, month: int, day: int) -> int:
    """Days of the proleptic Gregorian calendar; year 9999's last day and bad days of a month included."""
    year -= month <= 2
    era_day = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + era_day


def _length(text: str) -> int | None:
    """Microseconds of the text of a timespan."""
    match = _SPAN.fullmatch(text)
    if match is None:
        return None
    sign, days, hours, minutes, seconds, fraction = match.groups()
    total = ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds or 0)
    length = total * 1_000_000 + int(((fraction or "") + "000000")[:6])
    return -length if sign else length


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        text = value.strip()
        named = _NAMED_NUMBERS.get(text.lower())
        if named is not None:
            return named
        if text.strip("+-.") and _NUMBER.fullmatch(text):
            try:
                return float(text.replace(",", ""))
            except ValueError:
                return None
    return None


def _same_number(one: float, other: float, shown: object) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    if math.isinf(one) or math.isinf(other):
        return one == other
    distance = abs(one - other)
    if distance <= _ABSOLUTE + _RELATIVE * max(abs(one), abs(other)):
        return True
    if isinstance(shown, str) and "." in shown and "e" not in shown.lower():
        digits = len(shown.split(".")[1])
        unit = 10.0**-digits
        return (digits >= 2 and distance < 0.51 * unit) or (digits >= 3 and distance < unit)
    return False


def _json(value: object) -> Any:
    """A container, or the value of a text that is JSON (with the odd comma that pages print before a closing bracket)."""
    if isinstance(value, list | dict):
        return value
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{", '"'):
        return None
    for text in (value, re.sub(r",\s*([\]}])", r"\1", value)):
        try:
            return json.loads(text)
        except ValueError:
            continue
    return None


def _same_json(one: Any, other: Any, loose: bool) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same_part(one[key], other[key], loose) for key in one)
    if isinstance(one, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_same_part(a, b, loose) for a, b in pairs)
    return bool(one == other)


def _same_part(one: Any, other: Any, loose: bool) -> bool:
    if isinstance(one, dict | list) and isinstance(other, dict | list):
        return _same_json(one, other, loose)
    return same_value(one, other, loose=loose)
