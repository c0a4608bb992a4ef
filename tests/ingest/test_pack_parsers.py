"""Each pack parser with a sample makes exactly the rows that stand beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ingest.parser_cases import cases, made_rows, make_mapper
from tests.ingest.support import decode_bytes
from tocsin.content import load_packs, packs_dir
from tocsin.ingest.mapping import Mapper
from tocsin.query import QueryService


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[Mapper, QueryService]]:
    mapper, queries = make_mapper()
    yield mapper, queries
    queries.close()


@pytest.fixture(scope="module")
def mapper(made: tuple[Mapper, QueryService]) -> Mapper:
    return made[0]


@pytest.mark.parametrize("path", cases(), ids=lambda p: p.name.removesuffix(".test.yaml"))
def test_a_sample_becomes_the_rows_beside_it(path: Path, mapper: Mapper, tmp_path: Path) -> None:
    case: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    made = made_rows(case["input"].encode(), mapper, tmp_path)
    assert made.keys() == case["expect"].keys()
    for table, rows in case["expect"].items():
        assert len(made[table]) == len(rows), table
        for number, (got, expected) in enumerate(zip(made[table], rows, strict=True)):
            assert got == expected, (table, number)


@pytest.mark.slow
def test_samples_fill_every_column_of_many_parsers(made: tuple[Mapper, QueryService], tmp_path: Path) -> None:
    """A column that no sample fills is compared with nothing: of these parsers each output column has a value in some row above."""
    _, queries = made
    parsers = load_packs([packs_dir()]).parsers
    alone = {p.id: Mapper([p], engine=queries.engine, catalog=queries.catalog) for p in parsers}
    columns: dict[str, set[str]] = {}
    filled: dict[str, set[str]] = {}
    for path in cases():
        given = yaml.safe_load(path.read_text("utf-8"))["input"].encode()
        for batch in decode_bytes(tmp_path, given, "sample.log").batches:
            for parser in (p for p in parsers if p.source == batch.source):
                for table in alone[parser.id].map(batch):
                    if table.table != parser.table or not table.rows.num_rows:
                        continue
                    for name in table.rows.column_names:
                        columns.setdefault(parser.id, set()).add(name)
                        if any(v not in (None, "", "null") for v in table.rows.column(name).to_pylist()):
                            filled.setdefault(parser.id, set()).add(name)
    whole = {p for p, names in columns.items() if names == filled.get(p)}
    assert len(columns) >= 100, sorted({p.id for p in parsers} - columns.keys())
    assert len(whole) >= 50, {p: sorted(names - filled.get(p, set())) for p, names in columns.items() if p not in whole}
