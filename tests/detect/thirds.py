"""A third opinion on Sigma rules over recorded events: pySigma's SQLite backend beside the matcher and the naive interpreter.

`make thirds` goes over every Windows event of SigmaHQ's regression samples and of EVTX-ATTACK-SAMPLES with all rules; `test_sigma_acceptance.py` over
some of them. The backend knows nothing of log sources and of names that a source calls otherwise, so a rule is asked about the events whose fields it
names as they are.
"""

from __future__ import annotations

import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import re2
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from tocsin.detect.formats.sigma import load_folder
from tocsin.detect.rule import Rule
from tocsin.detect.sigma.matcher import SigmaMatcher
from tocsin.ingest.decoders import decode_path
from tocsin.ingest.model import SourceBatch

from .sigma_oracle import SYSTEM, Event, Oracle, parse
from .support import DATA, SIGMA

FOLDERS = ("rules", "rules-emerging-threats", "rules-threat-hunting")
WINDOWS = "windows.event"
DIFFERS = (
    ("a number compared as text", ("|lt", "|gt")),
    ("networks as text patterns", ("|cidr",)),
    ("a field's absence", ("|exists", "null")),
)
"""Why the backend may say otherwise, by what stands in the rule; see `test_sigma_conformance`."""


@dataclass
class Opinions:
    """What was compared: pairs of a rule and an event that are in it, those on which the three agree that they match, and the others."""

    rules: int = 0
    events: int = 0
    asked: int = 0
    matches: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def files() -> list[Path]:
    """The recordings: regression samples first."""
    return [
        *sorted((SIGMA / "regression_data").rglob("*.evtx")),
        *sorted((DATA / "evtx-attack-samples").rglob("*.evtx")),
    ]


def rules_of_sigmahq() -> list[SigmaRule]:
    """Every detection."""
    return [rule for f in FOLDERS for path in sorted((SIGMA / f).rglob("*.yml")) for rule in parse(path)]


def compare(parsed: Sequence[SigmaRule], rules: Iterable[Rule], paths: Iterable[Path]) -> Opinions:
    """The three opinions on these rules, which are among the loaded `rules`, over these recordings."""
    told = Opinions()
    wanted = {str(r.id) for r in parsed}
    loaded = [r for r in rules if r.id in wanted]
    matcher = SigmaMatcher(loaded)
    events: list[tuple[dict[str, Any], dict[str, Any]]] = []
    hits: dict[str, set[int]] = {}
    for path in paths:
        for batch in (b for b in decode_path(path) if isinstance(b, SourceBatch) and b.source == WINDOWS):
            numbers = {r["EventRecordID"]: len(events) + i for i, r in enumerate(batch.rows.to_pylist())}
            for hit in matcher.hits(batch):
                hits.setdefault(hit.rule.id, set()).add(numbers[hit.row["EventRecordID"]])
            systems = batch.rows.drop_columns(["EventData"]).to_pylist()
            events.extend(zip(systems, batch.event_data(), strict=True))
    told.events = len(events)
    running = {r.id for r in loaded}
    with sqlite3.connect(":memory:") as database:
        _fill(database, events, _fields(parsed))
        for rule in parsed:
            if str(rule.id) in running:
                _ask(database, rule, events, hits.get(str(rule.id), set()), told)
    return told


def _fields(parsed: Iterable[SigmaRule]) -> list[str]:
    """The fields that rules name, each once without regard to case, as SQLite's columns are."""
    found: dict[str, str] = {}
    for rule in parsed:
        for condition in rule.detection.parsed_condition:
            for name in _named(condition.parsed):
                found.setdefault(name.lower(), name)
    return list(found.values())


def _named(node: Any) -> Iterator[str]:
    if getattr(node, "field", None):
        yield str(node.field)
    value = getattr(node, "value", None)
    if value is not None and getattr(value, "field", None):
        yield str(value.field)
    for part in getattr(node, "args", ()):
        yield from _named(part)


def _fill(database: sqlite3.Connection, events: Sequence[tuple[Any, Any]], names: Sequence[str]) -> None:
    database.create_function("REGEXP", 2, lambda p, v: v is not None and re2.search(p, v) is not None)
    columns = ", ".join('"' + n.replace('"', '""') + '" TEXT COLLATE NOCASE' for n in names)
    database.execute(f"CREATE TABLE logs (number INTEGER PRIMARY KEY, {columns})")
    for number, (system, data) in enumerate(events):
        lower = {k.lower(): v for k, v in data.items()}
        values = [_text(lower.get(n.lower(), system.get(SYSTEM.get(n.lower(), "")))) for n in names]
        database.execute(f"INSERT INTO logs VALUES (?{', ?' * len(values)})", [number, *values])


def _text(value: Any) -> str | None:
    return None if value is None else " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _ask(
    database: sqlite3.Connection, rule: SigmaRule, events: Sequence[tuple[Any, Any]], hits: set[int], told: Opinions
) -> None:
    try:
        queries = sqliteBackend().convert(SigmaCollection([rule]))
        said: set[int] = set()
        for query in queries:
            text = query.replace("SELECT * FROM <TABLE_NAME>", "SELECT * FROM logs")
            said |= {row[0] for row in database.execute(text.replace("SELECT *", "SELECT number", 1))}
    except (SigmaError, NotImplementedError, sqlite3.Error) as error:
        told.refused[type(error).__name__] += 1
        return
    told.rules += 1
    oracle = Oracle(rule)
    plain = [b for b in oracle.bindings if b.source == WINDOWS and not b.fields]
    mapped = [b for b in oracle.bindings if b.source == WINDOWS and b.fields]
    reasons = [why for why, words in DIFFERS if any(w in str(rule.detection.to_dict()) + _keys(rule) for w in words)]
    for number, (system, data) in enumerate(events):
        if not any(_takes(b, system, data) for b in plain) or any(_takes(b, system, data) for b in mapped):
            continue
        told.asked += 1
        one, other, third = number in hits, oracle.matches(WINDOWS, system, data), number in said
        told.matches += one and other and third
        if one == other == third:
            continue
        if one == other and (why := _why(reasons, data)):
            told.explained[why] += 1
        else:
            told.differences.append(
                f"{rule.title} on event {number}: matcher {one}, interpreter {other}, SQLite {third}"
            )


def _why(reasons: Sequence[str], data: Any) -> str:
    if reasons:
        return reasons[0]
    if any(isinstance(v, tuple | list) for v in data.values()):
        return "several values of one name"
    if any(not str(v).isascii() for v in data.values()):
        return "LIKE folds ASCII letters only"
    return ""


def _keys(rule: SigmaRule) -> str:
    return " ".join(f"|{m.__name__}" for d in rule.detection.detections.values() for m in _modifiers(d))


def _modifiers(node: Any) -> Iterator[Any]:
    yield from getattr(node, "modifiers", ())
    for part in getattr(node, "detection_items", ()):
        yield from _modifiers(part)


def _takes(binding: Any, system: Any, data: Any) -> bool:
    channel = str(system.get("Channel") or "").lower()
    if binding.channels is not None and channel not in binding.channels:
        return False
    if binding.events is not None and system.get("EventID") not in binding.events:
        return False
    return Event(system, data, binding).own(binding.where)


def main() -> int:
    """All rules over all recordings."""
    rules = [r for f in FOLDERS for r in load_folder(SIGMA / f).rules]
    chosen = files() if len(sys.argv) < 2 else random.Random(7).sample(files(), int(sys.argv[1]))
    told = compare(rules_of_sigmahq(), rules, chosen)
    print(
        f"{told.rules:,} rules, {told.events:,} events, {told.asked:,} pairs asked, {told.matches:,} matches of all three"
    )
    print(
        f"not asked of SQLite: {dict(told.refused)}; explained: {dict(told.explained)}; differences: {len(told.differences)}"
    )
    print("\n".join(told.differences[:50]))
    return bool(told.differences)


if __name__ == "__main__":
    raise SystemExit(main())
