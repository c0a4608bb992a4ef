"""The fuzzer: ``python -m tests.kql.fuzz [SECONDS]``, or ``make fuzz``.

libFuzzer (through atheris) mutates texts, guided by which branches of `tocsin.kql` they reach. Texts that reach new ones are kept in the folder
and begin the next run. A text that breaks a promise is written to ``found/`` beside it, one of each kind, and the run goes on; a crash or hang
of the process too, and another process takes over. Shorten what was found, put it into `tests/kql/fuzz/findings`, and
`tests/kql/test_fuzz.py` tries it for ever.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path

MOST = 1_500
"""Characters of a text."""
SLOW = 25
"""Seconds after which a text counts as a hang; its query may run two."""


def main() -> int:
    """Runs until the time is over. The exit code is 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.kql.fuzz")
    parser.add_argument("seconds", nargs="?", type=int, default=900)
    parser.add_argument("--folder", type=Path, default=Path(".make/fuzz"))
    parser.add_argument("--replay", type=Path, nargs="+", help="only try these files, without atheris")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.replay:
        return replay(args.replay)
    if args.child:
        return child(args.seconds, args.folder)
    try:
        import atheris  # noqa: F401
    except ModuleNotFoundError:
        print("atheris isn't installed: `uv sync --group fuzz`; it has wheels for CPython on Linux.", file=sys.stderr)
        return 2
    found = args.folder / "found"
    found.mkdir(parents=True, exist_ok=True)
    known = len(list(found.iterdir()))
    ends = time.monotonic() + args.seconds
    while (left := int(ends - time.monotonic())) > 5:
        command = [sys.executable, "-m", "tests.kql.fuzz", str(left), "--folder", str(args.folder), "--child"]
        subprocess.run(command, check=False)
    texts = sorted(found.iterdir())
    print(f"{len(texts)} findings in {found}, {len(texts) - known} of them new")
    return int(len(texts) > known)


def replay(paths: list[Path]) -> int:
    """Tries files, and says what became of each."""
    from tests.kql.fuzz.promises import check

    failed = 0
    for path in paths:
        started = time.perf_counter()
        try:
            verdict = check(path.read_bytes().decode("utf-8", "replace")) or "an answer"
        except Exception as error:
            failed = 1
            verdict = f"BROKEN {type(error).__name__}: {str(error)[:500]}"
        print(f"{path.name}: {verdict} ({time.perf_counter() - started:.2f} s)")
    return failed


def child(seconds: int, folder: Path) -> int:
    """libFuzzer in this process; it ends the process when it is done."""
    import atheris
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with atheris.instrument_imports(include=["tocsin.kql"]):
        from tests.kql.fuzz.promises import check, world
        from tests.kql.fuzz.texts import Mutator, seeds

    world()
    reached, found = folder / "reached", folder / "found"
    texts = list(seeds())
    if not reached.exists():
        reached.mkdir(parents=True)
        for text in texts:
            data = text.encode("utf-8", "replace")
            (reached / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
    mutator = Mutator(texts)

    def change(data: bytes, size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.2:
            return bytes(atheris.Mutate(data, size))
        return mutator(data.decode("utf-8", "replace"), chance).encode("utf-8", "replace")[:size]

    def one(data: bytes) -> None:
        text = data.decode("utf-8", "replace")[:MOST]
        try:
            check(text)
        except Exception as error:
            path = found / f"{_kind(error)}.kql"
            if not path.exists() or len(text) < path.stat().st_size:
                new = not path.exists()
                path.write_text(text, encoding="utf-8")
                if new:
                    print(f"FOUND {path.name} {type(error).__name__}: {str(error)[:300]}", flush=True)

    flags = [
        f"-max_total_time={seconds}",
        f"-max_len={MOST * 2}",
        f"-timeout={SLOW}",
        "-rss_limit_mb=3072",
        "-len_control=0",
        f"-artifact_prefix={found}/",
    ]
    atheris.Setup([sys.argv[0], *flags, str(reached)], one, custom_mutator=change)
    atheris.Fuzz()
    return 0


def _kind(error: Exception) -> str:
    """A short name of what went wrong: the type, the place in our code, and the words without what the text brought."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "/tocsin/kql/" in f.filename]
    place = f"{Path(ours[-1].filename).stem}-{ours[-1].lineno}" if ours else ""
    words = re.sub(r"""["'].*?["']|\d+|\W+""", " ", str(error))[:160].strip()
    digest = hashlib.sha1(words.encode(), usedforsecurity=False).hexdigest()[:6]
    return "-".join(filter(None, (type(error).__name__, place, re.sub(r"\W+", "_", words[:50]), digest)))


if __name__ == "__main__":
    raise SystemExit(main())
