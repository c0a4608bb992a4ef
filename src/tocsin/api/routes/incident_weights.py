"""/incidents/weights: what correlation and priority weigh, what other values would change, and how the weights do on what people decided."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from tocsin.access import Principal
from tocsin.api.parameters import only_known_parameters
from tocsin.api.security import needs, workspace_of
from tocsin.api.shapes import Input, Moment, Output, Reason
from tocsin.incidents.life import Actor

router = APIRouter(prefix="/incidents", tags=["incidents"], dependencies=[Depends(only_known_parameters)])

Change = Annotated[Principal, Depends(needs("settings.manage"))]
_READ = [Depends(needs("incidents.read"))]


class Weight(Output):
    """A number that correlation or priority weighs. `usual` is what the settings file and the packs say; null bounds are none."""

    name: str
    value: float | bool
    usual: float | bool
    unit: Literal["points", "hours", "share", "count", "yes or no"]
    meaning: str
    least: float | None
    most: float | None


class Weights(Output):
    """Every weight. `version` counts how often they were set."""

    version: int
    correlation: list[Weight]
    priority: list[Weight]


class WeightValues(Input):
    """Values that differ from the usual ones, by name (`weights.host`, `severity.High`); times in hours. A side left out stays as it is, of a
    side that is given what is left out becomes usual."""

    correlation: dict[str, float | bool] | None = Field(default=None, max_length=200)
    priority: dict[str, float] | None = Field(default=None, max_length=2000)


class NewWeights(WeightValues):
    """Values to set, and why. `version`: refuse (409) when the weights' isn't that any more, because somebody set some since."""

    reason: str = Field(default="", max_length=1000)
    version: int | None = None


class Named(Output):
    """An incident by name."""

    id: str
    number: int
    title: str


class JoinChange(Output):
    """Alerts that would be in one incident though they are in several now (`merge`), or the other way round (`split`)."""

    kind: Literal["merge", "split"]
    alerts: int
    incidents: list[Named]


class PriorityChange(Named):
    """An incident whose priority would be another, with the points that come and go."""

    before: int
    after: int
    reasons: list[Reason]


class WeightsPreview(Output):
    """What would change. Of `alerts_open` alerts in open incidents the newest `alerts` were run through the engine, of `open` incidents
    the most urgent `incidents` were judged (1,000, or as many as hold 30,000 alerts); at most 200 changes of each kind are listed."""

    joins: list[JoinChange]
    alerts: int
    alerts_open: int
    priorities: list[PriorityChange]
    incidents: int
    open: int


class WeightsEntry(Output):
    """What somebody set: the values over the usual ones before and after, for the sides that were given. Of what was just set: how many open
    incidents have another priority by now, and whether more are judged in the background. What changed nothing has the number of the newest."""

    id: int
    time: Moment
    actor: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    reordered: int | None = None
    behind: bool = False


class WeightsHistory(Output):
    """What was set, newest first; the newest 200 are kept here, the audit log keeps all."""

    items: list[WeightsEntry]


class Factor(Output):
    """The separation without a factor of priority, and what the factor is worth: how much better it is with it."""

    name: str
    without: float
    worth: float


class Corrections(Output):
    """Incidents that people merged (of the last 200 merges), and how many of these the engine would join by itself now; pairs that they took
    apart (of the last 200), and how many it would keep apart."""

    merged: int
    merged_now: int
    apart: int
    apart_now: int


class RuleOutcome(Output):
    """In how many closed incidents a rule was right, in how many not."""

    rule: str
    right: int
    wrong: int


class TuningReport(Output):
    """How the weights do on what people decided. `separation`: the share of pairs of a true positive and another closed incident in which
    the true positive has the higher priority; a half is chance; null without both. What a rule's past gives is left out of it."""

    true_positives: int
    others: int
    separation: float | None
    factors: list[Factor]
    corrections: Corrections
    rules: list[RuleOutcome]


@router.get("/weights", dependencies=_READ)
def incident_weights(request: Request) -> Weights:
    """Every weight of correlation and priority: value, usual value, meaning, range."""
    return Weights.model_validate(workspace_of(request).tuning.weights())


@router.post("/weights/preview", dependencies=[Depends(needs("settings.manage"))])
def preview_weights(body: WeightValues, request: Request) -> WeightsPreview:
    """What other values would change: the engine is run over the open incidents' alerts with both. Changes nothing."""
    return WeightsPreview.model_validate(workspace_of(request).tuning.preview(body.correlation, body.priority))


@router.put("/weights")
def set_weights(body: NewWeights, request: Request, principal: Change) -> WeightsEntry:
    """Sets weights: correlation's from the next alert on (what is joined stays joined), priority's for every open incident, the most urgent at
    once and the rest soon after."""
    actor = Actor(principal.name, address=principal.address)
    made = workspace_of(request).tuning.set(
        body.correlation, body.priority, reason=body.reason, version=body.version, actor=actor
    )
    return WeightsEntry.model_validate(made)


@router.get("/weights/history", dependencies=_READ)
def weights_history(request: Request) -> WeightsHistory:
    """Who set which weights when and why."""
    return WeightsHistory.model_validate({"items": workspace_of(request).tuning.history()})


@router.post("/weights/history/{entry}/undo")
def undo_weights(entry: int, request: Request, principal: Change) -> WeightsEntry:
    """Sets back the weights that an entry of the history set, to what was before it; refused (409) where one of them was set again since."""
    actor = Actor(principal.name, address=principal.address)
    return WeightsEntry.model_validate(workspace_of(request).tuning.undo(entry, actor=actor))


@router.get("/tuning", dependencies=_READ)
def tuning_report(request: Request) -> TuningReport:
    """How the weights do on closed incidents and on what people merged and took apart."""
    return TuningReport.model_validate(workspace_of(request).tuning.report())
