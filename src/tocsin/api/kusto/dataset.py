"""Answers: version 1 (an object with tables) and version 2 (an array of frames), written piece by piece."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from tocsin.api.encode import PIECE, rows_json
from tocsin.api.kusto.asked import Ids
from tocsin.api.kusto.errors import one_api
from tocsin.base.errors import TocsinError
from tocsin.kql.types import KqlType
from tocsin.query import RequestOptions

__all__ = ["Answer", "command_v1", "version_1", "version_2"]

_DATA_TYPES = {
    KqlType.BOOL: "SByte",
    KqlType.INT: "Int32",
    KqlType.LONG: "Int64",
    KqlType.REAL: "Double",
    KqlType.DECIMAL: "SqlDecimal",
    KqlType.STRING: "String",
    KqlType.DATETIME: "DateTime",
    KqlType.TIMESPAN: "TimeSpan",
    KqlType.GUID: "Guid",
    KqlType.DYNAMIC: "Object",
}
_CHART = {
    "Visualization": None, "Title": None, "XColumn": None, "Series": None, "YColumns": None, "AnomalyColumns": None,
    "XTitle": None, "YTitle": None, "XAxis": None, "YAxis": None, "Legend": None, "YSplit": None, "Accumulate": False,
    "IsQuerySorted": False, "Kind": None, "Ymin": "NaN", "Ymax": "NaN", "Xmin": None, "Xmax": None,
}  # fmt: skip
"""What `render` can say, as the service writes it when nothing was said."""

_STRING, _INT, _GUID, _DATETIME = KqlType.STRING, KqlType.INT, KqlType.GUID, KqlType.DATETIME
_PROPERTIES = (("TableId", _INT), ("Key", _STRING), ("Value", KqlType.DYNAMIC))
_COMPLETION = (
    ("Timestamp", _DATETIME), ("ClientRequestId", _STRING), ("ActivityId", _GUID), ("SubActivityId", _GUID),
    ("ParentActivityId", _GUID), ("Level", _INT), ("LevelName", _STRING), ("StatusCode", _INT), ("StatusCodeName", _STRING),
    ("EventType", _INT), ("EventTypeName", _STRING), ("Payload", _STRING),
)  # fmt: skip
_STATUS = (
    ("Timestamp", _DATETIME), ("Severity", _INT), ("SeverityName", _STRING), ("StatusCode", _INT), ("StatusDescription", _STRING),
    ("Count", _INT), ("RequestId", _GUID), ("ActivityId", _GUID), ("SubActivityId", _GUID), ("ClientActivityId", _STRING),
)  # fmt: skip
_CONTENTS = (
    ("Ordinal", KqlType.LONG), ("Kind", _STRING), ("Name", _STRING), ("Id", _STRING), ("PrettyName", _STRING),
)  # fmt: skip
_TOO_LARGE = -2133196797
"""0x80DA0003 as a signed number, the status of a result that was cut."""


@dataclass(frozen=True)
class Answer:
    """A query's results with what their clients are told beside them. `cuts` are errors of results that were cut, by result."""

    results: Sequence[Any]
    ids: Ids
    options: RequestOptions
    text: str = ""
    cuts: Mapping[int, TocsinError] = field(default_factory=dict)

    def errors(self, index: int) -> list[dict[str, Any]]:
        """OneApiErrors of one result."""
        cut = self.cuts.get(index)
        return [{"error": one_api(cut, self.ids, text=self.text)[1]}] if cut is not None else []

    def all_errors(self) -> list[dict[str, Any]]:
        """OneApiErrors of all results."""
        return [e for i in range(len(self.results)) for e in self.errors(i)]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _chart(result: Any, *, ordered: bool = False) -> str:
    found = dict(_CHART)
    names = {name.lower(): name for name in found}
    if result.render is not None:
        found["Visualization"] = result.render.visualization
        for key, value in result.render.properties.items():
            found[names.get(key.lower(), key)] = value
    found["IsQuerySorted"] = ordered
    return orjson.dumps(found, default=str).decode()


def _consumption(answer: Answer) -> str:
    scanned = [r.scanned for r in answer.results]
    found = {
        "ExecutionTime": round(sum(r.seconds for r in answer.results), 7),
        "input_dataset_statistics": {
            "extents": {
                "total": sum(s.files + s.pruned for s in scanned),
                "scanned": sum(s.files for s in scanned),
            },
            "rows": {
                "total": sum(s.file_rows + s.memory_rows for s in scanned),
                "scanned": sum(s.file_rows + s.memory_rows for s in scanned),
            },
        },
        "dataset_statistics": [{"table_row_count": len(r), "table_size": r.table.nbytes} for r in answer.results],
    }
    return orjson.dumps(found).decode()


# ------------------------------------------------------------------------------------------------ version 2


def _columns(pairs: Sequence[tuple[str, KqlType]]) -> list[dict[str, str]]:
    return [{"ColumnName": n, "ColumnType": k.value} for n, k in pairs]


def _table(number: int, kind: str, name: str, columns: Sequence[tuple[str, KqlType]], rows: list[Any]) -> bytes:
    return orjson.dumps(
        {
            "FrameType": "DataTable",
            "TableId": number,
            "TableKind": kind,
            "TableName": name,
            "Columns": _columns(columns),
            "Rows": rows,
        }
    )


def _named(result: Any) -> list[tuple[str, KqlType]]:
    return [(c.name, c.type) for c in result.columns]


def _completion(answer: Answer) -> list[list[Any]]:
    ids = answer.ids
    head = [_now(), ids.client, ids.activity, ids.activity, ids.activity]
    rows: list[list[Any]] = []
    if answer.cuts and answer.options.defer:
        for cut in answer.cuts.values():
            payload = orjson.dumps({"Count": 1, "Text": one_api(cut, ids)[1]["@message"]}).decode()
            name = f"Query result set too large (E_QUERY_RESULT_SET_TOO_LARGE). ({_TOO_LARGE})"
            rows.append([*head, 2, "Error", _TOO_LARGE, name, 1, "QueryLimitsExceeded", payload])
    else:
        done = orjson.dumps({"Count": 1, "Text": "Query completed successfully"}).decode()
        rows.append([*head, 4, "Info", 0, "S_OK (0)", 4, "QueryInfo", done])
    for problem in (p for r in answer.results for p in r.problems):
        payload = orjson.dumps({"Count": 1, "Text": str(problem)}).decode()
        rows.append([*head, 3, "Warning", 0, "S_OK (0)", 4, "QueryInfo", payload])
    rows.append([*head, 6, "Stats", 0, "S_OK (0)", 0, "QueryResourceConsumption", _consumption(answer)])
    return rows


def version_2(answer: Answer) -> Iterator[bytes]:
    """The frames of an answer. Fragmented or progressive when the client asked so."""
    options = answer.options
    first = True
    for frame in _frames(answer):
        # A frame comes in pieces; the first of each opens with the separator.
        for index, piece in enumerate(frame):
            if index == 0:
                start = b"[" if first else b","
                yield (b"\n" if options.newlines and not first else b"") + start + piece
                first = False
            else:
                yield piece
    yield b"\n]" if options.newlines else b"]"


def _frames(answer: Answer) -> Iterator[Iterator[bytes]]:
    options = answer.options
    pieces = options.fragments or options.progressive
    header = {
        "FrameType": "DataSetHeader",
        "IsProgressive": options.progressive,
        "Version": "v2.0",
        "IsFragmented": pieces,
        "ErrorReportingPlacement": options.placement,
    }
    yield iter([orjson.dumps(header)])
    charts = [[i + 1, "Visualization", _chart(r)] for i, r in enumerate(answer.results)]
    yield iter([_table(0, "QueryProperties", "@ExtendedProperties", _PROPERTIES, charts)])
    for index, result in enumerate(answer.results):
        if pieces:
            yield from _in_fragments(answer, index, result)
        else:
            yield _whole(answer, index, result)
    number = len(answer.results) + 1
    yield iter(
        [
            _table(
                number,
                "QueryCompletionInformation",
                "QueryCompletionInformation",
                _COMPLETION,
                _completion(answer),
            )
        ]
    )
    errors = [] if options.defer else answer.all_errors()
    done: dict[str, Any] = {"FrameType": "DataSetCompletion", "HasErrors": bool(errors), "Cancelled": False}
    yield iter([orjson.dumps({**done, "OneApiErrors": errors} if errors else done)])


def _whole(answer: Answer, index: int, result: Any) -> Iterator[bytes]:
    """A result as one DataTable frame; an error that cut it stands in place of the row that would follow."""
    yield _table(index + 1, "PrimaryResult", "PrimaryResult", _named(result), [])[:-2]
    yield from rows_json(result, dynamic_text=False)
    errors = answer.errors(index)
    if errors and not answer.options.defer and answer.options.placement == "InData":
        yield (b"," if len(result) else b"") + orjson.dumps({"OneApiErrors": errors})
    yield b"]}"


def _in_fragments(answer: Answer, index: int, result: Any) -> Iterator[Iterator[bytes]]:
    number, options = index + 1, answer.options
    header = {
        "FrameType": "TableHeader",
        "TableId": number,
        "TableKind": "PrimaryResult",
        "TableName": "PrimaryResult",
        "Columns": _columns(_named(result)),
    }
    yield iter([orjson.dumps(header)])
    size = min(options.progressive_rows, PIECE) if options.progressive else PIECE
    sent, total = 0, len(result)
    fragment = orjson.dumps(
        {"FrameType": "TableFragment", "TableFragmentType": "DataAppend", "TableId": number, "Rows": []}
    )[:-2]
    for piece in rows_json(result, dynamic_text=False, piece=size):
        yield iter([fragment, piece.removeprefix(b","), b"]}"])
        sent = min(total, sent + size)
        if options.progressive:
            progress = {"FrameType": "TableProgress", "TableId": number, "TableProgress": round(100 * sent / total, 1)}
            yield iter([orjson.dumps(progress)])
    errors = [] if options.defer else answer.errors(index)
    if errors and options.placement == "InData":
        yield iter([fragment, orjson.dumps({"OneApiErrors": errors}), b"]}"])
    done: dict[str, Any] = {"FrameType": "TableCompletion", "TableId": number, "RowCount": total}
    if errors and options.placement != "EndOfDataset":
        done["OneApiErrors"] = errors
    yield iter([orjson.dumps(done)])


# ------------------------------------------------------------------------------------------------ version 1


def _columns_v1(pairs: Sequence[tuple[str, KqlType]]) -> list[dict[str, str]]:
    return [{"ColumnName": n, "DataType": _DATA_TYPES[k], "ColumnType": k.value} for n, k in pairs]


def _table_v1(number: int, columns: Sequence[tuple[str, KqlType]], rows: list[Any]) -> bytes:
    return orjson.dumps({"TableName": f"Table_{number}", "Columns": _columns_v1(columns), "Rows": rows})


def version_1(answer: Answer) -> Iterator[bytes]:
    """The tables of an answer: its results, their properties, the status, and the contents, which say what each of them is."""
    ids, results = answer.ids, answer.results
    exceptions: list[str] = []
    yield b'{"Tables":['
    for index, result in enumerate(results):
        told = [e["error"]["@message"] for e in answer.errors(index)]
        shown = [] if answer.options.defer else told
        exceptions += shown
        yield (b"," if index else b"") + _table_v1(index, _named(result), [])[:-2]
        yield from rows_json(result, dynamic_text=False)
        if shown:
            yield (b"," if len(result) else b"") + orjson.dumps({"Exceptions": shown})
        yield b"]}"
    count = len(results)
    charts = [[_chart(r)] for r in results]
    head = [ids.activity, ids.activity, ids.activity, ids.client]
    status: list[list[Any]] = []
    deferred = [one_api(c, ids)[1]["@message"] for c in answer.cuts.values()] if answer.options.defer else []
    status += [[_now(), 2, "Error", _TOO_LARGE, message, 1, *head] for message in deferred]
    if not deferred:
        status.append([_now(), 4, "Info", 0, "Query completed successfully", 1, *head])
    status.append([_now(), 6, "Stats", 0, _consumption(answer), 1, *head])
    contents: list[list[Any]] = [[i, "QueryResult", "PrimaryResult", str(uuid.uuid4()), ""] for i in range(count)]
    contents.append([count, "QueryProperties", "@ExtendedProperties", str(uuid.uuid4()), ""])
    contents.append([count + 1, "QueryStatus", "QueryStatus", str(uuid.UUID(int=0)), ""])
    yield b"," + _table_v1(count, [("Value", _STRING)], charts)
    yield b"," + _table_v1(count + 1, _STATUS, status)
    yield b"," + _table_v1(count + 2, _CONTENTS, contents)
    yield b'],"Exceptions":' + orjson.dumps(exceptions) + b"}" if exceptions else b"]}"


def command_v1(result: Any) -> Iterator[bytes]:
    """The answer to a management command: one table."""
    yield b'{"Tables":[' + _table_v1(0, _named(result), [])[:-2]
    yield from rows_json(result, dynamic_text=False)
    yield b"]}]}"
