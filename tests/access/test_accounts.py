from __future__ import annotations

from datetime import timedelta

import pytest

from tocsin.access import (
    Access,
    BadCredentialsError,
    ForbiddenError,
    Principal,
    WeakPasswordError,
    WrongAccountError,
    permissions_of,
)
from tocsin.base.clock import ManualClock
from tocsin.state import NotFoundError

PHRASE = "seven quiet otters"


def test_users_are_added_and_changed_with_audit_rows(access: Access, admin: Principal) -> None:
    made = access.add_user("rita", PHRASE, roles=["Reader"], by=admin, display_name="Rita")
    assert made["roles"] == ["Reader"]
    access.change_user("rita", {"roles": ["Responder"], "display_name": "Rita R."}, by=admin)
    row = access.audit_page(object_id="rita")["items"][0]
    assert row["actor"] == "admin"
    assert row["action"] == "user.change"
    assert row["before"]["roles"] == ["Reader"]
    assert row["after"]["roles"] == ["Responder"]
    assert row["address"] == "127.0.0.1"
    assert "argon2" not in str(row)
    assert access.verify_audit()["intact"]


def test_only_who_may_manage_users_does(access: Access, admin: Principal) -> None:
    contributor = Principal("carl", permissions=permissions_of(["Contributor"]))
    with pytest.raises(ForbiddenError):
        access.add_user("x", PHRASE, roles=["Reader"], by=contributor)
    with pytest.raises(ForbiddenError):
        access.change_user("admin", {"disabled": True}, by=contributor)
    with pytest.raises(ForbiddenError):
        access.make_token("t", by=contributor)


@pytest.mark.parametrize("name", ["", "a b", "-a", "ann\n", "x" * 65, "../etc", "ann;"])
def test_names_that_cannot_be(access: Access, admin: Principal, name: str) -> None:
    with pytest.raises(WrongAccountError):
        access.add_user(name, PHRASE, roles=["Reader"], by=admin)


def test_names_are_unique_without_regard_to_case(access: Access, admin: Principal) -> None:
    access.add_user("Rita", PHRASE, roles=["Reader"], by=admin)
    with pytest.raises(WrongAccountError, match="already"):
        access.add_user("rITA", PHRASE, roles=["Reader"], by=admin)


def test_unknown_roles_and_users(access: Access, admin: Principal) -> None:
    with pytest.raises(WrongAccountError, match="no role") as caught:
        access.add_user("x", PHRASE, roles=["Readr"], by=admin)
    assert "Reader" in caught.value.hint
    with pytest.raises(NotFoundError):
        access.change_user("ghost", {"disabled": True}, by=admin)
    with pytest.raises(WeakPasswordError):
        access.add_user("x", "short", roles=["Reader"], by=admin)


def test_the_last_administrator_stays(access: Access, admin: Principal) -> None:
    for changes in ({"disabled": True}, {"roles": ["Reader"]}):
        with pytest.raises(WrongAccountError, match="last administrator"):
            access.change_user("admin", changes, by=admin)
    assert access.users()[0]["disabled"] is False
    access.add_user("ada", PHRASE, roles=["Administrator"], by=admin)
    access.change_user("admin", {"roles": ["Reader"]}, by=admin)


def test_disabling_ends_sessions_and_tokens(access: Access, admin: Principal) -> None:
    access.add_user("ada", PHRASE, roles=["Administrator"], by=admin)
    signed = access.sign_in("ada", PHRASE, address="")
    token = access.make_token("t", kind="api", roles=["Reader"], by=signed.principal)["token"]
    assert access.by_token(token) is not None
    access.change_user("ada", {"disabled": True}, by=admin)
    assert access.by_session(signed.secret) is None
    assert access.by_token(token) is None
    with pytest.raises(BadCredentialsError):
        access.sign_in("ada", PHRASE, address="")


def test_a_change_of_roles_works_at_once(access: Access, admin: Principal) -> None:
    access.add_user("rita", PHRASE, roles=["Reader"], by=admin)
    signed = access.sign_in("rita", PHRASE, address="")
    access.change_user("rita", {"roles": ["Contributor"]}, by=admin)
    found = access.by_session(signed.secret)
    assert found is not None
    assert found.may("rules.write")


def test_an_ingest_token_sends_rows_and_nothing_else(access: Access, admin: Principal) -> None:
    made = access.make_token("hec", by=admin)
    principal = access.may_ingest(made["token"])
    assert principal is not None
    assert principal.permissions == {"ingest.write"}
    assert access.may_ingest("toc_i_wrong") is None
    assert made["token"] not in str(access.tokens())


def test_an_api_token_never_has_more_than_its_owner(access: Access, admin: Principal) -> None:
    access.add_user("ada", PHRASE, roles=["Administrator"], by=admin)
    ada = access.sign_in("ada", PHRASE, address="").principal
    token = access.make_token("t", kind="api", roles=["Contributor"], by=ada)["token"]
    access.change_user("ada", {"roles": ["Reader"]}, by=admin)
    found = access.by_token(token)
    assert found is not None
    assert not found.may("rules.write")
    assert found.may("incidents.read")
    weak = Principal("w", permissions=frozenset({"tokens.manage"}))
    with pytest.raises(ForbiddenError, match="more rights"):
        access.make_token("t", kind="api", roles=["Reader"], by=weak)


def test_tokens_end_by_revocation_and_by_time(access: Access, admin: Principal, clock: ManualClock) -> None:
    one = access.make_token("one", by=admin)
    two = access.make_token("two", expires_in_days=1, by=admin)
    assert access.may_ingest(one["token"])
    assert access.may_ingest(two["token"])
    access.revoke_token(one["id"], by=admin)
    assert access.may_ingest(one["token"]) is None
    clock.advance(timedelta(days=1))
    assert access.may_ingest(two["token"]) is None
    assert access.tokens() == []
    with pytest.raises(NotFoundError):
        access.revoke_token(one["id"], by=admin)


def test_the_use_of_a_token_is_noted(access: Access, admin: Principal) -> None:
    made = access.make_token("t", by=admin)
    assert access.tokens()[0]["last_used"] is None
    access.by_token(made["token"], address="10.0.0.2")
    assert access.tokens()[0]["last_used"] == "2026-03-01T12:00:00Z"
