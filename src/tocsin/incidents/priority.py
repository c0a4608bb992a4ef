"""Priority: one number from 0 to 100 that orders the queue, with the reasons that made it.

Severity says how bad one alert may be; priority says which incident to open first: how far along the kill chain it is, how many
independent rules and products agree, how much it touches and whether that matters, how rare its rules were and how often they were right. It
is additive: the reasons' points are whole, and their sum is the number; where it would leave the scale of 0 to 100, the last reason says so.
Points are ours, not a learned score: `Weights` and the packs' points by technique and tag, all of which may be set.

Another alert never takes points away: every reason counts what is there, and none of what came later elsewhere (docs/decisions/0010).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, field, fields, replace
from math import floor
from typing import Any

from tocsin.base.errors import UsageError, did_you_mean
from tocsin.incidents.model import Incident, Reason, ordered_tactics, spaced
from tocsin.incidents.reports import Shelf, matches
from tocsin.tables.entities import Entity, EntityKey

__all__ = [
    "LEAST",
    "LEVELS",
    "MEANINGS",
    "MOST",
    "Asset",
    "Judge",
    "Weights",
    "keys_of_name",
    "points",
    "priority",
    "weights_of",
]

LEVELS = ("veryHigh", "high", "medium", "low")
"""How much an asset matters, the most first."""

_LEVEL_WORDS = {"veryHigh": "very high", "high": "high", "medium": "medium", "low": "low"}


def _severity() -> dict[str, float]:
    return {"High": 35.0, "Medium": 20.0, "Low": 10.0, "Informational": 3.0}


def _stages() -> dict[str, float]:
    return {
        "CredentialAccess": 7.0,
        "LateralMovement": 8.0,
        "Collection": 5.0,
        "CommandAndControl": 5.0,
        "Exfiltration": 12.0,
        "Impact": 14.0,
    }


def _levels() -> dict[str, float]:
    return {"veryHigh": 15.0, "high": 10.0, "medium": 5.0, "low": 2.0}


def _tags() -> dict[str, float]:
    return {"critical asset": 12.0, "critical": 5.0, "ransomware": 10.0, "attack disruption": 15.0}


@dataclass(frozen=True, slots=True)
class Weights:
    """Points. What counts things has points for each and a most; `techniques` and `tags` are added to the packs' and win over them."""

    severity: Mapping[str, float] = field(default_factory=_severity)
    stage_reached: Mapping[str, float] = field(default_factory=_stages)
    asset: Mapping[str, float] = field(default_factory=_levels)
    stage: float = 5.0
    stages_most: float = 22.0
    rule: float = 2.0
    rules_most: float = 8.0
    products: float = 6.0
    high_alert: float = 2.0
    high_alerts_most: float = 6.0
    host: float = 2.0
    hosts_most: float = 6.0
    account: float = 1.0
    accounts_most: float = 4.0
    rare_rule: float = 5.0
    rare_below: float = 5.0
    signal: float = 10.0
    signal_cases: float = 3.0
    techniques: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, float] = field(default_factory=_tags)


LEAST, MOST = -100.0, 100.0
"""The range of a weight."""

MEANINGS: Mapping[str, str] = {
    "severity": "Points of an incident of {} severity.",
    "stage_reached": "Points when {} is the worst stage that was reached; the worst one counts.",
    "stage": "Points for each stage of an attack after the first; as many rules must have shown them, and none that only informs.",
    "stages_most": "Points that the number of stages gives at most.",
    "techniques": "Points of technique {}; of an incident's techniques the one with the most counts.",
    "asset": "Points when an asset whose criticality is {} is involved; the most critical one counts.",
    "rule": "Points for each different rule after the first.",
    "rules_most": "Points that the number of rules gives at most.",
    "products": "Points when more than one product saw it.",
    "high_alert": "Points for each alert of High severity after the first.",
    "high_alerts_most": "Points that the number of such alerts gives at most.",
    "host": "Points for each host after the first.",
    "hosts_most": "Points that the number of hosts gives at most.",
    "account": "Points for each account after the second.",
    "accounts_most": "Points that the number of accounts gives at most.",
    "rare_rule": "Points when one of its rules had hardly ever fired before.",
    "rare_below": "A rule was rare as long as it had fewer alerts than this.",
    "signal": "Points when one of its rules was right in every closed incident; taken away when it was wrong in every one.",
    "signal_cases": "Closed incidents that a rule needs for that.",
    "tags": "Points of the tag {}, on the incident or on one of its alerts.",
}
"""What each weight means; of those that have parts, `{}` is the part's name."""

_MAPS: Mapping[str, tuple[str, ...]] = {
    "severity": tuple(_severity()),
    "stage_reached": (),
    "asset": LEVELS,
    "techniques": (),
    "tags": (),
}


def weights_of(given: Mapping[str, Any], base: Weights | None = None) -> Weights:
    """Weights with those changed; of a mapping, those named. UsageError INC0004 for one that isn't there or no number from -100 to 100."""
    made = base or Weights()
    known = [f.name for f in fields(Weights)]
    for name, value in given.items():
        if name not in known:
            raise UsageError(f"There is no weight {name!r}.", code="INC0004", hint=did_you_mean(name, known))
        if name not in _MAPS:
            change: dict[str, Any] = {name: _number(name, value)}
            made = replace(made, **change)
            continue
        if not isinstance(value, Mapping):
            raise UsageError(f"The weight {name!r} is a mapping of names to points.", code="INC0004")
        for key in value:
            if _MAPS[name] and key not in _MAPS[name]:
                raise UsageError(f"{name!r} has no {key!r}.", code="INC0004", hint=did_you_mean(str(key), _MAPS[name]))
        points = {str(k): _number(f"{name}.{k}", v) for k, v in value.items()}
        merged: dict[str, Any] = {name: {**getattr(made, name), **points}}
        made = replace(made, **merged)
    return made


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not LEAST <= value <= MOST:
        raise UsageError(f"The weight {name!r} is a number from -100 to 100, not {value!r}.", code="INC0004")
    return float(value)


@dataclass(frozen=True, slots=True)
class Asset:
    """What is known of a host or account that matters: by which rule, how much ("" for one that only has a group), and its group."""

    rule: str
    level: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Judge:
    """What incidents are judged by. `assets` by entity key; `first`, of alerts that were among a rule's first: the so-manieth of the rule each was
    (who files alerts adds theirs); `closed` by rule: in how many closed incidents it was right and in how many wrong; `reports`: threat reports;
    `separate_groups`: incidents of different device groups don't merge. An empty one judges by the incident alone.
    """

    weights: Weights = field(default_factory=Weights)
    techniques: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, float] = field(default_factory=dict)
    assets: Mapping[EntityKey, Asset] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    common: set[str] = field(default_factory=set)
    """Rules that are known to have had their first ones: nobody need ask."""
    closed: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    separate_groups: bool = False
    reports: Shelf = field(default_factory=Shelf)

    def points(self) -> dict[str, Any]:
        """The weights as they are in force, the packs' points among them."""
        made = {n: dict(v) if isinstance(v, Mapping) else v for n, v in asdict(self.weights).items()}
        made["techniques"] = {**self.techniques, **self.weights.techniques}
        made["tags"] = {**self.tags, **self.weights.tags}
        return made

    def asset_of(self, entity: Entity) -> Asset | None:
        """What is known of an entity, by any name of it; None for one that doesn't matter."""
        if entity.type not in ("Host", "Account"):
            return None
        found = [
            self.assets[k]
            for k in (*entity.strong_keys(), *keys_of_name(entity.type, entity.label))
            if k in self.assets
        ]
        return min(found, key=lambda a: LEVELS.index(a.level) if a.level else len(LEVELS), default=None)


def keys_of_name(kind: str, name: str) -> tuple[EntityKey, ...]:
    """The keys under which a host or account of that name is found: the keys of the thing it names, and the name itself."""
    made = Entity.host(name) if kind == "Host" else Entity.account(name)
    own = () if made is None else made.strong_keys()
    return (*own, (f"name.{kind.lower()}", name.lower()))


def priority(incident: Incident, judge: Judge | None = None) -> tuple[int, tuple[Reason, ...]]:
    """The incident's priority, 0 to 100, and the reasons in falling weight, whole points that add up to it."""
    reasons = _reasons(incident, judge or Judge())
    total = sum(int(r.weight) for r in reasons)
    score = max(0, min(100, total))
    if score != total:
        said = f"points add up to {total}; the scale {'ends at 100' if total > 100 else 'begins at 0'}"
        reasons.append(Reason(said, float(score - total)))
    return score, tuple(reasons)


def points(incident: Incident, judge: Judge | None = None) -> int:
    """What the reasons add up to before the scale ends: two at its end still differ."""
    return sum(int(r.weight) for r in _reasons(incident, judge or Judge()))


def _reasons(incident: Incident, judge: Judge) -> list[Reason]:
    """What adds to the incident's priority or takes from it, in falling weight."""
    w, facts, severity = judge.weights, incident.facts, incident.severity
    reasons = [Reason(f"{severity} severity", w.severity.get(severity, 0.0))]
    stages = _stages_shown(facts.stages)
    if len(stages) > 1:
        every = len(facts.tactics)
        said = f"{every} stages of an attack" if every == len(stages) else (
            f"{len(stages)} of its {every} stages count, each told by a rule of its own"
        )  # fmt: skip
        said += f": {', '.join(spaced(t) for t in stages)}"
        reasons.append(Reason(said, min(w.stages_most, w.stage * (len(stages) - 1))))
    shown = ordered_tactics(t for tactics in facts.stages.values() for t in tactics)
    late = max((t for t in shown if t in w.stage_reached), key=lambda t: w.stage_reached[t], default=None)
    if late:
        reasons.append(Reason(f"has reached {spaced(late)}", w.stage_reached[late]))
    reasons.extend(_techniques(facts.shown, judge))
    rules, products, high = facts.rules, facts.witnesses, facts.high
    hosts, accounts = facts.of_type.get("Host", 0), facts.of_type.get("Account", 0)
    if len(rules) > 1:
        reasons.append(Reason(f"{len(rules)} different rules agree", min(w.rules_most, w.rule * (len(rules) - 1))))
    if len(products) > 1:
        reasons.append(Reason(f"seen by {len(products)} products: {', '.join(sorted(products))}", w.products))
    if high > 1:
        reasons.append(Reason(f"{high} alerts of High severity", min(w.high_alerts_most, w.high_alert * (high - 1))))
    if hosts > 1:
        reasons.append(Reason(f"{hosts} hosts involved", min(w.hosts_most, w.host * (hosts - 1))))
    if accounts > 2:
        reasons.append(Reason(f"{accounts} accounts involved", min(w.accounts_most, w.account * (accounts - 2))))
    reasons.extend(_assets(facts.entities_of("Host", "Account"), judge))
    reasons.extend(_rules(rules, incident.nth(judge.first), judge))
    tags = {t.lower() for t in incident.tags} | facts.tags
    points_of = {**judge.tags, **w.tags}
    reasons.extend(Reason(f"tagged {t}", p) for t, p in points_of.items() if t.lower() in tags)
    reasons.extend(_reports(incident, judge, {t.lower(): p for t, p in points_of.items() if t.lower() not in tags}))
    # Whole points each: what is shown adds up, and more of one thing never makes less of the sum.
    whole = [Reason(r.text, float(floor(r.weight + 0.5))) for r in reasons]
    return sorted((r for r in whole if r.weight), key=lambda r: (-r.weight, r.text))


def _stages_shown(by_rule: Mapping[str, Set[str]]) -> tuple[str, ...]:
    """The stages that different rules have shown, in the order of an attack: one rule may name five tactics and has seen one thing all the same. As
    many as there can be with a rule each, late ones rather than early ones."""
    shown_by: dict[str, str] = {}

    def taken(tactic: str, tried: set[str]) -> bool:
        for rule in sorted(r for r, tactics in by_rule.items() if tactic in tactics and r not in tried):
            tried.add(rule)
            if rule not in shown_by or taken(shown_by[rule], tried):
                shown_by[rule] = tactic
                return True
        return False

    every = ordered_tactics(t for tactics in by_rule.values() for t in tactics)
    return ordered_tactics(t for t in reversed(every) if taken(t, set()))


def _techniques(techniques: Iterable[str], judge: Judge) -> list[Reason]:
    """The technique with the most points; a sub-technique without points of its own has its technique's."""
    points = {**judge.techniques, **judge.weights.techniques}
    found = [
        (points[known], technique)
        for technique in techniques
        if (known := next((t for t in (technique, technique.split(".")[0]) if t in points), None)) is not None
    ]
    if not found:
        return []
    best, technique = max(found, key=lambda f: (f[0], f[1]))
    return [Reason(f"technique {technique}", best)]


def _reports(incident: Incident, judge: Judge, points: Mapping[str, float]) -> list[Reason]:
    """The threat report that it looks like most, and the threat that this tells of: the points of these tags, by techniques alone half of them."""
    found = matches(incident, judge.reports)
    if not found:
        return []
    best = max(found, key=lambda m: (bool(m.indicators), points.get(m.report.threat.lower(), 0.0)))
    share = 1.0 if best.indicators else 0.5
    said = ((f"matches the threat report '{best.report.name}' by {best.why}", "threat report"),
            (f"that report tells of {best.report.threat}", best.report.threat.lower()))  # fmt: skip
    return [Reason(text, p * share) for text, tag in said if (p := points.get(tag, 0.0))]


def _assets(entities: Iterable[Entity], judge: Judge) -> list[Reason]:
    """The most critical asset that is involved."""
    if not judge.assets:
        return []
    found = [(a, e) for e in entities if (a := judge.asset_of(e)) is not None and a.level]
    if not found:
        return []
    asset, entity = min(found, key=lambda f: (LEVELS.index(f[0].level), f[1].label))
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    said = f"critical asset {entity.label}{more}: {asset.rule} ({_LEVEL_WORDS[asset.level]})"
    return [Reason(said, judge.weights.asset.get(asset.level, 0.0))]


def _rules(rules: Mapping[str, str], nth: Mapping[str, int], judge: Judge) -> list[Reason]:
    """How rare the rarest of its rules was when it fired here, and how often its best rule was right: a noisier rule that joins never takes points
    away, nor does what a rule says elsewhere afterwards."""
    w, reasons = judge.weights, []
    count, name = min(((n, rules[r]) for r, n in nth.items()), default=(0, ""))
    if 0 < count < w.rare_below:
        before = {1: "had never fired before", 2: "had fired once before"}.get(
            count, f"had fired {count - 1} times before"
        )
        reasons.append(Reason(f"'{name}' {before}", w.rare_rule * (1 - (count - 1) / w.rare_below)))
    judged = [
        (right / (right + wrong), right, right + wrong, name)
        for r, name in rules.items()
        for right, wrong in (judge.closed.get(r, (0, 0)),)
        if right + wrong >= w.signal_cases
    ]
    share, right, cases, name = max(judged, default=(0.0, 0, 0, ""))
    # What was mostly wrong tells something only where nothing else has spoken: one unknown rule, and it is no longer noise alone.
    if judged and (share >= 0.5 or len(judged) == len(rules)):
        said = f"'{name}' was right in {right} of {cases} closed incidents"
        reasons.append(Reason(said, w.signal * (2 * share - 1)))
    return reasons
