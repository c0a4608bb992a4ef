"""Settings of the door to rows, documented by the fields themselves (``[query]`` in `tocsin.toml`)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tocsin.lake.engine import Limits
from tocsin.lake.settings import MIB

__all__ = ["QuerySettings"]


class QuerySettings(BaseModel):
    """What one query may take when its caller says nothing, and what callers may ask for at most."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(default=30_000, ge=1, description="Rows of a result; more are cut off and the answer says so.")
    seconds: float = Field(default=60.0, gt=0, description="Time that a query may take.")
    result_bytes: int = Field(default=64 * MIB, ge=1, description="Size of a result in memory; more rows are cut off.")
    most_rows: int = Field(default=500_000, ge=1, description="Rows that a person or token may ask for at most.")
    most_seconds: float = Field(default=600.0, gt=0, description="Time that a person or token may ask for at most.")
    compiled: int = Field(
        default=256, ge=0, description="Compiled queries that are kept for the next run of the same text."
    )

    @property
    def limits(self) -> Limits:
        """The limits of a query whose caller gave none."""
        return Limits(rows=self.rows, seconds=self.seconds, result_bytes=self.result_bytes)
