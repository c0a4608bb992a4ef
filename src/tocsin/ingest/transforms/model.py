"""What a transform is: KQL over `source` that the user puts between a stream of rows and its table, as a data collection rule does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tocsin.base.errors import IngestError

__all__ = ["TABLE_STREAM", "Flow", "Transform", "TransformError", "table_of"]

TABLE_STREAM = "Microsoft-Table-"
"""What the name of a stream of a table's rows begins with, as in workspace transformation rules; the table's name follows."""

OnError = Literal["dead-letter", "pass"]


class TransformError(IngestError):
    """A transform that can't be used: no such stream, no such table, a result that doesn't fit."""

    code = "ING0050"


def table_of(stream: str) -> str:
    """The table whose rows the stream is; empty for a stream of a source kind."""
    return stream.removeprefix(TABLE_STREAM) if stream.startswith(TABLE_STREAM) else ""


@dataclass(frozen=True, slots=True)
class Flow:
    """One way that rows go on: `kql` (a DCR's transformKql) over `source`, and the table that the result is for; "" means the stream's own way."""

    kql: str
    table: str = ""


@dataclass(frozen=True, slots=True)
class Transform:
    """A transform in one version.

    `stream` is a source kind (`syslog`, `windows.event` …: rows before the packs' parsers, as the source shapes them) or
    `Microsoft-Table-<Table>` (rows of that table, whatever made them). Each flow sees every row of the stream, so that several split it.
    `on_error`: where the rows of a batch go on which a flow fails at run time: all to dead letters, to be replayed, or on as they are.
    """

    id: str
    name: str
    stream: str
    flows: tuple[Flow, ...]
    enabled: bool = True
    on_error: OnError = "dead-letter"
    description: str = ""
    version: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Its JSON form, flows under a DCR's names."""
        return {
            "id": self.id,
            "name": self.name,
            "stream": self.stream,
            "flows": [{"transformKql": f.kql, "outputTable": f.table} for f in self.flows],
            "enabled": self.enabled,
            "on_error": self.on_error,
            "description": self.description,
            "version": self.version,
        }

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Transform:
        """From its JSON form."""
        return cls(
            id=str(given["id"]),
            name=str(given["name"]),
            stream=str(given["stream"]),
            flows=tuple(Flow(str(f["transformKql"]), str(f.get("outputTable", ""))) for f in given["flows"]),
            enabled=bool(given.get("enabled", True)),
            on_error=given.get("on_error", "dead-letter"),
            description=str(given.get("description", "")),
            version=int(given.get("version", 1)),
        )
