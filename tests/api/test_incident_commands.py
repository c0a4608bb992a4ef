"""`tocsin incidents set` and the others: the same on a server and on a folder that a server has open, with the same permissions, audit and undo."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.api.conftest import Served, open_served
from tests.incidents.test_correlate import T0, alert
from tocsin.base.errors import TocsinError, UsageError
from tocsin.cli.app import app
from tocsin.incidents.export import verify
from tocsin.incidents.judging import AssetRow, set_assets
from tocsin.state import ConflictError
from tocsin.tables import Entity


class Commands:
    """The commands on a server or on its folder."""

    def __init__(self, served: Served, place: str, role: str) -> None:
        self.served, self.place, self.role = served, place, role
        folder = str(served.workspace.settings.data)
        self.where = ["--data", folder, "--as", role.lower()] if place == "folder" else ["--server", served.url]
        self.environment = {"TOCSIN_TOKEN": served.token(role)}

    def __call__(self, name: str, *arguments: str, text: str = "") -> str:
        where = (
            self.where
            if name not in ("show", "list", "log", "preview", "tuning", "graph", "metrics")
            else self.where[:2]
        )
        done = CliRunner().invoke(
            app, ["incidents", name, *arguments, *where], env=self.environment, input=text or None
        )
        if isinstance(done.exception, TocsinError):
            raise done.exception
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    def json(self, name: str, *arguments: str) -> Any:
        return json.loads(self(name, *arguments, "--json"))

    def show(self, incident: str) -> Any:
        return json.loads(self("show", incident))


def things(day: int) -> tuple[Entity, Entity]:
    """Two hosts."""
    return Entity.host(f"one{day}.contoso.com"), Entity.host(f"other{day}.contoso.com")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for the module's tests to share, its first hours over: what joined is not looked at again in the midst of them."""
    for made in open_served(tmp_path_factory.mktemp("data"), start=False):
        made.workspace.incidents.memory.correlator.hindsight.end()
        yield made


NOW = int((datetime.now(UTC) - T0).total_seconds() // 3600) * 60
"""Minutes from the tests' time zero to the last full hour."""


def minute(day: int) -> int:
    """Minutes from the tests' time zero to an hour of that day's own: how much else happened in that hour is the same whenever the tests run, and
    whichever of them. What is long past, nothing joins."""
    return NOW - 120 * (50 - day)


def fill(served: Served, day: int) -> tuple[str, str]:
    """Two incidents that share nothing with each other or with another call's; their numbers."""
    host, other = things(day)
    served.workspace.incidents.add(
        [
            alert(f"a{day}", minute(day), host, severity="High"),
            alert(f"b{day}", minute(day) + 1, host),
            alert(f"c{day}", minute(day) + 2, other),
        ]
    )
    items = served.workspace.incidents.page(sort="number", descending=False)["items"]
    return str(items[-2]["number"]), str(items[-1]["number"])


@pytest.mark.parametrize("place", ["server", "folder"])
def test_everything_that_is_done_to_an_incident(served: Served, place: str) -> None:
    day = 1 if place == "server" else 2
    one, two = fill(served, day)
    run = Commands(served, place, "Responder")
    made = run.json(
        "set", one, "--status", "InProgress", "--severity", "Low", "--owner", "reader", "--classification", "TruePositive",
        "--determination", "Phishing", "--tag", "vip", "--phase", "Containment", "--role", "Recorder=reader", "--comment", "mine",
    )  # fmt: skip
    assert (made["status"], made["severity"], made["owner"], made["determination"]) == (
        "InProgress",
        "Low",
        "reader",
        "Phishing",
    )
    assert (made["tags"], made["phase"], made["roles"]) == (["vip"], "Containment", {"Recorder": "reader"})
    assert run("set", one, "--severity", "none", "--owner", "none", "--untag", "vip").split("  ")[2:5] == [
        "High",
        "InProgress",
        "unassigned",
    ]
    run("comment", f"#{one}", "-", text="read from a pipe\n")
    entry = next(a["id"] for a in run.show(one)["activity"] if a["text"] == "read from a pipe")
    run("comment", one, "put right", "--entry", str(entry))
    assert "[ ] Call Ann" in run("task", one, "--add", "Call Ann")
    (task,) = run.json("task", one)
    assert "[x] Call Ann" in run("task", one, "--done", str(task["id"]))
    assert "[ ] Call Ann" in run("task", one, "--reopen", str(task["id"]))
    assert run("task", one, "--remove", str(task["id"])) == "No tasks.\n"

    # What the page shows.
    assert [r["id"] for r in run.json("alerts", one)["items"]] == [a["id"] for a in run.show(one)["alerts"]]
    said = run("alerts", one, "--limit", "1")
    assert "it opened the incident" in said
    assert run.json("alerts", one, "--severity", "High", "--no-evidence")["total"] == 1
    assert "Host" in run("entities", one, "--type", "Host", "--limit", "1")
    told = run.json("story", one)
    assert told["summary"] in run("story", one)
    assert told["advice"]
    steps = run.json("timeline", one, "--ids")
    assert sorted(a for s in steps["items"] for a in s["alerts"]) == sorted(a["id"] for a in run.show(one)["alerts"])
    assert steps["items"][0]["title"] in run("timeline", one)
    assert [p["score"] for p in run.json("priority", one)["items"]][-1] == run.show(one)["priority"]
    assert "High severity" in run("priority", one)
    with served.workspace.state.write() as unit:
        set_assets(unit, [AssetRow("Host", "dc1.contoso.com", "Domain controllers", "veryHigh")])
    assert run.json("assets")["items"][0]["name"] == "dc1.contoso.com"
    assert "veryHigh  Host     dc1.contoso.com  Domain controllers" in run("assets")

    # The queue by all that the portal filters by, and as a sheet.
    ago = (NOW - minute(day)) // 60
    narrow = ("--text", f"#{one}", "--owner", "none", "--classification", "TruePositive", "--since", f"{ago + 12}h")
    (listed,) = run.json("list", *narrow, "--sort", "last", "--order", "asc")["items"]
    assert str(listed["number"]) == one
    assert run.json("list", *narrow, "--until", f"{ago - 1}h")["total"] == 1
    assert run.json("list", *narrow, "--until", f"{ago + 13}h")["total"] == 0
    head, line = csv.reader(io.StringIO(run("list", *narrow, "--csv")))
    assert (dict(zip(head, line, strict=True))["classification"], line[0]) == ("TruePositive", one)
    everything = run.json("list", "--limit", "1000")
    assert len(everything["items"]) == everything["total"]
    for wrong in (("--since", "soon"), ("--sort", "prio"), ("--order", "up")):
        with pytest.raises(UsageError):
            run("list", *wrong)

    # What is locked, correlation leaves alone; it can't be merged either.
    assert run.json("lock", one)["tags"] == ["Locked"]
    assert f"#{one} is locked." in run("merge", two, one, "--preview")
    with pytest.raises(TocsinError, match="is locked") as refused:
        run("merge", two, one)
    assert refused.value.code == ConflictError.code
    assert run.json("unlock", one)["tags"] == []

    before = run.show(one), run.show(two)
    would = run.json("merge", one, two, "--preview")
    assert (would["vetoes"], would["alerts"], would["shared"]) == ([], 1, [])
    assert run.json("merge", one, two, "--reason", "same person")["alert_count"] == 3
    assert run.show(two)["status"] == "Redirected"
    assert len(run.json("alerts", two)["items"]) == 3, "links to it lead to where its alerts are"
    assert run("graph", two) == run("graph", one)
    assert "incident.merge" in run.json("history", one)["items"][0]["kind"]
    assert "as they were before" in run("undo", one)
    parts = ("alert_count", "tags", "status", "owner", "severity", "title")
    assert [{p: run.show(n)[p] for p in parts} for n in (one, two)] == [{p: b[p] for p in parts} for b in before]

    second = before[0]["alerts"][1]["id"]
    new = run.json("split", one, second, "--reason", "another matter")
    assert (new["alert_count"], run.show(one)["alert_count"]) == (1, 1)
    assert "The alerts are back" in run("undo", one)
    assert run.show(one)["alert_count"] == 2
    assert run.json("move", one, second, "--to", two)["alert_count"] == 2
    run("undo", one)
    assert [run.show(n)["alert_count"] for n in (one, two)] == [2, 1]
    with pytest.raises(UsageError, match="has no action"):
        run("undo", two, run.json("history", one)["items"][0]["id"])

    # The log tells all of it, and the audit log who did it and from where.
    assert len(run("log", one).splitlines()) > 10
    rows = served.workspace.access.audit_page(limit=200, before=None, actor="", object_id=before[0]["id"])["items"]
    assert {r["action"] for r in rows} >= {
        "incident.change", "incident.comment", "incident.edit-comment", "incident.task-add", "incident.task-removed",
        "incident.merge", "incident.unmerge", "incident.move-alerts", "incident.unmove-alerts",
    }  # fmt: skip
    mine = {(r["actor"], r["address"].startswith("local:")) for r in rows}
    assert mine == {("responder", True) if place == "folder" else ("administrator/token:wire", False)}


@pytest.mark.parametrize("place", ["server", "folder"])
def test_who_comes_second_is_told_what_the_first_did(served: Served, place: str) -> None:
    one, _ = fill(served, 3 if place == "server" else 4)
    run = Commands(served, place, "Responder")
    version = str(run.show(one)["version"])
    run("set", one, "--status", "InProgress", "--version", version)
    with pytest.raises(TocsinError) as refused:
        run("set", one, "--status", "Resolved", "--tag", "late", "--version", version)
    assert refused.value.code == ConflictError.code
    assert "changed by somebody else" in str(refused.value)
    assert "status: InProgress" in str(refused.value)
    assert run.show(one)["tags"] == []
    with pytest.raises(UsageError, match="nothing to change"):
        run("set", one)


@pytest.mark.parametrize("place", ["server", "folder"])
def test_the_permissions_are_those_of_the_api(served: Served, place: str) -> None:
    one, _ = fill(served, 5 if place == "server" else 6)
    reader = Commands(served, place, "Reader")
    assert reader.show(one)["number"] == int(one)
    for command in (
        ["set", one, "--status", "Resolved"],
        ["comment", one, "x"],
        ["lock", one],
        ["task", one, "--add", "t"],
    ):
        with pytest.raises(TocsinError) as refused:
            reader(*command)
        assert refused.value.code.startswith("ACC"), refused.value
    if place == "folder":
        nobody = Commands(served, place, "Reader")
        nobody.where[-1] = "nobody"
        with pytest.raises(UsageError, match="no user"):
            nobody("lock", one)


@pytest.mark.parametrize("place", ["server", "folder"])
def test_weights_are_tried_set_and_taken_back(served: Served, place: str) -> None:
    day = 8 if place == "server" else 9
    one, _ = fill(served, day)
    run = Commands(served, place, "Administrator")
    assert run("weights") == "All weights are as usual; --all prints them.\n"
    assert "threshold = 40.0 points" in run("weights", "--all")
    served.workspace.incidents.judge(again=True)
    before = run.show(one)["priority"]
    assert f"#{one} priority {before} becomes {before - 25}" in run("weights", "--set", "severity.High=10", "--preview")
    assert run("weights").startswith("All weights are as usual")
    run("weights", "--set", "severity.High=10", "--set", "grace=1", "--reason", "a try")
    assert run.show(one)["priority"] == before - 25
    run("weights", "--set", "threshold=400")
    said = run("weights")
    assert "severity.High = 10.0 points (usually 35.0)" in said
    assert "grace = 1.0 hours (usually 0.5)" in said
    # Whoever correlates, the server, takes in what a command on the folder set.
    served.workspace.incidents.add([alert(f"alone{day}", minute(day) + 2, things(day)[0])])
    assert run.show(one)["alert_count"] == 2
    run("weights", "--usual", "severity.High")
    assert run.show(one)["priority"] == before
    for entry in run.json("weights", "--history")["items"][:2]:
        run("weights", "--undo", str(entry["id"]))
    run("weights", "--usual", "severity.High", "--usual", "grace")
    assert run("weights").startswith("All weights are as usual")
    assert "closed incidents were true positives" in run("tuning")
    with pytest.raises(TocsinError, match="hots"):
        run("weights", "--set", "weights.hots=1", "--preview")
    reader = Commands(served, place, "Reader")
    with pytest.raises(TocsinError) as refused:
        reader("weights", "--set", "stage=1")
    assert refused.value.code.startswith("ACC")


def test_what_is_locked_by_a_command_stays_alone_on_the_server(served: Served) -> None:
    one, _ = fill(served, 7)
    folder = Commands(served, "folder", "Responder")
    host, _ = things(7)
    folder("lock", one)
    served.workspace.incidents.add([alert("late", minute(7) + 2, host)])
    assert folder.show(one)["alert_count"] == 2
    folder("unlock", one)
    served.workspace.incidents.add([alert("later", minute(7) + 3, host)])
    assert folder.show(one)["alert_count"] == 4


@pytest.mark.parametrize("place", ["server", "folder"])
def test_a_proof_is_written_by_either(served: Served, place: str, tmp_path: Path) -> None:
    one, _ = fill(served, 41 if place == "server" else 42)
    run = Commands(served, place, "Responder")
    run.where = run.where[:2]
    pdf, data = tmp_path / "case.pdf", tmp_path / "case.json"
    run("export", one, "--pdf", str(pdf), "--json", str(data))
    found, carried = verify(pdf.read_bytes()), verify(data.read_bytes())
    assert (found.intact, found.pages, found.hash, found.incident) == (True, True, carried.hash, f"#{one}")
    with pytest.raises(TocsinError):
        run("export", "999999", "--json", str(data))


@pytest.mark.parametrize("place", ["server", "folder"])
def test_what_people_write_is_never_obeyed_by_a_terminal(served: Served, place: str) -> None:
    one, two = fill(served, 21 if place == "server" else 22)
    run = Commands(served, place, "Responder")
    evil = "gpj.\u202eexe \x1b[31mred\x9b2J\x07 \U000e0041"
    run("set", one, "--title", evil, "--tag", evil)
    run("comment", one, evil)
    run("task", one, "--add", evil)
    outputs = [
        run("list"), run("list", "--json"), run("show", one), run("log", one), run("log", one, "--json"), run("history", one),
        run("set", one, "--tag", "x"), run("task", one), run("merge", two, one, "--preview"), run("graph", one), run("preview", one),
    ]  # fmt: skip
    for output in outputs:
        assert not set(output) & set("\u202e\x1b\x9b\x07\U000e0041"), ascii(output)
    assert json.loads(outputs[1])["total"] >= 2
    assert json.loads(outputs[2])["title"] == " ".join(evil.split())
    assert "\\u202e" in outputs[0]


@pytest.mark.parametrize("place", ["server", "folder"])
def test_figures_and_graphs_are_the_same_everywhere(served: Served, place: str) -> None:
    one, _ = fill(served, 23 if place == "server" else 24)
    run = Commands(served, place, "Responder")
    assert len(run.json("metrics", "--by", "severity")["groups"]) > 1
    assert json.loads(run("graph", one)) == run.show(one)["graph"]
    assert f'id="incident-{one}"' in run("graph", one, "--graphml")


@pytest.mark.parametrize("place", ["server", "folder"])
@pytest.mark.parametrize(
    ("flag", "wrong", "right"), [("--status", "Rezolved", "Resolved"), ("--severity", "Hihg", "High")]
)
def test_a_filter_that_nothing_can_match_is_refused(
    served: Served, place: str, flag: str, wrong: str, right: str
) -> None:
    with pytest.raises(TocsinError, match=f"{wrong}.*Did you mean '{right}'"):
        Commands(served, place, "Reader")("list", flag, wrong)


@pytest.mark.parametrize("place", ["server", "folder"])
def test_words_of_other_doors(served: Served, place: str) -> None:
    one, _ = fill(served, 25 if place == "server" else 26)
    run = Commands(served, place, "Responder")
    with pytest.raises(TocsinError, match="Did you mean 'Closed'"):
        run("set", one, "--words", "sentinel", "--status", "Closd")
    closing = ("--status", "Closed", "--classification", "BenignPositive", "--determination", "SuspiciousButExpected")
    made = run.json("set", one, "--words", "sentinel", *closing)
    assert (made["status"], made["classification"], made["determination"]) == (
        "Resolved",
        "InformationalExpectedActivity",
        None,
    )
    with served.client("responder") as client:
        path = f"/api/v1/incidents/{made['id']}/words"
        assert client.get(path).json()["sentinel"] == dict(
            zip(("status", "classification", "determination"), closing[1::2], strict=True)
        )
        said = {"status": "inProgress", "classification": "truePositive", "determination": "multiStagedAttack"}
        made = client.patch(f"{path}/api", json=said).json()
        assert (made["status"], made["classification"], made["determination"]) == (
            "InProgress",
            "TruePositive",
            "MultiStagedAttack",
        )
        assert client.get(path).json()["api"] == said
        impossible = client.patch(f"{path}/api", json={"classification": "falsePositive", "determination": "phishing"})
        assert (impossible.status_code, impossible.json()["hint"]) == (
            422,
            "One of Clean, NoEnoughDataToValidate, Other.",
        )
    with served.client("reader") as client:
        assert client.patch(f"{path}/api", json=said).status_code == 403


@pytest.mark.parametrize("place", ["server", "folder"])
@pytest.mark.parametrize("command", ["show", "alerts", "log", "graph", "export", "preview", "undo"])
def test_a_number_of_nothing_is_answered_with_the_command_that_prints_numbers(
    served: Served, place: str, command: str
) -> None:
    more = ["--json", "-"] if command == "export" else []
    with pytest.raises(TocsinError) as refused:
        Commands(served, place, "Responder")(command, "999999", *more)
    assert (refused.value.code, refused.value.message) == ("STA0002", "there is no incident 999999")
    assert "tocsin incidents list" in refused.value.hint
    assert "/api/" not in refused.value.hint


@pytest.mark.parametrize("place", ["server", "folder"])
def test_an_exported_graph_holds_what_the_page_has_no_room_for(served: Served, place: str) -> None:
    day = 27 if place == "server" else 28
    host, _ = things(day)
    files = [
        [Entity("File", {"Directory": "c:\\t", "Name": f"{day}-{n}-{m}.exe"}) for m in range(5)] for n in range(30)
    ]
    served.workspace.incidents.add(
        [alert(f"f{day}-{n}", minute(day), host, *some, severity="High") for n, some in enumerate(files)]
    )
    run = Commands(served, place, "Reader")
    (item,) = json.loads(run("list", "--entity", f"one{day}", "--json"))["items"]
    drawn = run.show(str(item["number"]))["graph"]
    assert (len(drawn["nodes"]), drawn["left_out"]) == (120, 31)
    whole = json.loads(run("graph", str(item["number"])))
    assert (len(whole["nodes"]), whole["left_out"]) == (151, 0)
    assert {n["label"] for n in whole["nodes"]} >= {n["label"] for n in drawn["nodes"]}
    assert run("graph", str(item["number"]), "--graphml").count("<node ") == 151
