"""The HTML report: self-contained, and hostile text stays text."""

from __future__ import annotations

from dataclasses import replace

from tests.incidents.test_correlate import ANN, T0, WS1, alert, incidents
from tocsin.detect.alert import Evidence
from tocsin.incidents.report import html_report
from tocsin.tables import Entity


def page(*alerts: object) -> str:
    return html_report(incidents(*alerts), facts={"files": 1}, created=T0, version="test")  # type: ignore[arg-type]


def test_page_holds_timeline_graph_and_rows() -> None:
    one = replace(
        alert("a", 0, WS1, ANN, tactics=("Execution",)),
        events=(Evidence("DeviceProcessEvents", {"FileName": "x.exe"}),),
    )
    text = page(one, alert("b", 3, WS1, tactics=("Impact",)))
    assert "<svg" in text
    assert "DeviceProcessEvents" in text
    assert "2026-03-01 09:03:00" in text


def test_page_asks_for_nothing() -> None:
    text = page(alert("a", 0, WS1, ANN))
    assert "<script" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


def test_hostile_text_is_text() -> None:
    evil = '"><script>alert(1)</script>'
    text = page(replace(alert("a", 0, Entity.host(evil), ANN), title=evil, events=(Evidence("T", {evil: evil}),)))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_no_incident_says_so() -> None:
    assert "No incident" in page()


def test_a_whole_command_line_doesn_t_fill_the_timeline() -> None:
    command = "powershell -enc " + "QQ" * 3000
    text = page(alert("a", 0, WS1, Entity("Process", {"CommandLine": command, "ProcessId": "7"})))
    (chip,) = [part.split("</span>")[0] for part in text.split('title="Process: ')[1:]]
    assert chip == f'{command}">{command[:79]}…', "it is there whole where the mouse rests"
