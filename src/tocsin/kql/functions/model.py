"""What a scalar or aggregate function is to the binder and the emitter.

A function is data: name, signatures, documentation, examples and a lowering. The binder resolves overloads and
implicit conversions by `signatures` and then asks `lower` for text of the engine's SQL. Lowerings get operands whose SQL is already made and typed,
so a function needs no knowledge of the tree. One entry and one test line add a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tocsin.base.errors import KqlError
from tocsin.kql.types import KqlType

__all__ = [
    "Aggregate",
    "Example",
    "FunctionError",
    "Lowered",
    "Operand",
    "Param",
    "RowLowered",
    "ScalarFunction",
    "Udf",
    "WindowLowered",
]


class FunctionError(KqlError):
    """A call that a function refuses. `argument` is the index of the argument that is to blame, or None for the call."""

    code = "KQL0300"

    def __init__(self, message: str, argument: int | None = None, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.argument = argument

    @property
    def index(self) -> int | None:
        """The argument that is to blame, counted from 0."""
        return self.argument

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Operand:
    """An argument, lowered. `sql` may be pasted several times only when `cheap` (a column or literal).

    `constant` marks a literal (after folding), whose Python value is `value` (see `ast.Literal.value` for the shapes).
    `ticks` tells the physical form of a datetime: True → BIGINT ticks, False → TIMESTAMP in microseconds.
    """

    sql: str
    type: KqlType
    constant: bool = False
    value: object = None
    cheap: bool = True
    ticks: bool = False


@dataclass(frozen=True, slots=True)
class Lowered:
    """A result of a lowering: SQL text, its KQL type and, for a datetime, its physical form.

    `copies` says how often the text, its macros written out, repeats the argument that it repeats most: where it is above 1
    an argument that is not `cheap` had better be a column of a stage below. `texts`, of an array of strings, is the engine's list of them.
    """

    sql: str
    type: KqlType
    ticks: bool = False
    copies: int = 1
    texts: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class WindowLowered(Lowered):
    """A lowering of a window function (prev, next, row_number, row_cumsum …).

    In `sql` and `stages` these tokens are replaced by the emitter, as plain text:
    ``{over}`` the window's definition (``PARTITION BY p ORDER BY o``, either part may be missing),
    ``{partition}`` the partition columns each followed by a comma and a space (``p, ``; nothing when there are none), to
    be used where the lowering adds a partition key of its own, ``{order}`` only the ``ORDER BY o`` part,
    ``{s0}``, ``{s1}`` … the columns that the stages gave.
    Each stage is a column of a SELECT level of its own, made in order before the level that computes `sql`.
    """

    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowLowered(Lowered):
    """A lowering that gives several columns: of an aggregate (arg_max, take_any, percentiles) or of a scalar function (series_stats,
    series_decompose …).

    `sql` is one call, computed as one column; each of `columns` is a text over it in which ``{row}`` stands for that column. Where only
    one value is wanted (``x = series_stats(s)``), it is the first column's; ``(a, b) = f(s)`` takes the columns in order. Without
    names, an aggregate's columns take its automatic name with one of `suffixes` (``_50``), and a scalar function's the texts of
    `names`, in which ``{function}`` and ``{0}`` stand for the names of the function and of its first argument.
    """

    columns: tuple[Lowered, ...] = ()
    suffixes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter: `types` it takes (empty: any), whether it may be left out or repeated, whether it must be a constant.

    An argument whose type is among `types` goes in as it is. Any other is converted (`conversion.implicit`) to the first of
    `types` that it converts to by itself, or the call is refused.
    """

    name: str
    types: tuple[KqlType, ...] = ()
    optional: bool = False
    repeated: bool = False
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """An executable example: a KQL expression and the value's text as `tostring` gives it."""

    kql: str
    result: str


@dataclass(frozen=True, slots=True)
class ScalarFunction:
    """One scalar function.

    `lower` takes the operands in order (after implicit conversions) and raises `FunctionError` for what it refuses, naming the argument's index.
    `window` marks prev, next, row_number and kin: the emitter hoists them to a SELECT level of their own and passes its OVER clause;
    `aliases` are old spellings that mean the same; `nullable` False means that the result is never null.
    `fold`, where given, computes the value in Python from constant arguments' values (shapes of `ast.Literal.value`, no nulls
    among them), so that a call of constants stays a constant; it gives NotImplemented for what it leaves to the engine.
    `refused` is the reason why this installation does not run the function at all: it is known by name only.
    """

    name: str
    params: tuple[Param, ...]
    returns: KqlType | None  # None: the lowering decides (iff, coalesce, bin …)
    lower: Callable[[Sequence[Operand]], Lowered]
    doc: str
    group: str
    aliases: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    window: bool = False
    nullable: bool = True
    deterministic: bool = True
    fold: Callable[[Sequence[object]], object] | None = field(default=None, compare=False)
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate function. `lower` gets operands and the ORDER BY list (`o`) of the incoming row order, "" when there is none.

    arg_max, arg_min and take_any get the value operand (not take_any) and then the operands to return, ``*`` already expanded; they and
    percentiles give a `RowLowered`. The value itself is its first column.

    `prefix` makes the automatic column name (``sum_x``); "" takes the function's own rule. `column_named` True: the argument's name alone
    (``arg_max`` puts its arguments' names). `filter_param` tells which operand of an ``…if`` form is its predicate, or None.
    """

    name: str
    params: tuple[Param, ...]
    lower: Callable[[Sequence[Operand], str], Lowered]
    doc: str
    prefix: str
    aliases: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    filter_param: int | None = None
    column_named: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Udf:
    """A Python function that the engine registers under `name`: element-wise over Arrow arrays.

    `apply` takes pyarrow arrays (one each parameter) and gives one pyarrow array; types are DuckDB type names.
    """

    name: str
    parameters: tuple[str, ...]
    returns: str
    apply: Callable[..., object] = field(compare=False)
