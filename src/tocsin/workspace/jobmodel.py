"""A search job or a restore, and what one would read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

__all__ = ["Estimate", "Job"]


@dataclass(frozen=True, slots=True)
class Job:
    """A job. `days_done` of `days` are done; `status` is Queued, Running, Succeeded, Failed, Cancelled, or Removed when its table is gone."""

    id: str
    kind: str
    target: str
    table: str
    query: str
    start: datetime
    end: datetime
    by: str
    created: datetime
    status: str = "Queued"
    days: int = 0
    days_done: int = 0
    rows: int = 0
    bytes_read: int = 0
    error: str = ""
    error_code: str = ""
    error_hint: str = ""
    finished: datetime | None = None
    expires: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Job:
        """The job of a `to_dict` form."""
        times = ("start", "end", "created", "finished", "expires")
        values: dict[str, Any] = {k: datetime.fromisoformat(v) if k in times and v else v for k, v in raw.items()}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job would read: days, and files on the disk and in the archive that may hold rows of them."""

    table: str
    days: int
    files: int
    bytes: int
    rows: int
    archived_files: int
    archived_bytes: int
    archived_rows: int

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)
