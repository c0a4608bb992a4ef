"""Parsers taken apart into forms: what they give must be what they give as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingest.intake_support import Parser
from tests.ingest.test_mapping import events
from tocsin.content import load_packs, packs_dir
from tocsin.ingest import SourceBatch
from tocsin.ingest.forms import Atom, split
from tocsin.ingest.mapping import Mapper
from tocsin.ingest.schemas import schema_of
from tocsin.kql.types import MappingCatalog
from tocsin.lake.engine import Engine
from tocsin.tables import catalogue

SOURCE = schema_of("windows.event", events({"EventID": 1}).rows.schema)
CHANNELS, IDS = frozenset({"c"}), frozenset({1, 2})


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine(catalog=catalogue())
    yield made
    made.close()


def test_a_parser_is_conditions_and_columns() -> None:
    made = split(
        'source | where Channel == "c" and EventID in (1, 2, 3) | where tostring(EventData.Kind) == "x" '
        "| project Computer, FileName = tostring(EventData['Image']), ActionType = 'a, b', ProcessId = tolong(tostring(EventData.A)),\n"
        " AdditionalFields = bag_pack('Image', tostring(EventData.A), 'B', Level, 'C', tostring(EventData.A)) // EventID\n",
        SOURCE,
        CHANNELS,
        IDS,
    )
    assert made is not None
    (condition,) = made.conditions
    assert (condition.form and condition.form.text, condition.atoms) == ('_atom0 == "x"', (Atom("EventData", "Kind"),))
    assert [(i.name, i.form and i.form.text, len(i.atoms)) for i in made.items] == [
        ("Computer", None, 1),
        ("FileName", None, 1),
        ("ActionType", "'a, b'", 0),
        ("ProcessId", "tolong(_atom0)", 1),
        ("AdditionalFields", "bag_pack('Image', _atom0, 'B', _atom1, 'C', _atom0)", 2),
    ]


@pytest.mark.parametrize(
    "where",
    ['Channel == "d"', "EventID == 1", "EventID in (2, 3)", 'Channel in ("d")', "EventID != 7", "EventID == 1 or EventID == 2",
     'Channel =~ "c"', "EventID in (1, 2, 2 + 1)"],
)  # fmt: skip
def test_conditions_that_say_more_are_kept(where: str) -> None:
    made = split(f"source | where {where} | project Computer", SOURCE, CHANNELS, IDS)
    assert made is not None
    assert len(made.conditions) == 1
    everything = split(f"source | where {where} | project Computer", SOURCE, None, None)
    assert everything is not None
    assert len(everything.conditions) == 1


@pytest.mark.parametrize(
    "text",
    [
        "source | project a = 1 | where a == 1",
        "source | extend a = 1 | project a",
        "source | where EventID == 1 or Level == 2 and Task == 3 | project Computer",
        "let x = 1; source | project a = x",
        "source | project a = toscalar(source | count)",
        "source | project a = tostring(EventData.A.B)",
        "source | project a = EventData.A",
        "source | project tostring(EventData.A)",
        "source | project a = 1, a = 2",
        "source | summarize count()",
        "source",
    ],
)
def test_other_parsers_run_as_a_whole(text: str) -> None:
    assert split(text, SOURCE, CHANNELS, IDS) is None


def outcome(mapper: Mapper, batch: SourceBatch) -> dict[str, pa.Table]:
    return {made.table: made.rows for made in mapper.map(batch)}


class Whole(Mapper):
    """A mapper whose parsers run one by one."""

    def _together(self, batch: SourceBatch, work: Any) -> dict[int, pa.Table]:
        return {}


VALUES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "-", "0x1F", "12", "S-1-0-0", "C:\\Windows\\a.exe", "CONTOSO\\bob", "%%1936", "MD5=AB,SHA256=CD", "::ffff:10.0.0.1",
                     "HKLM\\System\\x", "2020-10-20 01:02:03", "true", "1;2;"]),
)  # fmt: skip
FIELDS = (
    "Image", "User", "ProcessId", "Hashes", "TargetObject", "EventType", "Details", "SourceIp", "DestinationPort", "Initiated", "TargetUserName",
    "TargetDomainName", "LogonType", "ObjectName", "AccessMask", "NewProcessName", "SubjectUserName", "TokenElevationType", "Protocol",
    "CreationUtcTime", "TargetFilename", "IpAddress", "Status", "OperationType", "ObjectType",
)  # fmt: skip
KINDS = [("Microsoft-Windows-Sysmon/Operational", n) for n in (1, 3, 7, 11, 12, 13, 22)]
KINDS += [("Security", n) for n in (4624, 4657, 4663, 4688, 4768, 5156, 4720, 9999)] + [("System", 7045), ("Other", 1)]


@pytest.fixture(scope="module")
def mappers(engine: Engine) -> tuple[Mapper, Mapper]:
    packs = load_packs([packs_dir() / "windows"])
    found = [p for p in packs.parsers if p.source == "windows.event"]
    tables = {name: schema for name in catalogue().names() if (schema := catalogue().table(name)) is not None}
    catalog = MappingCatalog(tables, {f.name: f for f in packs.functions})
    return Mapper(found, engine, catalog), Whole(found, engine, catalog)


@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=8)), min_size=1, max_size=30)
)  # fmt: skip
def test_forms_give_what_parsers_give(
    mappers: tuple[Mapper, Mapper], made: list[tuple[tuple[str, int], dict[str, str]]]
) -> None:
    batch = events(
        *({"Channel": c, "EventID": i, "Hostname": "H", "EventRecordID": n, **f} for n, ((c, i), f) in enumerate(made))
    )
    ours, theirs = (outcome(m, batch) for m in mappers)
    assert ours.keys() == theirs.keys()
    for table, rows in theirs.items():
        assert ours[table].schema.equals(rows.schema)
        assert ours[table].to_pylist() == rows.to_pylist()
    assert not mappers[0].problems


def test_every_windows_parser_is_taken_apart(mappers: tuple[Mapper, Mapper]) -> None:
    mapper, _ = mappers
    mapper.map(events(*({"Channel": c, "EventID": i, "Hostname": "h"} for c, i in KINDS)))
    compiled = [c for p in mapper._parsers["windows.event"] for c in p.compiled.values() if c is not None]
    assert len(compiled) > 15
    assert all(c.split is not None for c in compiled)


def test_what_fails_together_runs_one_by_one(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise pa.ArrowInvalid("made to fail")

    monkeypatch.setattr("tocsin.ingest.forms._result", fail)
    parser = Parser("p", "windows.event", "DeviceEvents", "source | project FileName = toupper(tostring(EventData.A))")
    rows = outcome(Mapper([parser], engine, catalogue()), events({"EventID": 1, "Channel": "c", "A": "x"}))
    assert rows["DeviceEvents"].column("FileName").to_pylist() == ["X"]


def test_memory_of_results_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.ingest.forms._MOST_KNOWN", 20)
    parser = Parser("p", "windows.event", "DeviceEvents", "source | project FileName = toupper(tostring(EventData.A))")
    mapper = Mapper([parser], engine, catalogue())
    for start in range(0, 200, 10):
        batch = events(*({"EventID": 1, "Channel": "c", "A": f"v{n % 150}"} for n in range(start, start + 15)))
        rows = outcome(mapper, batch)["DeviceEvents"]
        assert rows.column("FileName").to_pylist() == [f"V{n % 150}" for n in range(start, start + 15)]
        assert sum(len(r.known) for r in mapper._forms._ready.values() if r is not None) <= 40
