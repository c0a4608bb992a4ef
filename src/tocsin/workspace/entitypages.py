"""Entity pages: everything that is known of one host, account, address, file, URL, mailbox, process or cloud resource, for who asks.

What a page shows of rows is content (`packs/*/entities`): each item is a query that runs as the asker, so that a page never shows a row that
its reader couldn't query. Alerts and incidents come from state, aliases from what was learned. A part that fails or isn't allowed is named.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from tocsin.access.errors import ForbiddenError
from tocsin.base.errors import TocsinError, UsageError
from tocsin.content import PAGE_PARAMETERS, Content, EntityFile
from tocsin.detect.alert import Alert, iso
from tocsin.incidents.entitynames import Subject, fullest, names_of, related_by_alerts, subject, worst
from tocsin.incidents.facts import keys_of
from tocsin.incidents.judging import assets_of
from tocsin.incidents.load import alert_of
from tocsin.lake.engine import Limits
from tocsin.query import QueryService
from tocsin.query.service import check_scopes
from tocsin.state import AliasRow, IncidentFilter, State, Unit
from tocsin.tables.entities import Entity, EntityKey

__all__ = ["EntityPages"]

_LIMITS = Limits(rows=500, seconds=20.0)
_USUAL = timedelta(days=7)
_LONGEST = timedelta(days=180)
_AT_ONCE = 3
_INCIDENTS = 25
_ALERTS = 500
_ACTIVITIES = 1000
_LEVELS = ("low", "medium", "high", "veryHigh")


class Parts(Protocol):
    """The parts of the workspace that pages need."""

    queries: QueryService
    state: State


class EntityPages:
    """Makes pages. Nothing is kept: each is made from what state, content and tables hold now."""

    def __init__(self, parts: Parts, content: Callable[[], Content]) -> None:
        self._parts = parts
        self._content = content

    def page(
        self,
        kind: str,
        name: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        principal: Any = None,
        cancel: threading.Event | None = None,
    ) -> dict[str, Any]:
        """The page of a thing over a time, by default the last seven days. Raises UsageError for a type or name that can't be, or a time that
        ends before it begins or is longer than 180 days."""
        about = subject(kind, name)
        until = _utc(end) or self._parts.state.clock.now()
        since = _utc(start) or until - _USUAL
        if not since < until or until - since > _LONGEST:
            raise UsageError("The time must end after it begins and be at most 180 days.", code="USE0052")
        with self._parts.state.read() as unit:
            claims = [c for c in _claims(unit, about) if _may_read(principal, c)]
            names, others = names_of(about, claims)
            about.names = names
            keys = about.keys(others)
            seen = _Seen(unit, names, keys, since, until) if _may(principal, "incidents.read") else None
            assets = [a for a in assets_of(unit) if a.name.lower() in names and a.kind == about.type]
        rows, left_out = self._ask(about, since, until, principal, cancel)
        timeline = _timeline(rows["timeline"], seen)
        related = [*_related(rows["related"]), *(related_by_alerts(seen.alerts, keys) if seen else ())]
        moments = [m for t in timeline for m in (t["first"], t["time"])] + [
            m for a in map(_alias, claims) for m in (a["first"], a["last"])
        ]
        if seen:
            moments.extend(iso(a.end) for a in seen.alerts)
        return {
            "type": about.type,
            "name": fullest(about, claims, others),
            "identifiers": dict(about.entity.identifiers),
            "names": names,
            "notes": about.notes,
            "from": iso(since),
            "to": iso(until),
            "known": bool(timeline or claims or rows["facts"] or rows["prevalence_found"]),
            "first_seen": min(moments, default=None),
            "last_seen": max(moments, default=None),
            "facts": [_fact(r) for r in rows["facts"]],
            "criticality": _criticality(assets),
            "risk": _risk(seen),
            "aliases": [_alias(c) for c in claims],
            "prevalence": [{"name": str(r["Name"]), "count": int(r["Count"])} for r in rows["prevalence_found"]],
            "timeline": [{n: v for n, v in t.items() if n != "first"} for t in timeline[:_ACTIVITIES]],
            "timeline_left_out": max(0, len(timeline) - _ACTIVITIES),
            "alerts": [_brief(a, seen) for a in seen.alerts[:_ALERTS]] if seen else [],
            "alerts_left_out": max(0, len(seen.alerts) - _ALERTS) if seen else 0,
            "incidents": seen.incidents if seen else [],
            "incidents_left_out": seen.left_out if seen else 0,
            "related": [{**r, "first": _text(r["first"]), "last": _text(r["last"])} for r in related],
            "hunts": [self._hunt(i, about, since, until) for i in self._items(about, "hunt")],
            "left_out": left_out,
        }

    # ------------------------------------------------------------------ inside

    def _items(self, about: Subject, *kinds: str) -> list[EntityFile]:
        return [i for i in self._content().entities if i.entity == about.type and i.kind in kinds]

    def _ask(
        self, about: Subject, since: datetime, until: datetime, principal: Any, cancel: threading.Event | None
    ) -> tuple[dict[str, list[dict[str, Any]]], list[dict[str, str]]]:
        """The rows of the content's queries by kind, and which items gave none because they failed or weren't allowed."""
        rows: dict[str, list[dict[str, Any]]] = {k: [] for k in ("facts", "timeline", "related", "prevalence")}
        left_out: list[dict[str, str]] = []
        parameters = {"Names": about.names, "Parts": about.parts, "Start": since, "End": until}

        def ask(item: EntityFile) -> tuple[list[dict[str, Any]], str]:
            text = PAGE_PARAMETERS + str(item.document.value["query"])
            try:
                result = self._parts.queries.run(
                    text, principal=principal, parameters=parameters, limits=_LIMITS, cancel=cancel
                )
            except ForbiddenError as error:
                return [], error.message
            except TocsinError as error:
                return [], f"{error.message} {error.hint}".strip()
            cut = f"More than {_LIMITS.rows} rows; the rest isn't shown." if result.truncated else ""
            return result.dicts(), cut

        items = self._items(about, *rows)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for item, (found, problem) in zip(items, pool.map(ask, items), strict=True):
                name = str(item.document.value["name"])
                if problem:
                    left_out.append({"name": name, "why": problem})
                rows[item.kind].extend({**r, "_item": name} for r in found)
        rows["prevalence_found"] = [r for r in rows["prevalence"] if r.get("Count")]
        return rows, left_out

    @staticmethod
    def _hunt(item: EntityFile, about: Subject, since: datetime, until: datetime) -> dict[str, Any]:
        """A next hunt as text that can be run and changed: the names stand in it."""
        value = item.document.value
        lets = [
            f"let Names = dynamic({json.dumps(about.names)});",
            f"let Start = datetime({iso(since)});",
            f"let End = datetime({iso(until)});",
        ]
        if about.parts:
            lets.append(f"let Parts = dynamic({json.dumps(about.parts)});")
        return {
            "name": str(value["name"]),
            "description": str(value.get("description") or ""),
            "tactics": list(value.get("tactics") or ()),
            "query": "\n".join([*lets, str(value["query"]).strip()]),
        }


class _Seen:
    """What state's incidents say of a thing in a time: alerts that name it, the incidents that they are in."""

    def __init__(self, unit: Unit, names: Sequence[str], keys: Iterable[Any], since: datetime, until: datetime) -> None:
        wanted = frozenset(keys)
        found: dict[str, Any] = {}
        total = 0
        for text in _fewest(names):
            page, count = unit.incidents.page(IncidentFilter(text=text), sort="updated", limit=_INCIDENTS)
            found.update((r.id, r) for r in page)
            total += max(0, count - len(page))
        self.left_out = total
        self.alerts: list[Alert] = []
        self.incidents: list[dict[str, Any]] = []
        self.of: dict[str, Any] = {}
        for row in sorted(found.values(), key=lambda r: r.last, reverse=True)[:_INCIDENTS]:
            alerts = [alert_of(a) for a in unit.incidents.alerts_of(row.id)]
            mine = [a for a in alerts if a.time <= until and a.end >= since and _names(a, wanted)]
            if not mine:
                continue
            self.alerts.extend(mine)
            self.of.update((a.id, row) for a in mine)
            self.incidents.append(
                {
                    "id": row.id, "number": row.number, "title": row.title, "severity": row.severity, "status": row.status,
                    "priority": row.priority, "first": iso(row.first), "last": iso(row.last), "alerts": len(mine),
                }
            )  # fmt: skip
        self.alerts.sort(key=lambda a: (a.time, a.id), reverse=True)


def _names(alert: Alert, keys: frozenset[Any]) -> bool:
    entities = (*alert.entities, *(a.other for a in alert.aliases))
    return any(k in keys for e in entities for k in _keys(e))


def _keys(entity: Entity) -> tuple[EntityKey, ...]:
    keys = keys_of(entity)
    # A file that is asked for by its bare name may lie anywhere.
    return (*keys, *(("file", "", k[2]) for k in keys if k[0] == "file"))


def _fewest(names: Sequence[str]) -> list[str]:
    """The names that are part of no other: who looks for texts that hold one finds the others too."""
    short = [n for n in names if not any(o != n and o in n for o in names)]
    return [n.rpartition("\\")[2] if "\\" in n and "." not in n.rpartition("\\")[2] else n for n in short][:8]


def _claims(unit: Unit, about: Subject) -> list[AliasRow]:
    """What is claimed of the thing under its names, and under those that these give. Of an address or host also who had it."""
    if about.type not in ("Host", "Account", "IP", "Mailbox"):
        return []
    found: dict[str, AliasRow] = {}
    names = list(about.names)
    # A host that is asked for by its bare name is known by its full one.
    beginning = [f"{n}." for n in names if about.type == "Host" and "." not in n]
    for _ in range(3):
        more = {c.id: c for c in unit.aliases.of(names, beginning=beginning) if c.id not in found}
        beginning = []
        if not more:
            break
        found.update(more)
        if about.type == "IP":
            break
        names = [
            n
            for c in more.values()
            if "Address" not in (c.payload["one_kind"], c.payload["other_kind"])
            for n in (c.one, c.other)
        ]
    return sorted(found.values(), key=lambda c: (c.last, c.id), reverse=True)


def _may_read(principal: Any, claim: AliasRow) -> bool:
    """Whether the asker may read the table that taught it."""
    table = str((claim.payload.get("row") or {}).get("Table") or "")
    try:
        check_scopes(principal, frozenset({table}))
    except ForbiddenError:
        return False
    return True


def _may(principal: Any, permission: str) -> bool:
    return principal is None or bool(principal.may(permission))


def _alias(claim: AliasRow) -> dict[str, Any]:
    p = claim.payload
    return {
        "one": claim.one, "one_kind": p["one_kind"], "other": claim.other, "other_kind": p["other_kind"], "scope": p["scope"],
        "first": iso(claim.first), "last": iso(claim.last), "from": iso(claim.first - timedelta(seconds=p["before"])), "to": iso(claim.until),
        "confidence": p["confidence"], "source": p["source"], "row": p["row"],
    }  # fmt: skip


def _fact(row: dict[str, Any]) -> dict[str, Any]:
    texts = {n.lower(): str(row.get(n) or "") for n in ("Name", "Value", "Source")}
    return {**texts, "time": _text(row.get("Time"))}


def _criticality(assets: Sequence[Any]) -> dict[str, Any]:
    best = max(
        (a.level for a in assets), key=lambda level: _LEVELS.index(level) if level in _LEVELS else -1, default=""
    )
    return {"level": best, "reasons": sorted({a.rule for a in assets})}


def _risk(seen: _Seen | None) -> dict[str, Any]:
    """The highest severity of its alerts in incidents that are open, and which those are."""
    if seen is None:
        return {"level": "", "reasons": []}
    open_ones = [i for i in seen.incidents if i["status"] not in ("Resolved", "Redirected")]
    ids = {i["id"] for i in open_ones}
    level = worst({"severity": a.severity} for a in seen.alerts if seen.of[a.id].id in ids)
    reasons = [
        f"#{i['number']} {i['title']} (priority {i['priority']})"
        for i in sorted(open_ones, key=lambda i: -i["priority"])[:5]
    ]
    return {"level": level, "reasons": reasons}


def _timeline(rows: Sequence[dict[str, Any]], seen: _Seen | None) -> list[dict[str, Any]]:
    """Alerts, anomalies and activities, the latest first."""
    found = [
        {
            "time": _text(r.get("TimeGenerated")), "first": _text(r.get("First") or r.get("TimeGenerated")),
            "kind": str(r.get("Category") or "activity"), "title": str(r.get("Title") or ""),
            "detail": str(r.get("Detail") or ""), "count": int(r.get("Count") or 1), "source": str(r.get("Source") or r["_item"]),
            "severity": "", "incident_id": None, "alert_id": None,
        }
        for r in rows
        if r.get("TimeGenerated")
    ]  # fmt: skip
    for alert in seen.alerts if seen else ():
        row = seen.of[alert.id] if seen else None
        found.append(
            {
                "time": iso(alert.time), "first": iso(alert.time),
                "kind": "alert", "title": alert.title or alert.rule, "detail": f"#{row.number} {row.title}" if row else "",
                "count": alert.count, "source": alert.product, "severity": alert.severity, "incident_id": row.id if row else None,
                "alert_id": alert.id,
            }
        )  # fmt: skip
    return sorted(found, key=lambda t: (t["time"], t["kind"], t["title"]), reverse=True)


def _related(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"type": str(r.get("Type") or ""), "name": str(r["Name"]), "how": str(r.get("How") or ""), "first": r.get("First"), "last": r.get("Last"),
         "seen": int(r.get("Seen") or 0)}
        for r in rows
        if r.get("Name")
    ]  # fmt: skip


def _brief(alert: Alert, seen: _Seen) -> dict[str, Any]:
    row = seen.of[alert.id]
    raw = alert.to_dict()
    names = ("id", "rule", "rule_id", "title", "time", "end", "severity", "tactics", "techniques", "count", "product")
    return {**{n: raw[n] for n in names}, "incident_id": row.id, "incident_number": row.number}


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return iso(value if value.tzinfo else value.replace(tzinfo=UTC))
    return str(value)


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
