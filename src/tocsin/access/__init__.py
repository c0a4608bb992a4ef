"""Access: who may do what. Sign-in, users, roles, tokens and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tocsin.access.errors import (
    BadCredentialsError,
    ForbiddenError,
    NotSignedInError,
    RequestHeaderMissingError,
    TooManyAttemptsError,
    WeakPasswordError,
    WrongAccountError,
)
from tocsin.access.principal import (
    INGEST_PERMISSIONS,
    PERMISSIONS,
    ROLES,
    Principal,
    permissions_of,
    person_of,
    require,
    system,
)
from tocsin.access.settings import AccessSettings

if TYPE_CHECKING:
    from tocsin.access.service import ADMINISTRATOR, Access, SignedIn

__all__ = [
    "ADMINISTRATOR",
    "INGEST_PERMISSIONS",
    "PERMISSIONS",
    "ROLES",
    "Access",
    "AccessSettings",
    "BadCredentialsError",
    "ForbiddenError",
    "NotSignedInError",
    "Principal",
    "RequestHeaderMissingError",
    "SignedIn",
    "TooManyAttemptsError",
    "WeakPasswordError",
    "WrongAccountError",
    "permissions_of",
    "person_of",
    "require",
    "system",
]


def __getattr__(name: str) -> Any:
    """The service brings the database with it; who only asks for an error's class or a principal, as a scan does, needn't wait for that."""
    if name in ("ADMINISTRATOR", "Access", "SignedIn"):
        from tocsin.access import service

        return getattr(service, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
