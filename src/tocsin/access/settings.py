"""How long sign-ins last and how many may fail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

__all__ = ["AccessSettings"]


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Limits of sign-in.

    A session ends `session_idle` after its last use and in any case `session_absolute` after sign-in. `failures_per_pair` wrong passwords for one
    name from one address, `failures_per_address` from one address or `failures_per_name` for one name within `failure_window` make the
    next tries wait, each time longer, at most `longest_wait`. The limit per name is wide, so that a stranger can't lock a user out easily.
    """

    session_idle: timedelta = timedelta(hours=8)
    session_absolute: timedelta = timedelta(hours=24)
    failures_per_pair: int = 5
    failures_per_address: int = 30
    failures_per_name: int = 100
    failure_window: timedelta = timedelta(minutes=15)
    longest_wait: timedelta = timedelta(minutes=15)
    password_length: int = 12
