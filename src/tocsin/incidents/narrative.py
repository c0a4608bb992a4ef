"""What an incident means: what it reached, where it probably began and why, a summary in plain words, what to do next.

All of it follows from the alerts and from content (packs' `incidents/`: `summary` templates, `advice` by technique and tactic); nothing is guessed
by a model. The root cause is a candidate with its reasons and points, so that who reads it can disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from tocsin.base.errors import ContentError, Place
from tocsin.content import Content
from tocsin.detect.alert import SEVERITIES, TACTICS, iso
from tocsin.incidents.advice import Done, advice
from tocsin.incidents.brief import brief, cut
from tocsin.incidents.facts import PATTERNS, keys_of
from tocsin.incidents.model import Incident, LinkedAlert, by_time, spaced, span_of, stage_of
from tocsin.incidents.priority import Judge
from tocsin.incidents.reports import matches, reports_of
from tocsin.incidents.rootcause import root_cause
from tocsin.incidents.story import roles_of

__all__ = ["blast_radius", "narrative", "summary"]

_REACHED = {
    "Host": "hosts",
    "Account": "accounts",
    "Mailbox": "mailboxes",
    "CloudApplication": "applications",
    "AzureResource": "resources",
    "IP": "addresses",
}


def narrative(
    incident: Incident, content: Content, judge: Judge | None = None, done: Done | None = None
) -> dict[str, Any]:
    """Summary, key facts, stages, blast radius, root cause and advice in the API's shape. `done`: what was done in the incident already."""
    reached = blast_radius(incident, judge)
    cause = root_cause(incident)
    told = summary(incident, content, reached, cause)
    return {
        **told,
        "stages": [{**s, "time": iso(s["time"])} for s in _stages(_in_time(incident))],
        "reports": [m.to_dict() for m in matches(incident, reports_of(content) if judge is None else judge.reports)],
        "blast_radius": reached,
        "root_cause": cause,
        "advice": advice(incident, content, judge, done),
    }


def blast_radius(incident: Incident, judge: Judge | None = None) -> dict[str, Any]:
    """What the incident reached, by kind: each thing with when it was first and last seen, in how many alerts, and how much it matters."""
    judge = judge or Judge()
    entities = incident.entities()
    index: dict[Any, int] = {}
    for number, entity in enumerate(entities):
        for key in keys_of(entity):
            index.setdefault(key, number)
    seen: dict[int, list[LinkedAlert]] = {}
    for linked in incident.alerts:
        hit = {index[k] for e in linked.alert.entities for k in keys_of(e) if k in index}
        for number in hit:
            seen.setdefault(number, []).append(linked)
    made: dict[str, list[dict[str, Any]]] = {name: [] for name in _REACHED.values()}
    for number, entity in enumerate(entities):
        name = _REACHED.get(entity.type)
        alerts = seen.get(number)
        if name is None or not alerts:
            continue
        asset = judge.asset_of(entity)
        made[name].append(
            {
                "type": entity.type,
                "label": entity.label,
                "first": iso(min(a.alert.time for a in alerts)),
                "last": iso(max(a.alert.end for a in alerts)),
                "alerts": len(alerts),
                "severity": max((a.alert.severity for a in alerts), key=SEVERITIES.index),
                "critical": asset.level if asset is not None else "",
                "why_critical": asset.rule if asset is not None and asset.level else "",
            }
        )
    for found in made.values():
        found.sort(key=lambda e: (e["first"], e["label"]))
    counts = {name: len(found) for name, found in made.items()}
    critical = sum(bool(e["critical"]) for found in made.values() for e in found)
    return {"counts": counts, "critical": critical, **made}


def summary(
    incident: Incident, content: Content, reached: Mapping[str, Any], cause: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The incident in plain words (`summary`) and its key facts (`facts`, name and text), by the last `summary` of content.

    "" and none where there is none; a fact whose text is empty is left out. ContentError CNT0030 for a template that fails.
    """
    templates = [i for i in content.incidents if i.kind == "summary"]
    if not templates:
        return {"summary": "", "facts": []}
    item = templates[-1]
    alerts = _in_time(incident)
    facts = {
        "number": incident.number,
        "title": incident.title,
        "severity": incident.severity,
        "status": incident.status.value,
        "first": incident.first,
        "last": incident.last,
        "alerts": len(alerts),
        "events": sum(a.alert.count for a in alerts if a.alert.product != PATTERNS),
        "patterns": [a.alert.title or a.alert.rule for a in alerts if a.alert.product == PATTERNS],
        "rules": list(dict.fromkeys(a.alert.title or a.alert.rule for a in alerts)),
        "products": sorted({a.alert.product for a in alerts} - {PATTERNS}),
        "tactics": [spaced(t) for t in incident.tactics],
        "techniques": list(incident.techniques),
        "stages": _stages(alerts),
        "gravest": _gravest(alerts),
        "reached": reached,
        "cause": cause,
        "duration": (incident.last - incident.first).total_seconds(),
    }
    value = item.document.value

    def said(template: str) -> str:
        try:
            return " ".join(_template(template).render(facts).split())
        except TemplateError as error:
            raise ContentError(
                f"The summary's template fails: {error}", code="CNT0030", place=Place(str(item.path))
            ) from error

    told = [{"name": str(f["name"]), "text": said(f["template"])} for f in value.get("facts") or ()]
    return {"summary": said(value["template"]), "facts": [f for f in told if f["text"]]}


def _in_time(incident: Incident) -> list[LinkedAlert]:
    return sorted(incident.alerts, key=by_time)


def _gravest(alerts: Sequence[LinkedAlert]) -> dict[str, Any]:
    """The alert of the highest severity; of several the one furthest along the kill chain, the first of those."""
    plain = [a.alert for a in alerts if a.alert.product != PATTERNS] or [a.alert for a in alerts]
    worst = max(
        plain,
        key=lambda a: (SEVERITIES.index(a.severity), max((stage_of(t) for t in a.tactics if t in TACTICS), default=-1)),
    )
    return {"title": worst.title or worst.rule, "severity": worst.severity, "time": worst.time}


def _stages(alerts: Iterable[LinkedAlert]) -> list[dict[str, Any]]:
    """Each stage once, in the order in which it was first seen: what told of it, when and where.

    What a pattern says it says of alerts that are here themselves; of an incident of patterns alone, the patterns tell.
    """
    every = list(alerts)
    plain = [a for a in every if a.alert.product != PATTERNS]
    made: dict[str, dict[str, Any]] = {}
    for linked in plain or every:
        alert = linked.alert
        for tactic in sorted(alert.tactics, key=stage_of):
            stage = made.setdefault(
                tactic,
                {
                    "tactic": tactic,
                    "name": spaced(tactic),
                    "time": alert.time,
                    "titles": [],
                    "actor": "",
                    "target": "",
                    "alert_id": alert.id,
                },
            )
            title = alert.title or alert.rule
            if title not in stage["titles"]:
                stage["titles"].append(title)
            actor, target = roles_of(alert)
            stage["actor"] = stage["actor"] or (actor.label if actor else "")
            stage["target"] = stage["target"] or (target.label if target else "")
    return list(made.values())


@lru_cache(maxsize=16)
def _template(text: str) -> Any:
    environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    environment.filters["clock"] = lambda t: t.strftime("%Y-%m-%d %H:%M:%S") + " UTC"
    environment.filters["span"] = _span
    environment.filters["named"] = _named
    environment.filters["cut"] = cut
    environment.filters["brief"] = lambda label, kind: brief(str(kind), str(label))
    environment.filters["count"] = lambda n, one, many="": f"{n:,} {one if n == 1 else many or one + 's'}"
    return environment.from_string(text)


def _named(things: Sequence[Mapping[str, Any]], one: str, many: str = "", most: int = 2) -> list[str]:
    """A few things by their short names, many by number: ws1 and ws2, or 5 hosts."""
    if len(things) > most:
        return [f"{len(things)} {many or one + 's'}"]
    return [brief(str(t["type"]), str(t["label"])) for t in things]


def _span(seconds: float) -> str:
    return span_of(seconds) or f"{round(seconds)} seconds"
