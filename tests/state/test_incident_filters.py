"""The queue's filters that take several values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.incidents.test_correlate import T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.incidents.desk import IncidentDesk
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


def test_counts_are_of_what_the_other_filters_leave(queue: IncidentDesk) -> None:
    page = queue.page(severities=("High",), statuses=("New",), limit=3)
    assert (page["total"], len(page["items"])) == (10, 3)
    assert page["counts"] == {"status": {"New": 10}, "severity": {"High": 10, "Medium": 10}, "owner": {"": 10}}
    assert queue.page(owner="ann")["counts"]["owner"] == {"": 20}
    assert queue.page(text="ws07")["counts"]["severity"] == {"Medium": 1}
