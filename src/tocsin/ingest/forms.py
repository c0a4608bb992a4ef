"""Parsers taken apart into forms: expressions that many parsers share, each run once for all rows of a batch that need it.

A parser such as `source | where Channel == "…" and EventID == 7 | project FileName = _WinFileName(tostring(EventData.Image)), …` is a list of
columns, each an expression over a few *atoms*: columns of `source` and fields of the event's data. An expression with its atoms replaced by
places is a form (`_WinFileName(_atom0)`), and a hundred parsers have no more than a hundred of them. The engine takes milliseconds to plan a
parser, each time anew, whether it has ten rows or ten thousand; so the forms are what it is asked, over the values of all parsers together and only
those that differ, and what it said of a few values is remembered. A column that is an atom or a constant needs no engine at all.

What an expression means is decided by the same compiler and engine as ever. A parser that is no such list (`split` gives None) runs as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.base.errors import QueryError
from tocsin.ingest.decoders.flatevents import event_fields, whole
from tocsin.ingest.eventlogs import name_key
from tocsin.ingest.model import SourceBatch
from tocsin.ingest.running import named
from tocsin.ingest.schemas import SOURCE, SourceCatalog
from tocsin.ingest.shred import WHOLE, field_at
from tocsin.kql.lexer import END, NAME, NUMBER, STRING, Tokens, tokenize, unquote
from tocsin.kql.types import Catalog, Column, KqlType, TableSchema
from tocsin.lake.engine import Engine, Standing

__all__ = ["Atom", "Form", "Forms", "Item", "Job", "Result", "Split", "split"]

_COMPILED_AT = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_FORMS = 5_000
_FEW, _MANY = 512, 4_096
"""Different values up to which results are remembered: of any form, and of one over a text. Asking the engine costs as much as some hundred."""
_MOST_KNOWN = 100_000
_LONGEST = 600
"""Bytes on average up to which texts are compared to find those that differ."""
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_REFUSED = frozenset({"|", ";", "let", "materialize", "toscalar"})


@dataclass(frozen=True, slots=True)
class Atom:
    """What an expression reads: a column of `source`, or a field of its event data ("" for the whole text)."""

    column: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """An expression over `_atom0`, `_atom1`… of these types."""

    text: str
    types: tuple[KqlType, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A column of the result: a form of atoms, or (None) the only atom itself."""

    name: str
    form: Form | None
    atoms: tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """A parser as conditions that a row must meet and columns."""

    conditions: tuple[Item, ...]
    items: tuple[Item, ...]


@dataclass(slots=True)
class Job:
    """A parser over the chosen rows of a batch; None for all."""

    split: Split
    chosen: np.ndarray[Any, Any] | None


class Result(NamedTuple):
    """What a job made, and of which rows of the batch; None for all."""

    rows: pa.Table
    chosen: np.ndarray[Any, Any] | None


def split(
    query: str, source: TableSchema, channels: frozenset[str] | None, event_ids: frozenset[int] | None
) -> Split | None:
    """The parser as forms, None where it isn't `source | where … | project …`.

    It only sees rows of these channels and event ids, so conditions that say no more than that are left out.
    """
    tokens = tokenize(query)
    values, kinds = tokens.values, tokens.kinds
    pipes = [i for i, v in enumerate(values) if v == "|"]
    if not pipes or values[0] != SOURCE or pipes[0] != 1 or values[pipes[-1] + 1] != "project" or ";" in values:
        return None
    columns = {c.name: c.type for c in source.columns}
    conditions: list[Item] = []
    for start, end in pairwise(pipes):
        if values[start + 1] != "where":
            return None
        parts = _parts(tokens, start + 2, end, "and")
        if any("or" in values[a:b] and len(parts) > 1 for a, b in parts):
            return None
        for a, b in parts:
            if not _implied(tokens, a, b, channels, event_ids):
                made = _item("", tokens, a, b, columns)
                if made is None:
                    return None
                conditions.append(made)
    last = len(values) - 1 if kinds[-1] == END else len(values)
    items: list[Item] = []
    for a, b in _parts(tokens, pipes[-1] + 2, last, ","):
        if b - a == 1 and kinds[a] == NAME and values[a] in columns:
            made = _item(values[a], tokens, a, b, columns)
        elif b - a > 2 and kinds[a] == NAME and values[a + 1] == "=":
            made = _item(values[a], tokens, a + 2, b, columns)
        else:
            return None
        if made is None:
            return None
        items.append(made)
    if len({i.name for i in items}) < len(items):
        return None
    return Split(tuple(conditions), tuple(items))


def _parts(tokens: Tokens, start: int, end: int, separator: str) -> list[tuple[int, int]]:
    """The spans between separators that stand in no bracket."""
    found, depth, begin = [], 0, start
    for i in range(start, end):
        value = tokens.values[i]
        depth += (value in _OPEN) - (value in _CLOSE)
        if value == separator and not depth and tokens.kinds[i] != STRING:
            found.append((begin, i))
            begin = i + 1
    return [*found, (begin, end)]


def _implied(
    tokens: Tokens, start: int, end: int, channels: frozenset[str] | None, event_ids: frozenset[int] | None
) -> bool:
    """Whether a condition holds for every row that the parser sees."""
    values, kinds = tokens.values[start:end], tokens.kinds[start:end]
    if len(values) < 3 or values[0] not in ("Channel", "EventID"):
        return False
    if values[1] == "==" and len(values) == 3:
        listed = [(kinds[2], values[2])]
    elif values[1] == "in" and values[2] == "(" and values[-1] == ")" and all(v == "," for v in values[4:-1:2]):
        listed = list(zip(kinds[3:-1:2], values[3:-1:2], strict=True))
    else:
        return False
    if values[0] == "Channel":
        return (
            channels is not None
            and all(k == STRING for k, _ in listed)
            and set(map(name_key, channels)) <= {name_key(unquote(v)) for _, v in listed}
        )
    return (
        event_ids is not None
        and all(k == NUMBER and v.isdecimal() for k, v in listed)
        and event_ids <= {int(v) for _, v in listed}
    )


def _item(name: str, tokens: Tokens, start: int, end: int, columns: Mapping[str, KqlType]) -> Item | None:
    """An expression as a form; None where it isn't plain what it reads."""
    values, kinds = tokens.values, tokens.kinds
    atoms: dict[Atom, KqlType] = {}
    out: list[str] = []
    done = tokens.starts[start]
    i = start
    while i < end:
        value, found, stop = values[i], None, i
        if value in _REFUSED and kinds[i] != STRING:
            return None
        if (
            value == "tostring"
            and i + 3 < end
            and values[i + 1] == "("
            and columns.get(values[i + 2]) is KqlType.DYNAMIC
        ):
            read = field_at(tokens, i)
            if read is not None and values[i + 2] == WHOLE and read[1] < end:
                found, stop = Atom(WHOLE, read[0]), read[1]
        elif kinds[i] == NAME and value in columns and values[i - 1] != "." and values[i + 1] not in ("(", "="):
            if columns[value] is KqlType.DYNAMIC and values[i + 1] in (".", "["):
                return None
            found = Atom(value)
        if found is not None:
            kind = KqlType.STRING if found.field is not None else columns[found.column]
            atoms.setdefault(found, kind)
            out.append(tokens.text[done : tokens.starts[i]])
            out.append(f"_atom{list(atoms).index(found)}")
            done = tokens.ends[stop]
            i = stop
        i += 1
    out.append(tokens.text[done : tokens.ends[end - 1]])
    text = "".join(out).strip()
    if text == "_atom0":
        return Item(name, None, tuple(atoms))
    return Item(name, Form(text, tuple(atoms.values())), tuple(atoms))


@dataclass(slots=True)
class _Ready:
    """A form that the engine has taken. `constant` is its value where it reads nothing; `known` its values that are remembered, of that `type`."""

    query: Any
    standing: Standing
    constant: pa.Scalar | None = None
    known: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    type: pa.DataType | None = None


class Forms:
    """Runs forms. Not safe for use by several threads at once."""

    def __init__(self, engine: Engine, catalog: Catalog) -> None:
        self._engine = engine
        self._catalog = catalog
        self._ready: dict[Form, _Ready | None] = {}
        self._remembers = 0

    def fit(self, made: Split) -> bool:
        """Whether every form of a parser can be run by itself."""
        return all(self._get(i.form) is not None for i in (*made.conditions, *made.items) if i.form is not None)

    def run(self, batch: SourceBatch, jobs: Sequence[Job]) -> list[Result]:
        """The result of each job. Raises as `Standing.run`."""
        chosen = [job.chosen for job in jobs]
        held = self._columns([(*_atoms(batch, j.split.conditions, j.chosen), j.split.conditions) for j in jobs])
        for index, conditions in enumerate(held):
            if conditions:
                mask = np.logical_and.reduce([pc.fill_null(c, False).to_numpy(False) for c in conditions])
                rows = chosen[index]
                chosen[index] = np.flatnonzero(mask) if rows is None else rows[mask]
        made = self._columns(
            [(*_atoms(batch, j.split.items, rows), j.split.items) for j, rows in zip(jobs, chosen, strict=True)]
        )
        return [
            Result(pa.Table.from_arrays(columns, names=[i.name for i in job.split.items]), rows)
            for job, columns, rows in zip(jobs, made, chosen, strict=True)
        ]

    def _columns(self, work: Sequence[tuple[Mapping[Atom, pa.Array], int, tuple[Item, ...]]]) -> list[list[pa.Array]]:
        """The arrays of each work's items; each form is run once for all."""
        out: list[list[Any]] = [[None] * len(items) for _, _, items in work]
        wanted: dict[Form, list[tuple[int, int, tuple[pa.Array, ...]]]] = {}
        for index, (values, count, items) in enumerate(work):
            for place, item in enumerate(items):
                if item.form is None:
                    out[index][place] = values[item.atoms[0]]
                elif not item.atoms:
                    out[index][place] = pa.repeat(self._constant(item.form), count)
                else:
                    inputs = tuple(values[a] for a in item.atoms)
                    wanted.setdefault(item.form, []).append((index, place, inputs))
        for form, uses in wanted.items():
            joined = [_concat([u[2][k] for u in uses]) for k in range(len(form.types))]
            result, start = self._apply(form, joined), 0
            for index, place, inputs in uses:
                out[index][place] = result.slice(start, len(inputs[0]))
                start += len(inputs[0])
        return out

    def _apply(self, form: Form, inputs: list[pa.Array]) -> pa.Array:
        ready = self._get(form)
        assert ready is not None
        if not all(_short(i) for i in inputs):
            return _result(ready, inputs)
        if len(inputs) == 1:
            encoded = inputs[0].dictionary_encode(null_encoding="encode")
            different, places = [encoded.dictionary], encoded.indices
        else:
            different, places = _different(inputs)
        most = _MANY if form.types == (KqlType.STRING,) else _FEW
        made = self._remembered(ready, different) if len(different[0]) <= most else _result(ready, different)
        return made.take(places)

    def _remembered(self, ready: _Ready, inputs: list[pa.Array]) -> pa.Array:
        """The results, of which the engine is asked only those that it hasn't given before."""
        values = list(zip(*(i.to_pylist() for i in inputs), strict=True))
        if self._remembers > _MOST_KNOWN:
            for other in self._ready.values():
                if other is not None:
                    other.known.clear()
            self._remembers = 0
        known = ready.known
        new = {v: n for n, v in enumerate(values) if v not in known}
        if new or ready.type is None:
            asked = pa.array(list(new.values()), pa.int64())
            chosen = [i.take(asked) for i in inputs]
            if ready.type is None or ready.query.columns[0].ticks:
                made = _result(ready, chosen)
                ready.type, given = made.type, made.to_pylist()
            else:
                given = [row[0] for row in ready.standing.values(_rows(chosen))]
            known.update(zip(new, given, strict=True))
            self._remembers += len(new)
        return pa.array([known[v] for v in values], ready.type)

    def _constant(self, form: Form) -> pa.Scalar:
        ready = self._get(form)
        assert ready is not None
        if ready.constant is None:
            ready.constant = _result(ready, [pa.array([""])])[0]
        return ready.constant

    def _get(self, form: Form) -> _Ready | None:
        """The form, planned; None where it has no meaning by itself."""
        if form not in self._ready:
            if len(self._ready) >= _MOST_FORMS:
                for old in self._ready.values():
                    if old is not None:
                        old.standing.forget()
                self._ready.clear()
            self._ready[form] = self._compile(form)
        return self._ready[form]

    def _compile(self, form: Form) -> _Ready | None:
        from tocsin.kql import KqlErrors, compile_query

        types = form.types or (KqlType.STRING,)
        schema = TableSchema(SOURCE, tuple(Column(f"_atom{i}", kind) for i, kind in enumerate(types)))
        catalog = SourceCatalog(schema, self._catalog)
        try:
            query = compile_query(f"{SOURCE} | project _made = {form.text}", catalog, now=_COMPILED_AT)
        except KqlErrors:
            return None
        if query.uses_now or query.volatile or query.parameters or query.tables != {SOURCE} or not query.row_wise:
            return None
        return _Ready(query, self._engine.standing(query, SOURCE, schema, catalog))


def _concat(arrays: list[pa.Array]) -> pa.Array:
    return arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)


def _short(values: pa.Array) -> bool:
    return not pa.types.is_string(values.type) or values.nbytes <= _LONGEST * max(64, len(values))


def _different(inputs: Sequence[pa.Array]) -> tuple[list[pa.Array], pa.Array]:
    """The rows of several columns that differ from each other, and the place of each row among them."""
    codes = np.zeros(len(inputs[0]), np.int64)
    span = 1
    for column in inputs:
        encoded = column.dictionary_encode(null_encoding="encode")
        span *= max(1, len(encoded.dictionary))
        if span >= 1 << 62:
            return list(inputs), pa.array(np.arange(len(codes)))
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
    _, first, places = np.unique(codes, return_index=True, return_inverse=True)
    return [c.take(pa.array(first)) for c in inputs], pa.array(places)


def _rows(inputs: Sequence[pa.Array]) -> pa.Table:
    return pa.Table.from_arrays(list(inputs), names=[f"_atom{i}" for i in range(len(inputs))])


def _result(ready: _Ready, inputs: Sequence[pa.Array]) -> pa.Array:
    rows = _rows(inputs)
    made = whole(named(ready.standing.run(rows), ready.query).column(0))
    if len(made) != rows.num_rows:
        raise QueryError(f"An expression gave {len(made)} values for {rows.num_rows} rows.", code="QRY0006")
    return made


def _atoms(
    batch: SourceBatch, items: Sequence[Item], chosen: np.ndarray[Any, Any] | None
) -> tuple[dict[Atom, pa.Array], int]:
    """What expressions read of the chosen rows, and how many those are."""
    wanted = dict.fromkeys(a for i in items for a in i.atoms)
    count = len(batch) if chosen is None else len(chosen)
    indices = None if chosen is None else pa.array(chosen)
    names = [a.field for a in wanted if a.field]
    fields: dict[str | None, pa.Array] = dict(zip(names, _fields(batch, chosen, names), strict=True)) if names else {}
    values: dict[Atom, pa.Array] = {}
    for atom in wanted:
        if atom.field:
            array = fields[atom.field]
        else:
            array = whole(batch.rows.column(atom.column))
            if indices is not None:
                array = array.take(indices)
        if pa.types.is_string(array.type) and array.null_count and (atom.field is not None or atom.column != WHOLE):
            array = pc.fill_null(array, "")  # a KQL string is never null
        values[atom] = array
    return values, count


def _fields(batch: SourceBatch, chosen: np.ndarray[Any, Any] | None, names: Sequence[str | None]) -> Iterable[pa.Array]:
    texts = [n for n in names if n is not None]
    read = event_fields(batch.rows.column(WHOLE), chosen, texts, empty=True)
    if read is not None:
        return read
    objects = batch.event_data()
    rows = objects if chosen is None else [objects[i] for i in chosen.tolist()]
    return [pa.array([o.get(n) for o in rows], pa.string()) for n in texts]
