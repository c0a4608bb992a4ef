"""What incidents are judged by, put together: the packs' points, weights that were set, assets that matter, what became of each rule's alerts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tocsin.content import Content
from tocsin.detect.alert import Alert
from tocsin.incidents.model import Incident
from tocsin.incidents.priority import LEVELS, Asset, Judge, Weights, keys_of_name, weights_of
from tocsin.incidents.reports import Shelf, reports_of
from tocsin.state import Unit
from tocsin.tables.entities import EntityKey

__all__ = [
    "CORRELATION",
    "WEIGHTS",
    "AssetRow",
    "assets_of",
    "group_vetoes",
    "judge_of",
    "judge_of_scan",
    "set_assets",
    "set_weights",
]

WEIGHTS = "incidents.weights"
"""Where weights that differ from the usual ones are kept."""

CORRELATION = "incidents.correlation"
"""Where settings of correlation that somebody set are kept: by name, over those of the settings file."""

_ASSETS = "incidents.assets"


@dataclass(frozen=True, slots=True)
class AssetRow:
    """A host or account that an asset rule found: its name as the rows have it."""

    kind: str
    name: str
    rule: str
    level: str
    group: str = ""

    def to_list(self) -> list[str]:
        """The kept form."""
        return [self.kind, self.name, self.rule, self.level, self.group]


def judge_of(
    unit: Unit, content: Content | None, *, separate_groups: bool = False, reports: Shelf | None = None
) -> Judge:
    """The judge as content, settings and state have it now. `reports`: the content's, where they are known already."""
    techniques, tags = _points(content)
    weights = weights_of(unit.kv.get(WEIGHTS, {}))
    return Judge(
        weights=weights,
        techniques=techniques,
        tags=tags,
        assets=_by_key(assets_of(unit)),
        first=unit.incidents.first_alerts(weights.rare_below),
        closed=unit.incidents.outcomes_by_rule(),
        separate_groups=separate_groups,
        reports=reports if reports is not None else reports_of(content) if content is not None else Shelf(),
    )


def judge_of_scan(content: Content, assets: Sequence[AssetRow], alerts: Iterable[Alert]) -> Judge:
    """The judge of who has nothing but recordings: the usual weights, the assets that rules found in these, and of each rule the alerts that it made
    here, which is what state would note of them."""
    techniques, tags = _points(content)
    made: Counter[str] = Counter()
    first: dict[str, int] = {}
    for alert in sorted(alerts, key=lambda a: (a.created, a.time, a.id)):
        made[alert.said_by] += 1
        if made[alert.said_by] < Weights().rare_below:
            first[alert.id] = made[alert.said_by]
    return Judge(techniques=techniques, tags=tags, assets=_by_key(assets), first=first, reports=reports_of(content))


def _points(content: Content | None) -> tuple[dict[str, float], dict[str, float]]:
    """The packs' points by technique and by tag."""
    techniques: dict[str, float] = {}
    tags: dict[str, float] = {}
    for item in content.incidents if content is not None else ():
        if item.kind == "priority":
            value = item.document.value
            techniques.update({str(k): float(v) for k, v in (value.get("techniques") or {}).items()})
            tags.update({str(k): float(v) for k, v in (value.get("tags") or {}).items()})
    return techniques, tags


def set_weights(unit: Unit, given: Mapping[str, Any]) -> Weights:
    """Keeps weights that differ from the usual ones; an empty mapping gives back the usual ones. UsageError for what is no weight."""
    made = weights_of(given)
    unit.kv.set(WEIGHTS, dict(given))
    return made


def assets_of(unit: Unit) -> list[AssetRow]:
    """The hosts and accounts that matter, as last found."""
    return [AssetRow(*row) for row in unit.kv.get(_ASSETS, [])]


def set_assets(unit: Unit, rows: Iterable[AssetRow]) -> bool:
    """Keeps what asset rules found; False when it is what was known."""
    made = sorted({tuple(r.to_list()) for r in rows})
    kept = [list(r) for r in made]
    if unit.kv.get(_ASSETS, []) == kept:
        return False
    unit.kv.set(_ASSETS, kept)
    return True


def _by_key(rows: Sequence[AssetRow]) -> dict[EntityKey, Asset]:
    """By key: the rule with the highest level, with the group that any rule names."""
    found: dict[EntityKey, Asset] = {}
    groups: dict[EntityKey, str] = defaultdict(str)
    for row in rows:
        for key in keys_of_name(row.kind, row.name):
            groups[key] = groups[key] or row.group
            known = found.get(key)
            if known is None or (
                row.level and (not known.level or LEVELS.index(row.level) < LEVELS.index(known.level))
            ):
                found[key] = Asset(row.rule, row.level)
    return {key: replace(asset, group=groups[key]) for key, asset in found.items()}


def group_vetoes(judge: Judge | None, target: Incident, source: Incident, *, alert: bool = False) -> list[str]:
    """What device groups say against a merge, where they are to stay apart: the hosts of both are in different groups. No group is compatible.

    `alert`: the source is one alert that comes. One that names hosts of two groups belongs to either.
    """
    if judge is None or not judge.separate_groups:
        return []

    def groups(incident: Incident) -> set[str]:
        return {a.group for e in incident.entities() if (a := judge.asset_of(e)) is not None and a.group}

    here, there = groups(target), groups(source)
    if not here or not there or here == there or (alert and here & there):
        return []
    ours, theirs = ", ".join(sorted(here)), ", ".join(sorted(there))
    return [f"The hosts of #{target.number} are in the device group {ours}, those of #{source.number} in {theirs}."]
