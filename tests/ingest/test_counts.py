"""Rows and dead letters are as many as the records that other parsers find: the small form of `make counts`."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.counts import Compared, Ours, compare, independent
from tests.ingest.parser_cases import make_mapper
from tests.ingest.support import EVTX, OTRF, needs_evtx, needs_otrf
from tocsin.ingest.mapping import Mapper


@pytest.fixture(scope="module")
def mapper() -> Iterator[Mapper]:
    made, queries = make_mapper()
    yield made
    queries.close()


@needs_evtx
@pytest.mark.slow
def test_event_logs(mapper: Mapper) -> None:
    """The dozen smallest, and the one of several channels' events that is smallest."""
    paths = sorted(EVTX.rglob("*.evtx"), key=lambda p: (p.stat().st_size, p.name))[:12]
    compared = compare(paths, mapper)
    assert len(compared) == len(paths)
    assert sum(c.theirs.total() for c in compared) > 20
    assert [f"{c.name}: {c.difference}" for c in compared if not c.equal] == []


@needs_otrf
@pytest.mark.slow
def test_recordings_of_other_kinds(mapper: Mapper) -> None:
    """CloudTrail, a CSV, audit records, Zeek as text, rows of tables, events that others carry."""
    folders = ("atomic/aws", "atomic/linux", "compound/GoldenSAMLADFSMailAccess", "compound/Log4Shell")
    paths = [p for f in folders for p in sorted((OTRF / f).rglob("*.[zZ]ip"))]
    paths += sorted((OTRF / "compound/LSASS_campaign_01").glob("*zeek*.zip"))
    compared = compare(paths, mapper)
    assert {c.ours.format for c in compared} >= {"json", "csv", "auditd", "zeek-tsv"}
    assert len({channel for c in compared for channel in c.theirs}) > 3
    assert [f"{c.name}: {c.difference}" for c in compared if not c.equal] == []


def test_both_count_what_is_made_here(mapper: Mapper, tmp_path: Path) -> None:
    event = (
        b'{"EventID": 1, "Channel": "%b", "SourceName": "s", "Hostname": "h", "TimeCreated": "2024-05-01T10:00:00Z"}\n'
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.json", event % b"Security" * 3 + event % b"System" + b"{nonsense\n")
        archive.writestr("b.csv", "time,host,what\n2024-05-01T10:00:00Z,h,x\n2024-05-01T10:00:01Z,h,y\n")
    path = tmp_path / "both.zip"
    path.write_bytes(packed.getvalue())
    (table, lines) = sorted(compare([path], mapper), key=lambda c: c.name, reverse=True)
    assert table.equal
    assert table.theirs == Counter({"": 2})
    assert lines.ours.rows == Counter({"Security": 3, "System": 1})
    assert lines.ours.dead == 1
    assert independent(path)[lines.name].total() == 5
    assert lines.equal


def test_a_difference_is_one() -> None:
    assert Compared("x", Ours(Counter(a=2)), Counter(a=2)).equal
    assert not Compared("x", Ours(Counter(a=2)), Counter(b=2)).equal
    assert not Compared("x", Ours(Counter(a=2)), Counter(a=3)).equal
    assert Compared("x", Ours(Counter(a=2), dead=1), Counter(a=3)).equal
    assert not Compared("x", Ours(Counter(a=2), dead=2), Counter(a=3)).equal
