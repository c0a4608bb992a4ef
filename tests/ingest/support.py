"""Helpers of the intake tests."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tocsin.ingest import DeadLetter, DecodeLimits, FileReport, SourceBatch, decode_path

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
OTRF = SHARED / "otrf"
EVTX = SHARED / "evtx-attack-samples"

needs_otrf = pytest.mark.skipif(not OTRF.is_dir(), reason=f"{OTRF} isn't here")
needs_evtx = pytest.mark.skipif(not EVTX.is_dir(), reason=f"{EVTX} isn't here")


@dataclass
class Decoded:
    """Everything that came out of a path."""

    batches: list[SourceBatch] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    reports: list[FileReport] = field(default_factory=list)

    def rows(self, kind: str) -> list[dict[str, Any]]:
        return [row for batch in self.batches if batch.source == kind for row in batch.rows.to_pylist()]

    def kinds(self) -> dict[str, int]:
        out: dict[str, int] = {}
        for batch in self.batches:
            out[batch.source] = out.get(batch.source, 0) + len(batch)
        return out

    @property
    def report(self) -> FileReport:
        assert len(self.reports) == 1, self.reports
        return self.reports[0]


def collect(items: Any) -> Decoded:
    out = Decoded()
    for item in items:
        if isinstance(item, SourceBatch):
            out.batches.append(item)
        elif isinstance(item, DeadLetter):
            out.dead.append(item)
        else:
            out.reports.append(item)
    return out


def decode(path: Path, **limits: int) -> Decoded:
    return collect(decode_path(path, limits=DecodeLimits(**limits)))


def decode_bytes(tmp_path: Path, data: bytes, name: str = "input", **limits: int) -> Decoded:
    file = tmp_path / name
    file.write_bytes(data)
    return decode(file, **limits)


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 6)
