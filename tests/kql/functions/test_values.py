"""Texts of values and their parsers: what one prints the other reads."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kql.functions.harness import engine
from tocsin.kql import values
from tocsin.kql.types import KqlType

TICKS = st.integers(0, values.MAX_TICKS)
SPANS = st.integers(-(1 << 63), (1 << 63) - 1)


@given(TICKS)
def test_datetimes_come_back(ticks: int) -> None:
    assert values.parse_datetime(values.datetime_text(ticks)) == ticks


@given(SPANS)
def test_timespans_come_back(ticks: int) -> None:
    assert values.parse_timespan(values.timespan_text(ticks)) == ticks


@given(st.floats())
def test_reals_come_back(value: float) -> None:
    found = values.parse_double(values.real_text(value))
    assert found is not None
    assert found == value or (math.isnan(found) and math.isnan(value))


@given(st.text())
def test_parsers_take_any_text(text: str) -> None:
    for parse in (values.parse_datetime, values.parse_timespan, values.parse_long, values.parse_double):
        parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2014-05-25T08:20:03.123456Z", "2014-05-25T08:20:03.1234560Z"),
        ("2014-11-08 15:55", "2014-11-08T15:55:00.0000000Z"),
        ("2014-11-08T15:55:55+02:00", "2014-11-08T13:55:55.0000000Z"),
        ("Sat, 8 Nov 2014 15:05:02 GMT", "2014-11-08T15:05:02.0000000Z"),
        ("Saturday, 08-Nov-14 15:05:02 UTC", "2014-11-08T15:05:02.0000000Z"),
        ("Sat Nov 8 15:05:02 2014", "2014-11-08T15:05:02.0000000Z"),
        ("02/17/2016 08:40:01", "2016-02-17T08:40:01.0000000Z"),
        ("2/7/2016 8:40:01 PM", "2016-02-07T20:40:01.0000000Z"),
        ("20200101T101010Z", "2020-01-01T10:10:10.0000000Z"),
        ("2020", None),
        ("2020-06", None),
        ("2020-02-30", None),
        ("not a date", None),
    ],
)
def test_spellings_of_datetimes(text: str, expected: str | None) -> None:
    found = values.parse_datetime(text)
    assert (None if found is None else values.datetime_text(found)) == expected


@pytest.mark.parametrize(
    ("kind", "physical", "ticks", "expected"),
    [
        (KqlType.STRING, None, False, ""),
        (KqlType.LONG, None, False, None),
        (KqlType.DATETIME, datetime(2020, 1, 1, 0, 0, 0, 1), False, "2020-01-01T00:00:00.0000010Z"),  # noqa: DTZ001
        (KqlType.DATETIME, 1, True, "0001-01-01T00:00:00.0000001Z"),
        (KqlType.TIMESPAN, 937845670000, False, "1.02:03:04.5670000"),
        (KqlType.REAL, math.nan, False, "NaN"),
        (KqlType.REAL, -math.inf, False, "-Infinity"),
        (KqlType.DECIMAL, Decimal("1.50"), False, "1.5"),
        (KqlType.DYNAMIC, '{"b":1,"a":[2]}', False, {"b": 1, "a": [2]}),
        (KqlType.BOOL, True, False, True),
    ],
)
def test_rest_values(kind: KqlType, physical: object, ticks: bool, expected: object) -> None:
    assert values.python_value(kind, physical, ticks) == expected


@given(TICKS)
def test_engine_prints_datetimes_alike(ticks: int) -> None:
    assert engine().execute("SELECT k_textt(?::BIGINT)", [ticks]).fetchone() == (values.datetime_text(ticks),)


@given(SPANS)
def test_engine_prints_timespans_alike(ticks: int) -> None:
    assert engine().execute("SELECT k_spantext(?::BIGINT)", [ticks]).fetchone() == (values.timespan_text(ticks),)


@given(st.floats(allow_nan=False, min_value=-1e15, max_value=1e15))
def test_engine_prints_reals_alike(value: float) -> None:
    assert engine().execute("SELECT k_rstr(?::DOUBLE)", [value]).fetchone() == (values.real_text(value),)


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_engine_reads_longs_alike(text: str) -> None:
    assert engine().execute("SELECT k_slong(?)", [text]).fetchone() == (values.parse_long(text),)


@given(st.text(alphabet="0123456789+-.eExXaF \tinfNa", max_size=12))
def test_engine_reads_numbers_alike(text: str) -> None:
    row = engine().execute("SELECT k_slong(?), k_sdouble(?)", [text, text]).fetchone()
    assert row is not None
    assert row[0] == values.parse_long(text)
    expected = values.parse_double(text)
    assert row[1] == expected or (math.isnan(row[1]) and expected is not None and math.isnan(expected))


@given(st.text(alphabet="0123456789-T:.Z/ +APM", max_size=30))
def test_engine_reads_datetimes_alike(text: str) -> None:
    assert engine().execute("SELECT k_sdt(?)", [text]).fetchone() == (values.parse_datetime(text),)
