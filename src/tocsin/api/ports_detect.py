"""What the API needs of detection: rules, their care and runs, watchlists, reports, anomalies, automation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from tocsin.access import Principal

__all__ = [
    "AliasesPort",
    "AnomaliesPort",
    "AutomationPort",
    "DetectionPort",
    "RuleCarePort",
    "RuleRunsPort",
    "RuleWorkPort",
    "RulesPort",
    "ThreatReportsPort",
    "WatchlistsPort",
]

Json = Mapping[str, Any]


class RulesPort(Protocol):
    """Detection rules, in the shapes of `tocsin.api.routes.rules`."""

    def list(self) -> Iterable[Json]: ...

    def get(self, rule_id: str) -> Json: ...

    def create(self, rule: Json, *, by: Principal) -> Json: ...

    def set_enabled(self, rule_id: str, enabled: bool, *, by: Principal) -> Json: ...

    def switch(self, rule_ids: Sequence[str], enabled: bool, *, by: Principal, reason: str = "") -> int: ...


class RuleCarePort(Protocol):
    """Looking after rules, in the shapes of `tocsin.api.routes.rule_care`."""

    def noise(self, rule_id: str, weeks: int) -> Json: ...

    def alerts(self, rule_id: str, *, limit: int, alert_id: str = "") -> Sequence[Json]: ...

    def columns(self, rule_id: str) -> Sequence[str]: ...

    def preview(self, rule_id: str, conditions: Sequence[Json], days: int) -> Json: ...

    def load_report(self) -> Json: ...

    def changes(self, rule_id: str, *, limit: int) -> Sequence[Json]: ...

    def undo(self, rule_id: str, seq: int, *, by: Principal) -> None: ...


class RuleRunsPort(Protocol):
    """Runs of rules (`tocsin.workspace.ruleruns.RuleRuns`)."""

    def of(self, rule_id: str) -> Sequence[Json]: ...


class DetectionPort(Protocol):
    """Live detection (`tocsin.workspace.detection.Detection`)."""

    @property
    def runs(self) -> RuleRunsPort: ...


class RuleWorkPort(Protocol):
    """Work on rules that are in force, in the shapes of `tocsin.api.routes.rules`."""

    def exclusions(self, rule_id: str) -> Sequence[Json]: ...

    def exclude(self, rule_id: str, given: Json, *, by: Principal) -> Json: ...

    def include(self, rule_id: str, exclusion_id: str, *, by: Principal) -> None: ...

    def tune(self, rule_id: str, settings: Json, *, by: Principal) -> Json: ...

    def simulate(self, rule_id: str, *, by: Principal) -> Json: ...

    def run(self, rule_id: str, first: datetime, last: datetime, *, by: Principal) -> Sequence[Json]: ...

    def cases(self, rule_id: str) -> Sequence[Json]: ...

    def run_cases(self, rule_id: str) -> Sequence[Json]: ...

    def coverage(self) -> Json: ...

    def navigator(self) -> Json: ...

    def attack(self) -> Sequence[Json]: ...


class WatchlistsPort(Protocol):
    """Watchlists, in the shapes of `tocsin.api.routes.watchlists`."""

    def list(self) -> Sequence[Json]: ...

    def get(self, alias: str, *, skip: int, limit: int, text: str = "") -> Json: ...

    def history(self, alias: str, *, limit: int) -> Sequence[Json]: ...

    def check(self, alias: str, text: str, *, search_key: str = "") -> Json: ...

    def put(self, alias: str, text: str, *, search_key: str, by: Principal) -> Json: ...

    def delete(self, alias: str, *, by: Principal) -> None: ...

    def add(self, alias: str, values: Mapping[str, str], *, by: Principal) -> Json: ...

    def change(self, alias: str, item_id: str, values: Mapping[str, str], *, by: Principal) -> Json: ...

    def remove(self, alias: str, item_id: str, *, by: Principal) -> None: ...


class AliasesPort(Protocol):
    """What was learned of identifiers."""

    def forget(self, names: Sequence[str], *, by: Principal, dry_run: bool = False) -> int: ...


class ThreatReportsPort(Protocol):
    """Threat reports, in the shapes of `tocsin.api.routes.threat_reports`."""

    def listed(self) -> Sequence[Json]: ...

    def get(self, report_id: str) -> Json: ...

    def take(self, bundle: str, *, least: int | None, dry_run: bool, by: Principal) -> Json: ...

    def remove(self, report_id: str, *, by: Principal) -> None: ...


class AnomaliesPort(Protocol):
    """Anomaly rules, in the shapes of `tocsin.api.routes.anomalies`."""

    def listed(self) -> Iterable[Json]: ...

    def readiness(self, anomaly_id: str, *, text: str = "", limit: int = 100) -> Json: ...


class AutomationPort(Protocol):
    """Automation rules, in the shapes of `tocsin.api.routes.automation`."""

    def list(self) -> Sequence[Json]: ...

    def set_enabled(self, rule_id: str, enabled: bool, *, by: Principal) -> Json: ...

    def runs(self, rule_id: str, *, limit: int) -> Sequence[Json]: ...
