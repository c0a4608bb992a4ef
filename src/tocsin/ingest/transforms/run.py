"""Transforms at work: batch by batch, in the engine. Whatever a transform does, every row goes somewhere that can be named."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from tocsin.base.errors import TocsinError
from tocsin.ingest import codes
from tocsin.ingest.custom import custom_rows
from tocsin.ingest.decoders.context import kind_schema
from tocsin.ingest.letters import letters_of_rows
from tocsin.ingest.model import DeadLetter, SourceBatch
from tocsin.ingest.running import run_rows
from tocsin.ingest.schemas import SOURCE, SourceCatalog, schema_of
from tocsin.ingest.settings import DecodeLimits
from tocsin.ingest.transforms.check import CompiledFlow, compile_flow
from tocsin.ingest.transforms.model import TABLE_STREAM, Transform, TransformError, table_of
from tocsin.ingest.transforms.samples import KEPT, Samples
from tocsin.kql import compile_query
from tocsin.kql.types import Catalog, Column, TableSchema
from tocsin.lake import TableBatch
from tocsin.lake.engine import Engine, Limits, QueryResult, arrow_schema, conform
from tocsin.lake.engine.physical import stored_columns
from tocsin.tables import custom_schema

__all__ = ["Previewed", "Run", "Transforms"]

_log = structlog.get_logger("tocsin.ingest.transforms")
_LIVE = Limits(rows=None, seconds=60.0, result_bytes=None)
_TRIED = Limits(rows=10_000, seconds=10.0, result_bytes=16 << 20)
_WORD = re.compile(r"\w+")
_ORIGIN = "SourceSystem"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Run:
    """What a transform did since it took effect. `rows_failed`: rows of batches that it failed on."""

    batches: int = 0
    rows_in: int = 0
    rows_out: int = 0
    rows_failed: int = 0
    failures: int = 0
    seconds: float = 0.0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Previewed:
    """One flow tried: the table that its rows are for ("" for the stream's own way) and the result."""

    table: str
    result: QueryResult


@dataclass(slots=True)
class _Active:
    transform: Transform
    run: Run = field(default_factory=Run)
    compiled: dict[tuple[tuple[str, str], ...], list[CompiledFlow]] = field(default_factory=dict)


class Transforms:
    """The transforms in force. `source` is called by intake's thread, `tables` by the one that maps; all else from any thread."""

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        *,
        samples: Samples | None = None,
        limits: DecodeLimits | None = None,
        failed: Callable[[Transform, str, int], None] | None = None,
    ) -> None:
        """`failed(transform, reason, rows)` is told of each batch that a transform fails on."""
        self._engine = engine
        self._catalog = catalog
        self._limits = limits or DecodeLimits()
        self.samples = samples or Samples(None)
        self.failed = failed
        self._lock = threading.Lock()
        self._active: Mapping[str, _Active] = {}
        self.before_use: Callable[[], None] = lambda: None
        """Called before others come into force: rows that came before are mapped as they would have been then."""

    @property
    def of_tables(self) -> bool:
        """Whether one is in force over rows of a table."""
        return any(stream.startswith(TABLE_STREAM) for stream in self._active)

    def targets(self, tables: Collection[str]) -> set[str]:
        """Other tables that rows of these go to."""
        chosen = (a for s, a in self._active.items() if table_of(s) in tables)
        return {f.table for a in chosen for f in a.transform.flows if f.table}

    def use(self, transforms: Iterable[Transform]) -> None:
        """From the next batch on these are in force, one a stream, those that are switched off left out."""
        self.before_use()
        with self._lock:
            before = self._active
            now: dict[str, _Active] = {}
            for transform in transforms:
                if not transform.enabled:
                    continue
                earlier = before.get(transform.stream)
                same = earlier is not None and earlier.transform == transform
                now[transform.stream] = earlier if same and earlier is not None else _Active(transform)
            self._active = now

    def runs(self) -> dict[str, Run]:
        """What each transform in force did, by its id."""
        return {a.transform.id: replace(a.run) for a in self._active.values()}

    # ------------------------------------------------------------------ rows

    def source(self, batch: SourceBatch) -> tuple[list[SourceBatch], list[DeadLetter]]:
        """The batches that go on in place of this one, and what became dead letters."""
        self.samples.add(batch.source, batch.rows)
        active = self._active.get(batch.source)
        if active is None:
            return [batch], []
        made: list[SourceBatch] = []

        def flows() -> int:
            for flow in self._compiled(active, lambda: schema_of(batch.source, batch.rows.schema), batch.rows):
                rows = run_rows(self._engine, flow.query, flow.catalog, batch.rows, _LIVE)
                if not rows.num_rows:
                    continue
                if flow.table:
                    made.append(SourceBatch(f"table.{flow.table}", _for_table(rows, flow), batch.origin))
                else:
                    made.append(SourceBatch(batch.source, _as_before(rows, batch.rows), batch.origin))
            return sum(len(m) for m in made)

        reason = self._ran(active, len(batch), flows)
        if not reason:
            return made, []
        if active.transform.on_error == "pass":
            return [batch], []
        return [], list(letters_of_rows(batch, reason, codes.TRANSFORM, self._limits.dead_letter_bytes))

    def tables(self, batches: Sequence[TableBatch]) -> tuple[list[TableBatch], list[DeadLetter]]:
        """The same for rows of tables, after the parsers."""
        if not self._active:
            return list(batches), []
        out: list[TableBatch] = []
        letters: list[DeadLetter] = []
        for batch in batches:
            active = self._active.get(TABLE_STREAM + batch.table)
            if active is None:
                out.append(batch)
            else:
                self._table(active, batch, out, letters)
        return out, letters

    def _table(self, active: _Active, batch: TableBatch, out: list[TableBatch], letters: list[DeadLetter]) -> None:
        self.samples.add(active.transform.stream, batch.rows)
        made: list[TableBatch] = []

        def flows() -> int:
            text = " ".join(f.kql for f in active.transform.flows)
            for flow in self._compiled(active, lambda: self._table_source(batch, text), batch.rows, batch.table):
                rows = run_rows(self._engine, flow.query, flow.catalog, batch.rows, _LIVE)
                if rows.num_rows:
                    rows = _for_table(_nulls_back(rows, batch.rows), flow)
                    made.append(TableBatch(flow.table, _with_origin(rows, batch.rows, flow)))
            return sum(m.rows.num_rows for m in made)

        reason = self._ran(active, batch.rows.num_rows, flows)
        if not reason:
            out += made
        elif active.transform.on_error == "pass":
            out.append(batch)
        else:
            rows = SourceBatch(f"table.{batch.table}", batch.rows, batch.table)
            letters += letters_of_rows(rows, reason, codes.TRANSFORM, self._limits.dead_letter_bytes)

    def _ran(self, active: _Active, count: int, flows: Callable[[], int]) -> str:
        """Counts a batch; the reason why a flow failed on it, or nothing."""
        run = active.run
        started = time.monotonic()
        try:
            made = flows()
        except (TocsinError, pa.ArrowException) as error:
            reason = f"Transform {active.transform.name!r} (version {active.transform.version}) failed: {error}"
            if run.last_error != reason:
                _log.warning("ingest.transform", transform=active.transform.id, error=str(error))
            run.failures += 1
            run.rows_failed += count
            run.last_error = reason
            if self.failed is not None:
                self.failed(active.transform, reason, count)
            return reason
        run.batches += 1
        run.rows_in += count
        run.rows_out += made
        run.seconds += time.monotonic() - started
        return ""

    def _compiled(
        self, active: _Active, schema: Callable[[], TableSchema], rows: pa.Table, own: str = ""
    ) -> list[CompiledFlow]:
        key = tuple((f.name, str(f.type)) for f in rows.schema)
        found = active.compiled.get(key)
        if found is None:
            if len(active.compiled) >= 64:
                active.compiled.clear()
            source = schema()
            found = [compile_flow(f, source, self._catalog, own=own) for f in active.transform.flows]
            active.compiled[key] = found
        return found

    def _table_source(self, batch: TableBatch, text: str) -> TableSchema:
        """The columns that the rows have, and those of the table that the text names: the table's others stay as absent as they are."""
        own = {c.name: c for c in stored_columns(batch.rows.schema)}
        known = {c.name: c for c in self._table_schema(batch.table, tuple(own.values())).columns}
        words = set(_WORD.findall(text))
        names = [*own, *(n for n in known if n in words and n not in own)]
        return TableSchema(SOURCE, tuple(replace(known.get(n) or own[n], hidden=False) for n in names))

    def _table_schema(self, table: str, own: Sequence[Column] = ()) -> TableSchema:
        return self._catalog.table(table) or custom_schema(table, own)

    # ------------------------------------------------------------------ before they are in force

    def schema(self, stream: str) -> TableSchema:
        """The columns of `source` for a stream. Raises TransformError ING0050 for a stream that nothing is known of."""
        table = table_of(stream)
        if table:
            found = self._catalog.table(table)
            if found is not None:
                return TableSchema(SOURCE, found.columns)
        else:
            rows = self.samples.last(stream)
            columns = rows.schema if rows is not None else kind_schema(stream)
            if columns is not None:
                return schema_of(stream, columns)
        raise TransformError(
            f"Nothing is known of rows of the stream {stream!r} yet",
            hint="Send some rows first; the streams that came are listed beside the sources.",
        )

    def check(self, transform: Transform) -> list[CompiledFlow]:
        """Compiles a transform. Raises KqlErrors or TransformError: see `compile_flow`."""
        source = self.schema(transform.stream)
        return [compile_flow(f, source, self._catalog, own=table_of(transform.stream)) for f in transform.flows]

    def preview(self, transform: Transform, rows: pa.Table) -> tuple[QueryResult, list[Previewed]]:
        """The rows as they are and what each flow makes of them, changing nothing. Raises as `check`, and QueryError as `Engine.run`."""
        stream = transform.stream
        source = self.schema(stream)
        rows = rows.slice(max(0, rows.num_rows - KEPT))
        catalog = SourceCatalog(source, self._catalog)
        text = "source"
        if table_of(stream):
            used = set(rows.column_names) & {c.name for c in source.columns}
            words = set(_WORD.findall(" ".join(f.kql for f in transform.flows)))
            kept = tuple(replace(c, hidden=False) for c in source.columns if c.name in used or c.name in words)
            source = TableSchema(SOURCE, kept)
            catalog = SourceCatalog(source, self._catalog)
            rows = rows.select([n for n in rows.column_names if n in used])
        query: Any = compile_query(text, catalog, now=_EPOCH)
        before = self._engine.run(query, relations={SOURCE: rows}, limits=_TRIED, catalog=catalog)
        made = []
        for flow in transform.flows:
            compiled = compile_flow(flow, source, self._catalog, own=table_of(stream))
            result = self._engine.run(compiled.query, relations={SOURCE: rows}, limits=_TRIED, catalog=compiled.catalog)
            made.append(Previewed(compiled.table, result))
        return before, made


def _for_table(rows: pa.Table, flow: CompiledFlow) -> pa.Table:
    """The result as rows of its table."""
    if flow.target is not None and {c.name for c in flow.target.columns}.issuperset(rows.column_names):
        return conform(rows, flow.target)
    fields = arrow_schema([Column(c.name, c.type) for c in flow.query.columns])
    typed = pa.Table.from_arrays(
        [column.cast(f.type) for column, f in zip(rows.columns, fields, strict=True)], schema=fields
    )
    return custom_rows(typed, flow.target)


def _as_before(rows: pa.Table, before: pa.Table) -> pa.Table:
    """A source kind's rows: every column that it had, in its type, null where the transform left it out; new ones behind."""
    rows = _nulls_back(rows, before)
    arrays, names = [], []
    for item in before.schema:
        names.append(item.name)
        arrays.append(
            rows.column(item.name).cast(item.type)
            if item.name in rows.column_names
            else pa.nulls(rows.num_rows, item.type)
        )
    for name in rows.column_names:
        if name not in before.column_names:
            names.append(name)
            arrays.append(rows.column(name))
    return pa.Table.from_arrays(arrays, names=names)


def _nulls_back(rows: pa.Table, before: pa.Table) -> pa.Table:
    """KQL's strings are never null; a column that had nulls keeps them instead of gaining empty texts."""
    for number, name in enumerate(rows.column_names):
        column = rows.column(number)
        absent = name not in before.column_names or before.column(name).null_count
        if absent and pa.types.is_string(column.type):
            rows = rows.set_column(number, name, pc.if_else(pc.equal(column, ""), None, column))
    return rows


def _with_origin(rows: pa.Table, before: pa.Table, flow: CompiledFlow) -> pa.Table:
    """With SourceSystem, which tells rows of one event in several tables to belong together, also where a projection left it out."""
    if _ORIGIN in rows.column_names or _ORIGIN not in before.column_names or flow.target is None:
        return rows
    values = pc.unique(before.column(_ORIGIN).combine_chunks())
    return rows.append_column(_ORIGIN, pa.repeat(values[0], rows.num_rows)) if len(values) == 1 else rows
