"""Alerts in their incidents: what each is, why it is there, and what rules' alerts say of rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CompoundSelect, Integer, Select, Text, and_, cast, delete, func, insert, or_, select, update

from tocsin.state.repository import Repository
from tocsin.state.schema import alerts, incident_rules, incidents, rule_firsts
from tocsin.state.types import dumps, plain

__all__ = ["FIRSTS", "IncidentAlerts", "alert_values"]

_RULE = 512
"""What stands for a rule is told apart by so many characters: databases don't index what has no end."""

FIRSTS = 100
"""So many of each rule's alerts, the first ones, are numbered: no setting asks for more."""

_HELD = ("incident_id", "rule_id", "alerts", "shown", "closed", "classification")
_BRIEF = tuple(
    alerts.c[n]
    for n in (
        "incident_id", "id", "rule", "rule_id", "title", "time", "end", "severity", "tactics", "techniques", "count", "product",
    )
)  # fmt: skip


def alert_values(alert: Mapping[str, Any]) -> dict[str, Any]:
    """An alert's values by column, of its JSON form; it is in no incident yet."""
    return {
        "id": alert["id"],
        "rule_id": alert["rule_id"],
        "rule": alert["rule"],
        "title": alert.get("title", ""),
        "severity": alert["severity"],
        "time": datetime.fromisoformat(alert["time"]),
        "end": datetime.fromisoformat(alert["end"]),
        "created": datetime.fromisoformat(alert["created"]),
        "product": alert.get("product", ""),
        "count": alert.get("count", 1),
        "tactics": alert.get("tactics", []),
        "techniques": alert.get("techniques", []),
        "payload": dict(alert),
        "linked_by": [],
    }


class IncidentAlerts(Repository):
    """Alerts by incident, by id and by rule."""

    def know(self, alert_id: str, aliases: Sequence[Mapping[str, Any]]) -> None:
        """Keeps what an alert's entities turned out to be known as: the only thing about an alert that is learned afterwards."""
        row = self._c.execute(select(alerts.c.payload).where(alerts.c.id == alert_id)).first()
        if row is not None:
            payload = {**row.payload, "aliases": [dict(a) for a in aliases]}
            self._c.execute(update(alerts).where(alerts.c.id == alert_id).values(payload=payload))

    def link(self, incident_id: str, links: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Puts kept alerts into an incident, each with the reasons for which it is there, taking them out of another."""
        for alert_id, reasons in links.items():
            self._c.execute(
                update(alerts)
                .where(alerts.c.id == alert_id)
                .values(incident_id=incident_id, linked_by=[dict(r) for r in reasons])
            )

    def classified_by_rule(self) -> dict[str, dict[str, int]]:
        """By rule: how many shown incidents hold an alert of it, by their classification ("" for none yet)."""
        held = incident_rules.c
        chosen = select(held.rule_id, held.classification, func.count()).where(held.shown.is_(True))
        chosen = chosen.group_by(held.rule_id, held.classification)
        found: dict[str, dict[str, int]] = {}
        for rule_id, classification, count in self._c.execute(chosen):
            found.setdefault(str(rule_id), {})[str(classification)] = int(count)
        return found

    def alerts_of_rule(self, rule_id: str, since: datetime) -> list[dict[str, Any]]:
        """The JSON forms of a rule's alerts that end at that time or later."""
        chosen = select(alerts.c.payload).where(alerts.c.rule_id == rule_id, alerts.c.end >= since)
        return [dict(p) for (p,) in self._c.execute(chosen)]

    def alerts_said(self, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """The JSON forms of alerts that were made in ``[since, until)``."""
        chosen = select(alerts.c.payload).where(alerts.c.created >= since, alerts.c.created < until)
        return [dict(p) for (p,) in self._c.execute(chosen)]

    def alerts_of(self, incident_id: str) -> list[dict[str, Any]]:
        """An incident's alerts in full, by time."""
        chosen = select(alerts.c.payload, alerts.c.linked_by).where(alerts.c.incident_id == incident_id)
        rows = self._c.execute(chosen.order_by(alerts.c.time, alerts.c.id))
        return [{**r.payload, "linked_by": r.linked_by} for r in rows]

    def alerts_said_of(self, incident_id: str) -> list[dict[str, Any]]:
        """An incident's alerts by time, without why they are in it and without the rows that prove them."""
        chosen = select(alerts.c.payload).where(alerts.c.incident_id == incident_id)
        rows = self._c.execute(chosen.order_by(alerts.c.time, alerts.c.id))
        return [{**payload, "events": ()} for (payload,) in rows]

    def alerts_page(
        self,
        incident_id: str,
        *,
        after: str = "",
        limit: int,
        severities: Sequence[str] = (),
        text: str = "",
        one: str = "",
    ) -> list[dict[str, Any]]:
        """An incident's alerts in full, by time: at most so many, those after the alert of that id; of those severities, with that text anywhere in
        them; `one` only the alert of that id. Nothing follows an alert that isn't there."""
        chosen = self._of(select(alerts.c.payload, alerts.c.linked_by), incident_id, severities, text, one)
        if after:
            place = select(alerts.c.time).where(alerts.c.id == after).scalar_subquery()
            chosen = chosen.where(or_(alerts.c.time > place, and_(alerts.c.time == place, alerts.c.id > after)))
        rows = self._c.execute(chosen.order_by(alerts.c.time, alerts.c.id).limit(limit))
        return [{**r.payload, "linked_by": r.linked_by} for r in rows]

    def alerts_count(self, incident_id: str, *, severities: Sequence[str] = (), text: str = "", one: str = "") -> int:
        """How many alerts `alerts_page` gives in all."""
        chosen = self._of(select(func.count()).select_from(alerts), incident_id, severities, text, one)
        return int(self._c.execute(chosen).scalar_one())

    @staticmethod
    def _of(chosen: Select[Any], incident_id: str, severities: Sequence[str], text: str, one: str) -> Select[Any]:
        chosen = chosen.where(alerts.c.incident_id == incident_id)
        if severities:
            chosen = chosen.where(alerts.c.severity.in_(severities))
        if one:
            chosen = chosen.where(alerts.c.id == one)
        for word in text.split():
            # The document is kept as JSON text: a word is looked for as it is written there.
            chosen = chosen.where(cast(alerts.c.payload, Text).icontains(dumps(plain(word))[1:-1], autoescape=True))
        return chosen

    def alerts_of_several(self, incident_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """By incident its alerts in full, by time."""
        chosen = select(alerts.c.incident_id, alerts.c.payload, alerts.c.linked_by)
        chosen = chosen.where(alerts.c.incident_id.in_(incident_ids))
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self._c.execute(chosen.order_by(alerts.c.incident_id, alerts.c.time, alerts.c.id)):
            found.setdefault(str(row.incident_id), []).append({**row.payload, "linked_by": row.linked_by})
        return found

    def alerts_in(self, statuses: Sequence[str]) -> Iterator[tuple[str, int | None, dict[str, Any]]]:
        """Every alert of the incidents of those statuses that people see, in its JSON form, with its incident's id and number; in no order, and not
        all held at once."""
        chosen = select(incidents.c.id, incidents.c.number, alerts.c.payload)
        chosen = chosen.select_from(alerts.join(incidents, alerts.c.incident_id == incidents.c.id))
        chosen = chosen.where(incidents.c.promoted.is_(True), incidents.c.status.in_(statuses))
        for incident_id, number, alert in self._c.execute(chosen, execution_options={"yield_per": 500}):
            yield str(incident_id), number, alert

    def alerts_as_made(self, incident_ids: Sequence[str]) -> list[tuple[str, str]]:
        """Ids of those incidents' alerts, each with its incident's, in the order in which they were made."""
        found: list[tuple[datetime, datetime, str, str]] = []
        for start in range(0, len(incident_ids), 500):
            chosen = select(alerts.c.created, alerts.c.time, alerts.c.id, alerts.c.incident_id)
            chosen = chosen.where(alerts.c.incident_id.in_(incident_ids[start : start + 500]))
            found.extend((r.created, r.time, str(r.id), str(r.incident_id)) for r in self._c.execute(chosen))
        return [(alert_id, incident_id) for _, _, alert_id, incident_id in sorted(found)]

    def alerts_by_id(self, alert_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Alerts in full, wherever they are."""
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(alert_ids), 500):
            chosen = select(alerts.c.id, alerts.c.payload).where(alerts.c.id.in_(alert_ids[start : start + 500]))
            found.update({str(r.id): dict(r.payload) for r in self._c.execute(chosen)})
        return found

    def alerts_named(self, alert_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """By id: id, title, rule and time of alerts, wherever they are."""
        found: dict[str, dict[str, Any]] = {}
        names = ("id", "title", "rule", "time")
        for start in range(0, len(alert_ids), 500):
            chosen = select(*(alerts.c[n] for n in names)).where(alerts.c.id.in_(alert_ids[start : start + 500]))
            found.update({str(r.id): dict(r._mapping) for r in self._c.execute(chosen)})
        return found

    def alert_ids(self, incident_id: str) -> set[str]:
        """Ids of an incident's alerts."""
        return {r[0] for r in self._c.execute(select(alerts.c.id).where(alerts.c.incident_id == incident_id))}

    def alert_rules(self, incident_id: str) -> dict[str, str]:
        """By alert of the incident, in time: the id of the rule that made it."""
        chosen = select(alerts.c.id, alerts.c.rule_id).where(alerts.c.incident_id == incident_id)
        return {str(r.id): str(r.rule_id) for r in self._c.execute(chosen.order_by(alerts.c.time, alerts.c.id))}

    def rule_names(self, incident_id: str) -> dict[str, str]:
        """By id of a rule that the incident holds alerts of: its name."""
        chosen = select(alerts.c.rule_id, func.max(alerts.c.rule)).where(alerts.c.incident_id == incident_id)
        return {str(i): str(name) for i, name in self._c.execute(chosen.group_by(alerts.c.rule_id))}

    def holders(self, alert_ids: Sequence[str]) -> dict[str, str]:
        """By alert: the incident that holds it, for those that are known."""
        found: dict[str, str] = {}
        for start in range(0, len(alert_ids), 500):
            part = alert_ids[start : start + 500]
            chosen = select(alerts.c.id, alerts.c.incident_id).where(alerts.c.id.in_(part))
            found.update({r[0]: r[1] for r in self._c.execute(chosen) if r[1] is not None})
        return found

    def alert_briefs(self, sizes: Mapping[str, int], *, each: int = 50) -> dict[str, list[dict[str, Any]]]:
        """Alerts of several incidents without entities and evidence, at most `each` per incident, by time. `sizes`: by incident how many alerts it
        has, so that of a large one no more are looked at than are given."""
        small = [i for i, size in sizes.items() if size <= each]
        order = (alerts.c.time, alerts.c.id)
        some = [alerts.c.incident_id.in_(small[n : n + 500]) for n in range(0, len(small), 500)]
        asked = [select(*_BRIEF).where(held).order_by(alerts.c.incident_id, *order) for held in some]
        asked.extend(
            select(*_BRIEF).where(alerts.c.incident_id == large).order_by(*order).limit(each)
            for large, size in sizes.items()
            if size > each
        )
        found: dict[str, list[dict[str, Any]]] = {}
        names = [c.name for c in _BRIEF[1:]]
        for chosen in asked if each else ():
            for incident_id, *values in self._c.execute(chosen):
                found.setdefault(str(incident_id), []).append(dict(zip(names, values, strict=True)))
        return found

    def alert_counts_by_rule(self) -> dict[str, int]:
        """How many alerts each rule has."""
        chosen = select(alerts.c.rule_id, func.count()).group_by(alerts.c.rule_id)
        return {str(rule): int(n) for rule, n in self._c.execute(chosen)}

    def first_alerts(self, below: float) -> dict[str, int]:
        """By alert, of each rule's first ones up to that number: the so-manieth of the rule it was."""
        chosen = select(rule_firsts.c.alert_id, rule_firsts.c.nth).where(rule_firsts.c.nth < below)
        return {str(alert): int(n) for alert, n in self._c.execute(chosen)}

    def note_first(self, filed: Sequence[tuple[str, str]]) -> dict[str, int]:
        """Numbers alerts that are filed now, each given by what stands for its rule and by its id, in that order; the numbers by alert, up to a
        rule's `FIRSTS`."""
        known: dict[str, int] = {}
        filed = [(plain(rule)[:_RULE], alert_id) for rule, alert_id in filed]
        rules = list(dict.fromkeys(rule for rule, _ in filed))
        for start in range(0, len(rules), 500):
            c = rule_firsts.c
            chosen = select(c.said_by, func.max(c.nth)).where(c.said_by.in_(rules[start : start + 500]))
            known.update({str(rule): int(n) for rule, n in self._c.execute(chosen.group_by(c.said_by))})
        made: dict[str, int] = {}
        rows = []
        for rule, alert_id in filed:
            if (n := known.get(rule, 0) + 1) <= FIRSTS:
                known[rule] = made[alert_id] = n
                rows.append({"said_by": rule, "nth": n, "alert_id": alert_id})
        if rows:
            self._c.execute(insert(rule_firsts), rows)
        return made

    def outcomes_by_rule(self) -> dict[str, tuple[int, int]]:
        """By rule: in how many closed incidents it was right (a true positive), and in how many it wasn't. Unclassified ones tell nothing."""
        held = incident_rules.c
        right = (held.classification == "TruePositive").label("right")
        chosen = select(held.rule_id, right, func.count()).where(held.closed.is_(True), held.classification != "")
        chosen = chosen.group_by(held.rule_id, right)
        found: dict[str, tuple[int, int]] = {}
        for rule, was_right, n in self._c.execute(chosen):
            yes, no = found.get(str(rule), (0, 0))
            found[str(rule)] = (yes + int(n), no) if was_right else (yes, no + int(n))
        return found

    def rules_held(self) -> tuple[int, int]:
        """How many entries of what figures of rules are counted from are not what the alerts say, and how many are missing."""
        kept = select(*(incident_rules.c[n] for n in _HELD))
        made = self._rules_held()
        return self._rows_of(kept.except_(made)), self._rows_of(made.except_(kept))

    def hold_rules_anew(self) -> None:
        """Makes that of what the alerts say."""
        self._c.execute(delete(incident_rules))
        self._c.execute(insert(incident_rules).from_select(_HELD, self._rules_held()))

    def _rows_of(self, chosen: CompoundSelect[Any]) -> int:
        return int(self._c.execute(select(func.count()).select_from(chosen.subquery())).scalar_one())

    @staticmethod
    def _rules_held() -> Select[Any]:
        closed, said = incidents.c.status == "Resolved", func.coalesce(incidents.c.classification, "")
        of = (incidents.c.id, alerts.c.rule_id)
        chosen = select(*of, cast(func.count(), Integer), incidents.c.promoted, closed, said)
        chosen = chosen.select_from(alerts.join(incidents, alerts.c.incident_id == incidents.c.id))
        return chosen.group_by(*of, incidents.c.promoted, closed, said)

    def sharing_rules(self, rule_ids: Sequence[str], *, but: str, limit: int) -> list[str]:
        """Ids of incidents that people see and that hold alerts of those rules, those that share most rules first, then the newest."""
        held = incident_rules.c
        chosen = (
            select(held.incident_id)
            .join(incidents, held.incident_id == incidents.c.id)
            .where(held.rule_id.in_(rule_ids), held.shown.is_(True), held.incident_id != but)
            .group_by(held.incident_id, incidents.c.number)
            .order_by(func.count().desc(), incidents.c.number.desc())
            .limit(limit)
        )
        return [str(r[0]) for r in self._c.execute(chosen)]
