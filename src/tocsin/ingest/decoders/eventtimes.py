"""When Windows events happened: the best of the instants that an event and its shipper tell."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from tocsin.ingest.decoders.times import parse_times

__all__ = ["event_times", "row_times"]

_ZONE = 6
"""Characters of a zone: `+02:00`."""


def row_times(times: list[tuple[Any, Any, Any, Any]], offset: int | None = None) -> pa.Array:
    """The best instant of each row from (TimeCreated, UtcTime, EventTime, @timestamp).

    A TimeCreated with a zone is it. Otherwise the text without zone is local to the collector: how far it is from UTC shows in the
    rows that also hold an instant in UTC (Sysmon's UtcTime, else the shipper's @timestamp), and the others follow them, unless `offset` says it.
    """
    created, utc, local, stamp = zip(*times, strict=True)
    zoned = [c if c.__class__ is not str or c[-1:] == "Z" or c[-6:-5] in ("+", "-") else None for c in created]
    if None not in zoned:
        return parse_times(zoned).to_arrow()
    naive = [c if z is None else None for c, z in zip(created, zoned, strict=True)]
    frame = _frame(parse_times(zoned), parse_times(naive), parse_times(utc), parse_times(local), parse_times(stamp))
    if offset is None:
        offset = frame.select(_OFFSET.fill_null(0)).item()
    return _instants(frame.with_columns(pl.lit(offset).alias("offset")))


def event_times(
    created: pl.Series, utc: pl.Series, local: pl.Series, stamp: pl.Series, bodies: pl.Series
) -> tuple[pa.Array, dict[int, int]]:
    """The same from columns of text, with the body of each row: each has a collector of its own. Also gives the offsets that were found, by body."""
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, len(created))
    has_zone = created.str.ends_with("Z") | (
        created.str.slice(-6, 1).is_in(["+", "-"]) & (created.str.len_chars() >= _ZONE)
    )
    zoned = created.zip_with(has_zone.fill_null(False), nothing)
    if not zoned.null_count():
        return parse_times(zoned).to_arrow(), {}
    naive = created.zip_with(zoned.is_null(), nothing)
    frame = _frame(parse_times(zoned), parse_times(naive), parse_times(utc), parse_times(local), parse_times(stamp))
    frame = frame.with_columns(bodies.alias("body"))
    found = frame.group_by("body").agg(_OFFSET.alias("offset"))
    offsets = dict(zip(found["body"].to_list(), found["offset"].to_list(), strict=True))
    made = _instants(frame.with_columns(_OFFSET.over("body").fill_null(0).alias("offset")))
    # A body all of whose events name their zone has an offset that nobody asked for; it must not decide for others.
    asked = set(frame.filter(pl.col("zoned").is_null())["body"].unique().to_list())
    return made, {b: o for b, o in offsets.items() if o is not None and b in asked}


_OFFSET = ((pl.col("reference") - pl.col("naive")).dt.total_seconds() / 900).round().median().cast(pl.Int64) * 900


def _frame(
    zoned: pl.Series, created: pl.Series, sysmon: pl.Series, local: pl.Series, shipped: pl.Series
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "zoned": zoned,
            "naive": local.fill_null(created),
            "sysmon": sysmon,
            "shipped": shipped,
            "reference": sysmon.fill_null(shipped),
        }
    )


def _instants(frame: pl.DataFrame) -> pa.Array:
    moved = pl.col("naive") + pl.duration(seconds=pl.col("offset"))
    found = frame.select(pl.coalesce("zoned", "sysmon", moved, "shipped").alias("t"))
    return found["t"].cast(pl.Datetime("us")).to_arrow()
