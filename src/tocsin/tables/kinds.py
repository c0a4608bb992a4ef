"""The kinds of source that decoders make without a declaration, as `kinds.toml` names them."""

from __future__ import annotations

import tomllib
from dataclasses import astuple, dataclass
from pathlib import Path

__all__ = ["EVENT_KINDS", "KINDS", "Kinds"]


@dataclass(frozen=True, slots=True)
class Kinds:
    """Names of kinds, by the part that they play."""

    windows: str
    sysmon_linux: str
    audit: str
    syslog: str
    cef: str
    leef: str
    json: str
    csv: str

    def all(self) -> frozenset[str]:
        """Every name."""
        return frozenset(astuple(self))


KINDS = Kinds(**tomllib.loads(Path(__file__).with_name("kinds.toml").read_text("utf-8")))
"""The names."""
EVENT_KINDS = frozenset({KINDS.windows, KINDS.sysmon_linux})
"""Kinds whose rows are Windows-shaped events."""
