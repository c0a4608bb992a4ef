"""`tocsin scan` over recorded attacks: one incident holds the attack's steps, every file is accounted for.

The steps that must be there are the facts of the recordings (what was done, on which host, when), not what our rules happen to say: a step
counts when an alert of the incident has that technique.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

OTRF = Path(__file__).resolve().parents[3] / "shared/data/otrf/compound"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not OTRF.is_dir(), reason="the recorded attacks (../shared/data/otrf) are not here"),
]


def scan(name: str) -> dict[str, Any]:
    command = [sys.executable, "-c", "from tocsin.cli import main; main()", "scan", str(OTRF / name), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def biggest(answer: dict[str, Any]) -> dict[str, Any]:
    assert 1 <= len(answer["incidents"]) <= 2, [i["title"] for i in answer["incidents"]]
    incident: dict[str, Any] = max(answer["incidents"], key=lambda i: i["alert_count"])
    return incident


def techniques(incident: dict[str, Any]) -> set[str]:
    return {t.split(".")[0] for t in incident["techniques"]}


def accounted(answer: dict[str, Any]) -> None:
    assert answer["errors"] == []
    assert all(f["error"] is None and f["dead"] == 0 for f in answer["files"])
    assert sum(f["events"] for f in answer["files"]) == answer["events"]


LSASS = {
    # execution of a download, discovery, escalation by a named pipe, injection, LSASS
    "LSASS_campaign_01": (
        "MKT01",
        {"T1204", "T1082", "T1033", "T1057", "T1134", "T1055", "T1003"},
        "2023-08-15T09:53",
        "2023-08-15T10:08",
    ),
    "LSASS_campaign_02": ("ACCT01", {"T1082", "T1033", "T1003"}, "2023-08-15T05:33", "2023-08-15T05:48"),
    "LSASS_campaign_03": ("PRD01", {"T1204", "T1543", "T1055", "T1003"}, "2023-08-18T08:56", "2023-08-18T09:10"),
    "LSASS_campaign_04": ("IT01", {"T1204", "T1082", "T1003"}, "2023-08-27T03:04", "2023-08-27T03:10"),
}


@pytest.mark.parametrize("name", LSASS)
def test_lsass_campaign_is_one_incident(name: str) -> None:
    host, wanted, begin, end = LSASS[name]
    answer = scan(name)
    accounted(answer)
    incident = biggest(answer)
    assert wanted <= techniques(incident)
    assert any(e["type"] == "Host" and e["label"].upper().startswith(host) for e in incident["entities"])
    assert begin <= incident["first"] <= incident["last"] <= end
    assert incident["severity"] == "High"
    for alert in incident["alerts"]:
        assert alert["events"], alert["rule"]


def test_golden_saml_joins_directory_and_cloud() -> None:
    answer = scan("GoldenSAMLADFSMailAccess")
    accounted(answer)
    assert answer["events"] == 52
    incident = biggest(answer)
    assert {"T1552", "T1606", "T1098", "T1114"} <= techniques(incident)
    tables = {e["table"] for a in incident["alerts"] for e in a["events"]}
    assert any("IdentityDirectoryEvents" in t or "DeviceEvents" in t for t in tables)
    assert any("AuditLogs" in t for t in tables)
    assert any("OfficeActivity" in t for t in tables)
    labels = {e["label"].lower() for e in incident["entities"]}
    assert {"pgustavo@simulandlabs.com", "adfs01.simulandlabs.com"} <= labels
    times = [datetime.fromisoformat(s["time"]) for s in incident["story"]]
    assert times == sorted(times)


def test_log4shell_on_linux_and_windows() -> None:
    """Two hosts, two days apart, nothing shared: one incident each."""
    answer = scan("Log4Shell")
    accounted(answer)
    assert {f["format"] for f in answer["files"] if f.get("skipped")} == {"pcap", "pcapng"}
    by_host = {}
    for incident in answer["incidents"]:
        for entity in incident["entities"]:
            if entity["type"] == "Host":
                by_host[entity["label"].lower()] = incident
    assert set(by_host) == {"ubuntu5", "workstation5"}
    linux = by_host["ubuntu5"]
    assert {"T1190", "T1059"} <= techniques(linux)
    assert {"T1190", "T1059"} <= techniques(by_host["workstation5"])
    assert any(e["type"] == "IP" and e["label"] == "192.168.2.6" for e in linux["entities"])


@pytest.mark.parametrize(
    ("day", "wanted", "first", "last"),
    [
        # a session to a control server, files stolen over WebDAV; the second day, a program fetched over HTTP. Zeek's logs are all there is.
        ("day1", {"T1573", "T1048"}, "2020-04-30T00:15", "2020-04-30T00:45"),
        ("day2", {"T1573", "T1105"}, "2020-05-01T07:0", "2020-05-01T07:26"),
    ],
)
def test_apt29_seen_by_the_network_is_one_incident(day: str, wanted: set[str], first: str, last: str) -> None:
    answer = scan(f"apt29/{day}/zeek/individual_zeek_logs")
    accounted(answer)
    assert len(answer["incidents"]) == 1
    incident = answer["incidents"][0]
    assert wanted <= techniques(incident)
    assert first <= incident["first"] <= incident["last"] <= last
    assert {"10.0.1.4" if day == "day1" else "10.0.1.5", "192.168.0.4"} <= {e["label"] for e in incident["entities"]}


def test_an_instances_role_in_the_wrong_hands() -> None:
    answer = scan("../atomic/aws/collection/ec2_proxy_s3_exfiltration.zip")
    accounted(answer)
    assert len(answer["incidents"]) == 1
    incident = answer["incidents"][0]
    assert {"T1552", "T1530"} <= techniques(incident)
    assert "2020-09-14T01:0" <= incident["first"] <= incident["last"] < "2020-09-14T01:20"
