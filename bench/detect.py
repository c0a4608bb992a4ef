"""How fast Sigma rules match raw JSON lines: `python -m bench.detect`, three streams, cold and warm, native and with wheels alone.

Full JSON bytes to alerts on one core, in batches of 10,000 lines, as the live matcher raises them. Rules are compiled before (a first pass
makes the programs of each kind of event); *cold* means that every table of values, classes and verdicts is empty and no burst is open. The
yardsticks of the same run are `orjson.loads` of the same lines, and Zircolite's recorded 627 events a second (one core, 2,973 rules; see
../shared/spec/detection.md). With `STREAM…` only the streams whose name begins so.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from pathlib import Path

import orjson
from bench.streams import SECURITY, SYSMON, unique_command_lines, unrepeated

from tocsin.detect.formats.sigma import load_folder
from tocsin.detect.rule import Rule
from tocsin.detect.sigma.kernel import AVAILABLE, NativeLines
from tocsin.detect.sigma.matcher import SigmaMatcher

SIGMA = Path("../shared/data/sigma")
ZIRCOLITE = 627
BATCH = 10_000


def resident() -> int:
    """Bytes of this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def one_pass(matcher: SigmaMatcher, lines: list[bytes]) -> tuple[float, int, int]:
    """CPU seconds, hits and alerts."""
    before, alerts, began = matcher.stats.hits, 0, time.process_time()
    for start in range(0, len(lines), BATCH):
        alerts += len(matcher.match_lines(lines[start : start + BATCH]))
    return time.process_time() - began, matcher.stats.hits - before, alerts


def yardstick(lines: list[bytes]) -> float:
    """CPU seconds of orjson for one line, the best of three."""
    chosen = lines[:: max(1, len(lines) // 30_000)]
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for line in chosen:
            orjson.loads(line)
        best = min(best, (time.process_time() - began) / len(chosen))
    return best


def main() -> None:
    """Prints the table for bench/README.md."""
    if not SIGMA.is_dir():
        print(f"{SIGMA}: not here; nothing to measure")
        return
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    began = time.process_time()
    rules: list[Rule] = [
        r for f in ("rules", "rules-emerging-threats", "rules-threat-hunting") for r in load_folder(SIGMA / f).rules
    ]
    print(
        f"{len(rules):,} rules loaded in {time.process_time() - began:.1f} s CPU, core {core}, load {os.getloadavg()[0]:.1f}\n"
    )
    sysmon, security = unrepeated(SYSMON), unrepeated(SECURITY)
    streams = {
        "Sysmon": sysmon,
        "Security": security,
        "process creation, each command line new": unique_command_lines(sysmon + security, 50_000),
    }
    print(
        "| stream | events | path | cold, verdicts/s | cold, alerts/s | warm, alerts/s | cold x orjson | cold x Zircolite | hits | alerts |"
    )
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, lines in streams.items():
        if sys.argv[1:] and not any(name.lower().startswith(a.lower()) for a in sys.argv[1:]):
            continue
        json = yardstick(lines)
        for native in (True, False) if AVAILABLE else (False,):
            gc.collect()
            before = resident()
            matcher = SigmaMatcher(rules, live=True, native=native)
            one_pass(matcher, lines)  # compiles what this stream needs
            gc.collect()
            gc.freeze()
            matcher.forget()
            cold, hits, alerts = one_pass(matcher, lines)
            stats = matcher._scanner.stats() if isinstance(matcher._scanner, NativeLines) else {}
            warm, again, _ = one_pass(matcher, lines)
            assert hits == again
            matcher.forget()
            began = time.process_time()
            for start in range(0, len(lines), BATCH):
                matcher._scanner.scan(lines[start : start + BATCH])
            verdicts = time.process_time() - began
            rate = len(lines) / cold
            print(
                f"| {name} | {len(lines):,} | {'native' if native else 'wheels'} | {len(lines) / verdicts:,.0f} | {rate:,.0f} "
                f"| {len(lines) / warm:,.0f} | {cold / len(lines) / json:.2f} | {rate / ZIRCOLITE:,.0f} | {hits:,} | {alerts:,} |",
                flush=True,
            )
            memory = (resident() - before) >> 20
            note = f"+{memory} MiB, orjson {json * 1e6:.2f} µs, load {os.getloadavg()[0]:.1f} {stats}"
            print(f"<!-- {note} -->", file=sys.stderr, flush=True)
            gc.unfreeze()
            del matcher
    print(
        f"\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB resident at most, the streams' lines included"
    )


if __name__ == "__main__":
    main()
