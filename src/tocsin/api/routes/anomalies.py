"""/anomalies: behaviour that differs from a baseline, and how ready the baselines are."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

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
    baseline: Baseline | None = None
    window_end: Moment | None = None
    last_run: Moment | None = None
    last_status: str | None = None
    last_error: str | None = None
    anomalies: int = 0


class AnomalyRuleList(Output):
    """All anomaly rules."""

    items: list[AnomalyRule]


@router.get("", dependencies=[Depends(needs("rules.read"))])
def list_anomalies(request: Request) -> AnomalyRuleList:
    """Every anomaly rule with its last run and its baseline's readiness."""
    return AnomalyRuleList.model_validate({"items": list(workspace_of(request).anomalies.listed())})
