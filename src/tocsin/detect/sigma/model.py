"""What a Sigma rule is besides the fields that every rule has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from tocsin.detect.sigma.logsource import Binding
from tocsin.detect.sigma.tree import Node

__all__ = ["CorrelationBody", "Expression", "SigmaBody"]


@dataclass(frozen=True, slots=True)
class SigmaBody:
    """A detection: its condition and the places where its events are found. A `silent` rule only feeds correlations."""

    tree: Node
    bindings: tuple[Binding, ...]
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Expression:
    """An extended correlation condition: `op` is ``and``, ``or``, ``not`` or ``rule``; a rule names itself in `rule`."""

    op: str
    parts: tuple[Expression, ...] = ()
    rule: str = ""


@dataclass(frozen=True, slots=True)
class CorrelationBody:
    """A correlation of other rules' hits.

    `kind` is the specification's name (``event_count``, ``value_count``, ``temporal``, ``temporal_ordered``, ``value_sum``…). `rules` are rule
    ids; `aliases` maps an alias to the field that holds it in each rule's events. `op` is ``lt lte gt gte eq neq``; `bounds` are further
    operators and numbers that must hold with it, where the condition is a range.
    """

    kind: str
    rules: tuple[str, ...]
    timespan: timedelta
    group_by: tuple[str, ...] = ()
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    op: str = "gte"
    count: float = 1
    fields: tuple[str, ...] = ()
    percentile: float = 50.0
    expression: Expression | None = None
    bounds: tuple[tuple[str, float], ...] = ()
    silent: bool = False
