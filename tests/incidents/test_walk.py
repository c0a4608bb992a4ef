"""Walks at random: alerts, people's and automation's changes, merges, splits, undoings, restarts and looking back in any order. After each few steps
the rows are what the log says, memory holds what the rows say, each alert is in one incident, and the figures are those that a script counts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.incidents.recount import recount
from tests.incidents.test_correlate import T0, alert
from tocsin.base.clock import ManualClock
from tocsin.base.errors import StateError, TocsinError
from tocsin.detect.alert import TACTICS, Alert
from tocsin.incidents import history
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.judging import set_weights
from tocsin.incidents.life import Actor
from tocsin.incidents.merged import final
from tocsin.state import IncidentChange, State, text_of
from tocsin.tables import Entity

ANNA, ROBOT = Actor("anna"), Actor("automation:x", "automation")
DC, SERVICE = Entity.host("dc.contoso.com"), Entity.account("CONTOSO\\svc")
ADDRESS = Entity("IP", {"Address": "8.8.4.4"})
HASHES = [Entity("FileHash", {"Algorithm": "SHA256", "Value": f"{n:02x}" * 32}) for n in range(5)]
CHANGES: list[dict[str, Any]] = [
    *({"status": s} for s in ("Resolved", "Resolved", "New", "InProgress")),
    *({"owner": o} for o in ("anna", "bert", None)),
    {"classification": "TruePositive", "determination": "Malware"}, {"classification": None},
    {"severity": "Low"}, {"severity": None}, {"title": "t"}, {"title": None}, {"phase": "Containment"},
    {"add_tags": ["a", "b"]}, {"remove_tags": ["a"]}, {"add_tags": ["locked"]}, {"remove_tags": ["locked"]},
]  # fmt: skip
WORDS = {"New": "New", "InProgress": "Active", "Resolved": "Closed", "Redirected": "Closed"}


def agreed(state: State, desk: IncidentDesk) -> set[str]:
    """Fails where log, rows and memory say different things, or an alert is in two incidents; gives the alerts that are in one."""
    with state.write() as unit:
        assert [d.to_dict() for d in history.rebuild(unit, repair=False)] == []
        rows = unit.incidents.several(unit.incidents.every_id())
        held = {i: set(unit.incidents.alert_ids(i)) for i in rows}
        for row in rows.values():
            if row.status == "Redirected":
                assert final(unit, row).status != "Redirected", "nobody is led to where its alerts are"
            else:
                assert len(held[row.id]) == row.alert_count > 0
    every = Counter(a for ids in held.values() for a in ids)
    assert set(every.values()) <= {1}, "an alert is in two incidents"
    with desk.memory.held():
        desk.memory.keep_up()
        for row in rows.values():
            known = desk.memory.correlator.get(row.id)
            if known is not None and row.status in ("New", "InProgress"):
                assert set(known.alert_ids()) == held[row.id], "memory holds other alerts"
    return {a for a in every if a.startswith("al_r")}


class Walk:
    """One walk: everything that it does is drawn from its seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng, self.clock = random.Random(seed), ManualClock(T0)
        self.state = State.open(folder / "state.db", clock=self.clock)
        with self.state.write() as unit:
            for name in ("anna", "bert"):
                unit.users.add(name, name.title(), "x", ["Responder"])
        self.told: list[dict[str, Any]] = []
        self.state.on_incidents(self._follow)
        self.memory = folder / "memory" if self.rng.random() < 0.7 else None
        self.desk = IncidentDesk(self.state, memory=self.memory)
        self.machines = self.rng.choice((4, 8, 20))
        self.minute, self.came, self.filed = 0.0, 0, list[str]()
        self.undos: list[tuple[Callable[..., Any], Any]] = []
        self.did: Counter[str] = Counter()

    def _follow(self, changes: Sequence[IncidentChange]) -> None:
        for change in changes:
            row = change.row
            if row.promoted and change.data:  # a comment or a task makes no version
                named = {
                    "IncidentName": row.id, "Version": row.version, "Status": WORDS[row.status], "Created": text_of(row.created),
                    "Acknowledged": text_of(row.acknowledged), "Closed": text_of(row.closed), "Modified": text_of(row.updated),
                    "Source": change.source, "Classification": row.classification or "Undetermined", "RedirectTo": row.redirect_to,
                }  # fmt: skip
                self.told.append(named)

    def batch(self) -> list[Alert]:
        """A few alerts, some late, some of them signals, some with what many share."""
        rng, made = self.rng, list[Alert]()
        for _ in range(rng.randint(1, 12)):
            self.minute += rng.choice((0, 0.1, 1, 5, 30))
            at = rng.randrange(self.machines)
            named: list[Entity | None] = [Entity.host(f"m{at}.contoso.com")]
            if rng.random() < 0.7:
                named.append(Entity.account(f"CONTOSO\\u{at if rng.random() < 0.8 else rng.randrange(self.machines)}"))
            named += [e for e, share in ((DC, 0.3), (SERVICE, 0.2), (ADDRESS, 0.3)) if rng.random() < share]
            named += [rng.choice(HASHES)] if rng.random() < 0.15 else []
            named += [Entity.host(f"m{rng.randrange(self.machines)}.contoso.com")] if rng.random() < 0.1 else []
            self.came += 1
            minute = self.minute + self.came / 10_000 - rng.choice((0, 0, 0, 90))
            severity = rng.choice(("Informational", "Low", "Medium", "High"))
            tactics, opens = (rng.choice(TACTICS),), rng.random() < 0.8
            rule = f"r{rng.randrange(9)}"
            made.append(
                alert(rule, minute, *dict.fromkeys(named), severity=severity, tactics=tactics, create_incident=opens)
            )
        now = T0 + timedelta(minutes=self.minute + self.came / 10_000)
        self.clock.advance(max(timedelta(), now - self.clock.now()))
        return made

    def some(self) -> str:
        """An incident that people see: the larger of two, for most have one alert; more often one of the first few, so that more than one thing
        happens to them."""
        merged = ("Redirected",) if self.rng.random() < 0.02 else ()
        items = self.desk.page(statuses=merged, limit=200)["items"]
        items = items[: 5 if self.rng.random() < 0.7 else None]
        two: list[dict[str, Any]] = [self.rng.choice(items) for _ in range(2)] if items else []
        return str(max(two, key=lambda i: int(i["alert_count"]))["id"]) if two else "none"

    def step(self) -> None:
        """Does something; what can't be done now is refused and changes nothing."""
        kinds = {
            "add": 30, "change": 30, "merge": 6, "split": 6, "move": 6, "undo": 10, "talk": 4, "restart": 4, "weigh": 2, "look": 2,
        }  # fmt: skip
        (what,) = self.rng.choices(list(kinds), list(kinds.values()))
        try:
            getattr(self, what)()
            self.did[what] += 1
        except TocsinError as error:
            if type(error) is StateError:  # the database itself
                raise
            self.did["refused"] += 1

    def add(self) -> None:
        batch = self.batch()
        self.desk.add(batch)
        self.filed += (a.id for a in batch)

    def look(self) -> None:
        self.desk.look_back()

    def restart(self) -> None:
        (self.desk.close if self.rng.random() < 0.5 else self.desk.stop)()
        self.desk = IncidentDesk(self.state, memory=self.memory)

    def weigh(self) -> None:
        with self.state.write() as unit:
            set_weights(unit, self.rng.choice(({}, {"severity_high": 5})))
        self.desk.retune()

    def change(self) -> None:
        some, actor = self.some(), self.rng.choice((ANNA, ANNA, ROBOT))
        if self.rng.random() < 0.5:
            self.clock.advance(timedelta(seconds=self.rng.randrange(900)))
        with self.state.write() as unit:
            self.desk.change(unit, some, self.rng.choice(CHANGES), actor=actor)

    def talk(self) -> None:
        some = self.some()
        with self.state.write() as unit:
            self.desk.comment(unit, some, "Seen.", actor=ANNA)
            self.desk.add_task(unit, some, "Look at it", actor=ANNA)

    def merge(self) -> None:
        into, sources = self.some(), sorted({self.some() for _ in range(self.rng.randint(1, 3))})
        with self.state.write() as unit:
            self.undos.append((self.desk.unmerge, self.desk.merge(unit, into, sources, reason="r", actor=ANNA)))

    def split(self) -> None:
        self._move(self.some(), None)

    def move(self) -> None:
        self._move(self.some(), self.some())

    def _move(self, origin: str, into: str | None) -> None:
        with self.state.write() as unit:
            ids = sorted(unit.incidents.alert_ids(origin))
            chosen = self.rng.sample(ids, self.rng.randint(1, max(1, len(ids) - 1))) if ids else []
            self.undos.append((self.desk.unmove, self.desk.move(unit, origin, chosen, into, reason="r", actor=ANNA)))

    def undo(self) -> None:
        if self.undos:
            back, undo = self.undos.pop(self.rng.choice((-1, self.rng.randrange(len(self.undos)))))
            with self.state.write() as unit:
                back(unit, undo, actor=self.rng.choice((ANNA, ROBOT)))

    def check(self) -> None:
        """What must hold whatever happened."""
        assert agreed(self.state, self.desk) == set(self.filed)
        self.count()

    def count(self) -> dict[str, Any]:
        """The figures of the log, which are those that a script of its own counts of the rows that were told."""
        by_hand = recount(self.told)
        found = self.desk.metrics(T0 - timedelta(days=1), self.clock.now() + timedelta(days=1))
        for name, value in by_hand.items():
            if name in ("mtta", "mttr", "closure"):
                assert (name, found[name]["count"]) == (name, value["count"])
                assert found[name]["mean"] == (pytest.approx(value["mean"], abs=2e-6) if value["count"] else None), name
            else:
                assert (name, found[name]) == (name, value)
        return found


@pytest.mark.parametrize("seed", [16, 20, 27])
def test_whatever_comes_in_whatever_order_log_rows_memory_and_figures_agree(seed: int, tmp_path: Path) -> None:
    walk = Walk(seed, tmp_path)
    for n in range(70):
        walk.step()
        if n % 7 == 6:
            walk.check()
    assert walk.did["add"] > 10
    assert min(walk.did[what] for what in ("merge", "undo", "change")) > 0
    assert walk.did["split"] + walk.did["move"] > 0
    counted = walk.count()
    assert all(counted[what] > 0 for what in ("acknowledged", "resolved", "merged", "reopened"))
    walk.state.close()


def test_what_looking_back_takes_away_and_the_same_alerts_tell_again_is_kept(tmp_path: Path) -> None:
    """A walk in which an alert of a pattern is: it was told, withdrawn and told again, all in what was filed together."""
    walk = Walk(311, tmp_path)
    for _ in range(21):
        walk.step()
        walk.check()
    walk.state.close()


@pytest.mark.parametrize("kills", [int(os.environ.get("TOCSIN_WALK_KILLS", "1"))])
def test_what_was_filed_before_a_kill_is_whole_after_it(kills: int, tmp_path: Path) -> None:
    """kill -9 at any moment of a walk, also while alerts are joined and incidents merged."""
    seed = random.SystemRandom().randrange(1 << 30)
    rng = random.Random(seed)
    for kill in range(kills):
        folder = tmp_path / str(kill)
        folder.mkdir()
        script = [sys.executable, "-m", "tests.incidents.walk_killed", str(folder), str(rng.randrange(1 << 30))]
        with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(rng.randint(3, 25))]
            time.sleep(rng.random() * 0.3)
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        whole = [line.split() for line in lines if line.startswith("filed ") and line.endswith("\n")]
        filed = {alert_id for words in whole for alert_id in words[1:]}
        assert child.returncode == -signal.SIGKILL, f"the walk of seed {seed} ended by itself"
        state = State.open(folder / "state.db", clock=ManualClock(T0 + timedelta(days=30)))
        desk = IncidentDesk(state, memory=folder / "memory")
        there = agreed(state, desk)
        assert there >= filed, f"the walk of seed {seed}"
        desk.add([alert("r0", 50_000, DC), alert("r1", 50_001, DC, SERVICE)])
        assert len(agreed(state, desk)) == len(there) + 2
        state.close()
