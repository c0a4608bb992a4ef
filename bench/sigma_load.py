"""How long Sigma rules take to load: `python -m bench.sigma_load FOLDER…`. CPU seconds of new processes: without a cache, filling one, from one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROUNDS = 3


def measure(cache: str, folders: list[str]) -> None:
    """One line of this process: seconds for modules, rules and matcher."""
    began = time.process_time()
    from tocsin.detect.formats.sigma import load_folder
    from tocsin.detect.sigma.matcher import SigmaMatcher

    modules = time.process_time()
    rules = [r for f in folders for r in load_folder(Path(f), cache=Path(cache) if cache else None).rules]
    loaded = time.process_time()
    SigmaMatcher(rules, live=True)
    matcher = time.process_time() - loaded
    print(f"{len(rules):,} rules: modules {modules - began:.2f}, rules {loaded - modules:.2f}, matcher {matcher:.2f} s")


def main() -> None:
    """Prints a line for each process."""
    folders = sys.argv[1:]
    if folders[0] == "--measure":
        measure(folders[1], folders[2:])
        return
    with tempfile.TemporaryDirectory() as room:
        cache = Path(room) / "cache"
        for name, where in (*[("no cache", "")] * _ROUNDS, ("cold", str(cache)), *[("warm", str(cache))] * _ROUNDS):
            print(f"{name}: ", end="", flush=True)
            subprocess.run([sys.executable, "-m", "bench.sigma_load", "--measure", where, *folders], check=True)
        print(f"{sum(p.stat().st_size for p in cache.iterdir()) / 1e6:.1f} MB in {cache.name}")


if __name__ == "__main__":
    main()
