"""Looking back: what was joined before it was known what is common is joined anew, and state, log and memory say the same of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.incidents.test_correlate import T0, alert
from tocsin.base.clock import ManualClock
from tocsin.detect.alert import TACTICS, Alert
from tocsin.incidents import Correlator, history, load
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.fusion import PRODUCT, Condition, Pattern, Stage
from tocsin.incidents.life import Actor
from tocsin.incidents.merged import final
from tocsin.incidents.model import LinkedAlert
from tocsin.state import State
from tocsin.tables import Entity

DC = Entity.host("dc01.contoso.com")
SCANNER = Entity("IP", {"Address": "10.250.0.9", "AddressScope": "contoso"})
VICTIM, ATTACKER = Entity.host("ws1.contoso.com"), Entity.account("CONTOSO\\ann")


def first_hours(seed: int, hours: float = 6.0) -> list[Alert]:
    """A workspace that begins: alerts of many machines that name a scanner, or were seen on a domain controller, and within its first half hour an
    attack."""
    rng = random.Random(seed)
    made: list[Alert] = []
    for n in range(int(40 * hours)):
        machine = rng.randrange(60)
        named = [Entity.host(f"pc{machine}.contoso.com"), Entity.account(f"CONTOSO\\u{machine}")]
        named = [DC, *named] if rng.random() < 0.3 else named
        named += [SCANNER] if rng.random() < 0.3 else []
        minute = round(rng.uniform(0, 60 * hours), 3)
        tactics = (TACTICS[rng.randrange(len(TACTICS))],)
        severity = rng.choice(["Informational", "Low", "Medium"])
        made.append(alert(f"noise{rng.randrange(25)}_{n}", minute, *named, severity=severity, tactics=tactics))
    for n in range(8):
        named = [*([DC] if n % 3 == 1 else []), VICTIM, ATTACKER, *([SCANNER] if n % 3 == 2 else [])]
        severity = rng.choice(["Medium", "High"])
        made.append(alert(f"attack{n}", 25 + 2.0 * n, *named, severity=severity, tactics=(TACTICS[3 + n],)))
    return sorted(made, key=lambda a: (a.time, a.id))


def foreign(correlator: Correlator) -> int:
    """Alerts of no attack in the incident that has most of the attack's."""
    every = {i.id: i for a in first_hours(1) if (i := correlator.holding(a.id)) is not None}
    best = max(every.values(), key=lambda i: sum(a.alert.rule.startswith("attack") for a in i.alerts))
    assert sum(a.alert.rule.startswith("attack") for a in best.alerts) == 8
    return sum(a.alert.rule.startswith("noise") for a in best.alerts)


def knew(correlator: Correlator) -> bool:
    """Whether it was looked back when enough was known."""
    return correlator.hindsight.at[2] > 0


def opened(folder: Path) -> tuple[State, IncidentDesk]:
    state = State.open(folder / "state.db", clock=ManualClock(T0 + timedelta(hours=8)))
    return state, IncidentDesk(state, memory=folder / "cache" / "memory")


def held(state: State) -> dict[str, Any]:
    """By incident that isn't merged, its alerts and why each is in it."""
    with state.read() as unit:
        rows = [r for i in unit.incidents.every_id() if (r := unit.incidents.get(i)) is not None]
        return {
            r.id: {a["id"]: a["linked_by"] for a in unit.incidents.alerts_of(r.id)}
            for r in rows
            if r.status != "Redirected"
        }


def remembered(desk: IncidentDesk, alerts: list[Alert]) -> dict[str, Any]:
    """The same as the correlator has it."""
    every = {i.id: i for a in alerts if (i := desk.memory.correlator.holding(a.id)) is not None}
    return {i.id: {a.alert.id: [r.to_dict() for r in a.linked_by] for a in i.alerts} for i in every.values()}


def differences(state: State) -> list[Any]:
    with state.write() as unit:
        return list(history.rebuild(unit, repair=False))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[State, IncidentDesk]]:
    state, desk = opened(tmp_path_factory.mktemp("straight"))
    for each in first_hours(1):
        desk.add([each])
    yield state, desk
    state.close()


def test_what_many_share_glues_the_first_alerts_only_until_that_is_known() -> None:
    before, after = Correlator(), Correlator()
    before.hindsight.end()
    for each in first_hours(2):
        before.add([each])
        after.add([each])
    assert foreign(before) > 8, "the alerts don't show what looking back is for"
    assert foreign(after) == 0
    assert not after.hindsight.over, "the first day isn't over"
    after.add([alert("tomorrow", 25 * 60, VICTIM)])
    assert after.hindsight.over
    assert not after.look_back()


def test_what_is_known_in_the_afternoon_takes_apart_what_the_first_four_hours_left() -> None:
    """Two attacks begin a workspace, and its noise is thin: of those who name the domain controller too few have come by four hours."""
    rng = random.Random(5)
    noise = [
        alert(f"noise{n % 7}", 40 + 8.0 * n, Entity.host(f"pc{rng.randrange(25)}.contoso.com"), *([DC] if n % 4 == 0 else []))
        for n in range(160)
    ]  # fmt: skip
    bob = Entity.account("CONTOSO\\bob"), Entity.host("ws2.contoso.com")
    attacks = [
        [alert(f"{name}{n}", at + n, *own, *([DC] if n % 2 else []), tactics=(TACTICS[n],)) for n in range(10)]
        for name, at, own in (("one", 0, (VICTIM, ATTACKER)), ("other", 0.5, bob))
    ]
    # each has an alert on the controller itself, so that it is where something of either happened
    attacks[0].append(alert("one on the controller", 11, DC, ATTACKER))
    attacks[1].append(alert("other on the controller", 11.5, DC, bob[0]))
    correlator = Correlator()
    for each in sorted((*attacks[0], *attacks[1], *noise), key=lambda a: (a.time, a.id)):
        correlator.add([each])
    homes = [{i.id for a in attack if (i := correlator.holding(a.id)) is not None} for attack in attacks]
    assert [len(h) for h in homes] == [1, 1]
    assert homes[0] != homes[1]


def test_state_log_and_memory_say_the_same(straight: tuple[State, IncidentDesk]) -> None:
    state, desk = straight
    assert knew(desk.memory.correlator)
    assert held(state) == remembered(desk, first_hours(1))
    assert differences(state) == []
    with state.read() as unit:
        said = Counter(
            e.text.partition(":")[0] for i in unit.incidents.every_id() for e in unit.incidents.activity_of(i)
        )
    assert said["Looked at again, now that it is known what is common here"] > 0


def test_batches_and_restarts_change_nothing(straight: tuple[State, IncidentDesk], tmp_path: Path) -> None:
    alerts = first_hours(1)
    for name, size, again in (("batches", 7, 1000), ("restarts", 1, 13)):
        state, desk = opened(tmp_path / name)
        for n in range(0, len(alerts), size):
            if n % again == again - 1:
                desk.close()
                state.close()
                state, desk = opened(tmp_path / name)
            desk.add(alerts[n : n + size])
        assert held(state) == held(straight[0]), name
        assert differences(state) == []
        state.close()


def test_what_somebody_has_touched_stays_as_it_is(tmp_path: Path) -> None:
    state, desk = opened(tmp_path)
    with state.write() as unit:
        unit.users.add("anna", "Anna", "x", ["Responder"])
    alerts = first_hours(1)
    for each in alerts[:45]:
        desk.add([each])
    with state.write() as unit:
        glued = max((i.id for i in desk.memory.correlator.incidents), key=lambda i: len(unit.incidents.alert_ids(i)))
        there = unit.incidents.alert_ids(glued)
        desk.comment(unit, glued, "Mine.", actor=Actor("anna"))
    assert len(there) > 5
    for each in alerts[45:]:
        desk.add([each])
    with state.read() as unit:
        assert unit.incidents.alert_ids(glued) >= there
    assert differences(state) == []
    state.close()


def a_crowd(rng: random.Random, quiet: float = 0.0) -> Iterator[list[Alert]]:
    """Alerts of few machines in batches, that share of them signals, some late, some with one account or domain controller: more becomes one."""
    minute = 0.0
    for n in range(40):
        batch: list[Alert] = []
        for k in range(rng.randint(1, 12)):
            minute += rng.choice((0, 0.1, 1, 5))
            machine = rng.randrange(20)
            named = [Entity.host(f"pc{machine}.contoso.com"), Entity.account(f"CONTOSO\\u{machine}")]
            named += [DC] if rng.random() < 0.3 else []
            named += [ATTACKER] if rng.random() < 0.2 else []
            named += [Entity.host(f"pc{rng.randrange(20)}.contoso.com")] if rng.random() < 0.15 else []
            rule, severity = f"r{rng.randrange(9)}", rng.choice(["Low", "Medium", "High"])
            tactics, late = (TACTICS[rng.randrange(len(TACTICS))],), rng.choice((0, 0, 0, 90))
            moment = minute - late + n / 100 + k / 10_000
            opens = not quiet or rng.random() >= quiet
            batch.append(
                alert(rule, moment, *dict.fromkeys(named), severity=severity, tactics=tactics, create_incident=opens)
            )
        yield batch


def works(desk: IncidentDesk, rng: random.Random) -> None:
    """Somebody does something about one of the incidents."""
    shown = desk.page(limit=500)["items"]
    some, what = rng.choice(shown)["id"], rng.choice(("tag", "tag", "comment", "task", "split"))
    with desk._state.write() as unit:
        if what == "tag":
            desk.change(unit, some, {"add_tags": ["seen"]}, actor=Actor("anna"))
        elif what == "comment":
            desk.comment(unit, some, "Mine.", actor=Actor("anna"))
        elif what == "task":
            desk.add_task(unit, some, "Look at it", actor=Actor("anna"))
        elif len(alerts := sorted(unit.incidents.alert_ids(some))) > 1:
            desk.move(unit, some, alerts[:1], None, reason="", actor=Actor("anna"))


@pytest.mark.parametrize(
    ("seed", "quiet"), [*((s, 0.0) for s in (11, 14, 28, 40, 54)), *((s, 0.3) for s in (1, 106, 113))]
)
def test_whatever_people_do_meanwhile_each_alert_is_in_one_incident_and_the_log_says_so(
    seed: int, quiet: float, tmp_path: Path
) -> None:
    state, desk = opened(tmp_path)
    rng = random.Random(seed)
    came = 0
    for batch in a_crowd(rng, quiet):
        desk.add(batch)
        came += len(batch)
        if rng.random() < 0.5:
            works(desk, rng)
    assert differences(state) == []
    held: Counter[str] = Counter()
    with state.read() as unit:
        for row in unit.incidents.several(unit.incidents.every_id()).values():
            alerts = unit.incidents.alert_ids(row.id)
            held.update(a for a in alerts if a.startswith("al_r"))
            if row.status == "Redirected":
                assert final(unit, row).status != "Redirected", "nobody is led to where its alerts are"
            else:
                assert len(alerts) == row.alert_count
    assert (len(held), set(held.values())) == (came, {1})
    state.close()


def test_what_was_withdrawn_and_is_told_again_is_kept_as_it_is_told_then(tmp_path: Path) -> None:
    state, desk = opened(tmp_path)
    first = alert("pattern", 0, VICTIM, title="Of a and b")
    desk.add([first])
    (item,) = desk.page()["items"]
    again = load.record(LinkedAlert(replace(first, title="Of c and d")))
    for withdrawn, title in ((False, "Of a and b"), (True, "Of c and d")):
        with state.write() as unit:
            if withdrawn:
                writes = unit.incidents.writes()
                writes.withdraw([first.id])
                writes.flush()
            writes = unit.incidents.writes()
            writes.alert(item["id"], again, [])
            writes.flush()
            (kept,) = unit.incidents.alerts_by_id([first.id]).values()
        assert kept["title"] == title
    state.close()


def test_a_transaction_that_fails_takes_looking_back_with_it(
    straight: tuple[State, IncidentDesk], tmp_path: Path
) -> None:
    state, desk = opened(tmp_path)

    def fails_after(looked: tuple[bool, int], _unit: object) -> None:
        if desk.memory.correlator.hindsight.at != looked:
            raise OSError("the disk is full")

    failed = 0
    for each in first_hours(1):
        looked = desk.memory.correlator.hindsight.at
        try:
            desk.add([each], within=partial(fails_after, looked))
        except OSError:
            failed += 1
            desk.add([each])
    assert failed >= 3
    assert held(state) == held(straight[0])
    assert differences(state) == []
    state.close()


def test_nothing_is_looked_at_again_in_a_workspace_of_an_older_program(tmp_path: Path) -> None:
    state, desk = opened(tmp_path)
    desk.memory.correlator.hindsight.end()
    for each in first_hours(1)[:60]:
        desk.add([each])
    with state.write() as unit:
        unit.kv.set(load.LOOKED_BACK, None)
    assert IncidentDesk(state).memory.correlator.hindsight.over
    state.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_where_alerts_come_in_no_order_it_is_looked_back_until_the_company_has_come(seed: int) -> None:
    """Files that are read one after the other: two attacks' alerts first, which name the domain controller and the scanner both, then those of the
    day around them, the last ones among the first."""
    noise = [a for a in first_hours(seed, 23) if not a.rule.startswith("attack")]
    random.Random(seed).shuffle(noise)
    attacks = [
        [
            alert(
                f"{name}{n}", at + n, machine, account, *([DC] if n % 3 else [SCANNER, DC]), tactics=(TACTICS[n % 12],)
            )
            for n in range(24)
        ]
        for name, at, machine, account in (
            ("one", 600, VICTIM, ATTACKER),
            ("other", 602, Entity.host("ws2.contoso.com"), Entity.account("CONTOSO\\bob")),
        )
    ]
    correlator = Correlator()
    for each in (*attacks[0], *attacks[1], *noise[:300]):
        correlator.add([each])
    for attack in attacks:
        home = correlator.holding(attack[0].id)
        assert home is not None
        assert {a.alert.id for a in home.alerts if a.alert.product != PRODUCT} == {a.id for a in attack}
    assert knew(correlator)


def test_what_a_pattern_said_stays_as_it_was_said() -> None:
    """Known later, an alert of its first stage is there by chance, so that the pattern begins later than was told: the alert that tells it has the
    same id, and state has it already."""
    stages = tuple(Stage(t, (Condition(tactics=frozenset({t})),)) for t in ("Execution", "Impact"))
    program = Entity("FileHash", {"Algorithm": "SHA256", "Value": "cd" * 32})
    pattern = Pattern("p", "P", "", "Host", timedelta(hours=6), stages)
    parts = [
        alert(name, minute, VICTIM, program, tactics=(tactic,))
        for name, minute, tactic in (("early", 0, "Execution"), ("late", 24, "Execution"), ("end", 24.1, "Impact"))
    ]
    correlator = Correlator(patterns=[pattern])
    correlator.add(parts)
    told = [a.alert for i in correlator.incidents for a in i.alerts if a.alert.product == PRODUCT]
    assert [a.time for a in told] == [parts[0].time]
    for n in range(200):
        machine = Entity.host(f"pc{n % 30}.contoso.com")
        correlator.add([alert(f"n{n}", 25 + n / 5, machine, tactics=("Execution",))])
        for incident in correlator.incidents:
            assert all(correlator.holding(a.alert.id) is incident for a in incident.alerts)
    kept = [a.alert for i in correlator.incidents for a in i.alerts if a.alert.product == PRODUCT]
    assert kept == told
    assert correlator.looked_back


@pytest.mark.parametrize("minutes", [0.25, 1.25])
def test_an_attack_that_spreads_in_the_first_hours_stays_one(minutes: float) -> None:
    worm = [
        alert(f"{rule}{n}", n * minutes + later, Entity.host(f"ws{n}.contoso.com"), ATTACKER, severity=severity, tactics=(tactic,))
        for n in range(40)
        for rule, later, severity, tactic in (("service", 0, "Medium", "LateralMovement"), ("encrypt", 1, "High", "Impact"))
    ]  # fmt: skip
    noise = [a for a in first_hours(1) if a.rule.startswith("noise")]
    correlator = Correlator()
    for each in sorted([*worm, *noise], key=lambda a: (a.time, a.id)):
        correlator.add([each])
    assert len({i.id for a in worm if (i := correlator.holding(a.id)) is not None}) == 1
    assert knew(correlator)


@pytest.mark.parametrize("shown", [True, False])
def test_incidents_that_what_many_share_had_merged_are_two_again(shown: bool, tmp_path: Path) -> None:
    """Those that people saw are open again under their numbers; those that nobody saw are made anew."""
    state, desk = opened(tmp_path)
    one, other = Entity.host("ws1.contoso.com"), Entity.host("ws2.contoso.com")
    parts = [
        alert(rule, n / 10, *named, tactics=(TACTICS[3 + n],), create_incident=shown)
        for n, (rule, *named) in enumerate([("a", one), ("b", other), ("c", DC, one), ("d", DC, other)])
    ]
    for each in parts:
        desk.add([each])
    assert len({desk.memory.correlator.holding(a.id).id for a in parts}) == 1  # type: ignore[union-attr]
    merged = {i: a for i, a in held(state).items() if a}
    assert len(merged) == 1
    for n in range(100):
        desk.add([alert(f"n{n}", 4 + 3 * n, Entity.host(f"pc{n % 40}.contoso.com"), DC)])
    assert knew(desk.memory.correlator)
    homes = [desk.memory.correlator.holding(a.id).id for a in parts]  # type: ignore[union-attr]
    assert homes[0] == homes[2] != homes[1] == homes[3]
    assert held(state) == remembered(
        desk, [*parts, *(a for i in desk.memory.correlator.incidents for a in (x.alert for x in i.alerts))]
    )
    assert differences(state) == []
    with state.read() as unit:
        told = [e.text for i in homes[:2] for e in unit.incidents.activity_of(i)]
        rows = [unit.incidents.require(i) for i in homes[:2]]
    assert [r.status for r in rows] == ["New", "New"]
    assert not any("Redirected" in r.tags or r.redirect_to for r in rows)
    if shown:
        assert any("It is open again." in t for t in told)
        assert len({r.number for r in rows} - {0}) == 2
    state.close()
    # A start reads what was written.
    state, desk = opened(tmp_path)
    assert [desk.memory.correlator.holding(a.id).id for a in parts] == homes  # type: ignore[union-attr]
    state.close()
