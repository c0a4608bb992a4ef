"""Functions over datetime and timespan.

A datetime comes as TIMESTAMP (microseconds) or in ticks. What a microsecond can hold exactly stays a TIMESTAMP; `endof…` end a tick before the next
period and give ticks. Results outside the years 1 to 9999 are null.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from tocsin.kql.functions.define import scalar
from tocsin.kql.functions.macros import text_copies
from tocsin.kql.functions.model import FunctionError, Lowered, Operand, ScalarFunction
from tocsin.kql.functions.sql import micros, text, ticks
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS", "datetime_parts"]

L, R, S, T, P = KqlType.LONG, KqlType.REAL, KqlType.STRING, KqlType.DATETIME, KqlType.TIMESPAN
I = KqlType.INT  # noqa: E741
_GROUP = "Datetime and timespan"

_UNITS = {
    "week": 6048000000000,
    "day": 864000000000,
    "hour": 36000000000,
    "minute": 600000000,
    "second": 10000000,
    "millisecond": 10000,
    "microsecond": 10,
    "nanosecond": 0,
}
_CALENDAR = {"year": 12, "quarter": 3, "month": 1}


def _made(sql: str, kind: KqlType, *, in_ticks: bool = False) -> Lowered:
    return Lowered(sql, kind, in_ticks, text_copies(sql))


def _start(macro: str) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        offset = operands[1].sql if len(operands) > 1 else "0"
        return _made(f"{macro}({micros(operands[0])}, {offset})", T)

    return lower


def _end(macro: str) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        offset = operands[1].sql if len(operands) > 1 else "0"
        return _made(f"{macro}({micros(operands[0])}, {offset})", T, in_ticks=True)

    return lower


def _part(sql: str, kind: KqlType) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        return _made(sql.replace("{0}", micros(operands[0])), kind)

    return lower


def _period(operand: Operand, argument: int) -> str:
    if not (operand.constant and isinstance(operand.value, str)):
        raise FunctionError("the period must be a constant", argument)
    return operand.value.strip().lower().replace("weekofyear", "week_of_year").removesuffix("s") or operand.value


def _add(operands: Sequence[Operand]) -> Lowered:
    period, amount, moment = _period(operands[0], 0), operands[1].sql, operands[2]
    if period in _CALENDAR:
        months = amount if _CALENDAR[period] == 1 else f"({amount}) * {_CALENDAR[period]}"
        if not moment.ticks:
            return _made(f"k_addm({moment.sql}, {months})", T)
        return _made(f"k_dtr(k_tk(k_addm({micros(moment)}, {months})) + {moment.sql} % 10)", T, in_ticks=True)
    if period not in _UNITS:
        raise FunctionError(f"'{period}' is not a period", 0, hint=_periods())
    unit = _UNITS[period]
    if period == "nanosecond":
        return _made(f"k_dtr({ticks(moment)} + ({amount})::HUGEINT // 100)", T, in_ticks=True)
    if not moment.ticks:
        return _made(f"k_us(epoch_us({moment.sql}) + ({amount})::HUGEINT * {unit // 10})", T)
    return _made(f"k_dtr({moment.sql} + ({amount})::HUGEINT * {unit})", T, in_ticks=True)


def _periods() -> str:
    return "Periods: year, quarter, month, week, day, hour, minute, second, millisecond, microsecond, nanosecond."


def _diff(operands: Sequence[Operand]) -> Lowered:
    period, left, right = _period(operands[0], 0), operands[1], operands[2]
    if period in _CALENDAR:
        a, b = micros(left), micros(right)
        return _made(f"date_diff('{period}', {b}, {a})", L)
    if period not in _UNITS:
        raise FunctionError(f"'{period}' is not a period", 0, hint=_periods())
    if period == "week":
        return _made(f"(k_week({micros(left)}) - k_week({micros(right)}))", L)
    if period == "nanosecond":
        return (
            _made(f"(({ticks(left)})::HUGEINT - {ticks(right)}) * 100", L)
            if False
            else _made(f"k_wrap((({ticks(left)})::HUGEINT - {ticks(right)}) * 100)", L)
        )
    unit = _UNITS[period]
    if left.ticks or right.ticks or unit < 10:
        return _made(f"({ticks(left)} // {unit} - {ticks(right)} // {unit})", L)
    micro = unit // 10
    a, b = (f"((epoch_us({o.sql}) + 62135596800000000) // {micro})" for o in (left, right))
    return _made(f"({a} - {b})", L)


def _datetime_part(operands: Sequence[Operand]) -> Lowered:
    period = _period(operands[0], 0)
    moment = micros(operands[1])
    whole = ticks(operands[1])
    table = {
        "year": f"year({moment})",
        "quarter": f"quarter({moment})",
        "month": f"month({moment})",
        "week_of_year": f"week({moment})",
        "week": f"week({moment})",
        "day": f"day({moment})",
        "dayofyear": f"dayofyear({moment})",
        "hour": f"hour({moment})",
        "minute": f"minute({moment})",
        "second": f"second({moment})",
        "millisecond": f"({whole} // 10000 % 1000)",
        "microsecond": f"({whole} // 10 % 1000000)",
        "nanosecond": f"({whole} % 10000000 * 100)",
    }
    if period not in table:
        raise FunctionError(f"'{period}' is not a part of a datetime", 0, hint=_periods())
    return _made(f"({table[period]})::BIGINT", L)


def _make_datetime(operands: Sequence[Operand]) -> Lowered:
    if len(operands) == 1:
        from tocsin.kql.functions.conversion import convert

        return convert(operands[0], T)
    values = (
        [o.sql for o in operands[:5]] + ["1", "1", "0", "0"][len(operands) - 1 :]
        if len(operands) < 5
        else [o.sql for o in operands[:5]]
    )
    while len(values) < 5:
        values.append("0")
    second = f"({operands[5].sql})::DOUBLE" if len(operands) > 5 else "0.0::DOUBLE"
    return _made(f"k_make_dt({', '.join(values)}, {second})", T, in_ticks=True)


def _make_timespan(operands: Sequence[Operand]) -> Lowered:
    if len(operands) == 1:
        from tocsin.kql.functions.conversion import convert

        return convert(operands[0], P)
    given = [o.sql for o in operands]
    if len(given) == 2:
        values = ["0", *given, "0"]
    elif len(given) == 3:
        values = ["0", *given]
    else:
        values = given
    return _made(f"k_make_span({', '.join(values[:3])}, ({values[3]})::DOUBLE)", P)


def _unixtime(factor: str, whole: int) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        value = operands[0]
        if value.type in (R, KqlType.DECIMAL):
            return _made(
                f"k_dtr(k_rlong(({value.sql})::DOUBLE * {factor})::HUGEINT + 621355968000000000)", T, in_ticks=True
            )
        if whole >= 10:
            return _made(f"k_us(({value.sql})::HUGEINT * {whole // 10})", T)
        if whole == 1:
            return _made(f"k_dtr(({value.sql})::HUGEINT + 621355968000000000)", T, in_ticks=True)
        return _made(f"k_dtr(({value.sql})::HUGEINT // 100 + 621355968000000000)", T, in_ticks=True)

    return lower


def _zone(to_local: bool) -> Callable[[Sequence[Operand]], Lowered]:
    function = "k_utc_to_local" if to_local else "k_local_to_utc"

    def lower(operands: Sequence[Operand]) -> Lowered:
        moment, zone = operands
        if zone.constant and isinstance(zone.value, str):
            try:
                ZoneInfo(zone.value)
            except (ValueError, OSError, KeyError):
                raise FunctionError(
                    f"'{zone.value}' is not a time zone", 1, hint="Give a name such as 'Europe/Paris'."
                ) from None
            shifted = f"{function}({micros(moment)}, {zone.sql})"
        else:
            # SQL fails for a zone that it does not know.
            shifted = f"k_us(k_zoned(epoch_us({micros(moment)}), {zone.sql}, {'TRUE' if to_local else 'FALSE'}))"
        if moment.ticks:
            return _made(f"k_dtr(k_tk({shifted}) + {moment.sql} % 10)", T, in_ticks=True)
        return _made(f"k_tsr({shifted})", T)

    return lower


# ---------------------------------------------------------------------------------------------- formatting


_SEPARATORS = " /-:,._[]"
"""The only characters that may stand between a format's letters (learn.microsoft.com/kusto/query/format-datetime-function)."""


def datetime_parts(pattern: str, letters: str, separators: str) -> list[tuple[str, int]]:
    """A format's runs of one letter as (letter, length); anything else as (text, 0)."""
    found: list[tuple[str, int]] = []
    i = 0
    while i < len(pattern):
        char = pattern[i]
        if char in letters:
            j = i
            while j < len(pattern) and pattern[j] == char:
                j += 1
            found.append((char, j - i))
            i = j
            continue
        if char not in separators:
            raise FunctionError(
                f"'{char}' can't be used in the format",
                1,
                hint=f"Letters: {' '.join(letters)}. Between them: {' '.join(repr(c) for c in separators)}.",
            )
        found.append((char, 0))
        i += 1
    return found


def _constant_format(operand: Operand) -> str:
    if not (operand.constant and isinstance(operand.value, str)):
        raise FunctionError("the format must be a constant", 1)
    return operand.value


def _split_run(length: int, longest: int) -> list[int]:
    """A run longer than the longest specifier is several of them: ``dddd`` is ``dd`` twice."""
    return [longest] * (length // longest) + ([length % longest] if length % longest else [])


def _format_datetime(operands: Sequence[Operand]) -> Lowered:
    moment, pattern = operands[0], _constant_format(operands[1])
    u, t = micros(moment), ticks(moment)
    pieces: list[str] = []
    longest = {"d": 2, "f": 7, "F": 7, "h": 2, "H": 2, "m": 2, "M": 2, "s": 2, "y": 4, "t": 2}
    for letter, length in datetime_parts(pattern, "dfFhHmMsyt", _SEPARATORS):
        if length == 0:
            pieces.append(text(letter))
            continue
        runs = _split_run(length, longest[letter])
        pieces.extend(_datetime_piece(letter, run, u, t, moment.ticks) for run in runs)
    if not pieces:
        return Lowered("''", S)
    return Lowered(f"coalesce({' || '.join(_merged(pieces))}, '')", S, copies=max(1, len(pieces)))


def _datetime_piece(letter: str, run: int, u: str, t: str, exact: bool) -> str:
    simple = {
        "d": f"day({u})",
        "M": f"month({u})",
        "H": f"hour({u})",
        "m": f"minute({u})",
        "s": f"second({u})",
        "h": f"((hour({u}) + 11) % 12 + 1)",
    }
    if letter in simple:
        return f"k_num2({simple[letter]})" if run == 2 else f"({simple[letter]})::VARCHAR"
    if letter == "y":
        if run in (1, 2):
            return f"k_num2(year({u}) % 100)" if run == 2 else f"(year({u}) % 100)::VARCHAR"
        return f"lpad(year({u})::VARCHAR, 4, '0')"
    if letter == "t":
        return f"CASE WHEN hour({u}) < 12 THEN '{'AM'[:run]}' ELSE '{'PM'[:run]}' END"
    fraction = f"lpad(({t} % 10000000)::VARCHAR, 7, '0')" if exact else f"(strftime({u}, '%f') || '0')"
    cut = f"left({fraction}, {run})"
    return cut if letter == "f" else f"CASE WHEN rtrim({cut}, '0') = '' THEN '' ELSE {cut} END"


def _merged(pieces: list[str]) -> list[str]:
    """Neighbouring literals as one."""
    merged: list[str] = []
    for piece in pieces:
        if merged and piece.startswith("'") and merged[-1].startswith("'"):
            merged[-1] = merged[-1][:-1] + piece[1:]
        else:
            merged.append(piece)
    return merged


def _format_timespan(operands: Sequence[Operand]) -> Lowered:
    span, pattern = operands[0].sql, _constant_format(operands[1])
    size = f"abs(({span})::HUGEINT)"
    units = {
        "d": f"({size} // 864000000000)",
        "h": f"({size} // 36000000000 % 24)",
        "H": f"({size} // 36000000000 % 24)",
        "m": f"({size} // 600000000 % 60)",
        "s": f"({size} // 10000000 % 60)",
    }
    pieces: list[str] = []
    for letter, length in datetime_parts(pattern, "dhHmsfF", _SEPARATORS):
        if length == 0:
            pieces.append(text(letter))
        elif letter in "fF":
            for run in _split_run(length, 7):
                cut = f"left(lpad(({size} % 10000000)::VARCHAR, 7, '0'), {run})"
                pieces.append(cut if letter == "f" else f"CASE WHEN rtrim({cut}, '0') = '' THEN '' ELSE {cut} END")
        elif letter == "d":
            pieces.append(
                f"CASE WHEN length({units['d']}::VARCHAR) >= {length} THEN {units['d']}::VARCHAR ELSE lpad({units['d']}::VARCHAR, {length}, '0') END"
            )
        else:
            pieces.extend(
                f"k_num2({units[letter]})" if run == 2 else f"{units[letter]}::VARCHAR" for run in _split_run(length, 2)
            )
    if not pieces:
        return Lowered("''", S)
    body = " || ".join(_merged(pieces))
    return Lowered(f"coalesce(CASE WHEN ({span}) < 0 THEN '-' ELSE '' END || {body}, '')", S, copies=len(pieces) + 1)


# ---------------------------------------------------------------------------------------------- bins


def _bin(operands: Sequence[Operand]) -> Lowered:
    value, size = operands[0], operands[1]
    if value.type is T:
        return _bin_datetime(value, size)
    if value.type is P or (value.type in (L, I) and size.type in (L, I, P)):
        kind = P if value.type is P or size.type is P else L
        if size.type in (R, KqlType.DECIMAL):
            return _made(f"k_rlong(k_rbin(({value.sql})::DOUBLE, ({size.sql})::DOUBLE))", kind)
        if size.constant and isinstance(size.value, int) and 0 < size.value < 1 << 62:
            width = size.value
            v = f"({value.sql})::BIGINT"
            return Lowered(f"try({v} - (({v} % {width} + {width}) % {width}))", kind, copies=2)
        return _made(f"k_lbin({value.sql}, {size.sql})", kind)
    if value.type is KqlType.DECIMAL and size.type is not R:
        return _made(
            f"try_cast(k_rbin(({value.sql})::DOUBLE, ({size.sql})::DOUBLE) AS DECIMAL(38,17))", KqlType.DECIMAL
        )
    return _made(f"k_rbin(({value.sql})::DOUBLE, ({size.sql})::DOUBLE)", R)


_PARTS = {1_000_000: "second", 60_000_000: "minute", 3_600_000_000: "hour"}
"""Widths in microseconds that the engine's date_trunc knows; it is faster than arithmetic."""


def _bin_datetime(value: Operand, size: Operand) -> Lowered:
    if size.type in (L, I) and size.constant and isinstance(size.value, int):
        # A bare number is days, as in timespan(1).
        size = Operand(f"{size.value * 864000000000}::BIGINT", P, True, size.value * 864000000000)
    if size.type is not P:
        raise FunctionError("a datetime is rounded to a timespan", 1)
    if not value.ticks and size.constant and isinstance(size.value, int) and size.value % 10 == 0:
        if size.value <= 0:
            return Lowered("NULL::TIMESTAMP", T)
        width = size.value // 10
        if width > 315537897600000000:
            return Lowered(f"CASE WHEN ({value.sql}) IS NOT NULL THEN TIMESTAMP '0001-01-01' END", T)
        u = f"epoch_us({value.sql})"
        part = _PARTS.get(width)
        if part is not None:
            return Lowered(f"date_trunc('{part}', {value.sql})", T)
        return Lowered(f"make_timestamp({u} - ({u} + 62135596800000000) % {width})", T, copies=2)
    return _made(f"k_bint({ticks(value)}, {size.sql})", T, in_ticks=True)


def _bin_at(operands: Sequence[Operand]) -> Lowered:
    value, size, fixed = operands
    if value.type is T:
        if fixed.type is not T or size.type is not P:
            raise FunctionError("a datetime is rounded to a timespan from a datetime", 2)
        return _made(f"k_dtr(k_bin_at({ticks(value)}, {size.sql}, {ticks(fixed)}))", T, in_ticks=True)
    if value.type is P:
        if fixed.type not in (P, L, I) or size.type not in (P, L, I):
            raise FunctionError("a timespan is rounded to a timespan from a timespan", 2)
        return _made(f"k_bin_at({value.sql}, {size.sql}, {fixed.sql})", P)
    if not all(o.type.is_numeric for o in operands):
        raise FunctionError("a number is rounded to a number from a number", 1)
    if all(o.type in (L, I) for o in operands):
        return _made(f"k_bin_at({value.sql}, {size.sql}, {fixed.sql})", L)
    a, b, c = (f"({o.sql})::DOUBLE" for o in operands)
    return _made(f"k_bin_atr({a}, {b}, {c})", R)


_PERIODS = (
    ("day", "k_start_dayu", "k_end_day", "2017-01-01T00:00:00.0000000Z", "2017-01-01T23:59:59.9999999Z"),
    ("week", "k_start_weeku", "k_end_week", "2017-01-01T00:00:00.0000000Z", "2017-01-07T23:59:59.9999999Z"),
    ("month", "k_start_monthu", "k_end_month", "2017-01-01T00:00:00.0000000Z", "2017-01-31T23:59:59.9999999Z"),
    ("year", "k_start_yearu", "k_end_year", "2017-01-01T00:00:00.0000000Z", "2017-12-31T23:59:59.9999999Z"),
)

FUNCTIONS: tuple[ScalarFunction, ...] = (
    *(
        scalar(
            f"startof{p}(date: datetime, offset: long?)",
            T,
            _start(start),
            f"The start of the {p}, moved by `offset` {p}s.{' Weeks start on Sunday.' if p == 'week' else ''}",
            f"startof{p}(datetime(2017-01-01 10:10:17)) => {a}",
            group=_GROUP,
        )
        for p, start, _, a, _b in _PERIODS
    ),
    *(
        scalar(
            f"endof{p}(date: datetime, offset: long?)",
            T,
            _end(end),
            f"The last tick of the {p}, moved by `offset` {p}s.{' Weeks start on Sunday.' if p == 'week' else ''}",
            f"endof{p}(datetime(2017-01-01 10:10:17)) => {b}",
            group=_GROUP,
        )
        for p, _, end, _a, b in _PERIODS
    ),
    scalar(
        "dayofweek(date: datetime)",
        P,
        _part("k_dow({0})", P),
        "The timespan from the preceding Sunday, in whole days.",
        "dayofweek(datetime(2020-06-15 13:45:00)) => 1.00:00:00",
        group=_GROUP,
    ),
    scalar(
        "dayofmonth(date: datetime)",
        I,
        _part("day({0})::INTEGER", I),
        "The day of the month.",
        "dayofmonth(datetime(2015-12-14)) => 14",
        group=_GROUP,
    ),
    scalar(
        "dayofyear(date: datetime)",
        I,
        _part("dayofyear({0})::INTEGER", I),
        "The day of the year.",
        "dayofyear(datetime(2015-12-14)) => 348",
        group=_GROUP,
    ),
    scalar(
        "hourofday(date: datetime)",
        I,
        _part("hour({0})::INTEGER", I),
        "The hour, 0 to 23.",
        "hourofday(datetime(2015-12-14 18:54)) => 18",
        group=_GROUP,
    ),
    scalar(
        "minuteofhour(date: datetime)",
        I,
        _part("minute({0})::INTEGER", I),
        "The minute, 0 to 59.",
        "minuteofhour(datetime(2015-12-14 18:54)) => 54",
        group=_GROUP,
    ),
    scalar(
        "secondofminute(date: datetime)",
        I,
        _part("second({0})::INTEGER", I),
        "The second, 0 to 59.",
        "secondofminute(datetime(2015-12-14 18:54:07)) => 7",
        group=_GROUP,
    ),
    scalar(
        "getyear(date: datetime)",
        I,
        _part("year({0})::INTEGER", I),
        "The year.",
        "getyear(datetime(2015-10-12)) => 2015",
        group=_GROUP,
    ),
    scalar(
        "monthofyear(date: datetime)",
        I,
        _part("month({0})::INTEGER", I),
        "The month, 1 to 12.",
        "monthofyear(datetime(2015-12-14)) => 12",
        "getmonth(datetime(2015-10-12)) => 10",
        group=_GROUP,
        aliases=("getmonth",),
    ),
    scalar(
        "week_of_year(date: datetime)",
        I,
        _part("week({0})::INTEGER", I),
        "The ISO 8601 week of the year.",
        "week_of_year(datetime(2020-12-31)) => 53",
        "weekofyear(datetime(2019-01-01)) => 1",
        group=_GROUP,
        aliases=("weekofyear",),
    ),
    scalar(
        "datetime_add(period: string, amount: long, date: datetime)",
        T,
        _add,
        "The datetime moved by a number of periods. " + "Month ends stay month ends.",
        "datetime_add('year', 1, datetime(2020-02-29)) => 2021-02-28T00:00:00.0000000Z",
        "datetime_add('quarter', -5, datetime(2020-05-31)) => 2019-02-28T00:00:00.0000000Z",
        "datetime_add('day', 400, datetime(2020-01-01)) => 2021-02-04T00:00:00.0000000Z",
        group=_GROUP,
    ),
    scalar(
        "datetime_diff(period: string, date1: datetime, date2: datetime)",
        L,
        _diff,
        "How many borders of the period lie between; positive when `date1` is later.",
        "datetime_diff('year', datetime(2017-01-01), datetime(2000-12-31)) => 17",
        "datetime_diff('week', datetime(2017-10-29 23:00), datetime(2017-10-15 23:59)) => 2",
        "datetime_diff('hour', datetime(2017-10-31 01:00), datetime(2017-10-30 23:59)) => 2",
        "datetime_diff('nanosecond', datetime(2020-01-01 00:00:00.0000002), datetime(2020-01-01)) => 200",
        group=_GROUP,
    ),
    scalar(
        "datetime_part(part: string, date: datetime)",
        L,
        _datetime_part,
        "A part of the datetime as a number: year, quarter, month, week_of_year, day, dayofyear, hour … nanosecond.",
        "datetime_part('year', datetime(2017-10-30 01:02:03.7654321)) => 2017",
        "datetime_part('week_of_year', datetime(2017-10-30)) => 44",
        "datetime_part('microsecond', datetime(2017-10-30 01:02:03.7654321)) => 765432",
        group=_GROUP,
        aliases=("datepart",),
    ),
    scalar(
        "make_datetime(year: long|string|any, month: long?, day: long?, hour: long?, minute: long?, second: real|long?)",
        T,
        _make_datetime,
        "A datetime of its parts; null when they make none.",
        "make_datetime(2017,10,01,12,11,0.1234567) => 2017-10-01T12:11:00.1234567Z",
        "make_datetime(2020, 6, 15) => 2020-06-15T00:00:00.0000000Z",
        "make_datetime(2021, 13, 1) => (empty)",
        group=_GROUP,
    ),
    scalar(
        "make_timespan(day: long|any, hour: long?, minute: long?, second: real|long?)",
        P,
        _make_timespan,
        "A timespan of its parts: (hours, minutes), (hours, minutes, seconds) or (days, hours, minutes, seconds).",
        "make_timespan(1,12,30,55.123) => 1.12:30:55.1230000",
        "make_timespan(2, 30) => 02:30:00",
        "make_timespan(25, 70) => (empty)",
        group=_GROUP,
    ),
    *(
        scalar(
            f"unixtime_{unit}_todatetime(value: number)",
            T,
            _unixtime(factor, whole),
            f"The datetime that is so many {unit} after 1970-01-01.",
            f"unixtime_{unit}_todatetime({given}) => 2019-05-20T00:00:00.0000000Z",
            group=_GROUP,
        )
        for unit, factor, whole, given in (
            ("seconds", "1e7", 10000000, "1558310400"),
            ("milliseconds", "1e4", 10000, "1558310400000"),
            ("microseconds", "10", 10, "1558310400000000"),
            ("nanoseconds", "0.01", 0, "1558310400000000000"),
        )
    ),
    scalar(
        "datetime_utc_to_local(from: datetime, timezone: string)",
        T,
        _zone(to_local=True),
        "The local time in an IANA time zone.",
        "datetime_utc_to_local(datetime(2022-07-11 22:00), 'Europe/Paris') => 2022-07-12T00:00:00.0000000Z",
        group=_GROUP,
    ),
    scalar(
        "datetime_local_to_utc(from: datetime, timezone: string)",
        T,
        _zone(to_local=False),
        "The UTC time of a local time in an IANA time zone.",
        "datetime_local_to_utc(datetime(2020-02-02 20:02:20), 'Europe/Paris') => 2020-02-02T19:02:20.0000000Z",
        group=_GROUP,
    ),
    scalar(
        "format_datetime(date: datetime, format: string)",
        S,
        _format_datetime,
        "The datetime in a format of d, dd, f…, F…, h, hh, H, HH, m, mm, M, MM, s, ss, tt, yy, yyyy; other characters stand for themselves.",
        "format_datetime(datetime(2020-06-15 13:45:09.123), 'yyyy-MM-dd HH:mm:ss.fff') => 2020-06-15 13:45:09.123",
        "format_datetime(datetime(2020-06-15 13:45:09), 'M/d/yyyy h:mm:ss tt') => 6/15/2020 1:45:09 PM",
        "format_datetime(datetime(2020-06-15 13:45:09.0000007), 'FFFFFFF') => 0000007",
        group=_GROUP,
    ),
    scalar(
        "format_timespan(value: timespan, format: string)",
        S,
        _format_timespan,
        "The timespan in a format of d…, h, hh, m, mm, s, ss, f…, F…; other characters stand for themselves.",
        "format_timespan(time(1.02:03:04.5670000), 'dd.hh:mm:ss.fffffff') => 01.02:03:04.5670000",
        "format_timespan(-90s, 'mm:ss') => -01:30",
        group=_GROUP,
    ),
    scalar(
        "bin(value: number|datetime|timespan, roundTo: number|timespan)",
        None,
        _bin,
        "The value rounded down to a multiple; datetimes count from 0001-01-01.",
        "bin(4.5, 1) => 4.0",
        "bin(-5, 2) => -6",
        "bin(16d, 7d) => 14.00:00:00",
        "bin(datetime(1955-11-05), 7d) => 1955-10-31T00:00:00.0000000Z",
        "bin(7, 0) => (empty)",
        group="Rounding",
        aliases=("floor",),
    ),
    scalar(
        "bin_at(value: number|datetime|timespan, size: number|timespan, fixed: number|datetime|timespan)",
        None,
        _bin_at,
        "The value rounded down to a multiple counted from a fixed point.",
        "bin_at(6.5, 2.5, 7) => 4.5",
        "bin_at(datetime(2017-05-15 10:20:00), 1d, datetime(1970-01-01 12:00:00)) => 2017-05-14T12:00:00.0000000Z",
        group="Rounding",
    ),
)
