"""Aggregates that give lists, sets and bags, one row of the group, or percentiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin.kql.functions.aggregates import condition
from tocsin.kql.functions.conversion import convert, to_dynamic
from tocsin.kql.functions.define import aggregate
from tocsin.kql.functions.model import Aggregate, FunctionError, Lowered, Operand, RowLowered
from tocsin.kql.functions.sql import TIES, ticks
from tocsin.kql.types import KqlType

__all__ = ["AGGREGATES"]

B, I, L, R, D = KqlType.BOOL, KqlType.INT, KqlType.LONG, KqlType.REAL, KqlType.DECIMAL  # noqa: E741
S, T, P, J = KqlType.STRING, KqlType.DATETIME, KqlType.TIMESPAN, KqlType.DYNAMIC
Lower = Callable[[Sequence[Operand], str], Lowered]

MAX_ITEMS = 1048576
"""The most items that a list or set may have, and the default."""


def _by(order: str) -> str:
    return f" ORDER BY {order}" if order else ""


def _limit(operands: Sequence[Operand], at: int) -> int | None:
    if len(operands) <= at:
        return None
    size = operands[at]
    if not (size.constant and isinstance(size.value, int)):
        raise FunctionError("the greatest number of items must be a constant", at)
    return min(max(size.value, 0), MAX_ITEMS)


def _filter(*tests: str) -> str:
    kept = [t for t in tests if t]
    return f" FILTER (WHERE {' AND '.join(kept)})" if kept else ""


def _item(operand: Operand) -> str:
    """The value as it stands in a list before the list becomes JSON: what JSON can say stays typed, the rest is text."""
    if operand.type in (S, B, I, L):
        return operand.sql
    return to_dynamic(operand)


def _capped(sql: str, limit: int | None) -> str:
    return sql if limit is None else f"list_slice({sql}, 1, {limit})"


def _collect(*, distinct: bool, nulls: bool = False, predicate: bool = False) -> Lower:
    def lower(operands: Sequence[Operand], order: str) -> Lowered:
        value = operands[0]
        test = condition(operands[1]) if predicate else ""
        limit = _limit(operands, 2 if predicate else 1)
        item = _item(value)
        if value.type is J:
            keep = "" if nulls or not distinct else f"({value.sql}) IS NOT NULL"
            # Arrays are opened one level, so that a list of lists is one list.
            opened = f"CASE WHEN json_type({item}) = 'ARRAY' THEN ({item})::JSON[] ELSE [{item}] END"
            items = f"flatten(list({opened}{_by(order)}){_filter(keep, test)})"
            items = f"coalesce({items}, [])"
            if distinct:
                items = f"k_dedup({items})"
            return Lowered(f"to_json({_capped(items, limit)})", J, copies=2)
        keep = "" if nulls or value.type is S else f"({value.sql}) IS NOT NULL"
        if distinct and order in ("", TIES):
            items = f"list(DISTINCT {item}){_filter(keep, test)}"
            if order:
                items = f"list_sort({items})"
        else:
            items = f"list({item}{_by(order)}){_filter(keep, test)}"
            if distinct:
                items = f"k_dedup({items})"
        return Lowered(f"to_json(coalesce({_capped(items, limit)}, []))", J, copies=2)

    return lower


def _bag(*, predicate: bool) -> Lower:
    def lower(operands: Sequence[Operand], order: str) -> Lowered:
        value = operands[0]
        test = condition(operands[1]) if predicate else ""
        keep = f"json_type({value.sql}) = 'OBJECT'"
        return Lowered(f"k_merge(list({value.sql}{_by(order)}){_filter(keep, test)})", J, copies=2)

    return lower


def _dictionary(operands: Sequence[Operand], order: str) -> Lowered:
    value = operands[0]
    return Lowered(
        f"k_merge(list({value.sql}{_by(order)}){_filter(f'json_type({value.sql}) = ' + chr(39) + 'OBJECT' + chr(39))})",
        J,
        copies=2,
    )


def _columns(operands: Sequence[Operand]) -> tuple[str, tuple[Lowered, ...]]:
    """A struct of the operands and the texts that read its fields."""
    fields = ", ".join(f"'f{i}': {o.sql}" for i, o in enumerate(operands))
    columns = []
    for i, o in enumerate(operands):
        read = f"({{row}}).f{i}"
        columns.append(Lowered(f"coalesce({read}, '')" if o.type is S else read, o.type, o.ticks))
    return f"{{{fields}}}", tuple(columns)


def _arg(function: str) -> Lower:
    def lower(operands: Sequence[Operand], order: str) -> Lowered:
        row, columns = _columns(operands)
        value = operands[0]
        by = convert(value, R).sql if value.type is J else value.sql
        if order == TIES:
            # The greatest of (has a value, value, row): the same row whatever came first.
            sign, best = ("IS NOT NULL", "max") if function == "arg_max" else ("IS NULL", "min")
            sql = f"({best}({{'k': ({by}) {sign}, 'b': {by}, 'r': {row}}})).r"
        elif order:
            direction = "DESC" if function == "arg_max" else "ASC"
            sql = f"first({row} ORDER BY {by} {direction} NULLS LAST, {order})"
        else:
            # A group without any value still gives one of its rows.
            sql = f"coalesce({function}({row}, {by}), any_value({row}))"
        return RowLowered(sql, value.type, value.ticks, 2, columns)

    return lower


def _any(value: Operand, order: str, kept: str = "") -> str:
    """A value that isn't null, where there is one; of rows in no order the greatest."""
    if order != TIES:
        return f"any_value({value.sql}{_by(order)}){kept}"
    # JSON would come back as text.
    return (
        f"(max({{'k': ({value.sql}) IS NOT NULL, 'v': {value.sql}}}){kept}).v"
        if value.type is J
        else f"max({value.sql}){kept}"
    )


def _take_any(operands: Sequence[Operand], order: str) -> Lowered:
    if len(operands) == 1:
        value = operands[0]
        sql = _any(value, order)
        if value.type is S:
            sql = f"coalesce({sql}, '')"
        return RowLowered(sql, value.type, value.ticks, columns=(Lowered("{row}", value.type, value.ticks),))
    row, columns = _columns(operands)
    sql = f"max({row})" if order == TIES else f"any_value({row}{_by(order)})"
    return RowLowered(sql, operands[0].type, operands[0].ticks, columns=columns)


def _take_anyif(operands: Sequence[Operand], order: str) -> Lowered:
    value, test = operands
    sql = _any(value, order, _filter(condition(test)))
    return Lowered(f"coalesce({sql}, '')" if value.type is S else sql, value.type, value.ticks)


def _fraction(operand: Operand, at: int) -> float:
    if not operand.constant or not isinstance(operand.value, (int, float)):
        raise FunctionError("a percentile must be a constant from 0 to 100", at)
    if not 0 <= operand.value <= 100:
        raise FunctionError("a percentile must lie between 0 and 100", at)
    return float(operand.value)


def _percent_name(value: float) -> str:
    return "_" + f"{value:g}".replace(".", "_")


def _sortable(operand: Operand) -> Operand:
    if operand.type is J:
        return Operand(convert(operand, R).sql, R, cheap=False)
    if operand.type.is_numeric or operand.type in (T, P):
        return operand
    raise FunctionError(f"a percentile needs numbers, datetimes or timespans; this is a {operand.type}", 0)


def _percentiles(operands: Sequence[Operand], _order: str) -> Lowered:
    value = _sortable(operands[0])
    wanted = [_fraction(o, i + 1) for i, o in enumerate(_expanded(operands[1:]))]
    fractions = ", ".join(repr(p / 100) for p in wanted)
    columns = tuple(Lowered(f"({{row}})[{i + 1}]", value.type, value.ticks) for i in range(len(wanted)))
    suffixes = tuple(_percent_name(p) for p in wanted)
    return RowLowered(f"quantile_disc({value.sql}, [{fractions}])", value.type, value.ticks, 1, columns, suffixes)


def _expanded(operands: Sequence[Operand]) -> list[Operand]:
    """Percentiles are given one by one or as one constant array."""
    import json

    found: list[Operand] = []
    for operand in operands:
        if operand.type is J and operand.constant and operand.value is not None:
            found.extend(Operand(repr(number), R, True, number) for number in json.loads(str(operand.value)))
        else:
            found.append(operand)
    return found


def _array(sql: str, value: Operand) -> Lowered:
    """A list of sorted values as a dynamic array."""
    element = to_dynamic(Operand("z", value.type, ticks=value.ticks))
    return Lowered(f"to_json(list_transform({sql}, lambda z: {element}))", J)


def _percentiles_array(operands: Sequence[Operand], _order: str) -> Lowered:
    value = _sortable(operands[0])
    wanted = [_fraction(o, i + 1) for i, o in enumerate(_expanded(operands[1:]))]
    return _array(f"quantile_disc({value.sql}, [{', '.join(repr(p / 100) for p in wanted)}])", value)


def _weighted(operands: Sequence[Operand]) -> tuple[Operand, str, list[float]]:
    value = _sortable(operands[0])
    number = f"({ticks(value)})::DOUBLE" if value.type is T else f"({value.sql})::DOUBLE"
    weight = f"({operands[1].sql})::DOUBLE"
    wanted = [_fraction(o, i + 2) for i, o in enumerate(_expanded(operands[2:]))]
    fractions = f"[{', '.join(repr(p / 100) for p in wanted)}]::DOUBLE[]"
    return value, f"k_weighted(list({number}), list({weight}), {fractions})", wanted


def _back(value: Operand) -> tuple[str, bool]:
    """How a weighted percentile, found among reals, becomes the value's type again."""
    if value.type is T:
        return "k_dtr(k_rlong({x}))", True
    if value.type in (I, L, P):
        return "k_rlong({x})", False
    return "{x}", False


def _percentilesw(operands: Sequence[Operand], _order: str) -> Lowered:
    value, sql, wanted = _weighted(operands)
    back, in_ticks = _back(value)
    kind = L if value.type is I else R if value.type is D else value.type
    columns = tuple(Lowered(back.replace("{x}", f"({{row}})[{i + 1}]"), kind, in_ticks) for i in range(len(wanted)))
    return RowLowered(sql, kind, in_ticks, 1, columns, tuple(_percent_name(p) for p in wanted))


def _percentilesw_array(operands: Sequence[Operand], _order: str) -> Lowered:
    value, sql, _ = _weighted(operands)
    back, in_ticks = _back(value)
    kind = L if value.type is I else R if value.type is D else value.type
    return _array(f"list_transform({sql}, lambda x: {back.replace('{x}', 'x')})", Operand("", kind, ticks=in_ticks))


def _schema(operands: Sequence[Operand], _order: str) -> Lowered:
    return Lowered(f"k_buildschema(list(({to_dynamic(operands[0])})::VARCHAR))::JSON", J)


AGGREGATES: tuple[Aggregate, ...] = (
    aggregate(
        "make_list(value: any, maxSize: long?)",
        _collect(distinct=False),
        "An array of the values in the rows' order; nulls are left out. Arrays are opened one level.",
        "summarize make_list(x) => [1,2,3,4]",
        prefix="list",
        aliases=("makelist",),
    ),
    aggregate(
        "make_list_if(value: any, predicate: any, maxSize: long?)",
        _collect(distinct=False, predicate=True),
        "As make_list, over the rows for which the predicate is true.",
        "summarize make_list_if(x, x > 2) => [3,4]",
        prefix="list",
        filter_param=1,
    ),
    aggregate(
        "make_list_with_nulls(value: any)",
        _collect(distinct=False, nulls=True),
        "An array of the values, nulls too.",
        "summarize make_list_with_nulls(x) => [1,2,3,4]",
        prefix="list",
    ),
    aggregate(
        "make_set(value: any, maxSize: long?)",
        _collect(distinct=True),
        "An array of the distinct values.",
        "summarize make_set(x) => [1,2,3,4]",
        prefix="set",
        aliases=("makeset",),
    ),
    aggregate(
        "make_set_if(value: any, predicate: any, maxSize: long?)",
        _collect(distinct=True, predicate=True),
        "As make_set, over the rows for which the predicate is true.",
        "summarize make_set_if(x, x > 2) => [3,4]",
        prefix="set",
        filter_param=1,
    ),
    aggregate(
        "make_bag(value: dynamic, maxSize: long?)",
        _bag(predicate=False),
        "One bag of all bags' keys; of equal keys the first counts.",
        'summarize make_bag(bag_pack(tostring(x), x)) => {"1":1,"2":2,"3":3,"4":4}',
        prefix="bag",
    ),
    aggregate(
        "make_bag_if(value: dynamic, predicate: any, maxSize: long?)",
        _bag(predicate=True),
        "As make_bag, over the rows for which the predicate is true.",
        'summarize make_bag_if(bag_pack(tostring(x), x), x > 3) => {"4":4}',
        prefix="bag",
        filter_param=1,
    ),
    aggregate(
        "make_dictionary(value: dynamic, maxSize: long?)",
        _dictionary,
        "The old name of make_bag.",
        "summarize make_dictionary(bag_pack('a', x)) => {\"a\":1}",
        prefix="dictionary",
    ),
    aggregate(
        "arg_max(value: any, returned: any?*)",
        _arg("arg_max"),
        "The row where the value is greatest: the value and the named columns, or all with ``*``.",
        "summarize arg_max(x, x) => 4",
        prefix="",
        aliases=("argmax",),
        column_named=True,
    ),
    aggregate(
        "arg_min(value: any, returned: any?*)",
        _arg("arg_min"),
        "The row where the value is smallest: the value and the named columns, or all with ``*``.",
        "summarize arg_min(x, x) => 1",
        prefix="",
        aliases=("argmin",),
        column_named=True,
    ),
    aggregate(
        "take_any(value: any, more: any?*)",
        _take_any,
        "The values of one row of the group.",
        "summarize take_any(x) > 0 => True",
        prefix="",
        column_named=True,
    ),
    aggregate(
        "any(value: any, more: any?*)",
        _take_any,
        "The old name of take_any; its columns are named any_….",
        "summarize any(x) > 0 => True",
        prefix="any",
    ),
    aggregate(
        "take_anyif(value: any, predicate: any)",
        _take_anyif,
        "A value of a row for which the predicate is true.",
        "summarize take_anyif(x, x > 3) => 4",
        prefix="",
        filter_param=1,
        aliases=("anyif",),
        column_named=True,
    ),
    aggregate(
        "percentile(value: any, percentile: any)",
        _percentiles,
        "The value at nearest rank: one that occurs.",
        "summarize percentile(x, 50) => 2",
        prefix="percentile",
    ),
    aggregate(
        "percentiles(value: any, percentiles: any*)",
        _percentiles,
        "Several percentiles as columns.",
        "summarize percentiles(x, 50) => 2",
        prefix="percentile",
    ),
    aggregate(
        "percentiles_array(value: any, percentiles: any*)",
        _percentiles_array,
        "Several percentiles as an array.",
        "summarize percentiles_array(x, 25, 50, 75) => [1,2,3]",
        prefix="percentiles",
    ),
    aggregate(
        "percentilew(value: any, weight: any, percentile: any)",
        _percentilesw,
        "The percentile of values that count `weight` times.",
        "summarize percentilew(x, x, 50) => 3",
        prefix="percentile",
    ),
    aggregate(
        "percentilesw(value: any, weight: any, percentiles: any*)",
        _percentilesw,
        "Several weighted percentiles as columns.",
        "summarize percentilesw(x, x, 50) => 3",
        prefix="percentile",
    ),
    aggregate(
        "percentilesw_array(value: any, weight: any, percentiles: any*)",
        _percentilesw_array,
        "Several weighted percentiles as an array.",
        "summarize percentilesw_array(x, x, 10, 50) => [1,3]",
        prefix="percentiles",
    ),
    aggregate(
        "buildschema(value: dynamic)",
        _schema,
        "The smallest schema that admits all values.",
        'summarize buildschema(bag_pack(\'a\', x)) => {"a":"long"}',
        prefix="schema",
    ),
)
