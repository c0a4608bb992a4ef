"""Identifiers that are the same when the same input is replayed.

An alert's or incident's id is a hash of what it is made of, never a random number; only secrets are random.
"""

from __future__ import annotations

import hashlib
import secrets
from uuid import UUID

__all__ = ["new_secret", "stable_id", "stable_uuid"]


def stable_id(prefix: str, *parts: object, length: int = 16) -> str:
    """A prefix and `length` hex digits of SHA-256 over the parts, for example ``al_3f…``.

    Parts are joined with a unit separator so that ("ab", "c") differs from ("a", "bc").
    """
    digest = hashlib.sha256("\x1f".join(str(p) for p in parts).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{prefix}_{digest[:length]}"


def stable_uuid(*parts: object) -> str:
    """A UUID (version 8, RFC 9562) made of SHA-256 over the parts."""
    raw = bytearray(hashlib.sha256("\x1f".join(str(p) for p in parts).encode("utf-8", "surrogatepass")).digest()[:16])
    raw[6] = (raw[6] & 0x0F) | 0x80
    raw[8] = (raw[8] & 0x3F) | 0x80
    return str(UUID(bytes=bytes(raw)))


def new_secret(nbytes: int = 32) -> str:
    """A URL-safe random secret of that many bytes of entropy."""
    return secrets.token_urlsafe(nbytes)
