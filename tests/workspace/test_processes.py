"""Process trees by what rows have: Sysmon's unique ids without numbers, the hexadecimal numbers of event 4688, wherever the event log's rows are."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pypdf import PdfReader
from tests.incidents.test_correlate import ANN, T0, WS1, alert
from tests.workspace.house import House

from tocsin.base.clock import ManualClock
from tocsin.content import Content, load_packs, packs_dir
from tocsin.detect.alert import Evidence
from tocsin.incidents.export import to_json, verify
from tocsin.incidents.pdf import to_pdf
from tocsin.lake import TableBatch
from tocsin.query import QueryService
from tocsin.workspace.settings import Settings
from tocsin.workspace.story import Stories

WHO = {
    "SubjectUserName": "WS1$",
    "SubjectDomainName": "CONTOSO",
    "TargetUserName": "ann",
    "TargetDomainName": "CONTOSO",
}
SECURITY = "Microsoft-Windows-Security-Auditing"


def at(seconds: float) -> datetime:
    return (T0 + timedelta(seconds=seconds)).replace(tzinfo=None)


def sysmon(seconds: float, uid: str, name: str, parent: str, parent_pid: int) -> dict[str, Any]:
    """What a collector makes that loses the process's own number."""
    return {
        "TimeGenerated": at(seconds), "Timestamp": at(seconds), "DeviceName": "ws1.contoso.com", "ActionType": "ProcessCreated",
        "FileName": name, "ProcessUniqueId": uid, "ProcessCommandLine": f"{name} -x", "ProcessCreationTime": at(seconds),
        "InitiatingProcessUniqueId": parent, "InitiatingProcessId": parent_pid, "InitiatingProcessFileName": "cmd.exe",
    }  # fmt: skip


def created(seconds: float, pid: str, name: str, parent: str) -> dict[str, Any]:
    return {
        "NewProcessId": pid, "NewProcessName": f"C:\\Windows\\{name}", "ProcessId": parent, "ParentProcessName": "C:\\Windows\\powershell.exe",
        "CommandLine": f"{name} -x", **WHO,
    } | {"TimeGenerated": at(seconds)}  # fmt: skip


def in_windows_event(row: dict[str, Any], event: int) -> dict[str, Any]:
    """As a forwarded log is kept whose channel's name is written otherwise."""
    data = {n: v for n, v in row.items() if n != "TimeGenerated"}
    return {
        "TimeGenerated": row["TimeGenerated"], "Computer": "WS1.contoso.com", "Channel": "security", "Provider": SECURITY, "EventID": event,
        "EventData": data, "SourceSystem": "windows.event",
    }  # fmt: skip


ROWS: dict[str, list[dict[str, Any]]] = {
    "DeviceProcessEvents": [
        sysmon(1.25, "{A-1}", "cmd.exe", "{A-0}", 4),
        sysmon(2.5, "{A-2}", "powershell.exe", "{A-1}", 256),
        sysmon(3.5, "{A-3}", "whoami.exe", "{A-2}", 512),
    ],
    "WindowsEvent": [
        in_windows_event(created(3, "0x300", "whoami.exe", "0x200"), 4688),  # whole seconds
        in_windows_event(
            {"TimeGenerated": at(5), "ProcessId": "0x300", "ProcessName": "C:\\Windows\\whoami.exe"}, 4689
        ),
    ],
    "SecurityEvent": [
        {
            "EventID": 4688,
            "Computer": "ws1.contoso.com",
            "EventSourceName": SECURITY,
            **created(10, "0x300", "net.exe", "0x200"),
        },
        {
            "EventID": 4688,
            "Computer": "ws1.contoso.com",
            "EventSourceName": SECURITY,
            **created(12, "0x310", "net1.exe", "0x300"),
        },
    ],
}


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stories, str]]:
    content: Content = load_packs([packs_dir()], only=("functions", "entities", "incidents"))
    house = House(Settings(data=tmp_path_factory.mktemp("processes")), ManualClock(T0 + timedelta(hours=1)))
    queries = QueryService(house.lake, clock=house.clock, functions=content.functions)
    for name, rows in ROWS.items():
        columns = dict.fromkeys(c for r in rows for c in r)
        house.lake.write([TableBatch(name, pa.Table.from_pylist([{c: r.get(c) for c in columns} for r in rows]))])
    house.lake.flush()
    seen = Evidence("DeviceProcessEvents", {"ProcessUniqueId": "{A-2}", "InitiatingProcessUniqueId": "{A-1}"})
    by = Evidence("DeviceNetworkEvents", {"InitiatingProcessUniqueId": "{a-3}"})
    house.incidents.add(
        [
            alert("run", 0, WS1, ANN, severity="High", events=(seen,)),
            alert("call", 1, WS1, ANN, severity="High", events=(by,)),
        ]
    )
    parts = SimpleNamespace(queries=queries, state=house.state)
    yield Stories(parts, lambda: content, lambda: None), str(house.incidents.page()["items"][0]["id"])  # type: ignore[arg-type]
    queries.close()
    house.close()


def drawn(node: dict[str, Any], deep: int = 0) -> list[str]:
    said = f"{'  ' * deep}{'' if node['certain'] else '~'}{'' if node['seen'] else '?'}{node['pid']} {node['file']}"
    return [said, *(line for child in node["children"] for line in drawn(child, deep + 1))]


def test_the_tree_is_made_by_what_there_is(stories: tuple[Stories, str]) -> None:
    made, incident = stories
    found = made.processes(incident)
    (tree,) = found["trees"]
    assert drawn(tree) == [
        "?4 cmd.exe",
        "  256 cmd.exe",
        "    512 powershell.exe",
        "      768 whoami.exe",  # the number is 4688's, the link Sysmon's
        "      ~768 net.exe",  # the number came back, and its parent is known by number alone
    ]
    whoami, net = tree["children"][0]["children"][0]["children"]
    assert (whoami["ended"], net["ended"]) == ("2026-03-01T09:00:05Z", None)
    assert (whoami["account"], whoami["started"]) == ("CONTOSO\\ann", "2026-03-01T09:00:03.500000Z")
    assert (tree["children"][0]["children"][0]["alerts"], len(whoami["alerts"])) != ([], 0)
    assert tree["children"][0]["alerts"] == [], (
        "what started it is another process than the one that the alert is about"
    )
    assert found["ends_known"]


def test_who_may_not_read_the_event_log_gets_what_sensors_told(stories: tuple[Stories, str]) -> None:
    made, incident = stories
    eve = SimpleNamespace(name="eve", roles=frozenset(), table_scopes=frozenset({"DeviceProcessEvents"}))
    found = made.processes(incident, principal=eve)
    assert not found["ends_known"]
    assert drawn(found["trees"][0]) == [
        "?4 cmd.exe",
        "  256 cmd.exe",
        "    512 powershell.exe",
        "      None whoami.exe",
    ]


def test_the_proof_has_the_trees_as_of_its_moment(stories: tuple[Stories, str]) -> None:
    made, incident = stories
    proof = made.bundle(incident, audit=False)
    told = proof["sections"]["processes"]
    live = made.processes(incident)
    assert {n: told[n] for n in live} == live
    assert (told["at"], told["asked_by"]) == ("2026-03-01T10:00:00Z", "local")
    pdf = to_pdf(proof)
    assert verify(pdf).pages is True
    text = " ".join("".join(p.extract_text() for p in PdfReader(io.BytesIO(pdf)).pages).split())
    for part in (
        "As of 2026-03-01 10:00:00 UTC",
        "cmd.exe (4)",
        "· · powershell.exe (512)",
        "· · · ~ net.exe (768)",
        "follows from the process id alone",
    ):
        assert part in text, part
    other = json.loads(to_json(proof))
    other["sections"]["processes"]["trees"][0]["children"][0]["command"] = "nothing"
    assert verify(to_json(other)).problems == ("The section 'processes' was changed.",)


def test_who_may_not_read_processes_exports_without_them(stories: tuple[Stories, str]) -> None:
    made, incident = stories
    eve = SimpleNamespace(name="eve", roles=frozenset(), table_scopes=frozenset({"IdentityInfo"}))
    proof = made.bundle(incident, audit=False, principal=eve)
    assert "DeviceProcessEvents" in proof["sections"]["processes"]["not_asked"]
    assert verify(to_pdf(proof)).intact
    assert made.bundle(incident, audit=False, asks=False)["sections"]["processes"] == {
        "not_asked": "who exported it may not ask the tables"
    }
