"""Acceptance 2: two unrelated attacks at the same time in one organisation stay two incidents, in ten times benign noise.

How a pairing is made, all of it from a seed:

- Two recordings are moved to the same hours of one day. The laboratories of the recordings use the same names over and over, so every recording's
  hosts, accounts, addresses and SIDs get names of their own: what the two then share is only what is put there on purpose.
- Shared on purpose: a domain controller (recordings' own controllers become the one of the organisation; where there is none, every eighth alert
  names it),
  the address behind which everybody goes out (in every alert that names an address, and in every eighth), SYSTEM (in every third) and a scanner
  that touches
  every machine (in every eighth alert, and in alerts of its own).
- Noise: ten times as many alerts as both attacks have, over two days around them. They are real alerts of Medium severity and below from
  recordings that aren't
  in the pairing, of 25 rules of which few make most of it, put on 60 machines with a user each and on the two attacks' own machines as often as
  on any; a tenth
  by a service account that works everywhere. Their processes are others each time, their files the same: that is what benign files do.

*Foreign* is what isn't of the recording: noise, the scanner, the other attack.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.correlation.datasets import Dataset, alerts_of
from bench.correlation.truth import caused

from tocsin.detect.alert import Alert
from tocsin.incidents import Correlator
from tocsin.incidents.model import LinkedAlert
from tocsin.incidents.weights import CorrelationSettings
from tocsin.tables.aliases import Alias
from tocsin.tables.entities import Entity

__all__ = ["USUAL", "Conditions", "Pairing", "Result", "judge", "make", "pairings"]

DAY = datetime(2026, 3, 10, tzinfo=UTC)
FLEET = 60
RULES = 25
LEAST_ALERTS = 8

DC = Entity.host("dc01.contoso.example")
NAT = Entity("IP", {"Address": "203.0.113.10"})
SCANNER = Entity("IP", {"Address": "10.250.0.9", "AddressScope": "contoso"})
SYSTEM = Entity("Account", {"Name": "SYSTEM", "NTDomain": "NT AUTHORITY", "Sid": "S-1-5-18"})

_TIME = re.compile(r"\b(\d{4}-\d\d-\d\d)([T ])(\d\d:\d\d:\d\d)((?:\.\d+)?)")
_GUID = re.compile(r"\{?[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\}?")
_SID = re.compile(r"S-1-5-21-\d+-\d+-\d+", re.IGNORECASE)
_ADDRESS = re.compile(r"(?<![\d.])(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?![\d.])")
_KEPT_ADDRESSES = ("127.", "0.", "224.", "255.", "169.254.")


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two attacks and the noise around them: all alerts by time, and which of them are whose."""

    names: tuple[str, str]
    alerts: tuple[Alert, ...]
    recorded: tuple[frozenset[str], frozenset[str]]
    caused: tuple[frozenset[str], frozenset[str]]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a pairing, per attack: share of its alerts inside, share of foreign ones in its incident. `apart`: they are two incidents."""

    names: tuple[str, str]
    alerts: int
    inside: tuple[float, float]
    foreign: tuple[float, float]
    sizes: tuple[int, int]
    apart: bool
    strangers: tuple[str, ...] = ()
    """The foreign alerts, each in words."""

    @property
    def good(self) -> bool:
        """Whether it is what is demanded: two incidents, each at least nine tenths of its attack, at most a twentieth foreign."""
        return self.apart and min(self.inside) >= 0.9 and max(self.foreign) <= 0.05


def pairings(datasets: Sequence[Dataset], count: int = 20, seed: int = 6) -> list[tuple[Dataset, Dataset]]:
    """Pairs of attacks with enough alerts, no recording more often than it must be."""
    able = [d for d in datasets if len(caused(d, alerts_of(d))) >= LEAST_ALERTS]
    rng = random.Random(seed)
    found: list[tuple[Dataset, Dataset]] = []
    seen: set[frozenset[str]] = set()
    while len(found) < count:
        order = able[:]
        rng.shuffle(order)
        for one, other in zip(order[::2], order[1::2], strict=False):
            pair = frozenset((one.name, other.name))
            if pair not in seen and len(found) < count:
                seen.add(pair)
                found.append((one, other))
    return found


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which two attacks meet; `USUAL` are those of the acceptance."""

    noise: int = 10
    """So many times as many alerts as both attacks have."""
    hours: float = 48.0
    """Over so many hours the noise comes, the attacks in their midst."""
    before: float | None = None
    """The noise begins so many hours before the attacks, and nothing is known of the time before; None where they are in its midst."""
    shared: int = 8
    """Of so many alerts of an attack one names the domain controller, one the address behind which all go out, one the scanner."""


USUAL = Conditions()


def make(pair: tuple[Dataset, Dataset], pool: Sequence[Dataset], seed: int, conditions: Conditions = USUAL) -> Pairing:
    """The pairing of two recordings, with noise from the others."""
    rng = random.Random(seed)
    attacks, recorded, true = [], [], []
    start = DAY + timedelta(hours=24)
    for side, dataset in zip("ab", pair, strict=True):
        alerts = alerts_of(dataset)
        truth = caused(dataset, alerts)
        names = _own_names(alerts, side)
        begin = start + timedelta(minutes=rng.uniform(-20, 20))
        moved = [_moved(a, names, side, n, begin - alerts[0].time, conditions.shared) for n, a in enumerate(alerts)]
        attacks.append(moved)
        recorded.append(frozenset(a.id for a in moved))
        true.append(frozenset(m.id for a, m in zip(alerts, moved, strict=True) if a.id in truth))
    victims = sorted(
        {e.label for alerts in attacks for a in alerts for e in a.entities if e.type == "Host"} - {DC.label}
    )
    count = conditions.noise * sum(map(len, attacks))
    noise = list(_noise(rng, [d for d in pool if d not in pair], victims, count, conditions))
    everything = sorted([*attacks[0], *attacks[1], *noise], key=lambda a: (a.time, a.id))
    return Pairing((pair[0].name, pair[1].name), tuple(everything), (recorded[0], recorded[1]), (true[0], true[1]))


def judge(pairing: Pairing, settings: CorrelationSettings | None = None) -> Result:
    """Correlates all of it as it comes, and looks at where each attack's alerts are."""
    correlator = Correlator(settings=settings)
    for alert in pairing.alerts:
        correlator.add([alert])
    held = {}
    for alert in pairing.alerts:
        incident = correlator.holding(alert.id)
        if incident is not None:
            held[incident.id] = incident
    everything = {a.id for a in pairing.alerts}
    inside, foreign, sizes, main = [], [], [], []
    strangers: list[str] = []
    times = {a.id: a.time for a in pairing.alerts}
    for recorded, true in zip(pairing.recorded, pairing.caused, strict=True):
        best = max(held.values(), key=lambda i: (len(i.alert_ids() & true), i.id))
        ids = best.alert_ids() & everything  # without the alerts that patterns make
        main.append(best.id)
        inside.append(len(ids & true) / len(true))
        foreign.append(len(ids - recorded) / len(ids))
        sizes.append(len(ids))
        attack = [times[i] for i in recorded]
        strangers += [_stranger(linked, attack) for linked in best.alerts if linked.alert.id in ids - recorded]
    return Result(
        pairing.names,
        len(pairing.alerts),
        (inside[0], inside[1]),
        (foreign[0], foreign[1]),
        (sizes[0], sizes[1]),
        main[0] != main[1],
        tuple(strangers),
    )


def _stranger(linked: LinkedAlert, attack: Sequence[datetime]) -> str:
    """A foreign alert in words: what it is, how far from the attack's nearest, and why it was joined."""
    alert = linked.alert
    gap = min((alert.time - t for t in attack), key=abs)
    near = f"{abs(gap).total_seconds():.0f} seconds {'after' if gap > timedelta(0) else 'before'} one of the attack's"
    why = (
        ", ".join(f"{r.text} ({r.weight:.0f})" for r in linked.linked_by)
        or "opened the incident, and the attack joined it"
    )
    return f"'{alert.title or alert.rule}' ({alert.severity}), {near}: {why}"


# ------------------------------------------------------------------------------------------------ moving a recording


def _moved(alert: Alert, names: Mapping[str, str], side: str, number: int, by: timedelta, shared: int) -> Alert:
    """The alert at another time, with names that are its recording's alone, and with what both attacks share."""
    text = json.dumps(alert.to_dict(), default=str)
    text = _SID.sub(lambda m: f"{m[0]}{ord(side)}", text)
    text = _ADDRESS.sub(lambda m: _address(m[1], side), text)
    text = _GUID.sub(lambda m: _other_guid(m[0], side), text)
    text = _shifted(_renamed(text, names), by)
    made = replace(
        Alert.from_dict(json.loads(text)), id=f"{side}{number}-{alert.id}", rule_id=alert.rule_id, correlate=alert.correlate,
        create_incident=alert.create_incident,
    )  # fmt: skip
    made = replace(made, aliases=_aliases(made.aliases))
    entities = list(_domain(made.entities))
    draw = int.from_bytes(hashlib.sha256(made.id.encode()).digest()[:4], "big")
    if draw % shared == 0 and DC not in entities:
        entities.append(DC)
    if draw % shared == 1 or any(e.type == "IP" for e in entities):
        entities.append(NAT)
    if draw % shared == 2:
        entities.append(SCANNER)
    if draw % 3 == 0:
        entities.append(SYSTEM)
    return replace(made, entities=tuple(entities))


def _own_names(alerts: Sequence[Alert], side: str) -> dict[str, str]:
    """New names for every host and account of a recording."""
    names: dict[str, str] = {}
    for entity in (e for a in alerts for e in a.entities):
        ids = entity.identifiers
        if entity.type == "Host" and (name := ids.get("HostName", "").lower()):
            names[name] = DC.identifiers["HostName"] if _is_controller(name) else f"{name}-{side}"
        elif entity.type == "Account" and (name := ids.get("Name", "").lower()):
            names[name] = f"{name}-{side}"
    return {old: new for old, new in names.items() if len(old) > 2}


def _is_controller(name: str) -> bool:
    return re.search(r"dc\d*$", name.lower()) is not None


def _domain(entities: Sequence[Entity]) -> Iterator[Entity]:
    """Hosts in the organisation's domain."""
    for entity in entities:
        if entity.type == "Host" and (name := entity.identifiers.get("HostName")):
            yield Entity.host(f"{name}.contoso.example")
        else:
            yield entity


def _aliases(aliases: Sequence[Alias]) -> tuple[Alias, ...]:
    """What the alert's things are known as, in the organisation's domain too."""
    return tuple(replace(a, entity=next(_domain([a.entity])), other=next(_domain([a.other]))) for a in aliases)


def _renamed(text: str, names: Mapping[str, str]) -> str:
    if not names:
        return text
    pattern = re.compile(
        r"(?<![A-Za-z0-9])(" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + r")(?![A-Za-z0-9\-])",
        re.IGNORECASE,
    )
    return pattern.sub(lambda m: names[m[1].lower()], text)


def _address(text: str, side: str) -> str:
    if text.startswith(_KEPT_ADDRESSES):
        return text
    parts = text.split(".")
    if all(p.isdigit() and int(p) < 256 for p in parts):
        return f"{parts[0]}.{parts[1]}.{parts[2]}.{(int(parts[3]) + (37 if side == 'a' else 101)) % 250 + 1}"
    return text


def _other_guid(text: str, salt: str) -> str:
    if text.strip("{}0-") == "" or text.strip("{}").lower().endswith(
        ("-e703-000000000000", "-e503-000000000000", "-e403-000000000000")
    ):
        return text
    value = hashlib.sha256(f"{salt}{text.lower().strip('{}')}".encode()).hexdigest()
    made = f"{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:32]}"
    return f"{{{made}}}" if text.startswith("{") else made


def _shifted(text: str, by: timedelta) -> str:
    def moved(found: re.Match[str]) -> str:
        try:
            moment = datetime.fromisoformat(f"{found[1]}T{found[3]}") + by
        except (ValueError, OverflowError):
            return found[0]
        return f"{moment:%Y-%m-%d}{found[2]}{moment:%H:%M:%S}{found[4]}"

    by = timedelta(seconds=round(by.total_seconds()))
    return _TIME.sub(moved, text)


# ------------------------------------------------------------------------------------------------ noise


def _noise(
    rng: random.Random, pool: Sequence[Dataset], victims: Sequence[str], count: int, conditions: Conditions
) -> Iterator[Alert]:
    hours = conditions.hours
    before = hours / 2 if conditions.before is None else conditions.before
    by_rule: dict[str, list[Alert]] = {}
    for dataset in pool:
        for alert in alerts_of(dataset):
            if alert.severity != "High" and any(e.type == "Host" for e in alert.entities):
                by_rule.setdefault(alert.rule_id, []).append(alert)
    rules = sorted(by_rule)
    rng.shuffle(rules)
    rules = rules[:RULES]
    weights = [1 / (n + 1) for n in range(len(rules))]
    machines = [(f"pc{n:03}.contoso.example", f"user{n:03}") for n in range(FLEET)]
    machines += [(name, f"owner-{name.partition('.')[0]}") for name in victims]
    for number in range(count):
        time = DAY + timedelta(hours=24 - before + rng.uniform(0, hours))
        host, user = rng.choice(machines)
        if rng.random() < 0.1:
            user = "svc-inventory"
        template = rng.choice(by_rule[rng.choices(rules, weights)[0]])
        yield _benign(template, number, time, host, user, rng)
    for number in range(count // 20):
        time = DAY + timedelta(hours=24 - before + rng.uniform(0, hours))
        yield _scan(number, time, rng.choice(machines)[0])


def _benign(template: Alert, number: int, time: datetime, host: str, user: str, rng: random.Random) -> Alert:
    names: dict[str, str] = {}
    for entity in template.entities:
        ids = entity.identifiers
        if entity.type == "Host" and (name := ids.get("HostName")):
            names[name.lower()] = host.partition(".")[0]
        elif entity.type == "Account" and (name := ids.get("Name")):
            names[name.lower()] = user
    digest = int.from_bytes(hashlib.sha256(host.encode()).digest()[:2], "big")
    text = json.dumps(template.to_dict(), default=str)
    text = _SID.sub(lambda m: f"{m[0]}{digest}", text)
    text = _ADDRESS.sub(
        lambda m: (
            m[1]
            if m[1].startswith(_KEPT_ADDRESSES)
            else f"10.{digest >> 8}.{digest & 255}.{int(m[1].rpartition('.')[2]) % 250 + 1}"
        ),
        text,
    )
    text = _GUID.sub(lambda m: _other_guid(m[0], f"n{number}"), text)
    text = _shifted(_renamed(text, {k: v for k, v in names.items() if len(k) > 2}), time - template.time)
    made = Alert.from_dict(json.loads(text))
    made = replace(made, aliases=_aliases(made.aliases))
    entities = list(_domain(made.entities))
    if rng.random() < 0.15:
        entities.append(DC)
    if rng.random() < 0.2:
        entities.append(NAT)
    if rng.random() < 0.1:
        entities.append(SCANNER)
    if rng.random() < 0.33:
        entities.append(SYSTEM)
    return replace(
        made, id=f"noise{number}", rule_id=template.rule_id, entities=tuple(entities), correlate=template.correlate,
        create_incident=template.create_incident,
    )  # fmt: skip


def _scan(number: int, time: datetime, host: str) -> Alert:
    raw: dict[str, Any] = {"DeviceName": host, "RemoteIP": SCANNER.label}
    return Alert.from_dict(
        {
            "id": f"scan{number}", "rule_id": "vulnerability-scan", "rule": "Many ports of one machine asked in a minute", "time": time.isoformat(),
            "end": time.isoformat(), "created": time.isoformat(), "severity": "Low", "tactics": ["Discovery"], "techniques": ["T1046"],
            "entities": [Entity.host(host).to_dict(), SCANNER.to_dict()], "events": [{"table": "DeviceNetworkEvents", "row": raw}],
        }
    )  # fmt: skip
