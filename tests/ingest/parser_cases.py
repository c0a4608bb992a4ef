"""The packs' parsers over the samples that stand beside them (`parsers/**/X.test.yaml`).

A sample file holds `input` (the text of a log file) and `expect`: for each table that gets rows, its rows with every column that holds a value.
`python -m tests.ingest.parser_cases FILE…` writes `expect` anew, to be read before it is committed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from tests.ingest.support import decode_bytes
from tocsin.content import load_packs, packs_dir
from tocsin.ingest.decoders.declared import declare
from tocsin.ingest.mapping import Mapper
from tocsin.kql.types import KqlType
from tocsin.query import QueryService
from tocsin.tables import catalogue

__all__ = ["cases", "made_rows", "make_mapper"]


def cases() -> list[Path]:
    """The sample files of all packs."""
    return sorted(packs_dir().glob("*/parsers/**/*.test.yaml"))


def make_mapper() -> tuple[Mapper, QueryService]:
    """A mapper with every pack's parsers, and what is to be closed after it."""
    content = load_packs([packs_dir()])
    assert not content.problems, content.problems
    assert not declare((str(f.path), f.document) for f in content.sources)
    queries = QueryService(None, catalogue=catalogue(), functions=content.functions)
    return Mapper(content.parsers, engine=queries.engine, catalog=queries.catalog), queries


def made_rows(data: bytes, mapper: Mapper, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What a log file becomes: rows by table, each with the columns that hold a value."""
    decoded = decode_bytes(folder, data, "sample.log")
    assert not decoded.dead, decoded.dead
    assert not decoded.report.skipped, decoded.report
    made: dict[str, list[dict[str, Any]]] = {}
    for batch in decoded.batches:
        for table in mapper.map(batch):
            made.setdefault(table.table, []).extend(_plain(table.table, table.rows))
    assert not mapper.problems, mapper.problems
    for row in made.get("Unparsed_CL", ()):
        row.pop("Origin_s")
    return made


def _plain(table: str, rows: pa.Table) -> list[dict[str, Any]]:
    schema = catalogue().table(table)
    dynamic = {c.name for c in schema.columns if c.type is KqlType.DYNAMIC} if schema else set()
    return [
        {k: _value(v, k in dynamic) for k, v in sorted(row.items()) if v is not None and v not in ("", "null")}
        for row in rows.to_pylist()
    ]


def _value(value: Any, dynamic: bool) -> Any:
    if isinstance(value, datetime):
        return value.isoformat() + "Z"
    return json.loads(value) if dynamic else value


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    str, lambda d, s: d.represent_scalar("tag:yaml.org,2002:str", s, style="|" if "\n" in s.rstrip("\n") else None)
)


def main() -> None:
    """Writes what the named files expect."""
    mapper, queries = make_mapper()
    for name in sys.argv[1:]:
        path = Path(name)
        text = path.read_text("utf-8")
        case = yaml.safe_load(text)
        with tempfile.TemporaryDirectory() as folder:
            made = made_rows(case["input"].encode(), mapper, Path(folder))
        given = text.split("\nexpect:", 1)[0].rstrip("\n")
        expect = yaml.dump({"expect": made}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=150)
        path.write_text(f"{given}\n{expect}", "utf-8")
    queries.close()


if __name__ == "__main__":
    main()
