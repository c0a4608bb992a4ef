"""Queries that are planned once and run over batch after batch."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from tests.lake.test_engine import CATALOG, Compiled, T
from tocsin.base.errors import LakeError, QueryError
from tocsin.lake.engine import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(catalog=CATALOG)
    yield made
    made.close()


def rows(*names: str | None) -> pa.Table:
    return pa.table({"Name": pa.array(names, pa.string()), "Score": pa.array([1.5] * len(names))})


def query(sql: str) -> Compiled:
    return Compiled(sql, ())


def test_each_run_sees_its_own_rows(engine: Engine) -> None:
    standing = engine.standing(query('SELECT upper("Name") AS c1 FROM "T" WHERE "Score" > 1'), "T", T, CATALOG)
    for batch in (rows("a", None), rows("b"), rows(), rows("c", "d")):
        assert standing.run(batch).column(0).to_pylist() == [n and n.upper() for n in batch.column("Name").to_pylist()]
    other = engine.standing(query('SELECT count(*) AS c1 FROM "T"'), "T", T, CATALOG)
    assert other.run(rows("a", "b")).column(0).to_pylist() == [2]
    assert standing.run(rows("e")).column(0).to_pylist() == ["E"]
    standing.forget()
    assert standing.run(rows("f")).column(0).to_pylist() == ["F"]


def test_what_the_engine_refuses_leaves_it_usable(engine: Engine) -> None:
    bad = engine.standing(query('SELECT CAST("Name" AS INTEGER) AS c1 FROM "T"'), "T", T, CATALOG)
    with pytest.raises(QueryError):
        bad.run(rows("x"))
    assert bad.run(rows("7")).column(0).to_pylist() == [7]
    with pytest.raises(QueryError):
        engine.standing(query('SELECT "Nowhere" AS c1 FROM "T"'), "T", T, CATALOG).run(rows("x"))
    with pytest.raises(LakeError):
        bad.run(pa.table({"Other": ["x"]}))
    assert bad.run(rows("8")).column(0).to_pylist() == [8]
