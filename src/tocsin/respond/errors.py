"""What the gate refuses, one class a reason."""

from __future__ import annotations

from tocsin.base.errors import ActionError

__all__ = ["BadInputError", "NotAbleError", "UnknownKindError", "WrongMomentError"]


class UnknownKindError(ActionError):
    """There is no such kind of action."""

    code = "ACT0002"


class BadInputError(ActionError):
    """An input that the kind doesn't take: malformed, or something that must never be acted upon."""

    code = "ACT0003"


class WrongMomentError(ActionError):
    """A step that the action's status doesn't allow: rejected, expired, undone before."""

    code = "ACT0004"


class NotAbleError(ActionError):
    """It can't be done here: a program or a right is missing. The message says which."""

    code = "ACT0005"
