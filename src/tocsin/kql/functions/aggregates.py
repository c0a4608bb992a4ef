"""Aggregates that give one number or one value: counts, sums, averages, extremes, bits and spread.

Nulls are left out. Over no rows a sum is 0, a count 0, an average NaN and an extreme null, as the engine has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin.kql.functions.conversion import convert
from tocsin.kql.functions.define import aggregate
from tocsin.kql.functions.model import Aggregate, FunctionError, Lowered, Operand
from tocsin.kql.functions.sql import ticks
from tocsin.kql.types import KqlType

__all__ = ["AGGREGATES", "condition"]

B, I, L, R, D = KqlType.BOOL, KqlType.INT, KqlType.LONG, KqlType.REAL, KqlType.DECIMAL  # noqa: E741
S, T, P, J = KqlType.STRING, KqlType.DATETIME, KqlType.TIMESPAN, KqlType.DYNAMIC
Lower = Callable[[Sequence[Operand], str], Lowered]


def condition(operand: Operand) -> str:
    """A predicate operand as SQL."""
    return operand.sql if operand.type is B else convert(operand, B).sql


def _filtered(operands: Sequence[Operand], at: int | None) -> tuple[list[Operand], str]:
    """The operands without the predicate at that place, and its FILTER clause."""
    if at is None:
        return list(operands), ""
    rest = [o for i, o in enumerate(operands) if i != at]
    return rest, f" FILTER (WHERE {condition(operands[at])})"


def _number(operand: Operand, function: str) -> Operand:
    if operand.type is J:
        return Operand(convert(operand, R).sql, R, cheap=False)
    if operand.type is B:
        return Operand(f"({operand.sql})::BIGINT", L, cheap=False)
    if operand.type.is_numeric or operand.type in (T, P):
        return operand
    raise FunctionError(
        f"{function} needs numbers; this is a {operand.type}",
        0,
        hint="Convert it, for example with tolong() or todouble().",
    )


def _double(operand: Operand) -> str:
    if operand.type is R:
        return operand.sql
    return f"({ticks(operand)})::DOUBLE" if operand.type is T else f"({operand.sql})::DOUBLE"


def _count(at: int | None) -> Lower:
    def lower(operands: Sequence[Operand], _order: str) -> Lowered:
        _, filter_ = _filtered(operands, at)
        return Lowered(f"count(*){filter_}", L)

    return lower


def _sum(at: int | None) -> Lower:
    def lower(operands: Sequence[Operand], _order: str) -> Lowered:
        rest, filter_ = _filtered(operands, at)
        value = _number(rest[0], "a sum")
        if value.type is R:
            return Lowered(f"coalesce(sum({value.sql}){filter_}, 0.0::DOUBLE)", R)
        if value.type is D:
            # Whole parts and fractions apart: a sum of decimals that does not fit is null, not an error.
            whole = f"sum(trunc({value.sql})::HUGEINT){filter_}"
            rest_ = f"sum((({value.sql} - trunc({value.sql})) * 100000000000000000)::HUGEINT){filter_}"
            return Lowered(f"k_decsum(coalesce({whole}, 0), coalesce({rest_}, 0))", D, copies=4)
        if value.type is T:
            raise FunctionError("datetimes can't be summed", 0)
        return Lowered(f"k_wrap(coalesce(sum({value.sql}){filter_}, 0))", P if value.type is P else L, copies=3)

    return lower


def _avg(at: int | None) -> Lower:
    def lower(operands: Sequence[Operand], _order: str) -> Lowered:
        rest, filter_ = _filtered(operands, at)
        value = _number(rest[0], "an average")
        if value.type is P:
            return Lowered(f"k_rlong(avg({value.sql}){filter_})", P, copies=4)
        if value.type is T:
            return Lowered(f"k_dtr(k_rlong(avg({ticks(value)}){filter_}))", T, True, copies=8)
        if value.type is D:
            return Lowered(f"try_cast(avg(({value.sql})::DOUBLE){filter_} AS DECIMAL(38,17))", D)
        return Lowered(f"coalesce(avg({_double(value)}){filter_}, 'nan'::DOUBLE)", R)

    return lower


def _extreme(function: str, at: int | None) -> Lower:
    def lower(operands: Sequence[Operand], _order: str) -> Lowered:
        rest, filter_ = _filtered(operands, at)
        value = rest[0]
        v = value.sql
        if value.type is R and function == "min":
            # NaN is the greatest in SQL; in KQL any NaN makes the result NaN.
            nan = f"coalesce(bool_or(isnan({v})){filter_}, FALSE)"
            return Lowered(f"CASE WHEN {nan} THEN 'nan'::DOUBLE ELSE min({v}){filter_} END", R, copies=2)
        if value.type is S:
            return Lowered(f"coalesce({function}({v}){filter_}, '')", S)
        if value.type is J:
            by_number = f"arg_{function}({v}, k_ddouble({v})){filter_}"
            return Lowered(f"coalesce({by_number}, {function}({v}::VARCHAR){filter_}::JSON)", J, copies=4)
        return Lowered(f"{function}({v}){filter_}", value.type, value.ticks)

    return lower


def _spread(function: str, at: int | None) -> Lower:
    def lower(operands: Sequence[Operand], _order: str) -> Lowered:
        rest, filter_ = _filtered(operands, at)
        x = _double(_number(rest[0], "a variance"))
        # Infinite values make SQL raise; the engine gives NaN.
        finite = f"CASE WHEN isfinite({x}) THEN {x} END"
        odd = f"coalesce(bool_or(NOT isfinite({x})){filter_}, FALSE)"
        return Lowered(
            f"CASE WHEN {odd} THEN 'nan'::DOUBLE ELSE coalesce({function}({finite}){filter_}, 0.0::DOUBLE) END",
            R,
            copies=3,
        )

    return lower


def _covariance(function: str, at: int | None) -> Lower:
    def lower(operands: Sequence[Operand], _order: str) -> Lowered:
        rest, filter_ = _filtered(operands, at)
        x, y = (_double(_number(o, "a covariance")) for o in rest)
        ok = f"isfinite({x}) AND isfinite({y})"
        odd = f"coalesce(bool_or(NOT ({ok})){filter_}, FALSE)"
        call = f"{function}(CASE WHEN {ok} THEN {x} END, CASE WHEN {ok} THEN {y} END){filter_}"
        return Lowered(f"CASE WHEN {odd} THEN 'nan'::DOUBLE ELSE coalesce({call}, 0.0::DOUBLE) END", R, copies=6)

    return lower


def _distinct(at: int | None) -> Lower:
    def lower(operands: Sequence[Operand], _order: str) -> Lowered:
        rest, filter_ = _filtered(operands, at)
        value = rest[0]
        return Lowered(f"count(DISTINCT {value.sql}){filter_}", L)

    return lower


def _bits(function: str) -> Lower:
    def lower(operands: Sequence[Operand], _order: str) -> Lowered:
        return Lowered(f"{function}(({operands[0].sql})::BIGINT)", L)

    return lower


AGGREGATES: tuple[Aggregate, ...] = (
    aggregate(
        "count(value: any?)",
        _count(None),
        "The number of rows; an argument changes nothing.",
        "summarize count() => 4",
        prefix="count",
    ),
    aggregate(
        "countif(predicate: any)",
        _count(0),
        "The number of rows for which the predicate is true.",
        "summarize countif(x > 2) => 2",
        prefix="countif",
        filter_param=0,
    ),
    aggregate(
        "sum(value: any)",
        _sum(None),
        "The sum; 0 over no rows. A sum of longs wraps at 64 bits.",
        "summarize sum(x) => 10",
        prefix="sum",
    ),
    aggregate(
        "sumif(value: any, predicate: any)",
        _sum(1),
        "The sum over the rows for which the predicate is true.",
        "summarize sumif(x, x > 2) => 7",
        prefix="sumif",
        filter_param=1,
    ),
    aggregate("avg(value: any)", _avg(None), "The average; NaN over no rows.", "summarize avg(x) => 2.5", prefix="avg"),
    aggregate(
        "avgif(value: any, predicate: any)",
        _avg(1),
        "The average over the rows for which the predicate is true.",
        "summarize avgif(x, x > 2) => 3.5",
        prefix="avgif",
        filter_param=1,
    ),
    aggregate(
        "min(value: any)",
        _extreme("min", None),
        "The smallest value; null over no rows.",
        "summarize min(x) => 1",
        prefix="min",
    ),
    aggregate(
        "minif(value: any, predicate: any)",
        _extreme("min", 1),
        "The smallest value of the rows for which the predicate is true.",
        "summarize minif(x, x > 2) => 3",
        prefix="minif",
        filter_param=1,
    ),
    aggregate(
        "max(value: any)",
        _extreme("max", None),
        "The greatest value; null over no rows.",
        "summarize max(x) => 4",
        prefix="max",
    ),
    aggregate(
        "maxif(value: any, predicate: any)",
        _extreme("max", 1),
        "The greatest value of the rows for which the predicate is true.",
        "summarize maxif(x, x < 3) => 2",
        prefix="maxif",
        filter_param=1,
    ),
    aggregate(
        "stdev(value: any)",
        _spread("stddev_samp", None),
        "The standard deviation of a sample; 0 of one value.",
        "summarize round(stdev(x), 6) => 1.290994",
        prefix="stdev",
    ),
    aggregate(
        "stdevif(value: any, predicate: any)",
        _spread("stddev_samp", 1),
        "As stdev, over the rows for which the predicate is true.",
        "summarize round(stdevif(x, x > 2), 6) => 0.707107",
        prefix="stdevif",
        filter_param=1,
    ),
    aggregate(
        "stdevp(value: any)",
        _spread("stddev_pop", None),
        "The standard deviation of a whole population.",
        "summarize round(stdevp(x), 6) => 1.118034",
        prefix="stdevp",
    ),
    aggregate(
        "variance(value: any)",
        _spread("var_samp", None),
        "The variance of a sample; 0 of one value.",
        "summarize round(variance(x), 6) => 1.666667",
        prefix="variance",
    ),
    aggregate(
        "varianceif(value: any, predicate: any)",
        _spread("var_samp", 1),
        "As variance, over the rows for which the predicate is true.",
        "summarize varianceif(x, x > 2) => 0.5",
        prefix="varianceif",
        filter_param=1,
    ),
    aggregate(
        "variancep(value: any)",
        _spread("var_pop", None),
        "The variance of a whole population.",
        "summarize variancep(x) => 1.25",
        prefix="variancep",
    ),
    aggregate(
        "variancepif(value: any, predicate: any)",
        _spread("var_pop", 1),
        "As variancep, over the rows for which the predicate is true.",
        "summarize variancepif(x, x > 2) => 0.25",
        prefix="variancepif",
        filter_param=1,
    ),
    aggregate(
        "covariance(x: any, y: any)",
        _covariance("covar_samp", None),
        "The covariance of a sample.",
        "summarize covariance(x, x * 2) => 3.3333333333333335",
        prefix="covariance",
    ),
    aggregate(
        "covarianceif(x: any, y: any, predicate: any)",
        _covariance("covar_samp", 2),
        "As covariance, over the rows for which the predicate is true.",
        "summarize covarianceif(x, x * 2, x > 2) => 1.0",
        prefix="covarianceif",
        filter_param=2,
    ),
    aggregate(
        "covariancep(x: any, y: any)",
        _covariance("covar_pop", None),
        "The covariance of a whole population.",
        "summarize covariancep(x, x * 2) => 2.5",
        prefix="covariancep",
    ),
    aggregate(
        "covariancepif(x: any, y: any, predicate: any)",
        _covariance("covar_pop", 2),
        "As covariancep, over the rows for which the predicate is true.",
        "summarize covariancepif(x, x * 2, x > 2) => 0.5",
        prefix="covariancepif",
        filter_param=2,
    ),
    aggregate(
        "dcount(value: any, accuracy: long?)",
        _distinct(None),
        "The number of distinct values, counted exactly here (Kusto estimates it).",
        "summarize dcount(x) => 4",
        prefix="dcount",
    ),
    aggregate(
        "dcountif(value: any, predicate: any, accuracy: long?)",
        _distinct(1),
        "The number of distinct values of the rows for which the predicate is true, counted exactly.",
        "summarize dcountif(x, x > 2) => 2",
        prefix="dcountif",
        filter_param=1,
    ),
    aggregate(
        "count_distinct(value: any)",
        _distinct(None),
        "The exact number of distinct values.",
        "summarize count_distinct(x) => 4",
        prefix="count_distinct",
    ),
    aggregate(
        "count_distinctif(value: any, predicate: any)",
        _distinct(1),
        "The exact number of distinct values of the rows for which the predicate is true.",
        "summarize count_distinctif(x, x > 2) => 2",
        prefix="count_distinctif",
        filter_param=1,
    ),
    aggregate(
        "binary_all_and(value: integer)",
        _bits("bit_and"),
        "The bits set in every value.",
        "summarize binary_all_and(x) => 0",
        prefix="binary_all_and",
    ),
    aggregate(
        "binary_all_or(value: integer)",
        _bits("bit_or"),
        "The bits set in any value.",
        "summarize binary_all_or(x) => 7",
        prefix="binary_all_or",
    ),
    aggregate(
        "binary_all_xor(value: integer)",
        _bits("bit_xor"),
        "The bits set in an odd number of values.",
        "summarize binary_all_xor(x) => 4",
        prefix="binary_all_xor",
    ),
)
