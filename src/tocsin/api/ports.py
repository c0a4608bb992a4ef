"""What the API needs of the house: the workspace as a set of protocols.

The composition root (`tocsin.workspace.Workspace`) has these attributes; tests build a small workspace of real parts. Answers of services are
JSON-able mappings in the shapes of `tocsin.api.shapes` and of the route modules, which validate them on the way out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from threading import Event
from typing import Any, Protocol

from tocsin.access import Principal
from tocsin.api.ports_data import (
    DeadLettersPort,
    ErasurePort,
    IntakePort,
    JobsPort,
    LakePort,
    SummariesPort,
    TablesPort,
    TransformsPort,
)
from tocsin.api.ports_detect import (
    AliasesPort,
    AnomaliesPort,
    AutomationPort,
    DetectionPort,
    RuleCarePort,
    RulesPort,
    RuleWorkPort,
    ThreatReportsPort,
    WatchlistsPort,
)
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


class GroupsPort(Protocol):
    """Groups of users (`tocsin.access.groups.UserGroups`)."""

    def all(self) -> Sequence[Json]: ...

    def add(self, name: str, *, description: str, members: Sequence[str], by: Principal) -> Json: ...

    def change(self, name: str, changes: Json, *, by: Principal) -> Json: ...


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

    @property
    def groups(self) -> GroupsPort: ...

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
        me: str,
        tag: str,
        text: str,
        classification: str,
        since: datetime | None,
        until: datetime | None,
        tactics: Sequence[str],
        products: Sequence[str],
        entity_types: Sequence[str],
        entity: str,
        least_priority: int | None,
        most_priority: int | None,
        sort: str,
        descending: bool,
        limit: int,
        offset: int,
        after: str,
        alerts: int,
    ) -> Json: ...

    def filters(self) -> Json: ...

    def standing(self, incident_id: str = "") -> Any: ...

    def whose(self, owner: str, me: str) -> str: ...

    def get(self, incident_id: str) -> Json: ...

    def alerts(self, incident_id: str, **wanted: Any) -> Json: ...

    def things(self, incident_id: str, **wanted: Any) -> Json: ...

    def steps(self, incident_id: str, **wanted: Any) -> Json: ...

    def activity(self, incident_id: str, **wanted: Any) -> Json: ...

    def graph(self, incident_id: str) -> tuple[int | None, Json]: ...

    def neighbours(self, incident_id: str) -> Any: ...

    def moved_away(self, incident_id: str) -> Any: ...

    def log(self, incident_id: str) -> Any: ...

    def priority_points(self) -> Json: ...

    def priority_history(self, incident_id: str) -> Any: ...

    def assets(self) -> Any: ...

    def metrics(self, start: datetime, end: datetime, *, by: str = "") -> Json: ...


class TuningPort(Protocol):
    """Weights of correlation and priority (`tocsin.incidents.tuning.Tuning`)."""

    def weights(self) -> Json: ...

    def preview(self, correlation: Json | None, priorities: Json | None) -> Json: ...

    def version(self) -> int: ...

    def set(
        self,
        correlation: Json | None,
        priorities: Json | None,
        *,
        reason: str = "",
        version: int | None = None,
        actor: Any,
    ) -> Json: ...

    def history(self) -> Sequence[Json]: ...

    def undo(self, entry_id: int, *, actor: Any) -> Json: ...

    def report(self) -> Json: ...


class StoriesPort(Protocol):
    """What an incident means, and its proof (`tocsin.workspace.story.Stories`)."""

    def narrative(self, incident_id: str) -> Json: ...

    def processes(self, incident_id: str, *, principal: Any = None) -> Json: ...

    def reach(self, incident_id: str, *, principal: Any = None) -> Json: ...

    def bundle(self, incident_id: str, *, audit: bool, principal: Any = None, asks: bool = True) -> Json: ...


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


class MetricsPort(Protocol):
    """Figures for a monitoring system."""

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The figures in the format that the header Accept asks for, and its media type."""


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
