from __future__ import annotations

import logging
import threading
from datetime import timedelta

import pytest

from tocsin.access import (
    Access,
    AccessSettings,
    BadCredentialsError,
    Principal,
    TooManyAttemptsError,
    WeakPasswordError,
)
from tocsin.access.passwords import Passwords, generate
from tocsin.base.clock import ManualClock
from tocsin.state import State


def test_the_first_start_gives_a_password_once_and_logs_nothing(
    access: Access, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        password = access.first_start()
    assert password is not None
    assert access.first_start() is None
    assert password not in caplog.text
    assert access.sign_in("admin", password, address="").principal.roles == {"Administrator"}


def test_two_first_starts_at_once_make_one_administrator(access: Access) -> None:
    made: list[str | None] = []
    threads = [threading.Thread(target=lambda: made.append(access.first_start())) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sum(p is not None for p in made) == 1


def test_no_secret_is_in_the_database(
    access: Access, password: str, admin: Principal, state: State, clock: ManualClock
) -> None:
    signed = access.sign_in("admin", password, address="")
    token = access.make_token("t", by=admin)["token"]
    with state._engine.connect() as connection:
        assert connection.connection.dbapi_connection is not None
        dump = "\n".join(connection.connection.dbapi_connection.iterdump())
    assert "argon2id" in dump
    for secret in (password, signed.secret, token):
        assert secret not in dump


def test_a_session_is_who_signed_in(access: Access, password: str) -> None:
    signed = access.sign_in("ADMIN", password, address="10.0.0.1", agent="test")
    found = access.by_session(signed.secret, address="10.0.0.1")
    assert found == signed.principal
    assert found is not None
    assert found.name == "admin"
    assert access.by_session("wrong") is None


def test_signing_out_ends_only_that_session(access: Access, password: str) -> None:
    one, two = access.sign_in("admin", password, address=""), access.sign_in("admin", password, address="")
    access.sign_out(one.principal)
    assert access.by_session(one.secret) is None
    assert access.by_session(two.secret) is not None


def test_an_idle_session_ends(access: Access, password: str, clock: ManualClock) -> None:
    signed = access.sign_in("admin", password, address="")
    for _ in range(2):
        clock.advance(timedelta(hours=7, minutes=59))
        assert access.by_session(signed.secret) is not None
    clock.advance(timedelta(hours=8))
    assert access.by_session(signed.secret) is None


def test_a_busy_session_ends_too(access: Access, password: str, clock: ManualClock) -> None:
    signed = access.sign_in("admin", password, address="")
    for _ in range(23):
        clock.advance(timedelta(hours=1))
        assert access.by_session(signed.secret) is not None
    clock.advance(timedelta(hours=1))
    assert access.by_session(signed.secret) is None


@pytest.mark.parametrize("name", ["admin", "nobody", "", "x" * 5000, "a\x00b", "'; DROP TABLE users; --"])
def test_wrong_names_and_passwords_look_the_same(access: Access, password: str, name: str) -> None:
    with pytest.raises(BadCredentialsError) as caught:
        access.sign_in(name, "wrong", address="")
    assert caught.value.message == "The name or the password is wrong."


def test_a_name_that_is_no_user_is_not_written_down(access: Access, password: str) -> None:
    with pytest.raises(BadCredentialsError):
        access.sign_in("hunter2", "x", address="10.0.0.9")
    rows = access.audit_page()["items"]
    assert rows[0]["action"] == "session.refused"
    assert "hunter2" not in str(rows)


def test_guessing_one_name_from_one_address_has_to_wait(access: Access, password: str, clock: ManualClock) -> None:
    for _ in range(5):
        with pytest.raises(BadCredentialsError):
            access.sign_in("admin", "wrong", address="10.0.0.9")
    with pytest.raises(TooManyAttemptsError) as caught:
        access.sign_in("admin", password, address="10.0.0.9")
    assert caught.value.retry_after == 2
    assert access.sign_in("admin", password, address="10.0.0.1"), "another address is not locked out"
    clock.advance(timedelta(seconds=2))
    with pytest.raises(BadCredentialsError):
        access.sign_in("admin", "wrong", address="10.0.0.9")
    with pytest.raises(TooManyAttemptsError) as caught:
        access.sign_in("admin", "wrong", address="10.0.0.9")
    assert caught.value.retry_after == 4
    clock.advance(timedelta(minutes=16))
    assert access.sign_in("admin", password, address="10.0.0.9")


def test_spraying_names_from_one_address_has_to_wait(access: Access, password: str) -> None:
    for n in range(30):
        with pytest.raises(BadCredentialsError):
            access.sign_in(f"user{n}", "wrong", address="10.0.0.9")
    with pytest.raises(TooManyAttemptsError):
        access.sign_in("other", "wrong", address="10.0.0.9")


def test_what_the_throttle_remembers_is_bounded(clock: ManualClock) -> None:
    from tocsin.access.throttle import _KEYS, Throttle

    throttle = Throttle(clock, AccessSettings())
    for n in range(_KEYS):
        throttle.failed(f"u{n}", f"a{n}")
    assert len(throttle._failures) == _KEYS


def test_changing_the_password_ends_the_other_sessions(access: Access, password: str) -> None:
    mine, other = access.sign_in("admin", password, address=""), access.sign_in("admin", password, address="")
    with pytest.raises(BadCredentialsError):
        access.change_password(mine.principal, "wrong", "quite another phrase")
    access.change_password(mine.principal, password, "quite another phrase")
    assert access.by_session(mine.secret) is not None
    assert access.by_session(other.secret) is None
    with pytest.raises(BadCredentialsError):
        access.sign_in("admin", password, address="")
    assert access.sign_in("admin", "quite another phrase", address="")


@pytest.mark.parametrize(
    "weak", ["short", "aaaaaaaaaaaaaaaa", "administrator!", "Password12345", "adminadmina", "Letmein2026!!"]
)
def test_weak_passwords_are_refused(weak: str) -> None:
    with pytest.raises(WeakPasswordError):
        Passwords.check(weak, name="ann", length=12)


def test_generated_passwords_are_accepted_and_differ() -> None:
    made = {generate() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        Passwords.check(password, name="admin", length=12)


def test_hashes_are_argon2id_with_the_recommended_cost() -> None:
    hashed = Passwords().hash("correct horse battery")
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_hash_of_older_parameters_is_renewed_at_sign_in(access: Access, password: str, state: State) -> None:
    costlier = Access(state, passwords=Passwords())
    costlier.sign_in("admin", password, address="")
    with state.read() as unit:
        user = unit.users.get("admin")
    assert user is not None
    assert "m=65536" in user.password


def test_the_machine_s_holder_can_set_a_password(access: Access, password: str) -> None:
    signed = access.sign_in("admin", password, address="")
    new = access.set_password("admin")
    assert access.by_session(signed.secret) is None
    assert access.sign_in("admin", new, address="")
