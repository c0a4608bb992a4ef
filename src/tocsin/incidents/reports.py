"""Threat reports: what is known of a threat, as content (`kind: report` in packs' `incidents/`), and which incidents look like it.

An incident matches a report that names an indicator which the incident holds: an address, a domain, a URL, a hash, a sender. Or, more weakly, when it
shows as many of the report's techniques as the report asks for, those that it insists on among them. Each match says by what, so that it can be
disagreed with, and is a tag of the incident (`Report.tag`), as in Defender.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from tocsin.content import Content, IncidentFile
from tocsin.incidents.model import Incident
from tocsin.tables.entities import EntityKey

__all__ = ["TAG", "Match", "Report", "Shelf", "matches", "report_tags", "reports_of"]

TAG = "Threat report: "
"""What the tag of an incident that looks like a report begins with; the report's name follows."""

_TAG_LENGTH = 128
_MOST_TAGS = 10
_TYPES = frozenset({"IP", "DNS", "URL", "FileHash", "Mailbox", "hash"})
_SAID = 3


@dataclass(frozen=True, slots=True)
class Report:
    """A threat report. `least` techniques make a match without an indicator, all of `insists` among them; with 0 techniques never do.

    `until`, of indicators that hold for a time: when they end. What began later doesn't match by them. `published`, `modified` and `author` are what
    the report says of itself, "" where it doesn't; `path` is its file, `pack` what brought it.
    """

    id: str
    name: str
    description: str
    threat: str
    indicators: frozenset[str]
    techniques: frozenset[str]
    insists: frozenset[str]
    least: int
    references: tuple[str, ...]
    until: Mapping[str, datetime] = field(default_factory=dict)
    published: str = ""
    modified: str = ""
    author: str = ""
    pack: str = ""
    path: str = ""

    @property
    def tag(self) -> str:
        """The tag of incidents that look like it. Commas part tags where the queue is asked for several, so it has none."""
        return f"{TAG}{' '.join(self.name.replace(',', ' ').split())}"[:_TAG_LENGTH].rstrip()


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


class Shelf:
    """Threat reports by what they are recognised by: however many indicators they name, an alert's names are looked up once."""

    def __init__(self, reports: Iterable[Report] = ()) -> None:
        self.reports = tuple(reports)
        self._by_indicator: dict[str, list[int]] = {}
        for number, report in enumerate(self.reports):
            for value in report.indicators:
                self._by_indicator.setdefault(value, []).append(number)

    def __iter__(self) -> Iterator[Report]:
        return iter(self.reports)

    def __len__(self) -> int:
        return len(self.reports)

    def named_by(self, key: EntityKey) -> Iterator[str]:
        """The indicators that a thing of that key is: its own name, and of a URL the domains that its host lies in."""
        kind, value = key[0], key[1]
        if kind not in _TYPES or not self._by_indicator:
            return
        if value in self._by_indicator:
            yield value
        if kind == "URL":
            parts = _host(value).split(".")
            for place in range(len(parts)):
                if (domain := ".".join(parts[place:])) in self._by_indicator:
                    yield domain

    def found_by(self, indicators: Iterable[str], first: datetime | None) -> dict[int, list[str]]:
        """By the report's place: those of the indicators that are its own and held at `first`."""
        found: dict[int, list[str]] = {}
        for value in sorted(indicators):
            for number in self._by_indicator.get(value, ()):
                until = self.reports[number].until.get(value)
                if until is None or first is None or first <= until:
                    found.setdefault(number, []).append(value)
        return found


def reports_of(content: Content) -> Shelf:
    """The packs' reports."""
    return Shelf(_report(i) for i in content.incidents if i.kind == "report")


def _report(item: IncidentFile) -> Report:
    value = item.document.value
    techniques = frozenset(str(t) for t in value.get("for") or ())
    least = value.get("least")
    until = {str(v).strip().lower(): _moment(str(t)) for v, t in (value.get("until") or {}).items()}
    return Report(
        id=item.id,
        name=str(value.get("name") or item.id),
        description=" ".join(str(value.get("description") or "").split()),
        threat=str(value.get("threat") or ""),
        indicators=frozenset(str(i).strip().lower() for i in value.get("indicators") or ()),
        techniques=techniques,
        insists=frozenset(str(t) for t in value.get("insists") or ()),
        least=len(techniques) if least is None else int(least),
        references=tuple(str(r) for r in value.get("references") or ()),
        until=until,
        **{n: str(value.get(n) or "") for n in ("published", "modified", "author")},
        pack=item.pack,
        path=str(item.path),
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def matches(incident: Incident, shelf: Shelf) -> list[Match]:
    """The reports that the incident looks like: those with indicators first, then by name."""
    if not shelf.reports:
        return []
    facts = incident.facts
    indicators = shelf.found_by(facts.found_on(shelf), facts.first)
    shown = frozenset(t for x in incident.techniques for t in (x, x.split(".", 1)[0]))
    found = []
    for number, report in enumerate(shelf.reports):
        techniques = report.techniques & shown
        enough = report.least > 0 and len(techniques) >= report.least and report.insists <= shown
        if enough or number in indicators:
            found.append(Match(report, tuple(indicators.get(number, ())), tuple(sorted(techniques))))
    return sorted(found, key=lambda m: (not m.indicators, m.report.name))


def report_tags(incident: Incident, shelf: Shelf) -> list[str]:
    """The tags of the reports that the incident looks like, the surest ten."""
    return list(dict.fromkeys(m.report.tag for m in matches(incident, shelf)))[:_MOST_TAGS]


def _host(url: str) -> str:
    try:
        return urlsplit(url if "://" in url else f"//{url}").hostname or ""
    except ValueError:
        return ""
