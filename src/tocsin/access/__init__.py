"""Access: who may do what. Sign-in, users, roles, tokens and the audit log."""

from tocsin.access.errors import (
    BadCredentialsError,
    ForbiddenError,
    NotSignedInError,
    RequestHeaderMissingError,
    TooManyAttemptsError,
    WeakPasswordError,
    WrongAccountError,
)
from tocsin.access.principal import INGEST_PERMISSIONS, PERMISSIONS, ROLES, Principal, permissions_of, require, system

__all__ = [
    "INGEST_PERMISSIONS",
    "PERMISSIONS",
    "ROLES",
    "BadCredentialsError",
    "ForbiddenError",
    "NotSignedInError",
    "Principal",
    "RequestHeaderMissingError",
    "TooManyAttemptsError",
    "WeakPasswordError",
    "WrongAccountError",
    "permissions_of",
    "require",
    "system",
]
