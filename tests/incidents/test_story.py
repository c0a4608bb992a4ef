"""The graph of an incident: every thing that an alert names is joined to what else it names."""

from __future__ import annotations

from tests.incidents.test_correlate import alert, incidents
from tocsin.incidents.story import graph
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
