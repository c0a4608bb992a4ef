"""Threat reports: which incidents look like one, by what, what it is worth, and that what merely resembles it doesn't."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.incidents.test_correlate import ANN, WS1, alert
from tocsin.content import Content, load_packs, packs_dir
from tocsin.incidents import Incident
from tocsin.incidents.model import LinkedAlert
from tocsin.incidents.narrative import narrative
from tocsin.incidents.priority import Judge, priority
from tocsin.incidents.reports import matches, reports_of
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
        "matches the threat report 'Storm in a teapot' by techniques T1059, T1566": 7.5,
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
    reports = [r for r in reports_of(content) if r.id != "storm"]
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
