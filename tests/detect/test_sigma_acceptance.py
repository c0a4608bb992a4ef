"""SigmaHQ's own regression samples, and the matcher against the naive oracle on real attack logs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tocsin.detect.formats.sigma import SigmaRules, load_folder
from tocsin.detect.sigma.matcher import SigmaMatcher
from tocsin.ingest.decoders import decode_path
from tocsin.ingest.model import SourceBatch

from .sigma_oracle import Oracle, parse
from .support import DATA, SIGMA, needs_evtx, needs_sigma
from .thirds import compare, files

FOLDERS = ("rules", "rules-emerging-threats", "rules-threat-hunting")
pytestmark = [pytest.mark.slow, needs_sigma]


@pytest.fixture(scope="module")
def rules() -> SigmaRules:
    loaded = [load_folder(SIGMA / f) for f in FOLDERS]
    return SigmaRules(tuple(r for s in loaded for r in s.rules))


def batches(path: Path) -> Iterator[SourceBatch]:
    return (item for item in decode_path(path) if isinstance(item, SourceBatch))


def test_every_regression_sample_fires_its_rule(rules: SigmaRules) -> None:
    matcher = SigmaMatcher(rules.rules)
    known = {r.id for r in rules.rules}
    missed = []
    samples = 0
    for info in sorted((SIGMA / "regression_data").rglob("info.yml")):
        described = yaml.safe_load(info.read_text(encoding="utf-8"))
        rule_id = described["rule_metadata"][0]["id"]
        for sample in described["regression_tests_info"]:
            path = info.parent / Path(sample["path"]).name
            if sample["type"] != "evtx" or not path.exists():
                continue
            samples += 1
            for each in (path, path.with_suffix(".json")):
                hits = sum(h.rule.id == rule_id for b in batches(each) for h in matcher.hits(b))
                if hits < max(1, sample.get("match_count") or 1):
                    missed.append((rule_id in known, rule_id, each.name, hits))
    assert missed == []
    assert samples >= 143


@needs_evtx
def test_the_matcher_agrees_with_the_oracle(rules: SigmaRules) -> None:
    known = {r.id for r in rules.rules}
    every = (rule for f in FOLDERS for path in sorted((SIGMA / f).rglob("*.yml")) for rule in parse(path))
    oracles = [o for rule in every if str(rule.id) in known and (o := Oracle(rule)).reads("windows.event")]
    matcher = SigmaMatcher(rules.rules)
    chosen = random.Random(5).sample(sorted((DATA / "evtx-attack-samples").rglob("*.evtx")), 60)
    seen: dict[tuple[object, object], int] = {}
    pairs, differences = 0, []
    for path in chosen:
        for batch in batches(path):
            got = {}
            for hit in matcher.hits(batch):
                got.setdefault(hit.row.get("EventRecordID"), set()).add(hit.rule.id)
            for system, data in zip(
                batch.rows.drop_columns(["EventData"]).to_pylist(), batch.event_data(), strict=True
            ):
                found = got.get(system["EventRecordID"], set())
                kind = (system["Channel"], system["EventID"])
                seen[kind] = seen.get(kind, 0) + 1
                if not found and seen[kind] > 6:
                    continue  # enough events of a kind that fire nothing
                wanted = {o.id for o in oracles if o.matches("windows.event", system, data)}
                pairs += len(wanted)
                if wanted != found:
                    differences.append((path.name, system["EventRecordID"], wanted ^ found))
    assert differences == []
    assert pairs > 150


def test_three_opinions_agree(rules: SigmaRules) -> None:
    """Matcher, interpreter and pySigma's SQLite backend on every twelfth rule and on those that the samples are of; `make thirds` takes all."""
    samples = [p for p in files() if SIGMA in p.parents][::4]
    named = {p.stem for p in samples}
    paths = sorted(path for f in FOLDERS for path in (SIGMA / f).rglob("*.yml"))
    of_samples = {r.path for r in rules.rules if r.id in named}
    chosen = [rule for n, path in enumerate(paths) if n % 12 == 0 or path in of_samples for rule in parse(path)]
    told = compare(chosen, rules.rules, samples)
    assert told.differences == []
    assert told.rules > 250
    assert told.asked > 2_000
    assert told.matches >= 25
