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
from tocsin.access.service import ADMINISTRATOR, Access, SignedIn
from tocsin.access.settings import AccessSettings

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
