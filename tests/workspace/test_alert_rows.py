"""Alerts as rows: in three tables, and also those that a crash left unwritten."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from tocsin.base.clock import SystemClock
from tocsin.detect.alert import Alert
from tocsin.tables.entities import Entity
from tocsin.workspace.alertrows import alert_evidence, security_alert
from tocsin.workspace.settings import DetectSettings, IngestSettings, Settings
from tocsin.workspace.workspace import Workspace


def alert(number: int, **more: Any) -> Alert:
    now = SystemClock().now()
    base: dict[str, Any] = {
        "id": f"al_{number}",
        "rule_id": "r",
        "rule": "R",
        "time": now - timedelta(minutes=5),
        "end": now,
        "created": now,
        "severity": "High",
        "tactics": ("Execution", "Persistence"),
        "techniques": ("T1059",),
        "entities": (
            Entity("Host", {"HostName": "ws1", "DnsDomain": "contoso.com"}),
            Entity("Account", {"Name": "ann", "UPNSuffix": "contoso.com"}),
            Entity("FileHash", {"Algorithm": "SHA256", "Value": "ab" * 32}),
        ),
    }
    return Alert(**{**base, **more})


def test_dynamic_properties_are_columns() -> None:
    row = security_alert(alert(1, properties={"alertLink": "https://x.example", "RemediationSteps": "Reset it."}))
    assert (row["AlertLink"], row["RemediationSteps"], row["ProviderName"]) == (
        "https://x.example",
        "Reset it.",
        "Tocsin",
    )


def test_each_entity_is_evidence() -> None:
    host, account, file = alert_evidence(alert(1))
    assert (host["EntityType"], host["DeviceName"]) == ("Machine", "ws1")
    assert (account["EntityType"], account["AccountUpn"]) == ("User", "ann@contoso.com")
    assert (file["EntityType"], file["SHA256"]) == ("File", "ab" * 32)


def test_what_a_crash_left_unwritten_is_written_at_the_next_start(tmp_path: Path) -> None:
    counted = (
        "SecurityAlert | distinct SystemAlertId | join kind=inner (AlertInfo | summarize Infos = count() by AlertId) on "
        "$left.SystemAlertId == $right.AlertId | join kind=inner (AlertEvidence | summarize Evidence = count() by AlertId) on AlertId "
        "| sort by SystemAlertId asc | project SystemAlertId, Infos, Evidence"
    )
    settings = Settings(
        data=tmp_path,
        ingest=IngestSettings(syslog_udp_port=-1, syslog_tcp_port=-1, relp_port=-1),
        detect=DetectSettings(poll_seconds=60),
    )

    def becomes(workspace: Workspace, expected: list[list[Any]]) -> bool:
        until = time.monotonic() + 60
        while workspace.queries.run(counted).rows() != expected:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    with Workspace.open(settings) as workspace:
        workspace.start()
        workspace.detection.file([alert(1)])
        workspace.incidents.add([alert(2)])  # durable, and then the process dies before its rows are written
        assert becomes(workspace, [["al_1", 1, 3]])
    with Workspace.open(settings) as workspace:
        workspace.start()
        both = [["al_1", 1, 3], ["al_2", 1, 3]]
        assert becomes(workspace, both)
        workspace.detection._untold(workspace.clock.now())  # nothing is untold any more
        assert becomes(workspace, both)
