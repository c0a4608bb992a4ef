"""The examples of `tocsin.kql.functions.regexes`, executed."""

from __future__ import annotations

import pytest

from tests.kql.functions.harness import check
from tocsin.kql.functions.model import ScalarFunction
from tocsin.kql.functions.regexes import FUNCTIONS


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_examples(function: ScalarFunction) -> None:
    assert check(function) == []
