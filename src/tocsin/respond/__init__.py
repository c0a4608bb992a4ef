"""Respond: the gate through which everything passes that acts, the kinds of actions, and automation rules."""

from tocsin.respond.actions import all_kinds
from tocsin.respond.automation import Automation, AutomationRule
from tocsin.respond.errors import BadInputError, NotAbleError, UnknownKindError, WrongMomentError
from tocsin.respond.gate import Gate
from tocsin.respond.kind import Able, ActionInput, ActionKind, Approval, Context, InsideKind, Outcome, OutsideKind
from tocsin.respond.settings import BlockSettings, ResponderSettings, RespondSettings, WebhookSettings

__all__ = [
    "Able",
    "ActionInput",
    "ActionKind",
    "Approval",
    "Automation",
    "AutomationRule",
    "BadInputError",
    "BlockSettings",
    "Context",
    "Gate",
    "InsideKind",
    "NotAbleError",
    "Outcome",
    "OutsideKind",
    "RespondSettings",
    "ResponderSettings",
    "UnknownKindError",
    "WebhookSettings",
    "WrongMomentError",
    "all_kinds",
]
