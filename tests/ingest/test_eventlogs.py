"""One spelling of the names of Windows' event logs and providers."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import tocsin
from tests.ingest.intake_support import Parser
from tests.ingest.parser_cases import make_mapper
from tests.ingest.support import OTRF, decode, needs_otrf
from tocsin.content import ParserFile, load_packs, packs_dir
from tocsin.ingest import SourceBatch
from tocsin.ingest.decoders.windows import EventBuffer
from tocsin.ingest.eventlogs import EventNames, Spellings, listed, name_key
from tocsin.ingest.mapping import Mapper
from tocsin.lake.engine import Engine
from tocsin.tables import catalogue
from tocsin.tables.kinds import EVENT_KINDS

SOURCES = Path(tocsin.__file__).parent
PSEXEC = OTRF / "atomic/windows/lateral_movement/host/empire_psexec_dcerpc_tcp_svcctl.zip"


def events(*rows: dict[str, object]) -> SourceBatch:
    buffer = EventBuffer()
    for row in rows:
        buffer.add_flat({"TimeCreated": "2024-05-01T10:00:00Z", "Hostname": "PC1", **row})
    return SourceBatch("windows.event", buffer.take(), "test")


def when_of(parser: ParserFile) -> dict[str, Any]:
    assert parser.document is not None
    return dict(parser.document.value.get("when") or {})


def test_each_name_has_one_spelling() -> None:
    names = pa.chunked_array([["security", "SYSTEM", None], [], ["Other/x", "Security", ""]], pa.string())
    made = Spellings(["Security", "SECURITY", "System"]).column(names)
    assert made.to_pylist() == ["Security", "System", None, "Other/x", "Security", ""]


@pytest.mark.parametrize("names", [["Security", None, "Other"], [], [None]])
def test_what_is_spelled_well_stays_the_identical_column(names: list[str | None]) -> None:
    column = pa.chunked_array([pa.array(names, pa.string())])
    assert Spellings(["Security"]).column(column) is column


def test_a_batch_that_is_spelled_well_is_not_copied() -> None:
    batch = events({"EventID": 1, "Channel": "Security", "SourceName": "Microsoft-Windows-Security-Auditing"})
    assert EventNames().spelled(batch) is batch
    odd = events({"EventID": 1, "Channel": "security", "SourceName": "MICROSOFT-WINDOWS-SECURITY-AUDITING"})
    assert EventNames().spelled(odd).rows.equals(batch.rows)
    assert odd.rows.column("Channel").to_pylist() == ["security"]  # what other readers have of it stays


def test_channels_that_only_a_parser_names_are_compared_without_case_too() -> None:
    parser = Parser(
        "p",
        "windows.event",
        "DeviceEvents",
        'source | where Channel == "Contoso-App/Operational" and EventID == 7 | project TimeGenerated = TimeCreated, DeviceName = Computer',
        {"Channel": ["Contoso-App/Operational"], "EventID": [7]},
    )
    mapper = Mapper([parser], Engine(catalog=catalogue()), catalogue())
    batch = events({"EventID": 7, "Channel": "CONTOSO-app/operational"}, {"EventID": 7, "Channel": "Contoso-App"})
    assert "DeviceEvents" in mapper.feeds(batch)
    assert [(b.table, b.rows.num_rows) for b in mapper.map(batch)] == [("DeviceEvents", 1)]


@pytest.mark.parametrize("spell", [str.lower, str.upper], ids=["lower", "upper"])
def test_every_parser_takes_events_of_its_channels_however_they_are_spelled(spell: Callable[[str], str]) -> None:
    """By the packs' own lists: the rows of each event by table are those of the same event with the names as registered."""
    mapper, queries = make_mapper()
    keys = set()
    for parser in load_packs([packs_dir()]).parsers:
        when = when_of(parser)
        if parser.source == "windows.event" and when.get("Channel") and when.get("EventID"):
            keys |= {(c, i) for c in when["Channel"] for i in when["EventID"]}
    assert len(keys) > 50
    registered = events(*({"EventID": i, "Channel": c} for c, i in sorted(keys)))
    odd = events(*({"EventID": i, "Channel": spell(c)} for c, i in sorted(keys)))
    with closing(queries):
        assert mapper.feeds(odd) == mapper.feeds(registered)
        expected = {b.table: b.rows for b in mapper.map(registered)}
        made = {b.table: b.rows for b in mapper.map(odd)}
    assert made.keys() == expected.keys() >= {"SecurityEvent", "DeviceProcessEvents", "WindowsEvent"}
    assert all(made[table].equals(expected[table]) for table in expected)


def test_names_that_parsers_rules_and_settings_compare_are_listed() -> None:
    """A name that nobody lists is one that nothing may ever be called: parsers named a provider as channel so, and never saw an event."""
    content = load_packs([packs_dir()])
    named: set[str] = set()
    for parser in content.parsers:
        if parser.source in EVENT_KINDS:
            named |= set(when_of(parser).get("Channel", ()))
    for file in [*packs_dir().glob("**/rules/**/*.yaml"), *packs_dir().glob("**/parsers/**/*.yaml")]:
        if not file.name.endswith(".test.yaml"):
            for found in re.findall(
                r"\bChannel\s*(?:[!=]=|=~|!?in~?)\s*\(?((?:\s*\"[^\"]*\",?)+)", file.read_text("utf-8")
            ):
                named |= set(re.findall(r'"([^"]*)"', found))
    logs = tomllib.loads((SOURCES / "detect/sigma/logsources.toml").read_text("utf-8"))["services"]
    named |= {channel for channels in logs.values() for channel in channels}
    named |= set(tomllib.loads((SOURCES / "ingest/receivers/wef.toml").read_text("utf-8"))["channels"])
    assert {"Security", "Microsoft-Windows-Sysmon/Operational", "PowerShellCore/Operational"} <= named
    assert named - set(listed()["channels"]) == set()


@pytest.mark.parametrize("kind", ["channels", "providers"])
def test_no_name_is_listed_twice(kind: str) -> None:
    names = listed()[kind]
    assert len({name_key(n) for n in names}) == len(names)


@needs_otrf
def test_a_recording_of_lower_case_channels_reaches_every_table() -> None:
    mapper, queries = make_mapper()
    raw: Counter[tuple[str, int]] = Counter()
    rows: Counter[str] = Counter()
    with closing(queries):
        for batch in decode(PSEXEC).batches:
            raw.update(zip(*(batch.rows.column(n).to_pylist() for n in ("Channel", "EventID")), strict=True))
            for made in mapper.map(batch):
                rows[made.table] += made.rows.num_rows
    lower, registered = raw["security", 4688], raw["Security", 4688]
    assert (lower, registered) == (6, 1)
    assert rows["DeviceProcessEvents"] == lower + registered + raw["Microsoft-Windows-Sysmon/Operational", 1]
    assert rows["SecurityEvent"] == sum(n for (channel, _), n in raw.items() if name_key(channel) == "security")
    assert rows["WindowsEvent"] == sum(raw.values())
    logged_elsewhere = ("security", "microsoft-windows-sysmon/operational")
    assert rows["Event"] == sum(n for (channel, _), n in raw.items() if name_key(channel) not in logged_elsewhere)
