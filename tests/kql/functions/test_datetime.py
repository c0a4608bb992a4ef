"""The examples of the functions over datetimes, of their formats and of bins, executed."""

from __future__ import annotations

import pytest

from tests.kql.functions.harness import check
from tocsin.kql.functions import bins, datetime, datetime_formats
from tocsin.kql.functions.model import ScalarFunction


@pytest.mark.parametrize(
    "function", [*datetime.FUNCTIONS, *datetime_formats.FUNCTIONS, *bins.FUNCTIONS], ids=lambda f: f.name
)
def test_examples(function: ScalarFunction) -> None:
    assert check(function) == []
