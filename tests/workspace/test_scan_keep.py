"""`tocsin scan --keep`: what is printed, what a server over the folder shows, and what queries over its tables find are the same incidents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.content import load_packs, packs_dir
from tocsin.incidents import priority
from tocsin.incidents.desk import IncidentDesk
from tocsin.state import State
from tocsin.workspace.offline import open_queries
from tocsin.workspace.scan import scan

RECORDED = Path(__file__).resolve().parents[3] / "shared/data/otrf/compound/Log4Shell"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded attacks (../shared/data/otrf) are not here"),
]


def test_scan_folder_and_tables_tell_of_the_same_incidents(tmp_path: Path) -> None:
    found = scan([RECORDED], keep=tmp_path)
    printed = {i["id"]: (i["priority"], i["title"], i["alert_count"]) for i in found.to_dict()["incidents"]}
    assert printed
    assert any("technique" in r.text for i in found.incidents for r in priority(i, found.judge)[1]), (
        "packs' points count"
    )
    state = State.open(tmp_path / "state.db")
    try:
        content = load_packs([packs_dir()])
        desk = IncidentDesk(state, content=lambda: content)
        kept = {i["id"]: (i["priority"], i["title"], i["alert_count"]) for i in desk.page(limit=500)["items"]}
        assert kept == printed
        assert desk.judge(again=True) == 0, "a server has nothing to judge otherwise"
    finally:
        state.close()
    with open_queries(tmp_path) as queries:
        rows = queries.run(
            "SecurityIncident | project IncidentName, toint(AdditionalData.priority), Title, array_length(AlertIds)"
        ).dicts()
        assert {r["IncidentName"]: tuple(list(r.values())[1:]) for r in rows} == printed
        (named,) = queries.run("SecurityIncident | where isnotempty(Description) | count").dicts()
        assert named["Count"] == len(printed), "the first alert's description"
        (joined,) = queries.run(
            "SecurityIncident | mv-expand Id = AlertIds to typeof(string) | join kind=inner SecurityAlert on $left.Id == $right.SystemAlertId"
            " | join kind=inner (AlertInfo | project AlertId) on $left.Id == $right.AlertId | count"
        ).dicts()
        assert joined["Count"] == sum(n for _, _, n in printed.values())
        (evidence,) = queries.run("AlertEvidence | count").dicts()
        assert evidence["Count"] >= joined["Count"]
