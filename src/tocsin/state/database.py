"""The database: opening it, bringing its schema up to date, and transactions.

SQLite in WAL mode by default; PostgreSQL by URL. A transaction is a `Unit` with the repositories bound to it. Write transactions on SQLite
begin IMMEDIATE and take turns inside the process, so that threads neither deadlock by upgrading a read nor poll for the lock;
other processes are waited for by the busy time-out. Keep transactions short and never do network or disk work in one.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)

from tocsin.base.clock import Clock, SystemClock
from tocsin.base.errors import Place, StateError
from tocsin.base.turns import Turns
from tocsin.state.actions import Actions
from tocsin.state.aliases import Aliases
from tocsin.state.audit import Audit
from tocsin.state.automation import AutomationStore
from tocsin.state.groups import Groups
from tocsin.state.incidents import IncidentChange, Incidents
from tocsin.state.kv import KeyValues
from tocsin.state.repository import RefusedError
from tocsin.state.rule_alerts import RuleAlerts
from tocsin.state.rules import Rules
from tocsin.state.types import dumps, loads
from tocsin.state.users import Sessions, Tokens, Users

__all__ = ["State", "Unit"]

BUSY_SECONDS = 30


class Unit:
    """One transaction, and the repositories that work in it."""

    def __init__(self, connection: Connection, clock: Clock, judge: Any = None, portal: str = "") -> None:
        self.connection = connection
        self.clock = clock
        self.judge = judge
        """What the room that judges incidents judges by; state only hands it on to each transaction."""
        self.portal = portal
        """Where people find the portal, as https://tocsin.example; "" where that isn't known. State only hands it on, too."""
        self._afterwards: list[Callable[[], None]] = []
        self.changed: list[IncidentChange] = []
        """What this transaction made of incidents, in order; told to who follows them once it is durable."""

    @cached_property
    def kv(self) -> KeyValues:
        """Settings and counters."""
        return KeyValues(self.connection, self.clock)

    @cached_property
    def users(self) -> Users:
        """Users and their roles."""
        return Users(self.connection, self.clock)

    @cached_property
    def groups(self) -> Groups:
        """Groups of users, and what an owner's name is the name of."""
        return Groups(self.connection, self.clock)

    @cached_property
    def sessions(self) -> Sessions:
        """Sessions of signed-in users."""
        return Sessions(self.connection, self.clock)

    @cached_property
    def tokens(self) -> Tokens:
        """Tokens of programs and senders."""
        return Tokens(self.connection, self.clock)

    @cached_property
    def audit(self) -> Audit:
        """The audit log."""
        return Audit(self.connection, self.clock)

    @cached_property
    def incidents(self) -> Incidents:
        """Incidents, their alerts, tags, activity and events."""
        return Incidents(self.connection, self.clock)

    @cached_property
    def aliases(self) -> Aliases:
        """Identifiers that mean one thing for a time."""
        return Aliases(self.connection, self.clock)

    @cached_property
    def rules(self) -> Rules:
        """The rule ledger and overrides."""
        return Rules(self.connection, self.clock)

    @cached_property
    def rule_alerts(self) -> RuleAlerts:
        """What rules have said."""
        return RuleAlerts(self.connection, self.clock)

    @cached_property
    def actions(self) -> Actions:
        """Actions and their history."""
        return Actions(self.connection, self.clock)

    @cached_property
    def automation(self) -> AutomationStore:
        """Runs of automation rules."""
        return AutomationStore(self.connection, self.clock)

    def afterwards(self, call: Callable[[], None]) -> None:
        """Calls that once the transaction is durable; never when it fails."""
        self._afterwards.append(call)


class State:
    """The relational state. Thread-safe; open it once a process."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._writer = engine.execution_options(tocsin_write=True)
        self._sqlite = engine.dialect.name == "sqlite"
        self._turn = Turns()
        self._inside = threading.local()
        self.clock = clock
        self.judge: Any = None
        """See `Unit.judge`; None judges an incident by itself alone."""
        self.portal = ""
        """See `Unit.portal`."""
        self._followers: list[Callable[[Sequence[IncidentChange]], None]] = []

    def on_incidents(self, follower: Callable[[Sequence[IncidentChange]], None]) -> None:
        """Calls that with what a transaction changed about incidents, once it is durable. It must be quick."""
        self._followers.append(follower)

    @classmethod
    def open(cls, where: str | Path, *, clock: Clock | None = None) -> State:
        """Opens the database at a path (SQLite) or URL (``postgresql+psycopg://…``) and brings its schema up to date.

        Raises StateError (STA0001) when it can't be opened, is newer than this program, or a migration fails.
        """
        engine = _engine(where)
        try:
            from tocsin.state.migrations import upgrade

            with engine.execution_options(tocsin_write=True).connect() as connection:
                upgrade(connection)
        except (SQLAlchemyError, OSError) as error:
            engine.dispose()
            raise StateError(
                f"The state database can't be opened: {_short(error)}",
                place=Place(engine.url.render_as_string(hide_password=True)),
                hint="`tocsin doctor` checks it.",
            ) from error
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, clock or SystemClock())

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @contextmanager
    def read(self) -> Iterator[Unit]:
        """A transaction that only reads: one consistent view."""
        try:
            with self._engine.connect() as connection, connection.begin():
                yield Unit(connection, self.clock, self.judge, self.portal)
        except StatementError as error:
            kind = RefusedError if _takes_nothing(error) else StateError
            raise kind(f"The state database can't be read: {_short(error)}") from error

    @contextmanager
    def write(self) -> Iterator[Unit]:
        """A transaction that writes: all of it or nothing. Not nestable in a thread (pass the Unit on instead)."""
        if getattr(self._inside, "writing", False):
            raise RuntimeError("a write transaction is open in this thread: pass its Unit on")
        unit: Unit | None = None
        with self._taking_turns():
            self._inside.writing = True
            try:
                with self._writer.connect() as connection, connection.begin():
                    unit = Unit(connection, self.clock, self.judge, self.portal)
                    yield unit
            except StatementError as error:
                kind = RefusedError if _takes_nothing(error) else StateError
                raise kind(f"The state database refused a change: {_short(error)}") from error
            finally:
                self._inside.writing = False
        if unit.changed:
            for follower in self._followers:
                follower(unit.changed)
        for call in unit._afterwards:
            call()

    @contextmanager
    def _taking_turns(self) -> Iterator[None]:
        if self._sqlite:
            with self._turn:
                yield
        else:
            yield

    def alive(self) -> bool:
        """Whether the database answers."""
        try:
            with self._engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    def schema_version(self, digest: str, name: str = "schema") -> int:
        """A number that grows each time another digest is given for that name."""
        with self.read() as unit:
            known = unit.kv.get(f"{name}.version")
        if isinstance(known, dict) and known.get("digest") == digest:
            return int(known["version"])
        with self.write() as unit:
            known = unit.kv.get(f"{name}.version")
            version = int(known["version"]) if isinstance(known, dict) else 0
            if not isinstance(known, dict) or known.get("digest") != digest:
                version += 1
                unit.kv.set(f"{name}.version", {"version": version, "digest": digest})
            return version

    def workspace_id(self) -> str:
        """A GUID that stays this state's own: what Azure's clients call the workspace."""
        with self.read() as unit:
            known = unit.kv.get("workspace.id")
        if isinstance(known, str):
            return known
        with self.write() as unit:
            known = unit.kv.get("workspace.id")
            if not isinstance(known, str):
                known = str(uuid.uuid4())
                unit.kv.set("workspace.id", known)
            return known

    def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()


def _engine(where: str | Path) -> Engine:
    given = str(where)
    try:
        url = make_url(given) if "://" in given else make_url(f"sqlite:///{Path(given).absolute()}")
        options: dict[str, Any] = {"json_serializer": dumps, "json_deserializer": loads}
        if url.get_backend_name() == "sqlite":
            _private_file(url.database)
            engine = create_engine(
                url, connect_args={"timeout": BUSY_SECONDS}, pool_size=8, max_overflow=32, pool_timeout=30, **options
            )
            engine.dialect.statement_compiler = _SqliteCompiler
            event.listen(engine, "connect", _sqlite_connect)
            event.listen(engine, "begin", _sqlite_begin)
            return engine
        return create_engine(url, pool_size=8, max_overflow=16, pool_pre_ping=True, **options)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise StateError(
            f"{_without_password(given)} is no database that can be used: {error}",
            hint="Give a file path, or postgresql+psycopg://user@host/name with the extra `tocsin[postgres]` installed.",
        ) from error
    except OSError as error:
        raise StateError(f"The state database can't be made: {error.strerror}", place=Place(given)) from error


class _SqliteCompiler(SQLiteCompiler):
    """Writes the hint of a table after its name: SQLite takes an index there (https://sqlite.org/lang_indexedby.html)."""

    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:  # noqa: ARG002 - the signature is SQLAlchemy's
        """See SQLCompiler."""
        return text


def _private_file(path: str | None) -> None:
    """Makes the file readable by its owner only: it holds password hashes. SQLite gives its WAL files the same mode."""
    if not path or path == ":memory:":
        raise ArgumentError("SQLite state must be a file")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: the driver's own begins too late for a consistent read
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # an approval or audit row must survive a power cut; the write volume here is small
        "foreign_keys=ON",
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "temp_store=MEMORY",
        "journal_size_limit=67108864",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("tocsin_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _takes_nothing(error: StatementError) -> bool:
    """Whether it is the database that can't (a full disk, a lost connection, a damaged file), not this change that it won't have.

    sqlite3 and psycopg raise OperationalError for both kinds of trouble; SQLSTATE class 54 is a limit of one row.
    """
    if not isinstance(error, DBAPIError):
        return False
    if str(getattr(error.orig, "sqlstate", None) or "").startswith("54"):
        return False
    return (
        error.connection_invalidated
        or isinstance(error, OperationalError | InternalError)
        or type(error) is DatabaseError
    )


def _short(error: BaseException) -> str:
    """An error's own first line, without the statement and its values."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    return str(cause).splitlines()[0] if str(cause) else type(cause).__name__


def _without_password(given: str) -> str:
    try:
        return make_url(given).render_as_string(hide_password=True)
    except ArgumentError:
        return "That"
