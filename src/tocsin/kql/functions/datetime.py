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
from tocsin.kql.functions.sql import micros, ticks
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS", "made"]

L, R, T, P = KqlType.LONG, KqlType.REAL, KqlType.DATETIME, KqlType.TIMESPAN
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


def made(sql: str, kind: KqlType, *, in_ticks: bool = False) -> Lowered:
    """SQL that names its operands as often as its text shows."""
    return Lowered(sql, kind, in_ticks, text_copies(sql))


def _start(macro: str) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        offset = operands[1].sql if len(operands) > 1 else "0"
        return made(f"{macro}({micros(operands[0])}, {offset})", T)

    return lower


def _end(macro: str) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        offset = operands[1].sql if len(operands) > 1 else "0"
        return made(f"{macro}({micros(operands[0])}, {offset})", T, in_ticks=True)

    return lower


def _part(sql: str, kind: KqlType) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        return made(sql.replace("{0}", micros(operands[0])), kind)

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
            return made(f"k_addm({moment.sql}, {months})", T)
        return made(f"k_dtr(k_tk(k_addm({micros(moment)}, {months})) + {moment.sql} % 10)", T, in_ticks=True)
    if period not in _UNITS:
        raise FunctionError(f"'{period}' is not a period", 0, hint=_periods())
    unit = _UNITS[period]
    if period == "nanosecond":
        return made(f"k_dtr({ticks(moment)} + ({amount})::HUGEINT // 100)", T, in_ticks=True)
    if not moment.ticks:
        return made(f"k_us(epoch_us({moment.sql}) + ({amount})::HUGEINT * {unit // 10})", T)
    return made(f"k_dtr({moment.sql} + ({amount})::HUGEINT * {unit})", T, in_ticks=True)


def _periods() -> str:
    return "Periods: year, quarter, month, week, day, hour, minute, second, millisecond, microsecond, nanosecond."


def _diff(operands: Sequence[Operand]) -> Lowered:
    period, left, right = _period(operands[0], 0), operands[1], operands[2]
    if period in _CALENDAR:
        a, b = micros(left), micros(right)
        return made(f"date_diff('{period}', {b}, {a})", L)
    if period not in _UNITS:
        raise FunctionError(f"'{period}' is not a period", 0, hint=_periods())
    if period == "week":
        return made(f"(k_week({micros(left)}) - k_week({micros(right)}))", L)
    if period == "nanosecond":
        return (
            made(f"(({ticks(left)})::HUGEINT - {ticks(right)}) * 100", L)
            if False
            else made(f"k_wrap((({ticks(left)})::HUGEINT - {ticks(right)}) * 100)", L)
        )
    unit = _UNITS[period]
    if left.ticks or right.ticks or unit < 10:
        return made(f"({ticks(left)} // {unit} - {ticks(right)} // {unit})", L)
    micro = unit // 10
    a, b = (f"((epoch_us({o.sql}) + 62135596800000000) // {micro})" for o in (left, right))
    return made(f"({a} - {b})", L)


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
    return made(f"({table[period]})::BIGINT", L)


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
    return made(f"k_make_dt({', '.join(values)}, {second})", T, in_ticks=True)


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
    return made(f"k_make_span({', '.join(values[:3])}, ({values[3]})::DOUBLE)", P)


def _unixtime(factor: str, whole: int) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        value = operands[0]
        if value.type in (R, KqlType.DECIMAL):
            return made(
                f"k_dtr(k_rlong(({value.sql})::DOUBLE * {factor})::HUGEINT + 621355968000000000)", T, in_ticks=True
            )
        if whole >= 10:
            return made(f"k_us(({value.sql})::HUGEINT * {whole // 10})", T)
        if whole == 1:
            return made(f"k_dtr(({value.sql})::HUGEINT + 621355968000000000)", T, in_ticks=True)
        return made(f"k_dtr(({value.sql})::HUGEINT // 100 + 621355968000000000)", T, in_ticks=True)

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
            return made(f"k_dtr(k_tk({shifted}) + {moment.sql} % 10)", T, in_ticks=True)
        return made(f"k_tsr({shifted})", T)

    return lower


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
)
