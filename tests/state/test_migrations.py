"""Migrations make what the schema says, from an empty database, and nothing opens a newer one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import String, text

from tocsin.base.errors import StateError
from tocsin.state import State
from tocsin.state.incident_search import INDEX
from tocsin.state.migrations import head
from tocsin.state.schema import METADATA
from tocsin.state.types import Words


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # SQLite reads none back
def test_up_from_empty_gives_the_declared_schema(state: State) -> None:
    with state._engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"compare_type": _differs, "include_name": lambda name, *_: not str(name).startswith(INDEX)},
        )
        assert context.get_current_revision() == head()
        assert compare_metadata(context, METADATA) == []


def _differs(_context: object, _found: object, _declared: object, found: Any, declared: Any) -> bool | None:
    """Our own text type is String or Text by its length; Alembic would compare with the former."""
    if isinstance(declared, Words):
        length = declared.impl_instance.length  # type: ignore[attr-defined]
        return not isinstance(found, String) or getattr(found, "length", None) != length
    return None


def test_opening_twice_changes_nothing(where: str) -> None:
    first = State.open(where)
    with first.write() as unit:
        unit.kv.set("a", {"b": 1})
    first.close()
    second = State.open(where)
    with second.read() as unit:
        assert unit.kv.get("a") == {"b": 1}
    second.close()


def test_many_may_open_an_empty_database_at_once(where: str) -> None:
    errors: list[BaseException] = []

    def opens() -> None:
        try:
            State.open(where).close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=opens) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_newer_database_is_refused_with_its_revision(where: str) -> None:
    made = State.open(where)
    with made.write() as unit:
        unit.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    made.close()
    with pytest.raises(StateError, match="9999") as caught:
        State.open(where)
    assert caught.value.code == "STA0004"


@pytest.mark.parametrize("given", ["nosuch://x", "postgresql+nosuchdriver://x/y", "://"])
def test_a_wrong_url_is_a_state_error(given: str) -> None:
    with pytest.raises(StateError):
        State.open(given)


def test_a_password_in_a_url_is_never_in_an_error() -> None:
    with pytest.raises(StateError) as caught:
        State.open("postgresql+psycopg://ann:hunter2@127.0.0.1:1/none")
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_database_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is no database at all, but long enough to look at" * 100)
    with pytest.raises(StateError, match="not a database"):
        State.open(tmp_path / "x.db")


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    opened = State.open(tmp_path / "deep" / "state.db")
    with opened.write() as unit:
        unit.kv.set("a", 1)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "deep").iterdir()}
    opened.close()
    assert modes["state.db"] == 0o600
    assert set(modes.values()) == {0o600}
