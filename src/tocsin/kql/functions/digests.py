"""Sketches: hll (distinct values) and tdigest (percentiles).

Kusto keeps small approximate states. Here a state holds everything it has seen - hashes of the distinct values, or the values with
their weights - so what comes out is exact. States are dynamics and can be stored and merged, but are not Kusto's.
"""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.kql.functions.aggregates import condition
from tocsin.kql.functions.conversion import convert
from tocsin.kql.functions.define import aggregate, scalar
from tocsin.kql.functions.model import Aggregate, FunctionError, Lowered, Operand, ScalarFunction
from tocsin.kql.functions.series import called
from tocsin.kql.functions.sql import ticks
from tocsin.kql.types import KqlType

__all__ = ["AGGREGATES", "FUNCTIONS"]

L, R, T, P, J = KqlType.LONG, KqlType.REAL, KqlType.DATETIME, KqlType.TIMESPAN, KqlType.DYNAMIC
_GROUP = "tdigest and hll"


def _hll(operands: Sequence[Operand], _order: str) -> Lowered:
    return _hll_of(operands[0], "")


def _hll_if(operands: Sequence[Operand], _order: str) -> Lowered:
    return _hll_of(operands[0], condition(operands[1]))


def _hll_of(value: Operand, test: str) -> Lowered:
    keep = f"({value.sql}) IS NOT NULL" + (f" AND {test}" if test else "")
    return Lowered(f"to_json(coalesce(list(DISTINCT hash({value.sql})) FILTER (WHERE {keep}), []))", J, copies=2)


def _hll_merge_rows(operands: Sequence[Operand], _order: str) -> Lowered:
    state = operands[0].sql
    lists = f"list(try_cast({state} AS UBIGINT[])) FILTER (WHERE json_type({state}) = 'ARRAY')"
    return Lowered(f"to_json(list_distinct(flatten(coalesce({lists}, []))))", J, copies=2)


def _hll_merge(operands: Sequence[Operand]) -> Lowered:
    lists = ", ".join(f"try_cast({o.sql} AS UBIGINT[])" for o in operands)
    joined = f"list_concat({lists})" if len(operands) > 1 else lists
    return Lowered(f"to_json(list_distinct({joined}))", J)


def _number(value: Operand) -> str:
    if value.type is T:
        return ticks(value)
    if value.type is J:
        return convert(value, R).sql
    if value.type.is_numeric or value.type is P:
        return value.sql
    raise FunctionError(f"tdigest needs numbers, datetimes or timespans; this is a {value.type}", 0)


def _tdigest(operands: Sequence[Operand], _order: str) -> Lowered:
    number = _number(operands[0])
    weight = f"({operands[1].sql})::DOUBLE" if len(operands) > 1 else "1.0::DOUBLE"
    lists = f"to_json(list({number}) FILTER (WHERE ({number}) IS NOT NULL))"
    weights = f"to_json(list({weight}) FILTER (WHERE ({number}) IS NOT NULL))"
    return Lowered(f"k_call('tdigest', json_array({lists}, {weights})::VARCHAR)::JSON", J, copies=4)


def _tdigest_merge_rows(operands: Sequence[Operand], _order: str) -> Lowered:
    return Lowered(f"k_call('merge_tdigest', to_json(list({operands[0].sql}))::VARCHAR)::JSON", J)


def _percentile_tdigest(operands: Sequence[Operand]) -> Lowered:
    from tocsin.kql.functions.regexes import typed

    found = called("percentile_tdigest", J)(operands[:2])
    if len(operands) < 3:
        return Lowered(f"k_ddouble({found.sql})", R)
    return typed(Operand(found.sql, J, cheap=False), operands[2], 2)


AGGREGATES: tuple[Aggregate, ...] = (
    aggregate(
        "hll(value: any, accuracy: long?)",
        _hll,
        "A state that counts distinct values, for dcount_hll and hll_merge.",
        "summarize dcount_hll(hll(x)) => 4",
        prefix="hll",
    ),
    aggregate(
        "hll_if(value: any, predicate: any, accuracy: long?)",
        _hll_if,
        "As hll, over the rows for which the predicate is true.",
        "summarize dcount_hll(hll_if(x, x > 2)) => 2",
        prefix="hll_if",
        filter_param=1,
    ),
    aggregate(
        "hll_merge(state: dynamic)",
        _hll_merge_rows,
        "The states of all rows as one.",
        "summarize h = hll(x) by y = x % 2 | summarize dcount_hll(hll_merge(h)) => 4",
        prefix="hll_merge",
    ),
    aggregate(
        "tdigest(value: any, weight: number?)",
        _tdigest,
        "A state that knows percentiles, for percentile_tdigest and tdigest_merge.",
        "summarize percentile_tdigest(tdigest(x), 50) => 2.0",
        prefix="tdigest",
    ),
    aggregate(
        "tdigest_merge(state: dynamic)",
        _tdigest_merge_rows,
        "The states of all rows as one.",
        "summarize t = tdigest(x) by y = x % 2 | summarize percentile_tdigest(tdigest_merge(t), 50) => 2.0",
        prefix="tdigest_merge",
        aliases=("merge_tdigests",),
    ),
)

FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "dcount_hll(state: dynamic)",
        L,
        "k_alen({0})",
        "How many distinct values a state has seen.",
        "isnull(dcount_hll(dynamic(null))) => True",
        group=_GROUP,
    ),
    scalar(
        "hll_merge(states: dynamic*)",
        J,
        _hll_merge,
        "Several states as one.",
        "dcount_hll(hll_merge(dynamic([1, 2]), dynamic([2, 3]))) => 3",
        group=_GROUP,
    ),
    scalar(
        "percentile_tdigest(state: dynamic, percentile: number, type: any?)",
        None,
        _percentile_tdigest,
        "The value at a percentile of a state.",
        "isnull(percentile_tdigest(dynamic(null), 50)) => True",
        group=_GROUP,
    ),
    scalar(
        "percentiles_array_tdigest(state: dynamic, percentiles: number|dynamic*)",
        J,
        called("percentiles_array_tdigest"),
        "The values at several percentiles of a state, as an array.",
        "isnull(percentiles_array_tdigest(dynamic(null), 50)) => True",
        group=_GROUP,
        aliases=("percentile_array_tdigest",),
    ),
    scalar(
        "percentrank_tdigest(state: dynamic, value: number|datetime|timespan)",
        R,
        called("percentrank_tdigest", R),
        "The share of the values that are at most this, from 0 to 100.",
        "isnull(percentrank_tdigest(dynamic(null), 50)) => True",
        group=_GROUP,
    ),
    scalar(
        "rank_tdigest(state: dynamic, value: number|datetime|timespan)",
        R,
        called("rank_tdigest", R),
        "How many values are at most this.",
        "isnull(rank_tdigest(dynamic(null), 50)) => True",
        group=_GROUP,
    ),
    scalar(
        "merge_tdigest(states: dynamic*)",
        J,
        called("merge_tdigest"),
        "Several states as one.",
        "isnull(merge_tdigest(dynamic(null), dynamic(null))) => True",
        group=_GROUP,
    ),
)
