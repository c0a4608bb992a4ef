"""Users and groups as owners: who can be one, what is left of it in log, activity and figures, and whose "mine" is."""

from __future__ import annotations

import pytest

from tests.incidents.test_correlate import ANN, WS1, WS2, alert
from tests.incidents.test_desk import change
from tocsin.base.errors import UsageError
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.history import rebuild
from tocsin.incidents.life import Actor, IncidentChangeError
from tocsin.state import State
from tocsin.tables import Entity


@pytest.fixture
def desk(state: State) -> IncidentDesk:
    made = IncidentDesk(state)
    with state.write() as unit:
        for name in ("ann", "bob"):
            unit.users.add(name, name, "x", ["Responder"])
        for name, members in (("Night shift", ["ann"]), ("soc", ["ann", "bob"]), ("old", ["bob"])):
            unit.groups.add(name)
            unit.groups.change(name, come=members, disabled=name == "old")
    made.add([alert("a", 0, WS1), alert("b", 1, WS2), alert("c", 2, Entity.host("ws9.contoso.com"))])
    return made


def ids(desk: IncidentDesk, **wanted: str) -> list[str]:
    return sorted(str(i["owner"] or "") for i in desk.page(**wanted)["items"])  # type: ignore[arg-type]


def hand_out(desk: IncidentDesk, *owners: str | None) -> list[str]:
    found = [str(i["id"]) for i in sorted(desk.page()["items"], key=lambda i: i["number"])]
    for one, owner in zip(found, owners, strict=True):
        if owner:
            change(desk, one, owner=owner)
    return found


def test_a_group_owns_an_incident(desk: IncidentDesk, state: State) -> None:
    one, two, three = hand_out(desk, "NIGHT shift", "bob", None)
    got = desk.get(one)
    assert (got["owner"], got["owner_type"]) == ("Night shift", "Group")
    assert [desk.get(i)["owner_type"] for i in (two, three)] == ["User", None]
    assert {i["owner"]: i["owner_type"] for i in desk.page()["items"]} == {
        "Night shift": "Group",
        "bob": "User",
        None: None,
    }
    assert [a["text"] for a in desk.activity(one)["items"] if a["kind"] == "owner"] == [
        "Assigned to the group Night shift."
    ]
    assert [a["text"] for a in desk.activity(two)["items"] if a["kind"] == "owner"] == ["Assigned to bob."]
    with state.write() as unit:
        assert list(rebuild(unit, repair=False)) == []


def test_only_a_person_takes_an_incident(desk: IncidentDesk) -> None:
    """MTTA ends when somebody has it, not when it lies with a group."""
    one, *_ = hand_out(desk, "soc", None, None)
    change(desk, one, status="InProgress")
    assert desk.get(one)["acknowledged"] is None
    change(desk, one, owner="ann")
    assert desk.get(one)["acknowledged"] is not None
    kept = desk.get(one)["acknowledged"]
    change(desk, one, owner="soc")
    assert desk.get(one)["acknowledged"] == kept


@pytest.mark.parametrize(
    ("owner", "hint"),
    [("nightshift", "Night shift"), ("anne", "ann"), ("old", ""), ("Night", "Night shift"), ("@me", "")],
)
def test_who_cannot_own_is_refused_by_name(desk: IncidentDesk, owner: str, hint: str) -> None:
    one, *_ = hand_out(desk, "bob", None, None)
    with pytest.raises(IncidentChangeError, match=f"no user or group '{owner}'") as caught:
        change(desk, one, owner=owner)
    assert hint in caught.value.hint
    assert desk.get(one)["owner"] == "bob"


def test_a_role_is_a_person_s(desk: IncidentDesk) -> None:
    one, *_ = hand_out(desk, None, None, None)
    with pytest.raises(IncidentChangeError, match="no user 'soc'"):
        change(desk, one, roles={"TechnicalLead": "soc"})


def test_mine_is_mine_and_my_groups(desk: IncidentDesk) -> None:
    hand_out(desk, "Night shift", "bob", None)
    assert ids(desk, owner="@me", me="ann") == ["Night shift"]
    assert ids(desk, owner="@me", me="bob") == ["bob"]
    assert ids(desk, owner="@me,none", me="ann") == ["", "Night shift"]
    assert ids(desk, owner="night shift") == ["Night shift"]
    with desk._state.write() as unit:
        unit.groups.change("Night shift", come=["bob"], go=["ann"])
    assert ids(desk, owner="@me", me="ann") == []
    assert ids(desk, owner="@me", me="bob") == ["Night shift", "bob"]
    counted = desk.page(owner="@me", me="bob")
    assert counted["total"] == 2
    assert counted["counts"]["owner"] == {"": 1, "Night shift": 1, "bob": 1}


def test_a_filter_by_nobody_s_name_is_told(desk: IncidentDesk, state: State) -> None:
    hand_out(desk, None, None, None)
    with pytest.raises(UsageError, match="No user or group is named 'nigth shift'") as caught:
        desk.page(owner="nigth shift")
    assert "Night shift" in caught.value.hint
    with pytest.raises(UsageError, match="Nobody is signed in"):
        desk.page(owner="@me")


def test_owners_of_another_house_stay_known_by_name(desk: IncidentDesk, state: State) -> None:
    """A state that was brought over without its users keeps its owners."""
    one, *_ = hand_out(desk, "ann", None, None)
    with state.write() as unit:
        row = unit.incidents.require(one)
        from dataclasses import replace

        unit.incidents.put(replace(row, owner="carla"))
    assert desk.get(one)["owner_type"] == "Unknown"
    assert ids(desk, owner="carla") == ["carla"]


def test_a_group_and_its_member_are_different_owners_to_a_merge(desk: IncidentDesk) -> None:
    one, two, three = hand_out(desk, "soc", "ann", None)
    assert any("owner" in v for v in desk.preview_merge(one, [two]).vetoes)
    assert not any("owner" in v for v in desk.preview_merge(one, [three]).vetoes)


def test_automation_may_hand_it_to_a_group(desk: IncidentDesk) -> None:
    one, *_ = hand_out(desk, None, None, None)
    change(desk, one, actor=Actor("automation:x", "automation"), owner="soc")
    assert desk.get(one)["owner"] == "soc"
    assert desk.get(one)["acknowledged"] is None
    desk.add([alert("d", 3, WS1, ANN)])
    assert {i["owner"] for i in desk.page()["items"] if i["id"] == one} == {"soc"}
