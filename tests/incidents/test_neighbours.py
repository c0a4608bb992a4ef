"""What would join and why, asked without joining; a rule's opt-out; the graph for other tools."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.incidents.test_correlate import ANN, BOB, T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.incidents import Correlator, incident_view
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.graph_export import graphml
from tocsin.incidents.judging import AssetRow
from tocsin.incidents.life import Actor
from tocsin.incidents.weights import CorrelationSettings
from tocsin.state import NotFoundError, State
from tocsin.tables import Entity


def test_preview_says_what_would_join_and_changes_nothing() -> None:
    correlator = Correlator()
    correlator.add([alert("a", 0, WS1), alert("b", 1, WS2, BOB)])
    size = correlator.size
    (only,) = correlator.preview(alert("c", 2, WS1, tactics=("Impact",)))
    assert only.joins
    assert only.reasons[0].text == "same host ws1.contoso.com"
    assert round(only.score, 3) == round(sum(r.weight for r in only.reasons), 3)
    assert correlator.size == size
    assert not [c for c in correlator.preview(alert("d", 2, WS1, correlate=False)) if c.joins]


def test_a_rule_that_opts_out_joins_nothing_and_nothing_joins_it() -> None:
    correlator = Correlator()
    correlator.add([alert("a", 0, WS1, correlate=False), alert("b", 1, WS1), alert("c", 2, WS1, correlate=False)])
    assert sorted(len(i.alerts) for i in correlator.incidents) == [1, 1, 1]


def test_neighbours_tell_score_threshold_and_vetoes(tmp_path: Path) -> None:
    state = State.open(tmp_path / "state.db", clock=ManualClock(T0 + timedelta(days=1)))
    desk = IncidentDesk(state)
    desk.add([alert("a", 0, WS1, ANN), alert("b", 60 * 9, WS1, BOB)])
    first, second = (i["id"] for i in desk.page(sort="number", descending=False)["items"])
    (near,) = desk.neighbours(first)
    assert (near["id"], near["joins"], near["vetoes"]) == (second, False, [])
    assert 0 < near["score"] < near["threshold"]
    assert [r["text"] for r in near["reasons"]] == ["same host ws1.contoso.com", "9 hours apart"]
    with pytest.raises(NotFoundError):
        desk.neighbours("inc_none")
    state.close()


def test_neighbours_are_told_as_people_have_just_left_the_incidents(state: State) -> None:
    """Correlation takes in what people merge and split when the next alert comes; who asks is told at once."""
    desk = IncidentDesk(state)
    desk.add([alert("a", 0, WS1, ANN), alert("b", 1, WS1, ANN), alert("c", 2, WS2, BOB)])
    one, other = (i["id"] for i in desk.page(sort="number", descending=False)["items"])
    with state.write() as unit:
        split = desk.move(unit, one, ["al_b_1"], None, reason="", actor=Actor("anna"))
    (near,) = desk.neighbours(split["target"])
    assert (near["id"], near["joins"]) == (one, True)
    assert near["vetoes"] == ["People took them apart: only people bring them together again."]
    with state.write() as unit:
        desk.merge(unit, one, [split["target"], other], reason="", actor=Actor("anna"))
    assert desk.neighbours(one) == []


def test_neighbours_tell_that_device_groups_keep_them_apart(state: State) -> None:
    desk = IncidentDesk(state, settings=CorrelationSettings(separate_device_groups=True))
    desk.set_assets(
        [AssetRow("Host", f"ws{n}.contoso.com", "groups", "", group) for n, group in ((1, "Bonn"), (2, "Rom"))]
    )
    desk.add([alert("a", 0, WS1, ANN), alert("b", 2, WS2, BOB), alert("both", 3, WS1, ANN, BOB, severity="High")])
    first, second = (i["id"] for i in desk.page(sort="number", descending=False)["items"])
    (near,) = desk.neighbours(first)
    assert (near["id"], near["joins"]) == (second, True)
    assert near["vetoes"] == ["The hosts of #1 are in the device group Bonn, those of #2 in Rom."]


def test_graphml_holds_the_graph_whatever_the_labels_hold() -> None:
    odd = Entity("Process", {"CommandLine": 'cmd <&> "x" \x00\x1b\udcff \U0001f40d', "ProcessId": "7"})
    correlator = Correlator()
    correlator.add([alert("a", 0, WS1, ANN, odd), alert("b", 1, WS1, ANN)])
    graph = incident_view(correlator.incidents[0])["graph"]
    root = ElementTree.fromstring(graphml(graph, "incident-1"))
    space = "{http://graphml.graphdrawing.org/xmlns}"
    nodes = root.findall(f"{space}graph/{space}node")
    assert {n.get("id") for n in nodes} == {n["id"] for n in graph["nodes"]}
    edges = root.findall(f"{space}graph/{space}edge")
    assert {(e.get("source"), e.get("target")) for e in edges} == {(e["source"], e["target"]) for e in graph["edges"]}
    labels = [d.text for n in nodes for d in n if d.get("key") == "node-label"]
    assert any(t and "cmd <&>" in t and "\U0001f40d" in t for t in labels)
