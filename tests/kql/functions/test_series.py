"""The examples of `tocsin.kql.functions.series`, executed."""

from __future__ import annotations

import pytest

from tests.kql.functions.harness import check
from tocsin.kql.functions.model import ScalarFunction
from tocsin.kql.functions.python.series import SERIES as CALLS
from tocsin.kql.functions.series import FUNCTIONS


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_examples(function: ScalarFunction) -> None:
    assert check(function) == []


def test_a_periods_score_is_the_circular_correlation_from_its_least() -> None:
    """Against the definition, lag by lag; neither an offset nor a scale of the series changes it."""
    values = [3.0, 9.0, 4.0, 1.0, 2.0, 8.0, 5.0, 2.0, 3.0, 9.5, 4.0, 0.0, 1.0, 9.0, 6.0, 1.0, 2.0, 9.0]
    n = len(values)
    mean = sum(values) / n
    turned = [sum((values[i] - mean) * (values[(i + lag) % n] - mean) for i in range(n)) for lag in range(n)]
    expected = (turned[4] - min(turned)) / (turned[0] - min(turned))
    for series in (values, [7 * v - 100 for v in values]):
        assert CALLS["series_periods_detect"](series, 0, 9, 1) == [[4.0], [pytest.approx(expected, abs=1e-12)]]
        assert CALLS["series_periods_validate"](series, 4, 3) == [[4.0, 3.0], [pytest.approx(expected, abs=1e-12), 0.0]]


@pytest.mark.parametrize("series", [[], [1.0], [5.0] * 12])
def test_a_series_without_periods_scores_nothing(series: list[float]) -> None:
    found = CALLS["series_periods_validate"](series, 4)
    assert found is None or found == [[4.0], [0.0]]
