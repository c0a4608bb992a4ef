"""Runs all tests: first those that share the machine, one worker a core; then those that want no crowd, in two rows of one test at a time: a browser's
beside all others. Run by `make test`.

What wants no crowd says so by the mark `alone`, what drives a browser by `browser` (tests/conftest.py gives both to whole folders). Arguments go to
pytest each time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO

NO_TESTS = 5
"""pytest's exit code when the arguments chose no test: one half of a choice may be empty."""


def main(arguments: list[str]) -> int:
    """The first exit code that tells of a failure. Everything runs, so that one run tells everything that is wrong."""
    workers = os.environ.get("TOCSIN_TEST_WORKERS", "auto")
    codes = [
        _run(("tests that share the machine", ["-n", workers, "--dist", "loadfile", "-m", "not alone"]), arguments),
        *_beside(
            ("tests that want no crowd", ["-m", "alone and not browser"]),
            ("tests with a browser", ["-m", "alone and browser"]),
            arguments,
        ),
    ]
    if all(code == NO_TESTS for code in codes):
        return NO_TESTS
    return next((code for code in codes if code not in (0, NO_TESTS)), 0)


Part = tuple[str, list[str]]
"""A name, and what tells pytest which tests it has."""


def _run(part: Part, arguments: list[str], out: IO[bytes] | None = None) -> int:
    begun = time.monotonic()
    print(f"== {part[0]}", flush=True)
    command = [sys.executable, "-m", "pytest", "--durations=10", *part[1], *arguments]
    code = subprocess.run(command, check=False, stdout=out, stderr=out and subprocess.STDOUT).returncode
    print(f"== {part[0]}: exit code {code}, {time.monotonic() - begun:.0f} s", flush=True)
    return code


def _beside(one: Part, other: Part, arguments: list[str]) -> list[int]:
    """Runs both at once; what the other says is shown when both have ended."""
    with tempfile.TemporaryFile() as said, ThreadPoolExecutor(1) as second:
        waiting = second.submit(_run, other, arguments, said)
        codes = [_run(one, arguments), waiting.result()]
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout.buffer)
        sys.stdout.flush()
    return codes


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
