"""The examples of `tocsin.kql.functions.aggregates`, executed over the numbers 1 to 4."""

from __future__ import annotations

import pytest

from tests.kql.functions.harness import check
from tocsin.kql.functions.aggregates import AGGREGATES
from tocsin.kql.functions.model import Aggregate


@pytest.mark.parametrize("function", AGGREGATES, ids=lambda f: f.name)
def test_examples(function: Aggregate) -> None:
    assert check(function) == []
