"""`tocsin scan` over a public collection of Windows event logs of attacks: every record of every file is read."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EVTX = Path(__file__).resolve().parents[3] / "shared/data/evtx-attack-samples"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EVTX.is_dir(), reason="the event logs (../shared/data/evtx-attack-samples) are not here"),
]

HEADER, CHUNK = 4096, 65_536


def records(data: bytes) -> int:
    """How many records a log holds, told by its layout alone: each chunk's records one after the other, by the length that each begins with."""
    count = 0
    for start in range(HEADER, len(data) - 511, CHUNK):
        if data[start : start + 8] != b"ElfChnk\0":
            continue
        free = struct.unpack_from("<I", data, start + 48)[0]
        at = start + 512
        while at + 8 <= min(start + free, len(data)):
            magic, size = struct.unpack_from("<II", data, at)
            if magic != 0x2A2A or size < 24:
                break
            count += 1
            at += size
    return count


def numbered(data: bytes) -> int:
    """The same by what the chunks' headers say: from the first to the last record number."""
    count = 0
    for start in range(HEADER, len(data) - 511, CHUNK):
        if data[start : start + 8] == b"ElfChnk\0":
            first, last = struct.unpack_from("<QQ", data, start + 8)
            count += last - first + 1 if last >= first else 0
    return count


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    kept = tmp_path_factory.mktemp("kept")
    command = [
        sys.executable,
        "-c",
        "from tocsin.cli import main; main()",
        "scan",
        str(EVTX),
        "--json",
        "--keep",
        str(kept),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    found["kept"] = str(kept)
    return found


def test_every_record_of_every_file_is_read(answer: dict[str, Any]) -> None:
    logs = {str(p): p.read_bytes() for p in EVTX.rglob("*") if p.is_file() and p.read_bytes()[:8] == b"ElfFile\0"}
    assert len(logs) > 190
    read = {f["path"]: f["events"] for f in answer["files"] if f["format"] == "evtx"}
    assert read == {path: records(data) for path, data in logs.items()}
    # Chunk headers count too; where a log was cut by whoever collected it they may promise more, never less.
    promised = {path: numbered(data) for path, data in logs.items()}
    assert all(read[path] <= promised[path] for path in logs)
    assert sum(read.values()) > 5000


def test_every_file_is_accounted_for(answer: dict[str, Any]) -> None:
    files = {str(p) for p in EVTX.rglob("*") if p.is_file()}
    assert {f["path"] for f in answer["files"]} == files
    assert [f for f in answer["files"] if f["error"] or f["dead"]] == []
    assert answer["errors"] == []
    assert answer["events"] == sum(f["events"] for f in answer["files"])


def test_every_record_is_a_row(answer: dict[str, Any]) -> None:
    """Each Windows event is a row of WindowsEvent, whatever other table it fills too."""
    windows = sum(f["events"] for f in answer["files"] if f["format"] == "evtx")
    assert answer["tables"]["WindowsEvent"] == windows
    command = [sys.executable, "-c", "from tocsin.cli import main; main()", "query", "--data", answer["kept"], "--json",
               "WindowsEvent | summarize Rows = count(), Hosts = dcount(Computer)"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout)["rows"][0][0] == windows


def test_attacks_are_found(answer: dict[str, Any]) -> None:
    """The collection has a folder a tactic; hardly any of them gives no incident."""
    tactics = {t for i in answer["incidents"] for a in i["alerts"] for t in a["tactics"]}
    assert {
        "Execution",
        "Persistence",
        "PrivilegeEscalation",
        "DefenseEvasion",
        "CredentialAccess",
        "LateralMovement",
    } <= tactics
    assert all(a["events"] for i in answer["incidents"] for a in i["alerts"])
