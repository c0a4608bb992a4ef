"""The rules that are in force: packs and site folder loaded, switches applied, new ones saved as Sentinel YAML."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from tocsin.access import Principal
from tocsin.base.clock import Clock
from tocsin.base.errors import ContentError, TocsinError
from tocsin.base.ids import stable_uuid
from tocsin.content import Content, load_packs, packs_dir
from tocsin.detect.alert import iso
from tocsin.detect.load import rules_of_content
from tocsin.detect.rule import Rule
from tocsin.query import QueryService
from tocsin.state import NotFoundError, State

__all__ = ["RuleBook"]

_KIND = "rule"


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
        self._listeners: list[Callable[[Sequence[Rule]], None]] = []
        self.costs: Callable[[], Mapping[str, float]] = dict
        """What Sigma rules took lately, percents of a core by rule id."""
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
        self.rules = tuple(in_force)
        self.problems = (*self.content.problems, *problems)
        for listener in self._listeners:
            listener(self.rules)

    # ------------------------------------------------------------------ the API's port

    def list(self) -> Iterable[Mapping[str, Any]]:
        """Every rule with its last run (see `tocsin.api.routes.rules.RuleSummary`)."""
        with self._state.read() as unit:
            ledger = unit.rules.all()
        return [self._summary(rule, ledger.get(rule.id)) for rule in sorted(self.rules, key=lambda r: r.name.lower())]

    def get(self, rule_id: str) -> Mapping[str, Any]:
        """One rule in full. Raises NotFoundError."""
        rule = self._find(rule_id)
        with self._state.read() as unit:
            row = unit.rules.all().get(rule_id)
        return {
            **self._summary(rule, row),
            "description": rule.description,
            "query": rule.query,
            "yaml": rule.text,
            "frequency": _span(rule.frequency),
            "period": _span(rule.period),
            "threshold": rule.threshold,
            "entity_mappings": [
                {"type": m.type, "fields": [{"identifier": i, "column": c} for i, c in m.fields]}
                for m in rule.entity_mappings
            ],
        }

    def set_enabled(self, rule_id: str, enabled: bool, *, by: Principal) -> Mapping[str, Any]:
        """Switches a rule. A rule that the scheduler had given up gets a new chance."""
        before = self._find(rule_id)
        with self._lock:
            with self._state.write() as unit:
                unit.rules.override(_KIND, rule_id, enabled=enabled, by=by.name)
                if enabled:
                    unit.rules.enable_again(rule_id)
                unit.audit.add(
                    by.name,
                    "rule.switch",
                    "rule",
                    rule_id,
                    address=by.address,
                    before={"enabled": before.enabled},
                    after={"enabled": enabled},
                )
            self._take()
        return self.get(rule_id)

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

    def _find(self, rule_id: str) -> Rule:
        found = next((r for r in self.rules if r.id == rule_id), None)
        if found is None:
            raise NotFoundError(f"there is no rule '{rule_id}'")
        return found

    def _summary(self, rule: Rule, row: Any) -> dict[str, Any]:
        return {
            "id": rule.id,
            "name": rule.name,
            "severity": rule.severity,
            "kind": rule.kind.value,
            "tactics": list(rule.tactics),
            "techniques": list(rule.techniques),
            "enabled": rule.enabled and not (row and row.disabled_reason),
            "source": str(rule.path or ""),
            "pack": rule.pack,
            "last_run": iso(row.last_run) if row and row.last_run else None,
            "last_status": row.last_status if row else None,
            "last_error": (row.disabled_reason or row.last_error) if row else None,
            "alerts": row.alerts if row else 0,
            "cost_percent": None if (cost := self.costs().get(rule.id)) is None else round(cost, 3),
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
