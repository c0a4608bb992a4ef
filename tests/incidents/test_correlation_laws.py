"""What correlation promises for any alerts: order changes nothing, incidents don't disturb each other, split and merge cancel out."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.incidents.test_correlate import ANN, BOB, T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.detect.alert import Alert
from tocsin.incidents import Correlator, Incident, held
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.life import Actor
from tocsin.incidents.score import Scorer
from tocsin.state import State
from tocsin.tables import Entity

WS3 = Entity.host("ws3.contoso.com")
HASH = Entity("FileHash", {"Algorithm": "SHA256", "Value": "ab" * 32})
THINGS = [e for e in (WS1, WS2, WS3, ANN, BOB, HASH, Entity("IP", {"Address": "8.8.8.8"})) if e]
FILES = [Entity("File", {"Directory": "d:\\x", "Name": f"{n}.exe"}) for n in "ab"]
TACTICS = ("InitialAccess", "Execution", "CredentialAccess", "Exfiltration")


@st.composite
def some_alerts(draw: st.DrawFn, most: int = 9) -> list[Alert]:
    """Alerts within a day, over things so few that none of them is a hub and no rule noisy."""
    count = draw(st.integers(2, most))
    return [
        alert(
            f"r{n % 4}",
            draw(st.integers(0, 24 * 60)) + n / 1000,
            *draw(st.lists(st.sampled_from([*THINGS, *FILES]), max_size=3, unique=True)),
            severity=draw(st.sampled_from(["Low", "Medium", "High"])),
            tactics=(draw(st.sampled_from(TACTICS)),),
        )
        for n in range(count)
    ]


def groups(alerts: Sequence[Alert], before: Sequence[Alert] = ()) -> set[frozenset[str]]:
    """The alerts' ids, as they are in incidents, shown or not, after those `before` came."""
    correlator = Correlator()
    correlator.add([*before, *alerts])
    held: dict[str, set[str]] = {}
    for each in alerts:
        incident = correlator.holding(each.id)
        assert incident is not None
        held.setdefault(incident.id, set()).add(each.id)
    return {frozenset(ids) for ids in held.values()}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_order_of_arrival_changes_no_members(data: st.DataObject) -> None:
    alerts = data.draw(some_alerts())
    assert groups(data.draw(st.permutations(alerts))) == groups(alerts)


DC = Entity.host("dc.contoso.com")
SERVICE = Entity.account("CONTOSO\\svc")


def fleet(hosts: int, hours: int) -> list[Alert]:
    """What machines give anyway, some of it with a domain controller and a service account, until the alerts of `some_alerts` come."""
    names = [f"m{n}.contoso.com" for n in range(hosts - 3)] + ["ws1.contoso.com", "ws2.contoso.com", "ws3.contoso.com"]
    return [
        alert(
            f"noise{n % 5}", minute - hours * 60 - 60, Entity.host(names[n % hosts]), Entity.account(f"CONTOSO\\u{n % hosts}"),
            *([DC, SERVICE] if n % 3 == 0 else ()), severity=("Low", "Medium")[n % 2], tactics=("Discovery",),
        )
        for n, minute in enumerate(range(0, hours * 60, 7))
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_not_scored_would_not_have_joined(data: st.DataObject) -> None:
    before = data.draw(st.sampled_from([(), tuple(fleet(6, 24)), tuple(fleet(20, 24))]))
    with patch(f"{__name__}.THINGS", [*THINGS, DC, SERVICE]):
        alerts = data.draw(some_alerts(14))
    made = groups(alerts, before)
    with (
        patch.object(Scorer, "could_join", lambda *_args: True),
        patch.object(Scorer, "reach", lambda *_args, **_more: float("inf")),
    ):
        assert groups(alerts, before) == made


ADDRESS = Entity("IP", {"Address": "8.8.8.8"})
FIRST, LAST = "Reconnaissance", "Exfiltration"


@pytest.mark.parametrize(
    "alerts",
    [
        # What the pattern's two alerts are together is near to the third; neither is alone.
        [
            alert("r3", 1, ADDRESS, severity="Low", tactics=(LAST,)),
            alert("r0", 0, WS1, ADDRESS, severity="Low", tactics=(FIRST,)),
            alert("r2", 0, WS1, severity="Low", tactics=(FIRST,)),
        ],
        # A further alert of the pattern's first stage, before the pattern is told or after.
        [
            alert("r1", 0, ADDRESS, severity="Low", tactics=(FIRST,)),
            alert("r2", 0, ADDRESS, severity="Low", tactics=(FIRST,)),
            alert("r3", 0, WS1, WS2, ADDRESS, severity="Low", tactics=(LAST,)),
        ],
    ],
    ids=["near", "further"],
)
def test_a_pattern_gathers_the_same_in_any_order(alerts: list[Alert]) -> None:
    assert [groups(list(order)) for order in permutations(alerts)] == [{frozenset(a.id for a in alerts)}] * 6


@settings(max_examples=60, deadline=None)
@given(some_alerts())
def test_the_same_alerts_give_the_same_ids_and_reasons(alerts: list[Alert]) -> None:
    def made() -> list[tuple[str, list[tuple[str, list[str]]]]]:
        correlator = Correlator()
        correlator.add(alerts)
        return [(i.id, [(a.alert.id, [r.text for r in a.linked_by]) for a in i.alerts]) for i in correlator.incidents]

    assert made() == made()


@settings(max_examples=60, deadline=None)
@given(some_alerts())
def test_every_reason_is_of_a_thing_that_the_alert_names(alerts: list[Alert]) -> None:
    correlator = Correlator()
    correlator.add(alerts)
    for incident in correlator.incidents:
        for linked in incident.alerts:
            labels = {e.label.lower() for e in linked.alert.entities}
            for reason in linked.linked_by:
                if reason.text.startswith("same ") and reason.text != "same rule":
                    assert any(label in reason.text for label in labels), reason.text


@settings(max_examples=60, deadline=None)
@given(some_alerts())
def test_a_restart_in_between_changes_nothing(alerts: list[Alert]) -> None:
    alerts.sort(key=lambda a: (a.created, a.time, a.id))
    half = len(alerts) // 2
    before = Correlator()
    before.add(alerts[:half])
    known = {i.id: i for a in alerts[:half] if (i := before.holding(a.id))}
    again = Correlator([Incident.from_record(i.to_record()) for i in known.values()])
    before.add(alerts[half:])
    again.add(alerts[half:])
    assert [i.id for i in again.incidents] == [i.id for i in before.incidents]
    assert [i.alert_ids() for i in again.incidents] == [i.alert_ids() for i in before.incidents]


def _desk(folder: str) -> tuple[State, IncidentDesk]:
    state = State.open(Path(folder) / "state.db", clock=ManualClock(T0 + timedelta(days=2)))
    return state, IncidentDesk(state)


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_a_benign_alert_lowers_no_unrelated_incidents_priority(data: st.DataObject) -> None:
    """Also not where it is of the rules of that incident, comes often, before it or after it, and what is known of rules is looked up again: see
    docs/decisions/0010. Some incidents are false positives already, and the rules' past counts."""
    alerts = data.draw(some_alerts(6))
    anna = Actor("anna")
    with TemporaryDirectory() as folder:
        state, desk = _desk(folder)
        past = data.draw(st.lists(st.sampled_from(["r0", "r1", "another"]), max_size=5))
        desk.add([alert(r, -3000 - n, Entity.host(f"past{n}.contoso.com")) for n, r in enumerate(past)])
        for item in desk.page(limit=50)["items"]:
            said = data.draw(st.sampled_from(["FalsePositive", "TruePositive"]))
            with state.write() as unit:
                desk.change(unit, item["id"], {"status": "Resolved", "classification": said}, actor=anna)
        desk.add(alerts)
        desk.catch_up()
        before = {i["id"]: i for i in desk.page(limit=50)["items"]}
        for batch in range(data.draw(st.integers(1, 3))):
            rules = data.draw(st.lists(st.sampled_from(["r0", "r1", "r2", "r3", "another"]), min_size=1, max_size=8))
            at = data.draw(st.integers(-24 * 60, 24 * 60))
            desk.add(
                [
                    alert(
                        rule, at + n, Entity.host(f"benign{batch}x{n}.contoso.com"), severity="Low", tactics=TACTICS[:1]
                    )
                    for n, rule in enumerate(rules)
                ]
            )
            data.draw(st.sampled_from([desk.catch_up, lambda: desk.judge(again=True), lambda: None]))()
        desk.judge(again=True)
        after = {i["id"]: i for i in desk.page(limit=100)["items"]}
        state.close()
    for incident_id, was in before.items():
        now = after[incident_id]
        assert now["priority"] >= was["priority"], (was["reasons"], now["reasons"])
        assert now["priority"] == sum(r["weight"] for r in now["reasons"])


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_split_then_merge_is_identity(data: st.DataObject) -> None:
    alerts = [alert(f"r{n}", n, WS1, ANN, tactics=(TACTICS[n % 4],)) for n in range(data.draw(st.integers(2, 6)))]
    ids = [a.id for a in alerts]
    leaving = data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=len(ids) - 1, unique=True))
    anna = Actor("anna")
    with TemporaryDirectory() as folder:
        state, desk = _desk(folder)
        desk.add(alerts)
        (only,) = desk.page()["items"]
        before = _what_it_is(desk, only["id"])
        with state.write() as unit:
            moved = desk.move(unit, only["id"], leaving, None, reason="", actor=anna)
        assert len(desk.page()["items"]) == 2
        with state.write() as unit:
            desk.merge(unit, only["id"], [moved["target"]], reason="", actor=anna)
        after = _what_it_is(desk, only["id"])
        state.close()
    assert after == before


def _what_it_is(desk: IncidentDesk, incident_id: str) -> dict[str, object]:
    """An incident without what tells of its changes: version, activity, and how its alerts came."""
    found = desk.get(incident_id)
    alerts = [{k: v for k, v in a.items() if k != "linked_by"} for a in found["alerts"]]
    told = ("version", "updated", "activity", "activity_count", "alerts", "priority_history")
    kept = {k: v for k, v in found.items() if k not in told}
    return {**kept, "alerts": alerts}


def told(alerts: list[Alert], every: int) -> list[object]:
    """What correlation says of alerts that come one by one, where incidents are laid to rest after every so many."""
    with patch.object(held, "_REST_EVERY", every):
        correlator = Correlator()
        said: list[object] = []
        for each in alerts:
            said.extend((c.kind, c.incident.id, c.absorbed and c.absorbed.id) for c in correlator.add([each]))
            correlator.shed([each])
    return [*said, *(i.to_record() for i in correlator.incidents), correlator.size]


@settings(max_examples=60, deadline=None)
@given(some_alerts(20))
def test_an_incident_at_rest_is_the_one_that_was_laid_to_rest(alerts: list[Alert]) -> None:
    assert told(alerts, 0) == told(alerts, 10**9)


def test_incidents_at_rest_are_no_work_for_the_collection_of_garbage() -> None:
    hosts = [Entity.host(f"lone{n}.contoso.com") for n in range(1200)]
    # over three days: those of the first are joined anew for as long as it lasts, and rest afterwards
    made = [alert(f"r{n % 40}", 4 * n, host, tactics=("Execution",)) for n, host in enumerate(hosts)]
    correlator = Correlator()
    for start in range(0, len(made), 400):
        correlator.add(made[start : start + 400])
    for _ in range(4):  # a tuple of tuples takes a collection for each of its levels
        gc.collect()
    resting = [each for each in correlator._held.clusters.values() if isinstance(each, tuple)]
    assert correlator.size.incidents == 1200
    assert len(resting) >= 400
    assert not any(gc.is_tracked(each) for each in resting)
