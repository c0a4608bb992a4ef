"""Groups of users: who makes them, what they may be named, and that an owner's name is one thing's only."""

from __future__ import annotations

import pytest

from tests.access.test_accounts import PHRASE
from tocsin.access import Access, ForbiddenError, Principal, WrongAccountError, permissions_of
from tocsin.state import NotFoundError, State


@pytest.fixture
def people(access: Access, admin: Principal) -> Access:
    for name in ("ann", "Bob"):
        access.add_user(name, PHRASE, roles=["Responder"], by=admin)
    return access


def test_groups_are_added_and_changed_with_audit_rows(people: Access, admin: Principal) -> None:
    made = people.groups.add("Night shift", description="22 to 6", members=["ann", "bob", "ann"], by=admin)
    assert made["members"] == ["Bob", "ann"]
    people.groups.change("night SHIFT", {"remove_members": ["BOB"], "description": ""}, by=admin)
    people.groups.change("Night shift", {"add_members": ["ann", "admin"], "disabled": True}, by=admin)
    (group,) = people.groups.all()
    assert (group["members"], group["description"], group["disabled"]) == (["admin", "ann"], "", True)
    rows = people.audit_page(object_id="Night shift")["items"]
    assert [r["action"] for r in rows] == ["group.change", "group.change", "group.create"]
    assert rows[0]["before"]["members"] == ["ann"]
    assert rows[0]["after"]["members"] == ["admin", "ann"]
    assert people.verify_audit()["intact"]


@pytest.mark.parametrize("name", ["", " a", "a ", "a,b", "@me", "none", "None", "x" * 65, "a\nb", "../etc"])
def test_names_that_cannot_be(people: Access, admin: Principal, name: str) -> None:
    with pytest.raises(WrongAccountError, match="can't be"):
        people.groups.add(name, by=admin)


def test_a_name_is_a_user_s_or_a_group_s(people: Access, admin: Principal) -> None:
    with pytest.raises(WrongAccountError, match="There is a user ann already"):
        people.groups.add("ANN", by=admin)
    people.groups.add("soc", by=admin)
    with pytest.raises(WrongAccountError, match="There is a group soc already"):
        people.groups.add("Soc", by=admin)
    with pytest.raises(WrongAccountError, match="There is a group soc already"):
        people.add_user("SOC", PHRASE, roles=["Reader"], by=admin)


def test_members_are_users_and_nothing_changes_otherwise(people: Access, admin: Principal) -> None:
    with pytest.raises(WrongAccountError, match="no user 'anne'") as caught:
        people.groups.add("soc", members=["anne"], by=admin)
    assert "ann" in caught.value.hint
    assert people.groups.all() == []
    people.groups.add("soc", members=["ann"], by=admin)
    with pytest.raises(WrongAccountError):
        people.groups.change("soc", {"description": "x", "remove_members": ["nobody"]}, by=admin)
    assert people.groups.all()[0]["description"] == ""


def test_only_who_may_manage_users_does(people: Access, admin: Principal) -> None:
    contributor = Principal("carl", permissions=permissions_of(["Contributor"]))
    with pytest.raises(ForbiddenError):
        people.groups.add("soc", by=contributor)
    people.groups.add("soc", by=admin)
    with pytest.raises(ForbiddenError):
        people.groups.change("soc", {"disabled": True}, by=contributor)
    with pytest.raises(NotFoundError) as caught:
        people.groups.change("sox", {}, by=admin)
    assert "soc" in caught.value.hint


def test_whose_a_name_is(people: Access, admin: Principal, state: State) -> None:
    people.groups.add("soc", members=["Bob"], by=admin)
    with state.read() as unit:
        assert [unit.groups.type_of(n) for n in ("ann", "soc", "gone", "", None)] == [
            "User",
            "Group",
            "Unknown",
            None,
            None,
        ]
        assert unit.groups.of("Bob") == ["soc"]
        assert unit.groups.of("ann") == []
        assert unit.groups.owners() == ["admin", "ann", "Bob", "soc"]
    people.groups.change("soc", {"disabled": True}, by=admin)
    people.change_user("ann", {"disabled": True}, by=admin)
    with state.read() as unit:
        assert unit.groups.owners() == ["admin", "Bob"]
        assert unit.groups.of("Bob") == ["soc"]  # what it still owns is found
