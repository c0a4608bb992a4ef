"""Real Windows events as winlogbeat ships them, by `_bulk` and by lumberjack: the rows are those that the files themselves give."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from pylogbeat import PyLogBeatClient

from tests.ingest.shipper_support import TOKENS, packed_rig, serve
from tocsin.ingest import SourceBatch, decode_path
from tocsin.ingest.receivers.beats import BeatsReceiver
from tocsin.ingest.receivers.elastic import ElasticReceiver

DATA = Path(os.environ.get("TOCSIN_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared/data"))
ZIPS = sorted((DATA / "otrf/atomic/windows/credential_access/host").glob("*.zip"), key=lambda p: p.stat().st_size)[:3]
COLUMNS = (
    "EventID",
    "Computer",
    "Channel",
    "TargetUserName",
    "SubjectUserName",
    "LogonType",
    "NewProcessName",
    "CommandLine",
    "TimeGenerated",
)


def winlogbeat(row: dict[str, Any]) -> dict[str, Any]:
    """An event as winlogbeat 8 writes it."""
    return {
        "@timestamp": row["TimeCreated"].isoformat(timespec="microseconds") + "Z",
        "@metadata": {"beat": "winlogbeat", "version": "8.17.0"},
        "agent": {"type": "winlogbeat"},
        "ecs": {"version": "8.0.0"},
        "event": {"code": str(row["EventID"])},
        "host": {"name": row["Computer"]},
        "message": row["Message"],
        "winlog": {
            "channel": row["Channel"],
            "provider_name": row["Provider"],
            "event_id": str(row["EventID"]),
            "computer_name": row["Computer"],
            "record_id": row["EventRecordID"],
            "event_data": json.loads(row["EventData"] or "{}"),
        },
    }


@pytest.mark.slow
@pytest.mark.skipif(not ZIPS, reason="../shared/data/otrf isn't there")
def test_rows_are_those_of_the_files(tmp_path: Path) -> None:
    rig = packed_rig(tmp_path / "rig").start()
    documents: list[dict[str, Any]] = []
    expected: Counter[tuple[str, ...]] = Counter()
    for path in ZIPS:
        for item in decode_path(path):
            if not isinstance(item, SourceBatch) or item.source != "windows.event":
                continue
            rows = item.rows.to_pylist()
            chosen = [i for i, r in enumerate(rows) if r["Channel"] == "Security" and r["TimeCreated"] is not None][
                :400
            ]
            documents += [winlogbeat(rows[i]) for i in chosen]
            part = SourceBatch(item.source, item.rows.take(chosen), item.origin)
            for batch in rig.mapper.map(part, received=rig.intake.now()):
                if batch.table == "SecurityEvent":
                    expected.update(keys(batch.rows.to_pylist()))
    assert sum(expected.values()) > 50
    with serve(ElasticReceiver(rig.intake, TOKENS.get).routes()) as url:
        body = b"".join(b'{"create":{"_index":"winlogbeat"}}\n' + json.dumps(d).encode() + b"\n" for d in documents)
        headers = {"Authorization": "Bearer good", "Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        assert (
            httpx.post(f"{url}/_bulk", content=gzip.compress(body), headers=headers, timeout=60).json()["errors"]
            is False
        )
    rig.wait("SecurityEvent", sum(expected.values()), 30)
    assert Counter(keys(rig.rows("SecurityEvent"))) == expected
    receiver = BeatsReceiver(rig.intake, port=0)
    host, port = receiver.start()
    client = PyLogBeatClient(host, port)
    client.connect()
    client.send(documents)
    client.close()
    rig.wait("SecurityEvent", 2 * sum(expected.values()), 30)
    receiver.stop()
    assert Counter(keys(rig.rows("SecurityEvent"))) == expected + expected
    rig.close()


def keys(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [tuple(str(row.get(c)) for c in COLUMNS) for row in rows]
