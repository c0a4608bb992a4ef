"""The examples of `tocsin.kql.functions.parsing`, executed."""

from __future__ import annotations

import pytest

from tests.kql.functions.harness import check
from tocsin.kql.functions.model import ScalarFunction
from tocsin.kql.functions.parsing import FUNCTIONS


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_examples(function: ScalarFunction) -> None:
    assert check(function) == []
