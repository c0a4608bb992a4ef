"""Anomalies: the shipped ones on the cases beside them, the statistics, and what a file may say wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.content import Content, load_packs, packs_dir
from tocsin.detect.anomaly import anomalies_of, score_of, spread_of
from tocsin.detect.anomaly.cases import run_anomaly_cases
from tocsin.query import QueryService
from tocsin.tables import catalogue


@pytest.fixture(scope="module")
def content() -> Content:
    return load_packs([packs_dir()], only=("anomalies", "functions"))


@pytest.fixture(scope="module")
def queries(content: Content) -> Iterator[QueryService]:
    service = QueryService(None, catalogue=catalogue(), functions=content.functions)
    yield service
    service.close()


def test_shipped_anomalies_hold_on_their_cases(content: Content, queries: QueryService) -> None:
    anomalies, problems = anomalies_of(content.anomalies)
    assert problems == []
    assert content.errors == ()
    tests = {f.id: f.tests for f in content.anomalies}
    assert len(anomalies) >= 4
    for anomaly in anomalies:
        file = tests[anomaly.id]
        assert file is not None, anomaly.name
        results = run_anomaly_cases(anomaly, file, queries, queries.catalog)
        assert [(r.name, r.message) for r in results if not r.passed] == []
        fires = {case["anomalies"] > 0 for case in file.value["cases"]}
        assert fires == {True, False}, anomaly.name


def test_a_case_that_does_not_hold_says_why(content: Content, queries: QueryService) -> None:
    anomalies, _ = anomalies_of(content.anomalies)
    anomaly = next(a for a in anomalies if a.terms)
    file = next(f.tests for f in content.anomalies if f.id == anomaly.id)
    assert file is not None
    wrong = type(file)(file.source)
    wrong.value = {
        "cases": [
            {**file.value["cases"][0], "anomalies": 5},
            {"name": "x", "rows": {"Nope": [{"A": 1}]}, "anomalies": 0},
        ]
    }
    first, second = run_anomaly_cases(anomaly, wrong, queries, queries.catalog)
    assert "1 anomalies instead of 5" in first.message
    assert "Nope" in second.message


@given(st.lists(st.integers(0, 10_000), min_size=5, max_size=40), st.integers(0, 4))
def test_a_few_wild_values_move_no_baseline(values: list[int], wild: int) -> None:
    """The breakdown point of the median: what less than half of the values are doesn't matter."""
    wild = min(wild, (len(values) - 1) // 2)
    spread = spread_of([float(v) for v in values], 1)
    moved = spread_of([*map(float, values[wild:]), *[1e12] * wild], 1)
    assert spread is not None
    assert moved is not None
    assert min(values) <= moved.median <= max(values)
    assert moved.scale >= 1
    assert spread.deviations(spread.median) == 0


def test_too_little_is_no_baseline() -> None:
    assert spread_of([], 1) is None
    assert spread_of([1.0, 2.0], 3) is None
    assert score_of([]) == 0
    assert score_of([0.5, 0.5]) == 0.75
    assert score_of([1.0, 0.3]) == 1


GOOD = "id: a\nname: A\nquery: T\nentity: E\nterms: [{column: C, first: F}]\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (GOOD.replace("terms: [{column: C, first: F}]\n", ""), "CNT0011"),
        (GOOD + "volume: {bin: 1h, high: H}\n", "CNT0011"),
        (GOOD + "history: soon\n", "CNT0012"),
        (GOOD.replace("terms: [{column: C, first: F}]", "volume: {bin: 7m, high: H}"), "CNT0012"),
        (GOOD.replace("entity: E\n", ""), "CNT0010"),
        (GOOD + "threshold: 7\n", "CNT0014"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_where_it_does_not(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "anomalies").mkdir()
    (tmp_path / "anomalies" / "a.yaml").write_text(text)
    found = load_packs([tmp_path])
    _, problems = anomalies_of(found.anomalies)
    assert [p.code for p in (*found.problems, *problems)] == [code]
