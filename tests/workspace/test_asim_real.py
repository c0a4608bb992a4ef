"""ASIM over recorded data: each schema has a row for each source row that qualifies, none twice and none lost."""

# ruff: noqa: E501 - queries and tables of columns read best in one line

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tocsin.query import QueryService
from tocsin.workspace.offline import open_queries

DATA = Path(__file__).resolve().parents[3] / "shared/data"
ZEEK = DATA / "otrf/compound/apt29/day1/zeek/individual_zeek_logs"
SOURCES = [
    DATA / "otrf/compound/LSASS_campaign_01",
    DATA / "evtx-attack-samples/Discovery",
    DATA / "evtx-attack-samples/Lateral Movement",
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ZEEK.is_dir(), reason="the recorded attacks (../shared/data) are not here"),
]
SYSMON = "WindowsEvent | where Provider == 'Microsoft-Windows-Sysmon' and EventID in ({})"
SECURITY = "SecurityEvent | where EventID in ({})"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueryService]:
    keep = tmp_path_factory.mktemp("recorded")
    files = [
        *map(str, SOURCES),
        *(str(ZEEK / f"NASHUA_{n}.log") for n in ("conn", "dns")),
        str(ZEEK / "SCRANTON_http.log"),
    ]
    command = [
        sys.executable,
        "-c",
        "from tocsin.cli import main; main()",
        "scan",
        *files,
        "--keep",
        str(keep),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    with open_queries(keep) as queries:
        yield queries


def count(queries: QueryService, query: str) -> int:
    rows = queries.run(f"{query} | count").rows()
    return int(str(rows[0][0]))


@pytest.mark.parametrize(
    ("asim", "sources"),
    [
        ("_Im_ProcessEvent", [SYSMON.format("1, 5"), SECURITY.format("4688, 4689")]),
        ("_Im_ProcessCreate", [SYSMON.format("1"), SECURITY.format("4688")]),
        ("_Im_FileEvent", [SYSMON.format("11, 23, 26"), "SecurityEvent | where EventID == 4663 and ObjectType == 'File'"]),
        ("_Im_RegistryEvent", [SYSMON.format("12, 13, 14"), SECURITY.format("4657")]),
        ("_Im_Authentication", [SECURITY.format("4624, 4625, 4634, 4647")]),
        ("_Im_NetworkSession", [SYSMON.format("3"), "SecurityEvent | where EventID between (5150 .. 5159)", "Corelight_v2_conn_CL"]),
        ("_Im_Dns", [SYSMON.format("22"), "Corelight_v2_dns_CL"]),
        ("_Im_WebSession", ["Corelight_v2_http_CL"]),
    ],
)  # fmt: skip
def test_each_source_row_is_there_once(recorded: QueryService, asim: str, sources: list[str]) -> None:
    counts = [count(recorded, s) for s in sources]
    assert any(counts)
    assert count(recorded, f"{asim}()") == sum(counts)


def test_what_is_known_of_the_recordings(recorded: QueryService) -> None:
    """The columns hold what the events hold."""
    query = "_Im_ProcessCreate() | where EventProduct == 'Sysmon' | summarize n=count(), named=countif(TargetProcessName endswith TargetProcessFilename and isnotempty(TargetProcessFilename)), dvc=countif(isnotempty(DvcHostname)), pid=countif(toint(TargetProcessId) > 0)"
    [[n, named, dvc, pid]] = recorded.run(query).rows()
    assert n == named == dvc == pid > 0
    query = "Corelight_v2_conn_CL | summarize by uid_s, id_resp_h_s | join kind=leftanti (_Im_NetworkSession() | project SessionId, DstIpAddr) on $left.uid_s == $right.SessionId, $left.id_resp_h_s == $right.DstIpAddr"
    assert count(recorded, query) == 0
