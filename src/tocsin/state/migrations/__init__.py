"""Migrations of the relational schema (Alembic), run when the state is opened.

To change the schema: change `tocsin.state.schema`, then add a revision under `versions/`; `tests/state/test_migrations.py` compares what the
revisions make with what the schema says.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from tocsin.base.errors import StateError

__all__ = ["config", "head", "upgrade"]

_LOCK = 0x746F6373
"""PostgreSQL's advisory lock that keeps two processes from migrating at once. SQLite's write transaction does it there."""


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, made here: there is no alembic.ini to lose."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def head() -> str:
    """The newest revision that this program knows."""
    newest = ScriptDirectory.from_config(config()).get_current_head()
    assert newest is not None
    return newest


def upgrade(connection: Connection) -> None:
    """Brings the schema up to date in one transaction; StateError STA0004 when it is newer than this program."""
    with connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        current = MigrationContext.configure(connection).get_current_revision()
        script = ScriptDirectory.from_config(config())
        if current == script.get_current_head():
            return
        if current is not None and current not in {r.revision for r in script.walk_revisions()}:
            raise StateError(
                f"The state database is of a newer Tocsin (its schema is {current}).",
                code="STA0004",
                hint="Run the newer version, or restore a backup made by this one.",
            )
        command.upgrade(config(connection), "head")
