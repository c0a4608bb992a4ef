"""From source-shaped batches to rows of catalogue tables, by the packs' parsers.

A parser is a KQL query over `source`. Each is compiled once for a set of columns. Only those run whose `when` (channels, event ids) a batch
can satisfy, and they see only those rows. What `tostring(EventData.Name)` reads is taken out of the JSON text once per batch and handed to
the engine as a column, because reading JSON field by field costs far more than everything else together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from tocsin.base.errors import ContentError, LakeError, Place, QueryError, TocsinError
from tocsin.ingest import codes
from tocsin.ingest.casts import cast_rows
from tocsin.ingest.custom import custom_rows, is_custom
from tocsin.ingest.decoders.context import as_text
from tocsin.ingest.eventlogs import EventNames
from tocsin.ingest.forms import Forms, Job, Result, Split, split
from tocsin.ingest.letters import DEAD_LETTERS, dead_letter_rows, letters_of_rows
from tocsin.ingest.model import DeadLetter, SourceBatch
from tocsin.ingest.overflow import DriftLog, with_overflow
from tocsin.ingest.received import Received, stamp_of, stamped
from tocsin.ingest.running import named
from tocsin.ingest.schemas import DYNAMIC_COLUMNS, EVENT_KINDS, SOURCE, SourceCatalog, schema_of
from tocsin.ingest.settings import DecodeLimits
from tocsin.ingest.shred import Shredded, shred
from tocsin.ingest.transforms import Transforms
from tocsin.kql.diagnostics import KqlErrors
from tocsin.kql.types import Catalog, Column, TableSchema
from tocsin.lake import TableBatch
from tocsin.lake.engine import Engine, Limits, Standing, conform
from tocsin.tables import catalogue, custom_schema
from tocsin.tables.own import own

__all__ = ["Mapper", "ParserLike"]

_log = structlog.get_logger("tocsin.ingest.mapping")
_UNPARSED = own("unparsed")
UNPARSED = _UNPARSED.name
_NOTED = 1000
"""Origins of which lost values are remembered until somebody takes the notes."""
_NO_LIMITS = Limits(rows=None, seconds=None, result_bytes=None)
_COMPILED_AT = datetime(1970, 1, 1, tzinfo=UTC)


class ParserLike(Protocol):
    """The part of `tocsin.content.ParserFile` that is read here."""

    @property
    def id(self) -> str:
        """Its identifier."""

    @property
    def source(self) -> str:
        """The source kind that it reads."""

    @property
    def table(self) -> str:
        """The table that it fills."""

    @property
    def query(self) -> str:
        """Its KQL."""


@dataclass(slots=True)
class _Parser:
    """A parser and its compiled forms by the columns that `source` had."""

    id: str
    table: str
    query: str
    place: Place | None
    channels: frozenset[str] | None
    event_ids: frozenset[int] | None
    columns: tuple[tuple[str, frozenset[str]], ...]
    compiled: dict[tuple[str, ...], _Compiled | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Compiled:
    query: Any
    shredded: Shredded
    catalog: SourceCatalog
    columns: tuple[str, ...]
    schema: TableSchema
    standing: Standing | None
    split: Split | None = None


class Mapper:
    """Maps batches. Not safe for use by several threads at once: intake and scan have one each."""

    def __init__(
        self, parsers: Iterable[ParserLike], engine: Engine, catalog: Catalog, *, limits: DecodeLimits | None = None
    ) -> None:
        """`catalog` gives the schemas of the tables and the stored functions that parsers may call; `limits` how much a dead letter holds."""
        self._letter_bytes = (limits or DecodeLimits()).dead_letter_bytes
        self._engine = engine
        self._catalog = catalog
        self._forms = Forms(engine, catalog)
        self._declared = catalogue().names()
        self._parsers: dict[str, list[_Parser]] = {}
        self.drift = DriftLog()
        """Columns that came for declared tables which don't have them."""
        self.problems: list[TocsinError] = []
        self.transforms: Transforms | None = None
        """The user's transforms: rows of tables go through them before they are stamped as received."""
        self._lost: dict[str, dict[tuple[str, str], tuple[int, str]]] = {}
        prepared = [(p.source, _prepared(p)) for p in parsers]
        self._names = EventNames(c for _, p in prepared for c in sorted(p.channels or ()))
        for source, parser in prepared:
            parser.channels = parser.channels and frozenset(map(self._names.channel, parser.channels))
            self._parsers.setdefault(source, []).append(parser)

    @property
    def transforming(self) -> bool:
        """Whether the user transforms rows of some table."""
        return self.transforms is not None and self.transforms.of_tables

    def feeds(self, batch: SourceBatch) -> set[str]:
        """The tables that rows of the batch may go to, besides dead letters."""
        if batch.source.startswith("table."):
            found = {UNPARSED, batch.source[len("table.") :]}
        else:
            came = None
            if batch.source in EVENT_KINDS:
                came = self._names.channels(batch.rows)
            found = {UNPARSED} | {
                p.table
                for p in self._parsers.get(batch.source, ())
                if came is None or p.channels is None or not came.isdisjoint(p.channels)
            }
        return found if self.transforms is None else found | self.transforms.targets(found)

    def map(self, batch: SourceBatch, *, received: datetime | Received | None = None) -> list[TableBatch]:
        """The batch's rows for each table that its parsers fill.

        `received` is when the rows became durable (runs of rows at different instants only while nothing is `transforming`); without it
        `_TimeReceived` is left to the caller. Rows that no parser takes go to Unparsed_CL. A parser that can't be compiled, or that fails on a
        batch, is noted in `problems` and leaves a dead letter; the others go on.
        """
        if not len(batch):
            return []
        number = 0
        if isinstance(received, Received):
            number = received.number
            if len(set(received.moments)) > 1:
                return self._parsed(batch, received, number)
            received = received.last
        made = self._table_rows(batch) if batch.source.startswith("table.") else self._parsed(batch, None, number)
        if self.transforms is not None:
            made, letters = self.transforms.tables(made)
            if letters:
                letters = [replace(letter, number=number) for letter in letters]
                made.append(TableBatch(DEAD_LETTERS, dead_letter_rows(letters, received)))
        if received is not None:
            stamp = stamp_of(received)
            made = [TableBatch(b.table, stamped(b.rows, stamp)) for b in made]
        return made

    def _table_rows(self, batch: SourceBatch) -> list[TableBatch]:
        name = batch.source[len("table.") :]
        schema = self._catalog.table(name)
        if is_custom(name) and (schema is None or name not in self._declared):
            return [TableBatch(name, custom_rows(batch.rows, schema))]
        if schema is None:
            return [self._unparsed(batch)]
        rows = cast_rows(batch.rows, schema)
        self._note_lost(batch, name, rows)
        rows, unknown = with_overflow(rows, batch.rows, schema)
        self.drift.note(name, unknown)
        return [TableBatch(name, rows)]

    def _note_lost(self, batch: SourceBatch, table: str, rows: pa.Table) -> None:
        """Notes values that their column's type can't hold: they are null now, and nobody would learn of them otherwise."""
        for item in rows.schema:
            if item.name not in batch.rows.column_names or pa.types.is_string(item.type):
                continue
            made, given = rows.column(item.name), batch.rows.column(item.name)
            if made.null_count <= given.null_count or not pa.types.is_string(given.type):
                continue
            lost = pc.and_(
                pc.is_null(made), pc.and_(pc.is_valid(given), pc.not_equal(pc.utf8_trim_whitespace(given), ""))
            )
            count = pc.sum(lost).as_py()
            if count and (batch.origin in self._lost or len(self._lost) < _NOTED):
                columns = self._lost.setdefault(batch.origin, {})
                before, value = columns.get((table, item.name), (0, ""))
                value = value or given[int(pc.index(lost, True).as_py())].as_py()[:64]
                columns[(table, item.name)] = before + count, value

    def take_notes(self, origin: str) -> tuple[str, ...]:
        """What was lost of a file's values since the last call, as sentences."""
        columns = self._lost.pop(origin, {})
        return tuple(
            f"{n:,} value{'s' if n > 1 else ''} of {table}.{name} don't fit its type and are empty, such as {value!r}"
            for (table, name), (n, value) in columns.items()
        )

    def _parsed(self, batch: SourceBatch, received: Received | None, number: int) -> list[TableBatch]:
        """The rows of each table; with the instants of receipt where these are several."""
        parsers = self._parsers.get(batch.source)
        if not parsers or (batch.parser and all(p.id != batch.parser for p in parsers)):
            return [self._unparsed(batch, received)]
        groups = None
        if batch.source in EVENT_KINDS:
            batch = self._names.spelled(batch)
            groups = _Groups(batch.rows)
        by_table: dict[str, list[pa.Table]] = {}
        failed: list[DeadLetter] = []
        work: list[tuple[_Parser, _Compiled, np.ndarray[Any, Any] | None]] = []
        for parser in parsers:
            if batch.parser and parser.id != batch.parser:
                continue
            chosen = groups.rows_for(parser) if groups is not None else _rows_where(parser, batch.rows)
            if chosen is not None and not len(chosen):
                continue
            compiled = self._compiled(parser, batch)
            if compiled is not None:
                work.append((parser, compiled, chosen))
        together = self._together(batch, work)
        for number, (parser, compiled, chosen) in enumerate(work):
            try:
                found = together.get(number)
                if found is None:
                    rows = self._run_all(compiled, batch, chosen, received)
                else:
                    rows = _finished(found.rows, compiled, batch)
                    rows = rows if received is None else stamped(rows, received.of(found.chosen))
            except (QueryError, LakeError, pa.ArrowException) as error:
                failed += self._failure(parser, batch, chosen, error)
                continue
            if rows.num_rows:
                by_table.setdefault(parser.table, []).append(rows)
        made = [
            TableBatch(t, r[0] if len(r) == 1 else pa.concat_tables(r, promote_options="default"))
            for t, r in by_table.items()
        ]
        if failed:
            letters = dead_letter_rows([replace(letter, number=number) for letter in failed])
            rows = letters if received is None else stamped(letters, stamp_of(received.last))
            made.append(TableBatch(DEAD_LETTERS, rows))
        if not made and all(p.compiled and not any(p.compiled.values()) for p in parsers):
            made.append(self._unparsed(batch, received))
        return made

    def _run_all(
        self,
        compiled: _Compiled,
        batch: SourceBatch,
        chosen: np.ndarray[Any, Any] | None,
        received: Received | None,
    ) -> pa.Table:
        """A parser run as a whole: it may leave out rows, so that those of each instant run by themselves."""
        if received is None:
            return self._run(compiled, batch, chosen)
        made = [stamped(self._run(compiled, batch, c), stamp_of(at)) for c, at in received.pieces(chosen)]
        return pa.concat_tables(made, promote_options="default")

    def _run(self, compiled: _Compiled, batch: SourceBatch, chosen: np.ndarray[Any, Any] | None) -> pa.Table:
        rows = batch.rows.select([c for c in compiled.columns if c in batch.rows.column_names])
        if chosen is not None and len(chosen) < batch.rows.num_rows:
            rows = rows.take(pa.array(chosen))
        else:
            chosen = None
        rows = compiled.shredded.add_to(rows, batch, chosen)
        return _finished(named(self._result(compiled, rows), compiled.query), compiled, batch)

    def _together(
        self, batch: SourceBatch, work: Sequence[tuple[_Parser, _Compiled, np.ndarray[Any, Any] | None]]
    ) -> dict[int, Result]:
        """The results of those parsers that share their expressions with others (see `tocsin.ingest.forms`), by their place."""
        jobs = {n: Job(c.split, chosen) for n, (_, c, chosen) in enumerate(work) if c.split is not None}
        if not jobs:
            return {}
        try:
            return dict(zip(jobs, self._forms.run(batch, list(jobs.values())), strict=True))
        except (QueryError, LakeError, pa.ArrowException) as error:
            # Each by itself then: the one that fails is named, and the others go on.
            _log.info("ingest.forms", error=str(error))
            return {}

    def _result(self, compiled: _Compiled, rows: pa.Table) -> pa.Table:
        if compiled.standing is not None:
            return compiled.standing.run(rows)
        return self._engine.run(
            compiled.query, relations={SOURCE: rows}, limits=_NO_LIMITS, catalog=compiled.catalog
        ).table

    def _compiled(self, parser: _Parser, batch: SourceBatch) -> _Compiled | None:
        key = tuple(batch.rows.column_names)
        if key not in parser.compiled:
            if len(parser.compiled) >= 64:
                for old in parser.compiled.values():
                    if old is not None and old.standing is not None:
                        old.standing.forget()
                parser.compiled.clear()
            try:
                parser.compiled[key] = self._compile(parser, batch)
            except TocsinError as error:
                parser.compiled[key] = None
                self._problem(
                    ContentError(f"Parser {parser.id} can't be used: {error}", code="CNT0040", place=parser.place)
                )
        return parser.compiled[key]

    def _compile(self, parser: _Parser, batch: SourceBatch) -> _Compiled:
        from tocsin.kql import compile_query

        source = schema_of(batch.source, batch.rows.schema)
        # Where the table is declared, its column says what the text is.
        whole = batch.source in EVENT_KINDS and self._catalog.table(parser.table) is not None
        for shredded in (shred(parser.query, source, whole=whole), Shredded(parser.query, source)):
            catalog = SourceCatalog(shredded.schema, self._catalog)
            try:
                query = compile_query(shredded.text, catalog, now=_COMPILED_AT)
                break
            except KqlErrors:
                if shredded.text == parser.query:
                    raise
        if query.uses_now:
            raise ContentError(
                "A parser must not depend on the current time.", place=parser.place, hint="Leave out now() and ago()."
            )
        schema = self._catalog.table(parser.table) or custom_schema(
            parser.table, [Column(c.name, c.type) for c in query.columns]
        )
        known = {c.name for c in schema.columns}
        unknown = [c.name for c in query.columns if c.name not in known]
        if unknown:
            raise ContentError(f"Table {parser.table} has no column {unknown[0]!r}.", place=parser.place)
        # An added column's name begins with that of the JSON column, which needn't be handed over itself.
        quoted = batch.source in EVENT_KINDS and not any(not field for _, field, _ in shredded.fields)
        used = tuple(c.name for c in source.columns if (f'"{c.name}"' if quoted else c.name) in query.sql)
        return _Compiled(
            query,
            shredded,
            catalog,
            used or (source.columns[0].name,),
            schema,
            None
            if query.parameters or query.tables != {SOURCE}
            else self._engine.standing(query, SOURCE, shredded.schema, catalog),
            self._split(parser, source) if whole else None,
        )

    def _split(self, parser: _Parser, source: TableSchema) -> Split | None:
        made = split(parser.query, source, parser.channels, parser.event_ids)
        return made if made is not None and self._forms.fit(made) else None

    def _failure(
        self, parser: _Parser, batch: SourceBatch, chosen: np.ndarray[Any, Any] | None, error: Exception
    ) -> Iterator[DeadLetter]:
        """The rows that the parser failed on, for it alone to read again: the other parsers had them."""
        count = len(batch) if chosen is None else len(chosen)
        reason = f"Parser {parser.id} failed on {count} rows: {error}"
        self._problem(ContentError(reason, code="CNT0041", place=parser.place))
        rows = batch.rows if chosen is None else batch.rows.take(pa.array(chosen))
        rest = SourceBatch(batch.source, rows, batch.origin)
        yield from letters_of_rows(rest, reason, codes.MAPPING, self._letter_bytes, {"parser": parser.id})

    def _problem(self, problem: TocsinError) -> None:
        if str(problem) not in {str(p) for p in self.problems} and len(self.problems) < 1000:
            self.problems.append(problem)
            _log.warning("ingest.parser", problem=str(problem))

    def _unparsed(self, batch: SourceBatch, received: Received | None = None) -> TableBatch:
        rows = batch.rows
        names = rows.column_names
        if "RawData" in names:
            raw: pa.Array | pa.ChunkedArray = rows.column("RawData")
        else:
            texts = []
            for row in rows.to_pylist():
                kept = {k: _parsed_json(k, v) for k, v in row.items() if v is not None}
                texts.append(orjson.dumps(kept, default=as_text).decode())
            raw = pa.array(texts, pa.string())
        time = next(
            (
                rows.column(n)
                for n in ("TimeCreated", "ts")
                if n in names and pa.types.is_timestamp(rows.column(n).type)
            ),
            None,
        )
        host = next((rows.column(n) for n in ("Computer", "HostName") if n in names), None)
        columns = _UNPARSED.row(
            time=time if time is not None else pa.nulls(rows.num_rows, pa.timestamp("us")),
            source=pa.repeat(batch.source, rows.num_rows),
            host=host if host is not None else pa.nulls(rows.num_rows, pa.string()),
            data=raw,
            origin=pa.repeat(batch.origin, rows.num_rows),
        )
        made = pa.table(columns)
        return TableBatch(UNPARSED, made if received is None else stamped(made, received.of(None)))


def _finished(table: pa.Table, compiled: _Compiled, batch: SourceBatch) -> pa.Table:
    """A parser's result with the columns that every table has."""
    table = conform(table, compiled.schema)
    if "TimeGenerated" not in table.column_names and "Timestamp" in table.column_names:
        table = table.append_column("TimeGenerated", table.column("Timestamp"))
    if "SourceSystem" not in table.column_names and any(c.name == "SourceSystem" for c in compiled.schema.columns):
        # One event becomes rows of several tables. What unites those (ASIM's parsers) must know which have the same origin.
        table = table.append_column("SourceSystem", pa.repeat(batch.source, table.num_rows))
    return table


def _parsed_json(name: str, value: object) -> object:
    if name in DYNAMIC_COLUMNS and isinstance(value, str):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _prepared(parser: ParserLike) -> _Parser:
    when = getattr(parser, "when", None)
    document = getattr(parser, "document", None)
    if when is None and document is not None and isinstance(document.value, dict):
        when = document.value.get("when")
    channels = event_ids = None
    if isinstance(when, Mapping):
        listed = when.get("Channel")
        channels = frozenset(map(str, listed if isinstance(listed, list) else [listed])) if listed is not None else None
        listed = when.get("EventID")
        event_ids = (
            frozenset(map(int, listed if isinstance(listed, list) else [listed])) if listed is not None else None
        )
    columns = []
    for name, wanted in when.items() if isinstance(when, Mapping) else ():
        columns.append((str(name), frozenset(map(str, wanted if isinstance(wanted, list) else [wanted]))))
    path = getattr(parser, "path", None)
    place = Place(str(path)) if path else None
    return _Parser(parser.id, parser.table, parser.query, place, channels, event_ids, tuple(columns))


def _rows_where(parser: _Parser, rows: pa.Table) -> np.ndarray[Any, Any] | None:
    """The numbers of the rows that have one of the values which a parser's `when` lists for a column; None when it lists none."""
    if not parser.columns:
        return None
    mask: Any = None
    for name, wanted in parser.columns:
        if name not in rows.column_names:
            return np.empty(0, np.int64)
        found = pc.is_in(rows.column(name).cast(pa.string()), value_set=pa.array(sorted(wanted), pa.string()))
        mask = found if mask is None else pc.and_(mask, found)
    return np.asarray(pc.indices_nonzero(mask).to_numpy(), np.int64)


class _Groups:
    """Which rows of a batch of events have which channel and event id."""

    def __init__(self, rows: pa.Table) -> None:
        channel = rows.column("Channel").combine_chunks().dictionary_encode()
        self._channels = channel.dictionary.to_pylist()
        codes_ = pc.fill_null(channel.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
        ids = pc.fill_null(rows.column("EventID").cast(pa.int64()), -1).to_numpy()
        keys = (codes_ + 1) * (1 << 33) + (ids + (1 << 32))
        self._unique, self._inverse = np.unique(keys, return_inverse=True)
        self._order = np.argsort(self._inverse, kind="stable")
        self._bounds = np.searchsorted(self._inverse[self._order], np.arange(len(self._unique) + 1))
        self._pairs = [
            (self._channels[k // (1 << 33) - 1] if k >= (1 << 33) else None, k % (1 << 33) - (1 << 32))
            for k in self._unique.tolist()
        ]

    def rows_for(self, parser: _Parser) -> np.ndarray[Any, Any] | None:
        """The numbers of the rows that a parser's `when` lets through; None when it lets all through."""
        if parser.channels is None and parser.event_ids is None:
            return None
        wanted = [
            n
            for n, (channel, number) in enumerate(self._pairs)
            if (parser.channels is None or channel in parser.channels)
            and (parser.event_ids is None or number in parser.event_ids)
        ]
        if not wanted:
            return np.empty(0, np.int64)
        parts = [self._order[self._bounds[n] : self._bounds[n + 1]] for n in wanted]
        return np.sort(np.concatenate(parts))
