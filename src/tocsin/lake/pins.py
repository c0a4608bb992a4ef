"""What must stay whatever retention, deletion or purge say: rows that prove something which somebody still works on.

A pin names a table and a span of event time, because that is what evidence knows of the row that it was: an alert keeps values, not a place in the
lake. So a pin may hold a few rows more than the evidence, never fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tocsin.lake.snapshot import DataFile

__all__ = ["Pin", "Pins", "holding", "pinned"]


@dataclass(frozen=True, slots=True)
class Pin:
    """Rows of a table ("" is every table) whose TimeGenerated lies from `start` to `end`, both included, naive UTC. `holder` says who needs
    them, such as ``incident 12``."""

    table: str
    start: datetime
    end: datetime
    holder: str


Pins = Callable[[], Sequence[Pin]]
"""Gives the pins as they are now. Asked only when something is about to go: reading the evidence of every open incident takes its time."""


def holding(pins: Pins, table: str, file: DataFile) -> list[Pin]:
    """The pins that may hold rows of a file."""
    mine = [p for p in pins() if p.table in ("", table)]
    if file.times is None:
        return mine
    return [p for p in mine if p.start <= file.times[1] and p.end >= file.times[0]]


def pinned(pins: Sequence[Pin], table: str, rows: pa.Table) -> npt.NDArray[np.int64]:
    """For each row the place in `pins` of one that holds it, or -1. Of rows without any time nothing is known: each pin of the table holds them."""
    found = np.full(rows.num_rows, -1, np.int64)
    if "TimeGenerated" not in rows.column_names:
        found[:] = next((n for n, p in enumerate(pins) if p.table in ("", table)), -1)
        return found
    times = rows.column("TimeGenerated")
    micros = np.asarray(times.cast(pa.timestamp("us")).to_numpy().astype("datetime64[us]"))
    order = np.argsort(micros, kind="stable")
    ordered = micros[order]
    for index, pin in enumerate(pins):
        if pin.table in ("", table):
            low = np.searchsorted(ordered, np.datetime64(pin.start, "us"), "left")
            high = np.searchsorted(ordered, np.datetime64(pin.end, "us"), "right")
            found[order[low:high]] = index
    return found
