"""Dead letters of a running server: counted, seen whole, replayed by id, by filter and all, and never twice."""

from __future__ import annotations

import base64
import json
import threading
from datetime import timedelta
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tests.api.conftest import Served
from tocsin.cli.app import app as commands
from tocsin.lake import Body

CONN = {
    "_path": "conn",
    "ts": 1714557600.0,
    "uid": "C",
    "id.orig_h": "10.0.0.1",
    "id.orig_p": 1,
    "id.resp_h": "10.0.0.2",
}
BROKEN = b'{"Type": "AuditLogs", "OperationName": "x"'


def send(served: Served, source: str, *pieces: bytes, **meta: str) -> None:
    intake = served.workspace._intake
    bodies = [Body(source, p, served.workspace.clock.now(), {"token": "t", **meta}) for p in pieces]
    assert intake.wait_visible(intake.submit(bodies).result(60), 60)


def fail_on_zeek(client: httpx.Client) -> str:
    """A transform that reads a column which the rows that come next don't have: it was right for those that came before."""
    form = {"name": "z", "stream": "zeek.conn", "flows": [{"transformKql": "source | where tolong(orig_bytes) >= 0"}]}
    answer = client.post("/api/v1/transforms", json=form)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def conns(*numbers: int) -> bytes:
    return b"\n".join(json.dumps({**CONN, "uid": f"C{n}"}).encode() for n in numbers)


def uids(served: Served) -> list[Any]:
    text = "DeviceNetworkEvents | extend u = tostring(AdditionalFields.uid) | where u startswith 'C' | order by u asc | project u"
    return [r[0] for r in served.workspace.queries.run(text).rows()]


def test_after_the_fix_letters_are_replayed_without_doubles(running: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_SERVER", running.url)
    monkeypatch.setenv("TOCSIN_TOKEN", running.token("Contributor"))
    run = CliRunner()
    # Everything comes within one instant of receipt: a letter that fails again is told from what it was all the same.
    running.workspace._intake._tick = timedelta(seconds=20)
    send(running, "jsonl", json.dumps({**CONN, "uid": "C0", "orig_bytes": 5}).encode())
    with running.client("contributor") as client:
        transform = fail_on_zeek(client)
        for number in (1, 2, 3):
            send(running, "jsonl", conns(10 * number, 10 * number + 1), token=f"t{number}")
        send(running, "jsonl", BROKEN, BROKEN.replace(b"x", b"y"))
        page = client.get("/api/v1/dead-letters").json()
        assert (page["total"], page["replayable"], page["counts"]["code"]) == (5, 5, {"ING0025": 3, "ING0013": 2})
        assert client.get("/api/v1/dead-letters", params={"text": "orig_bytes", "limit": 1}).json()["total"] == 3
        broken = client.get("/api/v1/dead-letters", params={"code": "ING0013"}).json()["items"]
        whole = client.get(f"/api/v1/dead-letters/{broken[0]['id']}").json()
        assert base64.b64decode(whole["raw"]) in (BROKEN, BROKEN.replace(b"x", b"y"))
        assert client.get("/api/v1/dead-letters/nothing").status_code == 404
        assert uids(running) == ["C0"]

        # Before the fix a replay gives a letter again, and loses nothing.
        failed = [i["id"] for i in client.get("/api/v1/dead-letters", params={"code": "ING0025"}).json()["items"]]
        first = client.post("/api/v1/dead-letters/replay", json={"ids": failed[:1]}).json()
        assert (first["replayed"], first["dead"], first["left"]) == (1, 1, 0)
        assert client.get("/api/v1/dead-letters").json()["total"] == 5

        client.patch(f"/api/v1/transforms/{transform}", json={"enabled": False})
        chosen = [i["id"] for i in client.get("/api/v1/dead-letters", params={"code": "ING0025"}).json()["items"]]
        answers: list[dict[str, Any]] = []
        threads = [
            threading.Thread(
                target=lambda: answers.append(
                    client.post("/api/v1/dead-letters/replay", json={"ids": chosen[:1]}).json()
                )
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(a["replayed"] for a in answers) == [0, 0, 0, 1]
        assert all(a["replayed"] or "replayed already" in a["skipped"][0]["reason"] for a in answers)

    asked = run.invoke(commands, ["sources", "dead-letters", "--code", "ING0025", "--json"], catch_exceptions=False)
    assert json.loads(asked.output)["total"] == 2
    ended = run.invoke(commands, ["sources", "replay", "--code", "ING0025", "--json"], catch_exceptions=False)
    assert (ended.exit_code, json.loads(ended.output)) == (0, {"replayed": 2, "dead": 0, "skipped": []})
    assert uids(running) == ["C0", "C10", "C11", "C20", "C21", "C30", "C31"]
    # Nothing repairs these: they come back as letters, once each.
    ended = run.invoke(commands, ["sources", "replay", "--all", "--json"], catch_exceptions=False)
    assert (ended.exit_code, json.loads(ended.output)["dead"]) == (1, 2)
    with running.client("reader") as client:
        page = client.get("/api/v1/dead-letters").json()
        assert (page["total"], page["counts"]["code"]) == (2, {"ING0013": 2})
        assert client.post("/api/v1/dead-letters/replay", json={}).status_code == 403
    with running.client("administrator") as client:
        audit = client.get("/api/v1/audit", params={"limit": 50}).json()["items"]
    assert sum(a["action"] == "deadletter.replay" for a in audit) == 7
    cut_letters_say_so(running)


def cut_letters_say_so(running: Served) -> None:
    limits = running.workspace._intake.limits
    send(running, "jsonl", b'{"a": "' + b"x" * (2 * limits.dead_letter_bytes), path="cut")
    with running.client("contributor") as client:
        page = client.get("/api/v1/dead-letters", params={"source": "cut"}).json()
        assert (page["total"], page["replayable"]) == (1, 0)
        letter = page["items"][0]
        assert len(base64.b64decode(letter["raw"])) == 3000
        answer = client.post("/api/v1/dead-letters/replay", json={"ids": [letter["id"]]}).json()
        assert answer["replayed"] == 0
        assert "dead_letter_bytes" in answer["skipped"][0]["reason"]
