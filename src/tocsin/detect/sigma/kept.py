"""What the live matcher knows of the past as plain values, and back: open bursts, suppression, and the hits that correlations wait with.

Plain values are what MessagePack holds; reading them runs nothing. What belongs to a rule that isn't here any more, or to a correlation that was
changed, is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from tocsin.detect.rule import Rule
from tocsin.detect.sigma.correlation import Hit
from tocsin.detect.sigma.events import Event
from tocsin.tables.entities import Entity

__all__ = ["MOST_BURSTS", "MOST_HITS", "cut", "hits_of", "plain_hit", "same"]

MOST_BURSTS = 20_000
"""Bursts that are kept, the most lately used."""
MOST_HITS = 20_000
"""Hits of correlations that are kept, of the most lately used groups."""
_JOINED = "correlation"
_ZEEK = "zeek."
_log = structlog.get_logger("tocsin.detect.sigma")


def plain_hit(hit: Hit) -> list[Any]:
    """A hit, the events behind it included."""
    event = hit.event
    told = event.source == _JOINED or event.source.startswith(_ZEEK)  # by more than the event itself
    entities = [e.to_dict() for e in event.entities] if told else None
    row = {str(k): v if isinstance(v, str | int | float | bool | None) else _plain(v) for k, v in event.row.items()}
    parts = [plain_hit(p) for p in hit.parts]
    return [hit.rule.id, event.source, event.time.isoformat(), row, list(event.assets), entities, parts]


def hits_of(plain: Sequence[Any], rules: Mapping[str, tuple[int, Rule]]) -> list[Hit]:
    """The hits of `plain_hit`'s values; `rules` gives number and rule by id. Those whose rule isn't there, or a part's, are left out."""
    found = []
    for rule_id, source, time, row, assets, entities, parts in plain:
        known = rules.get(rule_id)
        behind = hits_of(parts, rules)
        if known is None or len(behind) < len(parts):
            continue
        named = None if entities is None else tuple(Entity.from_dict(e) for e in entities)
        event = Event(source, datetime.fromisoformat(time), tuple(assets), row=row, entities=named)
        found.append(Hit(known[1], event, tuple(behind), number=known[0]))
    return found


def same(rule: Rule) -> str:
    """What stands for the meaning of a correlation: hits that wait for one thing mustn't be taken for another."""
    return hashlib.sha256(repr(rule.compiled).encode()).hexdigest()[:16]


def cut(what: str, had: int, kept: int) -> None:
    """Says that not all could be kept."""
    if kept < had:
        _log.warning("sigma.kept_in_part", what=what, had=had, kept=kept)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
