"""What figures of rules are counted from is what the alerts and incidents say, whatever happened to them; on each database."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import text

from tests.incidents.test_correlate import alert
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.history import rebuild
from tocsin.incidents.life import Actor
from tocsin.state import State
from tocsin.tables import Entity

ANN = Actor("ann")


def counted(desk: IncidentDesk) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, bool]]]:
    """By rule and classification, and by rule and whether it was right, the incidents that people see, read one by one."""
    said, outcomes = Counter[tuple[str, str]](), Counter[tuple[str, bool]]()
    for item in desk.page(statuses=("New", "InProgress", "Resolved", "Redirected"), limit=1000)["items"]:
        whole = desk.get(item["id"])
        for rule in {a["rule_id"] for a in whole["alerts"]}:
            said[rule, whole["classification"] or ""] += 1
            if whole["status"] == "Resolved" and whole["classification"]:
                outcomes[rule, whole["classification"] == "TruePositive"] += 1
    return said, outcomes


def agree(desk: IncidentDesk, state: State) -> bool:
    said, outcomes = counted(desk)
    with state.write() as unit:
        held = Counter({(r, c): n for r, by in unit.incidents.classified_by_rule().items() for c, n in by.items()})
        right = Counter(
            {
                (r, y): n
                for r, both in unit.incidents.outcomes_by_rule().items()
                for y, n in zip((True, False), both, strict=True)
                if n
            }
        )
        assert list(rebuild(unit, repair=False)) == []
    return held == said and right == outcomes


def test_figures_follow_what_happens_to_incidents(state: State) -> None:
    desk = IncidentDesk(state)
    hosts = [Entity.host(f"ws{n}.contoso.com") for n in range(6)]
    desk.add([alert(f"r{n % 3}", n * 600, host) for n, host in enumerate(hosts)])
    assert agree(desk, state)
    desk.add([alert("r9", 1201, hosts[2]), alert("r9", 1202, hosts[2])])
    ids = [i["id"] for i in desk.page(limit=100, sort="number", descending=False)["items"]]
    with state.write() as unit:
        desk.change(unit, ids[0], {"status": "Resolved", "classification": "TruePositive"}, actor=ANN)
        desk.change(unit, ids[1], {"status": "Resolved", "classification": "FalsePositive"}, actor=ANN)
        desk.change(unit, ids[2], {"classification": "FalsePositive"}, actor=ANN)
    assert agree(desk, state)
    with state.write() as unit:
        desk.merge(unit, ids[3], [ids[4]], reason="one attack", actor=ANN)
        moved = unit.incidents.alerts_of(ids[2])[0]["id"]
        desk.move(unit, ids[2], [moved], ids[5], reason="not of it", actor=ANN)
        desk.change(unit, ids[0], {"status": "New", "classification": None}, actor=ANN)
    assert agree(desk, state)
    with state.write() as unit:
        unit.connection.execute(text("UPDATE incident_rules SET alerts = alerts + 1"))
        unit.connection.execute(text("DELETE FROM incident_rules WHERE rule_id = 'r0'"))
        assert [d.part for d in rebuild(unit, repair=True)] == ["rules"]
    assert agree(desk, state)
