"""Each pack parser with a sample makes exactly the rows that stand beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ingest.parser_cases import cases, made_rows, make_mapper
from tocsin.ingest.mapping import Mapper


@pytest.fixture(scope="module")
def mapper() -> Iterator[Mapper]:
    made, queries = make_mapper()
    yield made
    queries.close()


@pytest.mark.parametrize("path", cases(), ids=lambda p: p.name.removesuffix(".test.yaml"))
def test_a_sample_becomes_the_rows_beside_it(path: Path, mapper: Mapper, tmp_path: Path) -> None:
    case: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    made = made_rows(case["input"].encode(), mapper, tmp_path)
    assert made.keys() == case["expect"].keys()
    for table, rows in case["expect"].items():
        assert len(made[table]) == len(rows), table
        for number, (got, expected) in enumerate(zip(made[table], rows, strict=True)):
            assert got == expected, (table, number)
