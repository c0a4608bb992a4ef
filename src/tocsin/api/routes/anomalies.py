"""/anomalies: behaviour that differs from a baseline, and how ready the baselines are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Moment, Output

router = APIRouter(prefix="/anomalies", tags=["anomalies"])


class Baseline(Output):
    """Entities that the baseline has seen, and how many of them have enough days and events to be judged."""

    entities: int
    ready: int
    since: Moment | None = None


class AnomalyRule(Output):
    """An anomaly rule. `baseline` is null until its first run; `anomalies` counts what it has found."""

    id: str
    name: str
    description: str = ""
    enabled: bool
    pack: str = ""
    kind: str
    tactics: list[str] = []
    techniques: list[str] = []
    history: str
    needs_days: int
    needs_events: int
    needs_peers: int | None = None
    threshold: float = 0.5
    query: str = ""
    baseline: Baseline | None = None
    window_end: Moment | None = None
    last_run: Moment | None = None
    last_status: str | None = None
    last_error: str | None = None
    anomalies: int = 0


class FeatureReadiness(Output):
    """A feature of an anomaly: which insights it gives, how many entities have values of it, how many of those are ready, distinct values."""

    feature: str
    kind: str
    insights: list[str]
    entities: int
    ready: int
    values: int | None = None


class EntityFeature(Output):
    """What the baseline holds of a feature of one entity."""

    feature: str
    events: int
    values: int


class EntityReadiness(Output):
    """An entity's baseline. `lacks`: how many days, events or peers more it needs; what it lacks makes insights null, not false."""

    entity: str
    peer_group: str | None = None
    peers: int | None = None
    events: int
    days: int
    first: Moment | None = None
    ready: bool
    lacks: dict[str, int]
    features: list[EntityFeature]


class AnomalyReadiness(Output):
    """A baseline as it is now, and some of its entities, the least ready first; `matching` counts those that were asked for."""

    start: Moment
    end: Moment
    entities: int
    ready: int
    matching: int
    features: list[FeatureReadiness]
    items: list[EntityReadiness]


class AnomalyRuleList(Output):
    """All anomaly rules."""

    items: list[AnomalyRule]


@router.get("", dependencies=[Depends(needs("rules.read"))])
def list_anomalies(request: Request) -> AnomalyRuleList:
    """Every anomaly rule with its last run and its baseline's readiness."""
    return AnomalyRuleList.model_validate({"items": list(workspace_of(request).anomalies.listed())})


@router.get("/{anomaly_id}/readiness", dependencies=[Depends(needs("rules.read"))])
def get_readiness(
    anomaly_id: str,
    request: Request,
    q: Annotated[str, Field(max_length=256)] = "",
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100,
) -> AnomalyReadiness:
    """How ready an anomaly's baseline is, per feature and per entity, counted over its history now."""
    return AnomalyReadiness.model_validate(workspace_of(request).anomalies.readiness(anomaly_id, text=q, limit=limit))
