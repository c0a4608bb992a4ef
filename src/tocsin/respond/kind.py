"""What a kind of action is. One file under `actions/` and one line in `actions.KINDS` add one.

A kind declares its input (a pydantic model, shown as JSON Schema), the permission that proposing takes, whether approval is needed, whether it
can be done here at all (`able`, shown before anybody approves), how it is done and how it is undone. The gate does the rest: permissions,
approval, expiry, history and audit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from tocsin.incidents.life import Actor
from tocsin.state import ActionRow, Unit

__all__ = ["Able", "ActionInput", "ActionKind", "Approval", "Context", "InsideKind", "Outcome", "OutsideKind"]


class ActionInput(BaseModel):
    """Base of inputs: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Approval(StrEnum):
    """Who must agree before an action is done."""

    NONE = "none"
    """Nobody: whoever may propose it does it."""
    ONE = "one"
    """Somebody with actions.approve."""
    TWO = "two"
    """Somebody with actions.approve who isn't the one that proposed it."""


@dataclass(frozen=True, slots=True)
class Able:
    """Whether a kind can be done here, and if not, why and what would change that."""

    able: bool
    reason: str = ""


I = TypeVar("I", bound=ActionInput)  # noqa: E741 - a type parameter


@dataclass(frozen=True, slots=True)
class Context(Generic[I]):
    """What an execution knows: the action, its validated input, who decided, and the incident (API shape) if there is one.

    `others` looks up which other actions of the kind hold the same effect at that moment, or are about to.
    """

    action: ActionRow
    given: I
    actor: Actor
    now: datetime
    incident: Mapping[str, Any] | None = None
    others: Callable[[], Sequence[ActionRow]] = tuple


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an execution gives: a result to show, what its undo needs, when its effect ends by itself, and what to say in the history."""

    result: Mapping[str, Any] = field(default_factory=dict)
    undo_data: Mapping[str, Any] | None = None
    expires_at: datetime | None = None
    text: str = ""


class ActionKind(ABC, Generic[I]):
    """A kind of action."""

    kind: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    permission: ClassVar[str] = "actions.propose"
    undoable: ClassVar[bool] = True
    expires: ClassVar[bool] = False
    needs_incident: ClassVar[bool] = False
    edit: ClassVar[bool] = False
    """An edit of an incident: left out of the action centre when a person made it directly."""
    Input: type[I]

    def approval(self, given: I) -> Approval:  # noqa: ARG002
        """Who must agree. The setting four_eyes makes ONE to TWO."""
        return Approval.NONE

    @abstractmethod
    def describe(self, given: I) -> tuple[str, str]:
        """A title for lists (``Block 203.0.113.7``) and a sentence that says what will happen."""

    def effect(self, given: I) -> str:  # noqa: ARG002
        """What it acts on, so that two actions on the same thing know of each other; "" when that doesn't matter."""
        return ""

    def able(self) -> Able:
        """Whether it can be done here now. Looks; changes nothing."""
        return Able(True)

    def check(self, given: I) -> None:
        """Raises BadInputError for what must not be done, with the reason. Asked at proposal and again before execution."""


class InsideKind(ActionKind[I]):
    """A kind that changes our own state: done in the transaction that records it, so it happens whole or not at all."""

    @abstractmethod
    def execute(self, unit: Unit, context: Context[I]) -> Outcome:
        """Does it."""

    def undo(self, unit: Unit, context: Context[I]) -> str:
        """Takes it back; gives what to say in the history."""
        raise NotImplementedError


class OutsideKind(ActionKind[I]):
    """A kind that changes something outside, out of any transaction.

    `idempotent` kinds are done again when the server died in the middle of one; others are marked as failed with their outcome unknown.
    """

    idempotent: ClassVar[bool] = True

    @abstractmethod
    def execute(self, context: Context[I]) -> Outcome:
        """Does it. Any exception means failure; a TocsinError's text is shown."""

    def undo(self, context: Context[I]) -> str:
        """Takes it back; gives what to say in the history."""
        raise NotImplementedError

    def expire(self, context: Context[I]) -> str:
        """The effect's time is over: takes it back unless it ended by itself."""
        return self.undo(context)

    def restore(self, context: Context[I]) -> str | None:  # noqa: ARG002
        """After a start: makes the effect hold again if a restart of the machine lost it. None when nothing was to do."""
        return None
