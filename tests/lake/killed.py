"""The child process of `test_kill`: appends, rolls, merges and gets killed. Run by multiprocessing's fork server."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from tocsin.base.errors import LakeError
from tocsin.lake import Body, Lake, LakeSettings, TableBatch, Unmapped

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


class Maker:
    """Maps what was deferred, all of it together."""

    def rows(self, group: Sequence[Unmapped]) -> Iterator[TableBatch]:
        yield from rows_of([n for u in group for n in u.content])

    def unfit(self, batch: TableBatch, error: LakeError) -> Iterator[TableBatch]:
        raise AssertionError(batch.table) from error


def decode(group: Sequence[tuple[int, Body]]) -> Unmapped:
    """The numbers of bodies; their rows come later."""
    numbers = [struct.unpack_from("<Q", body.data)[0] for _, body in group]
    return Unmapped(numbers, frozenset({"A_CL", "B_CL", "C_CL"}), 100 * len(numbers))


def rows_of(numbers: Sequence[int]) -> list[TableBatch]:
    """Each body is a number n: rows n·5…n·5+4 for A_CL, one for B_CL when n is divisible by 7, a bulk-free C_CL otherwise."""
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
    """Writes bodies first, first+1, … until killed; every durable number goes to the pipe `acknowledged`.

    Some are put as rows, most are deferred and mapped when a snapshot is taken (now and then, or by the roll), so that kills come upon rows
    that nobody has mapped.
    """
    chance = random.Random(seed)
    lake = Lake.open(Path(folder), settings=SETTINGS)
    lake.map_with(Maker())
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
            if chance.random() < 0.2:
                lake.put(seq, rows_of(done))
            else:
                lake.defer(seq, decode([(0, r) for r in records]))
            if chance.random() < 0.1:
                lake.snapshot(chance.choice([["A_CL"], ["Other_CL"], None]))
