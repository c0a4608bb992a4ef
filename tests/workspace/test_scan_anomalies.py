"""Anomalies of a scan: on the data's own time, where the data is long enough for a baseline, and said where it isn't."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tocsin.lake import Lake
from tocsin.query import QueryService
from tocsin.tables import catalogue
from tocsin.workspace.scan import scan

NOW = datetime(2025, 3, 20, 10, 7, tzinfo=UTC)
COUNTRY = "tocsin-anomaly-sign-in-country"


def sign_in(at: datetime, who: str, country: str) -> dict[str, Any]:
    return {
        "time": at.isoformat().replace("+00:00", "Z"),
        "operationName": "Sign-in activity",
        "category": "SignInLogs",
        "tenantId": "t",
        "resultType": "0",
        "location": country,
        "properties": {
            "id": f"{who}-{at.isoformat()}",
            "createdDateTime": at.isoformat().replace("+00:00", "Z"),
            "userPrincipalName": f"{who}@contoso.com",
            "appDisplayName": "Mail",
            "status": {"errorCode": 0},
            "location": {"countryOrRegion": country},
        },
    }


def history(days: int) -> list[dict[str, Any]]:
    rows = [
        sign_in(NOW - timedelta(days=1 + day, hours=n), who, "DE")
        for day in range(days)
        for n in range(4)
        for who in ("ann", "bob", "eve", "joe")
    ]
    return [*rows, sign_in(NOW - timedelta(minutes=40), "ann", "KP"), sign_in(NOW - timedelta(minutes=30), "new", "KP")]


def told(folder: Path, rows: list[dict[str, Any]], keep: Path | None = None) -> dict[str, Any]:
    folder.mkdir()
    (folder / "signins.json").write_text("\n".join(json.dumps(r) for r in rows), "utf-8")
    found = scan([folder], keep=keep)
    assert not found.failed_rules
    return next(a for a in found.to_dict()["anomalies"] if a["id"] == COUNTRY)


def test_what_is_unusual_is_found_and_kept_as_rows(tmp_path: Path) -> None:
    anomaly = told(tmp_path / "logs", history(7), keep=tmp_path / "kept")
    assert (anomaly["found"], anomaly["entities"], anomaly["ready"], anomaly["note"]) == (1, 4, 4, "")
    assert anomaly["windows"] > 1
    with Lake.open(tmp_path / "kept" / "lake", catalog=catalogue(), read_only=True) as lake:
        queries = QueryService(lake, catalogue=catalogue())
        try:
            text = "Anomalies | project UserPrincipalName, Score, AnomalyReasons, TimeGenerated"
            (row,) = queries.run(text, now=NOW).dicts()
            behaviour = "BehaviorAnalytics | where UserPrincipalName startswith 'new'"
            (unknown,) = queries.run(behaviour, now=NOW).dicts()
        finally:
            queries.close()
    assert row["UserPrincipalName"] == "ann@contoso.com"
    assert row["Score"] > 0.6
    reasons = json.loads(row["AnomalyReasons"]) if isinstance(row["AnomalyReasons"], str) else row["AnomalyReasons"]
    assert {"FirstTimeUserConnectedFromCountry"} <= {r["Name"] for r in reasons}
    assert str(row["TimeGenerated"]).startswith("2025-03-20")  # the data's day, not today
    insights = unknown["ActivityInsights"]
    insights = json.loads(insights) if isinstance(insights, str) else insights
    assert insights["FirstTimeUserConnectedFromCountry"] is None


def test_too_short_a_history_is_said(tmp_path: Path) -> None:
    anomaly = told(tmp_path / "logs", history(3))
    assert (anomaly["found"], anomaly["windows"]) == (0, 0)
    assert anomaly["note"].startswith(
        "no baseline: it needs 7 days of what it looks at before a window, the data has 3"
    )
