"""The functions that the binder knows by itself are documented, and their examples run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tocsin.kql import compile_query
from tocsin.kql.binder.special_forms import SPECIAL_FORMS
from tocsin.kql.functions import registry
from tocsin.kql.functions.specials import SPECIALS, special
from tocsin.tables import catalogue


def test_each_has_an_entry() -> None:
    assert [name for name in SPECIAL_FORMS if special(name) is None and registry.scalar(name) is None] == []
    assert [entry.name for entry in SPECIALS if registry.scalar(entry.name) is not None] == []


@pytest.mark.parametrize("entry", SPECIALS, ids=lambda entry: entry.name)
def test_the_examples_compile(entry) -> None:
    assert entry.name in entry.example
    assert entry.doc.endswith(".")
    compile_query(entry.example, catalogue(), now=datetime(2024, 5, 1, tzinfo=UTC))
