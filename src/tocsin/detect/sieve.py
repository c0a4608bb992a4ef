"""What a rule's filters ask of a row, tested on columns in memory: which rules can find anything in a window, without a query for each.

`necessary` tells which filters must let a row through; of those filters the parts are taken here that compare a column with constants. What
isn't understood counts as true, and where upper and lower case of foreign letters would decide a value counts as fitting: a sieve may let
more through than its rule, never less.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tocsin.base.errors import KqlError
from tocsin.detect.narrow import Filter, necessary
from tocsin.kql import ast, parse
from tocsin.kql.types import KqlType

__all__ = ["Columns", "Mask", "Sieve", "Test", "sieves"]

Mask = npt.NDArray[np.bool_]

_DEEPEST = 20
_MOST_DISTINCT = 20_000
"""Different texts of a column above which only equality is tested."""


@dataclass(frozen=True, slots=True)
class Test:
    """A column compared with constants: `op` as the language writes it, any of `values` for those that take a list."""

    column: str
    op: str
    values: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _Every:
    parts: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Some:
    parts: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Sieve:
    """A condition on the rows of one table; `tree` is made of tests."""

    table: str
    tree: Any

    def tests(self) -> Iterator[Test]:
        """Every test of it."""
        left = [self.tree]
        while left:
            node = left.pop()
            if isinstance(node, Test):
                yield node
            else:
                left.extend(node.parts)


def sieves(query: str) -> tuple[tuple[Sieve, ...], ...]:
    """Conditions that all hold where the query gives rows: that a row passes one of the sieves. Empty where nothing is known."""
    found: list[tuple[Sieve, ...]] = []
    for alternatives in necessary(query):
        made = [_sieve(f) for f in alternatives]
        known = tuple(s for s in made if s is not None)
        if known and len(known) == len(made):
            found.append(known)
    return tuple(found)


def _sieve(given: Filter) -> Sieve | None:
    try:
        tree = parse(given.texts[0])
    except (KqlError, RecursionError):
        return None
    lets = {s.name: s.value for s in tree.statements if isinstance(s, ast.Let)}
    last = tree.statements[-1]
    if not isinstance(last, ast.ExpressionStatement):
        return None
    operators: list[ast.Operator] = []
    node: Any = last.value
    for _ in range(_DEEPEST):
        while isinstance(node, ast.Paren):
            node = node.inner
        if isinstance(node, ast.Pipeline):
            operators = [*node.operators, *operators]
            node = node.source
        elif isinstance(node, ast.Name) and node.name in lets and node.name != given.table:
            node = lets[node.name]
        else:
            break
    if not isinstance(node, ast.Name) or node.name != given.table:
        return None
    made = {n for o in operators if isinstance(o, ast.Project) for i in o.items for n in _assigned(i)}
    reader = _Reader(lets, made)
    parts = [p for o in operators if isinstance(o, ast.Where) if (p := reader.read(o.predicate)) is not None]
    return Sieve(given.table, _Every(tuple(parts))) if parts else None


def _assigned(item: ast.Expr) -> tuple[str, ...]:
    if isinstance(item, ast.Named):
        return item.names
    return (item.name,) if isinstance(item, ast.Name) else ()


_SAME = frozenset({"==", "in"})
_FOLDED = frozenset({"=~", "in~"})
_WITHIN = frozenset({"has", "contains", "hasprefix", "hassuffix", "startswith", "endswith"})
_TEXT = {*_WITHIN, *(f"{o}_cs" for o in _WITHIN)}


class _Reader:
    """Takes the tests out of predicates. `made` are columns that the query computes, which aren't the table's."""

    def __init__(self, lets: Mapping[str, ast.Expr], made: set[str]) -> None:
        self._lets, self._made = lets, made

    def read(self, node: ast.Expr) -> Any:
        """The node's tests; None for what isn't understood, which may be true of any row."""
        match node:
            case ast.Paren(inner=inner):
                return self.read(inner)
            case ast.Binary(op="and", left=left, right=right):
                both = [p for p in (self.read(left), self.read(right)) if p is not None]
                return both[0] if len(both) == 1 else _Every(tuple(both)) if both else None
            case ast.Binary(op="or", left=left, right=right):
                one, other = self.read(left), self.read(right)
                return None if one is None or other is None else _Some((one, other))
            case ast.Binary(op=op, left=left, right=right) if op in _SAME | _FOLDED | _TEXT:
                column, values = self._column(left), self._constants((right,), lists=False)
                if column is None and op in ("==", "=~"):
                    column, values = self._column(right), self._constants((left,), lists=False)
                return _test(column, op, values) if column is not None and values else None
            case ast.InList(op="in" | "in~" | "has_any" | "has_all" as op, left=left, items=items):
                column, values = self._column(left), self._constants(items)
                return _test(column, op, values) if column is not None and values else None
            case ast.Call(callee="isnotempty" | "isempty" as name, args=(argument,)):
                column = self._column(argument)
                return Test(column, name, ()) if column is not None else None
            case _:
                return None

    def _column(self, node: ast.Expr) -> str | None:
        while isinstance(node, ast.Paren):
            node = node.inner
        if isinstance(node, ast.Name) and node.name not in self._lets and node.name not in self._made:
            return node.name
        return None

    def _constants(self, nodes: Sequence[ast.Expr], *, lists: bool = True) -> tuple[str | int, ...] | None:
        found: list[str | int] = []
        for given in nodes:
            node = given
            for _ in range(_DEEPEST):
                if isinstance(node, ast.Paren):
                    node = node.inner
                elif isinstance(node, ast.Name) and node.name in self._lets:
                    node = self._lets[node.name]
                else:
                    break
            if not isinstance(node, ast.Literal):
                return None
            values: Any = [node.value]
            if node.type is KqlType.DYNAMIC and lists:
                try:
                    values = json.loads(str(node.value))
                except (ValueError, RecursionError):
                    return None
                if not isinstance(values, list):
                    return None
            elif node.type not in (KqlType.STRING, KqlType.INT, KqlType.LONG):
                return None
            if not all(isinstance(v, str) or (isinstance(v, int) and not isinstance(v, bool)) for v in values):
                return None
            found.extend(values)
        return tuple(found)


def _test(column: str, op: str, values: tuple[str | int, ...]) -> Test | None:
    texts = all(isinstance(v, str) for v in values)
    if not texts and (op not in _SAME or any(isinstance(v, str) for v in values)):
        return None
    return Test(column, op, values)


class Columns:
    """Columns of some rows, each kept as its different values and which of them a row has."""

    def __init__(self, rows: pa.Table, types: Sequence[KqlType]) -> None:
        self.rows = rows.num_rows
        self._columns: dict[str, _Column] = {}
        for name, column, kind in zip(rows.column_names, rows.columns, types, strict=True):
            if kind in (KqlType.STRING, KqlType.INT, KqlType.LONG):
                self._columns[name] = _Column(column, text=kind is KqlType.STRING)

    def may_pass(self, sieve: Sieve) -> bool:
        """Whether a row may pass the sieve."""
        if not self.rows:
            return False
        return self._of(sieve.tree) is not False

    def _of(self, node: Any) -> Mask | bool:
        if isinstance(node, Test):
            column = self._columns.get(node.column)
            return True if column is None else column.passing(node)
        every = isinstance(node, _Every)
        mask: Mask | bool = every
        for part in node.parts:
            found = self._of(part)
            if isinstance(found, bool):
                if found is not every:
                    return found
            elif isinstance(mask, bool):
                mask = found
            else:
                mask = (mask & found) if every else (mask | found)
                if every and not mask.any():
                    return False
        return mask


class _Column:
    def __init__(self, column: pa.ChunkedArray, *, text: bool) -> None:
        encoded = column.combine_chunks().dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks() if encoded.num_chunks != 1 else encoded.chunk(0)
        self.text = text
        # A text that isn't there is the empty one; a number that isn't there equals none.
        self.values: list[Any] = [*encoded.dictionary.to_pylist(), "" if text else None]
        self._codes = encoded.indices.fill_null(len(self.values) - 1).to_numpy(zero_copy_only=False)
        self._nulls = encoded.indices.null_count > 0
        self._lowered: list[str | None] | None = None
        self._known: dict[Test, Mask | bool] = {}

    def passing(self, test: Test) -> Mask | bool:
        """Which rows may pass; a plain answer where it is the same for all."""
        found = self._known.get(test)
        if found is None:
            found = self._known[test] = self._passing(test)
        return found

    def _passing(self, test: Test) -> Mask | bool:
        decide = self._decider(test)
        if decide is None:
            return True
        fits = np.fromiter((decide(i) for i in range(len(self.values))), np.bool_, len(self.values))
        if not self._nulls:
            fits[-1] = False
        if not fits.any():
            return False
        if fits[:-1].all() and (fits[-1] or not self._nulls):
            return True
        return np.asarray(fits[self._codes], np.bool_)

    def _decider(self, test: Test) -> Callable[[int], bool] | None:
        """Tells of the value of a number whether it may fit; None for a test that isn't for such a column."""
        values, wanted = self.values, test.values
        if test.op in ("isempty", "isnotempty"):
            empty = test.op == "isempty"
            return (lambda i: (values[i] == "") is empty) if self.text else None
        if self.text is not isinstance(wanted[0], str):
            return None
        if test.op in _SAME:
            chosen = frozenset(wanted)
            return lambda i: values[i] in chosen
        if len(values) > _MOST_DISTINCT and test.op not in _FOLDED:
            return None
        if test.op.endswith("_cs"):
            needle = str(wanted[0])
            return lambda i: needle in values[i]
        texts = [str(w) for w in wanted]
        if not all(t.isascii() for t in texts):
            return None
        folded = self._folded()
        needles = [t.lower() for t in texts]
        if test.op in _FOLDED:
            same = frozenset(needles)
            return lambda i: folded[i] is None or folded[i] in same
        every = test.op == "has_all"
        if len(needles) == 1:
            needle = needles[0]
            return lambda i: (value := folded[i]) is None or needle in value
        decide = all if every else any
        return lambda i: (value := folded[i]) is None or decide(n in value for n in needles)

    def _folded(self) -> list[str | None]:
        """The values in lower case; None for one with letters of which engines disagree what their lower case is."""
        if self._lowered is None:
            self._lowered = [v.lower() if v.isascii() else None for v in self.values]
        return self._lowered
