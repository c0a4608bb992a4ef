"""An incident's meaning and its proof: what it says, and that no byte of it can be changed unseen."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader
from typer.testing import CliRunner

from tests.incidents.test_correlate import ANN, BOB, T0, WS1, WS2, alert
from tocsin.base.clock import ManualClock
from tocsin.cli.app import app
from tocsin.content import Content, load_packs, packs_dir
from tocsin.detect.alert import Evidence
from tocsin.incidents import machine_fonts
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.export import ExportError, attachment_of, bundle, to_json, verify
from tocsin.incidents.life import Actor
from tocsin.incidents.load import from_row
from tocsin.incidents.narrative import narrative
from tocsin.incidents.pdf import to_pdf
from tocsin.incidents.priority import Asset, Judge, keys_of_name
from tocsin.incidents.similar import similar
from tocsin.state import State
from tocsin.tables import Entity

ANNA = Actor("anna")
JUDGE = Judge(assets=dict.fromkeys(keys_of_name("Host", "ws2.contoso.com"), Asset("Domain controllers", "veryHigh")))


@pytest.fixture(autouse=True)
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fonts this machine has, see test_machine_fonts.py for these."""
    monkeypatch.setattr(machine_fonts, "folders", list)


@pytest.fixture(scope="module")
def content() -> Content:
    return load_packs([packs_dir()])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    opened = State.open(tmp_path_factory.mktemp("export") / "state.db", clock=ManualClock(T0 + timedelta(hours=5)))
    with opened.write() as unit:
        unit.users.add("anna", "Anna", "x", ["Responder"])
    desk = IncidentDesk(opened)
    mail = Entity("MailMessage", {"NetworkMessageId": "m-1", "Recipient": "ann@contoso.com"})
    rows = (Evidence("T", {"CommandLine": "wörd \U0001f600 中文 " + "x" * 4000, "n": 2**70}),)
    desk.add(
        [
            alert("mail", 0, WS1, ANN, mail, title="Phishing mail opened → macro", tactics=("InitialAccess",), techniques=("T1566.001",)),
            alert("dump", 20, WS1, ANN, tactics=("CredentialAccess",), techniques=("T1003.001",), severity="High", events=rows),
            alert("hop", 90, WS1, WS2, ANN, tactics=("LateralMovement",), techniques=("T1021.002",)),
            alert("other", 3, BOB, Entity.host("ws9.contoso.com"), title="dump"),
            alert("dump", 4, Entity.host("ws8.contoso.com"), techniques=("T1003.001",)),
        ]
    )  # fmt: skip
    incident = one(desk)
    with opened.write() as unit:
        desk.change(unit, incident, {"owner": "anna", "status": "InProgress", "comment": "seen ✓"}, actor=ANNA)
        desk.add_task(unit, incident, "Reset the password", "of ann", actor=ANNA)
    yield opened
    opened.close()


def one(desk: IncidentDesk) -> str:
    return str(max(desk.page()["items"], key=lambda i: i["alert_count"])["id"])


@pytest.fixture(scope="module")
def made(state: State, content: Content) -> dict[str, Any]:
    with state.read() as unit:
        return bundle(unit, one(IncidentDesk(state)), content, JUDGE, "0.1.0")


def test_what_it_means(state: State, content: Content) -> None:
    incident_id = one(IncidentDesk(state))
    with state.read() as unit:
        incident = from_row(unit.incidents.require(incident_id), unit.incidents.alerts_of(incident_id))
    told = narrative(incident, content, JUDGE)
    assert told["root_cause"]["title"] == "Phishing mail opened → macro"
    assert {r["text"] for r in told["root_cause"]["reasons"]} >= {"the earliest alert of the incident", "came by mail"}
    assert told["root_cause"]["score"] > told["root_cause"]["next_score"]
    reached = told["blast_radius"]
    assert [h["label"] for h in reached["hosts"]] == ["ws1.contoso.com", "ws2.contoso.com"]
    assert (reached["critical"], reached["hosts"][1]["why_critical"]) == (1, "Domain controllers")
    plain = [a for a in incident.alerts if a.alert.product != "Fusion"]
    assert told["summary"].startswith(
        f"An attack in {len(told['stages'])} stages, from initial access to {told['stages'][-1]['name'].lower()}, reached "
    ), told["summary"]
    assert 'began with "Phishing mail opened → macro"' in told["summary"]
    assert told["summary"].count(". ") == 1, "two sentences"
    facts = {f["name"]: f["text"] for f in told["facts"]}
    assert facts["Critical"] == "1 of what it reached is critical"
    assert facts["Told by"].startswith(f"{len(incident.alerts)} alerts of")
    assert facts["Told by"].endswith(f", {sum(a.alert.count for a in plain)} events")
    (moved,) = [s for s in told["stages"] if s["tactic"] == "LateralMovement"]
    assert (moved["name"], moved["alert_id"] in {a.alert.id for a in plain}) == ("Lateral movement", True)
    because = [a["because"] for a in told["advice"]]
    assert because[:2] == ["T1003", "T1003"] or "T1566" in because
    assert "Lateral movement" in because
    assert len({a["do"] for a in told["advice"]}) == len(told["advice"])


def test_similar_ones_say_what_they_share(state: State) -> None:
    with state.read() as unit:
        found = similar(unit, one(IncidentDesk(state)))
    assert [f["shared"]["rules"] for f in found] == [["dump"]]
    assert 0 < found[0]["likeness"] < 100


def test_the_proof_is_whole_and_says_so(made: dict[str, Any]) -> None:
    data = to_json(made)
    found = verify(data)
    assert (found.intact, found.hash, found.problems) == (True, made["hash"], ())
    (dump,) = [a for a in made["sections"]["incident"]["alerts"] if a["rule_id"] == "dump"]
    assert dump["events"][0]["row"]["n"] == 2**70
    assert [t["title"] for t in made["sections"]["incident"]["tasks"]] == ["Reset the password"]
    assert made["sections"]["audit"]["head"]["hash"]
    assert {a["actor"] for a in made["sections"]["log"]} == {"correlation", "anna"}


def test_whatever_is_changed_is_told(made: dict[str, Any]) -> None:
    changes: list[Any] = [
        lambda m: m["sections"]["incident"].update(severity="Low"),
        lambda m: m["sections"]["log"].pop(),
        lambda m: m["sections"].pop("actions"),
        lambda m: m["sections"].update(more=[]),
        lambda m: m.update(created="2020-01-01T00:00:00Z"),
        lambda m: m["hashes"].update(incident="0" * 64),
        lambda m: m["sections"]["incident"]["alerts"][0].update(count=2**70),
    ]
    for change in changes:
        other = json.loads(to_json(made))
        change(other)
        assert not verify(to_json(other)).intact


def test_the_pdf_carries_it_and_its_pages_are_checked(made: dict[str, Any], tmp_path: Path) -> None:
    data = to_pdf(made)
    assert data == to_pdf(json.loads(to_json(made))), "the same bundle gives the same bytes"
    found = verify(data)
    assert (found.intact, found.pages, found.hash) == (True, True, made["hash"])
    assert json.loads(attachment_of(data)) == json.loads(to_json(made))
    other = json.loads(to_json(made))
    other["sections"]["incident"]["title"] = "Nothing happened"
    assert not verify(to_pdf(other)).intact
    text = "".join(p.extract_text() for p in PdfReader(io.BytesIO(data)).pages)
    for part in (
        "Phishing mail opened -> macro",
        made["hash"],
        "Reset the password",
        "Where it probably began",
        "\\u2713",
    ):
        assert part in text, part
    file = tmp_path / "incident.pdf"
    file.write_bytes(data.replace(b"/Title", b"/Titel", 1))
    run = CliRunner().invoke(app, ["incidents", "verify", str(file)])
    assert (run.exit_code, run.stdout.splitlines()[0]) == (1, "The pages don't say what the data says.")
    file.write_bytes(data)
    run = CliRunner().invoke(app, ["incidents", "verify", str(file), "--json"])
    assert (run.exit_code, json.loads(run.stdout)["intact"]) == (0, True)


def standard_tools(path: Path, part: str | None) -> str:
    """The SHA-256 of a part (None: of the first line) as somebody without Tocsin computes it, by the lines of docs/explanation/incident-log.md."""
    if part is None:
        line = "{ head -1 \"$1\" | tr -d '\\n'; printf '}'; } | sha256sum"
    else:
        line = 'sed -n "s/^,\\{0,1\\}\\"$2\\"://p" "$1" | tr -d \'\\n\' | sha256sum'
    done = subprocess.run(["sh", "-c", line, "sh", str(path), part or ""], capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def test_it_is_checked_without_tocsin(made: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "incident.json"
    data = to_json(made)
    path.write_bytes(data)
    assert standard_tools(path, None) == made["hash"]
    assert {p: standard_tools(path, p) for p in made["hashes"]} == made["hashes"]
    for place in range(data.index(b'"sections"') + 15, len(data) - 10, len(data) // 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert {p: standard_tools(path, p) for p in made["hashes"]} != made["hashes"], place


@pytest.mark.parametrize(
    "text",
    ["\U0001f600" * 30_000, "x\n" * 9_000, "\u8a08" * 2_400, "W" * 3_000],
    ids=["points", "lines", "wide", "long"],
)
def test_no_text_is_higher_than_a_page(made: dict[str, Any], text: str) -> None:
    """A comment has 30,000 characters; a few hundred that the fonts lack fill a page, and so do a few in a narrow column."""
    other = json.loads(to_json(made))
    incident = other["sections"]["incident"]
    incident["activity"][0] |= {"text": text, "actor": text}
    incident["reasons"][0]["text"] = incident["story"][0]["title"] = text
    data = to_pdf(other)
    assert data == to_pdf(other)
    pages = "".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)
    assert " ".join(pages.split()).count("more in the attached data]") >= 1


def test_names_in_other_scripts_are_read_on_the_pages(made: dict[str, Any]) -> None:
    other = json.loads(to_json(made))
    read = ["Москва", "Αθήνα", "Żółć"]
    titles = [*read, "שלום", "مرحبا", "中文", "invoice\u202efdp.exe"]
    first = other["sections"]["incident"]["story"][0]
    other["sections"]["incident"]["story"] = [{**first, "title": t} for t in titles]
    data = to_pdf(other)
    assert data == to_pdf(other)
    pages = PdfReader(io.BytesIO(data)).pages
    text = "".join(p.extract_text() for p in pages)
    fonts = {str(f.get_object()["/BaseFont"]) for p in pages for f in p["/Resources"]["/Font"].values()}  # type: ignore[index]
    assert all(any(name in f for f in fonts) for name in ("Helvetica", "Arimo", "NotoSansArabic")), fonts
    assert all(title in text for title in read), text
    assert "\\u05" not in text, "Hebrew has letters"
    assert "\\u06" not in text, "Arabic has letters"
    assert "\\u4e2d\\u6587" in text
    assert "invoice\\u202efdp.exe" in text, "what turns the direction of writing is shown"


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_crash_the_check(data: bytes, pdf: bool) -> None:
    with pytest.raises(ExportError):
        verify(b"%PDF-1.7\n" + data if pdf else data)
