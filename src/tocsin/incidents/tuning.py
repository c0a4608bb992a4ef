"""Tuning: what correlation and priority weigh, each number with its meaning and range; what another value would change; the history, with undo.

Values that somebody sets lie in state over those of `tocsin.toml` and of the packs. Correlation's count from the next alert on; priority is
worked out anew for every open incident at once.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from tocsin.base.errors import UsageError, did_you_mean
from tocsin.incidents import reshape, tuned
from tocsin.incidents.desk import IncidentDesk
from tocsin.incidents.facts import PATTERNS
from tocsin.incidents.life import Actor
from tocsin.incidents.load import from_row
from tocsin.incidents.model import Incident, LinkedAlert, as_made
from tocsin.incidents.priority import LEAST, MEANINGS, MOST, Judge, Weights, points, priority, weights_of
from tocsin.incidents.tuned import nested
from tocsin.incidents.weights import WEIGHTS as KINDS
from tocsin.incidents.weights import CorrelationSettings, over
from tocsin.state import IncidentFilter, IncidentRow, State, Unit

__all__ = ["MOST_ALERTS", "MOST_INCIDENTS", "MOST_LOADED", "Tuning"]

MOST_ALERTS = 3000
"""Alerts of open incidents, the newest, that a preview of correlation runs through the engine."""

MOST_INCIDENTS = 1000
"""Open incidents, the most urgent, that a preview of priority looks at; closed ones that the report does."""

MOST_LOADED = 30_000
"""Alerts that the incidents looked at hold together at most: more would take the memory of a server that has other work."""

_HOURS = timedelta(hours=1)
_SHOWN = 200
_TOGETHER = 200


@dataclass(frozen=True, slots=True)
class Weight:
    """One number: what it is now, what it usually is, what it means, and the range that it may have."""

    name: str
    value: float | bool
    usual: float | bool
    unit: str
    meaning: str
    least: float | None
    most: float | None

    def to_dict(self) -> dict[str, Any]:
        """The API's shape."""
        return {name: getattr(self, name) for name in self.__slots__}


class Tuning:
    """Looks at weights, tries others, and sets them."""

    def __init__(self, state: State, desk: IncidentDesk) -> None:
        self._state = state
        self._desk = desk
        self._as_it_is: tuple[tuple[Any, ...], dict[str, str]] = ((), {})
        """What the newest alerts make by the settings in force, with what that follows from: who tries value after value asks for it every time."""

    def weights(self) -> dict[str, Any]:
        """Every weight of correlation and priority, and the version that they are at."""
        judge = self._state.judge or Judge()
        usual = Judge(techniques=judge.techniques, tags=judge.tags).points()
        return {
            "version": self.version(),
            "correlation": [w.to_dict() for w in _correlation(self._desk.correlation, self._desk.usual_correlation)],
            "priority": [w.to_dict() for w in _priority(judge.points(), usual)],
        }

    def version(self) -> int:
        """How often weights were set: what `set` compares."""
        with self._state.read() as unit:
            return tuned.version(unit)

    def preview(self, correlation: Mapping[str, Any] | None, priorities: Mapping[str, Any] | None) -> dict[str, Any]:
        """What these values (as `set` takes them) would change in the open incidents. UsageError INC0004 for what can't be."""
        made = self._wanted(correlation, priorities)
        self._desk.judge()  # what is known of rules and assets by now counts on both sides
        found: dict[str, Any] = {
            "joins": [],
            "alerts": 0,
            "alerts_open": 0,
            "priorities": [],
            "incidents": 0,
            "open": 0,
        }
        with self._state.read() as unit:
            rows, total = unit.incidents.page(IncidentFilter(("New", "InProgress")), limit=MOST_INCIDENTS)
            open_ones = _loaded(unit, rows)
        found |= {"incidents": len(open_ones), "open": total}
        if made.priority is not None:
            found["priorities"] = self._reordered(open_ones, made.priority)
        if made.correlation is not None:
            found |= self._rejoined(open_ones, made.correlation)
        return found

    def set(
        self,
        correlation: Mapping[str, Any] | None,
        priorities: Mapping[str, Any] | None,
        *,
        reason: str = "",
        version: int | None = None,
        actor: Actor,
    ) -> dict[str, Any]:
        """Sets values by name; those left out are as usual, None leaves a side as it is. Gives the entry of the history, with how many open incidents
        have another priority by now (`reordered`), and whether some are still to be judged (`behind`). What is so already leaves no entry.

        UsageError INC0004 for what is no weight or out of range; `tuned.WeightsOvertakenError` when they aren't at that `version` any more.
        """
        self._wanted(correlation, priorities)
        with self._state.write() as unit:
            entry = tuned.write(unit, correlation, priorities, reason=reason, version=version, actor=actor)
        return self._in_force(entry)

    def history(self) -> list[dict[str, Any]]:
        """What was set, newest first: when, by whom, why, and what changed."""
        with self._state.read() as unit:
            return list(reversed(tuned.entries(unit)))

    def undo(self, entry_id: int, *, actor: Actor) -> dict[str, Any]:
        """Sets back the weights that an entry of the history set; others stay as they are. NotFoundError for no such entry,
        `tuned.WeightsOvertakenError` where one of them was set again since."""
        with self._state.write() as unit:
            correlation, priorities = tuned.without(unit, entry_id)
            self._wanted(correlation, priorities)
            made = tuned.write(unit, correlation, priorities, reason=f"undo of {entry_id}", actor=actor)
        return self._in_force(made)

    def _in_force(self, entry: dict[str, Any]) -> dict[str, Any]:
        return {**entry, "reordered": self._desk.retune(), "behind": self._desk.judging.behind}

    def report(self) -> dict[str, Any]:
        """What the weights do on what people have decided: see `_separation` and `_corrections`."""
        with self._state.read() as unit:
            rows, _ = unit.incidents.page(IncidentFilter(("Resolved",)), sort="updated", limit=MOST_INCIDENTS)
            labelled = _loaded(unit, [r for r in rows if r.classification])
            right = [i for i in labelled if i.classification == "TruePositive"]
            wrong = [i for i in labelled if i.classification != "TruePositive"]
            corrections = self._corrections(unit)
            rules = unit.incidents.outcomes_by_rule()
        judge = self._state.judge or Judge()
        return {
            "true_positives": len(right),
            "others": len(wrong),
            **_separation(right, wrong, judge),
            "corrections": corrections,
            "rules": [
                {"rule": rule, "right": yes, "wrong": no}
                for rule, (yes, no) in sorted(rules.items(), key=lambda r: (-r[1][1], -r[1][0], r[0]))[:_SHOWN]
            ],
        }

    # ------------------------------------------------------------------------------------------ parts

    def _wanted(self, correlation: Mapping[str, Any] | None, priorities: Mapping[str, Any] | None) -> _Wanted:
        return _Wanted(
            None if correlation is None else _settings(self._desk.usual_correlation, correlation),
            None if priorities is None else weights_of(nested(priorities)),
        )

    def _reordered(self, incidents: Sequence[Incident], weights: Weights) -> list[dict[str, Any]]:
        judge = self._state.judge or Judge()
        other = replace(judge, weights=weights)
        changed = []
        for incident in incidents:
            before, was = priority(incident, judge)
            after, reasons = priority(incident, other)
            if before != after:
                old = {r.text: r.weight for r in was}
                new = {r.text: r.weight for r in reasons}
                why = [
                    {"text": text, "weight": round(new.get(text, 0.0) - old.get(text, 0.0), 1)}
                    for text in dict.fromkeys((*new, *old))
                    if new.get(text, 0.0) != old.get(text, 0.0)
                ]
                changed.append({**_brief(incident), "before": before, "after": after, "reasons": why})
        changed.sort(key=lambda c: (-abs(c["after"] - c["before"]), c["number"]))
        return changed[:_SHOWN]

    def _rejoined(self, incidents: Sequence[Incident], settings: CorrelationSettings) -> dict[str, Any]:
        """The open incidents' alerts run through the engine twice, with the settings in force and with the others: what comes out otherwise."""
        linked = [(a, i) for i in incidents for a in i.alerts if a.alert.product != PATTERNS]
        newest = sorted(linked, key=lambda x: as_made(x[0]))[-MOST_ALERTS:]
        holder = {a.alert.id: i for a, i in newest}
        order = [a for a, _ in newest]
        before = self._in_force_now(order)
        after = self._partition(order, settings)
        groups_after: dict[str, list[str]] = defaultdict(list)
        for alert, group in after.items():
            groups_after[group].append(alert)
        groups_before: dict[str, list[str]] = defaultdict(list)
        for alert, group in before.items():
            groups_before[group].append(alert)
        changes = [
            _said("merge", ids, holder)
            for ids in groups_after.values()
            if len({before[a] for a in ids}) > 1 and len({holder[a].id for a in ids}) > 1
        ]
        changes += [_said("split", ids, holder) for ids in groups_before.values() if len({after[a] for a in ids}) > 1]
        changes.sort(key=lambda c: -c["alerts"])
        return {"joins": changes[:_SHOWN], "alerts": len(newest), "alerts_open": len(linked)}

    def _in_force_now(self, order: Sequence[LinkedAlert]) -> dict[str, str]:
        """`_partition` by the settings in force. Of an alert that was filed nothing changes any more but its aliases."""
        settings = self._desk.correlation
        engine = self._desk.memory.another(settings)
        asked = (settings, engine.links, engine.patterns, [(a.alert.id, a.alert.aliases) for a in order])
        if self._as_it_is[0] != asked:
            self._as_it_is = (asked, self._partition(order, settings))
        return self._as_it_is[1]

    def _partition(self, order: Sequence[LinkedAlert], settings: CorrelationSettings) -> dict[str, str]:
        """By alert the id of the incident that the engine makes of it, without what people decided."""
        made = self._desk.memory.another(settings)
        made.add([linked.alert for linked in order])
        found = {}
        for linked in order:
            incident = made.holding(linked.alert.id)
            found[linked.alert.id] = incident.id if incident is not None else linked.alert.id
        return found

    def _corrections(self, unit: Unit) -> dict[str, int]:
        """What people put right by hand, and whether the engine, run on those alerts alone, would do it by itself now."""
        merged, _, _ = unit.actions.page(
            statuses=("Succeeded",), kind="incident.merge", include_edits=True, limit=_SHOWN, offset=0
        )
        counts: Counter[str] = Counter()
        for action in merged:
            counts["merged"] += 1
            target = action.incident_id or ""
            sources = list((action.undo_data or {}).get("sources", ()))
            alerts = {a["id"] for s in sources for a in s["alerts"]}
            row = unit.incidents.get(target)
            if row is None:
                continue
            linked = [a for a in from_row(row, unit.incidents.alerts_of(target)).alerts if a.alert.product != PATTERNS]
            groups = self._partition(_by_arrival(linked), self._desk.correlation)
            inside = {groups[a] for a in groups if a in alerts}
            outside = {groups[a] for a in groups if a not in alerts}
            counts["merged_now"] += bool(inside & outside) or not outside
        for one, other in reshape.last_apart(unit, _SHOWN):
            rows = [r for i in (one, other) if (r := unit.incidents.get(i)) is not None]
            if len(rows) < 2:
                continue
            counts["apart"] += 1
            parts = [from_row(r, unit.incidents.alerts_of(r.id)).alerts for r in rows]
            linked = [a for p in parts for a in p if a.alert.product != PATTERNS]
            groups = self._partition(_by_arrival(linked), self._desk.correlation)
            sides = [{groups[a.alert.id] for a in p if a.alert.id in groups} for p in parts]
            counts["apart_now"] += not sides[0] & sides[1]
        return {name: counts[name] for name in ("merged", "merged_now", "apart", "apart_now")}


@dataclass(frozen=True, slots=True)
class _Wanted:
    correlation: CorrelationSettings | None
    priority: Weights | None


def _settings(base: CorrelationSettings, given: Mapping[str, Any]) -> CorrelationSettings:
    try:
        made = over(base, given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(p) for p in first["loc"])
        known = [*CorrelationSettings.model_fields, *(f"weights.{k}" for k in KINDS)]
        unknown = first["type"] == "extra_forbidden"
        said = (
            f"There is no weight {name!r}."
            if unknown
            else f"The weight {name!r} can't be that: {first['msg'].lower()}."
        )
        raise UsageError(said, code="INC0004", hint=did_you_mean(name, known) if unknown else "") from error
    bad = [n for n, v in made.points().items() if not (math.isfinite(v) and 0 <= v <= MOST)]
    if bad:
        raise UsageError(f"The weight 'weights.{bad[0]}' is a number from 0 to {MOST:g}.", code="INC0004")
    return made


def _correlation(now: CorrelationSettings, usual: CorrelationSettings) -> Iterable[Weight]:
    for name, field in CorrelationSettings.model_fields.items():
        if name == "weights":
            continue
        least = most = None
        for rule in field.metadata:
            least = getattr(rule, "ge", getattr(rule, "gt", least))
            most = getattr(rule, "le", most)
        value, before = getattr(now, name), getattr(usual, name)
        unit = "yes or no" if isinstance(value, bool) else "count" if isinstance(value, int) else "points"
        if isinstance(value, timedelta):
            value, before, unit, least = value / _HOURS, before / _HOURS, "hours", 0.0
        elif most == 1:
            unit = "share"
        yield Weight(name, value, before, unit, field.description or "", least, most)
    points, known = now.points(), usual.points()
    for kind in KINDS:
        meaning = f"Points of a shared {_kind(kind)}."
        yield Weight(f"weights.{kind}", points[kind], known[kind], "points", meaning, 0.0, MOST)


def _kind(kind: str) -> str:
    head, _, by = kind.partition(".")
    return f"{head}, known by {by}" if by else head


def _priority(now: Mapping[str, Any], usual: Mapping[str, Any]) -> Iterable[Weight]:
    for name, meaning in MEANINGS.items():
        value = now[name]
        if isinstance(value, Mapping):
            for key, points in value.items():
                said = meaning.format(key)
                yield Weight(f"{name}.{key}", points, usual[name].get(key, 0.0), "points", said, LEAST, MOST)
        else:
            unit = "count" if name in ("rare_below", "signal_cases") else "points"
            yield Weight(name, value, usual[name], unit, meaning, LEAST, MOST)


def _loaded(unit: Unit, rows: Iterable[IncidentRow]) -> list[Incident]:
    """The rows' incidents with their alerts, as many as hold `MOST_LOADED` alerts together, and the first in any case."""
    taken: list[IncidentRow] = []
    held = 0
    for row in rows:
        held += row.alert_count
        if taken and held > MOST_LOADED:
            break
        taken.append(row)
    found: list[Incident] = []
    for start in range(0, len(taken), _TOGETHER):
        part = taken[start : start + _TOGETHER]
        alerts = unit.incidents.alerts_of_several([row.id for row in part])
        found.extend(from_row(row, alerts.get(row.id, ())) for row in part)
    return found


def _brief(incident: Incident) -> dict[str, Any]:
    return {"id": incident.id, "number": incident.number, "title": incident.title}


def _said(kind: str, alerts: Sequence[str], holder: Mapping[str, Incident]) -> dict[str, Any]:
    incidents = {holder[a].id: holder[a] for a in alerts}
    return {"kind": kind, "alerts": len(alerts), "incidents": [_brief(i) for i in incidents.values()]}


def _by_arrival(linked: Iterable[LinkedAlert]) -> list[LinkedAlert]:
    return sorted(linked, key=as_made)


def _separation(right: Sequence[Incident], wrong: Sequence[Incident], judge: Judge) -> dict[str, Any]:
    """How well priority tells true positives from the rest: the share of pairs in which the true positive comes first (a half is chance), and
    the same without each factor. What a rule's past says is left out: it was learned from these very labels."""
    fair = replace(judge, first={}, closed={})

    def share(weights: Weights) -> float | None:
        other = replace(fair, weights=weights)
        yes = [points(i, other) for i in right]
        no = [points(i, other) for i in wrong]
        if not yes or not no:
            return None
        ranked = sorted(no)
        wins = sum(_below(ranked, y) for y in yes)
        return wins / (len(yes) * len(no))

    now = share(judge.weights)
    factors: list[dict[str, Any]] = []
    for name in MEANINGS:
        value = getattr(judge.weights, name)
        if name.endswith("_most") or name in ("rare_rule", "rare_below", "signal", "signal_cases", "techniques"):
            continue
        none: dict[str, Any] = {name: dict.fromkeys(value, 0.0) if isinstance(value, Mapping) else 0.0}
        without = share(replace(judge.weights, **none))
        if now is not None and without is not None:
            factors.append({"name": name, "without": round(without, 4), "worth": round(now - without, 4)})
    factors.sort(key=lambda f: -f["worth"])
    return {"separation": None if now is None else round(now, 4), "factors": factors}


def _below(ranked: Sequence[float], value: float) -> float:
    low, high = bisect_left(ranked, value), bisect_right(ranked, value)
    return low + (high - low) / 2
