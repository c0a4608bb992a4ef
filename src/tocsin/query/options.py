"""Request properties: what a client may set for one request beside its text, by Kusto's names and meaning.

They come with the request (`ClientRequestProperties.Options`) or stand in the text (``set notruncation;``), the text's winning. Source:
learn.microsoft.com/kusto/api/rest/request-properties. A property that would change the answer and isn't known here is refused by name;
hints about how to execute are without effect, since every answer is the same with and without them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.base.errors import QueryError, did_you_mean
from tocsin.kql.types import KqlType
from tocsin.kql.values import EPOCH_TICKS, datetime_text, parse_datetime, parse_timespan, timespan_text
from tocsin.lake.engine import Limits, Window

__all__ = ["RequestOptions", "read_options", "read_parameters"]

_TAKES_EFFECT = frozenset(
    {
        "deferpartialqueryfailures",
        "max_memory_consumption_per_query_per_node",
        "norequesttimeout",
        "notruncation",
        "query_datetimescope_column",
        "query_datetimescope_from",
        "query_datetimescope_to",
        "query_language",
        "query_now",
        "query_results_progressive_row_count",
        "query_take_max_records",
        "request_app_name",
        "request_user",
        "results_error_reporting_placement",
        "results_progressive_enabled",
        "results_v2_fragment_primary_tables",
        "results_v2_newlines_between_frames",
        "servertimeout",
        "truncationmaxrecords",
        "truncationmaxsize",
    }
)
_REFUSED = {
    "query_bin_auto_at": "Write it in the query: set query_bin_auto_at=…;",
    "query_bin_auto_size": "Write it in the query: set query_bin_auto_size=…;",
    "query_force_row_level_security": "Rights are by role here; there is no row level security to force.",
}
"""Properties that would change the answer."""

_COLUMNS = {"timegenerated": "TimeGenerated", "_timereceived": "_TimeReceived", "ingestion_time": "_TimeReceived"}
_PLACEMENTS = {"in_data": "InData", "end_of_table": "EndOfTable", "end_of_dataset": "EndOfDataset"}


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What a request asked for. `limits` is to be handed to `QueryService.run`, which bounds it by the role's."""

    limits: Limits
    window: Window | None = None
    now: datetime | None = None
    take: int | None = None
    """Rows that the client asked for at most: more is no error."""
    defer: bool = False
    placement: str = "InData"
    progressive: bool = False
    fragments: bool = False
    newlines: bool = False
    progressive_rows: int = 5_000
    application: str = ""
    user: str = ""
    unknown: tuple[str, ...] = field(default=())


def read_options(text: str, given: Mapping[str, Any], *, base: Limits, most: Limits) -> RequestOptions:
    """The options of a request.

    Args:
        text: the query; its ``set`` statements count. Text that can't be parsed has none: compiling it says what is wrong.
        given: what came beside it, as JSON.
        base: limits of a request that sets none.
        most: what the asker may have at most: what ``notruncation`` and ``norequesttimeout`` mean here.

    Raises:
        QueryError: QRY0014 for a value that isn't one, or for a property that would change the answer and isn't supported.
    """
    values = {k.lower(): v for k, v in given.items() if v is not None}
    for name in values:
        if name in _REFUSED:
            raise QueryError(
                f"The request property {name} is not supported beside a query.", code="QRY0014", hint=_REFUSED[name]
            )
    values |= _in_text(text)
    limits, take = _limits(values, base, most)
    if str(values.get("query_language", "kql")).lower() not in ("kql", "csl", "kusto", "auto"):
        raise QueryError(
            f"query_language {values['query_language']!r} is not supported; queries are written in KQL.", code="QRY0014"
        )
    placement = str(values.get("results_error_reporting_placement", "in_data")).lower()
    if placement not in _PLACEMENTS:
        raise _wrong("results_error_reporting_placement", placement, did_you_mean(placement, _PLACEMENTS))
    return RequestOptions(
        limits=limits,
        window=_window(values),
        now=_moment("query_now", values.get("query_now")),
        take=take,
        defer=_flag(values, "deferpartialqueryfailures"),
        placement=_PLACEMENTS[placement],
        progressive=_flag(values, "results_progressive_enabled"),
        fragments=_flag(values, "results_v2_fragment_primary_tables"),
        newlines=_flag(values, "results_v2_newlines_between_frames"),
        progressive_rows=_count(values, "query_results_progressive_row_count") or 5_000,
        application=str(values.get("request_app_name", "")),
        user=str(values.get("request_user", "")),
        unknown=tuple(sorted(values.keys() - _TAKES_EFFECT)),
    )


def _limits(values: Mapping[str, Any], base: Limits, most: Limits) -> tuple[Limits, int | None]:
    limits = base
    if _flag(values, "notruncation"):
        limits = _set(limits, most, "rows", most.rows)
        limits = _set(limits, most, "result_bytes", most.result_bytes)
    if (rows := _count(values, "truncationmaxrecords")) is not None:
        limits = _set(limits, most, "rows", rows, "truncationmaxrecords")
    if (size := _count(values, "truncationmaxsize")) is not None:
        limits = _set(limits, most, "result_bytes", size, "truncationmaxsize")
    if (memory := _count(values, "max_memory_consumption_per_query_per_node")) is not None:
        limits = _set(limits, most, "memory_bytes", memory, "max_memory_consumption_per_query_per_node")
    if _flag(values, "norequesttimeout"):
        limits = _set(limits, most, "seconds", most.seconds)
    elif "servertimeout" in values:
        limits = _set(limits, most, "seconds", _seconds(values["servertimeout"]), "servertimeout")
    take = _count(values, "query_take_max_records")
    if take is not None and (limits.rows is None or take <= limits.rows):
        return _set(limits, most, "rows", take, "query_take_max_records"), take
    return limits, None


def _set(limits: Limits, most: Limits, field_: str, value: Any, name: str = "") -> Limits:
    """The limits with that one set: named by the request property, or by the setting that bounds the role."""
    names = {**limits.settings, field_: name or most.settings.get(field_, "")}
    return replace(limits, **{field_: value}, settings={k: v for k, v in names.items() if v})


def _window(values: Mapping[str, Any]) -> Window | None:
    start = _moment("query_datetimescope_from", values.get("query_datetimescope_from"))
    end = _moment("query_datetimescope_to", values.get("query_datetimescope_to"))
    if start is None and end is None:
        return None
    given = str(values.get("query_datetimescope_column", "TimeGenerated"))
    column = _COLUMNS.get(given.lower())
    if column is None:
        raise _wrong(
            "query_datetimescope_column", given, "A query's time scope is on TimeGenerated or _TimeReceived here."
        )
    return Window(start, end, column)


def _in_text(text: str) -> dict[str, Any]:
    if "set" not in text:
        return {}
    from tocsin.base.errors import KqlError
    from tocsin.kql import ast
    from tocsin.kql.parser import parse

    try:
        statements = parse(text).statements
    except (KqlError, RecursionError):
        return {}
    found: dict[str, Any] = {}
    for statement in statements:
        if isinstance(statement, ast.SetOption) and statement.name.lower() in _TAKES_EFFECT:
            value = statement.value
            if value is None:
                found[statement.name.lower()] = True
            elif isinstance(value, ast.Literal):
                found[statement.name.lower()] = _literal(value)
            elif isinstance(value, ast.Name):
                found[statement.name.lower()] = value.name
            else:
                raise _wrong(statement.name, text[slice(*value.span)], "A constant stands there.")
    return found


def _literal(node: Any) -> Any:
    """A constant of a text as a Python value."""
    if node.value is None:
        return None
    if node.type is KqlType.TIMESPAN:
        return timedelta(microseconds=node.value // 10)
    if node.type is KqlType.DATETIME:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=(node.value - EPOCH_TICKS) // 10)
    return node.value


def _flag(values: Mapping[str, Any], name: str) -> bool:
    value = values.get(name, False)
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    raise _wrong(name, value, "true or false.")


def _count(values: Mapping[str, Any], name: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(name, value, "A whole number above 0.")
    return value


_PYTHON = re.compile(r"\s*(?:(\d+) days?, )?(\d{1,2}):(\d\d):(\d\d)(?:\.(\d{1,6}))?\s*", re.ASCII)
"""How Python writes a timedelta; its Kusto client sends options by str()."""


def _seconds(value: Any) -> float:
    found: float | None = None
    if isinstance(value, timedelta):
        found = value.total_seconds()
    elif isinstance(value, str):
        match = _PYTHON.fullmatch(value)
        if match:
            days, hours, minutes, seconds, fraction = match.groups()
            whole = int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(seconds)
            found = whole + float(f"0.{fraction or 0}")
        else:
            inner = re.fullmatch(r"\s*(?:time|timespan)\s*\((.*)\)\s*", value)
            ticks = parse_timespan(inner[1] if inner else value)
            found = None if ticks is None else ticks / 10_000_000
    if found is None or found <= 0:
        raise _wrong("servertimeout", value, "A timespan such as 00:04:00 or 4m.")
    return found


def _moment(name: str, value: Any) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    if isinstance(value, str):
        inner = re.fullmatch(r"\s*datetime\s*\((.*)\)\s*", value)
        ticks = parse_datetime((inner[1] if inner else value).strip("'\""))
        if ticks is not None:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=(ticks - EPOCH_TICKS) // 10)
    raise _wrong(name, value, "A datetime such as 2026-01-31T12:00:00Z.")


def _wrong(name: str, value: Any, hint: str) -> QueryError:
    return QueryError(f"The request property {name} can't be {str(value)[:100]!r}.", code="QRY0014", hint=hint)


def read_parameters(text: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of ``declare query_parameters`` as `QueryService.run` takes them.

    Clients send KQL constants as text (``datetime(2026-01-31)``, ``'abc'``, ``42``), and for strings also the bare text. Which it is depends
    on the declared type.

    Raises QueryError QRY0014 for a value that is no constant of the declared type.
    """
    if not given:
        return {}
    from tocsin.base.errors import KqlError
    from tocsin.kql import ast
    from tocsin.kql.parser import parse

    try:
        statements = parse(text).statements
    except (KqlError, RecursionError):
        return {}
    declared = {p.name: p.type for s in statements if isinstance(s, ast.DeclareParameters) for p in s.params}
    found: dict[str, Any] = {}
    for name, value in given.items():
        kind = declared.get(name)
        if kind is None:
            continue  # as in Kusto, a value that the query doesn't declare is not used
        found[name] = _constant(name, value, kind) if isinstance(value, str) else value
    return found


def _constant(name: str, value: str, kind: KqlType) -> Any:
    """The constant that a text stands for: a quoted string or ``type(…)`` by the language's own parser, otherwise the text itself."""
    from tocsin.base.errors import KqlError
    from tocsin.kql import ast
    from tocsin.kql.parser import parse

    text = value.strip()
    looks = text[:1] in ("'", '"', "@", "h", "H", "-") or re.match(r"[a-z]+\s*\(", text) or text[:1].isdigit()
    if looks:
        try:
            (statement,) = parse(f"let value = {text}; print 0").statements[:1]
        except (KqlError, RecursionError, ValueError):
            statement = None
        node = statement.value if isinstance(statement, ast.Let) else None
        if isinstance(node, ast.Literal) and (node.type is kind or kind is not KqlType.STRING):
            if node.type is kind or node.type is KqlType.STRING or (node.type.is_numeric and kind.is_numeric):
                return _exact(node)
            raise QueryError(
                f"The value of the query parameter {name} is a {node.type.value}, not a {kind.value}.", code="QRY0014"
            )
    return value


def _exact(node: Any) -> Any:
    """The constant's value; datetimes and timespans as text, which keeps the seventh digit of their seconds."""
    if node.value is not None and node.type is KqlType.DATETIME:
        return datetime_text(node.value)
    if node.value is not None and node.type is KqlType.TIMESPAN:
        return timespan_text(node.value)
    return node.value
