"""The child process of `test_kill`: appends, rolls, merges and gets killed. Run by multiprocessing's fork server."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from tocsin.lake import Body, Lake, LakeSettings, TableBatch

START = datetime(2024, 5, 1, tzinfo=UTC)
SETTINGS = LakeSettings(
    roll_seconds=0.02,
    compact_files=4,
    log_segment_bytes=8192,
    log_group_bytes=2048,
    orphan_seconds=0.5,
    row_group_rows=1000,
)
ROWS = 5


def decode(group: Sequence[tuple[int, Body]]) -> list[TableBatch]:
    """Each body is a number n: rows n·5…n·5+4 for A_CL, one for B_CL when n is divisible by 7, a bulk-free C_CL otherwise."""
    numbers = [struct.unpack_from("<Q", body.data)[0] for _, body in group]
    batches = [batch("A_CL", [n * ROWS + i for n in numbers for i in range(ROWS)])]
    if rare := [n for n in numbers if n % 7 == 0]:
        batches.append(batch("B_CL", rare))
    if others := [n for n in numbers if n % 7]:
        batches.append(batch("C_CL", others))
    return batches


def batch(table: str, numbers: list[int]) -> TableBatch:
    times = pa.array([START] * len(numbers), pa.timestamp("us", "UTC"))
    return TableBatch(table, pa.table({"Number": numbers, "TimeGenerated": times, "_TimeReceived": times}))


def main(folder: str, first: int, seed: int, acknowledged: int) -> None:
    """Writes bodies first, first+1, … until killed; every durable number goes to the pipe `acknowledged`."""
    chance = random.Random(seed)
    lake = Lake.open(Path(folder), settings=SETTINGS)
    lake.recover(decode)
    waiting: list[tuple[Future[int], list[int]]] = []
    number = first
    while True:
        numbers = list(range(number, number + chance.randrange(1, 6)))
        number = numbers[-1] + 1
        bodies = [Body("test", struct.pack("<Q", n) + os.urandom(chance.randrange(200)), START) for n in numbers]
        waiting.append((lake.log.append(bodies), numbers))
        while len(waiting) > chance.randrange(4):
            future, done = waiting.pop(0)
            seq = future.result()
            os.write(acknowledged, b"".join(struct.pack("<Q", n) for n in done))
            records = [Body("test", struct.pack("<Q", n), START) for n in done]
            lake.put(seq, decode([(0, r) for r in records]))
