"""Access: who may do what. Sign-in, users, roles, tokens and the audit log."""

from tocsin.access.errors import (
    BadCredentials,
    Forbidden,
    NotSignedIn,
    RequestHeaderMissing,
    TooManyAttempts,
    WeakPassword,
    WrongAccount,
)
from tocsin.access.principal import INGEST_PERMISSIONS, PERMISSIONS, ROLES, Principal, permissions_of, require, system

__all__ = [
    "INGEST_PERMISSIONS",
    "PERMISSIONS",
    "ROLES",
    "BadCredentials",
    "Forbidden",
    "NotSignedIn",
    "Principal",
    "RequestHeaderMissing",
    "TooManyAttempts",
    "WeakPassword",
    "WrongAccount",
    "permissions_of",
    "require",
    "system",
]
