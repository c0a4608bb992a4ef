"""`tocsin tables`: the same on a server and on a folder; a shorter time waits, and `undo` takes it back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.api.conftest import Served
from tests.workspace.house import House
from tocsin.base.clock import SystemClock
from tocsin.base.errors import TocsinError
from tocsin.cli.app import app
from tocsin.cli.tables import _terms
from tocsin.lake import Lake, TableBatch
from tocsin.workspace.settings import Settings

DAYS = 20


def fill(lake: Lake, table: str) -> None:
    """A row a day, each in a file."""
    now = datetime.now(UTC).replace(tzinfo=None)
    for day in range(DAYS):
        at = pa.array([now - timedelta(days=day, minutes=5)], pa.timestamp("us"))
        rows = {"Note_s": [f"{day} {'x' * 2000}"], "TimeGenerated": at, "_TimeReceived": at}
        lake.write([TableBatch(table, pa.table(rows))])
        lake.flush()


@pytest.fixture(scope="module")
def place(served: Served) -> list[str]:
    """The options that say where, with a table Kept_CL there."""
    fill(served.workspace.lake, "Kept_CL")
    return ["--server", served.url]


@pytest.fixture(autouse=True)
def signed_in(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_TOKEN", served.token("Administrator"))


def run(place: list[str], *words: str, answer: str = "", code: int = 0) -> str:
    ended = CliRunner().invoke(app, ["tables", *words, *place], input=answer or None)
    if isinstance(ended.exception, TocsinError):
        raise ended.exception
    assert ended.exit_code == code, (ended.output, ended.exception)
    return ended.stdout


def tell(place: list[str], *words: str) -> Any:
    return json.loads(run(place, *words, "--json"))


def test_a_shorter_time_is_told_waits_and_is_taken_back(place: list[str]) -> None:
    assert [t["rows"] for t in tell(place, "list") if t["name"] == "Kept_CL"] == [DAYS]
    assert "Kept_CL" in run(place, "list")
    before = tell(place, "show", "Kept_CL")["days"]
    found = tell(place, "preview", "Kept_CL", "--days", "10")
    assert (found["shorter"], found["rows_at_once"], found["older_now"]) == (True, 0, 10)
    assert tell(place, "show", "Kept_CL")["own"] is None
    # It asks, and a no changes nothing.
    run(place, "keep", "Kept_CL", "--days", "10", answer="n\n", code=1)
    assert tell(place, "show", "Kept_CL")["waiting"] is None
    assert "days until" in run(place, "keep", "Kept_CL", "--days", "10", "--yes")
    kept = tell(place, "show", "Kept_CL")
    assert (kept["days"], kept["waiting"]["days"], kept["rows"]) == (10, before, DAYS)
    # What isn't named stays, and the longer time is back.
    assert tell(place, "keep", "Kept_CL", "--tier", "lake", "--yes")["days"] == 10
    back = tell(place, "undo", "Kept_CL")
    assert (back["days"], back["waiting"], back["tier"]) == (before, None, "lake")
    with pytest.raises(TocsinError) as caught:
        run(place, "undo", "Kept_CL")
    assert caught.value.code == "USE0058"
    reset = tell(place, "reset", "Kept_CL")
    assert (reset["own"], reset["tier"], reset["days"]) == (None, "analytics", before)


def test_what_goes_at_once_needs_the_number_of_the_preview(place: list[str]) -> None:
    found = tell(place, "preview", "Kept_CL", "--bytes", "12KiB")
    assert 0 < found["rows_at_once"] < DAYS
    with pytest.raises(TocsinError) as caught:
        run(place, "keep", "Kept_CL", "--bytes", "12KiB", "--expected", "1")
    assert caught.value.code == "USE0032"
    kept = tell(place, "keep", "Kept_CL", "--bytes", "12KiB", "--expected", str(found["rows_at_once"]))
    assert kept["bytes_limit"] == 12 << 10
    assert tell(place, "keep", "Kept_CL", "--bytes", "none", "--yes")["bytes_limit"] == 0
    run(place, "reset", "Kept_CL")


def test_the_same_on_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOCSIN_TOKEN")
    with House.open(Settings(data=tmp_path / "data"), clock=SystemClock()) as house:
        fill(house.lake, "Kept_CL")
    place = ["--data", str(tmp_path / "data")]
    kept = tell(place, "keep", "Kept_CL", "--days", "10", "--tier", "lake", "--yes")
    assert (kept["days"], kept["waiting"]["days"], kept["tier"], kept["rows"]) == (10, 90, "lake", DAYS)
    back = tell(place, "undo", "Kept_CL")
    assert (back["days"], back["waiting"], back["tier"]) == (90, None, "lake")


BAD = ([], ["--days", "0"], ["--days", "-3"], ["--days", "soon"], ["--bytes", "1.5 parsecs"], ["--bytes", "0"], ["--tier", "gold"],
       ["--archive-days", "forever"])  # fmt: skip


def test_terms_that_can_not_be() -> None:
    for words in BAD:
        with pytest.raises(TocsinError) as caught:
            _terms({"own": None}, **{"days": "", "archive_days": "", "limit": "", "tier": "", **_named(words)})
        assert caught.value.code == "USE0057", words


def _named(words: list[str]) -> dict[str, str]:
    names = {"--bytes": "limit"}
    return {names.get(words[0], words[0].strip("-").replace("-", "_")): words[1]} if words else {}


def test_a_table_that_is_not_there_and_two_places(place: list[str]) -> None:
    with pytest.raises(TocsinError) as caught:
        run(place, "show", "Keptt_CL")
    assert "Kept_CL" in caught.value.hint
    with pytest.raises(TocsinError) as caught:
        run(["--server", "http://127.0.0.1:1", "--data", "data"], "list")
    assert caught.value.code == "USE0052"
