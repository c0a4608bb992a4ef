"""What a scalar or aggregate function is to the binder and the emitter.

A function is data: name, signatures, documentation, examples and a lowering. The binder resolves overloads and
implicit conversions by `signatures` and then asks `lower` for text of the engine's SQL. Lowerings get operands whose SQL is already made and typed,
so a function needs no knowledge of the tree. One entry and one test line add a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tocsin.kql.types import KqlType

__all__ = ["Aggregate", "Example", "Lowered", "Operand", "Param", "ScalarFunction", "Udf"]


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
    """A result of a lowering: SQL text, its KQL type and, for a datetime, its physical form."""

    sql: str
    type: KqlType
    ticks: bool = False


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter: `types` it takes (empty: any), whether it may be left out or repeated, whether it must be a constant."""

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


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate function. `lower` gets operands and the ORDER BY key (`o`) of the incoming row order, "" when there is none.

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


@dataclass(frozen=True, slots=True)
class Udf:
    """A Python function that the engine registers under `name`: element-wise over Arrow arrays.

    `apply` takes pyarrow arrays (one each parameter) and gives one pyarrow array; types are DuckDB type names.
    """

    name: str
    parameters: tuple[str, ...]
    returns: str
    apply: Callable[..., object] = field(compare=False)
