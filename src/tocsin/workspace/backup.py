"""Backup and restore of a data folder: tables, log, state, your content, and what receivers remember. The server may run during a backup.

The order in which parts are copied makes the whole consistent: what receivers remember first (after a restore they may read a piece again,
never skip one), then the state (rules may look at a window again, and give the same alerts), then the lake (`tocsin.lake.backup`).
A manifest with the BLAKE2b checksum of every file comes last: a backup without one is no backup.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from tocsin import __version__
from tocsin.base.errors import LakeError, Place, UsageError
from tocsin.lake.backup import frozen
from tocsin.lake.checksum import digest_of
from tocsin.lake.durable import sync_folder, write_atomically
from tocsin.state.copy import copy_state
from tocsin.workspace.settings import Settings

__all__ = ["BackupResult", "backup", "restore"]

_MANIFEST = "manifest.json"
_PIECE = 1 << 20
Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


@dataclass(frozen=True, slots=True)
class BackupResult:
    """What was copied. `state` is false for a state in PostgreSQL, which its own tools back up."""

    folder: Path
    files: int
    bytes: int
    created: str
    state: bool


def backup(settings: Settings, target: Path, progress: Progress = lambda _done, _total: None) -> BackupResult:
    """Copies a data folder to a new folder.

    Raises UsageError USE0006 where there is no data and USE0012 for a target that isn't empty, LakeError or StateError for what can't be read.
    On failure the target is removed.
    """
    data = settings.data
    if not (data / "lake" / "tables").is_dir():
        raise UsageError(f"there is no data in '{data}'", code="USE0006", hint="Name the data folder with --data.")
    _require_empty(target)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    site = settings.detect.site or data / "site"
    try:
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        entries: list[dict[str, Any]] = []
        for name, folder in (("intake", data / "intake"), ("site", site)):
            for path, relative in _walk(folder, name):
                entries.append(_copy(path, target, relative))
        if not settings.database and (data / "state.db").is_file():
            copy_state(data / "state.db", target / "state.db")
            entries.append(_measured(target / "state.db", "state.db"))
        with ExitStack() as stack:
            held = list(_walk(stack.enter_context(frozen(data / "lake")), "lake"))
            total = sum(p.stat().st_size for p, _ in held)
            done = 0
            for path, relative in held:
                entries.append(_copy(path, target, relative))
                done += entries[-1]["bytes"]
                progress(done, max(total, done))
        manifest = {
            "format": 1,
            "tocsin": __version__,
            "created": created,
            "state": "postgresql" if settings.database else "sqlite",
            "files": entries,
        }
        write_atomically(target / _MANIFEST, json.dumps(manifest, indent=1).encode())
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return BackupResult(target, len(entries), sum(e["bytes"] for e in entries), created, not settings.database)


def restore(source: Path, data: Path, progress: Progress = lambda _done, _total: None) -> BackupResult:
    """Makes a data folder of a backup; every file is proven by its checksum before the folder gets its name.

    Raises UsageError USE0012 when the data folder isn't empty and USE0013 for a folder that is no backup, LakeError LAK0022 naming the files
    that are damaged or missing; nothing is left of the data folder then.
    """
    manifest = _manifest(source)
    _require_empty(data)
    entries = manifest["files"]
    total = sum(e["bytes"] for e in entries)
    working = data.with_name(f".{data.name}.restoring")
    shutil.rmtree(working, ignore_errors=True)
    bad: list[str] = []
    done = 0
    try:
        working.mkdir(parents=True, mode=0o700)
        for entry in entries:
            relative = entry["path"]
            try:
                copied = _copy(source / relative, working, relative)
            except FileNotFoundError:
                bad.append(f"{relative} is missing")
                continue
            if copied["blake2b"] != entry["blake2b"]:
                bad.append(f"{relative} has changed since the backup")
            done += entry["bytes"]
            progress(done, total)
        if bad:
            more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
            raise LakeError(
                f"The backup is damaged: {'; '.join(bad[:5])}{more}.",
                code="LAK0022",
                place=Place(str(source)),
                hint="Nothing was restored. Use another backup.",
            )
        if (working / "state.db").exists():
            (working / "state.db").chmod(0o600)
        if data.exists():
            data.rmdir()
        working.rename(data)
        sync_folder(data.parent)
    except BaseException:
        shutil.rmtree(working, ignore_errors=True)
        raise
    return BackupResult(data, len(entries), total, str(manifest["created"]), manifest["state"] == "sqlite")


def _manifest(source: Path) -> dict[str, Any]:
    path = source / _MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        if manifest["format"] != 1:
            raise UsageError(
                f"the backup has format {manifest['format']}, which this version doesn't know", code="USE0013"
            )
        for entry in manifest["files"]:
            relative = PurePosixPath(entry["path"])
            if relative.is_absolute() or ".." in relative.parts or not isinstance(entry["bytes"], int):
                raise ValueError(f"a path that leads outside: {entry['path']}")
            str(entry["blake2b"])
        _ = manifest["created"], manifest["state"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = "it has no manifest.json" if isinstance(error, FileNotFoundError) else f"its manifest: {error}"
        raise UsageError(
            f"'{source}' is no whole backup: {reason}",
            code="USE0013",
            hint="Name the folder that `tocsin backup` made.",
        ) from error
    return manifest


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"'{folder}' is there already and isn't empty", code="USE0012", hint="Name a new folder.")


def _walk(folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path, f"{name}/{path.relative_to(folder).as_posix()}"


def _copy(path: Path, target: Path, relative: str) -> dict[str, Any]:
    """Copies a file durably; gives its entry of the manifest."""
    to = target / relative
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.blake2b(digest_size=16)
    size = 0
    with path.open("rb") as reader, to.open("xb") as writer:
        while piece := reader.read(_PIECE):
            digest.update(piece)
            writer.write(piece)
            size += len(piece)
        writer.flush()
        os.fsync(writer.fileno())
    return {"path": relative, "bytes": size, "blake2b": digest.hexdigest()}


def _measured(path: Path, relative: str) -> dict[str, Any]:
    return {"path": relative, "bytes": path.stat().st_size, "blake2b": digest_of(path)}
