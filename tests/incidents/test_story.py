"""The story of an incident in steps, and its graph: every thing that an alert names is joined to what else it names."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.incidents.test_correlate import alert, incidents
from tocsin.detect.alert import iso
from tocsin.incidents.model import Incident, LinkedAlert
from tocsin.incidents.story import GRAPH_NODES, fold, graph, roles_of, story
from tocsin.tables import Entity

ANN = Entity("Account", {"Name": "ann@contoso.com"})
MAILBOX = Entity("Mailbox", {"MailboxPrimaryAddress": "ann@contoso.com"})
ADDRESS = Entity("IP", {"Address": "8.8.8.8"})


def test_a_mailbox_and_its_owner_are_two_nodes_and_both_are_linked() -> None:
    (incident,) = incidents(
        alert("sign-in", 0, ANN, ADDRESS, severity="High"), alert("mail rule", 5, MAILBOX, ADDRESS, severity="High")
    )
    made = graph(incident)
    label = {n["id"]: (n["type"], n["label"]) for n in made["nodes"]}
    assert set(label.values()) == {("Account", "ann@contoso.com"), ("Mailbox", "ann@contoso.com"), ("IP", "8.8.8.8")}
    linked = {frozenset((label[e["source"]][0], label[e["target"]][0])) for e in made["edges"]}
    assert linked == {frozenset({"Account", "IP"}), frozenset({"Mailbox", "IP"})}
    assert all(n["first"] for n in made["nodes"])


def test_a_mailbox_alone_with_its_owner_is_linked_to_it() -> None:
    (incident,) = incidents(alert("both", 0, ANN, MAILBOX, severity="High"))
    assert len(graph(incident)["edges"]) == 1


def test_what_a_rule_tells_of_the_same_things_again_and_again_is_one_step() -> None:
    told = [
        alert("guess", 0, ANN, ADDRESS, severity="Low", techniques=("T1110",), tactics=("CredentialAccess",)),
        alert("guess", 1, ANN, ADDRESS, severity="High", techniques=("T1110.003",), tactics=("CredentialAccess",)),
        alert("other", 2, ANN, ADDRESS, severity="High"),
        alert("guess", 3, ANN, ADDRESS, severity="Low", tactics=("CredentialAccess",)),
        alert("guess", 4, Entity("Account", {"Name": "bob@contoso.com"}), ADDRESS, tactics=("CredentialAccess",)),
        alert("guess", 65, ANN, ADDRESS, severity="Low", tactics=("CredentialAccess",)),
    ]
    incident = Incident("inc", alerts=[LinkedAlert(a) for a in told])
    runs = [r.to_dict() for r in fold(story(incident))]
    assert [(r["title"], r["count"], r["time"][11:16], r["last"][11:16]) for r in runs] == [
        ("guess", 3, "09:00", "09:03"),
        ("other", 1, "09:02", "09:02"),
        ("guess", 1, "09:04", "09:04"),
        ("guess", 1, "10:05", "10:05"),
    ], "another account, and after an hour's pause, are steps of their own"
    assert (runs[0]["severity"], runs[0]["techniques"]) == ("High", ["T1110", "T1110.003"])
    assert runs[0]["alerts"] == [told[0].id, told[1].id, told[3].id]
    assert (runs[0]["actor"]["label"], runs[0]["target"]["label"]) == ("ann@contoso.com", "8.8.8.8")


@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from("ab"), st.sampled_from("xy")), max_size=25))
def test_every_alert_is_in_one_step_and_steps_stand_in_time(given_alerts: list[tuple[int, str, str]]) -> None:
    told = [
        replace(alert(rule, minute, Entity.host(f"{host}.contoso.com")), id=f"al{n}")
        for n, (minute, rule, host) in enumerate(given_alerts)
    ]
    runs = [r.to_dict() for r in fold(story(Incident("inc", alerts=[LinkedAlert(a) for a in told])))]
    assert sorted(i for r in runs for i in r["alerts"]) == sorted(a.id for a in told)
    assert [r["time"] for r in runs] == sorted(r["time"] for r in runs)
    assert all(r["count"] == len(r["alerts"]) and r["time"] <= r["last"] for r in runs)


def test_a_rule_that_counts_in_its_title_is_one_step_and_two_products_behind_one_rule_are_two() -> None:
    told = [
        alert("fails", 0, ANN, title="3 failures"),
        alert("fails", 1, ANN, title="4 failures"),
        alert("passed on", 2, ANN, properties={"AlertType": "One"}),
        alert("passed on", 3, ANN, properties={"AlertType": "Two"}),
    ]
    runs = [r.to_dict() for r in fold(story(Incident("inc", alerts=[LinkedAlert(a) for a in told])))]
    assert [(r["title"], r["count"]) for r in runs] == [("3 failures", 2), ("passed on", 1), ("passed on", 1)]


def test_who_acts_and_upon_what() -> None:
    host = Entity.host("ws1.contoso.com")
    assert roles_of(alert("guess", 0, host, ADDRESS, tactics=("CredentialAccess",))) == (ADDRESS, host)
    assert roles_of(alert("beacon", 0, host, ADDRESS, tactics=("CommandAndControl",))) == (host, ADDRESS), (
        "the far end did nothing"
    )
    assert roles_of(alert("beacon", 0, host, ANN, ADDRESS, tactics=("CommandAndControl",))) == (ANN, host)
    assert roles_of(alert("net", 0, ADDRESS, tactics=("Exfiltration",))) == (ADDRESS, None)


def test_a_graph_of_many_things_shows_how_far_the_attack_has_come() -> None:
    """Each machine is named once, with four things that were found on it: those of the first machines must not be all that there is room for."""
    alerts = [
        alert(
            "tool", n, ANN, Entity.host(f"srv{n}.contoso.com"), Entity("IP", {"Address": f"52.1.2.{n}"}),
            *(Entity("File", {"Directory": "c:\\t", "Name": f"{n}{x}.exe"}) for x in "abc"), severity="High",
        )
        for n in range(70)
    ]  # fmt: skip
    incident = Incident("inc", 1, alerts=[LinkedAlert(a) for a in alerts])
    made = graph(incident)
    assert len(made["nodes"]) == GRAPH_NODES
    assert made["left_out"] == 1 + 5 * 70 - GRAPH_NODES
    assert {n["label"] for n in made["nodes"] if n["type"] == "Host"} == {f"srv{n}.contoso.com" for n in range(70)}
    assert max(n["first"] for n in made["nodes"]) == iso(alerts[-1].time)
    assert len([n for n in made["nodes"] if n["type"] in ("IP", "File")]) == GRAPH_NODES - 71
    whole = graph(incident, whole=True)
    assert (len(whole["nodes"]), whole["left_out"]) == (1 + 5 * 70, 0)
    assert len({n["label"] for n in whole["nodes"]}) == 1 + 5 * 70
    assert sum(e["alert_count"] for e in whole["edges"]) > sum(e["alert_count"] for e in made["edges"])
    ends = {n["id"] for n in whole["nodes"]}
    assert all({e["source"], e["target"]} <= ends for e in whole["edges"])
