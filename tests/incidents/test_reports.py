"""Threat reports: which incidents look like one, by what, what it is worth, and that what merely resembles it doesn't."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.incidents.test_correlate import ANN, BOB, T0, WS1, WS2, alert
from tocsin.content import Content, load_packs, packs_dir
from tocsin.incidents import Incident
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.history import rebuild
from tocsin.incidents.life import Actor
from tocsin.incidents.model import LinkedAlert
from tocsin.incidents.narrative import narrative
from tocsin.incidents.priority import Judge, priority
from tocsin.incidents.reports import Shelf, matches, reports_of
from tocsin.state import State
from tocsin.tables import Entity

REPORT = """\
id: storm
kind: report
name: Storm in a teapot
threat: nation state
description: They come by mail.
indicators: [evil.example, 203.0.113.9, ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789]
for: [T1566, T1059, T1105]
insists: [T1566]
least: 2
references: [https://example.org/storm]
"""


def incident(*entities: Entity, techniques: tuple[str, ...] = ()) -> Incident:
    return Incident("i", 1, [LinkedAlert(alert("a", 0, WS1, ANN, *entities, techniques=techniques))])


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    pack: Path = tmp_path_factory.mktemp("pack")
    (pack / "pack.yaml").write_text("id: own\nname: Own\nversion: 1.0.0\n")
    (pack / "incidents").mkdir()
    (pack / "incidents" / "storm.yaml").write_text(REPORT)
    made = load_packs([packs_dir(), pack], only=("incidents",))
    assert [p for p in made.problems if "storm" in str(p)] == []
    return made


@pytest.mark.parametrize(
    ("entity", "by"),
    [
        (Entity("IP", {"Address": "203.0.113.9"}), "203.0.113.9"),
        (Entity("DNS", {"DomainName": "EVIL.example"}), "evil.example"),
        (Entity("URL", {"Url": "https://login.evil.example/x?y=1"}), "evil.example"),
        (Entity("FileHash", {"Algorithm": "SHA256", "Value": "abcdef0123456789" * 4}), "abcdef0123456789" * 4),
    ],
)
def test_an_indicator_is_a_match(content: Content, entity: Entity, by: str) -> None:
    (found,) = matches(incident(entity), reports_of(content))
    assert (found.report.id, found.indicators, found.techniques) == ("storm", (by,), ())


@pytest.mark.parametrize(
    "entity",
    [
        Entity("IP", {"Address": "203.0.113.90"}),
        Entity("DNS", {"DomainName": "notevil.example"}),
        Entity("URL", {"Url": "https://evil.example.org/evil.example"}),
        Entity("URL", {"Url": "http://[evil.example"}),
    ],
)
def test_what_only_resembles_an_indicator_is_none(content: Content, entity: Entity) -> None:
    assert matches(incident(entity), reports_of(content)) == []


def test_techniques_match_more_weakly_and_only_with_what_the_report_insists_on(content: Content) -> None:
    reports = reports_of(content)
    assert matches(incident(techniques=("T1059.001", "T1105")), reports) == []
    assert matches(incident(techniques=("T1566.002",)), reports) == []
    (found,) = matches(incident(techniques=("T1566.002", "T1059.001")), reports)
    assert (found.indicators, found.techniques) == ((), ("T1059", "T1566"))
    judge = Judge(tags={"threat report": 15.0, "nation state": 10.0}, reports=reports)

    def points(*entities: Entity, techniques: tuple[str, ...] = (), by: Judge = judge) -> dict[str, float]:
        reasons = priority(incident(*entities, techniques=techniques), by)[1]
        return {r.text: r.weight for r in reasons if "report" in r.text}

    weak = points(techniques=("T1566.002", "T1059.001"))
    assert weak == {
        "matches the threat report 'Storm in a teapot' by techniques T1059, T1566": 8.0,
        "that report tells of nation state": 5.0,
    }
    sure = points(Entity("IP", {"Address": "203.0.113.9"}))
    assert list(sure.values()) == [15.0, 10.0]
    assert points() == {}
    assert points(Entity("IP", {"Address": "203.0.113.9"}), by=Judge(reports=reports)) == {}, (
        "no points set, none given"
    )


def test_a_tag_by_hand_and_the_report_count_once(content: Content) -> None:
    made = incident(Entity("IP", {"Address": "203.0.113.9"}))
    made.tags = ["Threat report"]
    judge = Judge(tags={"threat report": 15.0}, reports=reports_of(content))
    assert [r.weight for r in priority(made, judge)[1] if "report" in r.text] == [15.0]


def test_the_shipped_reports_know_their_own_and_no_other(content: Content) -> None:
    reports = Shelf(r for r in reports_of(content) if r.id != "storm")
    assert {r.id for r in reports} >= {
        "report-human-operated-ransomware",
        "report-business-email-compromise",
        "report-web-shell",
    }
    for report in reports:
        assert report.description, report.id
        assert report.insists <= report.techniques, report.id
        assert 3 <= report.least <= len(report.techniques), report.id
        enough = (*sorted(report.insists), *sorted(report.techniques - report.insists))[: report.least]
        assert [m.report.id for m in matches(incident(techniques=enough), reports)] == [report.id]
        assert report.id not in {m.report.id for m in matches(incident(techniques=enough[1:]), reports)}


def test_the_page_tells_of_it(content: Content) -> None:
    (told,) = narrative(incident(Entity("IP", {"Address": "203.0.113.9"})), content)["reports"]
    assert (told["name"], told["threat"], told["references"]) == (
        "Storm in a teapot",
        "nation state",
        ["https://example.org/storm"],
    )


STORM = "Threat report: Storm in a teapot"
ADDRESS = Entity("IP", {"Address": "203.0.113.9"})


def tags(desk: IncidentDesk) -> list[list[str]]:
    return [i["tags"] for i in desk.page(sort="number", descending=False)["items"]]


def test_a_match_is_a_tag_that_comes_and_goes_with_it(content: Content, state: State) -> None:
    none = Content()
    now = [none]
    desk = IncidentDesk(state, content=lambda: now[0])
    desk.add([alert("a", 0, WS1, ANN, ADDRESS)])
    assert tags(desk) == [[]]
    now[0] = content
    assert desk.catch_up() == 1
    assert tags(desk) == [[STORM]]
    (one,) = desk.page(tag=STORM)["items"]
    told = desk.get(one["id"])["activity"][-1]
    assert (told["kind"], told["detail"]) == ("tags", {"tags": {"added": [STORM]}})
    assert desk.catch_up() == 0
    with state.read() as unit:
        assert unit.incidents.tagged([STORM, "none"]) == {STORM: (1, 1)}
        assert list(rebuild(unit, repair=False)) == []
    now[0] = none
    assert desk.catch_up() == 1
    assert tags(desk) == [[]]


def test_a_tag_that_somebody_took_away_stays_away(content: Content, state: State) -> None:
    desk = IncidentDesk(state, content=lambda: content)
    desk.add([alert("a", 0, WS1, ANN, ADDRESS)])
    assert tags(desk) == [[STORM]], "it opens with it"
    (one,) = desk.page()["items"]
    with state.write() as unit:
        desk.change(unit, one["id"], {"remove_tags": [STORM]}, actor=Actor("anna"))
    desk.add([alert("b", 1, WS1, ANN, ADDRESS)])
    desk.judge(again=True)
    assert tags(desk) == [[]]
    assert desk.page()["items"][0]["alert_count"] == 2
    with state.read() as unit:
        assert list(rebuild(unit, repair=False)) == []


def test_a_merge_and_its_undo_leave_each_its_tags(content: Content, state: State) -> None:
    desk = IncidentDesk(state, content=lambda: content)
    desk.add([alert("a", 0, WS1, ANN, techniques=("T1566",)), alert("b", 0, WS2, BOB, techniques=("T1105",))])
    assert tags(desk) == [[], []]
    first, second = (i["id"] for i in desk.page(sort="number", descending=False)["items"])
    with state.write() as unit:
        undo = desk.merge(unit, first, [second], reason="", actor=Actor("anna"))
    assert tags(desk) == [[STORM]], "together they show what neither does alone"
    with state.write() as unit:
        desk.unmerge(unit, undo, actor=Actor("anna"))
    assert tags(desk) == [[], []]
    with state.read() as unit:
        assert list(rebuild(unit, repair=False)) == []


def test_an_indicator_that_has_ended_matches_what_began_before(content: Content) -> None:
    (storm,) = [r for r in reports_of(content) if r.id == "storm"]
    for end, found in ((T0 + timedelta(days=1), 1), (T0 - timedelta(days=1), 0)):
        shelf = Shelf([replace(storm, until={"203.0.113.9": end})])
        assert len(matches(incident(ADDRESS), shelf)) == found


def test_an_incident_that_grows_is_found_by_what_came_last(content: Content) -> None:
    shelf, made = reports_of(content), incident()
    assert matches(made, shelf) == []
    made.alerts.append(LinkedAlert(alert("b", 1, WS1, Entity("URL", {"Url": "https://www.evil.example/"}))))
    assert [m.indicators for m in matches(made, shelf)] == [("evil.example",)]
    assert [m.indicators for m in matches(made, reports_of(content))] == [("evil.example",)], "another shelf sees all"
