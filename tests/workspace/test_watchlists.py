"""Watchlists of the site folder, asked by `tocsin query --data`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tocsin.base.clock import SystemClock
from tocsin.lake import Lake
from tocsin.tables import catalogue


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with Lake.open(tmp_path / "lake", clock=SystemClock(), catalog=catalogue()):
        pass
    folder = tmp_path / "site/watchlists"
    folder.mkdir(parents=True)
    (folder / "VIPUsers.csv").write_text('Account,Role\nalice,admin\nbob,"help, desk"\n', "utf-8")
    (folder / "Keyed.csv").write_text("Note,SearchKey\nfirst,k1\n", "utf-8")
    return tmp_path


def asked(data: Path, query: str) -> list[dict[str, Any]]:
    command = [
        sys.executable,
        "-c",
        "from tocsin.cli import main; main()",
        "query",
        query,
        "--data",
        str(data),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return [dict(zip([c["name"] for c in answer["columns"]], row, strict=True)) for row in answer["rows"]]


def test_a_watchlist_of_the_site_folder(data: Path) -> None:
    rows = asked(data, "_GetWatchlist('VIPUsers')")
    assert [(r["Account"], r["Role"], r["SearchKey"]) for r in rows] == [
        ("alice", "admin", "alice"),
        ("bob", "help, desk", "bob"),
    ]
    assert len({r["_DTItemId"] for r in rows}) == 2
    assert all(r["LastUpdatedTimeUTC"] for r in rows)
    query = """_GetWatchlistAlias | extend n = toscalar(_GetWatchlist('Keyed') | where SearchKey == 'k1' | count)
    | union (datatable(User:string)['alice', 'eve']
        | join kind=inner (_GetWatchlist('VIPUsers')) on $left.User == $right.SearchKey | project WatchlistAlias=Role)
    | union (_ASIM_GetWatchlistRaw('VIPUsers', dynamic(['bob'])) | project WatchlistAlias=tostring(WatchlistItem.Role))
    | union (_GetWatchlist('missing') | project WatchlistAlias=SearchKey)"""
    found = asked(data, query)
    aliases = {r["WatchlistAlias"] for r in found}
    assert {"Keyed", "VIPUsers", "admin", "help, desk"} <= aliases
    assert len(found) == len(aliases)
    assert {r["n"] for r in found if r["n"] is not None} == {1}
