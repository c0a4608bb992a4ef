"""Multistage patterns: each shipped one fires on its stages and on nothing less; bad ones are refused with their place."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.incidents.test_correlate import ANN, BOB, WS1, WS2, alert
from tocsin.content import load_packs, packs_dir
from tocsin.detect.alert import Alert
from tocsin.detect.cases import run_case
from tocsin.detect.load import rules_of_content
from tocsin.incidents import Correlator, Incident
from tocsin.incidents.fusion import PRODUCT, Fusion, Pattern, Stage, patterns_of, shipped_patterns
from tocsin.incidents.links import shipped_links
from tocsin.incidents.model import LinkedAlert
from tocsin.incidents.priority import Judge, priority
from tocsin.incidents.signature import signature
from tocsin.query import QueryService
from tocsin.tables import Entity, catalogue

IPS = [Entity("IP", {"Address": a}) for a in ("8.8.8.8", "9.9.9.9")]
THINGS = {"Host": (WS1, WS2), "Account": (ANN, BOB), "IP": (IPS[0], IPS[1])}
PATTERNS = {p.id: p for p in shipped_patterns()}


def of_stage(stage: Stage, minute: float, *entities: Entity | None) -> list[Alert]:
    """The least that fulfils a stage, by its first condition."""
    condition = stage.conditions[0]
    tactics = sorted(condition.tactics) or ["Impact"]
    count = max(stage.rules, stage.tactics)
    return [
        alert(
            f"{stage.name}-{n}",
            minute + n / 10,
            *entities,
            severity=min(condition.severities) if condition.severities else "Low",
            tactics=(tactics[n % len(tactics)],),
            techniques=condition.techniques[:1],
            product=min(condition.products) if condition.products else "Tocsin",
            tags=tuple(condition.tags)[:1],
        )
        for n in range(count)
    ]


def fired(pattern: Pattern, alerts: list[Alert]) -> list[tuple[str, int]]:
    """The pattern's alerts: the incident's title and how many alerts it holds beside."""
    correlator = Correlator(patterns=[pattern])
    correlator.add(alerts)
    return [
        (a.alert.title, len(i.alerts) - 1) for i in correlator.incidents for a in i.alerts if a.alert.product == PRODUCT
    ]


def test_there_are_patterns() -> None:
    assert {"fusion-ransomware-on-a-host", "fusion-hands-on-keyboard"} <= PATTERNS.keys()


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_fires_on_its_stages_and_gathers_them(name: str) -> None:
    pattern = PATTERNS[name]
    things = [THINGS[join][0] for join in dict.fromkeys(pattern.joins)]
    alerts = [a for n, s in enumerate(pattern.stages) for a in of_stage(s, 2 * n, *things)]
    ((title, count),) = fired(pattern, alerts)
    assert title.startswith(pattern.name)
    assert count == len(alerts)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_needs_every_stage_in_time_on_one_thing(name: str) -> None:
    pattern = PATTERNS[name]
    one, other = zip(*(THINGS[join] for join in dict.fromkeys(pattern.joins)), strict=True)
    parts = [of_stage(s, 2 * n, *one) for n, s in enumerate(pattern.stages)]
    for missing in range(len(parts)):
        kept = [a for n, part in enumerate(parts) if n != missing for a in part]
        assert fired(pattern, kept) == [], f"without {pattern.stages[missing].name}"
    late = pattern.window.total_seconds() / 60 + 5
    *before, last = pattern.stages
    early = [a for part in parts[:-1] for a in part] or of_stage(last, 0, *one)[:-1]
    assert fired(pattern, early + of_stage(last, late + 2 * len(before), *one)[-1:]) == []
    apart = [a for part in parts[:-1] for a in part] or of_stage(last, 0, *one)[:-1]
    assert fired(pattern, apart + of_stage(last, 2 * len(before), *other)[-1:]) == []


HAND = ("Discovery", "Execution", "CredentialAccess", "Discovery", "Persistence")


@pytest.mark.parametrize(
    ("names", "tactics", "step"),
    [
        (["same"] * 5, HAND, 1),  # one rule that repeats itself
        (["a", "b", "c", "d", "e"], ["Discovery", "Execution"] * 3, 1),  # an inventory: two stages
        (["a", "b", "c", "d", "e"], HAND, 6),  # a day's administration, in no hurry
        (["a", "b", "c", "d"], HAND, 1),  # four things
    ],
)
def test_work_that_only_resembles_hands_on_keyboard_is_none(names: list[str], tactics: list[str], step: float) -> None:
    pattern = PATTERNS["fusion-hands-on-keyboard"]

    def made(names: list[str], tactics: list[str], step: float) -> list[Alert]:
        at = enumerate(zip(names, tactics, strict=False))
        return [alert(f"{n}", i * step, WS1, ANN, severity="Low", tactics=(t,)) for i, (n, t) in at]

    burst = made(["a", "b", "c", "d", "e"], list(HAND), 1)
    assert len(fired(pattern, burst)) == 1
    assert fired(pattern, made(names, list(tactics), step)) == []


def test_ransomware_that_spreads_is_one_incident_and_comes_first() -> None:
    """A service account reaches three machines and each begins to encrypt: one incident of High severity with the tag that priority counts."""
    hosts = [Entity.host(f"srv{n}.contoso.com") for n in range(3)]
    moves = [alert("move", 40 * n, h, ANN, severity="Low", tactics=("LateralMovement",)) for n, h in enumerate(hosts)]
    ends = [
        alert("end", 130 + n, h, ANN, severity="Medium", tactics=("Impact",), techniques=("T1486",))
        for n, h in enumerate(hosts)
    ]
    correlator = Correlator(patterns=list(PATTERNS.values()))
    correlator.add([*moves, *ends])
    (incident,) = correlator.incidents
    assert {a.alert.id for a in incident.alerts} >= {a.id for a in (*moves, *ends)}
    assert "ransomware" in incident.facts.tags
    judge = Judge()
    without = [LinkedAlert(a) for a in (*moves, *ends)]
    assert priority(incident, judge)[0] > priority(Incident("i", 1, without), judge)[0]
    assert "tagged ransomware" in {r.text for r in priority(incident, judge)[1]}
    # The same encryption by somebody who went nowhere is one machine's matter: this pattern is silent.
    lone = PATTERNS["fusion-lateral-movement-then-ransomware"]
    assert fired(lone, [moves[0], alert("other", 130, hosts[0], BOB, tactics=("Impact",), techniques=("T1486",))]) == []
    assert (
        fired(lone, [*(alert(f"e{n}", n, WS1, ANN, tactics=("Impact",), techniques=("T1486",)) for n in range(5))])
        == []
    )


def test_ordered_stages_must_come_in_order() -> None:
    pattern = PATTERNS["fusion-phish-then-execution"]
    first, second = pattern.stages
    assert fired(pattern, [*of_stage(second, 0, ANN), *of_stage(first, 30, ANN)]) == []


def seen(
    name: str, minute: float, thing: Entity | None, *techniques: str, tactic: str = "", severity: str = "Medium"
) -> Alert:
    return alert(name, minute, thing, severity=severity, techniques=techniques, tactics=(tactic,) if tactic else ())


IP = IPS[0]


@pytest.mark.parametrize(
    ("pattern", "first", "last", "fires"),
    [
        # Who attacks from the address, and whose address it is that a click or a mail names.
        ("address-attacks-then-signs-in", ("exploit", IP, "T1190"), ("in", IP, "T1078"), True),
        ("address-attacks-then-signs-in", ("scan", IP, "T1595.002"), ("in", IP, "T1078"), True),
        ("address-attacks-then-signs-in", ("looks", IP, "T1590"), ("in", IP, "T1078"), True),
        ("address-attacks-then-signs-in", ("click", IP, "T1566.002"), ("in", IP, "T1078"), False),
        ("address-attacks-then-signs-in", ("asked", IP, "T1598"), ("in", IP, "T1078"), False),
        ("address-attacks-then-signs-in", ("in", IP, "T1078"), ("again", IP, "T1078"), False),
        ("address-signs-in-then-takes", ("risky", IP, "T1078"), ("files", IP, "T1530"), True),
        ("address-signs-in-then-takes", ("old?", IP, "T1078"), ("files", IP, "T1530"), False),
        ("address-signs-in-then-takes", ("click", IP, "T1566.002"), ("files", IP, "T1530"), False),
        # Guesses that failed, and one that succeeded.
        ("sign-in-then-administration", ("spray", ANN, "T1110.003"), ("rights", ANN, "T1098"), False),
        ("sign-in-then-administration", ("spray!", ANN, "T1110.003"), ("rights", ANN, "T1098"), True),
        ("credentials-then-lateral-movement", ("spray", ANN, "T1110"), ("moves", ANN, "T1021"), False),
        ("credentials-then-lateral-movement", ("spray!", ANN, "T1110"), ("moves", ANN, "T1021"), True),
        ("credentials-then-lateral-movement", ("dump", ANN, "T1003"), ("moves", ANN, "T1021"), True),
        # Whoever sets up a second factor and a device has not signed in suspiciously; a mail that came is no click.
        ("sign-in-then-administration", ("factor", ANN, "T1556.006"), ("rights", ANN, "T1098"), False),
        ("sign-in-then-mail-rules", ("mail?", ANN, "T1566.001"), ("rule", ANN, "T1564.008"), False),
        ("sign-in-then-mail-rules", ("click", ANN, "T1566.002"), ("rule", ANN, "T1564.008"), True),
        # One rule that fits both stages has seen one thing twice.
        ("remote-execution-then-control", ("tool", WS1, "T1021", "T1105"), ("tool", WS1, "T1021", "T1105"), False),
        ("remote-execution-then-control", ("tool", WS1, "T1021", "T1105"), ("other", WS1, "T1021", "T1105"), True),
    ],
)
def test_what_resembles_a_stage_is_none(
    pattern: str, first: tuple[str, ...], last: tuple[str, ...], fires: bool
) -> None:
    """`!` in a rule's name: of High severity, `?`: of Low."""
    tactics = {
        "T1190": "InitialAccess", "T1595": "Reconnaissance", "T1590": "Reconnaissance", "T1598": "Reconnaissance", "T1566": "InitialAccess",
        "T1078": "InitialAccess", "T1110": "CredentialAccess", "T1003": "CredentialAccess", "T1556": "CredentialAccess", "T1021": "LateralMovement",
        "T1098": "Persistence", "T1530": "Collection", "T1564": "DefenseEvasion",
    }  # fmt: skip

    def made(minute: float, name: str, thing: Entity, *techniques: str) -> Alert:
        severity = "High" if "!" in name else "Low" if "?" in name else "Medium"
        alert_ = seen(name, minute, thing, *techniques, tactic=tactics[techniques[0].split(".")[0]], severity=severity)
        return replace(alert_, tactics=(*alert_.tactics, "CommandAndControl")) if "T1105" in techniques else alert_

    alerts = [made(0, *first), made(9, *last)]  # type: ignore[arg-type]
    assert bool(fired(PATTERNS[f"fusion-{pattern}"], alerts)) is fires


def test_each_stage_finds_a_rule_of_its_own_where_there_is_one() -> None:
    pattern = PATTERNS["fusion-remote-execution-then-control"]
    both = ("LateralMovement", "CommandAndControl")
    one, two = alert("both", 0, WS1, tactics=both), alert("moves", 1, WS1, tactics=both[:1])
    assert fired(pattern, [one, two]) == [], "the line out came first"
    three = alert("both", 2, WS1, tactics=both)
    assert fired(pattern, [one, two, three]) == [(f"{pattern.name}: {WS1.label}", 3)]


def test_what_begins_anew_after_the_last_stage_is_no_part_of_it() -> None:
    pattern = PATTERNS["fusion-phish-then-execution"]
    first, second = pattern.stages
    watching = Fusion([pattern])

    def noticed(alerts: list[Alert]) -> list[str]:
        signs = [(a, signature(a, shipped_links())) for a in alerts]
        found = [f for a, sign in signs for f in watching.notice(a, sign, list(sign.things))]
        return [a.id for a in found[-1].alerts] if found else []

    chain = [*of_stage(first, 0, ANN), *of_stage(second, 30, ANN)]
    again, end = of_stage(first, 60, ANN), of_stage(second, 90, ANN)
    assert noticed(chain) == [a.id for a in chain]
    assert noticed(again) == []
    # Until the last stage is seen once more.
    assert noticed(end) == [a.id for a in (*chain, *again, *end)]


def test_stages_on_two_incidents_become_one_and_say_why() -> None:
    pattern = PATTERNS["fusion-credentials-then-lateral-movement"]
    apart = timedelta(hours=20).total_seconds() / 60
    correlator = Correlator(patterns=[pattern])
    correlator.add([alert("dump", 0, WS1, ANN, severity="Medium", tactics=("CredentialAccess",))])
    changes = correlator.add([alert("move", apart, WS2, ANN, tactics=("LateralMovement",))])
    (incident,) = correlator.incidents
    (said,) = [a for a in incident.alerts if a.alert.product == PRODUCT]
    assert said.alert.severity == "High"
    assert "credentials taken ('dump'), movement to another machine ('move')" in said.linked_by[0].text
    assert [c.kind for c in changes] == ["updated"]


def test_it_is_told_once_an_incident() -> None:
    pattern = PATTERNS["fusion-collected-then-sent-out"]
    alerts = [a for n in range(6) for s in pattern.stages for a in of_stage(s, 3 * n, WS1)]
    assert len(fired(pattern, alerts)) == 1


def test_an_alert_that_may_not_be_correlated_is_no_stage() -> None:
    pattern = PATTERNS["fusion-collected-then-sent-out"]
    first, second = pattern.stages
    lone = [alert("x", 1, WS1, tactics=("Exfiltration",), correlate=False)]
    assert fired(pattern, [*of_stage(first, 0, WS1), *lone]) == []
    assert second.fits(lone[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("join: Machine\nwindow: 1h\nstages: [{name: a, any: [{tactics: [Impact]}]}]", "'join' is one of"),
        ("join: Host\nwindow: soon\nstages: [{name: a, any: [{tactics: [Impact]}]}]", "'window' is a time"),
        ("join: Host\nwindow: 1h\nstages: [{name: a, any: [{tactics: [Impct]}]}]", "There is no 'Impct'"),
        ("join: Host\nwindow: 1h\nstages: [{name: a, any: [{titel: x}]}]", "There is no 'titel' here"),
        ("join: Host\nwindow: 1h\nstages: [{name: a, any: [{title: '('}]}]", "no regular expression"),
        ("join: Host\nwindow: 1h\nstages: [{name: a, any: [{except: {tactics: [Impact]}}]}]", "can't stand alone"),
        (
            "join: Host\nwindow: 1h\nstages: [{name: a, any: [{tactics: [Impact], except: {tactic: [Impact]}}]}]",
            "There is no 'tactic'",
        ),
        (
            "join: Host\nwindow: 1h\nstages: [{name: a, any: [{tactics: [Impact], except: {}}]}]",
            "A condition is a mapping",
        ),
        (
            "join: Host\nwindow: 1h\nstages: [{name: a, any: [{tactics: [Impact], except: {tags: [x], except: {tags: [y]}}}]}]",
            "no exceptions",
        ),
        ("join: Host\nwindow: 1h\nstages: [{name: a}]", "A stage has"),
        ("join: Host\nwindow: 1h\nstages: []", "at least one stage"),
        ("join: Host\nwindow: 1h\nstages: [{name: a, rules: 0, any: [{tactics: [Impact]}]}]", "whole number from 1"),
    ],
)
def test_a_bad_pattern_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    folder = tmp_path / "p" / "fusion"
    folder.mkdir(parents=True)
    (tmp_path / "p" / "pack.yaml").write_text("{id: p, name: P, version: '1'}", encoding="utf-8")
    (folder / "x.yaml").write_text(f"id: x\nname: X\n{text}\n", encoding="utf-8")
    patterns, problems = patterns_of(load_packs([tmp_path / "p"]))
    assert patterns == []
    assert said in str(problems[0])
    assert problems[0].place is not None
    assert problems[0].place.line


CHAIN = """
id: chain
name: Chain
join: MailMessage
window: 24h
{more}
stages:
  - name: mail
    any: [{{techniques: [T1566]}}]
  - name: opened
    any: [{{techniques: [T1204]}}]
  - name: runs
    join: Account
    any: [{{tactics: [Execution]}}]
  - name: spreads
    join: Host
    alerts: {count}
    any: [{{tactics: [Impact], severities: [High, Low]}}]
"""


def own(tmp_path: Path, text: str) -> list[Pattern]:
    """The patterns of a pack with that one, which must be right."""
    (tmp_path / "fusion").mkdir(exist_ok=True)
    (tmp_path / "pack.yaml").write_text("id: own\nname: Own\nversion: 1.0.0\n")
    (tmp_path / "fusion/own.yaml").write_text(text)
    patterns, problems = patterns_of(load_packs([tmp_path]))
    assert not problems
    return patterns


def chain(minutes: tuple[float, ...] = (0, 10, 20, 30)) -> list[Alert]:
    """A message, its opening by Ann, something that runs under Ann on WS1, and what WS1 does then: no two neighbours share more than that."""
    mail = Entity("MailMessage", {"NetworkMessageId": "m-1", "Recipient": "ann@contoso.com"})
    at = iter(minutes)
    return [
        alert("mail", next(at), mail, severity="Low", techniques=("T1566.002",)),
        alert("opened", next(at), mail, ANN, severity="Low", techniques=("T1204.001",)),
        alert("runs", next(at), ANN, WS1, severity="Low", tactics=("Execution",)),
        alert("spreads", next(at), WS1, severity="Low", tactics=("Impact",)),
    ]


def test_stages_may_share_things_of_different_types(tmp_path: Path) -> None:
    (pattern,) = own(tmp_path, CHAIN.format(more="", count=1))
    alerts = chain()
    assert pattern.joins == ("MailMessage", "MailMessage", "Account", "Host")
    assert [count for _, count in fired(pattern, alerts)] == [4]
    for order in ([3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]):  # as they may come; when they happened is what counts
        assert [count for _, count in fired(pattern, [alerts[n] for n in order])] == [4]
    for missing in range(4):
        assert fired(pattern, [a for n, a in enumerate(alerts) if n != missing]) == []
    elsewhere = alert("spreads", 30, WS2, severity="Low", tactics=("Impact",))
    assert fired(pattern, [*alerts[:3], elsewhere]) == []
    stranger = alert("runs", 20, BOB, WS1, severity="Low", tactics=("Execution",))
    assert fired(pattern, [*alerts[:2], stranger, alerts[3]]) == []


def test_order_and_counts_hold_along_a_chain(tmp_path: Path) -> None:
    backwards = chain((0, 10, 30, 20))
    (ordered,) = own(tmp_path, CHAIN.format(more="", count=1))
    assert fired(ordered, backwards) == []
    (free,) = own(tmp_path, CHAIN.format(more="ordered: false", count=1))
    assert [count for _, count in fired(free, backwards)] == [4]
    (often,) = own(tmp_path, CHAIN.format(more="", count=3))
    again = [alert(f"spreads-{n}", 31 + n, WS1, severity="Low", tactics=("Impact",)) for n in range(2)]
    assert fired(often, chain()) == []
    assert [count for _, count in fired(often, [*chain(), *again])] == [6]


@pytest.mark.parametrize(
    ("was", "wrong", "says", "hint"),
    [
        ("join: Host", "join: Hosts", "'join' is one of", "Did you mean 'Host'?"),
        ("join: MailMessage", "join: MailMesage", "'join' is one of", "Did you mean 'MailMessage'?"),
        ("alerts: 1", "alerts: none", "'alerts' is a whole number", ""),
        ("alerts: 1", "alert: 1", "There is no 'alert' here", "Did you mean 'alerts'?"),
        ("[T1566]", "T1566", "'techniques' is a list", "Write techniques: [T1566]."),
        ("[T1566]", "[]", "'techniques' has no values", "Leave it out"),
        ("[T1566]", "[1566]", "'1566' is no technique", "T1059"),
        ("[Execution]", "[Execusion]", "There is no 'Execusion'", "Did you mean 'Execution'?"),
        ("[High, Low]", "[Higher]", "There is no 'Higher'", "Did you mean 'High'?"),
        ("window: 24h", "window: soon", "'window' is a time such as", ""),
        ("window: 24h", 'window: 24h\nordered: "no"', "'ordered' is true or false", ""),
        ("window: 24h", "window: 24h\ntags: x", "'tags' is a list", "Write tags: [x]."),
        ("  - name: mail\n", "  - name: mail\n    join: Host\n", "The first stage has no stage before it", ""),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, was: str, wrong: str, says: str, hint: str) -> None:
    text = CHAIN.format(more="", count=1)
    assert was in text
    (tmp_path / "fusion").mkdir()
    (tmp_path / "pack.yaml").write_text("id: own\nname: Own\nversion: 1.0.0\n")
    (tmp_path / "fusion/own.yaml").write_text(text.replace(was, wrong, 1))
    content = load_packs([tmp_path])
    patterns, problems = patterns_of(content)
    (problem,) = [*content.problems, *problems]
    assert patterns == []
    assert says in str(problem)
    assert hint in (problem.hint or "")
    assert problem.place is not None
    assert problem.place.line is not None


def test_an_anomaly_is_a_stage_as_the_packs_tell_it() -> None:
    """From the row of an anomaly to the pattern: the shipped rule makes of it what the shipped pattern asks for."""
    content = load_packs([packs_dir()])
    queries = QueryService(None, catalogue=catalogue(), functions=content.functions)
    try:
        (rule,) = (r for r in rules_of_content(content)[0] if r.name == "Unusual behaviour")
        (file,) = (f for path, f in content.tests.items() if path.stem.startswith("UnusualBehaviour"))
        unusual = run_case(rule, file.cases[0], queries, catalogue()).alerts
    finally:
        queries.close()
    (anomaly,) = unusual
    assert (anomaly.product, anomaly.create_incident, anomaly.said_by) == ("Anomaly", False, f"{rule.id}/r1")
    taken = replace(alert("taken", 0, *anomaly.entities[:1], severity="Medium", tactics=("Exfiltration",)))
    taken = replace(taken, time=anomaly.time + timedelta(hours=2), end=anomaly.time + timedelta(hours=2))
    assert fired(PATTERNS["fusion-anomaly-then-alert"], [anomaly, taken]) == [
        ("Unusual behaviour, then an attack's step: ann@contoso.com", 2)
    ]
