"""The reference page is what the table says, and the table is complete in itself."""

from __future__ import annotations

from pathlib import Path

from tocsin.kql.functions import registry
from tocsin.kql.functions.docs import reference

PAGE = Path(__file__).parents[3] / "docs/reference/kql-functions.md"


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference(), "run: python -m tocsin.kql.functions.docs > docs/reference/kql-functions.md"


def test_names_are_unique_and_found() -> None:
    for function in registry.all_scalars():
        for name in (function.name, *function.aliases):
            assert registry.scalar(name) is function
    for aggregate in registry.all_aggregates():
        for name in (aggregate.name, *aggregate.aliases):
            assert registry.aggregate(name) is aggregate
    assert registry.scalar("no_such_function") is None


def test_every_entry_has_doc_and_example() -> None:
    for entry in (*registry.all_scalars(), *registry.all_aggregates()):
        assert entry.doc.endswith(".") or entry.doc.endswith(")."), entry.name
        assert entry.examples or entry.refused, entry.name
