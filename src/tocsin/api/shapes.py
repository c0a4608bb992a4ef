"""Shapes that several routes share: JSON as it leaves and enters, declared once, so that the OpenAPI and its clients know them.

Times are RFC 3339 texts in UTC, as state keeps them: they pass through without being parsed and written again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Activity",
    "AlertBrief",
    "AlertDetail",
    "Classification",
    "Determination",
    "Diagnostic",
    "DiagnosticFix",
    "EntityShape",
    "EventRow",
    "Graph",
    "Incident",
    "IncidentStatus",
    "IncidentSummary",
    "Input",
    "Moment",
    "Output",
    "Phase",
    "PreviewColumn",
    "PreviewRows",
    "Problem",
    "Reason",
    "Severity",
    "Status",
    "StoryStep",
    "TextRange",
]

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""An instant: RFC 3339, UTC, with a Z."""

Severity = Literal["Informational", "Low", "Medium", "High"]
Status = Literal["New", "InProgress", "Resolved"]
"""What an analyst may set."""
IncidentStatus = Literal["New", "InProgress", "Resolved", "Redirected"]
"""What an incident may be: Redirected is one that was merged into another (`redirect_to`)."""
Classification = Literal["TruePositive", "InformationalExpectedActivity", "FalsePositive"]
Phase = Literal["DetectionAnalysis", "Containment", "Eradication", "Recovery", "PostIncident"]
Determination = Literal[
    "MultiStagedAttack",
    "MaliciousUserActivity",
    "CompromisedAccount",
    "Malware",
    "Phishing",
    "UnwantedSoftware",
    "SecurityTesting",
    "LineOfBusinessApplication",
    "ConfirmedActivity",
    "Clean",
    "NoEnoughDataToValidate",
    "Other",
]


class Input(BaseModel):
    """A request body: unknown members are refused, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Output(BaseModel):
    """An answer: members that state holds but the contract doesn't name stay inside."""

    model_config = ConfigDict(extra="ignore", json_schema_serialization_defaults_required=True)


class TextRange(Output):
    """A part of a text: offsets from 0, lines and columns from 1; `end` and `end_column` are behind its last character.

    Offsets and columns count UTF-16 code units, as JavaScript, Java, C# and Monaco do, unless the request asked for code points.
    """

    start: int
    end: int
    line: int
    column: int
    end_line: int
    end_column: int


class DiagnosticFix(Output):
    """An edit that follows the finding's hint: `text` goes in place of the range."""

    range: TextRange
    text: str


class Diagnostic(TextRange):
    """One finding about a query text and where it is."""

    code: str
    message: str
    severity: Literal["error", "warning", "info"] = "error"
    hint: str = ""
    fix: DiagnosticFix | None = None


class Problem(BaseModel):
    """An error: RFC 9457 problem details (`application/problem+json`) with our stable code."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable code of the error, for example KQL0007")
    hint: str = Field(default="", description="What to do")
    place: str | None = Field(default=None, description="Where: file, line and column, where known")
    diagnostics: list[Diagnostic] | None = Field(default=None, description="For query texts: each finding")
    errors: list[dict[str, Any]] | None = Field(default=None, description="For bodies: each member that was wrong")


class Reason(Output):
    """Why: a sentence and the weight that it added."""

    text: str
    weight: float


class NamedIncident(Output):
    """An incident by its number and title. `shown`: false for signals that open none."""

    id: str
    number: int
    title: str
    shown: bool


class NearIncident(NamedIncident):
    """An incident with what something else shares with it: points against the threshold, and the reasons that they are made of."""

    score: float
    threshold: float
    joins: bool
    reasons: list[Reason]


class NamedThing(Output):
    """An entity by its type and the name that people know it by."""

    type: str
    label: str


class EntityShape(Output):
    """A host, account, address or thing, with Microsoft's type and identifier names."""

    type: str
    label: str
    identifiers: dict[str, str]


class EventRow(Output):
    """A row that proves an alert."""

    table: str
    row: dict[str, Any]


class AlertBrief(Output):
    """An alert without its evidence."""

    id: str
    rule: str
    rule_id: str
    title: str = ""
    time: Moment
    end: Moment
    severity: Severity
    tactics: list[str] = []
    techniques: list[str] = []
    count: int = 1
    product: str = "Tocsin"


class AlertDetail(AlertBrief):
    """An alert with its entities, the rows that prove it, and why it was joined to its incident."""

    created: Moment | None = None
    entities: list[EntityShape] = []
    events: list[EventRow] = []
    description: str = ""
    custom_details: dict[str, Any] = {}
    tags: list[str] = []
    linked_by: list[Reason] = []
    events_left_out: int = Field(default=0, description="How many rows were left out of `events`, as was asked")


class StoryStep(Output):
    """One step of the attack story."""

    time: Moment
    title: str
    tactic: str | None = None
    techniques: list[str] = []
    alert_id: str | None = None
    severity: str = ""
    entities: list[EntityShape] = []
    actor: EntityShape | None = Field(default=None, description="Who did it, as the alert says")
    target: EntityShape | None = Field(default=None, description="To what")
    evidence: int = Field(default=0, description="How many rows prove it")
    pattern: bool = Field(default=False, description="It says that other steps make a known multistage pattern")


class GraphNode(Output):
    """A node of the entity graph."""

    id: str
    type: str
    label: str
    first: Moment | None = Field(default=None, description="When an alert first named it: the graph is played by it")


class GraphEdge(Output):
    """An edge of the entity graph: which alert ties the two."""

    source: str
    target: str
    label: str = ""
    alert_id: str | None = None
    alerts: list[str] = Field(default=[], description="Ids of the alerts that tie the two, of many the first 50")
    alert_count: int = Field(default=0, description="How many alerts tie the two")
    first: Moment | None = Field(default=None, description="When an alert first tied the two")


class Graph(Output):
    """The entity graph of an incident. `left_out`: how many entities were too many to draw."""

    nodes: list[GraphNode] = []
    edges: list[GraphEdge] = []
    left_out: int = 0


class Activity(Output):
    """One entry of an incident's activity log. `kind` is for example comment, status, owner, tags, severity, alerts, action."""

    id: int
    time: Moment
    actor: str
    kind: str
    text: str
    detail: dict[str, Any] = {}


class IncidentSummary(Output):
    """An incident in the queue. `version` grows with every change; send it with a PATCH to be told of a conflict."""

    id: str
    number: int
    title: str
    severity: Severity
    priority: int = Field(ge=0, le=100)
    reasons: list[Reason] = []
    status: IncidentStatus
    owner: str | None = None
    owner_type: Literal["User", "Group", "Unknown"] | None = Field(
        default=None, description="What the owner is; Unknown: the name is nobody's here. Null while nobody owns it"
    )
    classification: Classification | None = None
    determination: Determination | None = None
    tags: list[str] = []
    first: Moment
    last: Moment
    created: Moment
    updated: Moment
    tactics: list[str] = []
    techniques: list[str] = []
    entities: list[EntityShape] = Field(default=[], description="What its alerts name most often, at most 100")
    entity_count: int = Field(default=0, description="How many things its alerts name")
    alert_count: int
    alerts: list[AlertBrief] = Field(
        default=[], description="Its alerts without entities and evidence, first 50 by time"
    )
    products: list[str] = Field(default=[], description="Makers of its alerts")
    redirect_to: str | None = Field(
        default=None, description="Id of the incident that has its alerts now: links lead there"
    )
    url: str | None = Field(
        default=None,
        description="Where its page is, by `server.public_url`; null where nobody said where the portal is",
    )
    phase: Phase | None = Field(default=None, description="Where people are in answering it")
    roles: dict[str, str] = Field(default={}, description="User by role")
    acknowledged: Moment | None = Field(default=None, description="When a person took it")
    closed: Moment | None = Field(default=None, description="When it was resolved; null while it is open")
    tasks_done: int = 0
    tasks_total: int = 0
    version: int = 1


class IncidentTask(Output):
    """Something that is to be done about an incident; `completed` is null while it is open."""

    id: int
    title: str
    description: str
    created: Moment
    created_by: str
    completed: Moment | None
    completed_by: str | None


class Incident(IncidentSummary):
    """An incident as it is opened: alerts with evidence, story, graph, tasks and activity log.

    Of many alerts the first 200 in time are there with their steps, of the activity log the newest 200 entries; `/alerts`, `/entities` and
    `/activity` of the incident give all, in pages.
    """

    alerts: list[AlertDetail] = []  # type: ignore[assignment]  # the same alerts, in full
    story: list[StoryStep] = []
    graph: Graph = Graph()
    activity: list[Activity] = []
    activity_count: int = Field(default=0, description="How many entries the activity log has")
    tasks: list[IncidentTask] = []


class PreviewColumn(Output):
    """A column that holds something."""

    name: str
    type: str


class PreviewRows(Output):
    """Rows, their empty columns left out."""

    columns: list[PreviewColumn]
    rows: list[list[Any]]
    count: int
