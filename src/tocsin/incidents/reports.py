"""Threat reports: what is known of a threat, as content (`kind: report` in packs' `incidents/`), and which incidents look like it.

An incident matches a report that names an indicator which the incident holds: an address, a domain, a URL, a hash, a sender. Or, more weakly, when it
shows as many of the report's techniques as the report asks for, those that it insists on among them. Each match says by what, so that it can be
disagreed with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tocsin.content import Content, IncidentFile
from tocsin.incidents.model import Incident

__all__ = ["Match", "Report", "matches", "reports_of"]

_TYPES = ("IP", "DNS", "URL", "FileHash", "Mailbox", "hash")
_SAID = 3


@dataclass(frozen=True, slots=True)
class Report:
    """A threat report. `least` techniques make a match without an indicator, all of `insists` among them; 0 for one that has none."""

    id: str
    name: str
    description: str
    threat: str
    indicators: frozenset[str]
    techniques: frozenset[str]
    insists: frozenset[str]
    least: int
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """A report that an incident looks like, and by what: indicators that it holds (the surer sign), else techniques."""

    report: Report
    indicators: tuple[str, ...]
    techniques: tuple[str, ...]

    @property
    def why(self) -> str:
        """By what, in a few words."""
        found = self.indicators or self.techniques
        more = f" and {len(found) - _SAID} more" if len(found) > _SAID else ""
        named = f"{', '.join(found[:_SAID])}{more}"
        return f"indicator {named}" if self.indicators else f"techniques {named}"

    def to_dict(self) -> dict[str, Any]:
        """The API's shape."""
        report = self.report
        return {
            "id": report.id,
            "name": report.name,
            "description": report.description,
            "threat": report.threat,
            "indicators": list(self.indicators),
            "techniques": list(self.techniques),
            "references": list(report.references),
        }


def reports_of(content: Content) -> tuple[Report, ...]:
    """The packs' reports."""
    return tuple(_report(i) for i in content.incidents if i.kind == "report")


def _report(item: IncidentFile) -> Report:
    value = item.document.value
    techniques = frozenset(str(t) for t in value.get("for") or ())
    return Report(
        id=item.id,
        name=str(value.get("name") or item.id),
        description=" ".join(str(value.get("description") or "").split()),
        threat=str(value.get("threat") or ""),
        indicators=frozenset(str(i).strip().lower() for i in value.get("indicators") or ()),
        techniques=techniques,
        insists=frozenset(str(t) for t in value.get("insists") or ()),
        least=int(value.get("least") or (len(techniques) if techniques else 0)),
        references=tuple(str(r) for r in value.get("references") or ()),
    )


def matches(incident: Incident, reports: Iterable[Report]) -> list[Match]:
    """The reports that the incident looks like: those with indicators first, then by name."""
    found = []
    shown: frozenset[str] | None = None
    for report in reports:
        indicators = _indicators(incident, report.indicators)
        if shown is None:
            shown = frozenset(t for x in incident.techniques for t in (x, x.split(".", 1)[0]))
        techniques = sorted(report.techniques & shown)
        enough = report.least > 0 and len(techniques) >= report.least and report.insists <= shown
        if indicators or enough:
            found.append(Match(report, tuple(indicators), tuple(techniques)))
    return sorted(found, key=lambda m: (not m.indicators, m.report.name))


def _indicators(incident: Incident, wanted: frozenset[str]) -> Sequence[str]:
    if not wanted:
        return ()
    facts = incident.facts
    found = {v for v in wanted if any(facts.names((kind, v)) for kind in _TYPES)}
    for url in facts.entities_of("URL"):
        host = _host(url.label.lower())
        # An indicator that is a domain covers what is below it.
        parts = host.split(".")
        found.update(d for n in range(len(parts)) if (d := ".".join(parts[n:])) in wanted)
    return sorted(found)


def _host(url: str) -> str:
    try:
        return urlsplit(url if "://" in url else f"//{url}").hostname or ""
    except ValueError:
        return ""
