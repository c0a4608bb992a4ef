"""The kinds of actions: one file each, and here its class and how it is made."""

from __future__ import annotations

from typing import Any

from tocsin.base.http import EgressClient, EgressPolicy
from tocsin.incidents.desk import IncidentDesk
from tocsin.respond.actions.block_address import BlockAddress
from tocsin.respond.actions.incident import (
    AssignIncident,
    CommentIncident,
    LockIncident,
    MergeIncidents,
    MoveAlerts,
    RetitleIncident,
    SetIncidentSeverity,
    SetIncidentStatus,
    TagIncident,
)
from tocsin.respond.actions.responder import Responder
from tocsin.respond.actions.tasks import AddTask, ChangeTask, ConductIncident, EditComment, RemoveTask
from tocsin.respond.actions.webhook import Webhook
from tocsin.respond.kind import ActionKind
from tocsin.respond.settings import RespondSettings
from tocsin.state import State

__all__ = ["KINDS", "all_kinds"]

KINDS: tuple[type[ActionKind[Any]], ...] = (
    AssignIncident,
    SetIncidentStatus,
    SetIncidentSeverity,
    RetitleIncident,
    TagIncident,
    LockIncident,
    CommentIncident,
    EditComment,
    AddTask,
    ChangeTask,
    RemoveTask,
    ConductIncident,
    MergeIncidents,
    MoveAlerts,
    Webhook,
    Responder,
    BlockAddress,
)
"""Every kind, in the order in which they are shown."""


def all_kinds(state: State, desk: IncidentDesk, settings: RespondSettings) -> list[ActionKind[Any]]:
    """Every kind, ready for the gate."""
    client = EgressClient(EgressPolicy.of(settings.egress_allow), timeout=settings.webhook.timeout)
    return [
        AssignIncident(desk),
        SetIncidentStatus(desk),
        SetIncidentSeverity(desk),
        RetitleIncident(desk),
        TagIncident(desk),
        LockIncident(desk),
        CommentIncident(desk),
        EditComment(desk),
        AddTask(desk),
        ChangeTask(desk),
        RemoveTask(desk),
        ConductIncident(desk),
        MergeIncidents(desk),
        MoveAlerts(desk),
        Webhook(state, client, settings.webhook),
        Responder(state, client, settings.responder, settings.webhook),
        BlockAddress(settings.block),
    ]
