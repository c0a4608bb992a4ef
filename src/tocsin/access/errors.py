"""What access refuses, one class a reason, so that doors can tell them apart without reading texts."""

from __future__ import annotations

from tocsin.base.errors import AccessError

__all__ = [
    "BadCredentialsError",
    "ForbiddenError",
    "NotSignedInError",
    "RequestHeaderMissingError",
    "TooManyAttemptsError",
    "WeakPasswordError",
    "WrongAccountError",
]


class NotSignedInError(AccessError):
    """No session and no token, or one that has ended."""

    code = "ACC0001"


class ForbiddenError(AccessError):
    """Signed in, but without the right."""

    code = "ACC0002"


class BadCredentialsError(AccessError):
    """Wrong name or password; which of the two isn't said."""

    code = "ACC0003"


class TooManyAttemptsError(AccessError):
    """Too many failed sign-ins; `retry_after` seconds until the next try is looked at."""

    code = "ACC0004"

    def __init__(self, message: str, *, retry_after: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RequestHeaderMissingError(AccessError):
    """A change by cookie without the header that a foreign site can't send."""

    code = "ACC0005"


class WeakPasswordError(AccessError):
    """A password that isn't accepted."""

    code = "ACC0006"


class WrongAccountError(AccessError):
    """A user, role or token that can't be made or changed so."""

    code = "ACC0007"
