"""Whatever foreign clients send: parsers of their requests give an answer or a foreseen error, and the server never a 500."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import Served
from tocsin.api.kusto.tokens import read_command
from tocsin.api.loganalytics.asked import preferences_of, window_of
from tocsin.base.errors import QueryError, UsageError
from tocsin.query import Limits, QuerySettings, read_options, read_parameters

NOW = datetime(2026, 11, 2, tzinfo=UTC)
MOST = QuerySettings().most(["Reader"])
NAMES = st.sampled_from(
    [
        "servertimeout", "norequesttimeout", "notruncation", "truncationmaxrecords", "truncationmaxsize", "query_take_max_records",
        "query_datetimescope_from", "query_datetimescope_to", "query_datetimescope_column", "query_now", "deferpartialqueryfailures",
        "results_error_reporting_placement", "results_progressive_enabled", "query_results_progressive_row_count", "query_language",
        "max_memory_consumption_per_query_per_node", "request_app_name", "anything",
    ]
)  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.lists(st.integers(), max_size=2),
    st.sampled_from(["5m", "00:04:00", "1 day, 0:00:00", "time(5m)", "datetime(2026-01-01)", "true", "10", "in_data", "TimeGenerated"]),
)  # fmt: skip


@given(st.one_of(st.text(), st.text(alphabet=".|'\"@[]()\\,;= \nshowtablesx*")))
def test_commands(text: str) -> None:
    with suppress(UsageError):
        command = read_command("." + text)
        assert ("." + text)[command.pipe_at :].startswith(command.pipe)


@given(st.lists(st.text(alphabet=st.characters(blacklist_characters="\x00\n"), min_size=1), min_size=1, max_size=3))
def test_quoted_names_come_through_whole(names: list[str]) -> None:
    escaped = [n.replace("\\", "\\\\").replace("'", "\\'") for n in names]
    command = read_command(".show tables (" + ", ".join(f"['{n}']" for n in escaped) + ") | count")
    assert [w.text for w in command.words if w.name] == names
    assert command.pipe == "| count"


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_request_properties_are_bounded_or_refused(given_: dict[str, Any]) -> None:
    with suppress(QueryError):
        found = read_options("print 1", given_, base=MOST, most=MOST)
        limits: Limits = found.limits
        assert limits.rows is not None
        assert limits.rows >= 1
        assert limits.seconds is not None
        assert limits.seconds > 0
        assert found.progressive_rows >= 1


@given(st.integers(min_value=1, max_value=10**7))
def test_a_timeout_means_the_same_in_every_form(seconds: int) -> None:
    span = timedelta(seconds=seconds)
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    for value in (str(span), f"{days}.{clock}", f"{seconds}s", f"time({seconds}s)"):
        found = read_options("print 1", {"servertimeout": value}, base=MOST, most=MOST)
        assert found.limits.seconds == seconds, value
    assert read_options(f"set servertimeout={seconds}s; print 1", {}, base=MOST, most=MOST).limits.seconds == seconds


@given(st.text(max_size=40), st.text(max_size=40))
def test_query_parameters(name: str, value: str) -> None:
    with suppress(QueryError):
        read_parameters(
            "declare query_parameters(a:string, b:long, c:datetime); print 1",
            {name: value, "a": value, "b": value, "c": value},
        )


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=40))
def test_a_string_parameter_without_quotes_is_itself(value: str) -> None:
    if value.strip()[:1] not in ("'", '"', "@", "h", "H"):
        assert read_parameters("declare query_parameters(a:string); print a", {"a": value}) == {"a": value}


@given(st.one_of(st.text(max_size=40), st.text(alphabet="PTDHMSWY0123456789./-:Z", max_size=40)))
def test_time_spans(text: str) -> None:
    with suppress(UsageError):
        window = window_of(text, NOW)
        assert window.start is not None
        assert window.end is not None


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3000)))
def test_durations(span: timedelta) -> None:
    assert window_of(f"PT{span.total_seconds()!r}S" if span.total_seconds() >= 1 else "PT1S", NOW).end == NOW


@given(st.text(max_size=60))
def test_preferences(text: str) -> None:
    with suppress(UsageError):
        assert (preferences_of(text).wait or 1) > 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "csl": st.one_of(JSON, st.sampled_from(["print 1", ".show tables | count", ".show queries", ".x", ""])),
        "db": st.one_of(JSON, st.just("tocsin")),
        "properties": st.one_of(
            JSON, st.fixed_dictionaries({"Options": st.dictionaries(NAMES, JSON, max_size=3), "Parameters": JSON})
        ),
        "query": st.one_of(JSON, st.just("print 1")),
        "timespan": st.one_of(JSON, st.just("PT1H")),
        "workspaces": JSON,
        "requests": st.one_of(
            JSON,
            st.lists(st.fixed_dictionaries({"id": JSON, "body": JSON, "headers": JSON, "workspace": JSON}), max_size=2),
        ),
    },
)


@pytest.fixture(scope="module")
def client(served: Served) -> Any:
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.token()}"}, timeout=30) as made:
        yield made


@given(
    path=st.sampled_from(
        ["/v1/rest/query", "/v2/rest/query", "/v1/rest/mgmt", "/v1/workspaces/tocsin/query", "/v1/$batch"]
    ),
    body=st.one_of(BODIES.map(lambda b: json.dumps(b).encode()), st.binary(max_size=40)),
)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_is_answered_by_a_server_error(client: httpx.Client, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"Prefer": "wait=5"})
    assert answer.status_code in (200, 400, 404, 413), answer.text
    found = answer.json()
    if answer.status_code != 200:
        assert {"code", "message"} <= found["error"].keys()
