"""Threat reports out of STIX 2 bundles: a `report` object with what it refers to, as the content that `tocsin.incidents.reports` reads.

Of what a report refers to, indicators and attack patterns recognise incidents; intrusion sets, threat actors, campaigns, malware, tools and
vulnerabilities say what it is about. What it refers to only through relationships is not the report's word and is left alone. Source: STIX 2.1,
sections 4.1 (attack pattern), 4.7 (indicator), 4.16 (report), 9.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from tocsin.base.errors import ContentError
from tocsin.ingest.indicators import KEYS, compared

__all__ = ["MOST_BYTES", "MOST_INDICATORS", "MOST_REPORTS", "Found", "read_reports"]

MOST_BYTES = 32 << 20
MOST_OBJECTS = 200_000
MOST_REPORTS = 200
MOST_INDICATORS = 10_000
"""Indicators of one report; a longer list is for `ThreatIntelIndicators`, where rules look for it in all rows."""

_ID = re.compile(r"report--([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})\Z")
_TECHNIQUE = re.compile(r"T\d{4}(\.\d{3})?\Z")
_ATTACK = frozenset({"mitre-attack", "mitre-mobile-attack", "mitre-ics-attack"})
_ABOUT: Mapping[str, str] = {
    "intrusion-set": "Intrusion set",
    "threat-actor": "Threat actor",
    "campaign": "Campaign",
    "malware": "Malware",
    "tool": "Tool",
    "vulnerability": "Vulnerability",
}
_THREATS: Sequence[tuple[str, str, str, str]] = (
    ("malware", "malware_types", "ransomware", "ransomware"),
    ("threat-actor", "threat_actor_types", "nation-state", "nation state"),
    ("threat-actor", "threat_actor_types", "crime-syndicate", "crime syndicate"),
)
"""Of objects of that type, in that list, that word: what the report tells of."""

_LEAST_TECHNIQUES = 4
_SHARE = 0.6
_NAME, _DESCRIPTION, _TEXT, _URL = 256, 5000, 60, 2048
_MOST_LISTED = 100


@dataclass
class Found:
    """What a bundle holds. `reports` are documents of incident content, `withdrawn` the ids of content that a revoked report takes back; `refused`
    and `notes` say by place what wasn't taken and what was taken in part."""

    reports: list[dict[str, Any]] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)


def read_reports(data: bytes | str, now: datetime, *, least: int | None = None) -> Found:
    """The reports of a bundle. `least`: how many of a report's techniques make a match without an indicator; by default three fifths of them, four
    at the least, and of fewer than four none.

    Raises ContentError CNT0060 for what is no bundle, or too large a one; a report that can't be one is refused by its place.
    """
    if len(data) > MOST_BYTES:
        raise ContentError(f"A bundle has at most {MOST_BYTES >> 20} MiB.", code="CNT0060", hint="Take it in parts.")
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ContentError(
            f"It isn't JSON: {error.msg} (line {error.lineno}, column {error.colno}).",
            code="CNT0060",
            hint="STIX 1 is XML; only STIX 2 is read." if str(data[:200]).lstrip("b'\" ").startswith("<") else "",
        ) from error
    objects = document.get("objects") if isinstance(document, dict) else document
    if not isinstance(objects, list):
        raise ContentError("This is no STIX 2 bundle: it has no list 'objects'.", code="CNT0060")
    if len(objects) > MOST_OBJECTS:
        raise ContentError(f"A bundle has at most {MOST_OBJECTS:,} objects, this one {len(objects):,}.", code="CNT0060")
    by_id = _latest(objects)
    found = Found()
    # Of several versions of a report the latest speaks.
    reports = {
        _text(o.get("id")) or f"#{n}": (n, o)
        for n, o in enumerate(objects)
        if isinstance(o, dict) and o.get("type") == "report" and by_id.get(_text(o.get("id")), o) is o
    }
    if not reports:
        raise ContentError(
            f"The bundle has no report: it has {len(objects):,} other objects.",
            code="CNT0060",
            hint="Indicators without a report belong into the table of indicators: tocsin indicators import.",
        )
    if len(reports) > MOST_REPORTS:
        raise ContentError(f"A bundle has at most {MOST_REPORTS} reports, this one {len(reports)}.", code="CNT0060")
    for number, report in reports.values():
        place = f"objects[{number}]"
        try:
            _take(found, place, report, by_id, now, least)
        except _RefusedError as refused:
            found.refused.append((f"{place}{refused.at}", refused.why))
    return found


class _RefusedError(Exception):
    """Why an object isn't taken, and the member of it."""

    def __init__(self, at: str, why: str) -> None:
        super().__init__(why)
        self.at, self.why = at, why


def _latest(objects: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """The objects by id, of several versions the one that was modified last."""
    by_id: dict[str, dict[str, Any]] = {}
    for each in objects:
        if isinstance(each, dict) and isinstance(each.get("id"), str):
            known = by_id.get(each["id"])
            if known is None or _text(each.get("modified")) >= _text(known.get("modified")):
                by_id[each["id"]] = each
    return by_id


def _take(
    found: Found,
    place: str,
    report: Mapping[str, Any],
    by_id: Mapping[str, dict[str, Any]],
    now: datetime,
    least: int | None,
) -> None:
    named = _ID.match(_text(report.get("id")))
    if named is None:
        raise _RefusedError(".id", "it is no id of a report: report--UUID")
    content_id = f"stix-report-{named[1].lower()}"
    if report.get("revoked") is True:
        found.withdrawn.append(content_id)
        return
    name = " ".join(_text(report.get("name")).split())
    if not name:
        raise _RefusedError(".name", "the report has no name")
    refs = report.get("object_refs")
    if not isinstance(refs, list) or not refs:
        raise _RefusedError(".object_refs", "the report refers to no objects")
    for n, ref in enumerate(refs):
        if not isinstance(ref, str):
            raise _RefusedError(f".object_refs[{n}]", f"it is no id: {str(ref)[:100]}")
    there = [by_id[r] for r in dict.fromkeys(refs) if r in by_id]
    notes: list[tuple[str, str]] = []
    if missing := len(set(refs)) - len(there):
        notes.append((f"{place}.object_refs", f"{missing:,} of the objects that it refers to aren't in the bundle"))
    values, until = _indicators(there, now, notes)
    if len(values) > MOST_INDICATORS:
        raise _RefusedError(
            ".object_refs", f"it has {len(values):,} indicators, at most {MOST_INDICATORS:,} make a report"
        )
    techniques = _techniques(there, notes)
    if not values and not techniques:
        raise _RefusedError("", "it has no indicator and no technique by which an incident could be recognised")
    enough = _enough(len(techniques), least)
    if not values and not enough:
        raise _RefusedError(
            "", f"it has no indicator and only {len(techniques)} techniques: too little to recognise an incident by"
        )
    text = _text(report.get("description")).strip()
    if len(text) > _DESCRIPTION:
        notes.append((f"{place}.description", f"only the first {_DESCRIPTION:,} of {len(text):,} characters are kept"))
    author = by_id.get(_text(report.get("created_by_ref")), {})
    made: dict[str, Any] = {
        "id": content_id,
        "kind": "report",
        "name": name[:_NAME],
        "threat": _threat(there, report)[:_TEXT],
        "description": text[:_DESCRIPTION],
        "about": _about(there),
        "indicators": sorted(values),
        "until": {v: until[v] for v in sorted(values) if v in until},
        "for": techniques,
        "least": enough,
        "references": _references(report)[:_MOST_LISTED],
        "author": _text(author.get("name"))[:_NAME],
        "published": _text(report.get("published"))[:40],
        "modified": _text(report.get("modified"))[:40],
    }
    found.reports.append({k: v for k, v in made.items() if v not in ("", [], {})})
    found.notes.extend(notes)


def _enough(techniques: int, least: int | None) -> int:
    if least is not None:
        return min(least, techniques)
    return max(_LEAST_TECHNIQUES, -(-int(techniques * 10 * _SHARE) // 10)) if techniques >= _LEAST_TECHNIQUES else 0


def _indicators(
    there: Sequence[Mapping[str, Any]], now: datetime, notes: list[tuple[str, str]]
) -> tuple[set[str], dict[str, str]]:
    """Values in lower case, and until when those hold that end."""
    known = frozenset(KEYS.values())
    values: set[str] = set()
    until: dict[str, str] = {}
    for each in there:
        if each.get("type") != "indicator":
            continue
        place = _text(each.get("id"))
        ends = _moment(each.get("valid_until"))
        if each.get("revoked") is True or (ends is not None and ends <= now):
            notes.append(
                (place, "the indicator is revoked" if each.get("revoked") is True else "the indicator has expired")
            )
            continue
        try:
            pairs = list(compared(_text(each.get("pattern")), _text(each.get("pattern_type")) or "stix"))
        except ValueError as error:
            notes.append((place, str(error)))
            continue
        for key, value in pairs:
            value = value.strip().lower()
            if key not in known or not value or len(value) > _URL:
                notes.append((place, f"incidents aren't recognised by {key}"))
                continue
            # What one indicator says without an end, another's end doesn't take back.
            if ends is None:
                until.pop(value, None)
            elif value not in values or value in until:
                until[value] = max(until.get(value, ""), ends.isoformat())
            values.add(value)
    return values, until


def _techniques(there: Sequence[Mapping[str, Any]], notes: list[tuple[str, str]]) -> list[str]:
    found = set()
    for each in there:
        if each.get("type") != "attack-pattern":
            continue
        ids = [
            i
            for r in _maps(each.get("external_references"))
            if r.get("source_name") in _ATTACK and _TECHNIQUE.match(i := _text(r.get("external_id")))
        ]
        if not ids:
            notes.append((_text(each.get("id")), "the attack pattern names no ATT&CK technique"))
        found.update(ids)
    return sorted(found)


def _about(there: Sequence[Mapping[str, Any]]) -> list[str]:
    said = [f"{_ABOUT[t]}: {n}"[:_NAME] for o in there if (t := _text(o.get("type"))) in _ABOUT and (n := _name(o))]
    return list(dict.fromkeys(said))[:_MOST_LISTED]


def _name(each: Mapping[str, Any]) -> str:
    return " ".join(_text(each.get("name")).split())


def _threat(there: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> str:
    for kind, member, word, threat in _THREATS:
        if any(o.get("type") == kind and word in _texts(o.get(member)) for o in there):
            return threat
    return next(iter(_texts(report.get("report_types")) or _texts(report.get("labels"))), "").replace("-", " ")


def _references(report: Mapping[str, Any]) -> list[str]:
    urls = [_text(r.get("url")) for r in _maps(report.get("external_references"))]
    return [u for u in dict.fromkeys(urls) if re.match(r"https?://", u) and len(u) <= _URL]


def _maps(value: Any) -> Iterator[Mapping[str, Any]]:
    return (v for v in value if isinstance(v, dict)) if isinstance(value, list) else iter(())


def _texts(value: Any) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _moment(value: Any) -> datetime | None:
    try:
        made = datetime.fromisoformat(_text(value))
    except ValueError:
        return None
    return made.astimezone(UTC) if made.tzinfo is not None else made.replace(tzinfo=UTC)
