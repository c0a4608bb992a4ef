"""A state of so many alerts as a month leaves, log and all: some thousands are filed, the rest are copies of their rows under other names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.incidents import DAYS, START, alerts, large_attack
from sqlalchemy import text

from tocsin.base.clock import ManualClock
from tocsin.incidents import store
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.model import Incident, LinkedAlert
from tocsin.state import State, Unit
from tocsin.state.migrations.versions.v0009_incident_marks import fills

__all__ = ["a_state", "clock", "fill"]

_SEED = 20_000
"""Alerts that are filed; the rest are copies."""

_COPIED = ("incidents", "alerts", "incident_tags", "incident_log", "activity")
_NUMBERED = {"activity": "id", "incident_log": "seq"}
_NAMES = ("inc_", "al0", "al_", "pc", "user")
"""What ids of incidents, ids of alerts, machines and users begin with: copies have others everywhere where they stand."""


def clock() -> ManualClock:
    """A clock that stands at the end of the month."""
    return ManualClock(START + timedelta(days=DAYS))


@contextmanager
def a_state() -> Iterator[State]:
    """An empty one, gone afterwards."""
    with TemporaryDirectory(prefix="tocsin-bench-") as folder:
        state = State.open(Path(folder) / "state.db", clock=clock())
        yield state
        state.close()


def fill(state: State, count: int, *, large: bool = True) -> str:
    """Fills it with that many alerts, and with an incident of 5,000 more if `large`; gives that one's id."""
    desk = IncidentDesk(state)
    several = list(alerts(min(count, _SEED)))
    for start in range(0, len(several), 500):
        desk.add(several[start : start + 500])
    last: dict[str, int] = {}
    with state.write() as unit:
        number = unit.connection.execute(text("SELECT MAX(number) FROM incidents")).scalar_one()
        for table in _COPIED:
            key = _NUMBERED.get(table, "rowid")
            last[table] = unit.connection.execute(text(f"SELECT MAX({key}) FROM {table}")).scalar_one() or 0
    times = max(0, round(count / len(several)) - 1)
    for copy in range(1, times + 1):
        with state.write() as unit:
            for table in _COPIED:
                _copy(unit, table, copy, last, number)
    with state.write() as unit:
        unit.kv.set("incident.number", number * (times + 1))
        unit.connection.execute(text("DELETE FROM incident_marks"))
        for statement in fills(sqlite=True):
            unit.connection.exec_driver_sql(statement)
        if not large:
            return ""
        attack = list(large_attack())
        made = Incident.opened_by(attack[0])
        made.alerts.extend(LinkedAlert(a) for a in attack[1:])
        made.promoted, made.number = True, unit.incidents.next_number()
        store.write(unit, made, by="bench", source="correlation", linked=made.alerts)
    return made.id


def _copy(unit: Unit, table: str, copy: int, last: dict[str, int], number: int) -> None:
    """Copies a table's first rows as others: with names, numbers and ids of their own wherever those stand, `number` being the highest of an
    incident."""
    columns = [r[1:3] for r in unit.connection.execute(text(f"PRAGMA table_info({table})"))]
    key = _NUMBERED.get(table, "rowid")
    made = {name: _renamed(f'"{name}"', copy) if _words(kind) else f'"{name}"' for name, kind in columns}
    if table in _NUMBERED:
        made[key] = f"{key} + {copy * last[table]}"
    if table == "incidents":
        moved = made["number"] = f"number + {copy * number}"
        made["search"] = (
            f"CASE WHEN number IS NULL THEN {made['search']} ELSE"
            f" '#' || ({moved}) || substr({made['search']}, instr(search, char(10))) END"
        )
    if table == "incident_log":
        data = f"json_set({made['data']}, '$.id', json_extract(data, '$.id') + {copy * last['activity']})"
        shown = f"json_set({made['data']}, '$.set.number', json_extract(data, '$.set.number') + {copy * number})"
        made["data"] = (
            f"CASE WHEN kind = 'entry' THEN {data}"
            f" WHEN json_extract(data, '$.set.number') IS NOT NULL THEN {shown} ELSE {made['data']} END"
        )
    names = ", ".join(f'"{c}"' for c, _ in columns)
    chosen = f"SELECT {', '.join(made[c] for c, _ in columns)} FROM {table} WHERE {key} <= {last[table]}"
    unit.connection.execute(text(f"INSERT INTO {table} ({names}) {chosen}".replace(":", "\\:")))


def _words(kind: str) -> bool:
    return "CHAR" in kind or "TEXT" in kind or "JSON" in kind


def _renamed(column: str, copy: int) -> str:
    for name in _NAMES:
        column = f"replace({column}, '{name}', '{name[:2]}{copy}x{name[2:]}')"
    return column
