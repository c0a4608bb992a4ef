"""Pairings as a stranger makes them, from the text of the demand alone.

The demand says: *two unrelated datasets interleaved in time on shifted clocks, sharing a domain controller, a NAT address, SYSTEM and a scanner,
with ten times benign noise*. Everything else is left open, so that everything else is drawn by chance here, for each pairing anew:

- The fleet has 5 to 500 machines. Each has a user of its own, or everybody signs in anywhere, or one administrator works on all of them.
- The recordings keep their names or get new ones; both begin at the same time, or the shorter one lies inside the longer one, or one begins
  within the minutes of the other. Their rows stay with the alerts or are gone.
- What is shared is named by every alert of the attacks, with or without any of the noise naming it; or by a quarter of all alerts; or it takes the
  place of what the recordings themselves had (their controllers, their private addresses); the controller by its bare or its full name, the address
  public or private, the scanner as a machine, an address or an account, SYSTEM by its name or its SID.
- The noise is ten times as many alerts: those of other recordings below High, of many rules or of a few, or ones made up; alone or in bursts; a part
  of it the scanner's, which visits one machine after the other. It lasts for four hours to five days before, after or around the
  attacks, and falls on the attacked machines as often as on any, or never.
- The alerts come by time, the attacks first, hour by hour in no order, or in no order at all; all at once as from a scan or a few at a time as on a
  server.

Nothing here was chosen by what correlation makes of it, and nothing is shared with the other makers of pairings (`pairs`) but the recordings, their
alerts, and what is true of them.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.correlation.datasets import Dataset, alerts_of
from bench.correlation.truth import caused

from tocsin.detect.alert import SEVERITIES, Alert
from tocsin.incidents import Correlator
from tocsin.incidents.weights import CorrelationSettings
from tocsin.tables.entities import Entity

__all__ = ["CHOICES", "Judged", "Made", "draw", "judge", "make", "usable"]

CHOICES: Mapping[str, Mapping[Any, float]] = {
    "fleet": {5: 1, 10: 1, 25: 1, 60: 2, 150: 1, 500: 1},
    "hours": {4: 1, 12: 1, 24: 2, 120: 1},
    "noise": {"before": 1, "after": 1, "around": 4},
    "users": {"each his own": 3, "anywhere": 1, "one administrator": 1},
    "names": {"new": 2, "kept": 1},
    "clocks": {"same start": 1, "inside": 1, "minutes apart": 1},
    "rows": {"kept": 3, "gone": 1},
    "shared": {"in every attack's": 1, "in attacks' only": 1, "in a quarter": 1, "in place of": 2},
    "of": {"other recordings": 2, "few rules": 1, "made up": 1},
    "bursts": {"no": 3, "yes": 1},
    "attacked": {"as any": 2, "never": 1},
    "order": {"time": 4, "attacks first": 1, "hours": 1, "none": 1},
    "way": {"scan": 1, "server": 1},
}
"""What is drawn for each pairing, and how much weight each has."""

_TIMES = 10
_START = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
_LEAST_CAUSED = 4
_SCANNED = 0.1
"""So much of the noise is the scanner's."""
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,7})?(?:Z|\+00:00)?")
_GUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_SID = re.compile(r"S-1-5-21-\d+-\d+-\d+(?=-)")
_LOGON = re.compile(r'("\w*LogonId": ")(0x[0-9a-f]{4,})(")', re.IGNORECASE)
_PRIVATE = re.compile(r"\b(?:10(?:\.\d{1,3}){3}|192\.168(?:\.\d{1,3}){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})\b")
_CONTROLLER = re.compile(r"\b(?:mordordc|hfdc\d+|dc\d+)\b", re.IGNORECASE)
_BUILT_IN = frozenset({"system", "administrator", "localservice", "networkservice", "guest", "user", "root"})


@dataclass(frozen=True, slots=True)
class Made:
    """One pairing: what was drawn, the alerts in the order in which they come, which are of which recording, which of those its attack caused."""

    drawn: Mapping[str, Any]
    names: tuple[str, str]
    alerts: tuple[Alert, ...]
    of: tuple[frozenset[str], frozenset[str]]
    caused: tuple[frozenset[str], frozenset[str]]
    batches: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """How it came out."""

    made: Made
    inside: tuple[float, float]
    foreign: tuple[float, float]
    apart: bool
    strangers: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether it is as demanded."""
        return self.apart and min(self.inside) >= 0.9 and max(self.foreign) <= 0.05


def usable(everything: Sequence[Dataset]) -> list[Dataset]:
    """The recordings of whose alerts the attack caused enough to say anything."""
    return [d for d in everything if len(caused(d, alerts_of(d))) >= _LEAST_CAUSED]


def draw(rng: random.Random) -> dict[str, Any]:
    """One of each choice."""
    return {name: rng.choices(list(of), list(of.values()))[0] for name, of in CHOICES.items()}


def make(everything: Sequence[Dataset], seed: str, **fixed: Any) -> Made:
    """The pairing of that seed; `fixed` says what isn't drawn."""
    rng = random.Random(seed)
    drawn = {**draw(rng), **fixed}
    pair = rng.sample(usable(everything), 2)
    shared = _Shared(rng)
    if drawn["names"] == "kept" and _meet(*pair):
        drawn["names"] = "new"  # two laboratories that call their machines alike would be one company
    parts = [_attack(d, n, drawn, rng) for n, d in enumerate(pair)]
    truth = [frozenset(caused(d, alerts_of(d))) for d in pair]
    placed = [_shift(part, at) for part, at in zip(parts, _starts(parts, drawn["clocks"], rng), strict=True)]
    marked = [[shared.in_attack(a, drawn["shared"]) for a in part] for part in placed]
    attacked = sorted(
        {e.identifiers["HostName"] for p in marked for a in p for e in a.entities if "HostName" in e.identifiers}
    )
    noise = _noise(everything, pair, attacked, (placed[0], placed[1]), drawn, shared, rng)
    if drawn["rows"] == "gone":
        marked = [[replace(a, events=()) for a in part] for part in marked]
        noise = [replace(a, events=()) for a in noise]
    alerts = _in_order(marked, noise, drawn["order"], rng)
    batches = (len(alerts),) if drawn["way"] == "scan" else tuple(rng.randint(1, 25) for _ in alerts)
    return Made(
        drawn, (pair[0].name, pair[1].name), tuple(alerts),
        (frozenset(a.id for a in marked[0]), frozenset(a.id for a in marked[1])),
        (frozenset(_id(i, 0) for i in truth[0]), frozenset(_id(i, 1) for i in truth[1])), batches,
    )  # fmt: skip


def judge(made: Made, settings: CorrelationSettings | None = None) -> Judged:
    """Correlates, and compares with what is true."""
    correlator = Correlator(settings=settings)
    rest = list(made.alerts)
    for many in made.batches:
        correlator.add(rest[:many])
        del rest[:many]
    if made.drawn["way"] == "scan":
        correlator.look_back()  # as a scan does once it has read everything
    mains, inside, foreign, strangers = [], [], [], []
    known = {a.id for a in made.alerts}
    for mine, truth in zip(made.of, made.caused, strict=True):
        held = {i.id: i for a in sorted(truth) if (i := correlator.holding(a)) is not None}
        main = max(held.values(), key=lambda i: (len(i.alert_ids() & truth), i.promoted, i.id))
        ids = main.alert_ids() & known  # an alert of a pattern is correlation's own
        mains.append(main.id)
        inside.append(len(ids & truth) / len(truth))
        foreign.append(len(ids - mine) / len(ids))
        strangers.extend(
            f"{a.alert.title or a.alert.rule} ({', '.join(f'{r.text} {r.weight:.0f}' for r in a.linked_by)})"
            for a in main.alerts
            if a.alert.id in ids - mine
        )
    return Judged(
        made, (inside[0], inside[1]), (foreign[0], foreign[1]), mains[0] != mains[1], tuple(dict.fromkeys(strangers))
    )


# ---------------------------------------------------------------------------------------------- attacks


def _id(alert_id: str, side: int) -> str:
    return f"{alert_id}-{side}"


def _attack(dataset: Dataset, side: int, drawn: Mapping[str, Any], rng: random.Random) -> list[Alert]:
    """The recording's alerts, under its own names or new ones."""
    alerts = [replace(a, id=_id(a.id, side)) for a in alerts_of(dataset)]
    if drawn["names"] == "kept":
        return alerts
    hosts, accounts, domains = _named(alerts)
    new = {h: f"{'HQLW'[side * 2]}{rng.randint(1000, 9999)}-{n}" for n, h in enumerate(sorted(hosts))}
    new |= {a: f"{rng.choice(('kim', 'ola', 'juan', 'mei', 'ravi'))}{side}{n}" for n, a in enumerate(sorted(accounts))}
    new |= {d: f"{('north', 'south')[side]}{n}" for n, d in enumerate(sorted(domains))}
    return [_renamed(a, new, f"{dataset.name}/{side}", f"side {side}", same_processes=True) for a in alerts]


def _meet(one: Dataset, other: Dataset) -> bool:
    """Whether two recordings name a machine, an account or an inner address alike."""
    (hosts, people, _), (more, others, _) = _named(alerts_of(one)), _named(alerts_of(other))
    inner = [
        {m for a in alerts_of(d) for m in _PRIVATE.findall(json.dumps(a.to_dict(), default=str))} for d in (one, other)
    ]
    return not (hosts.isdisjoint(more) and people.isdisjoint(others) and inner[0].isdisjoint(inner[1]))


def _named(alerts: Sequence[Alert]) -> tuple[set[str], set[str], set[str]]:
    """Bare names of hosts, accounts and domains."""
    found: tuple[set[str], set[str], set[str]] = (set(), set(), set())
    for alert in alerts:
        for entity in alert.entities:
            ids = {k: v.lower() for k, v in entity.identifiers.items()}
            if entity.type == "Host":
                found[0].add(ids.get("HostName", ""))
            elif entity.type == "Account" and not entity.is_built_in:
                found[1].add(ids.get("Name", ""))
            for key in ("NTDomain", "DnsDomain", "UPNSuffix"):
                if entity.type in ("Host", "Account"):
                    found[2].add(ids.get(key, "").partition(".")[0])
    hosts = {h for h in found[0] if len(h) > 2}
    return (
        hosts,
        {a for a in found[1] - hosts if len(a) > 2 and a not in _BUILT_IN},
        {d for d in found[2] - hosts if len(d) > 3 and d != "nt authority"},
    )


def _renamed(alert: Alert, new: Mapping[str, str], salt: str, network: str, *, same_processes: bool) -> Alert:
    """The alert with other names wherever they stand, other SIDs and inner addresses (those of this `network`), and with `same_processes` the
    recording's processes (under ids of this `salt`)."""
    text = json.dumps(alert.to_dict(), default=str)
    if new:
        pattern = re.compile(
            r"(?<![A-Za-z0-9])(" + "|".join(map(re.escape, sorted(new, key=len, reverse=True))) + r")(?![A-Za-z0-9-])",
            re.IGNORECASE,
        )
        text = pattern.sub(lambda m: new[m[1].lower()], text)
    of = salt if same_processes else f"{salt}/{alert.id}"
    text = _SID.sub(
        lambda m: "S-1-5-21-" + "-".join(str(_number(m[0], salt, n, 4_000_000_000)) for n in range(3)), text
    )
    text = _GUID.sub(lambda m: _guid(m[0], of), text)
    text = _PRIVATE.sub(lambda m: _inner(m[0], network), text)
    text = _LOGON.sub(
        lambda m: f"{m[1]}{hex(_number(m[2], of, 0, 1 << 32))}{m[3]}" if int(m[2], 16) > 999 else m[0], text
    )
    made = Alert.from_dict(json.loads(text))
    return replace(
        made,
        id=alert.id,
        rule_id=alert.rule_id,
        rule=alert.rule,
        title=alert.title,
        correlate=alert.correlate,
        create_incident=alert.create_incident,
    )


def _number(text: str, salt: str, nth: int, below: int) -> int:
    return int(hashlib.sha256(f"{salt}|{nth}|{text.lower()}".encode()).hexdigest()[:12], 16) % below + 1000


def _inner(address: str, network: str) -> str:
    number = _number(address, network, 0, 1 << 22)
    return f"10.{10 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def _guid(text: str, salt: str) -> str:
    if not text.strip("0-") or text.lower().endswith(("-000000000000",)):
        return text
    h = hashlib.sha256(f"{salt}|{text.lower()}".encode()).hexdigest()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:32]}"


def _shift(alerts: Sequence[Alert], start: datetime) -> list[Alert]:
    by = start - min(a.time for a in alerts)
    return [_moved(a, by) for a in alerts]


def _moved(alert: Alert, by: timedelta) -> Alert:
    def later(match: re.Match[str]) -> str:
        text = match[0]
        plain = text.replace(" ", "T").removesuffix("Z").removesuffix("+00:00")
        moment = datetime.fromisoformat(plain[:26]).replace(tzinfo=UTC) + by
        return (
            moment.isoformat().replace("+00:00", "Z") if "T" in text else moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        )

    events = tuple(
        replace(e, row=json.loads(_MOMENT.sub(later, json.dumps(dict(e.row), default=str)))) for e in alert.events
    )
    entities = tuple(
        Entity(e.type, {k: _MOMENT.sub(later, v) for k, v in e.identifiers.items()})
        if "CreationTimeUtc" in e.identifiers
        else e
        for e in alert.entities
    )
    return replace(
        alert, time=alert.time + by, end=alert.end + by, created=alert.created + by, events=events, entities=entities
    )


def _starts(parts: Sequence[Sequence[Alert]], clocks: str, rng: random.Random) -> tuple[datetime, datetime]:
    spans = [max(a.end for a in p) - min(a.time for a in p) for p in parts]
    if clocks == "same start":
        return _START, _START
    if clocks == "inside":
        longer = 0 if spans[0] >= spans[1] else 1
        inner = _START + (spans[longer] - spans[1 - longer]) * rng.random()
        return (_START, inner) if longer == 0 else (inner, _START)
    return _START, _START + min(spans) * rng.random()


# ---------------------------------------------------------------------------------------------- what is shared


class _Shared:
    """The four that everybody has, as this pairing names them."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.controller = Entity.host(rng.choice(("CORPDC1", "corpdc1.corp.example")))
        self.nat = rng.choice(("203.0.113.50", "10.200.0.1"))
        self.address = Entity("IP", {"Address": self.nat})
        self.system = Entity(
            "Account",
            rng.choice(
                (
                    {"Name": "SYSTEM", "NTDomain": "NT AUTHORITY"},
                    {"Name": "SYSTEM"},
                    {"Name": "SYSTEM", "Sid": "S-1-5-18"},
                )
            ),
        )
        self.scanner = rng.choice(
            (
                Entity.host("vulnscan01"),
                Entity("IP", {"Address": "10.200.0.66"}),
                Entity("Account", {"Name": "svc_scan", "NTDomain": "CORP"}),
            )
        )

    @property
    def all(self) -> tuple[Entity, ...]:
        """All four."""
        return self.controller, self.address, self.system, self.scanner

    def in_attack(self, alert: Alert, how: str) -> Alert:
        """An attack's alert that names them."""
        if how in ("in every attack's", "in attacks' only"):
            return _with(alert, self.all)
        if how == "in a quarter":
            return self.in_a_quarter(alert)
        text = json.dumps([[e.to_dict() for e in alert.entities], [e.to_dict() for e in alert.events]], default=str)
        entities, events = json.loads(
            _PRIVATE.sub(self.nat, _CONTROLLER.sub(self.controller.identifiers["HostName"], text))
        )
        made = replace(
            alert,
            entities=tuple(Entity(e["type"], e["identifiers"]) for e in entities),
            events=tuple(replace(old, row=new["row"]) for old, new in zip(alert.events, events, strict=True)),
            aliases=tuple(
                a
                for a in alert.aliases
                if not _PRIVATE.fullmatch(a.entity.label) and not _CONTROLLER.match(a.other.label)
            ),
        )
        return _with(made, [e for e in (self.system, self.scanner) if self._rng.random() < 0.2])

    def in_a_quarter(self, alert: Alert) -> Alert:
        """An alert that names each of them once in four times."""
        return _with(alert, [e for e in self.all if self._rng.random() < 0.25])


def _with(alert: Alert, more: Sequence[Entity]) -> Alert:
    return replace(alert, entities=(*alert.entities, *(e for e in more if e not in alert.entities)))


# ---------------------------------------------------------------------------------------------- noise


def _noise(
    everything: Sequence[Dataset], pair: Sequence[Dataset], attacked: Sequence[str], attacks: tuple[list[Alert], list[Alert]],
    drawn: Mapping[str, Any], shared: _Shared, rng: random.Random,
) -> list[Alert]:  # fmt: skip
    """Ten times as many alerts as both attacks have."""
    many = _TIMES * sum(map(len, attacks))
    machines = [f"PC-{n:03}" for n in range(drawn["fleet"])]
    if drawn["attacked"] == "as any":
        machines += [h for h in attacked if h.lower() != shared.controller.identifiers["HostName"].lower()]
    owners = {m: f"user{n:03}" for n, m in enumerate(machines)}
    for part in attacks:  # whose machine it is says the recording
        for alert in part:
            hosts = [e.identifiers.get("HostName", "") for e in alert.entities if e.type == "Host"]
            people = [
                e.identifiers.get("Name", "") for e in alert.entities if e.type == "Account" and not e.is_built_in
            ]
            owners.update((h, people[0]) for h in hosts if h in owners and people)
    one = _maker(everything, pair, drawn["of"], rng)
    first = min(a.time for p in attacks for a in p)
    last = max(a.end for p in attacks for a in p)
    hours = timedelta(hours=drawn["hours"])
    begin, end = {
        "before": (first - hours, last), "after": (first, last + hours), "around": (first - hours / 2, last + hours / 2),
    }[drawn["noise"]]  # fmt: skip
    found: list[Alert] = []
    while len(found) < many * (1 - _SCANNED):
        at, machine = begin + (end - begin) * rng.random(), rng.choice(machines)
        for _ in range(rng.randint(3, 8) if drawn["bursts"] == "yes" else 1):
            user = {"each his own": owners[machine], "anywhere": rng.choice(list(owners.values()))}.get(
                drawn["users"], "adm_all"
            )
            alert = one(f"noise-{len(found)}", at + timedelta(seconds=rng.random() * 60), machine, user)
            found.append(shared.in_a_quarter(alert) if drawn["shared"] != "in attacks' only" else alert)
    step = (end - begin) / max(many - len(found), 1)
    start = len(found)
    for n in range(many - start):
        alert = _scan(f"noise-{len(found)}", begin + step * n, machines[n % len(machines)], shared.scanner)
        found.append(alert)
    return found


_Maker = Callable[[str, datetime, str, str], Alert]


def _maker(everything: Sequence[Dataset], pair: Sequence[Dataset], of: str, rng: random.Random) -> _Maker:
    """Makes one benign alert."""
    high = SEVERITIES.index("High")
    if of == "made up":
        return lambda alert_id, at, machine, user: _made_up(alert_id, at, machine, user, rng)
    others = [a for d in everything if d not in pair for a in alerts_of(d) if SEVERITIES.index(a.severity) < high]
    templates = rng.sample(others, 8 if of == "few rules" else min(120, len(others)))

    def copied(alert_id: str, at: datetime, machine: str, user: str) -> Alert:
        template = rng.choice(templates)
        hosts, accounts, domains = _named([template])
        new = dict.fromkeys(hosts, machine) | dict.fromkeys(accounts, user) | dict.fromkeys(domains, "corp")
        named = _renamed(replace(template, id=alert_id), new, alert_id, machine, same_processes=False)
        if not any(e.type == "Host" for e in named.entities):
            named = _with(named, [Entity.host(machine)])
        return _moved(named, at - named.time)

    return copied


def _made_up(alert_id: str, at: datetime, machine: str, user: str, rng: random.Random) -> Alert:
    nth = min(int(rng.expovariate(0.25)), 19)
    entities = [Entity.host(machine), Entity("Account", {"Name": user, "NTDomain": "CORP"})]
    if rng.random() < 0.5:
        entities.append(
            Entity(
                "Process",
                {
                    "ProcessId": str(rng.randint(500, 30_000)),
                    "CommandLine": f"updater.exe /task {nth}",
                    "Host": machine,
                },
            )
        )
    if rng.random() < 0.3:
        entities.append(
            Entity("FileHash", {"Algorithm": "SHA256", "Value": hashlib.sha256(f"tool {nth}".encode()).hexdigest()})
        )
    severity = rng.choices(SEVERITIES, (2, 4, 3.7, 0.3))[0]
    tactic = ("Execution", "Persistence", "DefenseEvasion", "Discovery", "CommandAndControl")[nth % 5]
    return Alert(
        alert_id,
        f"benign-{nth}",
        f"Benign rule {nth}",
        at,
        at,
        severity,
        at,
        tactics=(tactic,),
        entities=tuple(entities),
    )


def _scan(alert_id: str, at: datetime, machine: str, scanner: Entity) -> Alert:
    return Alert(
        alert_id, "port-scan", "Ports of a machine scanned", at, at + timedelta(seconds=20), "Low", at + timedelta(seconds=20),
        tactics=("Discovery",), techniques=("T1046",), entities=(scanner, Entity.host(machine)),
    )  # fmt: skip


def _in_order(
    attacks: Sequence[Sequence[Alert]], noise: Sequence[Alert], order: str, rng: random.Random
) -> list[Alert]:
    every = sorted((*attacks[0], *attacks[1], *noise), key=lambda a: (a.time, a.id))
    match order:
        case "attacks first":
            first = [a for part in attacks for a in sorted(part, key=lambda a: (a.time, a.id))]
            return [*first, *sorted(noise, key=lambda a: (a.time, a.id))]
        case "hours":
            return sorted(every, key=lambda a: (a.time.replace(minute=0, second=0, microsecond=0), rng.random()))
        case "none":
            rng.shuffle(every)
    return every
