"""Sources' own cadence: nights, weekends and outages, the server's pauses, restarts; and how latencies are counted."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tocsin.base.clock import ManualClock
from tocsin.ingest.watch import Facts, Latencies, SourceWatch

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Feed:
    """A source whose arrivals a test plays."""

    def __init__(self, file: Path | None = None) -> None:
        self.clock = ManualClock(START)
        self.watch = SourceWatch(file, clock=self.clock)

    def play(self, until: datetime, every: timedelta, *, hours: range = range(24), days: range = range(7)) -> None:
        while self.clock.now() + every <= until:
            self.clock.advance(every)
            now = self.clock.now()
            if now.hour in hours and now.weekday() in days:
                self.watch.took("syslog", "10.0.0.9", now, 1, 100, 0)

    @property
    def facts(self) -> Facts:
        found = self.watch.fact("syslog", "10.0.0.9")
        assert found is not None
        return found

    def stale_after(self, step: timedelta = 10 * MINUTE) -> timedelta:
        start = self.clock.now()
        while not self.facts.stale:
            self.clock.advance(step)
        return self.clock.now() - start


def test_a_steady_source_is_stale_after_minutes() -> None:
    feed = Feed()
    feed.play(START + 3 * DAY, MINUTE)
    assert feed.facts.cadence == 60
    assert timedelta(minutes=10) < feed.stale_after(MINUTE) <= timedelta(minutes=11)


def test_one_that_rests_at_night_and_at_the_weekend_may() -> None:
    feed = Feed()
    feed.play(START + 14 * DAY + 17 * HOUR, 5 * MINUTE, hours=range(8, 17), days=range(5))
    # The pause from Friday evening until Monday morning belongs to it.
    cadence = feed.facts.cadence
    assert cadence is not None
    assert timedelta(seconds=cadence) == timedelta(hours=63, minutes=5)
    weekdays = Feed()
    weekdays.play(START + 4 * DAY + 17 * HOUR, 5 * MINUTE, hours=range(8, 17), days=range(5))
    night = weekdays.facts.cadence
    assert night is not None
    assert timedelta(seconds=night) == timedelta(hours=15, minutes=5)


def test_one_outage_in_ten_days_does_not_count() -> None:
    feed = Feed()
    feed.play(START + 6 * DAY, MINUTE)
    feed.clock.advance(9 * HOUR)
    feed.play(START + 13 * DAY, MINUTE)
    assert feed.facts.cadence == 60


def test_nothing_is_said_before_a_cadence_is_known() -> None:
    feed = Feed()
    for _ in range(500):  # a file that was imported at once
        feed.watch.took("syslog", "10.0.0.9", feed.clock.now(), 10, 100, 0)
    feed.clock.advance(3 * DAY)
    assert (feed.facts.cadence, feed.facts.threshold, feed.facts.stale) == (None, None, False)


def test_on_its_first_day_an_hour_is_waited() -> None:
    feed = Feed()
    feed.play(START + 2 * HOUR, MINUTE)
    assert timedelta(hours=1) < feed.stale_after(MINUTE) <= timedelta(minutes=61)


def test_the_servers_own_pauses_are_nobodys(tmp_path: Path) -> None:
    feed = Feed(tmp_path / "watch")
    feed.play(START + 3 * DAY, MINUTE)
    feed.watch.save()
    feed.clock.advance(5 * HOUR)
    again = Feed(tmp_path / "watch")
    again.clock.set(feed.clock.now())
    again.watch.started()
    assert (again.facts.cadence, again.facts.silent, again.facts.stale) == (60, 0, False)
    again.clock.advance(2 * MINUTE)
    again.watch.took("syslog", "10.0.0.9", again.clock.now(), 1, 100, 0)
    assert again.facts.cadence == 120  # of its own two minutes, not of five hours
    again.clock.advance(11 * MINUTE)
    assert again.facts.stale


def test_files_of_one_folder_are_one_source_and_tocsin_is_none() -> None:
    watch = SourceWatch(clock=ManualClock(START))
    watch.took("file", "/var/log/iis/u_ex1.log", START, 1, 1, 0)
    watch.took("file", "/var/log/iis/u_ex2.log", START, 1, 1, 0)
    watch.took("jsonl", "tocsin", START, 1, 1, 0)
    assert [(f.kind, f.name, f.events) for f in watch.facts()] == [("file", "/var/log/iis", 2)]
    assert watch.facts(START + 31 * DAY) == []


def test_a_damaged_file_costs_what_was_learned_and_nothing_else(tmp_path: Path) -> None:
    for data in (b"", b"\xc1", b"\x93\x01\x02\x03", b"\x81\xa6format\x01"):
        (tmp_path / "watch").write_bytes(data)
        assert SourceWatch(tmp_path / "watch", clock=ManualClock(START)).facts() == []


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_are_within_a_quarter_of_the_exact_ones(seed: int) -> None:
    dice = random.Random(seed)
    values = [dice.lognormvariate(-2, 1.5) for _ in range(2_000)]
    found = Latencies()
    for value in values:
        found.add(value)
    ordered = sorted(values)
    for share in (0.5, 0.95, 0.99):
        exact = ordered[int(share * len(ordered)) - 1]
        told = found.percentile(share)
        assert told is not None
        assert exact <= told <= max(exact * 1.25, 0.001) + 1e-6
    assert Latencies().percentile(0.5) is None


def test_the_rate_is_of_the_last_five_minutes_or_since_the_beginning() -> None:
    feed = Feed()
    feed.clock.advance(timedelta(seconds=10))
    feed.watch.took("syslog", "10.0.0.9", feed.clock.now(), 500, 100, 0)
    feed.clock.advance(timedelta(seconds=50))
    assert feed.facts.rate == 10.0  # 500 in the 50 seconds since it began
    feed.clock.advance(timedelta(minutes=4))
    assert feed.facts.rate == pytest.approx(500 / 290, abs=0.001)
    feed.clock.advance(timedelta(minutes=1))
    assert feed.facts.rate == 0.0
    feed.play(feed.clock.now() + HOUR, timedelta(seconds=1))
    assert feed.facts.rate == pytest.approx(1.0, abs=0.05)
    watched = next(iter(feed.watch._sources.values()))
    assert len(watched.lately) <= 31
