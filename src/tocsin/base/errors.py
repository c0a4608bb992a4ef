"""The error tree: every failure that a user can cause or must act upon, with a stable code.

    TocsinError
    ├── UsageError        USE….  wrong flags, settings or arguments
    ├── ConfigError       CFG….  tocsin.toml, environment
    ├── KqlError          KQL….  a query text; carries spans (raised by tocsin.kql)
    ├── QueryError        QRY….  a query that was right but could not finish: limit, time-out, cancelled
    ├── IngestError       ING….  input that can't be read; carries file and place
    ├── LakeError         LAK….  storage
    ├── ContentError      CNT….  packs: a rule, parser, hunt or playbook file
    ├── DetectError       DET….  a rule that can't run
    ├── StateError        STA….  relational state, migrations
    ├── AccessError       ACC….  sign-in and permissions
    └── ActionError       ACT….  the gate and its actions

A code is never reused for another meaning. Nothing decides by reading a message's text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

__all__ = [
    "AccessError",
    "ActionError",
    "Advice",
    "ConfigError",
    "ContentError",
    "DetectError",
    "IngestError",
    "KqlError",
    "LakeError",
    "Place",
    "QueryError",
    "StateError",
    "TocsinError",
    "UsageError",
    "did_you_mean",
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where: a file or other named input, and 1-based line and column where known. `offset` counts bytes or characters from 0."""

    source: str = ""
    line: int | None = None
    column: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        parts = [self.source] if self.source else []
        if self.line is not None:
            parts.append(str(self.line))
            if self.column is not None:
                parts.append(str(self.column))
        elif self.offset is not None:
            parts.append(f"byte {self.offset}")
        return ":".join(parts)


class TocsinError(Exception):
    """An error with a code, a place and advice.

    `message` says what was wrong in one sentence without its code; `hint` says what to do.
    """

    code = "TOC0000"

    def __init__(self, message: str, *, code: str | None = None, place: Place | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.place = place
        self.hint = hint
        self.more: Mapping[str, Any] = {}
        """What a program may want to know of it besides, as JSON; the API gives it with the problem."""

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place and str(self.place) else ""
        stop = "" if self.message.endswith((".", "!", "?", ":")) else "."
        advice = f"{stop} {self.hint}" if self.hint else ""
        return f"{self.code} {where}{self.message}{advice}"


class UsageError(TocsinError):
    """Wrong flags or arguments."""

    code = "USE0001"


class ConfigError(TocsinError):
    """A setting that is unknown, malformed or contradicts another."""

    code = "CFG0001"


class KqlError(TocsinError):
    """A query text that can't be parsed, bound or lowered."""

    code = "KQL0001"


class QueryError(TocsinError):
    """A query that was right but could not finish."""

    code = "QRY0001"


class IngestError(TocsinError):
    """Input that can't be read."""

    code = "ING0001"


class LakeError(TocsinError):
    """Storage that can't be read or written."""

    code = "LAK0001"


class ContentError(TocsinError):
    """A content file that is wrong."""

    code = "CNT0001"


class DetectError(TocsinError):
    """A rule that can't run."""

    code = "DET0001"


class StateError(TocsinError):
    """Relational state that can't be opened or migrated."""

    code = "STA0001"


class AccessError(TocsinError):
    """Not signed in, or without the right."""

    code = "ACC0001"


class ActionError(TocsinError):
    """An action that can't be proposed, approved, executed or undone."""

    code = "ACT0001"


class Advice(str):
    """A hint that a program can follow: `replacement` is what to write in place of what is wrong, or at `span` where that is elsewhere.

    It is a text like any other hint; who only shows it needs to know nothing of this.
    """

    replacement: str
    span: tuple[int, int] | None

    def __new__(cls, text: str, replacement: str, span: tuple[int, int] | None = None) -> Advice:
        advice = super().__new__(cls, text)
        advice.replacement = replacement
        advice.span = span
        return advice


def did_you_mean(name: str, known: object) -> str:
    """A hint ``Did you mean 'x'?`` from the nearest of `known` (an iterable of names), or an empty string.

    The hint is an `Advice` whose replacement is that name.
    """
    options = sorted({str(k) for k in known})  # type: ignore[attr-defined]
    folded = {o.lower(): o for o in options}
    found = folded.get(name.lower())
    if found is None:
        near = get_close_matches(name, options, n=1, cutoff=0.6)
        found = near[0] if near else None
    return Advice(f"Did you mean '{found}'?", found) if found is not None else ""
