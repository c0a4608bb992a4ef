"""What a Sigma rule asks of one field's value: the leaves of a rule's tree, as data.

Text compares without case unless the rule says `cased`; a value that isn't there satisfies nothing but `Null` and ``exists: false``.
These objects are the meaning; `fields` finds the same answers for many of them at once.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import re2  # type: ignore[import-untyped]

__all__ = [
    "Check",
    "Cidr",
    "Compare",
    "Exists",
    "Glob",
    "Null",
    "Reference",
    "Regex",
    "Text",
    "TimePart",
    "as_text",
]


def as_text(value: Any) -> str:
    """A field's value as the text that rules compare with."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


@dataclass(frozen=True)
class Check:
    """A question about one present value."""

    def holds(self, value: str) -> bool:
        """Whether the value satisfies it."""
        raise NotImplementedError

    @property
    def if_missing(self) -> bool:
        """Whether a field that isn't there satisfies it."""
        return False

    @property
    def rarity(self) -> float:
        """How often it is likely to hold, in a unit of its own; less is rarer. For the choice of a rule's necessary checks."""
        return 1.0


@dataclass(frozen=True)
class Text(Check):
    """Equals (``eq``), begins with (``start``), ends with (``end``) or holds (``in``) a text. `text` is lower case unless `cased`."""

    how: str
    text: str
    cased: bool = False

    def holds(self, value: str) -> bool:
        """See `Check.holds`."""
        if not self.cased:
            value = value.lower()
        match self.how:
            case "eq":
                return value == self.text
            case "start":
                return value.startswith(self.text)
            case "end":
                return value.endswith(self.text)
            case _:
                return self.text in value

    @property
    def rarity(self) -> float:
        """See `Check.rarity`."""
        if self.how == "eq":
            return 0.5 if self.text else 5.0
        return float(60.0 / max(1, len(self.text)) ** 1.5)


@dataclass(frozen=True)
class Glob(Check):
    """A text with wildcards: `parts` are texts, ``*`` as None and ``?`` as True."""

    parts: tuple[str | bool | None, ...]
    cased: bool = False

    @cached_property
    def _pattern(self) -> Any:
        # RE2 takes time in proportion to the value whatever the pattern; Python's own engine doesn't.
        body = "".join(".*" if p is None else "." if p is True else re2.escape(str(p)) for p in self.parts)
        return re2.compile(f"(?s){body}")

    def holds(self, value: str) -> bool:
        """See `Check.holds`."""
        return self._pattern.fullmatch(value if self.cased else value.lower()) is not None

    @property
    def literal(self) -> str:
        """The longest text that a value must hold."""
        return max((p for p in self.parts if isinstance(p, str)), key=len, default="")

    @property
    def rarity(self) -> float:
        """See `Check.rarity`."""
        return float(60.0 / max(1, len(self.literal)) ** 1.5)


MOST_INSTRUCTIONS = 100_000
"""Size of an expression's program above which it is refused: SigmaHQ's largest has 8,000."""


@dataclass(frozen=True)
class Regex(Check):
    """A regular expression (RE2 syntax, inline flags included) found anywhere in the value, with case unless ``(?i)``."""

    pattern: str

    @cached_property
    def _compiled(self) -> Any:
        # A set of one only says yes or no, which takes RE2 a fraction of the time of finding where.
        options = re2.Options()
        options.max_mem = 16 << 20
        found = re2.Set.SearchSet(options)
        found.Add(self.pattern)
        found.Compile()
        return found

    @property
    def size(self) -> int:
        """How many instructions it takes; see `MOST_INSTRUCTIONS`."""
        return int(re2.compile(self.pattern).programsize)

    def holds(self, value: str) -> bool:
        """See `Check.holds`."""
        return self._compiled.Match(value) is not None

    @cached_property
    def finder(self) -> Callable[[bytes], Any]:
        """A function of a value in UTF-8 that is true where it is found."""
        found: Callable[[bytes], Any] = self._compiled.Match
        return found

    @property
    def rarity(self) -> float:
        """See `Check.rarity`."""
        return 1.5


@dataclass(frozen=True)
class Cidr(Check):
    """An address within a network."""

    network: str

    @cached_property
    def _network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        return ipaddress.ip_network(self.network)

    def holds(self, value: str) -> bool:
        """See `Check.holds`."""
        try:
            return ipaddress.ip_address(value.strip()) in self._network
        except ValueError:
            return False

    @property
    def rarity(self) -> float:
        """See `Check.rarity`."""
        return 3.0


@dataclass(frozen=True)
class Compare(Check):
    """A number less than (``lt``), at most (``lte``), greater than (``gt``), at least (``gte``) or not equal to (``neq``) another."""

    how: str
    number: float

    def holds(self, value: str) -> bool:
        """See `Check.holds`."""
        try:
            found = float(int(value, 16)) if value[:2].lower() == "0x" else float(value)
        except (ValueError, OverflowError):
            return False
        if not math.isfinite(found) or "_" in value or not value.isascii():
            return False  # Python takes more for numbers than logs write
        match self.how:
            case "lt":
                return found < self.number
            case "lte":
                return found <= self.number
            case "gt":
                return found > self.number
            case "gte":
                return found >= self.number
            case _:
                return found != self.number

    @property
    def rarity(self) -> float:
        """See `Check.rarity`."""
        return 20.0


@dataclass(frozen=True)
class Null(Check):
    """The field isn't there, or is null. An empty text is not null."""

    def holds(self, value: str) -> bool:  # noqa: ARG002
        """See `Check.holds`."""
        return False

    @property
    def if_missing(self) -> bool:
        """See `Check.if_missing`."""
        return True

    @property
    def rarity(self) -> float:
        """See `Check.rarity`."""
        return 50.0


@dataclass(frozen=True)
class Exists(Check):
    """The field is there (`wanted`), or isn't."""

    wanted: bool

    def holds(self, value: str) -> bool:  # noqa: ARG002
        """See `Check.holds`."""
        return self.wanted

    @property
    def if_missing(self) -> bool:
        """See `Check.if_missing`."""
        return not self.wanted

    @property
    def rarity(self) -> float:
        """See `Check.rarity`."""
        return 90.0


@dataclass(frozen=True)
class Reference(Check):
    """The value equals another field's value, or begins or ends with it or holds it. Judged on pairs; see `holds_pair`."""

    field: str
    starts: bool = False
    ends: bool = False
    cased: bool = False

    def holds(self, value: str) -> bool:  # noqa: ARG002
        """See `Check.holds`: two values are needed."""
        raise TypeError("a field reference is judged on two values")

    def holds_pair(self, value: str, other: str) -> bool:
        """Whether the two values satisfy it."""
        if not self.cased:
            value, other = value.lower(), other.lower()
        if self.starts and self.ends:
            return other in value
        if self.starts:
            return value.startswith(other)
        return value.endswith(other) if self.ends else value == other

    @property
    def rarity(self) -> float:
        """See `Check.rarity`."""
        return 30.0


@dataclass(frozen=True)
class TimePart(Check):
    """A part of a time: ``minute hour day week month year``."""

    part: str
    number: int

    def holds(self, value: str) -> bool:
        """See `Check.holds`."""
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return False
        found = moment.isocalendar().week if self.part == "week" else int(getattr(moment, self.part))
        return found == self.number

    @property
    def rarity(self) -> float:
        """See `Check.rarity`."""
        return 10.0
