"""Settings of the door to rows, documented by the fields themselves (``[query]`` in `tocsin.toml`)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePath
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tocsin.lake.engine import Limits
from tocsin.lake.settings import MIB

__all__ = ["ExternalSettings", "QuerySettings", "RoleLimits", "RolesLimits"]


class RoleLimits(BaseModel):
    """What queries of one role may take at most. Who has several roles gets the widest of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int | None = Field(default=None, ge=1, description="Rows of a result at most; query.most_rows when not set.")
    seconds: float | None = Field(
        default=None, gt=0, description="Time that a query may ask for at most; query.most_seconds when not set."
    )
    result_bytes: int | None = Field(
        default=None, ge=1, description="Size of a result at most; query.result_bytes when not set."
    )
    memory_bytes: int | None = Field(
        default=None,
        ge=16 * MIB,
        description="Memory of one query, which then runs in a database of its own; it shares engine.memory_bytes when not set.",
    )
    spill_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Disk that one query may spill to; needs memory_bytes. Queries share engine.spill_bytes when not set.",
    )
    concurrent: int | None = Field(
        default=None,
        ge=1,
        description="Queries of one person that run at the same time; query.concurrent when not set. More wait for their turn.",
    )

    @model_validator(mode="after")
    def _spill_needs_memory(self) -> Self:
        if self.spill_bytes is not None and self.memory_bytes is None:
            raise ValueError("spill_bytes needs memory_bytes beside it: what spills is what doesn't fit in that")
        return self


class RolesLimits(BaseModel):
    """Limits by role (`[query.roles.reader]` and so on)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reader: RoleLimits = RoleLimits()
    responder: RoleLimits = RoleLimits()
    contributor: RoleLimits = RoleLimits()
    administrator: RoleLimits = RoleLimits()


class ExternalSettings(BaseModel):
    """What externaldata may read (`[query.external]`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow: tuple[str, ...] = Field(
        default=(),
        description="Web addresses (`https://lists.example.org/intel/`) and absolute folders (`/srv/lists`) that externaldata may read, with all "
        "that lies below them. Nothing may be read by default.",
    )
    max_bytes: int = Field(
        default=64 * MIB, ge=1024, description="Size of one file of externaldata, packed and unpacked."
    )
    seconds: float = Field(default=10.0, gt=0, description="How long externaldata waits for a web server.")
    keep_seconds: float = Field(
        default=300.0, ge=0, description="How long what externaldata read from the web is used again."
    )

    @field_validator("allow")
    @classmethod
    def _addresses(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            parts = urlsplit(entry)
            site = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.username
            if not site and ("://" in entry or not PurePath(entry).is_absolute()):
                raise ValueError(f"{entry!r} is neither a web address nor an absolute folder")
        return entries


class QuerySettings(BaseModel):
    """What one query may take when its caller says nothing, and what callers may ask for at most."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workspace: str = Field(
        default="tocsin",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
        description="Name of the workspace: Kusto clients see it as their database, Log Analytics clients as their workspace.",
    )
    workspace_id: str = Field(
        default="",
        pattern=r"^$|^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        description="The workspace's GUID, for scripts that name one; by default one of its own that is kept in the state.",
    )
    rows: int = Field(default=30_000, ge=1, description="Rows of a result; more are cut off and the answer says so.")
    seconds: float = Field(default=60.0, gt=0, description="Time that a query may take.")
    result_bytes: int = Field(default=64 * MIB, ge=1, description="Size of a result in memory; more rows are cut off.")
    most_rows: int = Field(default=500_000, ge=1, description="Rows that a person or token may ask for at most.")
    most_seconds: float = Field(default=600.0, gt=0, description="Time that a person or token may ask for at most.")
    concurrent: int = Field(
        default=0,
        ge=0,
        description="Queries of people and tokens that run at the same time; more wait for their turn. 0 means two a core, eight at most. "
        "Keep it below engine.connections, so that rules always find one.",
    )
    queue_seconds: float = Field(
        default=30.0, ge=0, description="How long a query waits for its turn before it is refused with 429."
    )
    niceness: int = Field(
        default=10,
        ge=0,
        le=19,
        description="How much queries of people leave the processors to intake and rules when all want them, as nice(1) counts; "
        "0 not at all. Linux only.",
    )
    roles: RolesLimits = RolesLimits()
    external: ExternalSettings = ExternalSettings()
    compiled: int = Field(
        default=256, ge=0, description="Compiled queries that are kept for the next run of the same text."
    )

    @property
    def limits(self) -> Limits:
        """The limits of a query whose caller gave none."""
        return Limits(rows=self.rows, seconds=self.seconds, result_bytes=self.result_bytes)

    @property
    def at_once(self) -> int:
        """Queries of people and tokens that run at the same time on this machine."""
        return self.concurrent or min(8, 2 * (os.cpu_count() or 1))

    def most(self, roles: Iterable[str]) -> Limits:
        """What somebody with these roles may ask for at most. A role that has no limits here gets those of all."""
        common = Limits(
            rows=self.most_rows,
            seconds=self.most_seconds,
            result_bytes=self.result_bytes,
            settings={"rows": "query.most_rows", "seconds": "query.most_seconds", "result_bytes": "query.result_bytes"},
        )
        found = [self._of_role(role.lower(), common) for role in sorted(roles)]
        return widest(found) if found else common

    def _of_role(self, role: str, common: Limits) -> Limits:
        given: RoleLimits | None = getattr(self.roles, role, None) if role in RolesLimits.model_fields else None
        if given is None:
            return common
        own = {name: value for name in _BY_ROLE if (value := getattr(given, name)) is not None}
        names = {name: f"query.roles.{role}.{name}" for name in own}
        return replace(common, **own, settings={**common.settings, **names})

    def turns(self, roles: Iterable[str]) -> tuple[int, str]:
        """How many queries one person with these roles may run at the same time, and the setting that says so."""
        widest_of = (self.at_once, "query.concurrent")
        own = []
        for role in sorted(roles):
            given = getattr(self.roles, role.lower(), None) if role.lower() in RolesLimits.model_fields else None
            if given is None or given.concurrent is None:
                return widest_of
            own.append((given.concurrent, f"query.roles.{role.lower()}.concurrent"))
        return min(max(own), widest_of) if own else widest_of


_BY_ROLE = ("rows", "seconds", "result_bytes", "memory_bytes", "spill_bytes")


def widest(limits: Iterable[Limits]) -> Limits:
    """The widest of each limit, with its setting. None, no limit of one's own, is wider than any."""
    first, *others = limits
    for other in others:
        for name in _BY_ROLE:
            mine, theirs = getattr(first, name), getattr(other, name)
            if mine is not None and (theirs is None or theirs > mine):
                settings = {k: v for k, v in first.settings.items() if k != name}
                if name in other.settings:
                    settings[name] = other.settings[name]
                first = replace(first, **{name: theirs}, settings=settings)
    return first
