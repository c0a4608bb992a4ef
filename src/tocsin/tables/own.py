"""The tables that Tocsin itself writes, as `own.toml` declares them: which one holds what, and which column which fact."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["OwnTable", "own"]


@dataclass(frozen=True, slots=True)
class OwnTable:
    """What holds rows of one kind: the table's name, and the fact that each of its columns holds.

    `entities` says, by entity type, what the table calls it and which column holds which identifier.
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    entities: Mapping[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)

    def row(self, **facts: Any) -> dict[str, Any]:
        """The row of those facts; what isn't known leaves its columns out. Raises KeyError for a fact that no column holds."""
        if unknown := facts.keys() - self.columns.values():
            raise KeyError(f"{self.name} has no column for {', '.join(sorted(unknown))}")
        return {**self.constants, **{column: facts[fact] for column, fact in self.columns.items() if fact in facts}}

    def column(self, fact: str) -> str:
        """The first column that holds that fact. Raises KeyError where none does."""
        for column, held in self.columns.items():
            if held == fact:
                return column
        raise KeyError(fact)


def own(role: str) -> OwnTable:
    """The table that holds rows of that kind. Raises KeyError for one that `own.toml` doesn't declare."""
    return _declared()[role]


@cache
def _declared() -> Mapping[str, OwnTable]:
    read = tomllib.loads(Path(__file__).with_name("own.toml").read_text("utf-8"))
    return {
        role: OwnTable(
            each["table"],
            each.get("columns", {}),
            each.get("constants", {}),
            {kind: (e["name"], e["columns"]) for kind, e in each.get("entities", {}).items()},
        )
        for role, each in read.items()
    }
