"""What correlation makes of how often places give alerts anyway."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.incidents.test_correlate import ANN, BOB, T0, WS1, WS2, alert
from tests.incidents.test_correlation_laws import groups
from tocsin.detect.alert import Alert, Evidence
from tocsin.incidents import Correlator, Incident
from tocsin.incidents.background import Background, chance
from tocsin.incidents.cluster import Worth
from tocsin.incidents.fusion import PRODUCT, Condition, Pattern, Stage
from tocsin.incidents.links import shipped_links
from tocsin.incidents.signature import HOUR, signature
from tocsin.incidents.weights import CorrelationSettings
from tocsin.tables import Entity

MACHINES = [Entity.host(f"pc{n}.contoso.com") for n in range(20)]
DAY = 24 * 60


def fleet(rule: str = "rule", every: float = 240, severity: str = "Medium", **more: object) -> list[Alert]:
    """A day in which each machine gives an alert every so many minutes, ws1 and ws2 among them, by rules that fire on no more than two."""
    return sorted(
        (
            alert(f"{rule}-{place // 2}-{n}", minute, machine, severity=severity, tactics=("Discovery",), **more)
            for place, machine in enumerate([WS1, WS2, *MACHINES])
            for n, minute in enumerate(_steps(place * 7.0, every))
        ),
        key=lambda a: (a.time, a.id),
    )


def _steps(first: float, every: float) -> Iterable[float]:
    return [first + every * n for n in range(int((DAY - first) // every) + 1)]


def together(before: list[Alert], *alerts: Alert) -> Incident | None:
    """The one incident that holds all of those after the others came; None where they are in several."""
    correlator = Correlator()
    correlator.add([*before, *alerts])
    held = [correlator.holding(a.id) for a in alerts]
    return held[0] if len({i.id for i in held if i}) == 1 else None


LATER = DAY + 130
BEFORE = fleet(every=240)
PAIR = (alert("x", LATER, WS1, tactics=("Execution",)), alert("y", LATER + 25, WS1, tactics=("Discovery",)))


def test_half_an_hour_apart_on_one_machine_is_news_only_where_alerts_are_rare() -> None:
    assert together([], *PAIR)
    assert together(fleet(every=120), *PAIR) is None


def test_within_the_minute_it_is_news_anywhere() -> None:
    near = alert("y", LATER + 0.2, WS1, tactics=("Discovery",))
    assert together(fleet(every=120), PAIR[0], near)


def test_high_alerts_wait_for_each_other_where_only_lesser_ones_are_common() -> None:
    high = [
        alert(n, m, WS1, severity="High", tactics=(t,))
        for n, m, t in (("x", LATER, "Execution"), ("y", LATER + 20, "Impact"))
    ]
    assert together(fleet(every=120), *high)
    assert together(fleet(every=120, severity="High"), *high) is None


def test_what_else_is_shared_joins_as_before() -> None:
    row = {"Computer": "ws1", "ProcessGuid": "{11111111-2222-3333-4444-555555555555}", "Image": "c:\\x.exe"}
    pair = [alert(n, LATER + m, WS1, events=(Evidence("Sysmon", row),)) for n, m in (("x", 0), ("y", 25))]
    assert together(fleet(every=120), *pair)


def test_the_reason_says_that_chance_does_it_too() -> None:
    incident = together(fleet(every=240), PAIR[0], alert("y", LATER + 1, WS1, tactics=("Discovery",)))
    assert incident is not None
    (reason, *_) = (r for a in incident.alerts for r in a.linked_by)
    assert reason.text.startswith(
        "same host ws1.contoso.com, where alerts come so soon after each other by chance too ("
    )
    assert reason.weight < 45


def test_a_noisy_rule_joins_within_the_burst_and_not_after_it() -> None:
    noisy = [alert("noisy", 10.0 * n, machine) for n, machine in enumerate(MACHINES[:8])]
    attack = alert("x", LATER, WS1, tactics=("Execution",))
    before = [*fleet(every=240), *noisy]
    assert together(before, attack, alert("noisy", LATER + 0.05, WS1, tactics=("Discovery",)))
    assert together(before, attack, alert("noisy", LATER + 2, WS1, tactics=("Discovery",))) is None


def test_an_alert_that_is_a_restart_later_is_judged_alike() -> None:
    before, (x, y) = fleet(every=120), PAIR
    known = Correlator()
    known.add([*before, x])
    again = Correlator(
        [
            Incident.from_record(i.to_record())
            for a in [*before, x]
            if (i := known.holding(a.id)) and i.alerts[0].alert.id == a.id
        ]
    )
    assert [(c.score, c.reasons) for c in again.preview(y)] == [(c.score, c.reasons) for c in known.preview(y)]


# ------------------------------------------------------------------------------------------ what is known


def sign(minute: float, *entities: Entity | None, severity: str = "Medium") -> object:
    return signature(alert("r", minute, *entities, severity=severity), shipped_links())


def seen(*minutes: float, least: int = 1, severity: str = "Medium", machines: int = 20) -> Background:
    """What is known after alerts at those minutes on ws1, beside one by each of other machines, Informational, a day before now."""
    found = Background(7 * DAY * 60, least)
    for machine in MACHINES[:machines]:
        found.add(sign(0, machine, severity="Informational"))  # type: ignore[arg-type]
    for minute in minutes:
        found.add(sign(minute, WS1, ANN, severity=severity))  # type: ignore[arg-type]
    return found


NOW = T0.timestamp() + DAY * 60
KEY = ("hostname", "ws1")


def test_nothing_is_known_until_there_was_enough() -> None:
    assert seen(60, least=22).observed(NOW) == 0
    assert seen(60, least=21).observed(NOW) == 23 * HOUR
    assert seen(60, machines=8).observed(NOW) == 0  # with ws1 nine machines
    assert seen(60, least=22).rate(KEY, Worth.PLAIN, NOW) == 0
    young = Background(7 * DAY * 60, 10)
    for machine in MACHINES:
        young.add(sign(DAY - 110, machine))  # type: ignore[arg-type]
    assert young.observed(NOW) == 0  # only the last two hours
    assert young.observed(NOW + 2 * HOUR) > 0


def test_a_burst_counts_once_and_the_last_hour_not_at_all() -> None:
    once = seen(0, 120).rate(KEY, Worth.PLAIN, NOW)
    assert seen(0, *(120 + n / 2 for n in range(50))).rate(KEY, Worth.PLAIN, NOW) == once
    assert seen(0, 120, DAY - 1, DAY - 30).rate(KEY, Worth.PLAIN, NOW) == once
    assert seen(0, 120, 240).rate(KEY, Worth.PLAIN, NOW) > once


def test_lesser_alerts_dont_make_better_ones_common() -> None:
    known = seen(0, 120, 240, severity="Low")
    rates = [known.rate(KEY, worth, NOW) for worth in (Worth.HIGH, Worth.PLAIN, Worth.LOW)]
    assert rates[0] == rates[1] == 0 < rates[2]


def test_the_order_in_which_alerts_come_changes_nothing() -> None:
    minutes = [0, 300, 61, 900, 62, 1300, 899]
    one, other = seen(*minutes), seen(*reversed(minutes))
    one.rate(KEY, Worth.LOW, NOW)
    for each in (one, other):
        each.add(sign(30, WS2, BOB))  # type: ignore[arg-type]  # late, after it was asked
    for key in (KEY, ("hostname", "ws2"), ("hostname", "new"), ("account.nt", "contoso", "ann")):
        assert one.rate(key, Worth.LOW, NOW) == other.rate(key, Worth.LOW, NOW) > 0


def test_what_lies_before_the_window_is_let_go_of() -> None:
    known = seen(*range(0, DAY, 60))
    known.forget(NOW + 8 * DAY * 60)
    assert len(known) == known.places("host") == 0
    assert known.observed(NOW) == 0


@pytest.mark.parametrize(("gap", "low", "high"), [(0.0, 0.0, 0.0), (1.0, 0.0005, 0.0006), (HOUR * 100, 0.99, 1.0)])
def test_chance_grows_with_the_time_between(gap: float, low: float, high: float) -> None:
    assert low <= chance(1 / HOUR, gap) <= high


# ------------------------------------------------------------------------------------------ patterns


TWO = Pattern(
    "p", "P", "", "Host", CorrelationSettings().horizon,
    (
        Stage("in", (Condition(tactics=frozenset({"InitialAccess"})),)),
        Stage("out", (Condition(tactics=frozenset({"Exfiltration"})),)),
    ),
)  # fmt: skip


def told(before: list[Alert], hours: float, severity: str = "Medium") -> bool:
    """Whether the pattern was told of two stages so far apart."""
    correlator = Correlator(patterns=[TWO])
    correlator.add(before)
    start = DAY + 130
    correlator.add([alert("in", start, WS1, severity=severity, tactics=("InitialAccess",))])
    correlator.add([alert("out", start + 60 * hours, WS1, severity=severity, tactics=("Exfiltration",))])
    return any(
        a.alert.product == PRODUCT and a.alert.entities == (WS1,) for i in correlator.incidents for a in i.alerts
    )


def test_a_stage_that_is_seen_everywhere_tells_nothing_hours_later() -> None:
    common = [
        alert(f"c{n}-{m}", 60 * n + 7 * m, machine, tactics=("Exfiltration",))
        for m, machine in enumerate(MACHINES)
        for n in range(0, 23, 6)
    ]
    assert told([], 5)
    assert told(fleet(every=240), 0.3)
    assert not told(common, 5)
    assert told(common, 5, severity="High")
    assert told(common, 0.002)


# ------------------------------------------------------------------------------------------ one thing once


def test_a_host_under_two_names_counts_once() -> None:
    both = [alert(n, m, WS1, Entity.host("ws1"), tactics=("Execution",)) for n, m in (("x", 0), ("y", 5))]
    correlator = Correlator()
    correlator.add(both[:1])
    (candidate,) = correlator.preview(both[1])
    assert [r.text for r in candidate.reasons] == ["same host ws1.contoso.com"]


def test_a_session_is_one_account_s() -> None:
    def logon(user: str) -> tuple[Evidence, ...]:
        return (Evidence("SecurityEvent", {"Computer": "ws1", "TargetLogonId": "0x1f4a", "TargetUserName": user}),)

    def sessions(user: str) -> set[object]:
        return {k for k in signature(alert("x", 0, events=logon(user)), shipped_links()).things if k[0] == "session"}

    assert sessions("ann") == sessions("CONTOSO\\Ann") == sessions("ann@contoso.com") != sessions("bob")
    assert len(sessions("bob")) == 1


def test_a_noisy_rule_again_is_no_reason_of_its_own() -> None:
    noisy = [alert("noisy", 60.0 * n, machine) for n, machine in enumerate(MACHINES[:8])]
    correlator = Correlator()
    correlator.add([*noisy, alert("noisy", 700, WS1)])
    (candidate,) = [c for c in correlator.preview(alert("noisy", 701, WS1)) if "ws1" in c.reasons[0].text]
    assert "same rule" not in [r.text for r in candidate.reasons]
    plain = Correlator()
    plain.add([alert("rare", 700, WS1)])
    (candidate,) = plain.preview(alert("rare", 701, WS1))
    assert "same rule" in [r.text for r in candidate.reasons]


def test_other_accounts_on_a_machine_are_no_part_of_what_happens_there_however_near() -> None:
    def pair(mine: Entity | None, other: Entity | None, **more: object) -> tuple[Alert, Alert]:
        there = {"tactics": ("Execution",), **more}
        return alert("x", LATER, WS1, mine, **there), alert("y", LATER + 0.1, WS1, other, **there)  # type: ignore[arg-type]

    before = fleet(every=240)
    assert together(before, *pair(ANN, BOB)) is None
    assert together([], *pair(ANN, BOB)), "nothing is known there of alerts that come by themselves"
    assert together(before, *pair(ANN, None)), "one of them names nobody"
    assert together(before, *pair(ANN, ANN))
    assert together(before, *pair(ANN, BOB, severity="High")), "an attack may change its account"
    row = {"Computer": "ws1", "ProcessGuid": "{11111111-2222-3333-4444-555555555555}", "Image": "c:\\x.exe"}
    assert together(before, *pair(ANN, BOB, events=(Evidence("Sysmon", row),))), "one process did both"


def busy(accounts: int, *, elsewhere: int, machines: int = 10) -> list[Alert]:
    """A day in which so many accounts use ws1, and so many each of the other machines; each gives an alert on it, and a scanner one more."""
    used = [(WS1, accounts), *((machine, elsewhere) for machine in MACHINES[: machines - 1])]
    return sorted(
        (
            alert(
                f"by{place}-{n}", 120 * n + 7 * place, machine, Entity.account(f"CONTOSO\\u{place}-{n}"), severity="Low"
            )
            for place, (machine, count) in enumerate(used)
            for n in range(count)
        ),
        key=lambda a: (a.time, a.id),
    )


def test_a_machine_that_many_use_is_a_hub_only_where_others_have_one_user() -> None:
    """Otherwise whatever happens on any machine of such a fleet would belong to nothing."""
    pair = [
        alert(n, LATER + m, WS1, severity="High", tactics=(t,))
        for n, m, t in (("x", 0, "Execution"), ("y", 0.1, "Impact"))
    ]
    assert together(busy(11, elsewhere=11), *pair)
    assert together(busy(11, elsewhere=6), *pair) is None
    alone = Correlator()
    alone.add([*busy(11, elsewhere=11), alert("x", LATER, WS1, severity="High")])
    (candidate,) = [c for c in alone.preview(pair[1]) if c.incident.first == pair[0].time]
    assert [r.text for r in candidate.reasons] == ["same host ws1.contoso.com"]


def test_what_most_machines_of_a_small_fleet_were_seen_with_joins_none_of_them() -> None:
    """A scanner that touches seven machines is a hub where there are nine of them; where there are twenty it may be an attacker's machine."""
    scanner = Entity.host("scan.contoso.com")

    def joined(machines: int) -> bool:
        seen = busy(6, elsewhere=6, machines=machines)
        seen += [
            alert(f"scan{n}", 200 + 30 * n, machine, scanner, severity="Low") for n, machine in enumerate(MACHINES[:7])
        ]
        pair = [
            alert(n, LATER + m, machine, scanner, Entity("IP", {"Address": "10.9.9.9"}), severity="High", tactics=(t,))
            for n, m, machine, t in (("x", 0, MACHINES[0], "Execution"), ("y", 0.1, MACHINES[1], "Impact"))
        ]
        return together(sorted(seen, key=lambda a: (a.time, a.id)), *pair) is not None

    assert joined(20)
    assert not joined(8)


def test_several_things_that_many_have_are_one_reason() -> None:
    """A domain controller, a scanner and the gateway are in everybody's alerts: that two attacks name all of them is no three reasons."""
    common = [Entity.host("dc01.contoso.com"), Entity.account("CONTOSO\\svc"), Entity("IP", {"Address": "203.0.113.7"})]
    seen = [alert(f"n{n}", n, machine, *common, severity="Low") for n, machine in enumerate(MACHINES[:6])]
    pair = [
        alert(n, LATER + m, machine, *common, severity="High", tactics=(t,))
        for n, m, machine, t in (("x", 0, WS1, "Execution"), ("y", 0.1, WS2, "Impact"))
    ]
    correlator = Correlator()
    correlator.add([*seen, pair[0]])
    (candidate,) = [c for c in correlator.preview(pair[1]) if c.incident.first == pair[0].time]
    points = [r.weight for r in candidate.reasons if "seen with" in r.text]
    assert len(points) == 3
    assert sum(points[1:]) < points[0] / 3
    assert not candidate.joins


@pytest.mark.parametrize(("machines", "gathers"), [(1, True), (7, False)])
def test_a_pattern_gathers_by_nothing_that_many_have(machines: int, gathers: bool) -> None:
    """A scanner that touched a handful of machines still weighs something in a score; alone it leads from no stage to another."""
    scanner = Entity.host("scan.contoso.com")
    stages = tuple(
        Stage(t, (Condition(tactics=frozenset({t}), severities=frozenset({"High"})),)) for t in ("Execution", "Impact")
    )
    pattern = Pattern("p", "P", "", "Host", timedelta(hours=6), stages)
    correlator = Correlator(patterns=[pattern])
    correlator.add(
        [alert(f"n{n}", n, machine, scanner, severity="Low") for n, machine in enumerate(MACHINES[:machines])]
    )
    pair = [
        alert(n, 240 + m, machine, scanner, severity="High", tactics=(t,))
        for n, m, machine, t in (("x", 0, WS1, "Execution"), ("y", 300, WS2, "Impact"))
    ]
    correlator.add(pair)
    told = [a for i in correlator.incidents for a in i.alerts if a.alert.product == PRODUCT]
    assert bool(told) is gathers


def test_the_reason_says_that_the_accounts_are_others() -> None:
    correlator = Correlator()
    correlator.add([*fleet(every=240), alert("x", LATER, WS1, ANN, tactics=("Execution",))])
    candidate, *_ = correlator.preview(alert("y", LATER + 0.1, WS1, BOB, tactics=("Discovery",)))
    assert not candidate.joins
    assert any(r.text.startswith("same host ws1") and "under other accounts" in r.text for r in candidate.reasons)


@settings(max_examples=30, deadline=None)
@given(st.permutations([(ANN, 0.0), (BOB, 0.1), (None, 0.2), (Entity.account("CONTOSO\\eve"), 0.3), (ANN, 0.4)]))
def test_who_came_first_on_a_machine_changes_nothing(order: list[tuple[Entity | None, float]]) -> None:
    def grouped(came: Iterable[tuple[Entity | None, float]]) -> set[frozenset[str]]:
        alerts = [alert(f"who{after}", LATER + after, WS1, who, tactics=("Execution",)) for who, after in came]
        return groups(alerts, BEFORE)

    assert grouped(order) == grouped(sorted(order, key=lambda o: o[1]))
