"""Names: the columns of a stage, and the environment of lets, parameters and functions around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tocsin.kql import ast
from tocsin.kql.emit.duckdb.literals import constant
from tocsin.kql.plan import OrderKey, Plan, Scalar
from tocsin.kql.types import KqlType

__all__ = [
    "BoundColumn",
    "Environment",
    "FunctionValue",
    "PatternValue",
    "Relation",
    "ScalarValue",
    "TableValue",
    "Value",
    "open_columns",
]


class BoundColumn(NamedTuple):
    """A column of a stage: its KQL name and type, and how the plan calls it (`alias`, and `ticks` for a datetime).

    `stored` columns come from a catalogue table as they are.
    """

    name: str
    type: KqlType
    alias: str
    ticks: bool = False
    hidden: bool = False
    stored: bool = False

    def scalar(self) -> Scalar:
        """A reference to this column."""
        return Scalar(self.alias, self.type, ticks=self.ticks, refs=frozenset((self.alias,)))


@dataclass(frozen=True, slots=True)
class OpenBag:
    """Names that only the data could have made columns: they are still names, and read as nulls.

    After a plugin, those with `prefix`, as `value`. In an open table (`suffixes`), those whose suffix tells a type.
    """

    value: Scalar
    prefix: str = ""
    suffixes: bool = False

    def read(self, name: str) -> Scalar | None:
        """The null that stands for the name, or None when it can't be a column."""
        if not self.suffixes:
            return self.value if name.startswith(self.prefix) else None
        kind = _SUFFIXES.get(name[-2:]) if len(name) > 2 else None
        return constant(kind, None) if kind is not None else None


_SUFFIXES = {
    "_s": KqlType.STRING,
    "_d": KqlType.REAL,
    "_g": KqlType.STRING,
    "_b": KqlType.BOOL,
    "_t": KqlType.DATETIME,
}


@dataclass(slots=True)
class Relation:
    """A bound tabular expression: its plan, its ordered columns and the order of its rows.

    `serialized` is KQL's notion: window functions may be used. `partition` are aliases that split the rows into independent sub-tables
    (inside mv-apply and partition), and `base` reads all those sub-tables' keys, those without rows too. `name` is the table's name where
    it still is one, for `withsource`.
    """

    plan: Plan
    columns: tuple[BoundColumn, ...]
    order: tuple[OrderKey, ...] = ()
    serialized: bool = False
    sorted: bool = False
    partition: tuple[str, ...] = ()
    base: Callable[[], Relation] | None = None
    name: str = ""
    row_wise: bool = False
    open_bag: OpenBag | None = None
    _by_name: dict[str, BoundColumn] | None = field(default=None, repr=False)

    def column(self, name: str) -> BoundColumn | None:
        """The column of that name, hidden ones included."""
        index = self._by_name
        if index is None:
            index = {}
            for column in self.columns:
                index.setdefault(column.name, column)
            self._by_name = index
        found = index.get(name)
        return found if found is not None else self._other_spelling(name)

    def _other_spelling(self, name: str) -> BoundColumn | None:
        """A stored column that differs from `name` only by case, when there is just one.

        Sentinel and Defender XDR spell columns of the same table differently (``AccountUPN``, ``AccountUpn``), and queries for both
        must run on one table. Columns that a query makes are told apart by case, as in Kusto.
        """
        folded = name.lower()
        found = [c for c in self.columns if c.stored and c.name.lower() == folded]
        return found[0] if len(found) == 1 else None

    def open_value(self, name: str) -> Scalar | None:
        """The value of a name that only the data could have made a column, or None where the columns are settled."""
        return self.open_bag.read(name) if self.open_bag is not None else None

    def visible(self) -> tuple[BoundColumn, ...]:
        """The columns that `*` means."""
        return tuple(c for c in self.columns if not c.hidden)

    def with_plan(self, plan: Plan, columns: Sequence[BoundColumn] | None = None, **changes: object) -> Relation:
        """This relation over another plan; columns and order stay unless given."""
        new = replace(self, plan=plan, _by_name=None, **changes)  # type: ignore[arg-type]
        if columns is not None:
            new.columns = tuple(columns)
        return new


@dataclass(slots=True)
class ScalarValue:
    """A let or a parameter that is a scalar."""

    scalar: Scalar


@dataclass(slots=True)
class TableValue:
    """A let, a parameter or an `as` name that is a table: `reader()` gives a fresh reference to it.

    `labelled`: `withsource` shows the name (it does for `as`, not for let).
    """

    name: str
    reader: Callable[[], Relation]
    labelled: bool = False


@dataclass(slots=True)
class FunctionValue:
    """A lambda bound by let, or a stored function: parameters, statements and body, and the environment it was written in."""

    name: str
    function: ast.Lambda
    environment: Environment
    source: str | None = None


@dataclass(slots=True)
class PatternValue:
    """A declared pattern: parameters, the path's name, and the bodies by arguments and path."""

    name: str
    parameters: tuple[str, ...]
    path: str | None
    cases: dict[tuple[tuple[str, ...], str | None], str]
    environment: Environment


Value = ScalarValue | TableValue | FunctionValue | PatternValue


@dataclass(slots=True)
class LazyLet:
    """A let that has not been bound yet: what it is (scalar or table) is known when it is first read."""

    name: str
    value: ast.Expr
    environment: Environment
    resolved: Value | None = None
    busy: bool = False


class Environment:
    """A chain of name → value frames. Inner frames hide outer ones."""

    __slots__ = ("names", "parent", "row")

    def __init__(self, parent: Environment | None = None) -> None:
        self.parent = parent
        self.row: object = None
        self.names: dict[str, Value | LazyLet] = {}

    def lookup(self, name: str) -> Value | LazyLet | None:
        """The value of that name in this frame or an outer one."""
        frame: Environment | None = self
        while frame is not None:
            value = frame.names.get(name)
            if value is not None:
                return value
            frame = frame.parent
        return None

    def hides(self, column: str, name: str) -> bool:
        """Whether a name means a let or a parameter although a column is called so, too: where that is so only in another spelling."""
        return column != name and self.lookup(name) is not None

    def caller_row(self) -> object:
        """The row context of the caller, inside the body of a scalar function: its lets may depend on that row."""
        frame: Environment | None = self
        while frame is not None:
            if frame.row is not None:
                return frame.row
            frame = frame.parent
        return None

    def declare(self, name: str, value: Value | LazyLet) -> None:
        """Bind `name` in this frame."""
        self.names[name] = value

    def all_names(self) -> Iterator[str]:
        """Every visible name, for suggestions."""
        frame: Environment | None = self
        while frame is not None:
            yield from frame.names
            frame = frame.parent


def open_columns(*relations: Relation) -> OpenBag | None:
    """What stays open of columns that no schema lists where whole rows of these relations become one: see `OpenBag.suffixes`."""
    for relation in relations:
        if relation.open_bag is not None and relation.open_bag.suffixes:
            return relation.open_bag
    return None


def unique_name(wanted: str, taken: Iterable[str]) -> str:
    """`wanted`, or `wanted` with the first number that is free: Kusto's ``x``, ``x1``, ``x2`` …"""
    used = taken if isinstance(taken, (set, frozenset, dict)) else set(taken)
    if wanted not in used:
        return wanted
    number = 1
    while f"{wanted}{number}" in used:
        number += 1
    return f"{wanted}{number}"
