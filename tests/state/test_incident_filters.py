"""The queue's filters that take several values."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from tests.incidents.test_correlate import T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.base.errors import UsageError
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.life import Actor
from tocsin.state import IncidentFilter, IncidentRow, NotFoundError, State, incident_marks, incidents
from tocsin.state.incident_cursor import BY
from tocsin.tables import Entity


@pytest.mark.parametrize(
    ("owner", "tag", "wanted"),
    [
        ("ann", "", {1}),
        ("none", "", {3}),
        ("ann,none", "", {1, 3}),
        ("ann,bob", "", {1, 2}),
        ("", "vip,lab", {1, 2}),
        ("bob", "vip", set()),
        ("", "Report: mail, then files", {3}),
        ("", "vip,Report: mail, then files", {1}),
    ],
)
def test_owner_and_tag_take_several(tmp_path: Path, owner: str, tag: str, wanted: set[int]) -> None:
    state = State.open(tmp_path / "state.db", clock=ManualClock(T0))
    desk = IncidentDesk(state)
    desk.add([alert("a", 0, WS1), alert("b", 1, WS2), alert("c", 2, Entity.host("ws3.contoso.com"))])
    by_number = {i["number"]: i["id"] for i in desk.page(limit=10, offset=0)["items"]}
    with state.write() as unit:
        for number, name, label in ((1, "ann", "vip"), (2, "bob", "lab")):
            row = unit.incidents.require(by_number[number])
            unit.incidents.put(replace(row, owner=name))
            unit.incidents.set_tags(row.id, [label], by="test")
        unit.incidents.set_tags(by_number[3], ["Report: mail, then files"], by="test")
    found = desk.page(owner=owner, tag=tag, limit=10, offset=0)
    assert {i["number"] for i in found["items"]} == wanted
    state.close()


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({"classification": "TruePositive"}, {1}),
        ({"classification": "none"}, {3}),
        ({"classification": "none,FalsePositive"}, {2, 3}),
        ({"since": T0 + timedelta(minutes=10)}, {2, 3}),
        ({"until": T0 + timedelta(minutes=10)}, {1, 2}),
        ({"since": T0 + timedelta(minutes=1), "until": T0 + timedelta(minutes=19)}, {2}),
        ({"since": T0 + timedelta(minutes=1), "text": "ws3", "classification": "none"}, {3}),
        ({"since": T0 + timedelta(minutes=21)}, set()),
    ],
)
def test_classification_and_the_time_of_the_last_event(
    tmp_path: Path, wanted: dict[str, Any], numbers: set[int]
) -> None:
    state = State.open(tmp_path / "state.db", clock=ManualClock(T0))
    desk = IncidentDesk(state)
    hosts = (WS1, WS2, Entity.host("ws3.contoso.com"))
    desk.add([alert(f"a{n}", 10 * n, host) for n, host in enumerate(hosts)])
    by_number = {i["number"]: i["id"] for i in desk.page()["items"]}
    with state.write() as unit:
        for number, verdict in ((1, "TruePositive"), (2, "FalsePositive")):
            unit.incidents.put(replace(unit.incidents.require(by_number[number]), classification=verdict))
    page = desk.page(**wanted)
    assert {i["number"] for i in page["items"]} == numbers
    assert page["total"] == sum(page["counts"]["status"].values()) == len(numbers)
    state.close()


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IncidentDesk]:
    """Incidents with many ties: of two severities, at three times."""
    state = State.open(tmp_path_factory.mktemp("queue") / "state.db", clock=ManualClock(T0))
    desk = IncidentDesk(state)
    several = [
        alert(f"r{n}", n % 3, Entity.host(f"ws{n:02}.contoso.com"), severity=("High", "Medium")[n % 2])
        for n in range(20)
    ]
    desk.add(several)
    with state.write() as unit:
        unit.users.add("ann", "ann", "x", ["Responder"])
    yield desk
    state.close()


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort", ["priority", "last", "first", "severity", "title", "number", "updated", "status"])
def test_pages_that_follow_an_incident_are_those_by_counting(queue: IncidentDesk, sort: str, descending: bool) -> None:
    wanted = [i["id"] for i in queue.page(sort=sort, descending=descending, limit=50)["items"]]
    assert len(set(wanted)) == 20
    found: list[str] = []
    while page := queue.page(sort=sort, descending=descending, limit=3, after=found[-1] if found else "")["items"]:
        found.extend(i["id"] for i in page)
    assert found == wanted
    with pytest.raises(NotFoundError):
        queue.page(sort=sort, after="inc_none")
    found, more = [], ""
    while True:
        page = queue.page(sort=sort, descending=descending, limit=3, after=more)
        found.extend(i["id"] for i in page["items"])
        if not (more := page["next"]):
            break
    assert found == wanted


def test_pages_lose_nothing_when_what_they_ended_with_changes(tmp_path: Path) -> None:
    state = State.open(tmp_path / "state.db", clock=ManualClock(T0))
    desk = IncidentDesk(state)
    desk.add([alert(f"r{n}", n, Entity.host(f"ws{n:02}.contoso.com"), severity="High") for n in range(12)])
    found: list[str] = []
    more = ""
    while True:
        page = desk.page(limit=3, after=more)
        found.extend(i["id"] for i in page["items"])
        if not (more := page["next"]):
            break
        with state.write() as unit:
            desk.change(unit, found[-1], {"severity": "Informational"}, actor=Actor("anna"))
            desk.change(unit, found[-3], {"status": "Resolved"}, actor=Actor("anna"))
    assert len(found) >= 12
    assert len(set(found)) == 12
    state.close()


@given(
    st.one_of(
        st.text(max_size=40),
        st.binary(max_size=40).map(lambda b: base64.urlsafe_b64encode(b).decode()),
        st.recursive(
            st.none()
            | st.integers()
            | st.floats()
            | st.text(max_size=5)
            | st.sampled_from(["priority", "title", "last"]),
            lambda inner: st.lists(inner, max_size=5),
            max_leaves=8,
        ).map(lambda v: base64.urlsafe_b64encode(json.dumps(v).encode()).decode()),
        st.tuples(
            st.sampled_from(["priority", "title", "last"]),
            st.integers() | st.text(max_size=5) | st.just(T0.isoformat()),
            st.just(T0.isoformat()) | st.text(max_size=5),
            st.integers() | st.none(),
        ).map(lambda v: base64.urlsafe_b64encode(json.dumps(v).encode()).decode()),
    ),
    st.sampled_from(["priority", "title", "last"]),
)
def test_a_place_that_is_none_is_refused(queue: IncidentDesk, text: str, sort: str) -> None:
    try:
        found = queue.page(sort=sort, after="~" + text)
    except UsageError as refused:
        assert refused.code == "INC0007"  # noqa: PT017
    else:
        assert len(found["items"]) <= 20


def test_counts_are_of_what_the_other_filters_leave(queue: IncidentDesk) -> None:
    page = queue.page(severities=("High",), statuses=("New",), limit=3)
    assert (page["total"], len(page["items"])) == (10, 3)
    assert page["counts"] == {"status": {"New": 10}, "severity": {"High": 10, "Medium": 10}, "owner": {"": 10}}
    assert queue.page(owner="ann")["counts"]["owner"] == {"": 20}
    assert queue.page(text="ws07")["counts"]["severity"] == {"Medium": 1}


FILTERS = st.fixed_dictionaries(
    {
        "statuses": st.sampled_from([(), ("New", "InProgress"), ("Resolved",), ("New", "Redirected")]),
        "severities": st.sampled_from([(), ("High",), ("Low", "Medium")]),
        "owner": st.sampled_from(["", "ann", "none", "ann,none", "nobody there"]),
        "classification": st.sampled_from(["", "TruePositive", "none"]),
        "tag": st.sampled_from(["", "vip", "lab,vip", "never"]),
        "tactics": st.sampled_from([(), ("Execution",), ("Impact", "Execution"), ("Persistence",)]),
        "products": st.sampled_from([(), ("Sysmon",)]),
        "text": st.sampled_from(["", "contoso", "ws1", "contoso zz", "zz", "#7"]),
        "since": st.sampled_from([None, T0 + timedelta(hours=5)]),
        "until": st.sampled_from([None, T0 + timedelta(hours=9)]),
    }
)
SORTS = ("priority", "last", "first", "severity", "title", "number", "updated", "status")


class Varied:
    def __init__(self, state: State, rows: list[IncidentRow]) -> None:
        self.state, self.rows = state, rows


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Varied]:
    """Incidents of which many differ from each other in each way that the queue filters and sorts by, some of them hidden or merged."""
    state = State.open(tmp_path_factory.mktemp("varied") / "state.db", clock=ManualClock(T0))
    rows = []
    for n in range(1, 60):
        severity = ("Informational", "Low", "Medium", "High")[n % 4]
        moment = T0 + timedelta(hours=n % 12)
        texts = [f"#{n}", "contoso" if n % 3 else "fabrikam", f"ws{n % 5}", "zz" if n % 7 == 0 else ""]
        rows.append(
            IncidentRow(
                id=f"inc{n}", number=n if n % 11 else None, title=f"{'AbcXyz'[n % 6]} title {'x' * (n % 3) * 150}{n % 4}", severity=severity,
                severity_rank=n % 4, priority=n % 6, status=("New", "New", "InProgress", "Resolved", "Redirected")[n % 5],
                owner=("ann", None, "bob")[n % 3], classification=(None, "TruePositive", "FalsePositive", None)[n % 4], determination=None,
                first=moment, last=moment, created=T0, updated=T0 + timedelta(minutes=n % 9), alert_count=1, severity_override=None,
                title_override=None, redirect_to=None, promoted=bool(n % 11), search="\n".join(texts),
                payload={"tactics": [t for t, every in (("Execution", 2), ("Impact", 3)) if n % every == 0], "products": ["Sysmon"] if n % 5 else []},
                tags=tuple(t for t, every in (("vip", 4), ("lab", 5)) if n % every == 0),
            )
        )  # fmt: skip
    with state.write() as unit:
        for row in rows:
            unit.incidents.put(row)
            unit.incidents.set_tags(row.id, row.tags, by="test")
    yield Varied(state, rows)
    state.close()


@pytest.mark.parametrize("bounds", [(5_000, 20_000), (5_000, 0), (5, 0), (0, 0)])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=FILTERS, sort=st.sampled_from(SORTS), descending=st.booleans(), offset=st.integers(0, 8))
def test_however_few_are_left_a_page_is_what_was_asked_for(
    varied: Varied,
    bounds: tuple[int, int],
    asked: dict[str, Any],
    sort: str,
    descending: bool,
    offset: int,
) -> None:
    state, rows = varied.state, varied.rows
    wanted = IncidentFilter(**asked)
    matching = [r for r in rows if _matches(r, wanted)]
    with pytest.MonkeyPatch.context() as patch:
        for name, bound in zip(("FEW", "_SOME"), bounds, strict=True):
            patch.setattr(incidents, name, bound)
        patch.setattr(incident_marks, "FEW", bounds[0])
        with state.read() as unit:
            page, total = unit.incidents.page(wanted, sort=sort, descending=descending, limit=10, offset=offset)
            counts = unit.incidents.counts(wanted)
        assert total == len(matching)
        assert sum(counts["owner"].values()) == sum(_matches(r, replace(wanted, owner="")) for r in rows)
        matching.sort(key=lambda r: (r.last, r.number or 0), reverse=True)
        matching.sort(key=lambda r: _by(r, sort), reverse=descending)
        assert [r.number for r in page] == [r.number for r in matching[offset : offset + 10]]


@pytest.mark.parametrize("few", [0, 5, 5_000])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=FILTERS, counted=st.integers(0, 50))
def test_of_a_search_that_many_match_so_many_are_counted_and_the_page_is_right(
    varied: Varied, few: int, asked: dict[str, Any], counted: int
) -> None:
    state, rows = varied.state, varied.rows
    wanted = IncidentFilter(**asked)
    matching = [r for r in rows if _matches(r, wanted)]
    with pytest.MonkeyPatch.context() as patch:
        for name, bound in (("FEW", few), ("_SOME", 0), ("_COUNTED", counted)):
            patch.setattr(incidents, name, bound)
        with state.read() as unit:
            page, total = unit.incidents.page(wanted, limit=100)
            exact = unit.incidents.counts_all(wanted)
    assert total == len(matching) if exact else total <= len(matching)
    matching.sort(key=lambda r: (r.priority, r.last, r.number or 0), reverse=True)
    assert [r.number for r in page] == [r.number for r in matching]


@pytest.mark.parametrize(
    "asked",
    [
        {"tag": "vip"},
        {"tag": "vip,lab", "owner": "ann"},
        {"tactics": ("Execution",)},
        {"tag": "lab", "products": ("Sysmon",)},
    ],
)
def test_what_very_many_have_is_counted_without_looking_into_rows(
    varied: Varied, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    """A tag that a third of half a million has: from an index of what holds it into one of what is counted (SQLite)."""
    monkeypatch.setattr(incidents, "FEW", 1)
    monkeypatch.setattr(incident_marks, "FEW", 1)
    wanted = IncidentFilter(**asked)
    with varied.state.read() as unit:
        said: list[tuple[str, Any]] = []
        event.listen(unit.connection, "before_cursor_execute", lambda *a: said.append((a[2], a[3])))
        counts = unit.incidents.counts(wanted)
        counted = [(sql, given) for sql, given in said if "GROUP BY" in sql]
        assert counted
        for sql, given in counted:
            plan = [line for *_, line in unit.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given)]
            looked = [line for line in plan if " incidents" in line]
            assert looked == ["SEARCH incidents USING COVERING INDEX ix_incidents_counted (id=?)"]
            assert not [line for line in plan if "SCAN" in line and "held" not in line]
    assert sum(counts["status"].values()) == sum(
        _matches(r, replace(wanted, statuses=("New", "InProgress", "Resolved"))) for r in varied.rows
    )


def _matches(row: IncidentRow, wanted: IncidentFilter) -> bool:
    def named(value: str | None, names: str) -> bool:
        return not names or (value or "none") in names.split(",")

    text = wanted.text
    return (
        row.promoted
        and (row.status in wanted.statuses if wanted.statuses else row.status != "Redirected")
        and (not wanted.severities or row.severity in wanted.severities)
        and named(row.owner, wanted.owner)
        and named(row.classification, wanted.classification)
        and (not wanted.tag or any(t in wanted.tag.split(",") for t in row.tags))
        and all(
            not asked or set(asked) & set(row.payload[name])
            for name, asked in (("tactics", wanted.tactics), ("products", wanted.products))
        )
        and (wanted.since is None or row.last >= wanted.since)
        and (wanted.until is None or row.last <= wanted.until)
        and (text == f"#{row.number}" if text.startswith("#") else all(w in row.search for w in text.split()))
    )


def _by(row: IncidentRow, sort: str) -> Any:
    return row.title[:200].lower() if sort == "title" else getattr(row, BY.get(sort, sort))
