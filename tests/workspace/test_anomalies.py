"""Anomalies over the lake: rows of BehaviorAnalytics and Anomalies, windows one after the other, each once, and the baseline's readiness."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tocsin.base.clock import ManualClock
from tocsin.base.errors import KqlError
from tocsin.lake import LakeSettings, TableBatch
from tocsin.state import NotFoundError
from tocsin.workspace.anomalies import Anomalies
from tocsin.workspace.settings import DetectSettings, IngestSettings, Settings
from tocsin.workspace.workspace import Workspace

NOW = datetime(2026, 3, 20, 10, 7, tzinfo=UTC)
ID = "tocsin-anomaly-sign-in-country"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Workspace]:
    settings = Settings(
        data=tmp_path / "data",
        lake=LakeSettings(background=False),
        ingest=IngestSettings(syslog_udp_port=-1, syslog_tcp_port=-1, relp_port=-1),
        detect=DetectSettings(site=tmp_path / "site"),
    )
    with Workspace.open(settings, clock=ManualClock(NOW)) as workspace:
        workspace._intake.start()
        try:
            yield workspace
        finally:
            workspace._intake.stop()


def sign_ins(house: Workspace, *rows: tuple[datetime, str, str]) -> None:
    columns: dict[str, Any] = {
        "TimeGenerated": pa.array([t for t, _, _ in rows], pa.timestamp("us", "UTC")),
        "_TimeReceived": pa.array([t for t, _, _ in rows], pa.timestamp("us", "UTC")),
        "UserPrincipalName": [u for _, u, _ in rows],
        "Location": [c for _, _, c in rows],
        "ResultType": ["0"] * len(rows),
        "AADTenantId": ["t"] * len(rows),
    }
    house.lake.write([TableBatch("SigninLogs", pa.table(columns))])


def found(house: Workspace, query: str) -> list[dict[str, Any]]:
    assert house._intake.wait_visible(house._intake.durable, 60)
    return list(house.queries.run(query, now=house.clock.now()).dicts())


def test_windows_follow_each_other_and_each_is_told_once(house: Workspace) -> None:
    history = [
        (NOW - timedelta(days=n // 4 + 1, hours=n % 4), f"{u}@contoso.com", "DE")
        for n in range(40)
        for u in ("ann", "bob", "eve", "joe")
    ]
    sign_ins(
        house,
        *history,
        (NOW - timedelta(minutes=40), "ann@contoso.com", "KP"),
        (NOW - timedelta(minutes=30), "new@contoso.com", "KP"),
    )
    anomalies = house.anomalies
    before = next(a for a in anomalies.listed() if a["id"] == ID)
    assert before["baseline"] is None
    assert anomalies.run_due() == len(anomalies.known())
    told = next(a for a in anomalies.listed() if a["id"] == ID)
    assert told["baseline"] == {"entities": 4, "ready": 4, "since": told["baseline"]["since"]}
    assert (told["last_status"], told["anomalies"], told["window_end"]) == ("Success", 1, "2026-03-20T10:00:00Z")
    (row,) = found(house, f"Anomalies | where RuleId == '{ID}'")
    assert row["UserPrincipalName"] == "ann@contoso.com"
    assert 0.7 < row["Score"] <= 1
    rows = found(
        house,
        "BehaviorAnalytics | extend said = ActivityInsights.FirstTimeUserConnectedFromCountry",
    )
    said = {r["UserPrincipalName"]: (r["said"], r["InvestigationPriority"]) for r in rows}
    assert said["ann@contoso.com"][0] in (True, "true")
    assert said["ann@contoso.com"][1] >= 7
    assert said["new@contoso.com"][0] is None  # null, not false: nothing is known of it
    assert anomalies.run_due() == 0
    ready = anomalies.readiness(ID)
    assert (ready["entities"], ready["ready"], ready["matching"]) == (5, 4, 5)
    least = ready["items"][0]  # who is least ready comes first
    assert (least["entity"], least["ready"], least["lacks"]) == ("new@contoso.com", False, {"days": 6, "events": 19})
    country = next(f for f in ready["features"] if f["feature"] == "Location" or "Country" in f["feature"])
    assert (country["kind"], country["entities"], country["ready"], country["values"]) == ("term", 5, 4, 2)
    assert "FirstTimeUserConnectedFromCountry" in country["insights"]
    ann = anomalies.readiness(ID, text="ANN@", limit=1)
    assert [i["entity"] for i in ann["items"]] == ["ann@contoso.com"]
    assert ann["items"][0]["features"][0] == {"feature": country["feature"], "events": 41, "values": 2}
    with pytest.raises(NotFoundError):
        anomalies.readiness("nowhere")
    # After a crash before the mark moved, the same rows come under the same key, and are taken once.
    with house.state.write() as unit:
        unit.rules.put(type(unit.rules.get(ID))(ID, window_end=datetime(2026, 3, 20, 9, tzinfo=UTC)))
    assert Anomalies(house).run_due() == 1
    assert len(found(house, "BehaviorAnalytics")) == len(rows)


def test_what_fails_is_told_and_the_window_stays(house: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KqlError("no", code="KQL0001")

    monkeypatch.setattr("tocsin.workspace.anomalies.evaluate", fail)
    assert house.anomalies.run_due() == 0
    told = next(a for a in house.anomalies.listed() if a["id"] == ID)
    assert (told["last_status"], told["window_end"]) == ("Failure", None)
    assert "KQL0001" in (told["last_error"] or "")
    assert house.anomalies.run_due() == 0  # it waits before it tries again
    with house.state.read() as unit:
        assert unit.rules.get(ID).failures == 1
