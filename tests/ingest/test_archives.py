"""Archives: read as streams, whatever their nesting, and refused by name when they are damaged or bombs."""

from __future__ import annotations

import bz2
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.ingest.support import OTRF, decode, decode_bytes, gzipped, needs_otrf, tarred, zipped
from tocsin.ingest import codes

LINES = b"".join(
    b'{"EventID":%d,"Channel":"Security","Hostname":"h","TimeCreated":"2024-05-01T00:00:00Z"}\n' % n for n in range(3)
)


@pytest.mark.parametrize(
    "packed",
    [
        gzipped(LINES),
        bz2.compress(LINES),
        lzma.compress(LINES),
        zstandard.compress(LINES),
        gzipped(LINES[:90]) + gzipped(LINES[90:]),
        zipped({"a/../../etc/b.txt": LINES}),
        zipped({"a.json": LINES}, zipfile.ZIP_STORED),
        zipped({"a.json": LINES}, zipfile.ZIP_LZMA),
        tarred({"x": LINES}),
        tarred({"x": LINES}, "w:gz"),
        zstandard.compress(tarred({"x": LINES})),
        zipped({"inner.zip": zipped({"deep.gz": gzipped(LINES)})}),
        gzipped(gzipped(LINES)),
    ],
    ids=[
        "gz",
        "bz2",
        "xz",
        "zst",
        "gz-members",
        "zip",
        "zip-stored",
        "zip-lzma",
        "tar",
        "tar.gz",
        "tar.zst",
        "nested",
        "gz-gz",
    ],
)
def test_every_container_gives_the_same_rows(tmp_path: Path, packed: bytes) -> None:
    got = decode_bytes(tmp_path, packed)
    assert got.kinds() == {"windows.event": 3}
    assert [r["EventID"] for r in got.rows("windows.event")] == [0, 1, 2]
    assert got.report.events == 3
    assert got.report.error is None


def test_members_are_named_by_archive_and_path(tmp_path: Path) -> None:
    got = decode_bytes(tmp_path, zipped({"d/inner.zip": zipped({"e.json": LINES}), "f.json": LINES}), "outer.zip")
    assert [r.path for r in got.reports] == [f"{tmp_path}/outer.zip!d/inner.zip!e.json", f"{tmp_path}/outer.zip!f.json"]
    assert {b.origin for b in got.batches} == {r.path for r in got.reports}


def test_a_compressed_file_keeps_its_own_name(tmp_path: Path) -> None:
    assert decode_bytes(tmp_path, gzipped(LINES), "x.gz").report.path == f"{tmp_path}/x.gz"


def test_a_bomb_is_refused_by_name_and_the_rest_is_read(tmp_path: Path) -> None:
    got = decode_bytes(
        tmp_path, zipped({"bomb.json": b"\n" * (4 << 20), "good.json": LINES}), archive_ratio_floor=1 << 20
    )
    bomb, good = got.reports
    assert bomb.error is not None
    assert bomb.error.code == codes.BOMB_RATIO
    assert "bomb.json" in str(bomb.error)
    assert "archive_ratio" in str(bomb.error)
    assert good.events == 3


@pytest.mark.parametrize("pack", [gzipped, zstandard.compress, bz2.compress, lzma.compress])
def test_a_bomb_without_an_honest_directory_is_stopped_while_reading(tmp_path: Path, pack: object) -> None:
    got = decode_bytes(tmp_path, pack(LINES + b"\n" * (4 << 20)), archive_ratio_floor=1 << 20)  # type: ignore[operator]
    assert got.report.error is not None
    assert got.report.error.code == codes.BOMB_RATIO
    assert got.report.bytes <= 3 << 20
    assert got.kinds() == {"windows.event": 3}


def test_a_nested_bomb_is_measured_against_the_outermost_archive(tmp_path: Path) -> None:
    inner = zipped({f"{n}.json": LINES + b"\n" * (700 << 10) for n in range(20)})
    got = decode_bytes(tmp_path, zipped({"inner.zip": inner}), archive_ratio_floor=1 << 20)
    assert got.reports[-1].error is not None
    assert got.reports[-1].error.code == codes.BOMB_RATIO
    assert len(got.reports) < 20


def test_total_bytes_members_and_depth_are_bounded(tmp_path: Path) -> None:
    many = zipped({f"{n}": LINES for n in range(10)})
    assert decode_bytes(tmp_path, many, archive_members=4).reports[-1].error.code == codes.BOMB_MEMBERS  # type: ignore[union-attr]
    assert decode_bytes(tmp_path, many, archive_bytes=500).reports[-1].error.code == codes.BOMB_BYTES  # type: ignore[union-attr]
    deep = LINES
    for _ in range(8):
        deep = zipped({"x": deep})
    refused = decode_bytes(tmp_path, deep).report
    assert refused.error is not None
    assert refused.error.code == codes.BOMB_DEPTH
    assert "archive_depth" in str(refused.error)
    assert decode_bytes(tmp_path, deep, archive_depth=8).report.events == 3


@pytest.mark.parametrize(("pack", "count"), [(gzipped, 3000), (zstandard.compress, 20_000)], ids=["gzip", "zstd"])
def test_a_truncated_stream_gives_what_came_before(tmp_path: Path, pack: Callable[[bytes], bytes], count: int) -> None:
    import random

    noise = random.Random(1)
    lines = [b'{"EventID":1,"Channel":"c","x":"%d"}\n' % noise.getrandbits(200) for _ in range(count)]
    whole = pack(b"".join(lines))
    got = decode_bytes(tmp_path, whole[: len(whole) // 2])
    assert count // 3 < len(got.rows("windows.event")) < count * 2 // 3
    assert not got.dead
    assert got.report.error is not None
    assert got.report.error.code == codes.BAD_GZIP
    assert str(tmp_path) in str(got.report.error)


def test_a_truncated_tar_says_so_once(tmp_path: Path) -> None:
    whole = tarred({"a": LINES, "b": LINES * 400})
    got = decode_bytes(tmp_path, whole[:9000])
    assert got.reports[0].events == 3
    assert sum(r.error is not None for r in got.reports) == 1


def test_corrupt_zips(tmp_path: Path) -> None:
    good = zipped({"a.json": LINES, "b.json": LINES})
    cut = decode_bytes(tmp_path, good[:-30]).report
    assert cut.error is not None
    assert cut.error.code == codes.CORRUPT_ARCHIVE
    # Damage within one member leaves the other readable.
    stored = bytearray(zipped({"a.json": LINES, "b.json": LINES}, zipfile.ZIP_STORED))
    stored[stored.find(b"EventID")] ^= 1
    a, b = decode_bytes(tmp_path, bytes(stored)).reports
    assert a.error is not None
    assert a.error.code == codes.CORRUPT_ARCHIVE
    assert (b.error, b.events) == (None, 3)


def test_formats_that_are_not_read_are_named(tmp_path: Path) -> None:
    seven = decode_bytes(tmp_path, b"7z\xbc\xaf\x27\x1c" + bytes(100)).report
    assert seven.error is not None
    assert seven.error.code == codes.UNSUPPORTED_ARCHIVE
    assert "7z" in seven.error.message


def test_an_empty_archive_is_accounted_for(tmp_path: Path) -> None:
    assert decode_bytes(tmp_path, zipped({})).report.skipped


@needs_otrf
def test_encrypted_members_are_named() -> None:
    got = decode(OTRF / "compound" / "apt29" / "day2" / "pcaps" / "NEWYORK.zip")
    assert {r.error.code for r in got.reports if r.error} == {codes.ENCRYPTED}
