"""Transactions: whole or not at all, taken in turns, the same values out as in."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.base.errors import StateError
from tocsin.state import State


def test_an_error_takes_back_the_whole_transaction(state: State) -> None:
    def fails() -> None:
        with state.write() as unit:
            unit.kv.set("a", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with state.read() as unit:
        assert unit.kv.get("a") is None


def test_what_is_to_happen_afterwards_happens_only_after_success(state: State) -> None:
    called: list[str] = []
    with state.write() as unit:
        unit.afterwards(lambda: called.append("yes"))
        assert called == []

    def fails() -> None:
        with state.write() as unit:
            unit.afterwards(lambda: called.append("no"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert called == ["yes"]


def test_a_write_inside_a_write_is_refused_rather_than_stuck(state: State) -> None:
    with state.write(), pytest.raises(RuntimeError, match="pass its Unit on"), state.write():
        pass
    with state.write() as unit:
        unit.kv.set("after", 1)


def test_a_read_sees_one_moment(state: State) -> None:
    if state.dialect != "sqlite":
        pytest.skip("PostgreSQL reads committed rows statement by statement")
    with state.write() as unit:
        unit.kv.set("a", 1)
    with state.read() as reader:
        assert reader.kv.get("a") == 1
        with state.write() as writer:
            writer.kv.set("a", 2)
        assert reader.kv.get("a") == 1


def test_counters_never_give_a_number_twice(state: State) -> None:
    with state.write() as unit:
        unit.kv.next("n")
    numbers: list[int] = []

    def count() -> None:
        for _ in range(25):
            with state.write() as unit:
                numbers.append(unit.kv.next("n"))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(2, 202))


def test_two_processes_worth_of_state_on_one_file_wait_for_each_other(tmp_path: Path) -> None:
    one, two = State.open(tmp_path / "s.db"), State.open(tmp_path / "s.db")

    def count(state: State) -> None:
        for _ in range(20):
            with state.write() as unit:
                unit.kv.next("n")

    threads = [threading.Thread(target=count, args=(s,)) for s in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with one.read() as unit:
        assert unit.kv.get("n") == 40
    one.close()
    two.close()


def test_the_schema_version_grows_with_each_new_digest(state: State) -> None:
    assert [state.schema_version(d) for d in ("a", "a", "b", "b", "a")] == [1, 1, 2, 2, 3]


def test_alive(state: State) -> None:
    assert state.alive()


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**80), max_value=2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=_JSON)
def test_json_comes_back_as_it_went_in(state: State, value: object) -> None:
    document = {"value": value}
    with state.write() as unit:
        unit.kv.set("j", document)
    with state.read() as unit:
        assert unit.kv.get("j") == document


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1601, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
)
def test_instants_come_back_in_utc_to_the_microsecond(state: State, moment: datetime) -> None:
    with state.write() as unit:
        unit.rules.succeeded("r", moment)
    with state.read() as unit:
        found = unit.rules.get("r").window_end
    assert found == moment
    assert found is not None
    assert found.utcoffset() == timedelta(0)


def test_a_naive_instant_is_refused(state: State) -> None:
    with pytest.raises((StateError, ValueError)), state.write() as unit:
        unit.rules.succeeded("r", datetime(2026, 1, 1))  # noqa: DTZ001
