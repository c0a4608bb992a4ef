"""How long sign-ins last and how many may fail (``[access]`` in `tocsin.toml`)."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AccessSettings"]


class AccessSettings(BaseModel):
    """Limits of sign-in. Waits after failures grow with each further failure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session_idle: timedelta = Field(
        default=timedelta(hours=8), description="A session ends so long after its last use."
    )
    session_absolute: timedelta = Field(
        default=timedelta(hours=24), description="A session ends so long after sign-in."
    )
    failures_per_pair: int = Field(
        default=5, ge=1, description="Wrong passwords for one name from one address before the next try must wait."
    )
    failures_per_address: int = Field(default=30, ge=1, description="The same for all names from one address.")
    failures_per_name: int = Field(
        default=100, ge=1, description="The same for one name from everywhere: wide, or strangers could lock users out."
    )
    failure_window: timedelta = Field(
        default=timedelta(minutes=15), description="Failures older than this don't count."
    )
    longest_wait: timedelta = Field(default=timedelta(minutes=15), description="No wait is longer than this.")
    password_length: int = Field(default=12, ge=8, description="Characters that a password must have.")
