"""The typed relational plan: what the binder makes and an emitter turns into one engine's SQL.

A plan is a tree of the nodes below. Columns have no names here, only **aliases** that are unique in the whole query
(``v1, v2 …``), so nodes can be fused, re-ordered and joined without renaming. A `Scalar` is an expression that has
already been lowered through the emitter's dialect: text of the engine's SQL over aliases, with its KQL type and the
aliases it reads. KQL's row order is data: every `Relation` of the binder carries the keys it is ordered by, and only
operators that depend on order put them into the plan.

Trees that several places read (``materialize``, tables bound by ``let``, sub-queries of ``toscalar`` and ``in``) are
`Shared` and become named CTEs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tocsin.kql.functions.model import Operand
from tocsin.kql.needs import Clauses
from tocsin.kql.types import KqlType

__all__ = [
    "Aggregate",
    "Compute",
    "Custom",
    "Expand",
    "Filter",
    "Join",
    "Limit",
    "OrderKey",
    "Pick",
    "Plan",
    "Scalar",
    "Scan",
    "Shared",
    "SharedRef",
    "Single",
    "Union",
    "Values",
]

NO_REFS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Scalar(Operand):
    """A bound, typed and lowered scalar expression.

    `refs` are the aliases it reads. `path` is set on an access into a `dynamic` (the value that is entered and the steps),
    so that ``tostring(d.a.b)`` can be lowered as one path. `window` marks a window call, which needs a SELECT level of its own;
    `subquery` marks a text that holds a SELECT and so may not stand inside an engine lambda; `volatile` marks rand() and kin.
    `weight` estimates how many engine expressions the text becomes once macros are expanded, which copy their arguments;
    `spread` is how often it repeats the alias that it repeats most.
    `must` is what has to hold in a scanned file for this condition to be true of one of its rows (`tocsin.kql.needs`).
    `json_text` is the alias of the string that this dynamic is the JSON of, where there is one: members can be read from it without
    parsing it first. `texts` is the engine's list of strings that this dynamic is the array of.
    `members` are the members of this dynamic, or of the JSON in this text, whose texts have columns of their own: (member, alias of its text,
    alias of its text when the value is read as JSON once more).
    `parts` are all columns of a function that gives several (name template, value), of which this scalar is the first.
    """

    refs: frozenset[str] = NO_REFS
    path: tuple[Scalar, tuple[str | int, ...]] | None = None
    window: bool = False
    subquery: bool = False
    volatile: bool = False
    weight: int = 1
    spread: int = 1
    json_text: str = field(default="", kw_only=True)
    texts: str = field(default="", kw_only=True)
    members: tuple[tuple[str, str, str], ...] = field(default=(), kw_only=True)
    parts: tuple[tuple[str, Scalar], ...] = ()
    must: Clauses = ()


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One key of a row order: an alias, its direction, and where nulls go. `real` keys sort NaN with the nulls."""

    alias: str
    descending: bool = False
    nulls_first: bool = True
    real: bool = False


@dataclass(slots=True, eq=False)
class Plan:
    """A relational node. `aliases` are the columns that it gives."""

    aliases: frozenset[str]


@dataclass(slots=True, eq=False)
class Scan(Plan):
    """A catalogue table. `columns`: alias → (physical column name, type)."""

    table: str
    columns: Mapping[str, tuple[str, KqlType]]


@dataclass(slots=True, eq=False)
class Single(Plan):
    """One row without columns (print, and the start of computed sources)."""


@dataclass(slots=True, eq=False)
class Values(Plan):
    """Literal rows (datatable): `columns` are aliases, `types` the engine-neutral types, `rows` hold constants."""

    columns: tuple[str, ...]
    types: tuple[tuple[KqlType, bool], ...]
    rows: Sequence[Sequence[Scalar]]
    ordinal: str


@dataclass(slots=True, eq=False)
class Filter(Plan):
    """Rows for which `predicate` is true."""

    input: Plan
    predicate: Scalar


@dataclass(slots=True, eq=False)
class Compute(Plan):
    """The input's columns and further ones."""

    input: Plan
    items: Sequence[tuple[str, Scalar]]


@dataclass(slots=True, eq=False)
class Aggregate(Plan):
    """GROUP BY `keys` with `aggregates`. Without keys always one row, unless `distinct`."""

    input: Plan
    keys: Sequence[tuple[str, Scalar]]
    aggregates: Sequence[tuple[str, Scalar]]
    distinct: bool = False


@dataclass(slots=True, eq=False)
class Limit(Plan):
    """The first `count` rows by `order` (any rows when it is empty), of each partition where `partition` is given."""

    input: Plan
    count: Scalar
    order: tuple[OrderKey, ...]
    partition: tuple[str, ...] = ()
    sample: bool = False


@dataclass(slots=True, eq=False)
class Pick(Plan):
    """One row of each group of equal `keys`: the first by `order`."""

    input: Plan
    keys: tuple[str, ...]
    order: tuple[OrderKey, ...]


@dataclass(slots=True, eq=False)
class Join(Plan):
    """`kind`: inner, left, right, full, cross, semi or anti (the last two give the left side's rows only)."""

    kind: str
    left: Plan
    right: Plan
    on: Scalar | None


@dataclass(slots=True, eq=False)
class Union(Plan):
    """Rows of all parts. Each part tells the scalar of an output alias over itself; only those that are read are asked for.

    `own` are the aliases that a part has a column for; the others are null (or '') there: `nulls` gives that value. `strings` are the
    aliases of strings.
    """

    parts: Sequence[tuple[Plan, Callable[[str], Scalar]]]
    own: Sequence[frozenset[str]]
    strings: frozenset[str]
    span: tuple[int, int]
    nulls: Callable[[str], Scalar]


@dataclass(slots=True, eq=False)
class Expand(Plan):
    """Zip the lists of each row into rows (mv-expand).

    `lists`: alias of the item → scalar that gives a list in the engine's form; `index`: alias of the 0-based position;
    `limit` caps the rows made from one row (None: as many as the list has). Shorter lists are padded with null.
    """

    input: Plan
    lists: Sequence[tuple[str, Scalar]]
    index: str
    limit: int | None


@dataclass(slots=True, eq=False)
class Custom(Plan):
    """A node whose SELECT the dialect writes itself: `build(names of the inputs' CTEs)` gives its text.

    `reads` are the aliases needed of each input. For constructs that no other node says (recursion, list UDFs).
    """

    inputs: Sequence[tuple[Plan, frozenset[str]]]
    build: Callable[[Sequence[str]], str]


@dataclass(slots=True, eq=False)
class Shared:
    """A tree that is read from several places under `name`. `needed` grows while readers are bound and emitted."""

    name: str
    plan: Plan
    materialized: bool = False
    needed: set[str] = field(default_factory=set)
    readers: int = 0
    weight: int = 1


@dataclass(slots=True, eq=False)
class SharedRef(Plan):
    """One reader of a `Shared`: `columns` maps this reader's own aliases to the shared tree's."""

    shared: Shared
    columns: Mapping[str, str]
