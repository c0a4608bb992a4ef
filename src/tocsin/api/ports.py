"""What the API needs of the house: the workspace as a set of protocols.

The composition root (`tocsin.workspace.Workspace`) has these attributes; tests build a small workspace of real parts. Answers of services are
JSON-able mappings in the shapes of `tocsin.api.shapes` and of the route modules, which validate them on the way out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from threading import Event
from typing import Any, Protocol

from starlette.routing import BaseRoute

from tocsin.access import Principal
from tocsin.base.clock import Clock

__all__ = [
    "AccessPort",
    "AutomationPort",
    "DeadLettersPort",
    "EntityPagesPort",
    "ErasurePort",
    "GatePort",
    "IncidentsPort",
    "IntakePort",
    "JobsPort",
    "LakePort",
    "MetricsPort",
    "QueryPort",
    "RulesPort",
    "StatePort",
    "SummariesPort",
    "TablesPort",
    "TransformsPort",
    "TuningPort",
    "Workspace",
]

Json = Mapping[str, Any]


class StatePort(Protocol):
    """Relational state, as far as the API looks at it."""

    def alive(self) -> bool:
        """Whether it can be read now."""

    def schema_version(self, digest: str, name: str = "schema") -> int:
        """A number that grows each time another digest is given for that name; durable."""


class SignedInPort(Protocol):
    """A sign-in that worked: the principal and the secret of its session."""

    @property
    def principal(self) -> Principal:
        """Who."""

    @property
    def secret(self) -> str:
        """What the cookie holds."""


class AccessPort(Protocol):
    """Sign-in, users, tokens, audit (`tocsin.access.Access`)."""

    @property
    def settings(self) -> Any:
        """Durations and limits of sign-in."""

    def sign_in(self, name: str, password: str, *, address: str, agent: str = "") -> SignedInPort: ...

    def sign_out(self, principal: Principal) -> None: ...

    def change_password(self, principal: Principal, current: str, new: str) -> None: ...

    def by_session(self, secret: str, *, address: str = "") -> Principal | None: ...

    def by_token(self, token: str, *, address: str = "") -> Principal | None: ...

    def users(self) -> Sequence[Json]: ...

    def add_user(self, name: str, password: str, *, display_name: str, roles: Sequence[str], by: Principal) -> Json: ...

    def change_user(self, name: str, changes: Json, *, by: Principal) -> Json: ...

    def tokens(self) -> Sequence[Json]: ...

    def make_token(
        self, name: str, *, kind: str, roles: Sequence[str], expires_in_days: int | None, by: Principal
    ) -> Json: ...

    def revoke_token(self, token_id: str, *, by: Principal) -> None: ...

    def audit_page(self, *, limit: int, before: int | None, actor: str, object_id: str, action: str = "") -> Json: ...

    def verify_audit(self) -> Json: ...


class GatePort(Protocol):
    """The action gate (`tocsin.respond.Gate`)."""

    def kinds(self) -> Sequence[Json]: ...

    def page(
        self,
        *,
        statuses: Sequence[str],
        incident_id: str,
        kind: str,
        include_edits: bool,
        limit: int,
        offset: int,
    ) -> Json: ...

    def get(self, action_id: str) -> Json: ...

    def propose(self, kind: str, given: Json, *, incident_id: str | None, by: Principal, comment: str = "") -> Json: ...

    def edit_incident(self, incident_id: str, changes: Json, *, by: Principal) -> Sequence[Json]: ...

    def perform(self, kind: str, given: Json, *, incident_id: str, by: Principal) -> Json: ...

    def approve(self, action_id: str, *, by: Principal, comment: str = "") -> Json: ...

    def reject(self, action_id: str, *, by: Principal, comment: str = "") -> Json: ...

    def undo(self, action_id: str, *, by: Principal, comment: str = "") -> Json: ...


class MergePreviewPort(Protocol):
    """What a merge would make (`tocsin.incidents.reshape.Preview`)."""

    @property
    def incident(self) -> Mapping[str, Any]: ...

    @property
    def vetoes(self) -> Sequence[str]: ...

    @property
    def shared(self) -> Sequence[str]: ...

    @property
    def alerts(self) -> int: ...


class IncidentsPort(Protocol):
    """Incidents as people see them (`tocsin.incidents.desk.IncidentDesk`)."""

    def preview_merge(self, incident_id: str, sources: Sequence[str]) -> MergePreviewPort: ...

    def page(
        self,
        *,
        statuses: Sequence[str],
        severities: Sequence[str],
        owner: str,
        tag: str,
        text: str,
        sort: str,
        descending: bool,
        limit: int,
        offset: int,
        after: str,
    ) -> Json: ...

    def get(self, incident_id: str) -> Json: ...

    def alerts(self, incident_id: str, **wanted: Any) -> Json: ...

    def things(self, incident_id: str, **wanted: Any) -> Json: ...

    def activity(self, incident_id: str, **wanted: Any) -> Json: ...

    def neighbours(self, incident_id: str) -> Any: ...

    def log(self, incident_id: str) -> Any: ...

    def priority_points(self) -> Json: ...

    def priority_history(self, incident_id: str) -> Any: ...

    def assets(self) -> Any: ...

    def metrics(self, start: datetime, end: datetime, *, by: str = "") -> Json: ...


class TuningPort(Protocol):
    """Weights of correlation and priority (`tocsin.incidents.tuning.Tuning`)."""

    def weights(self) -> Json: ...

    def preview(self, correlation: Json | None, priorities: Json | None) -> Json: ...

    def set(self, correlation: Json | None, priorities: Json | None, *, reason: str = "", actor: Any) -> Json: ...

    def history(self) -> Sequence[Json]: ...

    def undo(self, entry_id: int, *, actor: Any) -> Json: ...

    def report(self) -> Json: ...


class StoriesPort(Protocol):
    """What an incident means, and its proof (`tocsin.workspace.story.Stories`)."""

    def narrative(self, incident_id: str) -> Json: ...

    def processes(self, incident_id: str, *, principal: Any = None) -> Json: ...

    def bundle(self, incident_id: str, *, audit: bool) -> Json: ...


class EntityPagesPort(Protocol):
    """What is known of one thing (`tocsin.workspace.entitypages.EntityPages`)."""

    def page(
        self,
        kind: str,
        name: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        principal: Any = None,
        cancel: Event | None = None,
    ) -> Json: ...


class QueryPort(Protocol):
    """The one door to rows (`tocsin.query.QueryService`)."""

    @property
    def settings(self) -> Any:
        """A `tocsin.query.QuerySettings`."""

    @property
    def catalog(self) -> Any:
        """A `tocsin.kql.Catalog` over declared tables, custom tables, stored functions and watchlists."""

    def compile(self, text: str, now: datetime) -> Any:
        """Compiles or raises KqlErrors."""

    def run(
        self,
        text: str,
        *,
        principal: Principal | None = None,
        window: Any = None,
        parameters: Mapping[str, Any] | None = None,
        limits: Any = None,
        now: datetime | None = None,
        relations: Mapping[str, Any] | None = None,
        cancel: Event | None = None,
        client_id: str = "",
        application: str = "",
    ) -> Any:
        """Runs a query: a `tocsin.lake.engine.QueryResult` with `.render`."""

    def limits_for(self, principal: Principal | None) -> Any:
        """The most that a principal may ask for: a `tocsin.query.Limits`."""

    def catalog_for(self, principal: Principal | None) -> Any:
        """The catalog as that principal sees it."""

    def visible(self, principal: Principal | None) -> Sequence[Any]:
        """The running queries that a principal may see and cancel: `tocsin.query.RunningQuery`s."""

    def cancel(self, query_id: int) -> bool:
        """Ends a running query; False when there is none of that id."""


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

    def simulate(self, rule_id: str) -> Sequence[Json]: ...

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


class MetricsPort(Protocol):
    """Figures for a monitoring system."""

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The figures in the format that the header Accept asks for, and its media type."""


class DeadLettersPort(Protocol):
    """Dead letters, in the shapes of `tocsin.api.routes.data`."""

    def page(
        self,
        *,
        limit: int,
        offset: int = 0,
        wanted: Mapping[str, str] | None = None,
        principal: Principal | None = None,
    ) -> Json: ...

    def get(self, letter_id: str, *, principal: Principal | None = None) -> Json: ...

    def replay(
        self,
        *,
        by: Principal,
        ids: Sequence[str] = (),
        wanted: Mapping[str, str] | None = None,
        before: str = "",
        limit: int = 1000,
    ) -> Json: ...


class TransformsPort(Protocol):
    """Ingestion-time transforms, in the shapes of `tocsin.api.routes.transforms`."""

    def list(self) -> Sequence[Json]: ...

    def get(self, transform_id: str) -> Json: ...

    def streams(self) -> Sequence[Json]: ...

    def preview(self, given: Json) -> Json: ...

    def save(self, given: Json, *, by: Principal) -> Json: ...

    def set_enabled(self, transform_id: str, enabled: bool, *, by: Principal) -> Json: ...

    def undo(self, transform_id: str, *, by: Principal) -> Json: ...

    def remove(self, transform_id: str, *, by: Principal) -> None: ...


class ErasurePort(Protocol):
    """Deleting and purging rows (`tocsin.workspace.erasure.Erasure`)."""

    def preview(self, table: str, condition: str, *, by: Principal) -> Any: ...

    def delete(self, table: str, condition: str, *, expected: int, keep_evidence: bool, by: Principal) -> Any: ...

    def purge(self, table: str, condition: str, *, expected: int, keep_evidence: bool, by: Principal) -> int: ...

    def undo(self, deletion: str, *, by: Principal) -> Any: ...

    def deletions(self, *, by: Principal) -> Sequence[Any]: ...


class JobsPort(Protocol):
    """Search jobs and restores (`tocsin.workspace.jobs.Jobs`)."""

    def estimate(self, kind: str, text: str, start: datetime, end: datetime, *, by: Principal) -> Any: ...

    def search(self, name: str, query: str, start: datetime, end: datetime, *, by: Principal) -> Any: ...

    def restore(
        self, table: str, start: datetime, end: datetime, *, name: str = "", days: float = 7.0, by: Principal
    ) -> Any: ...

    def listed(self, *, by: Principal) -> Sequence[Any]: ...

    def get(self, job_id: str, *, by: Principal) -> Any: ...

    def cancel(self, job_id: str, *, by: Principal) -> Any: ...

    def remove(self, job_id: str, *, by: Principal) -> Any: ...


class SummariesPort(Protocol):
    """Summary rules (`tocsin.workspace.summaries.Summaries`), in the shapes of `tocsin.api.routes.summaries`."""

    def listed(self, *, by: Principal) -> Sequence[Json]: ...

    def get(self, rule_id: str, *, by: Principal) -> Json: ...

    def save(self, raw: Json, *, by: Principal, rule_id: str = "") -> Json: ...

    def attempt(self, raw: Json, *, by: Principal) -> Json: ...

    def set_enabled(self, rule_id: str, enabled: bool, *, by: Principal) -> Json: ...

    def remove(self, rule_id: str, *, by: Principal) -> None: ...

    def rerun(self, rule_id: str, moment: datetime, *, by: Principal) -> Json: ...


class TablesPort(Protocol):
    """Tables as people see and keep them (`tocsin.workspace.tabledesk.TableDesk`), in the shapes of `tocsin.api.routes.tables`."""

    def listed(self, *, by: Principal) -> Sequence[Json]: ...

    def get(self, table: str, *, by: Principal) -> Json: ...

    def preview(self, table: str, given: Json, *, by: Principal) -> Json: ...

    def keep(self, table: str, given: Json, *, expected: int, by: Principal) -> Json: ...

    def reset(self, table: str, *, by: Principal) -> Json: ...


class LakePort(Protocol):
    """The lake's figures."""

    @property
    def settings(self) -> Any:
        """A `tocsin.lake.LakeSettings`."""

    def stats(self) -> Iterable[Any]:
        """One `tocsin.lake.TableStats` a table."""


class IntakePort(Protocol):
    """Receivers: their figures and the raw routes by which rows come in over HTTP."""

    def sources(self) -> Iterable[Json]:
        """One mapping a receiver, in the shape of `tocsin.api.routes.data.Source`."""

    def state(self) -> Json:
        """How intake does, in the shape of `tocsin.api.routes.data.IntakeState`."""

    def routes(self) -> Sequence[BaseRoute]:
        """Starlette routes of the HTTP receivers; they check ingest tokens themselves."""


class ServerSettingsPort(Protocol):
    """How the server is reached."""

    @property
    def secure_cookie(self) -> bool:
        """Whether the session cookie is for HTTPS only."""

    @property
    def metrics_loopback(self) -> bool:
        """Whether /metrics answers this machine's own programs without a token."""


class SettingsPort(Protocol):
    """Settings, as far as the API looks at them."""

    @property
    def server(self) -> ServerSettingsPort: ...


class Workspace(Protocol):
    """The house, as the API sees it."""

    @property
    def settings(self) -> SettingsPort: ...

    @property
    def version(self) -> str: ...

    @property
    def id(self) -> str:
        """The workspace's GUID, as Azure's clients know one."""

    @property
    def name(self) -> str:
        """The workspace's name: Kusto's database, Log Analytics' workspace."""

    @property
    def clock(self) -> Clock: ...

    @property
    def state(self) -> StatePort: ...

    @property
    def access(self) -> AccessPort: ...

    @property
    def gate(self) -> GatePort: ...

    @property
    def incidents(self) -> IncidentsPort: ...

    @property
    def stories(self) -> StoriesPort: ...

    @property
    def tuning(self) -> TuningPort: ...

    @property
    def entity_pages(self) -> EntityPagesPort: ...

    @property
    def queries(self) -> QueryPort: ...

    @property
    def rules(self) -> RulesPort: ...

    @property
    def rule_work(self) -> RuleWorkPort: ...

    @property
    def rule_care(self) -> RuleCarePort: ...

    @property
    def detection(self) -> DetectionPort: ...

    @property
    def watchlists(self) -> WatchlistsPort: ...

    @property
    def aliases(self) -> AliasesPort: ...

    @property
    def threat_reports(self) -> ThreatReportsPort: ...

    @property
    def anomalies(self) -> AnomaliesPort: ...

    @property
    def automation(self) -> AutomationPort: ...

    @property
    def lake(self) -> LakePort: ...

    @property
    def erasure(self) -> ErasurePort: ...

    @property
    def jobs(self) -> JobsPort: ...

    @property
    def summaries(self) -> SummariesPort: ...

    @property
    def tables(self) -> TablesPort: ...

    @property
    def intake(self) -> IntakePort: ...

    @property
    def metrics(self) -> MetricsPort: ...

    @property
    def dead_letters(self) -> DeadLettersPort: ...

    @property
    def transforms(self) -> TransformsPort: ...
