"""The rules that are in force: packs and site folder loaded, switches applied, new ones saved as Sentinel YAML."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from tocsin.access import Principal
from tocsin.base.clock import Clock
from tocsin.base.errors import ContentError, TocsinError
from tocsin.base.ids import stable_uuid
from tocsin.content import Content, Pack, load_packs, load_watchlists, packs_dir
from tocsin.detect.alert import iso
from tocsin.detect.load import rules_of_content
from tocsin.detect.rule import Rule, RuleKind
from tocsin.incidents.fusion import patterns_of
from tocsin.ingest.decoders.declared import declare
from tocsin.query import QueryService
from tocsin.state import NotFoundError, State
from tocsin.workspace.rulecare import RuleCare
from tocsin.workspace.rulework import RuleWork, apply_tuning

__all__ = ["RuleBook"]

_KIND = "rule"
AUTO_DISABLED = "AUTO DISABLED"
"""What the name of a rule begins with that the scheduler gave up."""


class RuleBook:
    """Content and rules. Safe to use from several threads; `rules` is replaced as a whole.

    `cache` is a folder for compiled Sigma files. `changed` is called after every change with the rules in force (those that are switched off
    included, `enabled` False).
    """

    def __init__(
        self,
        state: State,
        queries: Callable[[], QueryService],
        *,
        site: Path,
        clock: Clock,
        packs: Sequence[Path] = (),
        cache: Path | None = None,
    ) -> None:
        self._state = state
        self._queries = queries
        self._site = site
        self._clock = clock
        self._cache = cache
        self._paths = (packs_dir(), *packs)
        self._lock = threading.Lock()
        self.content: Content = load_packs(self._layers(), cache=self._cache)
        self.rules: tuple[Rule, ...] = ()
        self.problems: tuple[TocsinError, ...] = ()
        self.work: RuleWork | None = None
        """Set once the rooms that it needs are there, as is `care`."""
        self.care: RuleCare | None = None
        self._formats: dict[str, str] = {}
        self._listeners: list[Callable[[Sequence[Rule]], None]] = []
        self.costs: Callable[[], Mapping[str, float]] = dict
        """What Sigma rules took lately, percents of a core by rule id."""
        self.blind: Callable[[str], Sequence[tuple[datetime, datetime]]] = lambda _: ()
        """During which stretches a Sigma rule was suppressed."""
        self.cap_percent: float | None = None
        """What a Sigma rule may take."""
        self._take()

    def subscribe(self, listener: Callable[[Sequence[Rule]], None]) -> None:
        """Calls `listener` with the rules, now and after each change."""
        self._listeners.append(listener)
        listener(self.rules)

    def reload(self) -> None:
        """Reads packs and site folder anew."""
        with self._lock:
            self.content = load_packs(self._layers(), cache=self._cache)
            self._take()

    def take_again(self) -> None:
        """Puts switches, exclusions and tuning into force that were changed in state."""
        with self._lock:
            self._take()

    def reload_watchlists(self) -> None:
        """Reads watchlists anew; rules are taken anew only where a Sigma rule has a placeholder, whose values are a watchlist's."""
        with self._lock:
            packs = [p for p in self.content.packs if p.folder != self._site]
            found = load_watchlists([*packs, Pack("site", "site", self._site)])
            self.content = replace(self.content, watchlists=found)
            if any(r.format == "sigma" and "expand" in r.text for r in self.content.rules):
                self._take()

    def reload_incident_content(self) -> None:
        """Reads anew what incidents are judged by and told with: threat reports, points, advice."""
        with self._lock:
            found = load_packs(self._layers(), only=("incidents",))
            self.content = replace(self.content, incidents=found.incidents)

    def _layers(self) -> list[Path]:
        return [*self._paths, *([self._site] if self._site.is_dir() else [])]

    def _take(self) -> None:
        rules, problems = rules_of_content(self.content, cache=self._cache)
        with self._state.read() as unit:
            switched = unit.rules.overrides(_KIND)
        in_force = []
        for rule in rules:
            override = switched.get(rule.id)
            if override is not None and override.enabled is not None and override.enabled != rule.enabled:
                rule = replace(rule, enabled=override.enabled)
            in_force.append(rule)
        self._formats = {str(f.path): f.format for f in self.content.rules}
        self.rules = tuple(apply_tuning(self._state, in_force))
        shapes = declare((str(f.path), f.document) for f in self.content.sources)
        self.problems = (*self.content.problems, *shapes, *problems, *patterns_of(self.content)[1])
        for listener in self._listeners:
            listener(self.rules)

    # ------------------------------------------------------------------ the API's port

    def list(self) -> Iterable[Mapping[str, Any]]:
        """Every rule with its last run (see `tocsin.api.routes.rules.RuleSummary`)."""
        with self._state.read() as unit:
            ledger = unit.rules.all()
        noise, week = self._noise(), self._week()
        ordered = sorted(self.rules, key=lambda r: r.name.lower())
        return [self._summary(rule, ledger.get(rule.id), noise, week) for rule in ordered]

    def _noise(self) -> Mapping[str, Mapping[str, int]]:
        return self.work.noise() if self.work is not None else {}

    def _week(self) -> Mapping[str, Any]:
        return self.care.week() if self.care is not None else {}

    def get(self, rule_id: str) -> Mapping[str, Any]:
        """One rule in full. Raises NotFoundError."""
        rule = self.find(rule_id)
        with self._state.read() as unit:
            row = unit.rules.all().get(rule_id)
        payload = row.payload if row is not None and isinstance(row.payload, dict) else {}
        return {
            **self._summary(rule, row, self._noise(), self._week()),
            "description": f"{rule.description}\n\n{row.disabled_reason}".strip()
            if row and row.disabled_reason
            else rule.description,
            **_turns(rule, row),
            "cap_percent": self.cap_percent,
            "query": rule.query,
            "yaml": rule.text,
            "frequency": _span(rule.frequency),
            "period": _span(rule.period),
            "threshold": rule.threshold,
            "operator": rule.operator.value,
            "suppression": _span(rule.suppression) if rule.suppression else None,
            "blind_windows": [
                *({"start": a, "end": b} for a, b in payload.get("blind") or ()),
                *({"start": iso(a), "end": iso(b)} for a, b in self.blind(rule_id)),
            ],
            "exclusions": [e.to_dict() for e in rule.exclusions],
            "tuning": self.work.tuning(rule_id) if self.work is not None else {},
            "entity_mappings": [
                {"type": m.type, "fields": [{"identifier": i, "column": c} for i, c in m.fields]}
                for m in rule.entity_mappings
            ],
        }

    def set_enabled(self, rule_id: str, enabled: bool, *, by: Principal) -> Mapping[str, Any]:
        """Switches a rule. A rule that the scheduler had given up gets a new chance. Raises NotFoundError."""
        self.switch([rule_id], enabled, by=by)
        return self.get(rule_id)

    def switch(self, rule_ids: Sequence[str], enabled: bool, *, by: Principal, reason: str = "") -> int:
        """Switches rules together, each with an entry of its own in the audit trail; how many were not so before.

        Raises NotFoundError for an id that isn't there; then nothing is changed.
        """
        chosen = {rule_id: self.find(rule_id) for rule_id in rule_ids}
        detail = {"reason": reason} if reason else {}
        with self._lock:
            with self._state.write() as unit:
                ledger = unit.rules.all()
                changed = 0
                for rule_id, rule in chosen.items():
                    given_up = rule_id in ledger and ledger[rule_id].disabled_reason is not None
                    changed += rule.enabled != enabled or (enabled and given_up)
                    unit.rules.override(_KIND, rule_id, enabled=enabled, by=by.name)
                    if enabled:
                        unit.rules.enable_again(rule_id)
                    unit.audit.add(
                        by.name,
                        "rule.switch",
                        "rule",
                        rule_id,
                        address=by.address,
                        before={"enabled": rule.enabled},
                        after={"enabled": enabled},
                        detail=detail,
                    )
            self._take()
        return changed

    def create(self, rule: Mapping[str, Any], *, by: Principal) -> Mapping[str, Any]:
        """Saves a rule as Sentinel YAML in the site folder and puts it into force.

        Raises KqlErrors when the query can't be compiled, ContentError when a column of the entity mappings isn't in its result.
        """
        compiled = self._queries().compile(rule["query"], self._clock.now())
        columns = {c.name for c in compiled.columns}
        for mapping in rule["entity_mappings"]:
            for field in mapping["fields"]:
                if field["column"] not in columns:
                    raise ContentError(
                        f"the query's result has no column '{field['column']}'",
                        code="CNT0020",
                        hint=f"It has {', '.join(sorted(columns))}.",
                    )
        rule_id = stable_uuid("site-rule", rule["name"], rule["query"])
        document = _sentinel(rule_id, rule)
        folder = self._site / "rules"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{_file_name(rule['name'])}-{rule_id[:8]}.yaml"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120), "utf-8")
        os.replace(temporary, path)
        with self._state.write() as unit:
            unit.audit.add(by.name, "rule.create", "rule", rule_id, address=by.address, before=None, after=document)
        self.reload()
        return self.get(rule_id)

    # ------------------------------------------------------------------ shapes

    def known(self, rule_id: str) -> Rule | None:
        """The rule in force of that id, if there is one."""
        return next((r for r in self.rules if r.id == rule_id), None)

    def find(self, rule_id: str) -> Rule:
        """The rule in force of that id. Raises NotFoundError."""
        found = self.known(rule_id)
        if found is None:
            raise NotFoundError(f"there is no rule '{rule_id}'")
        return found

    def _summary(
        self, rule: Rule, row: Any, noise: Mapping[str, Mapping[str, int]], week: Mapping[str, Any]
    ) -> dict[str, Any]:
        given_up = bool(row and row.disabled_reason)
        return {
            "id": rule.id,
            "name": f"{AUTO_DISABLED} {rule.name}" if given_up else rule.name,
            "severity": rule.severity,
            "kind": rule.kind.value,
            "tactics": list(rule.tactics),
            "techniques": list(rule.techniques),
            "enabled": rule.enabled and not given_up,
            "noise": noise.get(rule.id) or {},
            "budget": week.get(rule.id) or week.get(""),
            "format": self._formats.get(str(rule.path), ""),
            "disabled_reason": row.disabled_reason if row else None,
            "excluded": len(rule.exclusions),
            "source": str(rule.path or ""),
            "pack": rule.pack,
            "last_run": iso(row.last_run) if row and row.last_run else None,
            "last_status": row.last_status if row else None,
            "last_error": (row.disabled_reason or row.last_error) if row else None,
            "alerts": row.alerts if row else 0,
            "cost_percent": None if (cost := self.costs().get(rule.id)) is None else round(cost, 3),
        }


def _turns(rule: Rule, row: Any) -> dict[str, Any]:
    """How far a rule has come and when its next turn is, as far as the ledger tells."""
    if row is None:
        return {}
    due = max(
        (t for t in (row.window_end and row.window_end + rule.frequency, row.suppressed_until) if t), default=None
    )
    waits = rule.enabled and row.disabled_reason is None and rule.kind is not RuleKind.SIGMA
    return {
        "window_end": iso(row.window_end) if row.window_end else None,
        "suppressed_until": iso(row.suppressed_until) if row.suppressed_until else None,
        "next_run": iso(due) if due is not None and waits else None,
        "runs": row.runs,
        "failures": row.failures,
    }


def _sentinel(rule_id: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": rule_id,
        "name": rule["name"],
        "description": rule["description"] or rule["name"],
        "severity": rule["severity"],
        "status": "Available",
        "queryFrequency": rule["frequency"],
        "queryPeriod": rule["period"],
        "triggerOperator": "gt",
        "triggerThreshold": rule["threshold"],
        "tactics": list(rule["tactics"]),
        "relevantTechniques": list(rule["techniques"]),
        "query": rule["query"],
        "eventGroupingSettings": {"aggregationKind": "AlertPerResult"},
        "version": "1.0.0",
        "kind": "Scheduled",
    }
    if rule["entity_mappings"]:
        document["entityMappings"] = [
            {
                "entityType": m["type"],
                "fieldMappings": [{"identifier": f["identifier"], "columnName": f["column"]} for f in m["fields"]],
            }
            for m in rule["entity_mappings"]
        ]
    return document


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60] or "rule"


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0 and seconds:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
