"""The examples of `tocsin.kql.functions.digests`, executed."""

from __future__ import annotations

import pytest

from tests.kql.functions.harness import check
from tocsin.kql.functions.digests import AGGREGATES, FUNCTIONS
from tocsin.kql.functions.model import Aggregate, ScalarFunction


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_examples(function: ScalarFunction) -> None:
    assert check(function) == []


@pytest.mark.parametrize("function", AGGREGATES, ids=lambda f: f.name)
def test_aggregates(function: Aggregate) -> None:
    assert check(function) == []
