"""Incidents are found by any text in them, as reading every one would find them, whatever was written when."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.incidents.test_correlate import T0, WS1, alert
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.history import rebuild
from tocsin.state import IncidentFilter, IncidentRow, State, incidents
from tocsin.state.incident_search import TextSearch
from tocsin.tables import Entity

WORDS = [
    "pc00007.contoso.example", "PC00007", "Ölpumpe", "straße", '50%_"off"', "a'b", "''; --", "日本語テスト", "🦊🦊🦊x", "ab", "OR", "NEAR(x y)",
]  # fmt: skip


@pytest.fixture(params=["few", "left", "many"])
def searched(state: State, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> State:
    """Incidents with texts of those words, by number; looked up first by text, by all else that is asked, or looked at one by one in the order of
    the queue."""
    if request.param != "few":
        monkeypatch.setattr(incidents, "_SOME", 0)
    if request.param == "many":
        monkeypatch.setattr(incidents, "FEW", 0)
    with state.write() as unit:
        for number in range(1, 40):
            words = [w for place, w in enumerate(WORDS) if number % (place + 2) == 0]
            unit.incidents.put(row(number, "\n".join([f"#{number}", *words]).casefold()))
    return state


def row(number: int | None, search: str) -> IncidentRow:
    return IncidentRow(
        id=f"inc{number}-{len(search)}", number=number, title="t", severity="High", severity_rank=3, priority=(number or 0) % 5, status="New",
        owner=None, classification=None, determination=None, first=T0, last=T0, created=T0, updated=T0, alert_count=1,
        severity_override=None, title_override=None, redirect_to=None, promoted=number is not None, search=search, payload={},
    )  # fmt: skip


def found(state: State, wanted: str) -> tuple[set[int | None], int]:
    with state.read() as unit:
        rows, total = unit.incidents.page(IncidentFilter(text=wanted), limit=1000)
    return {r.number for r in rows}, total


PIECES = [w[at : at + length] for w in WORDS for at in range(len(w)) for length in (1, 2, 3, 5, 30)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=3))
def test_a_search_finds_what_holds_every_word(searched: State, pieces: list[str]) -> None:
    wanted = " ".join(pieces)
    if wanted.strip().startswith("#"):
        return
    with searched.read() as unit:
        every = [r for r in unit.incidents.several(unit.incidents.every_id()).values() if r.promoted]
    words = wanted.replace("\x00", "").encode("utf-8", "replace").decode().casefold().split()
    expected = {r.number for r in every if all(w in r.search for w in words)}
    assert found(searched, wanted) == (expected, len(expected))


def test_the_index_follows_every_change(state: State) -> None:
    with state.write() as unit:
        unit.incidents.put(hidden := row(None, "first words"))
    assert found(state, "first") == (set(), 0)
    with state.write() as unit:
        unit.incidents.put(replace(hidden, number=7, promoted=True))
    assert found(state, "first wor") == ({7}, 1)
    with state.write() as unit:
        unit.incidents.put(replace(hidden, number=7, promoted=True, search="other words"))
    assert found(state, "first") == (set(), 0)
    assert found(state, "other") == ({7}, 1)
    with suppress(RuntimeError), state.write() as unit:
        unit.incidents.put(replace(hidden, number=7, promoted=True, search="never kept"))
        raise RuntimeError
    assert found(state, "never") == (set(), 0)
    with state.write() as unit:
        unit.incidents.remove(hidden.id)
    assert found(state, "other") == (set(), 0)
    with state.write() as unit:
        assert unit.incidents.found_by_text()


def test_an_index_that_says_something_else_is_told_and_put_right(state: State) -> None:
    if state.dialect != "sqlite":
        pytest.skip("PostgreSQL's index is the database's own")
    desk = IncidentDesk(state)
    desk.add([alert("a", 0, WS1), alert("b", 1, Entity.host("ws9.contoso.com"))])
    with state.write() as unit:
        assert list(rebuild(unit, repair=False)) == []
        unit.connection.execute(
            text(
                "INSERT INTO incident_search (incident_search, rowid, search) SELECT 'delete', number, search FROM incident_texts LIMIT 1"
            )
        )
    assert desk.page(text="contoso")["total"] == 1
    with state.write() as unit:
        assert [d.part for d in rebuild(unit, repair=True)] == ["search"]
        assert list(rebuild(unit, repair=False)) == []
    assert desk.page(text="contoso")["total"] == 2


def test_two_letters_are_found_without_reading_every_incident(searched: State) -> None:
    if searched.dialect != "sqlite":
        pytest.skip("PostgreSQL's index knows no words of two letters")
    with searched.read() as unit:
        plan = "EXPLAIN QUERY PLAN SELECT * FROM ({})"
        for wanted in ("ab", "te", "zz", "le", "%_", "''", "🦊x", "ab te"):
            search = TextSearch(unit.connection, wanted)
            matching = search._matching
            assert matching is not None
            told = unit.connection.execute(text(plan.format(matching)).bindparams(**matching.compile().params))
            assert not [line for *_, line in told if "SCAN incidents" in line], wanted
            assert search.few(1000)
        assert not TextSearch(unit.connection, "a").few(1000), "of one letter too many trigrams begin"
