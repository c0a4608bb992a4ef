"""What an incident's alerts add up to: a thing under two names counts once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.incidents.test_correlate import ANN, WS1, WS2, alert
from tocsin.detect.alert import Alert
from tocsin.incidents.facts import Facts
from tocsin.tables import Entity
from tocsin.tables.aliases import Alias

DEVICE = Entity("Host", {"DeviceId": "d-1"})
SID = Entity("Account", {"Sid": "S-1-5-21-1-2-3-1001"})


def known(
    name: str, minute: float, *entities: Entity | None, same: tuple[Entity | None, Entity], sure: float = 1.0
) -> Alert:
    """An alert that has an alias."""
    made = alert(name, minute, *entities)
    one, other = same
    assert one is not None
    span = timedelta(hours=1)
    return replace(made, aliases=(Alias(one, other, made.time - span, made.time + span, sure, "DeviceInfo"),))


def counted(*alerts: Alert) -> dict[str, int]:
    """How many things of each type."""
    facts = Facts()
    for each in alerts:
        facts.take(each)
    assert facts.things == sum(facts.of_type.values()) == len(facts.entities())
    return facts.of_type


def test_a_host_by_name_and_by_device_id_is_one() -> None:
    by_name, by_id = known("a", 0, WS1, same=(WS1, DEVICE)), alert("b", 1, DEVICE)
    for order in ((by_name, by_id), (by_id, by_name)):
        assert counted(*order) == {"Host": 1}
    assert counted(by_name, by_id, alert("c", 2, WS2)) == {"Host": 2}
    facts = Facts()
    for each in (by_id, by_name):
        facts.take(each)
    assert [e.label for e in facts.entities_of("Host")] == ["ws1.contoso.com"]


def test_an_account_by_sid_and_by_name_is_one_and_a_doubtful_alias_joins_nothing() -> None:
    sure = known("a", 0, ANN, same=(ANN, SID))
    assert counted(sure, alert("b", 1, SID)) == {"Account": 1}
    doubtful = known("a", 0, ANN, same=(ANN, SID), sure=0.6)
    assert counted(doubtful, alert("b", 1, SID)) == {"Account": 2}
    # An alias of what no alert of the incident names brings nothing in.
    assert counted(known("a", 0, WS1, same=(ANN, SID))) == {"Host": 1}
