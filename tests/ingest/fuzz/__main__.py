"""The fuzzer of the network's decoders: ``python -m tests.ingest.fuzz [SECONDS] [TARGET…]``, or ``make fuzz-intake``.

libFuzzer (through atheris) mutates bytes, guided by which branches of `tocsin.ingest` they reach. The seconds are shared by the targets. Inputs that
reach new branches are kept in the folder and begin the next run. One that breaks a promise is written to ``found/`` beside them, one of each
kind, and the run goes on; a crash or hang of the process too, and another process takes over. Put what was found, mended, into
`tests/ingest/fuzz/findings` (``TARGET.what-it-was``), and `tests/ingest/test_fuzz.py` tries it for ever.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path

MOST = 4096
"""Bytes of an input."""
SLOW = 20
"""Seconds after which an input counts as a hang."""


def main() -> int:
    """Runs until the time is over, and prints a table. The exit code is 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.ingest.fuzz")
    parser.add_argument("seconds", nargs="?", type=int, default=900)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--folder", type=Path, default=Path(".make/fuzz-intake"))
    parser.add_argument("--replay", type=Path, nargs="+", help="only try these files, without atheris")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.replay:
        return replay(args.replay)
    if args.child:
        return child(args.seconds, args.targets[0], args.folder)
    try:
        import atheris  # noqa: F401
    except ModuleNotFoundError:
        print("atheris isn't installed: `uv sync --group fuzz`; it has wheels for CPython on Linux.", file=sys.stderr)
        return 2
    from tests.ingest.fuzz.targets import TARGETS

    targets = args.targets or list(TARGETS)
    print("| decoder | inputs | seconds of CPU | reached | found |\n|---|---:|---:|---:|---:|")
    found = sum(run(name, max(6, args.seconds // len(targets)), args.folder) for name in targets)
    return int(found > 0)


def run(name: str, seconds: int, folder: Path) -> int:
    """Fuzzes one target in processes of its own; gives how many new findings there are."""
    found = folder / name / "found"
    found.mkdir(parents=True, exist_ok=True)
    known = len(list(found.iterdir()))
    ends = time.monotonic() + seconds
    inputs, before = 0, resource.getrusage(resource.RUSAGE_CHILDREN)
    while (left := int(ends - time.monotonic())) > 5:
        command = [sys.executable, "-m", "tests.ingest.fuzz", str(left), name, "--folder", str(folder), "--child"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
        inputs += sum(map(int, re.findall(r"number_of_executed_units: (\d+)", done.stderr)))
        for line in done.stdout.splitlines():
            if line.startswith("FOUND"):
                print(line, file=sys.stderr, flush=True)
        if done.returncode and "number_of_executed_units" not in done.stderr:
            print(done.stderr[-2000:], file=sys.stderr)
            break
    new = len(list(found.iterdir())) - known
    reached = len(list((folder / name / "reached").iterdir()))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"| {name} | {inputs:,} | {cpu:.0f} | {reached} | {new} |", flush=True)
    return new


def replay(paths: list[Path]) -> int:
    """Tries files (`…/TARGET/found/X`, or `TARGET.X`), and says what became of each."""
    from tests.ingest.fuzz.targets import TARGETS

    failed = 0
    for path in paths:
        name = path.name.split(".", 1)[0]
        target = TARGETS[name if name in TARGETS else path.parent.parent.name]
        started = time.perf_counter()
        try:
            verdict = target.check(path.read_bytes())
        except Exception as error:
            failed = 1
            traceback.print_exc()
            verdict = f"BROKEN {type(error).__name__}: {str(error)[:500]}"
        print(f"{path.name}: {verdict} ({time.perf_counter() - started:.2f} s)")
    return failed


def child(seconds: int, name: str, folder: Path) -> int:
    """libFuzzer in this process; it ends the process when it is done."""
    import atheris
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with atheris.instrument_imports(include=["tocsin.ingest"]):
        from tests.ingest.fuzz.targets import TARGETS

    target = TARGETS[name]
    reached, found = folder / name / "reached", folder / name / "found"
    if not reached.exists():
        reached.mkdir(parents=True)
        for data in target.seeds():
            (reached / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)

    def one(data: bytes) -> None:
        if not data:
            return
        try:
            target.check(data)
        except Exception as error:
            path = found / _kind(error)
            if not path.exists() or len(data) < path.stat().st_size:
                new = not path.exists()
                path.write_bytes(data)
                if new:
                    print(f"FOUND {name}/{path.name} {type(error).__name__}: {str(error)[:300]}", flush=True)

    flags = [
        f"-max_total_time={seconds}",
        f"-max_len={MOST}",
        f"-timeout={SLOW}",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={found}/",
    ]
    atheris.Setup([sys.argv[0], *flags, str(reached)], one)
    atheris.Fuzz()
    return 0


def _kind(error: Exception) -> str:
    """A short name of what went wrong: the type, the place in our code, and the words without what the input brought."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "/tocsin/ingest/" in f.filename]
    place = f"{Path(ours[-1].filename).stem}-{ours[-1].lineno}" if ours else ""
    words = re.sub(r"""b?["'].*["']|\[.*\]|\d+|\W+""", " ", str(error))[:160].strip()
    digest = hashlib.sha1(words.encode(), usedforsecurity=False).hexdigest()[:6]
    return "-".join(filter(None, (type(error).__name__, place, re.sub(r"\W+", "_", words[:50]), digest)))


if __name__ == "__main__":
    raise SystemExit(main())
