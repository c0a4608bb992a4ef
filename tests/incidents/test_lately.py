"""What correlation makes of machines elsewhere while nothing is known yet: a new workspace, or a scan of a pile of logs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.incidents.test_background import MACHINES, together
from tests.incidents.test_correlate import WS1, alert
from tocsin.incidents import Correlator
from tocsin.incidents.lately import Lately
from tocsin.incidents.signature import HOUR

PAIR = (alert("x", 40, WS1, tactics=("Execution",)), alert("y", 48, WS1, tactics=("Discovery",)))


def noise(rounds: int, machines: int = 20) -> list[object]:
    """Forty minutes in which each of the machines gives so many alerts, by rules of their own."""
    return sorted(
        (
            alert(f"n{place}-{n}", (place * 1.9 + n * 40 / rounds) % 40, machine, tactics=("Discovery",))
            for place, machine in enumerate(MACHINES[:machines])
            for n in range(rounds)
        ),
        key=lambda a: (a.time, a.id),
    )


def test_where_alerts_come_from_machines_all_over_minutes_apart_on_one_is_no_news_though_nothing_is_known_yet() -> None:
    assert together([], *PAIR)
    assert together(noise(4), *PAIR) is None


def test_within_seconds_it_is_news_all_the_same() -> None:
    assert together(noise(4), PAIR[0], alert("y", 40.02, WS1, tactics=("Discovery",)))


def test_few_machines_tell_nothing_of_a_fleet() -> None:
    assert together(noise(20, machines=3), *PAIR)


def test_a_small_fleet_that_never_rests_tells_what_a_large_one_tells() -> None:
    assert together(noise(12, machines=6), *PAIR) is None
    assert together(noise(12, machines=6), PAIR[0], alert("y", 40.02, WS1, tactics=("Discovery",)))


def test_what_one_attack_does_on_many_machines_does_not_make_itself_ordinary() -> None:
    machines = MACHINES[:15]
    spread = [
        alert(f"s{n}-{place}", n * 4 + place * 0.2, machine, WS1, tactics=("LateralMovement",))
        for n in range(3)
        for place, machine in enumerate(machines)
    ]
    correlator = Correlator()
    correlator.add(sorted(spread, key=lambda a: (a.time, a.id)))
    assert len(correlator.incidents) == 1


def test_a_large_fleet_of_which_each_machine_gives_one_alert_says_that_two_on_one_are_news() -> None:
    lately, small = Lately(4), Lately(4)
    for n in range(40):
        lately.add(1e9 + n * 60, 2, {f"pc{n}"})
        small.add(1e9 + n * 60, 2, {f"pc{n % 12}"})
    assert 0 < lately.rate(2, ()) < small.rate(2, ()) / 10
    assert lately.rate(3, ()) == 0.0, "of that severity nothing came"


def test_of_a_severity_few_alerts_tell_how_often_those_come_once_it_is_known_how_often_any_do() -> None:
    """The machines are counted by all alerts: those without any of that severity are part of the fleet."""
    lately = Lately(4)
    for n in range(60):
        lately.add(1e9 + n * 60, 2 if n % 10 == 0 else 1, {f"pc{n % 12}"})
    assert lately.rate(1, ()) == pytest.approx(10 * lately.rate(2, ()))
    assert lately.rate(2, {"pc0", "pc10"}) == 0.0, "four are too few"


@given(
    st.lists(
        st.tuples(st.floats(0, 3 * HOUR), st.integers(0, 3), st.sets(st.sampled_from("abcdefghijklmn"), max_size=3)),
        max_size=200,
    ),
    st.sets(st.sampled_from("abcdefghijklmn"), max_size=4),
)
def test_counts_are_those_of_what_is_left_of_the_last_hour_and_are_restored(
    came: list[tuple[float, int, set[str]]], sides: set[str]
) -> None:
    lately, again = Lately(4), Lately(4)
    for time, rank, hosts in came:
        lately.add(1e9 + time, rank, hosts)
    again.restore(lately.entries())
    for level in range(4):
        assert again.rate(level, sides) == lately.rate(level, sides) >= 0.0
        held = [e for e in lately.entries() if e[3] == level]
        assert lately._levels[level].alerts == len(held) == len({e[2:] for e in held})
        assert +lately._levels[level].often == +again._levels[level].often
    assert all(e[2] >= (lately._newest - HOUR) // 300 for e in lately.entries()), "nothing is older than the hour"
