from __future__ import annotations

import itertools

import pytest

from tocsin.access import PERMISSIONS, ROLES, ForbiddenError, Principal, permissions_of, require, system


def test_roles_are_cumulative() -> None:
    held = [ROLES[r] for r in ("Reader", "Responder", "Contributor", "Administrator")]
    assert all(a < b for a, b in itertools.pairwise(held))
    assert held[-1] == set(PERMISSIONS)


def test_require_names_the_permission_and_who_has_it() -> None:
    reader = Principal("rita", permissions=permissions_of(["Reader"]))
    require(reader, "incidents.read")
    with pytest.raises(ForbiddenError, match=r"rita lacks the permission actions\.approve") as caught:
        require(reader, "actions.approve")
    assert "Responder" in caught.value.hint
    assert caught.value.code == "ACC0002"


def test_a_misspelt_permission_is_our_fault_and_never_passes() -> None:
    almighty = Principal("x", permissions=frozenset({"incident.read"}))
    with pytest.raises(KeyError, match=r"incidents\.read"):
        require(almighty, "incident.read")


def test_an_unknown_role_gives_nothing() -> None:
    assert permissions_of(["Overlord"]) == frozenset()


def test_parts_of_tocsin_have_just_what_they_are_given() -> None:
    part = system("automation:x", "actions.propose")
    assert part.kind == "system"
    assert part.permissions == {"actions.propose"}
