"""The names of `names.toml`, read once: tables, columns and logs that decoders must tell apart without a declaration of a source."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Carrier", "Names", "names"]


@dataclass(frozen=True, slots=True)
class Carrier:
    """A table whose rows carry events of another kind: the column with the text, and those that name the host."""

    text: str
    host: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """See `names.toml`."""

    event_tables: frozenset[str]
    carriers: Mapping[str, Carrier]
    family: str
    family_column: str
    alike: tuple[tuple[re.Pattern[str], str], ...]
    table_keys: tuple[str, ...]
    standard: frozenset[str]
    times: tuple[str, ...]
    hosts: tuple[str, ...]
    table_times: tuple[str, ...]
    wrapped: tuple[str, ...]
    zeek_flat: Mapping[str, str]
    zeek_logs: tuple[tuple[str, frozenset[str]], ...]


@cache
def names() -> Names:
    """The names, from the file beside this module."""
    read = tomllib.loads(Path(__file__).with_name("names.toml").read_text("utf-8"))
    tables, rows, zeek = read["tables"], read["rows"], read["zeek"]
    return Names(
        event_tables=frozenset(tables["events"]),
        carriers={t: Carrier(c["text"], tuple(c["host"])) for t, c in tables["carriers"].items()},
        family=tables["alike"]["family"],
        family_column=tables["alike"]["column"],
        alike=tuple((re.compile(a["pattern"]), a["table"]) for a in tables["alike"]["of"]),
        table_keys=tuple(rows["table"]),
        standard=frozenset(rows["standard"]),
        times=tuple(rows["time"]),
        hosts=tuple(rows["host"]),
        table_times=tuple(rows["table_time"]),
        wrapped=tuple(rows["wrapped"]),
        zeek_flat=dict(zeek["flat"]),
        zeek_logs=tuple((z["path"], frozenset(z["has"])) for z in zeek["logs"]),
    )
