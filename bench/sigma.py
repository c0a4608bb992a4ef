"""How fast Sigma rules match: `python -m bench.sigma RULES… -- LOGS…` (folders or files). CPU seconds of one core; see bench/README.md."""

from __future__ import annotations

import random
import resource
import sys
import time
from pathlib import Path

import orjson
import pyarrow as pa

from tocsin.detect.formats.sigma import load_folder
from tocsin.detect.rule import Rule
from tocsin.detect.sigma.matcher import SigmaMatcher
from tocsin.ingest.decoders import decode_paths
from tocsin.ingest.model import SourceBatch


def measured(matcher: SigmaMatcher, batches: list[SourceBatch]) -> tuple[float, int]:
    """CPU seconds and hits of one pass."""
    began = time.process_time()
    hits = sum(len(matcher.hits(b)) for b in batches)
    return time.process_time() - began, hits


def unique_command_lines(batches: list[SourceBatch], count: int) -> list[SourceBatch]:
    """Process creations drawn from the logs, each with a command line and parent command line of its own: the worst stream a sender can choose."""
    chance = random.Random(1)
    kept = [
        (b, i)
        for b in batches
        if b.source == "windows.event"
        for i, e in enumerate(b.rows["EventID"].to_pylist())
        if e == 1
    ]
    chosen = []
    for _ in range(count):
        batch, index = chance.choice(kept)
        data = dict(batch.event_data()[index])
        for name in ("CommandLine", "ParentCommandLine"):
            data[name] = f"{data.get(name, '')} {chance.randrange(10**9):x}"
        row = batch.rows.slice(index, 1)
        chosen.append(
            row.set_column(row.column_names.index("EventData"), "EventData", pa.array([orjson.dumps(data).decode()]))
        )
    table = pa.concat_tables(chosen).combine_chunks()
    return [SourceBatch("windows.event", table.slice(i, 10_000), "unique") for i in range(0, count, 10_000)]


def main() -> None:
    """Prints one line a measurement."""
    at = sys.argv.index("--")
    began = time.process_time()
    rules: list[Rule] = [r for folder in sys.argv[1:at] for r in load_folder(Path(folder)).rules]
    print(f"{len(rules)} rules loaded in {time.process_time() - began:.1f} s")
    began = time.process_time()
    batches = [b for b in decode_paths([Path(p) for p in sys.argv[at + 1 :]]) if isinstance(b, SourceBatch)]
    events = sum(len(b) for b in batches)
    print(f"{events:,} events decoded in {time.process_time() - began:.1f} s, {len(batches)} batches")
    began = time.process_time()
    for batch in batches:
        if batch.source == "windows.event":
            batch.event_data()
    print(f"their EventData parsed in {time.process_time() - began:.2f} s")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    matcher = SigmaMatcher(rules)
    for name in ("cold", "warm"):
        seconds, hits = measured(matcher, batches)
        print(f"{name}: {events / seconds:,.0f} events/s, {seconds / events * 1e6:.1f} µs an event, {hits:,} hits")
    print(f"memory: +{(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10} MiB")
    worst = unique_command_lines(batches, 20_000)
    for batch in worst:
        batch.event_data()
    seconds, hits = measured(matcher, worst)
    print(f"20,000 process creations, each command line new: {20_000 / seconds:,.0f} events/s, {hits:,} hits")


if __name__ == "__main__":
    main()
