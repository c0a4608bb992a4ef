"""Rule files from strangers: whatever stands in them, the answer is a rule or a complaint with a place, never a crash."""

from __future__ import annotations

import copy
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.base.errors import ContentError, TocsinError
from tocsin.content import load_packs, load_rule_file, load_test_file, parse_yaml
from tocsin.detect.formats import sentinel
from tocsin.detect.formats.sigma import rules_of
from tocsin.detect.sigma.matcher import SigmaMatcher

from .support import windows
from .test_sentinel_format import FULL as SENTINEL
from .test_sigma_alerts import COUNT
from .test_sigma_rules import FULL as SIGMA

ODD: list[Any] = [
    None,
    0,
    -1,
    1e300,
    True,
    "",
    "x",
    "ü\n",
    "%%",
    "*",
    [],
    [1],
    ["a", None],
    [[]],
    {},
    {"a": 1},
    {"a": {"b": [None]}},
    10**400,
]


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        found.extend(paths(part, (*here, key)))
    return found


def mutants(documents: list[Any], seed: int, count: int) -> list[list[Any]]:
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        changed = copy.deepcopy(documents)
        for _ in range(chance.choice([1, 1, 2, 4])):
            at = chance.randrange(len(changed))
            places = paths(changed[at])
            if not places:
                continue
            *steps, last = chance.choice(places)
            node = changed[at]
            for step in steps:
                node = node[step]
            if chance.random() < 0.2:
                del node[last]
            else:
                node[last] = copy.deepcopy(chance.choice(ODD))
        made.append(changed)
    return made


def placed(problems: list[Any], path: Path) -> None:
    for problem in problems:
        assert isinstance(problem, TocsinError)
        assert problem.place is not None
        assert problem.place.source == str(path)
        assert problem.message


@pytest.mark.parametrize("seed", range(4))
def test_mutated_sentinel_rules(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "r.yaml"
    for documents in mutants([yaml.safe_load(SENTINEL)], seed, 150):
        path.write_text(yaml.safe_dump(documents[0], allow_unicode=True))
        file, problems = load_rule_file(path)
        placed(problems, path)
        if file is not None and file.format == "sentinel":
            _, complaints = sentinel.rules_of(file)
            placed(list(complaints), path)


@pytest.mark.parametrize(("text", "seed"), [(SIGMA, 1), (SIGMA, 2), (COUNT, 3), (COUNT, 4)])
def test_mutated_sigma_rules(tmp_path: Path, text: str, seed: int) -> None:
    path = tmp_path / "r.yml"
    batch = windows(
        {"data": {"CommandLine": "x -enc y"}}, {"Channel": "Security", "EventID": 4625, "data": {"TargetUserName": "a"}}
    )
    for documents in mutants(list(yaml.safe_load_all(text)), seed, 120):
        path.write_text(yaml.safe_dump_all(documents, allow_unicode=True))
        file, problems = load_rule_file(path)
        placed(problems, path)
        if file is not None and file.format == "sigma":
            found = rules_of(file)
            placed(list(found.problems), path)
            matcher = SigmaMatcher(found.rules)
            matcher.match(batch)
            matcher.finish()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.text(st.sampled_from(" \n:-[]{}&*!|>'\"#%@,?a1<.~"), max_size=80))
def test_any_text_is_yaml_or_refused(text: str) -> None:
    with suppress(ContentError):
        for document in parse_yaml(text, "f"):
            assert document.place(("a", 0, "b")).source == "f"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_in_any_folder(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "pack.yaml").write_text("id: p\nname: P\nversion: 1.0.0\n")
    for name in (
        "rules/a.yaml",
        "parsers/a.yaml",
        "functions/a.yaml",
        "hunts/a.yaml",
        "automation/a.yaml",
        "watchlists/a.csv",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "rules/a.test.yaml").write_bytes(data)
    for problem in load_packs([tmp_path]).problems:
        assert problem.place is not None
    load_test_file(tmp_path / "rules/a.test.yaml")
