"""The audit log can't be changed unseen."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tocsin.base.errors import StateError
from tocsin.state import State


def fill(state: State, rows: int = 5) -> None:
    with state.write() as unit:
        for n in range(rows):
            unit.audit.add(
                "ann", "user.change", "user", f"u{n}", before={"n": n}, after={"n": n + 1}, detail={"x": [1, 2]}
            )


def unguarded(state: State, statement: str) -> None:
    """What somebody with the database's own password could do."""
    with state._writer.connect() as connection, connection.begin():
        if state.dialect == "sqlite":
            connection.execute(text("DROP TRIGGER audit_no_update"))
            connection.execute(text("DROP TRIGGER audit_no_delete"))
        else:
            connection.execute(text("DROP TRIGGER audit_append_only ON audit"))
        connection.execute(text(statement))


def test_a_whole_chain_verifies(state: State) -> None:
    fill(state)
    with state.read() as unit:
        assert unit.audit.verify().intact
        rows, total = unit.audit.page(limit=2)
    assert total == 5
    assert [r.seq for r in rows] == [5, 4]
    assert rows[0].previous == rows[1].hash
    assert rows[0].before == {"n": 4}


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'bob'", "DELETE FROM audit WHERE seq = 2"])
def test_the_database_refuses_changes(state: State, statement: str) -> None:
    fill(state)
    with pytest.raises((StateError, DBAPIError), match="append-only"), state.write() as unit:
        unit.connection.execute(text(statement))
    with state.read() as unit:
        assert unit.audit.verify().intact


@pytest.mark.parametrize(
    ("statement", "at"),
    [
        ("UPDATE audit SET actor = 'bob' WHERE seq = 3", 3),
        ("UPDATE audit SET after = '{}' WHERE seq = 1", 1),
        ("DELETE FROM audit WHERE seq = 2", 3),
        ("DELETE FROM audit WHERE seq = 5", 5),
        ("DELETE FROM audit", 1),
        ("UPDATE audit SET hash = 'x' WHERE seq = 4", 4),
    ],
)
def test_a_change_round_the_guards_is_seen(state: State, statement: str, at: int) -> None:
    fill(state)
    unguarded(state, statement)
    with state.read() as unit:
        verdict = unit.audit.verify()
    assert not verdict.intact
    assert verdict.broken_at == at
    assert verdict.reason


def test_pages_and_filters(state: State) -> None:
    fill(state)
    with state.write() as unit:
        unit.audit.add("bob", "session.start", "user", "bob")
    with state.read() as unit:
        assert [r.seq for r in unit.audit.page(limit=2, before=3)[0]] == [2, 1]
        assert [r.actor for r in unit.audit.page(actor="bob")[0]] == ["bob"]
        assert unit.audit.page(object_id="u3")[1] == 1


def test_many_writers_make_one_chain(state: State) -> None:
    def write(n: int) -> None:
        for _ in range(10):
            with state.write() as unit:
                unit.audit.add(f"w{n}", "x", "y", "z")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with state.read() as unit:
        assert unit.audit.verify() == type(unit.audit.verify())(True, 60)
