"""Runs the measurements: `python -m bench` all of them, `python -m bench scan start` some. Each prints a table for bench/README.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SHARED = Path("../shared")
COMMANDS: dict[str, list[str]] = {
    "correlation": [],
    "detect": [],
    "lake": [],
    "ingest": [],
    "kql": [],
    "scan": [],
    "schedule": [],
    "search": [],
    "sigma": [str(SHARED / "data/sigma/rules"), "--", str(SHARED / "data/otrf/compound/LSASS_campaign_01")],
    "start": [],
}


def main() -> int:
    """Runs them one after the other, each in a process of its own."""
    names = sys.argv[1:] or list(COMMANDS)
    if unknown := [n for n in names if n not in COMMANDS]:
        print(f"there is no measurement '{unknown[0]}'; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names:
        print(f"\n## {name}: python -m bench.{name} {' '.join(COMMANDS[name])}\n", flush=True)
        if any(p.startswith("..") and not Path(p).exists() for p in COMMANDS[name]):
            print("Its data isn't here.")
            continue
        failed |= subprocess.run([sys.executable, "-m", f"bench.{name}", *COMMANDS[name]], check=False).returncode != 0
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
