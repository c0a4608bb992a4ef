"""The queue's filters that take several values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.incidents.test_correlate import T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.incidents.desk import IncidentDesk
from tocsin.state import State
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
