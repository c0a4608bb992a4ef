"""What an anomaly's file says: `packs/*/anomalies/*.yaml`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tocsin.base.errors import ContentError, TocsinError
from tocsin.content import AnomalyFile
from tocsin.detect.durations import parse_duration
from tocsin.detect.rule import EntityMapping

__all__ = ["Anomaly", "Ready", "Term", "Volume", "anomalies_of"]

_SEASONS = {"none": 1, "hourOfDay": 24, "hourOfWeek": 168}


@dataclass(frozen=True, slots=True)
class Ready:
    """What a baseline must hold before anything is said: days with events, events, and (for peers) other entities."""

    days: int = 7
    events: int = 20
    peers: int = 3


@dataclass(frozen=True, slots=True)
class Term:
    """A feature whose values are new or rare. `first`, `uncommon` and `peers` name the insights; an empty name leaves one out."""

    column: str
    first: str = ""
    uncommon: str = ""
    peers: str = ""
    rare: float = 0.02
    rare_peers: float = 0.1


@dataclass(frozen=True, slots=True)
class Volume:
    """A number per bin, compared with the same season's bins of before. `high` and `peers` name the insights."""

    measure: str
    bin: timedelta
    season: str
    high: str
    peers: str = ""
    deviations: float = 5.0
    least: float = 10.0
    """Less than this is never much."""

    def slot(self, seconds: int) -> int:
        """Which part of the season an instant (seconds of the epoch) lies in; 1970-01-01 was a Thursday."""
        hours = seconds // 3600
        return hours % _SEASONS[self.season]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """An anomaly rule. `query` gives one row an event, with a column for the entity, the peer group (or none) and each feature."""

    id: str
    name: str
    query: str
    entity: str
    peer: str = ""
    description: str = ""
    version: str = ""
    enabled: bool = True
    history: timedelta = timedelta(days=14)
    frequency: timedelta = timedelta(hours=1)
    ready: Ready = Ready()
    terms: tuple[Term, ...] = ()
    volume: Volume | None = None
    threshold: float = 0.5
    tactics: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns of BehaviorAnalytics by columns of the query, for example UserPrincipalName; texts in quotes are constants."""
    entity_mappings: tuple[EntityMapping, ...] = ()
    pack: str = ""
    path: Path | None = None


def anomalies_of(files: Iterable[AnomalyFile]) -> tuple[list[Anomaly], list[TocsinError]]:
    """The anomalies of files whose shape was checked, and a complaint for each that makes no sense."""
    found: list[Anomaly] = []
    problems: list[TocsinError] = []
    for file in files:
        try:
            found.append(_anomaly(file))
        except ContentError as error:
            problems.append(error)
    return found, problems


def _anomaly(file: AnomalyFile) -> Anomaly:
    value: Mapping[str, Any] = file.document.value
    terms = tuple(
        Term(**{_SNAKE.get(k, k): v for k, v in each.items() if v is not None}) for each in value.get("terms") or ()
    )
    volume = _volume(file, value["volume"]) if value.get("volume") else None
    if bool(terms) == (volume is not None):
        raise file.document.error("An anomaly has either 'terms' or a 'volume'.", code="CNT0011")
    frequency = _span(file, value, "frequency", timedelta(hours=1))
    if volume is not None and (frequency % volume.bin or volume.bin.total_seconds() < 60):
        raise file.document.error(
            "The frequency is a whole number of bins, a bin at least a minute.", ("frequency",), code="CNT0012"
        )
    mappings = tuple(
        EntityMapping(m["entityType"], tuple((f["identifier"], f["columnName"]) for f in m["fieldMappings"]))
        for m in value.get("entityMappings") or ()
    )
    return Anomaly(
        id=file.id,
        name=file.name,
        query=str(value["query"]).strip().rstrip(";"),
        entity=str(value["entity"]),
        peer=str(value.get("peer") or ""),
        description=str(value.get("description") or "").strip(),
        version=str(value.get("version") or ""),
        enabled=value.get("enabled") is not False,
        history=_span(file, value, "history", timedelta(days=14)),
        frequency=frequency,
        ready=Ready(**(value.get("ready") or {})),
        terms=terms,
        volume=volume,
        threshold=float(value.get("threshold", 0.5)),
        tactics=tuple(value.get("tactics") or ()),
        techniques=tuple(value.get("relevantTechniques") or ()),
        columns=dict(value.get("columns") or {}),
        entity_mappings=mappings,
        pack=file.pack,
        path=file.path,
    )


_SNAKE = {"rarePeers": "rare_peers"}


def _volume(file: AnomalyFile, value: Mapping[str, Any]) -> Volume:
    span = parse_duration(str(value["bin"]))
    if span is None:
        raise file.document.error(f"'{value['bin']}' isn't a duration.", ("volume", "bin"), code="CNT0012")
    return Volume(
        measure=str(value.get("measure") or "count()"),
        bin=span,
        season=str(value.get("season") or "hourOfDay"),
        high=str(value["high"]),
        peers=str(value.get("peers") or ""),
        deviations=float(value.get("deviations", 5.0)),
        least=float(value.get("least", 10.0)),
    )


def _span(file: AnomalyFile, value: Mapping[str, Any], name: str, default: timedelta) -> timedelta:
    given = value.get(name)
    found = default if given is None else parse_duration(str(given))
    if found is None or found <= timedelta(0):
        raise file.document.error(f"'{given}' isn't a duration.", (name,), code="CNT0012")
    return found
