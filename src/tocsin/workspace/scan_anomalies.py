"""The anomalies of a scan: each over the rows that were read, what it finds into the lake as rows, so that rules, hunts and people see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.base.errors import TocsinError
from tocsin.content import Content
from tocsin.detect.anomaly import anomalies_of, run_past
from tocsin.detect.anomaly.rows import anomaly_row, behavior_row
from tocsin.ingest.casts import cast_rows
from tocsin.kql.types import Catalog
from tocsin.lake import Lake, TableBatch
from tocsin.query import QueryService
from tocsin.tables import INGESTION_TIME
from tocsin.tables.own import own

__all__ = ["run_anomalies"]


def run_anomalies(
    content: Content,
    lake: Lake,
    queries: QueryService,
    first: datetime,
    last: datetime,
    errors: list[TocsinError],
    *,
    progress: Callable[[], None],
) -> list[dict[str, Any]]:
    """What each anomaly that is on found over the events from `first` to `last`, or why it can't say (see `tocsin.detect.anomaly.past`).

    One that fails adds to `errors` and the others go on.
    """
    anomalies, complaints = anomalies_of(content.anomalies)
    errors.extend(complaints)
    told = []
    for anomaly in anomalies:
        if not anomaly.enabled:
            continue
        try:
            past = run_past(anomaly, queries, first, last, progress=progress)
        except TocsinError as error:
            errors.append(error)
            continue
        # The end of its window is when a finding would have been made.
        made = [row for end, f in past.findings if (row := anomaly_row(anomaly, f, end)) is not None]
        write_rows(
            lake, queries.catalog, own("behavior").name, [behavior_row(anomaly, f, end) for end, f in past.findings]
        )
        write_rows(lake, queries.catalog, own("anomalies").name, made)
        told.append(past.to_dict(len(made)))
    lake.flush()
    return told


def write_rows(lake: Lake, catalog: Catalog, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows of a table of our own, received when they say that they were made."""
    schema = catalog.table(table)
    if not rows or schema is None:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    texts = pa.table({name: pa.array([_text(row.get(name)) for row in rows], pa.string()) for name in names})
    cast = cast_rows(texts, schema)
    received = pc.cast(cast.column("TimeGenerated"), pa.timestamp("us"))
    if INGESTION_TIME in cast.column_names:
        cast = cast.drop_columns([INGESTION_TIME])
    lake.write([TableBatch(table, cast.append_column(INGESTION_TIME, received))])


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value, default=str).decode()
