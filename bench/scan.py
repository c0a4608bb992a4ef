"""How fast `tocsin scan` is on one core, and what an event's way is made of, beside `orjson.loads` of the same bytes.

    python -m bench.scan [PATH…]

The program runs as anybody would start it, with all shipped rules, pinned to one core; the best of three runs counts. Its parts are then
measured in one process on the same core. CPU time of all threads, because the machine may have other work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

CAMPAIGN = Path("../shared/data/otrf/compound/LSASS_campaign_01")
DEMANDED = 5_000


def whole(paths: list[Path], times: int = 3) -> tuple[int, float, float, int]:
    """(events, CPU seconds, wall seconds, peak bytes) of the program, start and all; the best of several runs."""
    found = []
    for _ in range(times):
        command = [sys.executable, "-c", "from tocsin.cli import main; main()", "scan", "--json", *map(str, paths)]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        answer = json.load(process.stdout)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        wall = time.perf_counter() - began
        found.append((usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024, int(answer["events"])))
    cpu, wall, peak, events = min(found)
    return events, cpu, wall, peak


class Parts:
    """CPU seconds by part of a scan; a part's time isn't counted in the part that called it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Counts the block for that part."""
        began = time.process_time()
        self._inner.append(0.0)
        try:
            yield
        finally:
            took = time.process_time() - began
            self.seconds[name] += took - self._inner.pop()
            self._inner[-1] += took

    def wrap(self, owner: Any, attribute: str, name: str) -> None:
        """Counts every call of a function for that part."""
        original: Callable[..., Any] = getattr(owner, attribute)

        def counted(*args: Any, **more: Any) -> Any:
            with self.of(name):
                return original(*args, **more)

        setattr(owner, attribute, counted)


def parts(paths: list[Path]) -> dict[str, float]:
    """The parts of one scan in this process."""
    from tocsin.ingest.decoders import source
    from tocsin.ingest.mapping import Mapper
    from tocsin.lake import Lake
    from tocsin.workspace import scan

    found = Parts()
    # Bytes come out of archives below the decoders; everything above is decoding.
    found.wrap(source.Source, "read", "read")
    found.wrap(Mapper, "map", "map")
    found.wrap(Lake, "write", "write")
    found.wrap(Lake, "flush", "write")
    found.wrap(scan, "run_over", "detect")
    found.wrap(scan.Correlator, "add", "correlate")
    original = scan.decode_paths

    def decoded(*args: Any) -> Iterator[Any]:
        items = original(*args)
        while True:
            with found.of("decode"):
                item = next(items, None)
            if item is None:
                return
            yield item

    scan.decode_paths = decoded
    with found.of("rest"):
        scan.scan(paths)
    return dict(found.seconds)


def yardstick(paths: list[Path]) -> tuple[float, int]:
    """CPU seconds of `orjson.loads` over all JSON lines in the paths, and how many bytes they are."""
    lines: list[bytes] = []
    for path in paths:
        for file in sorted(path.rglob("*.zip")) if path.is_dir() else [path]:
            with zipfile.ZipFile(file) as archive:
                for name in archive.namelist():
                    if name.endswith((".json", ".log")):
                        lines += archive.read(name).splitlines()
    lines = [line for line in lines if line[:1] == b"{"]
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for start in range(0, len(lines), 10_000):
            [orjson.loads(line) for line in lines[start : start + 10_000]]  # kept as a batch, as decoders keep them
        best = min(best, time.process_time() - began)
    return best, sum(map(len, lines))


def main() -> None:
    """Prints the tables for bench/README.md."""
    paths = [Path(p) for p in sys.argv[1:]] or [CAMPAIGN]
    if not all(p.exists() for p in paths):
        print(f"{', '.join(map(str, paths))}: not here; nothing to measure")
        return
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    events, cpu, wall, peak = whole(paths)
    json_seconds, size = yardstick(paths)
    print(
        f"`tocsin scan {' '.join(p.name for p in paths)}`: {events:,} events, {size / 1e6:.0f} MB of JSON, core {core}, all shipped rules\n"
    )
    print(
        f"- {events / cpu:,.0f} events/s of CPU time ({cpu:.2f} s, start of the program included); {DEMANDED:,} are demanded"
    )
    print(f"- {events / wall:,.0f} events/s by the clock ({wall:.2f} s), load {os.getloadavg()[0]:.1f}")
    print(f"- {peak / 2**20:.0f} MiB resident at most\n")
    measured = min((parts_in_a_fresh_process(paths) for _ in range(3)), key=lambda p: sum(p.values()))
    print("| part | CPU s | CPU µs an event | x orjson |\n|---|---:|---:|---:|")
    print(f"| orjson.loads of the same lines | {json_seconds:.2f} | {json_seconds / events * 1e6:.1f} | 1.0 |")
    for name in ("read", "decode", "map", "write", "detect", "correlate", "rest"):
        seconds = measured.get(name, 0.0)
        print(f"| {name} | {seconds:.2f} | {seconds / events * 1e6:.1f} | {seconds / json_seconds:.1f} |")
    total = sum(measured.values())
    print(f"| all | {total:.2f} | {total / events * 1e6:.1f} | {total / json_seconds:.1f} |")


def parts_in_a_fresh_process(paths: list[Path]) -> dict[str, float]:
    """`parts`, with nothing warm from a run before."""
    code = "import sys, json, pathlib; from bench.scan import parts; print(json.dumps(parts([pathlib.Path(p) for p in sys.argv[1:]])))"
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
