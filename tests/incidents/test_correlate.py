"""Correlation: what joins, what must not, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tocsin.detect.alert import TACTICS, Alert
from tocsin.incidents import Correlator, Incident, Status, incident_view, priority
from tocsin.incidents.weights import CorrelationSettings
from tocsin.tables import Entity

T0 = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def alert(
    name: str,
    minute: float,
    *entities: Entity | None,
    severity: str = "Medium",
    tactics: tuple[str, ...] = (),
    **more: object,
) -> Alert:
    time = T0 + timedelta(minutes=minute)
    return Alert(
        id=f"al_{name}_{minute}",
        rule_id=name,
        rule=name,
        time=time,
        end=time,
        created=time,
        severity=severity,
        tactics=tactics,
        entities=tuple(e for e in entities if e),
        **more,  # type: ignore[arg-type]
    )


WS1, WS2 = Entity.host("ws1.contoso.com"), Entity.host("ws2.contoso.com")
ANN, BOB = Entity.account("CONTOSO\\ann"), Entity.account("CONTOSO\\bob")


def incidents(*alerts: Alert) -> list[Incident]:
    correlator = Correlator()
    correlator.add(alerts)
    return correlator.incidents


def test_shared_host_joins_and_says_why() -> None:
    (incident,) = incidents(
        alert("a", 0, WS1, tactics=("Execution",)), alert("b", 5, WS1, tactics=("CredentialAccess",))
    )
    assert [r.text for r in incident.alerts[1].linked_by] == [
        "same host ws1.contoso.com",
        "Credential access follows Execution",
    ]


def test_nothing_shared_stays_apart() -> None:
    assert len(incidents(alert("a", 0, WS1, ANN), alert("b", 1, WS2, BOB))) == 2


def test_built_in_accounts_join_nothing() -> None:
    system = Entity("Account", {"Name": "SYSTEM", "NTDomain": "NT AUTHORITY", "Sid": "S-1-5-18"})
    assert len(incidents(alert("a", 0, WS1, system), alert("b", 1, WS2, system))) == 2


def test_a_user_links_two_hosts() -> None:
    assert len(incidents(alert("a", 0, WS1, ANN), alert("b", 20, WS2, ANN))) == 1


def test_upn_and_domain_name_of_one_person_meet() -> None:
    (incident,) = incidents(alert("a", 0, ANN), alert("b", 10, Entity.account("ann@contoso.com")))
    assert len([e for e in incident.entities() if e.type == "Account"]) == 1


def test_private_address_alone_does_not_join() -> None:
    ip = Entity("IP", {"Address": "10.0.0.5"})
    assert len(incidents(alert("a", 0, ip), alert("b", 1, ip))) == 2


def test_far_apart_in_time_stays_apart() -> None:
    assert len(incidents(alert("a", 0, WS1), alert("b", 60 * 24 * 8, WS1))) == 2


def test_third_alert_merges_two_incidents_and_leaves_a_redirect() -> None:
    correlator = Correlator()
    correlator.add([alert("a", 0, WS1), alert("b", 1, ANN)])
    assert len(correlator.incidents) == 2
    changes = correlator.add([alert("c", 2, WS1, ANN)])
    assert len(correlator.incidents) == 1
    absorbed = next(c.absorbed for c in changes if c.kind == "merged")
    assert absorbed is not None
    assert (absorbed.status, absorbed.redirect_to) == (Status.REDIRECTED, correlator.incidents[0].id)


def test_different_owners_veto_a_merge() -> None:
    correlator = Correlator()
    correlator.add([alert("a", 0, WS1), alert("b", 1, ANN)])
    first, second = correlator.incidents
    first.owner, second.owner = "x", "y"
    correlator.add([alert("c", 2, WS1, ANN)])
    assert len(correlator.incidents) == 2


def test_resolved_incident_takes_no_more_alerts() -> None:
    correlator = Correlator()
    correlator.add([alert("a", 0, WS1)])
    correlator.incidents[0].status = Status.RESOLVED
    correlator.add([alert("b", 1, WS1)])
    assert len(correlator.incidents) == 2


def test_signals_stay_silent_until_something_gives_them_meaning() -> None:
    quiet = [alert(f"s{i}", i, WS1, severity="Low", create_incident=False) for i in range(2)]
    assert incidents(*quiet) == []
    (incident,) = incidents(*quiet, alert("loud", 9, WS1, severity="High"))
    assert len(incident.alerts) == 3


def test_three_signals_of_three_stages_speak_up() -> None:
    quiet = [
        alert(f"s{i}", i, WS1, severity="Low", create_incident=False, tactics=(t,))
        for i, t in enumerate(("Execution", "Persistence", "CredentialAccess"))
    ]
    assert len(incidents(*quiet)) == 1


def test_same_alert_twice_changes_nothing() -> None:
    correlator = Correlator()
    first = alert("a", 0, WS1)
    assert correlator.add([first, first])
    assert correlator.add([first]) == []


def test_priority_reasons_add_up() -> None:
    (incident,) = incidents(
        alert("a", 0, WS1, severity="High", tactics=("Execution",)), alert("b", 5, WS1, tactics=("Exfiltration",))
    )
    score, reasons = priority(incident)
    assert score == round(sum(r.weight for r in reasons))
    assert reasons[0].text == "High severity"


def test_record_round_trip_gives_the_same_view() -> None:
    (incident,) = incidents(alert("a", 0, WS1, ANN), alert("b", 5, WS1))
    assert incident_view(Incident.from_record(incident.to_record())) == incident_view(incident)


_entities = st.lists(
    st.sampled_from([e for e in (WS1, WS2, ANN, BOB, Entity("IP", {"Address": "8.8.8.8"})) if e]), max_size=3
)


@given(st.lists(_entities, max_size=12))
def test_every_alert_is_in_exactly_one_incident(groups: list[list[Entity]]) -> None:
    made = [alert(f"r{i}", i, *g) for i, g in enumerate(groups)]
    correlator = Correlator()
    for one in made:
        correlator.add([one])
    held = [a.alert.id for i in correlator.incidents for a in i.alerts]
    assert sorted(held) == sorted(a.id for a in made)


HASH = Entity("FileHash", {"Algorithm": "SHA256", "Value": "ab" * 32})
FILE = Entity("File", {"Directory": "c:\\users\\public", "Name": "tool.dll"})


def test_one_rule_about_one_file_on_two_machines_is_what_it_says_of_every_copy() -> None:
    assert len(incidents(alert("unsigned", 0, WS1, HASH, FILE), alert("unsigned", 60, WS2, HASH, FILE))) == 2
    # Another stage of an attack with the same file is another matter.
    assert (
        len(
            incidents(
                alert("run", 0, WS1, HASH, FILE, tactics=("Execution",)),
                alert("dump", 60, WS2, HASH, FILE, tactics=("CredentialAccess",)),
            )
        )
        == 1
    )


def test_a_hub_that_shows_within_the_hour_counts_as_one_elsewhere() -> None:
    dc = Entity.host("dc01.contoso.com")
    crowd = [alert(f"n{n}", 10 + n, dc, Entity.host(f"pc{n}.contoso.com"), severity="Low") for n in range(5)]
    one = alert("a", 20, WS1, dc, severity="High", tactics=("Execution",))
    other = alert("b", 21, WS2, dc, severity="High", tactics=("Discovery",))
    correlator = Correlator()
    correlator.add([*crowd, one, other])
    assert correlator.holding(one.id) is not correlator.holding(other.id)
    # One's own spreading hides nothing: all of this is one attack.
    spread = [
        alert(f"s{n}", n, ANN, Entity.host(f"srv{n}.contoso.com"), severity="High", tactics=("LateralMovement",))
        for n in range(8)
    ]
    assert len(incidents(*spread)) == 1


def test_what_everybody_has_adds_nothing() -> None:
    nat = Entity("IP", {"Address": "8.8.8.8"})
    crowd = [alert(f"n{n}", 10 * n, nat, Entity.host(f"pc{n}.contoso.com"), severity="Low") for n in range(14)]
    correlator = Correlator()
    correlator.add([*crowd, alert("a", 200, WS1, nat)])
    (found,) = [
        c
        for c in correlator.preview(alert("b", 205, WS1, nat))
        if any(a.alert.id.startswith("al_a") for a in c.incident.alerts)
    ]
    assert not any("8.8.8.8" in r.text for r in found.reasons)


def test_supporting_things_that_fade_count_up_to_their_limit_after_that() -> None:
    """What they are worth now is limited, not what they were worth."""
    settings = CorrelationSettings(weights={"hash": 22.0}, next_tactic=0, same_rule=0)
    shared = (
        Entity("FileHash", {"Algorithm": "SHA256", "Value": "ab" * 32}),
        Entity("Account", {"Name": "ann"}),
        Entity("IP", {"Address": "10.0.0.5"}),
    )
    correlator = Correlator(settings=settings)
    correlator.add([alert("a", 0, *shared), alert("b", 210, *shared)])
    (incident,) = correlator.incidents
    assert sorted(round(r.weight) for r in incident.alerts[1].linked_by) == [0, 10, 10, 21]


def test_alerts_that_come_together_are_taken_by_time() -> None:
    """What one call brings has no order of arrival."""
    hosts = [Entity.host(f"ws{n % 5}.contoso.com") for n in range(60)]
    alerts = [alert(f"rule{n % 9}", 7.0 * n, host, tactics=(TACTICS[n % 12],)) for n, host in enumerate(hosts)]
    forward, backward = Correlator(), Correlator()
    forward.add(alerts)
    backward.add(alerts[::-1])
    assert [(i.id, i.alert_ids()) for i in forward.incidents] == [(i.id, i.alert_ids()) for i in backward.incidents]
