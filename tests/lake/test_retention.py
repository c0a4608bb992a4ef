"""How long rows stay: by age, by size, with an undo window and a hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lake.test_lake import CATALOG, MANUAL, read
from tocsin.base.clock import ManualClock
from tocsin.base.errors import LakeError
from tocsin.lake import DataFile, Lake, LakeSettings, TableBatch
from tocsin.lake.retention import Book, Deletion, evicted, read_book, write_book
from tocsin.lake.settings import RetentionSettings, TableRetention

START = datetime(2024, 5, 1, tzinfo=UTC)
Opener = Callable[..., Lake]


def days(first: int, count: int = 1, *, event: datetime | None = None) -> TableBatch:
    """A row a day, received on that day; `event` is when it says that it happened."""
    received = [START + timedelta(days=d) for d in range(first, first + count)]
    stamp = pa.timestamp("us", "UTC")
    return TableBatch(
        "Things",
        pa.table(
            {
                "Number": list(range(first, first + count)),
                "TimeGenerated": pa.array([event or r for r in received], stamp),
                "_TimeReceived": pa.array(received, stamp),
            }
        ),
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def lake_of(tmp_path: Path, clock: ManualClock) -> Opener:
    def make(**retention: Any) -> Lake:
        settings = MANUAL.model_copy(update={"retention": RetentionSettings(budget_bytes=1 << 40, **retention)})
        return Lake.open(tmp_path, clock=clock, settings=settings, catalog=CATALOG)

    return make


def stored(lake: Lake, *batches: TableBatch) -> None:
    """Each batch in a file of its own."""
    for batch in batches:
        lake.write([batch])
        lake.flush()


def test_rows_go_when_they_have_been_here_for_their_days(lake_of: Opener, clock: ManualClock) -> None:
    with lake_of(days=30) as lake:
        told: list[Deletion] = []
        lake.on_deleted = told.append
        stored(lake, *(days(d) for d in range(0, 50, 10)))
        clock.set(START + timedelta(days=45))
        lake.retain()
        assert read(lake) == [20, 30, 40]
        assert [(d.table, d.rows, d.reason) for d in told] == [("Things", 2, "older than 30 days")]
        assert lake.retain() == []


def test_age_counts_from_receipt_so_old_events_that_come_late_stay(lake_of: Opener, clock: ManualClock) -> None:
    with lake_of(days=30) as lake:
        stored(lake, days(0, event=START - timedelta(days=2000)))
        clock.set(START + timedelta(days=29))
        lake.retain()
        assert read(lake) == [0]


def test_a_file_that_straddles_the_limit_is_rewritten_once_it_reaches_far_beyond(
    lake_of: Opener, clock: ManualClock
) -> None:
    with lake_of(days=30) as lake:
        stored(lake, days(0, 40))
        clock.set(START + timedelta(days=32))
        lake.retain()
        assert read(lake) == list(range(40)), "two days beyond is within the tenth"
        clock.set(START + timedelta(days=34))
        lake.retain()
        assert read(lake) == list(range(4, 40))


def test_a_table_may_have_a_time_of_its_own_and_for_ever(lake_of: Opener, clock: ManualClock) -> None:
    with lake_of(days=10, tables={"Things": TableRetention(days=0)}) as lake:
        stored(lake, days(0))
        clock.set(START + timedelta(days=4000))
        lake.retain()
        assert read(lake) == [0]


def test_a_shortened_time_waits_and_can_be_put_back(lake_of: Opener, clock: ManualClock) -> None:
    with lake_of(days=100) as lake:
        stored(lake, days(0))
        clock.set(START + timedelta(days=50))
        lake.retain()
    with lake_of(days=10) as lake:
        lake.retain()
        assert read(lake) == [0]
    with lake_of(days=100) as lake:
        lake.retain()
    with lake_of(days=10) as lake:
        clock.set(START + timedelta(days=85))
        lake.retain()
        assert read(lake) == [0], "the wait begins anew after it was put back"
        clock.set(START + timedelta(days=99))
        lake.retain()
        assert read(lake) == [0]
        clock.set(START + timedelta(days=116))
        lake.retain()
        assert read(lake) == []


def test_what_people_set_for_a_table_goes_before_the_settings_and_fewer_days_wait(
    lake_of: Opener, clock: ManualClock
) -> None:
    with lake_of(days=100) as lake:
        stored(lake, days(0))
        clock.set(START + timedelta(days=50))
        # No look has been taken yet: what held until now is known all the same.
        book = lake.keep("Things", TableRetention(days=10, tier="lake"))
        assert (book.days["Things"], book.shortened["Things"].days) == (100, 100)
        assert (lake.retention.days_of("Things"), lake.retention.tier_of("Things")) == (10, "lake")
        lake.retain()
        assert read(lake) == [0]
    with lake_of(days=100) as lake:
        assert lake.retention.days_of("Things") == 10, "it survives a start"
        assert lake.keep("Things", None).shortened == {}
        clock.set(START + timedelta(days=85))
        lake.retain()
        assert read(lake) == [0], "the settings hold again"
        lake.keep("Things", TableRetention(days=10))
        clock.set(START + timedelta(days=116))
        lake.retain()
        assert read(lake) == []


def test_above_the_budget_the_rows_that_came_first_go_but_never_the_newest(tmp_path: Path, clock: ManualClock) -> None:
    def opened(budget: int, floor_hours: float = 24) -> Lake:
        retention = RetentionSettings(days=0, budget_bytes=budget, floor_hours=floor_hours)
        settings = MANUAL.model_copy(update={"retention": retention})
        return Lake.open(tmp_path, clock=clock, settings=settings, catalog=CATALOG)

    clock.set(START + timedelta(days=5))
    with opened(1 << 40) as lake:
        stored(lake, *(days(d) for d in (4, 1, 0, 5)))
        total = lake.stats()[0].bytes
    with opened(total - 1) as lake:
        lake.retain()
        assert read(lake) == [1, 4, 5]
    with opened(1) as lake:
        lake.retain()
        assert read(lake) == [4, 5], "a day's rows stay whatever the budget"
    with opened(1, floor_hours=0) as lake:
        lake.retain()
        assert read(lake) == [5], "rows that came in at this very moment stay"


def test_a_hold_stops_all_deletion(lake_of: Opener, clock: ManualClock) -> None:
    with lake_of(days=1) as lake:
        stored(lake, days(0))
        clock.set(START + timedelta(days=500))
        lake.hold("case 4711")
        lake.retain()
        assert read(lake) == [0]
    with lake_of(days=1) as lake:
        assert read_book(lake.path / "retention.json").hold == "case 4711"
        lake.hold("")
        lake.retain()
        assert read(lake) == []


def test_a_damaged_book_stops_deletion_and_is_named(lake_of: Opener, clock: ManualClock) -> None:
    with lake_of(days=1) as lake:
        stored(lake, days(0))
        clock.set(START + timedelta(days=500))
        (lake.path / "retention.json").write_text('{"days": {"Things": "many"}}')
        with pytest.raises(LakeError, match=r"LAK0020.*retention\.json"):
            lake.retain()
        assert read(lake) == [0]


def test_the_background_thread_retains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.lake.background._SWEEP_SECONDS", 0.05)
    settings = LakeSettings(retention=RetentionSettings(days=1))
    clock = ManualClock(START + timedelta(days=500))
    with Lake.open(tmp_path, clock=clock, settings=settings, catalog=CATALOG) as lake:
        from threading import Event

        gone = Event()
        lake.on_deleted = lambda _: gone.set()
        stored(lake, days(0))
        assert gone.wait(10)
        assert read(lake) == []


@given(st.lists(st.tuples(st.sampled_from([0, 5, 10, 50, 100]), st.integers(1, 40)), max_size=12), st.integers(1, 90))
def test_days_fall_only_after_the_longer_ones_were_unwanted_for_the_whole_window(
    changes: list[tuple[int, int]], undo: int
) -> None:
    def forever(days: int) -> float:
        return days or float("inf")

    book, now = Book({}, {}), START
    window = timedelta(days=undo)
    wishes: list[tuple[datetime, int]] = []
    before: int | None = None
    for wanted, passed in changes:
        now += timedelta(days=passed)
        wishes.append((now, wanted))
        found, book = book.in_force("T", wanted, now, window)
        assert forever(found) >= forever(wanted)
        if before is not None and forever(found) < forever(before):
            since = next(
                t for n, (t, _) in enumerate(wishes) if all(forever(w) < forever(before) for _, w in wishes[n:])
            )
            assert now - since >= window
        before = found


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.lists(st.tuples(st.integers(1, 100), st.integers(0, 30)), max_size=6), min_size=1
    ),
    st.integers(0, 1000),
    st.integers(0, 30),
)
def test_eviction_takes_the_oldest_and_no_more_than_needed(
    sizes: dict[str, list[tuple[int, int]]], budget: int, newest: int
) -> None:
    base = datetime(2024, 5, 1)  # noqa: DTZ001
    files = {
        table: tuple(
            DataFile(f"{table}{n}", 1, size, received=(base, base + timedelta(days=day)))
            for n, (size, day) in enumerate(held)
        )
        for table, held in sizes.items()
    }
    gone = [f for _, f, _ in evicted(files, budget, newest=base + timedelta(days=newest), limits={})]
    everything = [f for held in files.values() for f in held]
    left = [f for f in everything if f not in gone]
    may_go = [f for f in everything if f.received and f.received[1] < base + timedelta(days=newest)]
    assert set(map(id, gone)) <= set(map(id, may_go))
    if gone:
        assert sum(f.size for f in left) + gone[-1].size > budget, "the last one had to go"
        stayed = [f.received[1] for f in may_go if f not in gone and f.received]
        assert not stayed or max(f.received[1] for f in gone if f.received) <= min(stayed)
    if sum(f.size for f in left) > budget:
        assert len(gone) == len(may_go)


def test_the_book_survives_writing_and_reading(tmp_path: Path) -> None:
    _, book = Book({"T": 100}, {}).in_force("T", 5, START, timedelta(days=30))
    book = replace(book, own={"T": TableRetention(days=5, bytes=7, tier="lake")})
    write_book(tmp_path / "b.json", book)
    assert read_book(tmp_path / "b.json") == book
    assert book.shortened["T"].days == 100
