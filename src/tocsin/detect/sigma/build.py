"""Builds the native kernels beside their sources: `python src/tocsin/detect/sigma/build.py`, and the build of a wheel does the same.

Needs a C compiler and Python's headers, and nothing else; without them there are no kernels: rules match with wheels alone, and Windows events are
decoded one by one. Imports nothing of Tocsin, because it runs before Tocsin is installed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["KERNELS", "build", "target"]

KERNELS = ("src/tocsin/detect/sigma/_kernel.c", "src/tocsin/ingest/decoders/_events.c")
"""The sources, from the folder of the repository."""


def target(source: Path) -> Path:
    """The file that Python loads."""
    return source.with_name(f"{source.stem}{sysconfig.get_config_var('EXT_SUFFIX')}")


def build(source: Path, say: Callable[[str], None] = print) -> Path | None:
    """Builds a kernel unless it is newer than its source. None, and `say` says why, where it can't be built."""
    made = target(source)
    if os.environ.get("TOCSIN_SKIP_KERNEL"):
        say(f"kernel: {source.name} not built, TOCSIN_SKIP_KERNEL is set")
        return None
    if made.is_file() and made.stat().st_mtime >= source.stat().st_mtime:
        return made
    # CC of the environment, else whatever stands for a C compiler here; the one that built Python may be elsewhere.
    given = shlex.split(os.environ.get("CC", ""))
    compiler = given or next(([c] for c in ("cc", "gcc", "clang") if shutil.which(c)), [])
    headers = Path(sysconfig.get_paths()["include"])
    if sys.platform not in ("linux", "darwin") or not compiler or not (headers / "Python.h").is_file():
        what = (
            "no C compiler"
            if not compiler
            else f"no Python.h in {headers}"
            if sys.platform == "linux"
            else sys.platform
        )
        say(f"kernel: {source.name} not built ({what}); what it does is done without it, slower")
        return None
    shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    with tempfile.TemporaryDirectory(dir=source.parent) as room:
        out = Path(room) / made.name
        command = [
            *compiler, "-D_GNU_SOURCE", "-O3", "-fPIC", *shared, "-fvisibility=hidden", "-Wall", "-Wextra", f"-I{headers}", str(source),
            "-o", str(out),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a compiler by its usual names
        if done.returncode:
            say(f"kernel: {source.name} not built, {compiler[0]} failed:\n{done.stderr[-2000:]}")
            return None
        os.replace(out, made)  # whoever has the old one loaded keeps it
    return made


if __name__ == "__main__":
    for name in KERNELS:
        found = build(Path(__file__).parents[4] / name)
        if found:
            sys.stdout.write(f"kernel: {found.name}\n")
