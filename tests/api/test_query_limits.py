"""Limits of queries, each by really running into it; running queries over the API."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import ROLES, Served, open_served
from tests.api.test_kusto import SLOW, until
from tocsin.access import ROLES as HELD
from tocsin.lake.settings import MIB, EngineSettings
from tocsin.query import Limits, QuerySettings, RoleLimits, RolesLimits

READER = RoleLimits(rows=50, seconds=1.0, result_bytes=20_000)
CONTRIBUTOR = RoleLimits(memory_bytes=48 * MIB, spill_bytes=16 * MIB)
WIDE = "range x from 1 to 2000000 step 1 | extend s=strcat('0123456789abcdef0123456789abcdef', x)"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    query = QuerySettings(
        concurrent=3, queue_seconds=0.3, seconds=60.0, roles=RolesLimits(reader=READER, contributor=CONTRIBUTOR)
    )
    yield from open_served(tmp_path_factory.mktemp("data"), start=False, query=query)


@pytest.fixture(scope="module")
def by(served: Served) -> Iterator[dict[str, httpx.Client]]:
    made = {}
    for role in ROLES:
        made[role] = httpx.Client(
            base_url=f"{served.url}/api/v1", headers={"Authorization": f"Bearer {served.token(role)}"}, timeout=60
        )
    yield made
    for client in made.values():
        client.close()


def ask(client: httpx.Client, text: str, **more: Any) -> httpx.Response:
    return client.post("/query", json={"query": text, **more})


def test_every_role_has_limits() -> None:
    assert {name.lower() for name in HELD} == set(RolesLimits.model_fields)


def test_rows_and_size_cut_the_answer_and_say_why(by: dict[str, httpx.Client]) -> None:
    answer = ask(by["Reader"], "range x from 1 to 100 step 1").json()
    assert (len(answer["rows"]), answer["truncated"]) == (50, True)
    assert "query.roles.reader.rows = 50" in answer["cut"]
    answer = ask(by["Reader"], "range x from 1 to 40 step 1 | project s=strrep('x', 1000)").json()
    assert 15 <= len(answer["rows"]) <= 20
    assert "query.roles.reader.result_bytes = 20000" in answer["cut"]
    answer = ask(by["Responder"], "range x from 1 to 100 step 1", limit=60).json()
    assert (len(answer["rows"]), answer["truncated"]) == (60, True)
    whole = ask(by["Responder"], "range x from 1 to 100 step 1").json()
    assert (len(whole["rows"]), whole["truncated"], whole["cut"]) == (100, False, "")
    assert 0 <= whole["queue_seconds"] < 60


@pytest.mark.parametrize(
    ("role", "text", "code", "setting"),
    [
        ("Reader", SLOW, "QRY0002", "query.roles.reader.seconds = 1"),
        (
            "Contributor",
            WIDE + " | summarize l=make_list(s) | project array_length(l)",
            "QRY0004",
            "query.roles.contributor.memory_bytes = 50331648",
        ),
        (
            "Contributor",
            WIDE + " | sort by s asc | extend r=row_number() | where r > 1999990",
            "QRY0012",
            "query.roles.contributor.spill_bytes = 16777216",
        ),
    ],
)
def test_time_memory_and_spill_end_the_query(
    by: dict[str, httpx.Client], role: str, text: str, code: str, setting: str
) -> None:
    answer = ask(by[role], text)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert setting in answer.json()["detail"]
    assert ask(by[role], "print 1").json()["rows"] == [[1]], "the next query runs"


def test_the_shared_engines_limits_are_named_too(tmp_path: Path) -> None:
    engine = EngineSettings(memory_bytes=64 * MIB, spill_bytes=8 * MIB)
    for served in open_served(tmp_path / "data", start=False, engine=engine):
        headers = {"Authorization": f"Bearer {served.token('Administrator')}"}
        with httpx.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=60) as client:
            spilt = ask(client, WIDE + " | sort by s asc | extend r=row_number() | where r > 1999990").json()
            assert (spilt["code"], "engine.spill_bytes = 8388608" in spilt["detail"]) == ("QRY0012", True)
            full = ask(client, WIDE + " | summarize l=make_list(s) | project array_length(l)").json()
            assert (full["code"], "engine.memory_bytes = 67108864" in full["detail"]) == ("QRY0004", True)


def test_limited_queries_leave_nothing_on_disk(served: Served, by: dict[str, httpx.Client]) -> None:
    ask(by["Contributor"], WIDE + " | sort by s asc | extend r=row_number() | where r > 1999990")
    spill = served.workspace.lake.path / "spill"
    assert sum(p.stat().st_size for p in spill.rglob("*") if p.is_file()) <= 16 * MIB


def test_more_queries_than_may_run_are_refused_and_rules_still_run(served: Served, by: dict[str, httpx.Client]) -> None:
    """Three of anybody may run at once. Tocsin's own queries, as rules make them, wait for nobody."""
    threads = [threading.Thread(target=ask, args=(by["Administrator"], SLOW)) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(served.workspace.queries.running()) == 3)
    refused = ask(by["Responder"], "print 1")
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (429, "QRY0013", "5")
    assert "query.concurrent = 3" in refused.json()["detail"]
    assert served.workspace.queries.run("print 1").rows() == [[1]]
    assert len(served.workspace.queries.running()) == 3, "it waited until one of these had ended"
    with httpx.Client(base_url=served.url) as anybody:
        assert anybody.get("/api/v1/health").status_code == 200
    for query in served.workspace.queries.running():
        assert served.workspace.queries.cancel(query.id)
    for thread in threads:
        thread.join(60)
    assert ask(by["Responder"], "print 1").json()["rows"] == [[1]]


def test_who_waits_gets_their_turn(served: Served, by: dict[str, httpx.Client]) -> None:
    threads = [
        threading.Thread(target=ask, args=(by["Responder"], "set servertimeout=100ms; " + SLOW)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(served.workspace.queries.running()) == 3)
    assert ask(by["Responder"], "print 2").json()["rows"] == [[2]]
    for thread in threads:
        thread.join(60)


class TestRunning:
    def test_seen_and_cancelled(self, served: Served, by: dict[str, httpx.Client]) -> None:
        ended: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: ended.append(ask(by["Responder"], SLOW)))
        thread.start()
        until(lambda: served.workspace.queries.running())
        (item,) = by["Responder"].get("/queries").json()["items"]
        assert item["query"] == SLOW
        assert item["by"].startswith("administrator/token:")
        assert by["Responder"].delete(f"/queries/{item['id']}").status_code == 204
        thread.join(60)
        assert (ended[0].status_code, ended[0].json()["code"]) == (422, "QRY0003")
        assert by["Responder"].get("/queries").json() == {"items": []}
        assert by["Responder"].delete(f"/queries/{item['id']}").status_code == 404

    def test_other_peoples_queries_are_the_administrators_business(
        self, served: Served, by: dict[str, httpx.Client]
    ) -> None:
        with served.client("responder") as person:
            ended: list[httpx.Response] = []
            thread = threading.Thread(target=lambda: ended.append(person.post("/api/v1/query", json={"query": SLOW})))
            thread.start()
            until(lambda: served.workspace.queries.running())
            (running,) = served.workspace.queries.running()
            assert by["Responder"].get("/queries").json() == {"items": []}
            assert by["Responder"].delete(f"/queries/{running.id}").status_code == 404
            assert [i["id"] for i in by["Administrator"].get("/queries").json()["items"]] == [running.id]
            assert by["Administrator"].delete(f"/queries/{running.id}").status_code == 204
            thread.join(60)
            assert ended[0].json()["code"] == "QRY0003"

    def test_who_goes_away_ends_their_query(self, served: Served, by: dict[str, httpx.Client]) -> None:
        with pytest.raises(httpx.ReadTimeout):
            by["Administrator"].post("/query", json={"query": SLOW}, timeout=0.4)
        until(lambda: not served.workspace.queries.running(), 30)  # by itself it would end after 60 s


def test_settings_that_contradict_are_refused() -> None:
    with pytest.raises(ValueError, match="spill_bytes needs memory_bytes"):
        RoleLimits(spill_bytes=1)


def test_who_has_two_roles_gets_the_wider_of_each() -> None:
    settings = QuerySettings(
        roles=RolesLimits(
            reader=RoleLimits(rows=10, seconds=5.0, memory_bytes=64 * MIB, concurrent=1),
            responder=RoleLimits(rows=100, seconds=1.0, concurrent=2),
        )
    )
    most = settings.most(["Reader", "Responder"])
    assert (most.rows, most.seconds, most.memory_bytes) == (100, 5.0, None)
    assert most.settings["rows"] == "query.roles.responder.rows"
    assert most.settings["seconds"] == "query.roles.reader.seconds"
    assert settings.turns(["Reader", "Responder"]) == (2, "query.roles.responder.concurrent")
    assert settings.turns(["Reader", "Contributor"]) == (settings.at_once, "query.concurrent")
    assert settings.most(["Contributor"]).rows == settings.most_rows


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts niceness by thread")
def test_peoples_queries_yield_to_intake(served: Served, by: dict[str, httpx.Client]) -> None:
    """The threads that run them have the niceness of the setting, all others that of the process."""
    thread = threading.Thread(target=ask, args=(by["Administrator"], SLOW))
    thread.start()
    until(lambda: served.workspace.queries.running())
    names = {str(t.native_id): t.name for t in threading.enumerate()}
    nice = {
        names[task.name]: os.getpriority(os.PRIO_PROCESS, int(task.name))
        for task in Path("/proc/self/task").iterdir()
        if task.name in names
    }
    own = os.getpriority(os.PRIO_PROCESS, 0)
    for running in served.workspace.queries.running():
        served.workspace.queries.cancel(running.id)
    thread.join(60)
    assert max(v for n, v in nice.items() if n.startswith("tocsin-query")) == max(own, 10)
    assert {n: v for n, v in nice.items() if v != own and not n.startswith("tocsin-query")} == {}


def test_a_wide_result_is_fetched_no_further_than_its_limit(served: Served) -> None:
    """Nearly a gigabyte of rows. DuckDB holds them within its own limit (384 MiB, then on disk); once they are Arrow they lie outside it,
    so only what may be answered is fetched."""
    text = "range x from 1 to 900000 step 1 | project s=strcat(strrep('x', 1000), x)"
    before = _resident()
    result = served.workspace.queries.run(text, limits=Limits(rows=900_000, seconds=60.0, result_bytes=10 * MIB))
    assert result.cut is not None
    assert result.cut.code == "QRY0011"
    assert result.table.nbytes <= 10 * MIB
    assert _resident() - before < 600 * MIB


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
