"""The stored data of a real server: copied while it runs, restored, started again; a full disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.server import Server, until

CLI = [sys.executable, "-c", "from tocsin.cli import main; main()"]
COUNT = "Unparsed_CL | count"


def tocsin(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)


def send(client: httpx.Client, token: str, first: int, count: int, *, padding: int = 0) -> httpx.Response:
    lines = b"\n".join(
        json.dumps({"n": n, "pad": os.urandom(padding).hex()}).encode() for n in range(first, first + count)
    )
    return client.post("/ingest/v1/jsonl", content=lines, headers={"Authorization": f"Bearer {token}"})


def seen(server: Server) -> list[int]:
    """The numbers that the server holds."""
    rows = server.rows("Unparsed_CL | project n = tolong(parse_json(RawData).n) | order by n asc")
    return [r[0] for r in rows]


def test_backup_of_a_live_server_restores_to_a_server(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve().start()
    token = server.token()
    client = server.client()
    assert send(client, token, 0, 50).status_code == 200
    made = tocsin("backup", tmp_path / "copy", "--data", server.data, "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["state"] is True
    assert send(client, token, 50, 50).status_code == 200, "the server goes on"
    again = tocsin("backup", tmp_path / "copy", "--data", server.data)
    assert again.returncode == 2
    assert "USE0012" in again.stderr
    verdict = tocsin("lake", "verify", "--data", server.data, "--json")
    assert json.loads(verdict.stdout)["whole"] is True
    until(lambda: len(seen(server)) == 100, 90)
    server.close()

    assert tocsin("restore", tmp_path / "copy", "--data", tmp_path / "data").returncode == 2, "never over live data"
    server.data.rename(tmp_path / "lost")
    restored = tocsin("restore", tmp_path / "copy", "--data", server.data)
    assert restored.returncode == 0, restored.stderr
    assert (server.data / "state.db").stat().st_mode & 0o077 == 0
    server.start()  # the same users, tokens and rows
    until(lambda: len(seen(server)) == 50, 90)
    assert seen(server) == list(range(50))
    assert send(server.client(), token, 100, 1).status_code == 200
    until(lambda: len(seen(server)) == 51, 90)


def test_a_damaged_backup_restores_nothing(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve().start()
    send(server.client(), server.token(), 0, 5)
    assert server.stop() == 0
    assert tocsin("backup", tmp_path / "copy", "--data", server.data).returncode == 0
    victim = next((tmp_path / "copy" / "lake" / "tables").rglob("*.parquet"))
    victim.write_bytes(victim.read_bytes().replace(b"PAR1", b"PAR2", 1))
    answer = tocsin("restore", tmp_path / "copy", "--data", tmp_path / "new")
    assert answer.returncode == 1
    assert "LAK0022" in answer.stderr
    assert victim.name in answer.stderr
    assert not (tmp_path / "new").exists()
    (tmp_path / "copy" / "manifest.json").unlink()
    answer = tocsin("restore", tmp_path / "copy", "--data", tmp_path / "new")
    assert answer.returncode == 2
    assert "no whole backup" in answer.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 48 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small disk can't be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.system
def test_a_full_disk_refuses_intake_and_recovers_by_itself(small_disk: Path) -> None:
    server = Server(small_disk / "data").start()
    try:
        token = server.token()
        client = server.client()
        filler = small_disk / "filler"
        room = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        with filler.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(0, room - (6 << 20)))
        acknowledged: list[int] = []
        refused: list[httpx.Response] = []
        for number in range(0, 4000, 100):
            answer = send(client, token, number, 100, padding=4000)
            if answer.status_code == 200:
                acknowledged += range(number, number + 100)
            else:
                refused.append(answer)
                if len(refused) == 3:
                    break
        assert refused, "the disk never filled"
        assert {r.status_code for r in refused} == {503}
        assert "Retry-After" in refused[0].headers
        assert server.client().get("/api/v1/health").status_code in (200, 503), "it still answers"
        filler.unlink()
        until(lambda: send(client, token, 100_000, 1).status_code == 200, 60)
        assert server.process is not None
        assert server.process.poll() is None
        until(lambda: 100_000 in set(seen_all(server)), 60)
        found = seen_all(server)
        assert set(acknowledged) <= set(found)
        server.kill()
        server.start()
        until(lambda: set(acknowledged) <= set(seen_all(server)), 60)
        found = seen_all(server)
        assert len(found) == len(set(found))
    finally:
        server.close()


def seen_all(server: Server) -> list[int]:
    rows = server.rows("Unparsed_CL | summarize make_list(tolong(parse_json(RawData).n), 100000)")
    return [int(n) for n in (rows[0][0] if isinstance(rows[0][0], list) else json.loads(rows[0][0]))]
