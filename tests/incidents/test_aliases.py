"""Aliases: whose an address or a name was at a time, what that joins and why, and what it must not glue together."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.incidents.test_correlate import T0, alert
from tocsin.detect.alert import Alert
from tocsin.incidents import Correlator, Incident
from tocsin.incidents.aliases import AliasBook, Claim
from tocsin.incidents.teaching import claim_of_row, row_of_claim
from tocsin.tables import Entity
from tocsin.tables.aliases import joining_keys

HOUR = timedelta(hours=1)
WS1 = Entity.host("ws1.contoso.com")
ADDRESS = Entity("IP", {"Address": "10.0.0.5"})


def at(minute: float) -> datetime:
    return T0 + timedelta(minutes=minute)


def lease(
    host: str, address: str, minute: float, *, hours: float = 8, last: float | None = None, scope: str = ""
) -> Claim:
    return Claim(
        "Host", "Name", host, "Address", address, at(minute), at(minute if last is None else last), 0.9, "DHCP", lasts=hours * HOUR, exclusive=True,
        scope=scope, row={"Mac": "00:11"},
    )  # fmt: skip


def logon(host: str, address: str, minute: float, last: float | None = None) -> Claim:
    return Claim(
        "Host", "Name", host, "Address", address, at(minute), at(minute if last is None else last), 0.8, "DeviceLogonEvents", lasts=HOUR
    )  # fmt: skip


def account(one_kind: str, one: str, other_kind: str, other: str, minute: float = 0) -> Claim:
    days = timedelta(days=30)
    return Claim("Account", one_kind, one, other_kind, other, at(minute), at(minute), 1.0, "IdentityInfo", days, days)


def host_of(book: AliasBook, minute: float, entity: Entity = ADDRESS) -> list[str]:
    return [a.other.label for a in book.known_as(entity, at(minute), at(minute)) if a.other.type == "Host"]


# ------------------------------------------------------------------------------------------------ whose it was


def test_a_lease_holds_from_when_it_was_given_until_it_ends() -> None:
    book = AliasBook([lease("ws1.contoso.com", "10.0.0.5", 0, hours=2)])
    assert [host_of(book, m) for m in (-1, 0, 119, 120)] == [[], ["ws1.contoso.com"], ["ws1.contoso.com"], []]


def test_an_address_that_changes_hands_is_each_hosts_in_its_time() -> None:
    book = AliasBook([lease("ws1", "10.0.0.5", 0), lease("ws2", "10.0.0.5", 60), lease("ws1", "10.0.0.9", 61)])
    assert host_of(book, 59) == ["ws1"]
    assert host_of(book, 61) == ["ws2"]
    first = book.known_as(ADDRESS, at(10), at(10))[0]
    assert (first.start, first.end) == (at(0), at(60))
    # What lasted over the change is of neither.
    assert book.known_as(ADDRESS, at(50), at(70)) == []


def test_a_released_address_is_nobodys() -> None:
    book = AliasBook([lease("ws1", "10.0.0.5", 0), lease("ws1", "10.0.0.5", 30, hours=0)])
    assert [host_of(book, m) for m in (29, 31)] == [["ws1"], []]


@pytest.mark.parametrize(
    "claims",
    [
        [logon("ws1", "10.0.0.5", 0, 60), logon("ws2", "10.0.0.5", 20, 40)],
        [logon("ws1", "10.0.0.5", 0), logon("ws2", "10.0.0.5", 10), logon("ws1", "10.0.0.5", 20)],
        [logon(f"ws{n}", "10.0.0.5", 10 * n) for n in range(3)],
        [lease("gateway", "10.0.0.5", 0), *(logon(f"ws{n}", "10.0.0.5", 10 * n) for n in range(3))],
    ],
    ids=["at once", "back and forth", "three", "a gateway with a lease"],
)
def test_an_address_that_several_hosts_have_is_nobodys(claims: list[Claim]) -> None:
    assert host_of(AliasBook(claims), 30) == []


def test_a_private_address_of_two_sites_is_two() -> None:
    book = AliasBook([lease("ws1", "10.0.0.5", 0, scope="berlin"), lease("ws2", "10.0.0.5", 1, scope="paris")])
    assert host_of(book, 30, Entity("IP", {"Address": "10.0.0.5", "AddressScope": "berlin"})) == ["ws1"]
    assert host_of(book, 30, Entity("IP", {"Address": "10.0.0.5", "AddressScope": "paris"})) == ["ws2"]
    assert host_of(book, 30, Entity("IP", {"Address": "10.0.0.5", "AddressScope": "rome"})) == []
    only = AliasBook([lease("ws1", "10.0.0.5", 0, scope="berlin")])
    assert host_of(only, 30) == ["ws1"]


def test_an_account_is_known_by_all_that_follows() -> None:
    book = AliasBook(
        [
            account("Upn", "ann@contoso.com", "Sid", "s-1-5-21-1-2-3-1001"),
            account("Upn", "ann@contoso.com", "ObjectId", "aad-1"),
            account("Upn", "ann@contoso.com", "Name", "corp\\ann.a"),
            account("Upn", "ann@contoso.com", "Mailbox", "ann.a@mail.contoso.com"),
        ]
    )
    found = book.known_as(Entity("Account", {"Sid": "S-1-5-21-1-2-3-1001"}), T0, T0)
    assert {a.other.label for a in found} == {"ann@contoso.com", "aad-1", "corp\\ann.a", "ann.a@mail.contoso.com"}
    assert book.known_as(Entity("Account", {"Sid": "S-1-5-18"}), T0, T0) == []
    mailbox = book.known_as(Entity("Mailbox", {"MailboxPrimaryAddress": "ann.a@mail.contoso.com"}), T0, T0)
    assert "ann@contoso.com" in {a.other.label for a in mailbox}


def test_a_name_that_is_two_peoples_says_nothing_of_the_sid() -> None:
    book = AliasBook(
        [
            account("Name", "ws1\\admin", "Sid", "s-1-5-21-1-1-1-500"),
            account("Name", "ws1\\admin", "Sid", "s-1-5-21-2-2-2-500"),
        ]
    )
    assert book.known_as(Entity("Account", {"Name": "ws1\\admin"}), T0, T0) == []


def test_an_address_leads_to_the_device_id_and_is_less_sure_of_it() -> None:
    device = Claim("Host", "Name", "ws1.contoso.com", "DeviceId", "d1", T0, T0, 0.9, "DeviceInfo", lasts=24 * HOUR)
    book = AliasBook([lease("ws1.contoso.com", "10.0.0.5", 0), device])
    found = {a.other.identifiers.get("DeviceId", ""): a for a in book.known_as(ADDRESS, at(5), at(5))}
    assert found["d1"].confidence == pytest.approx(0.81)
    assert found["d1"].source == "DHCP, DeviceInfo"


CLAIMS = st.builds(
    lambda host, address, minute, length, exclusive: (
        lease(host, address, minute, hours=1, last=minute + length)
        if exclusive
        else logon(host, address, minute, minute + length)
    ),
    st.sampled_from(["ws1", "ws2", "ws3.contoso.com"]),
    st.sampled_from(["10.0.0.5", "10.0.0.6"]),
    st.integers(0, 300),
    st.integers(0, 50),
    st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(CLAIMS, max_size=10), st.integers(-10, 400))
def test_an_address_is_at_most_one_hosts_and_only_while_it_holds(claims: list[Claim], minute: int) -> None:
    found = AliasBook(claims).known_as(ADDRESS, at(minute), at(minute))
    assert len({a.other.label.partition(".")[0] for a in found if a.other.type == "Host"}) <= 1
    assert all(a.start <= at(minute) <= a.end and 0.5 <= a.confidence <= 1 for a in found)


@settings(max_examples=100, deadline=None)
@given(st.lists(CLAIMS, max_size=8))
def test_a_book_is_the_same_after_a_restart(claims: list[Claim]) -> None:
    book = AliasBook()
    grown = {c.id: c for c, _ in book.learn(claims)}
    again = AliasBook(claim_of_row(row_of_claim(c)) for c in grown.values())
    for minute in range(0, 400, 20):
        assert again.known_as(ADDRESS, at(minute), at(minute)) == book.known_as(ADDRESS, at(minute), at(minute))


# ------------------------------------------------------------------------------------------------ what it joins


def by_id(*alerts: Alert) -> set[frozenset[str]]:
    correlator = Correlator()
    correlator.add(alerts)
    return {frozenset(i.alert_ids()) for a in alerts if (i := correlator.holding(a.id))}


BOOK = AliasBook([lease("ws1.contoso.com", "10.0.0.5", 0)])


def test_an_alert_joins_by_an_alias_and_the_reason_says_which() -> None:
    first = alert("a", 1, WS1, tactics=("Execution",))
    second = BOOK.resolve(alert("b", 5, ADDRESS, tactics=("Discovery",)))
    correlator = Correlator()
    correlator.add([first, second])
    (incident,) = correlator.incidents
    reason = incident.alerts[1].linked_by[0]
    assert reason.text == (
        "same host ws1.contoso.com; 10.0.0.5 was ws1.contoso.com from 2026-03-01 09:00 UTC to 2026-03-01 17:00 UTC, "
        "learned from DHCP, confidence 0.9"
    )
    # A host's 45 points, scaled by how sure the alias is.
    assert reason.weight == pytest.approx(45 * 0.9)


def test_an_alias_is_worth_less_the_less_sure_it_is() -> None:
    unsure = AliasBook(
        [Claim("Host", "Name", "ws1.contoso.com", "Address", "10.0.0.5", T0, T0, 0.6, "DNS", lasts=HOUR)]
    )
    first = alert("a", 1, WS1, tactics=("Execution",))
    assert len(by_id(first, unsure.resolve(alert("b", 5, ADDRESS, tactics=("Discovery",))))) == 2


def test_an_alias_is_used_at_the_alerts_time_only() -> None:
    book = AliasBook([lease("ws1.contoso.com", "10.0.0.5", 0), lease("ws2.contoso.com", "10.0.0.5", 60)])
    first = alert("a", 1, WS1, tactics=("Execution",), severity="High")
    later = book.resolve(alert("b", 70, ADDRESS, tactics=("Discovery",), severity="High"))
    assert len(by_id(first, later)) == 2


def test_a_mail_alert_and_a_logon_alert_meet_by_the_directory() -> None:
    book = AliasBook([account("Upn", "ann@contoso.com", "Sid", "s-1-5-21-1-2-3-1001")])
    mail = book.resolve(
        alert("mail", 0, Entity("Mailbox", {"MailboxPrimaryAddress": "ann@contoso.com"}), tactics=("InitialAccess",))
    )
    run = book.resolve(alert("run", 20, Entity("Account", {"Sid": "S-1-5-21-1-2-3-1001"}), tactics=("Execution",)))
    assert len(by_id(mail, run)) == 1


def attack(name: str, minute: float, *entities: Entity) -> Alert:
    return alert(name, minute, *entities, severity="High", tactics=("Execution",))


@pytest.mark.parametrize("exclusive", [False, True], ids=["seen", "leased"])
def test_two_attacks_behind_one_address_stay_two(exclusive: bool) -> None:
    gateway = [lease("gateway", "10.0.0.5", 0)] if exclusive else []
    book = AliasBook([*gateway, *(logon(f"pc{n}", "10.0.0.5", 5 * n) for n in range(6))])
    one = [attack("a", 31, Entity.host("ws1.contoso.com"), ADDRESS), attack("b", 33, ADDRESS)]
    other = [attack("c", 32, Entity.host("ws2.contoso.com"), ADDRESS), attack("d", 34, ADDRESS)]
    alerts = [book.resolve(a) for a in (*one, *other)]
    assert not any(a.aliases for a in alerts)
    assert len(by_id(alerts[0], alerts[2])) == 2


def test_two_attacks_through_a_jump_host_stay_two() -> None:
    book = AliasBook([lease("jump01", "10.0.0.5", 0)])
    jump = [
        attack("a", 10, Entity.host("srv1.contoso.com"), ADDRESS),
        attack("c", 12, Entity.host("srv2.contoso.com"), ADDRESS),
    ]
    assert len(by_id(*map(book.resolve, jump))) == 1  # nothing says yet that many use it
    book.shared = frozenset(joining_keys(Entity.host("jump01")))
    assert len(by_id(*map(book.resolve, jump))) == 2


def test_a_shared_account_is_nobody_in_particular_under_no_name() -> None:
    book = AliasBook([account("Upn", "backup@contoso.com", "Sid", "s-1-5-21-1-2-3-1500")])
    book.shared = frozenset(joining_keys(Entity("Account", {"Name": "backup@contoso.com"})))
    by_sid = Entity("Account", {"Sid": "S-1-5-21-1-2-3-1500"})
    one = attack("a", 10, Entity.host("srv1.contoso.com"), by_sid)
    other = attack("b", 12, Entity.host("srv2.contoso.com"), Entity("Account", {"Name": "backup@contoso.com"}))
    assert len(by_id(book.resolve(one), book.resolve(other))) == 2


def test_many_hosts_behind_an_alias_make_it_count_for_little() -> None:
    """Rarity is counted for what an alias says too: an account under its SID on ten machines is no rarer under its name."""
    book = AliasBook([account("Upn", "svc@contoso.com", "Sid", "s-1-5-21-1-2-3-1500")])
    sid = Entity("Account", {"Sid": "S-1-5-21-1-2-3-1500"})
    crowd = [alert(f"n{n}", 10 * n, Entity.host(f"pc{n}.contoso.com"), sid, severity="Low") for n in range(12)]
    one = attack("a", 200, Entity.host("srv1.contoso.com"), sid)
    other = attack("b", 210, Entity.host("srv2.contoso.com"), Entity("Account", {"Name": "svc@contoso.com"}))
    correlator = Correlator()
    correlator.add([book.resolve(a) for a in (*crowd, one, other)])
    assert correlator.holding(one.id) is not correlator.holding(other.id)


# ------------------------------------------------------------------------------------------------ order, replay, late learning


ALERTS = [
    alert("a", 1, WS1, tactics=("Execution",)),
    alert("b", 5, ADDRESS, tactics=("Discovery",)),
    alert("c", 9, Entity("Host", {"DeviceId": "d1"}), tactics=("Collection",)),
    alert("d", 9, Entity.host("ws7.contoso.com"), tactics=("Execution",)),
]
FULL = AliasBook(
    [
        lease("ws1.contoso.com", "10.0.0.5", 0),
        Claim("Host", "Name", "ws1.contoso.com", "DeviceId", "d1", T0, T0, 1.0, "DeviceInfo", lasts=24 * HOUR),
    ]
)


def test_order_of_arrival_changes_no_members() -> None:
    resolved = [FULL.resolve(a) for a in ALERTS]
    made = [by_id(*order) for order in permutations(resolved)]
    assert made == [{frozenset(a.id for a in ALERTS[:3]), frozenset({ALERTS[3].id})}] * len(made)


@pytest.mark.parametrize("learned_after", range(4))
def test_what_is_learned_late_ends_in_the_same_incidents(learned_after: int) -> None:
    correlator = Correlator()
    known = [a if n < learned_after else FULL.resolve(a) for n, a in enumerate(ALERTS)]
    correlator.add(known[:learned_after])
    for each in known[:learned_after]:
        correlator.learn(FULL.resolve(each))
    correlator.add(known[learned_after:])
    assert {frozenset(i.alert_ids()) for i in correlator.incidents} == by_id(*(FULL.resolve(a) for a in ALERTS))


def test_a_merge_by_what_was_learned_late_says_so() -> None:
    correlator = Correlator()
    correlator.add(ALERTS[:2])
    changes = correlator.learn(FULL.resolve(ALERTS[1]))
    assert [c.kind for c in changes] == ["merged", "updated"]
    reasons = [r.text for a in correlator.incidents[0].alerts for r in a.linked_by]
    assert any("10.0.0.5 was ws1.contoso.com from" in r and "joins both" in r for r in reasons)


def test_the_aliases_are_kept_with_the_alert_so_a_replay_needs_no_book() -> None:
    correlator = Correlator()
    correlator.add([FULL.resolve(a) for a in ALERTS])
    kept = [Incident.from_record(i.to_record()) for i in correlator.incidents]
    replayed = Correlator()
    replayed.add([Alert.from_dict(FULL.resolve(a).to_dict()) for a in ALERTS])
    assert [(i.id, [(a.alert.id, a.linked_by) for a in i.alerts]) for i in replayed.incidents] == [
        (i.id, [(a.alert.id, a.linked_by) for a in i.alerts]) for i in correlator.incidents
    ]
    again = Correlator(kept)
    late = alert("e", 12, Entity("Host", {"DeviceId": "d1"}), tactics=("Exfiltration",), severity="High")
    again.add([late])
    correlator.add([late])
    assert [(i.id, i.alert_ids()) for i in again.incidents] == [(i.id, i.alert_ids()) for i in correlator.incidents]
