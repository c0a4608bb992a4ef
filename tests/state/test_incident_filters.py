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
from hypothesis import given
from hypothesis import strategies as st

from tests.incidents.test_correlate import T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.base.errors import UsageError
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.life import Actor
from tocsin.state import NotFoundError, State
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
