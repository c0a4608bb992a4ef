"""The recordings: which there are, what belongs to one attack, and their alerts (kept, because a scan takes much longer than correlating).

What is one attack follows from the recordings' own metadata and file names, never from what Tocsin says of them:

- `compound`: a folder is one attack; `apt29` is recorded on two days, each a run of its own with other hosts and tools; `Log4Shell` holds two
  runs of the exploit,
  told by their file names (`jndi_reference` on Linux, `java_serialized_object` on Windows).
- `atomic`: a metadata file is one attack, *multi-step* when the metadata maps it to more than one technique or tactic, or when it names a C2
  framework, whose session is then part of the recording. Runs that metadata lists as further variants (several host files) are attacks of their own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import tocsin
from tocsin.content import packs_dir
from tocsin.detect.alert import Alert

__all__ = ["Dataset", "alerts_of", "datasets"]

OTRF = Path("../shared/data/otrf")
SIGMA = Path("../shared/data/sigma/rules")
CACHE = Path("/tmp/tocsin-correlation")

_FLAGS = ("correlate", "create_incident")  # what the JSON form that people see leaves out
_FORM = "with aliases"
"""What kept scans hold; another word scans again."""
_LOG4SHELL = ("jndi_reference", "java_serialized_object")


@dataclass(frozen=True, slots=True)
class Dataset:
    """One recorded attack: its name, its files, and what its makers say of it."""

    name: str
    files: tuple[Path, ...]
    metadata: dict[str, Any]

    @property
    def techniques(self) -> tuple[str, ...]:
        """The techniques that the makers say were used."""
        found = (str(m.get("technique")) for m in self.metadata.get("attack_mappings") or ())
        return tuple(dict.fromkeys(t for t in found if t.startswith("T") and t != "T0000"))


def datasets(root: Path = OTRF) -> list[Dataset]:
    """Every attack under `compound`, and every multi-step one under `atomic`, by name."""
    return sorted((*_compound(root / "compound"), *_atomic(root)), key=lambda d: d.name)


def _compound(root: Path) -> Iterator[Dataset]:
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("_")):
        metadata = _metadata(root / "_metadata" / f"{folder.name}.yaml")
        if folder.name == "apt29":
            for day in sorted(folder.iterdir()):
                # The zipped logs and the combined one hold the same rows as the individual ones.
                logs = sorted((day / "zeek/individual_zeek_logs").glob("*.log"))
                yield Dataset(f"compound/apt29/{day.name}", tuple(logs), metadata)
        elif folder.name == "Log4Shell":
            for run in _LOG4SHELL:
                yield Dataset(f"compound/Log4Shell/{run}", tuple(sorted(folder.glob(f"*{run}*"))), metadata)
        else:
            yield Dataset(
                f"compound/{folder.name}", tuple(sorted(p for p in folder.iterdir() if p.is_file())), metadata
            )


def _atomic(root: Path) -> Iterator[Dataset]:
    for file in sorted((root / "atomic/_metadata").glob("*.yaml")):
        metadata = _metadata(file)
        if not _multi_step(metadata):
            continue
        paths = [root / str(f["link"]).rpartition("/datasets/")[2] for f in metadata.get("files") or ()]
        hosts = [p for p in paths if p.is_file() and "/network/" not in str(p)]
        for path in hosts:
            network = tuple(p for p in paths if p.is_file() and "/network/" in str(p) and len(hosts) == 1)
            yield Dataset(f"atomic/{path.name.partition('.')[0]}", (path, *network), metadata)


def _multi_step(metadata: dict[str, Any]) -> bool:
    mappings = metadata.get("attack_mappings") or ()
    tactics = {t for m in mappings for t in m.get("tactics") or ()}
    techniques = {m.get("technique") for m in mappings}
    tools = (metadata.get("simulation") or {}).get("tools") or ()
    return len(techniques) > 1 or len(tactics) > 1 or any(str(t.get("type")).upper() == "C2" for t in tools)


def _metadata(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


_SCANNED_BY = frozenset({"rules", "parsers", "functions", "watchlists", "entities"})


_ROOMS = ("content", "detect", "ingest", "kql", "lake", "query", "tables")
_FILES = ("incidents/aliases.py", "incidents/teaching.py", "workspace/aliases.py", "workspace/scan.py")
"""The rooms of the code that a scan's alerts come from, and the files of others."""


@cache
def _scanner() -> str:
    """What scans, as a hash: with other rules, or read by other code, a recording gives other alerts."""
    whole = hashlib.sha256()
    packs = packs_dir()
    content = (p for p in packs.rglob("*") if p.is_file() and set(p.relative_to(packs).parts[1:2]) & _SCANNED_BY)
    code = Path(tocsin.__file__).parent
    rooms = (p for room in _ROOMS for p in (code / room).rglob("*") if p.suffix in (".py", ".pyx", ".c", ".toml"))
    for path in (*sorted(content), *sorted(rooms), *(code / p for p in _FILES)):
        whole.update(path.read_bytes())
    return whole.hexdigest()


def alerts_of(dataset: Dataset, *, sigma: Sequence[Path] = (SIGMA,), folder: Path = CACHE) -> list[Alert]:
    """The alerts that a scan of the recording gives with the shipped rules and SigmaHQ's, by time; scanned once, then kept in `folder`."""
    parts = [_FORM, _scanner(), dataset.name, *map(str, dataset.files), *map(str, sigma)]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    kept = folder / f"{dataset.name.replace('/', '-')}-{key}.json"
    if not kept.exists():
        from tocsin.base.caches import user_cache
        from tocsin.workspace.scan import scan

        found = scan(list(dataset.files), sigma=sigma, cache=user_cache("sigma"))
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(
            json.dumps([{**a.to_dict(), **{n: getattr(a, n) for n in _FLAGS}} for a in found.alerts], default=str),
            encoding="utf-8",
        )
    raws = json.loads(kept.read_text(encoding="utf-8"))
    alerts = [replace(Alert.from_dict(raw), **{n: raw[n] for n in _FLAGS}) for raw in raws]
    return sorted(alerts, key=lambda a: (a.time, a.id))
