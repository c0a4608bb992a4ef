"""The rule model: one for Sentinel's scheduled and near-real-time rules, Defender's custom detections and Sigma."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from tocsin.detect.responses import Response

__all__ = [
    "ALERTS_PER_RUN",
    "CONTINUOUS",
    "AlertDetails",
    "EntityMapping",
    "IncidentSettings",
    "Operator",
    "Rule",
    "RuleKind",
    "Windows",
    "normal_severity",
]

ALERTS_PER_RUN: Mapping[str, int] = {
    "Scheduled": 150, "NRT": 30, "Defender": 150, "Sigma": 150,
    "Threshold": 150, "NewTerms": 150, "Sequence": 150, "IndicatorMatch": 150,
}  # fmt: skip
"""How many alerts one run may raise; the last one then stands for all rows (Sentinel's documented limits)."""


CONTINUOUS = timedelta(minutes=1)
"""The frequency of what runs all the time."""


class RuleKind(StrEnum):
    """How a rule is evaluated."""

    SCHEDULED = "Scheduled"
    NRT = "NRT"
    DEFENDER = "Defender"
    SIGMA = "Sigma"
    THRESHOLD = "Threshold"
    NEW_TERMS = "NewTerms"
    SEQUENCE = "Sequence"
    INDICATOR_MATCH = "IndicatorMatch"


class Windows(StrEnum):
    """What a rule's windows lie on.

    INGESTION misses nothing that comes late and says nothing twice. LOOKBACK does as Sentinel does without a workaround: the events of the last
    period by their own time, five minutes late, whatever was said before; late rows are missed, overlapping windows repeat themselves.
    """

    INGESTION = "Ingestion"
    LOOKBACK = "Lookback"


class Operator(StrEnum):
    """How the number of results is compared with the threshold (the ARM spellings)."""

    GREATER = "GreaterThan"
    LESS = "LessThan"
    EQUAL = "Equal"
    NOT_EQUAL = "NotEqual"

    def holds(self, results: int, threshold: int) -> bool:
        """Whether that many results trigger."""
        match self:
            case Operator.GREATER:
                return results > threshold
            case Operator.LESS:
                return results < threshold
            case Operator.EQUAL:
                return results == threshold
            case _:
                return results != threshold


@dataclass(frozen=True, slots=True)
class EntityMapping:
    """An entity type and, for each identifier, the result column that holds it."""

    type: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AlertDetails:
    """What an alert takes from the results: formats with ``{{Column}}``, and columns whose value overrides the rule's."""

    name_format: str = ""
    description_format: str = ""
    severity_column: str = ""
    tactics_column: str = ""
    dynamic: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class IncidentSettings:
    """Whether alerts open incidents, whether correlation may join them, and Sentinel's grouping settings as written."""

    create: bool = True
    correlate: bool = True
    grouping: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A detection rule, whatever format it came in.

    `query` is KQL and empty for Sigma rules. `frequency` and `period` are how often it runs and how far back it looks; near-real-time rules
    look at rows since their last run. `compiled` holds what a format needs to evaluate it (the parsed Sigma rule).
    """

    id: str
    name: str
    kind: RuleKind
    query: str = ""
    description: str = ""
    severity: str = "Medium"
    enabled: bool = True
    frequency: timedelta = timedelta(hours=1)
    period: timedelta = timedelta(hours=1)
    operator: Operator = Operator.GREATER
    threshold: int = 0
    tactics: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    entity_mappings: tuple[EntityMapping, ...] = ()
    entities_columns: tuple[str, ...] = ()
    custom_details: Mapping[str, str] = field(default_factory=dict)
    alert_details: AlertDetails = field(default_factory=AlertDetails)
    per_result: bool = False
    each_hit: bool = False
    """Of a Sigma rule: whether each hit is an alert of its own, where otherwise those on the same hosts and accounts are one."""
    incident: IncidentSettings = field(default_factory=IncidentSettings)
    suppression: timedelta | None = None
    windows: Windows = Windows.INGESTION
    version: str = ""
    product: str = "Tocsin"
    pack: str = ""
    path: Path | None = None
    text: str = ""
    connectors: tuple[str, ...] = ()
    compiled: Any = None
    exclusions: tuple[Any, ...] = ()
    """See `tocsin.detect.tuning.Exclusion`."""
    responses: tuple[Response, ...] = ()
    """What it asks to be done, each once somebody has approved it."""

    @property
    def fast(self) -> bool:
        """True for near-real-time rules and continuous custom detections, which run each minute with a worker of their own."""
        return self.kind is RuleKind.NRT or self.frequency <= CONTINUOUS


_SEVERITIES = {
    "informational": "Informational", "info": "Informational", "low": "Low", "medium": "Medium", "high": "High",
    "critical": "High", "": "Medium",
}  # fmt: skip


def normal_severity(text: str) -> str | None:
    """Sentinel's spelling of a severity (Sigma's critical is High), or None for an unknown one."""
    return _SEVERITIES.get(text.strip().lower())
