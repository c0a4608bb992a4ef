"""A summary rule, as files and requests give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tocsin.base.errors import UsageError
from tocsin.tables import catalogue

__all__ = ["SIZES", "SummaryRule"]

SIZES = (20, 30, 60, 120, 180, 360, 720, 1440)
"""Minutes that a bin may have, as in Azure Monitor."""


@dataclass(frozen=True, slots=True)
class SummaryRule:
    """A summary rule. `size` and `delay` in minutes; `late` is how long a bin may be run again for late rows, in hours."""

    id: str
    name: str
    query: str
    table: str
    size: int
    delay: int = 10
    late: int = 24
    description: str = ""
    enabled: bool = True
    pack: str = ""
    changed: str = ""

    @classmethod
    def of(cls, raw: Mapping[str, Any], *, rule_id: str = "", pack: str = "", changed: str = "") -> SummaryRule:
        """The rule of a file's or a request's form. Raises UsageError USE0036 for a value that can't be."""
        rule = cls(
            rule_id or str(raw["id"]),
            str(raw["name"]),
            str(raw["query"]).strip(),
            str(raw["destinationTable"]),
            int(raw["binSize"]),
            _whole(raw.get("binDelay"), 10),
            _whole(raw.get("lateHours"), 24),
            str(raw.get("description") or ""),
            bool(raw.get("enabled", True)),
            pack,
            changed,
        )
        if rule.size not in SIZES:
            raise UsageError(f"binSize is {rule.size} minutes; it can be {', '.join(map(str, SIZES))}.", code="USE0036")
        if not 0 <= rule.delay <= 1440 or not 0 <= rule.late <= 24 * 30:
            raise UsageError("binDelay can be 0 to 1440 minutes and lateHours 0 to 720.", code="USE0036")
        if not rule.table.endswith("_CL") or catalogue().table(rule.table) is not None:
            raise UsageError(
                f"{rule.table} can't take a summary: its name must end with _CL and be no table's of the catalogue.",
                code="USE0036",
            )
        return rule

    @property
    def span(self) -> timedelta:
        """How long a bin is."""
        return timedelta(minutes=self.size)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, under the names that files use."""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "query": self.query,
            "destinationTable": self.table,
            "binSize": self.size,
            "binDelay": self.delay,
            "lateHours": self.late,
            "enabled": self.enabled,
            "pack": self.pack,
            "changed": self.changed,
        }


def _whole(value: Any, default: int) -> int:
    return default if value is None else int(value)
