"""Window functions: what a row sees of its neighbours. Their lowerings are `WindowLowered` (see model.py for the tokens)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin.kql.functions.conversion import convert
from tocsin.kql.functions.define import scalar
from tocsin.kql.functions.model import FunctionError, Lowered, Operand, ScalarFunction, WindowLowered
from tocsin.kql.functions.sql import null, ticks
from tocsin.kql.types import KqlType

__all__ = ["FUNCTIONS"]

B, I, L, R, D = KqlType.BOOL, KqlType.INT, KqlType.LONG, KqlType.REAL, KqlType.DECIMAL  # noqa: E741
S, T, P = KqlType.STRING, KqlType.DATETIME, KqlType.TIMESPAN
_GROUP = "Window"
_RUNNING = "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"


def _neighbour(function: str) -> Callable[[Sequence[Operand]], Lowered]:
    def lower(operands: Sequence[Operand]) -> Lowered:
        value = operands[0]
        offset = "1"
        if len(operands) > 1:
            if not (operands[1].constant and isinstance(operands[1].value, int)):
                raise FunctionError("the offset must be a constant", 1)
            if operands[1].value < 1:
                raise FunctionError("the offset must be at least 1", 1)
            offset = str(operands[1].value)
        fallback = null(value.type) if not value.ticks else "NULL::BIGINT"
        if len(operands) > 2:
            given = operands[2]
            if value.type is T and given.type is T and value.ticks != given.ticks:
                fallback = ticks(given) if value.ticks else f"k_ts({given.sql})"
            else:
                fallback = given.sql if given.type is value.type else convert(given, value.type).sql
        return WindowLowered(f"{function}({value.sql}, {offset}, {fallback}) OVER ({{over}})", value.type, value.ticks)

    return lower


def _restart(operands: Sequence[Operand], at: int) -> tuple[tuple[str, ...], str]:
    """The stage that numbers the runs between restarts, and the window over one run."""
    if len(operands) <= at:
        return (), "{over}"
    test = operands[at].sql
    stage = f"sum(CASE WHEN {test} THEN 1 ELSE 0 END) OVER ({{over}} {_RUNNING})"
    return (stage,), "PARTITION BY {partition}{s0} {order}"


def _row_number(operands: Sequence[Operand]) -> Lowered:
    stages, over = _restart(operands, 1)
    start = operands[0].sql if operands else "1"
    number = "{s" + str(len(stages)) + "}"  # a window may not stand in the macro's CASE twice
    if not operands:
        return WindowLowered(f"row_number() OVER ({over})", L, stages=stages)
    stages = (*stages, f"row_number() OVER ({over})")
    return WindowLowered(f"k_wrap({number}::HUGEINT - 1 + ({start})::BIGINT)", L, stages=stages)


def _row_cumsum(operands: Sequence[Operand]) -> Lowered:
    stages, over = _restart(operands, 1)
    term = operands[0]
    total = f"sum({term.sql}) OVER ({over} {_RUNNING})"
    if term.type is R:
        return WindowLowered(f"coalesce({total}, 0.0::DOUBLE)", R, stages=stages)
    if term.type is D:
        return WindowLowered(f"coalesce({total}, 0::DECIMAL(38,17))", D, stages=stages)
    return WindowLowered(
        "k_wrap({s" + str(len(stages)) + "})", P if term.type is P else L, stages=(*stages, f"coalesce({total}, 0)")
    )


def _changes(operands: Sequence[Operand]) -> tuple[tuple[str, ...], str, str, str]:
    """Stages that mark the rows where the term differs from the row before; the window; the marks' and the numbers' columns."""
    stages, over = _restart(operands, 1)
    term = operands[0].sql
    number = len(stages)
    place = f"row_number() OVER ({over})"
    mark = f"CASE WHEN {{s{number}}} > 1 AND {term} IS DISTINCT FROM lag({term}) OVER ({over}) THEN 1 ELSE 0 END"
    return (*stages, place, mark), over, f"{{s{number + 1}}}", f"{{s{number}}}"


def _row_rank_dense(operands: Sequence[Operand]) -> Lowered:
    stages, over, mark, _ = _changes(operands)
    return WindowLowered(f"(1 + sum({mark}) OVER ({over} {_RUNNING}))::BIGINT", L, stages=stages)


def _row_rank_min(operands: Sequence[Operand]) -> Lowered:
    stages, over, mark, number = _changes(operands)
    first = f"CASE WHEN {mark} = 1 OR {number} = 1 THEN {number} END"
    return WindowLowered(f"max({first}) OVER ({over} {_RUNNING})", L, stages=stages)


def _row_window_session(operands: Sequence[Operand]) -> Lowered:
    value = operands[0]
    moment = ticks(value) if value.type is T else value.sql
    longest, gap = operands[1].sql, operands[2].sql
    test = f"CASE WHEN {operands[3].sql} THEN 1 ELSE 0 END" if len(operands) > 3 else "0"
    run = "PARTITION BY {partition}{s0} {order}"
    group = "PARTITION BY {partition}{s0}, {s2}"
    stages = (
        f"sum({test}) OVER ({{over}} {_RUNNING})",
        f"CASE WHEN {moment} - lag({moment}) OVER ({run}) > {gap} THEN 1 ELSE 0 END",
        f"sum({{s1}}) OVER ({run} {_RUNNING})",
        f"first({moment}) OVER ({group} {{order}} ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
        # Only where the run between gaps is too long, its times are walked one after the other.
        f"coalesce(max({moment}) OVER ({group}) - {{s3}} > {longest}, FALSE)",
        f"list({moment}) FILTER (WHERE {{s4}}) OVER ({group} {{order}} {_RUNNING})",
    )
    sql = f"CASE WHEN {{s4}} THEN k_session_start({{s5}}, {longest}) ELSE {{s3}} END"
    return WindowLowered(sql, value.type, value.type is T, stages=stages)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    scalar(
        "prev(column: any, offset: long?, default: any?)",
        None,
        _neighbour("lag"),
        "The value in an earlier row; the default (null) where there is none.",
        "range x from 1 to 3 step 1 | serialize | extend p = prev(x) => ,1,2",
        group=_GROUP,
        window=True,
    ),
    scalar(
        "next(column: any, offset: long?, default: any?)",
        None,
        _neighbour("lead"),
        "The value in a later row; the default (null) where there is none.",
        "range x from 1 to 3 step 1 | serialize | extend n = next(x, 1, 0) => 2,3,0",
        group=_GROUP,
        window=True,
    ),
    scalar(
        "row_number(start: long?, restart: bool?)",
        L,
        _row_number,
        "The row's number, from `start` (1); it starts again where `restart` is true.",
        "range x from 1 to 3 step 1 | serialize | extend n = row_number() => 1,2,3",
        group=_GROUP,
        window=True,
    ),
    scalar(
        "row_cumsum(term: number|timespan, restart: bool?)",
        None,
        _row_cumsum,
        "The sum of the term up to this row; it starts again where `restart` is true.",
        "range x from 1 to 3 step 1 | serialize | extend n = row_cumsum(x) => 1,3,6",
        group=_GROUP,
        window=True,
    ),
    scalar(
        "row_rank_dense(term: any, restart: bool?)",
        L,
        _row_rank_dense,
        "The number of different neighbouring values up to this row.",
        "range x from 1 to 3 step 1 | serialize | extend n = row_rank_dense(x / 2) => 1,2,2",
        group=_GROUP,
        aliases=("row_rank",),
        window=True,
    ),
    scalar(
        "row_rank_min(term: any, restart: bool?)",
        L,
        _row_rank_min,
        "The number of the first row of this run of equal values.",
        "range x from 1 to 3 step 1 | serialize | extend n = row_rank_min(x / 2) => 1,2,2",
        group=_GROUP,
        window=True,
    ),
    scalar(
        "row_window_session(time: datetime, maxDistanceFromFirst: timespan, maxDistanceBetweenNeighbors: timespan, restart: bool?)",
        T,
        _row_window_session,
        "The start of the session that the row belongs to: a session ends after a gap or when it gets too long.",
        "range x from 1 to 3 step 1 | extend t = datetime(2020-01-01) + x * x * 1h | order by t asc | extend s = row_window_session(t, 1d, 3h) "
        "=> 2020-01-01T01:00:00.0000000Z,2020-01-01T01:00:00.0000000Z,2020-01-01T09:00:00.0000000Z",
        group=_GROUP,
        window=True,
    ),
)
