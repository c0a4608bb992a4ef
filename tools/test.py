"""Runs all tests: first those that share the machine, one worker a core; then, one by one, those that want it for themselves. Run by `make test`.

What wants the machine for itself says so by the mark `alone` (tests/conftest.py gives it to whole folders). Arguments go to pytest both times.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

NO_TESTS = 5
"""pytest's exit code when the arguments chose no test: one half of a choice may be empty."""


def main(arguments: list[str]) -> int:
    """The first half's exit code when it failed, else the second's. Both run, so that one run tells everything that is wrong."""
    workers = os.environ.get("TOCSIN_TEST_WORKERS", "auto")
    halves = [
        ("tests that share the machine", ["-n", workers, "--dist", "loadfile", "-m", "not alone"]),
        ("tests that want the machine for themselves", ["-m", "alone"]),
    ]
    codes = []
    for name, options in halves:
        print(f"== {name}", flush=True)
        begun = time.monotonic()
        codes.append(subprocess.run([sys.executable, "-m", "pytest", *options, *arguments], check=False).returncode)
        print(f"== {name}: exit code {codes[-1]}, {time.monotonic() - begun:.0f} s", flush=True)
    if all(code == NO_TESTS for code in codes):
        return NO_TESTS
    return next((code for code in codes if code not in (0, NO_TESTS)), 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
