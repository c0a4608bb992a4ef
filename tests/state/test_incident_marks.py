"""The queue's filters by what an incident is about: tactics, products, entities and their types, and by priority."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from tests.incidents.test_correlate import ANN, T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.base.errors import UsageError
from tocsin.incidents.desk import IncidentDesk
from tocsin.state import State, incident_marks
from tocsin.state.migrations.versions import v0009_incident_marks as revision
from tocsin.tables import Entity

ADDRESS = Entity("IP", {"Address": "203.0.113.9"})


@pytest.fixture
def desk(where: str) -> Iterator[IncidentDesk]:
    """Three incidents: 1 of two hosts' products and tactics, 2 with a user, 3 with an address."""
    state = State.open(where, clock=ManualClock(T0))
    made = IncidentDesk(state)
    made.add(
        [
            alert("a", 0, WS1, tactics=("Discovery", "Execution"), product="Sysmon"),
            alert("b", 1, WS2, ANN, tactics=("Execution",), product="Windows", severity="Low"),
            alert("c", 2, ADDRESS, tactics=("Impact",), product="Firewall"),
        ]
    )
    yield made
    state.close()


CASES: list[tuple[dict[str, Any], set[int]]] = [
    ({"tactics": ("Execution",)}, {1, 2}),
    ({"tactics": ("Impact", "Discovery")}, {1, 3}),
    ({"tactics": ("Persistence",)}, set()),
    ({"products": ("Windows", "Firewall")}, {2, 3}),
    ({"entity_types": ("Account",)}, {2}),
    ({"entity_types": ("Host",), "tactics": ("Execution",), "products": ("Sysmon",)}, {1}),
    ({"entity": "WS1"}, {1}),
    ({"entity": "ws1.contoso.com"}, {1}),
    ({"entity": "ws"}, set()),
    ({"entity": "ann"}, {2}),
    ({"entity": "203.0.113.9"}, {3}),
    ({"entity": "203.0.113"}, set()),
    ({"entity": "%"}, set()),
    ({"entity": 'a" OR "b'}, set()),
    ({"entity": "ann", "entity_types": ("Host",), "text": "ws2"}, {2}),
]


def test_what_it_is_about(desk: IncidentDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    for few in (5_000, -1):  # -1: as where so many have each of them that none is worth beginning with
        monkeypatch.setattr(incident_marks, "FEW", few)
        monkeypatch.setattr("tocsin.state.incidents.FEW", few)
        for wanted, numbers in CASES:
            page = desk.page(**wanted)
            assert {i["number"] for i in page["items"]} == numbers, (wanted, few)
            assert page["total"] == sum(page["counts"]["status"].values()) == len(numbers), (wanted, few)


def test_a_range_of_priorities(desk: IncidentDesk) -> None:
    scores = {i["number"]: i["priority"] for i in desk.page()["items"]}
    least, most = min(scores.values()), max(scores.values())
    assert least < most

    def found(**bounds: int) -> set[int]:
        return {i["number"] for i in desk.page(**bounds)["items"]}

    assert found(least_priority=most) == {n for n, s in scores.items() if s == most}
    assert found(most_priority=least) == {n for n, s in scores.items() if s == least}
    assert found(least_priority=least, most_priority=most) == set(scores)
    assert found(least_priority=most + 1) == set()


def test_values_are_told_and_what_none_can_have_is_refused(desk: IncidentDesk) -> None:
    known = desk.filters()
    assert known["tactics"] == ["Discovery", "Execution", "Impact"]
    assert known["products"] == ["Firewall", "Sysmon", "Windows"]
    assert {"Account", "Host", "IP"} <= set(known["entity_types"])
    with pytest.raises(UsageError, match="tactic 'Excution'") as caught:
        desk.page(tactics=("Excution",))
    assert caught.value.hint is not None
    assert "Execution" in caught.value.hint
    with pytest.raises(UsageError, match="type of entity 'Hosts'"):
        desk.page(entity_types=("Hosts",))


def test_marks_follow_and_an_older_database_gets_the_same(desk: IncidentDesk, where: str) -> None:
    desk.add([alert("d", 3, WS1, tactics=("Exfiltration",), product="Proxy")])
    assert {i["number"] for i in desk.page(tactics=("Exfiltration",))["items"]} == {1}
    state = desk._state
    with state.write() as unit:
        everything = text("SELECT kind, value, incident_id FROM incident_marks ORDER BY 1, 2, 3")
        kept = unit.connection.execute(everything).all()
        assert kept
        unit.connection.execute(text("DELETE FROM incident_marks"))
        sqlite = unit.connection.dialect.name == "sqlite"
        for statement in revision.fills(sqlite=sqlite):
            unit.connection.exec_driver_sql(statement)
        assert unit.connection.execute(everything).all() == kept
