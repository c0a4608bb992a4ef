"""Counts records twice, once with Tocsin and once with parsers that it doesn't use, file by file and channel by channel.

    python -m tests.ingest.counts [FOLDER…]        (`make counts`)

Rows and dead letters must be as many as the records that the other parser finds: python-evtx for event logs, Python's own `json`, `csv`,
`zipfile` and `tarfile` for the rest. Rows are those of the tables that the packs' parsers fill: each source has one that takes every record
(`WindowsEvent` for Windows events), so an event that feeds several tables counts once.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
import tarfile
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ingest.parser_cases import make_mapper
from tests.ingest.support import SHARED
from tocsin.ingest import DecodeLimits, FileReport, SourceBatch, decode_path
from tocsin.ingest.mapping import Mapper

__all__ = ["Compared", "compare", "independent", "ours"]

Count = Counter[str]
"""Records by channel; "" where there are no channels."""


@dataclass
class Ours:
    """What Tocsin made of one file."""

    rows: Count = field(default_factory=Counter)
    dead: int = 0
    format: str = ""
    why: str = ""
    """Why it wasn't read."""


@dataclass(frozen=True)
class Compared:
    """Both counts of one file."""

    name: str
    ours: Ours
    theirs: Count

    @property
    def equal(self) -> bool:
        """Whether rows, with dead letters, are the records, and each channel's rows are its records."""
        rows = self.ours.rows
        if rows.total() + self.ours.dead != self.theirs.total():
            return False
        return bool(self.ours.dead) or rows == self.theirs

    @property
    def difference(self) -> str:
        """Where the counts differ."""
        more, less = dict(self.ours.rows - self.theirs), dict(self.theirs - self.ours.rows)
        return f"{more} too many, {less} too few, {self.ours.dead} dead letters {self.ours.why}"


# ---------------------------------------------------------------------------------------------------- Tocsin


def ours(paths: Iterable[Path], mapper: Mapper) -> dict[str, Ours]:
    """Rows in tables and dead letters of every file, by its name."""
    found: dict[str, Ours] = {}
    for path in paths:
        tables: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        records: Counter[str] = Counter()
        dead = 0
        for item in decode_path(path, limits=DecodeLimits()):
            if isinstance(item, SourceBatch):
                records[item.source] += len(item)
                for batch in mapper.map(item):
                    names = batch.rows.column_names
                    channels = batch.rows.column("Channel").to_pylist() if "Channel" in names else None
                    channelled = channels is not None and item.source == "windows.event"
                    for channel, count in Counter(channels if channelled else [""] * batch.rows.num_rows).items():  # type: ignore[arg-type]
                        tables[item.source][batch.table, channel or ""] += count
            elif isinstance(item, FileReport):
                made = found[item.path] = Ours(dead=dead, format=item.format, why=item.skipped or str(item.error or ""))
                # Of an event that another record carries (an audit record in a line of syslog) the carrying record is what counts.
                carried = [s for s, count in records.items() if records.total() - count == item.events]
                for source, count in records.items():
                    if source not in carried[:1]:
                        made.rows += _whole(tables[source], count)
                tables, records, dead = defaultdict(Counter), Counter(), 0
            else:
                dead += 1
    return found


def _whole(tables: Counter[tuple[str, str]], count: int) -> Count:
    """The rows of the table that takes every record; of none if there is no such table, which shows as a difference."""
    totals: Counter[str] = Counter()
    for (table, _), rows in tables.items():
        totals[table] += rows
    whole = sorted((t for t, rows in totals.items() if rows == count), key=lambda t: t != "WindowsEvent")
    return Counter({c: n for (t, c), n in tables.items() if whole and t == whole[0]})


# ---------------------------------------------------------------------------------------------------- others


def independent(path: Path) -> dict[str, Count]:
    """Records of every log in a file, by other means. What is no log (captures, notes) isn't there."""
    if zipfile.is_zipfile(path):
        found: dict[str, Count] = {}
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.is_dir() or info.flag_bits & 1:
                    continue
                found |= _member(f"{path}!{info.filename}", archive.read(info))
        return found
    if path.name.endswith((".tar.gz", ".tgz")):
        found = {}
        with tarfile.open(path) as tar:
            for member in tar:
                stream = tar.extractfile(member)
                if stream is not None:
                    found |= _member(f"{path}!{member.name}", stream.read())
        return found
    return _member(str(path), path.read_bytes())


def _member(name: str, data: bytes) -> dict[str, Count]:
    base = name.rsplit("/", 1)[-1].rsplit("!", 1)[-1]
    if base.startswith("._"):
        return {}
    if data[:8] == b"ElfFile\0":
        return {name: count_evtx(data)}
    if base.endswith(".csv"):
        return {name: Counter({"": sum(1 for row in csv.reader(io.StringIO(data.decode())) if row) - 1})}
    if data[:10] == b"#separator":
        return {name: Counter({"": sum(1 for line in data.split(b"\n") if line.strip() and line[:1] != b"#")})}
    if data.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"{", b"["):
        return {name: count_json(data)}
    if data.startswith((b"type=", b"node=")):
        # Records of one event share their number.
        return {name: Counter({"": len(set(re.findall(rb"audit\(([\d.]+:\d+)\)", data)))})}
    return {}


def count_evtx(data: bytes) -> Count:
    """Records of an event log, by python-evtx."""
    from Evtx.Evtx import FileHeader

    found: Count = Counter()
    header = FileHeader(data, 0)
    for chunk in header.chunks(include_inactive=True):
        if chunk.magic() != "ElfChnk\x00":
            continue
        for record in chunk.records():
            channel = re.search(r"<Channel>([^<]*)</Channel>", record.xml())
            found[channel[1] if channel else ""] += 1
    return found


def count_json(data: bytes) -> Count:
    """Events of JSON: objects one after another, or in arrays, or in an envelope's list of records."""
    text = data.decode("utf-8-sig", "replace")
    found: Count = Counter()
    for value in _values(text):
        for event in _events(value):
            found[_channel(event)] += 1
    return found


def _values(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder(strict=False)
    at = 0
    skip = re.compile(r"[\s,]*")
    while at < len(text):
        at = skip.match(text, at).end()  # type: ignore[union-attr]
        if at >= len(text):
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            # A line that is none counts as a record all the same.
            value, at = None, text.find("\n", at) + 1 or len(text)
        yield value


def _events(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    for name in ("Records", "value", "records"):
        if isinstance(value, dict) and isinstance(value.get(name), list) and len(value) <= 3:
            inner: list[Any] = value[name]
            return inner
    return [value]


def _channel(event: Any) -> str:
    for keys in (
        ("Channel",),
        ("channel",),
        ("winlog", "channel"),
        ("log_name",),
        ("EventLog",),
        ("Event", "System", "Channel"),
        ("System", "Channel"),
    ):
        value = event
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value:
            return value
    return ""


# ---------------------------------------------------------------------------------------------------- both


def compare(paths: Iterable[Path], mapper: Mapper) -> list[Compared]:
    """Both counts of every log in files. A log that only one of the two sees is there with nothing on the other side."""
    found: list[Compared] = []
    for path in paths:
        mine, theirs = ours([path], mapper), independent(path)
        names = sorted(n for n in mine.keys() | theirs.keys() if n in theirs or mine[n].rows or mine[n].dead)
        found += [Compared(n, mine.get(n, Ours()), theirs.get(n, Counter())) for n in names]
    return found


def files(roots: Iterable[Path]) -> list[Path]:
    """The files of folders that hold logs by their names: no notes, no rules."""
    return sorted(
        p
        for root in roots
        for p in ([root] if root.is_file() else root.rglob("*"))
        if p.is_file() and p.suffix.lower() in (".evtx", ".zip", ".gz", ".log", ".json", ".csv")
    )


def main() -> int:
    """Prints what differs and the sums. The exit code is 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[SHARED / "otrf", SHARED / "evtx-attack-samples", SHARED / "sigma"]
    )
    given = parser.parse_args()
    began = time.monotonic()
    mapper, queries = make_mapper()
    compared = []
    for path in files(given.folders):
        compared += compare([path], mapper)
        print(f"\r{len(compared)} logs", end="", file=sys.stderr, flush=True)
    queries.close()
    print(file=sys.stderr)
    for c in compared:
        if not c.equal:
            print(f"DIFFERS {c.name}: {c.difference}")
    print(report(compared))
    print(f"\n{time.monotonic() - began:.0f} s")
    return int(any(not c.equal for c in compared))


def report(compared: Iterable[Compared]) -> str:
    """The sums by format, as a table."""
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for c in compared:
        s = sums[c.ours.format or "not read"]
        s["logs"] += 1
        s["records"] += c.theirs.total()
        s["rows"] += c.ours.rows.total()
        s["dead"] += c.ours.dead
        s["channels"] += sum(1 for channel in c.theirs if channel)
        s["differ"] += not c.equal
    lines = [
        "| format | logs | records by the other parser | rows | dead letters | channels, log by log | logs that differ |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    columns = ("logs", "records", "rows", "dead", "channels", "differ")
    lines += [f"| {kind} | {' | '.join(f'{s[c]:,}' for c in columns)} |" for kind, s in sorted(sums.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
