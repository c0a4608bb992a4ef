"""Each pack parser with a sample makes exactly the rows that stand beside it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ingest.parser_cases import cases, made_rows, make_mapper
from tests.ingest.support import decode_bytes
from tocsin.content import load_packs, packs_dir
from tocsin.ingest.mapping import Mapper
from tocsin.ingest.model import SourceBatch
from tocsin.ingest.settings import DecodeLimits
from tocsin.ingest.tablerows import Decoded, TableRows
from tocsin.lake import Unmapped
from tocsin.query import QueryService

NOW = datetime(2024, 1, 1, tzinfo=UTC)


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


def test_rows_that_are_mapped_late_are_those_that_are_mapped_at_once(mapper: Mapper, tmp_path: Path) -> None:
    """Every sample in three pieces that were received at different instants, two of them the same: mapped one by one, and joined as the lake
    hands them over when somebody asks. Only the order of a table's rows may differ, for joined rows come parser by parser."""
    tables = TableRows(mapper, DecodeLimits())
    count = 0
    for path in cases():
        given = yaml.safe_load(path.read_text("utf-8"))["input"].encode()
        at_once: dict[str, list[str]] = {}
        deferred: list[Unmapped] = []
        for number in range(3):
            received = NOW + timedelta(seconds=number // 2)
            decoded = Decoded()
            for batch in decode_bytes(tmp_path, given, "sample.log").batches:
                cuts = [0, len(batch) // 3, len(batch) // 2, len(batch)]
                rows = batch.rows.slice(cuts[number], cuts[number + 1] - cuts[number])
                piece = SourceBatch(batch.source, rows, batch.origin, parser=batch.parser)
                decoded.batches.append((piece, received))
                for made in mapper.map(piece, received=received):
                    at_once.setdefault(made.table, []).extend(map(_held, made.rows.to_pylist()))
            deferred.append(tables.unmapped(decoded))
        late: dict[str, list[str]] = {}
        for made in tables.rows(deferred):
            late.setdefault(made.table, []).extend(map(_held, made.rows.to_pylist()))
        assert {t: sorted(r) for t, r in late.items()} == {t: sorted(r) for t, r in at_once.items()}, path.name
        assert set(late) <= frozenset[str]().union(*(u.tables for u in deferred)), path.name
        count += sum(map(len, late.values()))
    assert count > 150


def _held(row: dict[str, Any]) -> str:
    return repr(sorted((k, v) for k, v in row.items() if v is not None))


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
