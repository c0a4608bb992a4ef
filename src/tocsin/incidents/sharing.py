"""What two sides of correlation share: its points, and what a reason says of it in words."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.incidents.model import Reason
from tocsin.incidents.signature import HOUR, Thing
from tocsin.tables.aliases import Alias

__all__ = ["Part", "Score"]


@dataclass(frozen=True, slots=True)
class Part:
    """One shared thing: its points, and what its reason says beside its name."""

    thing: Thing
    kind: str
    points: float
    degree: int
    noisy: bool
    aliases: tuple[Alias, ...] = ()
    luck: float = 0.0
    """How likely the two sides' alerts met there by chance, where that lessens the points."""
    strange: bool = False
    """Whether the alerts that met there name different accounts, where that lessens the points."""
    common: bool = False
    """Whether it is a host, an account or an address that clearly more have than one attack's few."""


@dataclass(frozen=True, slots=True)
class Score:
    """Points, whether they make a join, and what they are made of."""

    points: float
    joins: bool
    parts: tuple[tuple[Part, float], ...] = ()
    stage: str = ""
    stage_points: float = 0.0
    rule_points: float = 0.0
    gap: float = 0.0

    @property
    def learned(self) -> tuple[str, ...]:
        """The aliases by which something is shared, in words."""
        return tuple(dict.fromkeys(a.text for part, _ in self.parts for a in part.aliases))

    def reasons(self) -> tuple[Reason, ...]:
        """The reasons in words, the strongest first; their weights add up to the points."""
        found = [Reason(_sentence(part), points) for part, points in self.parts]
        if self.stage:
            found.append(Reason(self.stage, self.stage_points))
        if self.rule_points:
            found.append(Reason("same rule", self.rule_points))
        if self.gap > HOUR:
            found.append(Reason(f"{_span(self.gap)} apart", 0.0))
        return tuple(found)


_WORDS = {
    "Account": "account",
    "Host": "host",
    "IP": "address",
    "FileHash": "file hash",
    "File": "file",
    "Process": "process",
    "ProcessTree": "process tree of",
    "Session": "logon session of",
    "Mailbox": "mailbox",
    "MailMessage": "message",
    "CloudApplication": "application",
    "AzureResource": "resource",
    "DNS": "domain",
    "RegistryKey": "registry key",
    "RegistryValue": "registry value",
}


def _sentence(part: Part) -> str:
    kind, label = part.thing
    note = f", seen with {part.degree} others" if part.degree else ""
    note += ", by a rule that fires everywhere" if part.noisy else ""
    note += f", where alerts come so soon after each other by chance too ({part.luck:.0%})" if part.luck else ""
    note += ", under other accounts" if part.strange else ""
    note += "".join(f"; {text}" for text in dict.fromkeys(a.text for a in part.aliases))
    return f"same {_WORDS.get(kind, kind)} {label}{note}"


def _span(gap: float) -> str:
    hours = gap / HOUR
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
