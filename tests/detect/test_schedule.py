"""The live scheduler on a clock that stands still until moved."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tocsin.base.clock import ManualClock
from tocsin.base.errors import KqlError, QueryError, StateError
from tocsin.detect.alert import Alert
from tocsin.detect.rule import Operator, Rule, RuleKind
from tocsin.detect.schedule import Scheduler, ScheduleSettings
from tocsin.state.rules import LedgerRow

from .fakes import FakeQueries, Rows

START = datetime(2024, 5, 1, 12, tzinfo=UTC)
QUIET = ScheduleSettings(eager=False, lag=timedelta(0), delay=timedelta(0))
EAGER = ScheduleSettings(eager=True, lag=timedelta(0), delay=timedelta(0))


@dataclass
class Ledger:
    rows: dict[str, LedgerRow] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    fail: bool = False

    def get(self, rule_id: str) -> LedgerRow:
        return self.rows.get(rule_id, LedgerRow(rule_id))

    def put(self, row: LedgerRow, alerts: Sequence[Alert]) -> None:
        if self.fail:
            raise StateError("no room")
        self.rows[row.rule_id] = row
        self.alerts.extend(alerts)


@dataclass
class House:
    """A clock, rows that arrive, and a scheduler over them."""

    settings: ScheduleSettings = QUIET
    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    queries: FakeQueries = field(default_factory=FakeQueries)
    ledger: Ledger = field(default_factory=Ledger)
    health: list[Mapping[str, Any]] = field(default_factory=list)
    gone: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queries.tables = {"T": []}
        self.queries.functions = {
            "all": (("T",), True, lambda t: list(t["T"])),
            "busy": (("T",), False, busy),
            "joined": (("T",), False, lambda t: list(t["T"])),
        }
        self.start()

    def start(self, *rules: Rule) -> Scheduler:
        """A scheduler, as after a restart of the process."""
        self.scheduler = Scheduler(
            self.queries,
            self.ledger,
            clock=self.clock,
            arrivals=lambda: {
                t: max(datetime.fromisoformat(r["_TimeReceived"]) for r in rows)
                for t, rows in self.queries.tables.items()
                if rows
            },
            health=self.health.append,
            disabled=lambda r, reason: self.gone.append((r.id, reason)),
            settings=self.settings,
        )
        self.scheduler.set_rules(rules)
        return self.scheduler

    def arrive(self, host: str = "ws1", *, late: timedelta = timedelta(0), n: int | None = None) -> None:
        now = self.clock.now()
        number = len(self.queries.tables["T"]) if n is None else n
        self.queries.tables["T"].append(
            {
                "TimeGenerated": (now - late).isoformat(),
                "_TimeReceived": now.isoformat(),
                "DeviceName": host,
                "N": number,
            }
        )

    def pass_(self, **more: float) -> list[Alert]:
        self.clock.advance(timedelta(**more))
        return self.scheduler.tick()


def busy(tables: Mapping[str, Rows]) -> Rows:
    return [{"DeviceName": h, "count_": n} for h, n in Counter(r["DeviceName"] for r in tables["T"]).items() if n > 2]


def rule(query: str = "all", **more: Any) -> Rule:
    base = {"id": query, "name": query, "kind": RuleKind.SCHEDULED, "query": query, "frequency": timedelta(minutes=10)}
    return Rule(**{**base, "period": timedelta(hours=1), **more})


def numbers(alerts: Sequence[Alert]) -> list[int]:
    return sorted(e.row["N"] for a in alerts for e in a.events)


# ------------------------------------------------------------------ exact windows


def test_every_row_is_looked_at_once_whatever_its_delay() -> None:
    house = House()
    house.start(rule())
    house.scheduler.tick()
    chance = random.Random(7)
    for _ in range(200):
        house.clock.advance(timedelta(seconds=chance.choice([1, 7, 60, 599, 600, 601])))
        for _ in range(chance.randrange(3)):
            house.arrive(late=timedelta(minutes=chance.choice([0, 0, 5, 700])))
        if chance.random() < 0.5:
            house.scheduler.tick()
        if chance.random() < 0.05:
            house.start(rule())  # a restart in between
    house.clock.advance(timedelta(hours=1))
    house.scheduler.tick()
    assert numbers(house.ledger.alerts) == list(range(len(house.queries.tables["T"])))


def test_rows_at_a_window_s_edge_fire_once() -> None:
    house = House()
    house.start(rule())
    house.scheduler.tick()
    house.clock.advance(timedelta(minutes=9, seconds=59))
    house.arrive()
    house.clock.advance(timedelta(seconds=1))
    house.arrive()  # exactly at the edge: the next window's
    assert numbers(house.scheduler.tick()) == [0]
    house.clock.advance(timedelta(seconds=1))
    house.arrive()
    assert numbers(house.pass_(minutes=10)) == [1, 2]
    assert house.pass_(minutes=10) == []


def test_the_first_run_looks_back_over_the_period() -> None:
    house = House()
    house.arrive()
    house.clock.advance(timedelta(minutes=50))
    house.arrive()
    house.clock.advance(timedelta(minutes=11))
    house.start(rule())
    assert numbers(house.scheduler.tick()) == [1]


def test_near_real_time_rules_run_every_minute() -> None:
    house = House()
    house.start(rule(kind=RuleKind.NRT, frequency=timedelta(minutes=1), period=timedelta(minutes=1)))
    house.scheduler.tick()
    house.arrive()
    assert house.pass_(seconds=59) == []
    assert numbers(house.pass_(seconds=1)) == [0]


# ------------------------------------------------------------------ overlapping windows


def test_a_growing_count_alerts_once_while_windows_overlap() -> None:
    house = House()
    house.start(rule("busy"))
    house.scheduler.tick()
    alerts = []
    for _ in range(30):
        house.arrive()
        alerts.extend(house.pass_(minutes=2))
    assert [a.events[0].row["count_"] for a in alerts] == [5]
    house.clock.advance(timedelta(days=2))
    house.scheduler.tick()
    for _ in range(5):
        house.arrive()
    assert len(house.pass_(minutes=10)) == 1  # another day, another alert


def test_another_host_alerts_although_one_is_known() -> None:
    house = House()
    house.start(rule("busy"))
    house.scheduler.tick()
    for _ in range(3):
        house.arrive("a")
    assert [a.entities[0].label for a in house.pass_(minutes=10)] == ["a"]
    for _ in range(3):
        house.arrive("b")
    assert [a.entities[0].label for a in house.pass_(minutes=10)] == ["b"]


def test_rows_with_their_own_time_are_told_once() -> None:
    house = House()
    house.start(rule("joined"))
    house.scheduler.tick()
    house.arrive()
    assert numbers(house.pass_(minutes=10)) == [0]
    assert house.pass_(minutes=10) == []
    house.arrive()
    assert numbers(house.pass_(minutes=10)) == [1]


def test_what_was_told_is_remembered_over_a_restart() -> None:
    house = House()
    house.start(rule("busy"))
    house.scheduler.tick()
    for _ in range(3):
        house.arrive()
    assert len(house.pass_(minutes=10)) == 1
    house.start(rule("busy"))
    house.arrive()
    assert house.pass_(minutes=10) == []


def test_after_a_pause_the_windows_in_between_run_too() -> None:
    house = House()
    house.start(rule("busy", period=timedelta(minutes=10)))
    house.scheduler.tick()
    house.clock.advance(timedelta(minutes=5))
    for _ in range(3):
        house.arrive()
    house.clock.advance(timedelta(hours=3))  # the process was away
    house.start(rule("busy", period=timedelta(minutes=10)))
    assert len(house.scheduler.tick()) == 1


def test_nothing_new_runs_no_query() -> None:
    house = House()
    house.start(rule(), rule("busy"))
    house.arrive()
    house.scheduler.tick()
    house.pass_(minutes=10)
    ran = len(house.queries.runs)
    for _ in range(5):
        house.pass_(minutes=10)
    assert len(house.queries.runs) == ran


def test_absence_rules_run_although_nothing_comes() -> None:
    house = House()
    house.start(rule("joined", operator=Operator.LESS, threshold=1, period=timedelta(minutes=10)))
    house.arrive()
    assert house.pass_(minutes=1) == []
    assert len(house.pass_(minutes=10)) == 1


def test_threshold() -> None:
    house = House()
    house.start(rule(threshold=1, period=timedelta(minutes=10)))
    house.scheduler.tick()
    house.arrive()
    assert house.pass_(minutes=10) == []
    house.arrive()
    house.arrive()
    assert numbers(house.pass_(minutes=10)) == [1, 2]


# ------------------------------------------------------------------ eager


def test_the_first_hit_alerts_at_once_and_the_rest_at_the_turn() -> None:
    house = House(settings=EAGER)
    house.start(rule())
    house.scheduler.tick()
    house.arrive("a")
    assert numbers(house.pass_(seconds=2)) == [0]
    house.arrive("a")
    house.arrive("b")
    assert numbers(house.pass_(seconds=2)) == [2]
    assert numbers(house.pass_(minutes=10)) == [1]
    house.arrive("a")
    assert numbers(house.pass_(seconds=2)) == [3]


def test_eager_rules_tell_every_row_once_over_restarts() -> None:
    house = House(settings=EAGER)
    rules = [rule(), rule("all", id="each", per_result=True)]
    house.start(*rules)
    house.scheduler.tick()
    chance = random.Random(3)
    for _ in range(150):
        house.clock.advance(timedelta(seconds=chance.choice([1, 2, 30, 600])))
        for _ in range(chance.randrange(3)):
            house.arrive(chance.choice("abc"))
        if chance.random() < 0.6:
            house.scheduler.tick()
        if chance.random() < 0.1:
            house.start(*rules)
    house.clock.advance(timedelta(hours=1))
    house.scheduler.tick()
    every = list(range(len(house.queries.tables["T"])))
    for each in ("all", "each"):
        assert numbers([a for a in house.ledger.alerts if a.rule_id == each]) == every


def test_a_rule_that_looks_back_runs_when_rows_arrive_but_rests() -> None:
    house = House(settings=EAGER)
    house.start(rule("busy", frequency=timedelta(hours=1)))
    house.scheduler.tick()
    for _ in range(3):
        house.arrive()
    assert len(house.pass_(seconds=2)) == 1
    ran = [q for q, _ in house.queries.runs].count("busy")
    house.arrive()
    house.pass_(seconds=2)
    assert [q for q, _ in house.queries.runs].count("busy") == ran
    house.pass_(seconds=30)
    assert [q for q, _ in house.queries.runs].count("busy") == ran + 1


# ------------------------------------------------------------------ suppression and failure


def test_suppression_stops_running_and_leaves_the_gap_out() -> None:
    house = House(settings=EAGER)
    house.start(rule(suppression=timedelta(hours=2)))
    house.scheduler.tick()
    house.arrive()
    assert numbers(house.pass_(minutes=10)) == [0]
    house.arrive()
    assert house.pass_(minutes=60) == []
    house.clock.advance(timedelta(minutes=61))
    house.arrive()
    assert numbers(house.pass_(minutes=9)) == [2]
    (blind,) = house.ledger.get("all").payload["blind"]
    assert blind == ["2024-05-01T12:10:00Z", "2024-05-01T14:10:00Z"]


def test_a_passing_failure_is_tried_again_and_misses_nothing() -> None:
    house = House()
    house.start(rule())
    house.scheduler.tick()
    house.arrive()
    working = house.queries.functions["all"]

    def slow(_: Mapping[str, Rows]) -> Rows:
        raise QueryError("too slow", code="QRY0002")

    house.queries.functions["all"] = ("T",), True, slow
    for _ in range(20):
        assert house.pass_(minutes=10) == []
    row = house.ledger.get("all")
    assert (row.last_status, row.failures > 3, row.disabled_reason) == ("Failure", True, None)
    house.queries.functions["all"] = working
    assert numbers(house.pass_(hours=2)) == [0]
    assert house.ledger.get("all").failures == 0


@pytest.mark.parametrize("query", ["all", "busy"])
def test_a_rule_whose_first_runs_fail_misses_nothing_that_came_meanwhile(query: str) -> None:
    house = House()
    working = house.queries.functions[query]

    def slow(_: Mapping[str, Rows]) -> Rows:
        raise QueryError("too slow", code="QRY0002")

    house.queries.functions[query] = (*working[:2], slow)
    watched = rule(query, period=timedelta(minutes=10))
    house.start(watched)
    house.scheduler.tick()
    for _ in range(3):
        house.arrive()
    for _ in range(8):
        assert house.pass_(minutes=10) == []
    house.start(watched)  # the process was started again meanwhile
    house.queries.functions[query] = working
    said = [*house.pass_(hours=2), *house.pass_(minutes=10)]
    assert len(said) == 1
    assert query == "busy" or numbers(said) == [0, 1, 2]
    assert house.pass_(minutes=10) == []


def test_a_lasting_failure_switches_the_rule_off() -> None:
    house = House()

    def broken(text: str, now: datetime | None = None) -> Any:
        raise KqlError("no table 'Gone'", code="KQL0100")

    house.queries.compile = broken  # type: ignore[method-assign]
    house.start(rule())
    for _ in range(20):
        house.pass_(hours=2)
    row = house.ledger.get("all")
    assert row.failures == 5
    assert "Gone" in (row.disabled_reason or "")
    assert [r for r, _ in house.gone] == ["all"]
    assert {h["Status"] for h in house.health} == {"Failure"}


def test_failures_that_may_heal_do_not_count_towards_giving_up() -> None:
    house = House()
    working = house.queries.compile
    kinds = [KqlError("no table 'Gone'", code="KQL0100")] * 4 + [QueryError("too slow", code="QRY0002")]
    given = iter(kinds * 4)

    def failing(text: str, now: datetime | None = None) -> Any:
        raise next(given)

    house.queries.compile = failing  # type: ignore[method-assign]
    house.start(rule())
    for _ in range(20):
        house.pass_(hours=2)
    row = house.ledger.get("all")
    assert (row.failures, row.disabled_reason) == (20, None)
    house.queries.compile = working  # type: ignore[method-assign]
    house.arrive()
    alerts = [a for _ in range(10) for a in house.pass_(hours=1)]  # what was left lying is done a job at a time
    assert numbers(alerts) == [0]


def test_who_is_late_by_most_of_its_frequency_goes_first() -> None:
    house = House()
    house.start(
        rule(id="hourly", frequency=timedelta(hours=1)),
        rule(id="five", frequency=timedelta(minutes=5)),
        rule(id="nrt", kind=RuleKind.NRT, frequency=timedelta(minutes=1), period=timedelta(minutes=1)),
    )
    house.scheduler.tick()
    house.clock.advance(timedelta(minutes=61))
    assert [j.rule.id for j in house.scheduler.due()] == ["nrt", "five", "hourly"]


def test_a_late_row_completes_a_count_of_a_window_long_gone() -> None:
    house = House()
    house.start(rule("busy", period=timedelta(minutes=10)))
    house.scheduler.tick()
    house.arrive()
    house.arrive()
    for _ in range(12):
        assert house.pass_(minutes=10) == []
    house.arrive(late=timedelta(minutes=119))
    (alert,) = house.pass_(minutes=10)
    assert alert.events[0].row["count_"] == 3


def test_a_batch_that_comes_twice_counts_once() -> None:
    house = House()
    counting = "T | summarize count_ = count() by DeviceName | where count_ > 2"
    house.queries.functions[counting] = ("T",), False, busy
    house.start(rule(counting, period=timedelta(minutes=10)), rule())
    house.scheduler.tick()
    for n in range(2):
        house.arrive(n=n)
    house.queries.tables["T"].extend(dict(r) for r in list(house.queries.tables["T"]))
    alerts = house.pass_(minutes=10)
    assert [a.rule for a in alerts] == ["all"]
    house.queries.tables["T"].extend(
        {**r, "_TimeReceived": house.clock.now().isoformat()} for r in list(house.queries.tables["T"])
    )
    assert [a.rule for a in house.pass_(minutes=10) if a.rule == counting] == []


def test_a_defect_is_a_failure_of_that_rule_only() -> None:
    house = House()
    house.queries.functions["crash"] = ("T",), True, lambda t: [t["gone"][0]]
    house.start(rule("crash"), rule())
    house.arrive()
    assert [a.rule for a in house.pass_(minutes=10)] == ["all"]
    assert house.ledger.get("crash").last_status == "Failure"
    ran = len(house.queries.runs)
    house.pass_(seconds=2)
    assert len(house.queries.runs) == ran  # it waits before it tries again


def test_alerts_that_could_not_be_saved_are_said_again() -> None:
    house = House(settings=EAGER)
    house.start(rule())
    house.scheduler.tick()
    house.arrive()
    house.ledger.fail = True
    with pytest.raises(StateError):
        house.pass_(seconds=2)
    house.ledger.fail = False
    assert numbers(house.pass_(minutes=10)) == [0]


@pytest.mark.parametrize("fails", [True, False])
def test_a_rule_that_is_replaced_while_it_runs_says_everything_once(fails: bool) -> None:
    """What the run had said and couldn't save is said under the new name; what it saved isn't said again."""
    house = House(settings=EAGER)
    house.start(rule())
    house.scheduler.tick()
    house.arrive()
    tables, row_wise, rows = house.queries.functions["all"]

    def replacing(found: Mapping[str, Rows]) -> Rows:
        house.scheduler.set_rules([rule(name="renamed")])
        return rows(found)

    house.queries.functions["all"] = tables, row_wise, replacing
    house.ledger.fail = fails
    with pytest.raises(StateError) if fails else nullcontext():
        assert [a.rule for a in house.pass_(seconds=2)] == ["all"]
    house.ledger.fail = False
    house.queries.functions["all"] = tables, row_wise, rows
    house.arrive()
    after = house.pass_(minutes=10)
    assert {a.rule for a in after} == {"renamed"}
    assert numbers(after) == ([0, 1] if fails else [1])
    house.scheduler.set_rules([])
    assert house.pass_(minutes=10) == []


def test_health_says_window_rows_and_alerts() -> None:
    house = House()
    house.start(rule())
    house.arrive()
    house.pass_(minutes=10)
    (row,) = house.health
    assert (row["SentinelResourceName"], row["Status"]) == ("all", "Success")
    assert row["ExtendedProperties"]["QueryResultAmount"] == 1
    assert row["ExtendedProperties"]["AlertsGeneratedAmount"] == 1


def test_disabled_rules_and_changed_rules() -> None:
    house = House()
    house.start(rule(enabled=False))
    house.arrive()
    assert house.pass_(minutes=10) == []
    house.scheduler.set_rules([rule()])
    assert len(house.pass_(minutes=10)) == 1
    house.scheduler.set_rules([rule(name="renamed")])
    assert house.pass_(minutes=10) == []


def test_the_loop_stops_when_asked() -> None:
    house = House()
    house.start(rule())
    house.arrive()

    async def main() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(house.scheduler.run(stop))
        for _ in range(400):
            await asyncio.sleep(0.005)
            if house.ledger.alerts:
                break
        stop.set()
        await asyncio.wait_for(task, 10)

    asyncio.run(main())
    assert numbers(house.ledger.alerts) == [0]
