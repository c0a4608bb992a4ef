"""JSON lines judged by the native kernel and by wheels alone, against the decoder and the matcher's own walk over its rows."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tocsin.detect.formats.sigma import SigmaRules, load_folder
from tocsin.detect.rule import Rule
from tocsin.detect.sigma.computed import COMPUTED, INPUTS
from tocsin.detect.sigma.kernel import AVAILABLE, NativeLines
from tocsin.detect.sigma.keywords import keywords_of
from tocsin.detect.sigma.lines import PythonLines
from tocsin.detect.sigma.matcher import SigmaMatcher
from tocsin.ingest.decoders import decode_body, decode_path
from tocsin.ingest.model import SourceBatch

from .support import DATA, SIGMA, SYSMON, detection, needs_sigma, sigma

PATHS = [
    pytest.param(
        True, id="native", marks=pytest.mark.skipif(not AVAILABLE, reason="the native kernel isn't built here")
    ),
    pytest.param(False, id="wheels"),
]
KINDS = [True, False] if AVAILABLE else [False]


class Body:
    """Lines as a receiver hands them on."""

    source = "jsonl"

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.data = b"\n".join(lines)
        self.meta: Mapping[str, str] = {}
        from datetime import UTC, datetime

        self.received = datetime(2024, 5, 1, tzinfo=UTC)


def decoded(lines: Iterable[bytes]) -> list[SourceBatch]:
    return [b for b in decode_body(Body(lines)) if isinstance(b, SourceBatch)]


def pairs(matcher: SigmaMatcher, batches: Iterable[SourceBatch], *, lines: bool) -> list[tuple[str, str]]:
    return sorted((h.rule.id, orjson.dumps(h.row, default=str, option=orjson.OPT_SORT_KEYS).decode())
                  for b in batches for h in matcher.hits(b, lines=lines))  # fmt: skip


def agree(rules: Iterable[Rule], lines: list[bytes]) -> int:
    """All ways give the same hits; how many."""
    rules = list(rules)
    batches = decoded(lines)
    wanted = pairs(SigmaMatcher(rules, native=False), batches, lines=False)
    for native in KINDS:
        matcher = SigmaMatcher(rules, native=native)
        for _ in range(2):  # cold, and with everything remembered
            assert pairs(matcher, batches, lines=True) == wanted, native
        scanned = SigmaMatcher(rules, native=native)
        assert scanned.match_lines(lines) == []
        assert scanned.stats.hits == len(wanted)
    return len(wanted)


# ------------------------------------------------------------------ made events

RULES = """\
title: Text
id: 0a1b2c3d-0000-4000-8000-000000000001
logsource: {product: windows, category: process_creation}
detection:
  a: {Image|endswith: ['\\cmd.exe', ÉX.exe], CommandLine|contains: [abc, ' /c ', 'x*y?z', é]}
  b: {CommandLine|re: ['a[0-9]+b', '(?i)who(ami)?$', '^.{300,}$']}
  c: {Image|cased: Cmd, User|startswith: NT}
  d: {ParentImage: null, Image|exists: true}
  e: {CommandLine: ''}
  f: {ProcessId|gt: 1000, ProcessId|lt: 0x7fff}
  condition: a or b or c or (d and not e) or f
---
title: Pair
id: 0a1b2c3d-0000-4000-8000-000000000002
logsource: {product: windows, category: process_creation}
detection: {s: {Image|fieldref: ParentImage}, condition: s}
---
title: Columns
id: 0a1b2c3d-0000-4000-8000-000000000003
logsource: {product: windows, service: sysmon}
detection:
  s: {Provider_Name: P}
  t: {Level: 4, Computer|startswith: ws}
  u: {EventType: [INFO, SetValue]}
  v: {ProcessID: 77}
  w: {Keywords|contains: '0x8'}
  condition: s or t or u or v or w
---
title: Words
id: 0a1b2c3d-0000-4000-8000-000000000004
logsource: {product: windows}
detection: {k: ['sekurlsa::', 'kiwi', 'back\\slash', 'long-keyword-here'], condition: k}
---
title: Network
id: 0a1b2c3d-0000-4000-8000-000000000005
logsource: {product: windows, category: network_connection}
detection: {s: {DestinationIp|cidr: [10.0.0.0/8, 'fe80::/10']}, n: {DestinationPort: [80, 443]}, condition: s or not n}
---
title: Security
id: 0a1b2c3d-0000-4000-8000-000000000006
logsource: {product: windows, category: process_creation}
detection: {s: {User|endswith: '\\ann', IntegrityLevel: High}, t: {ParentImage|endswith: z}, condition: s or t}
"""
WORDS = ["cmd.exe", "C:\\cmd.exe", "abc", " /c ", "xAAyBz", "a12b", "whoami", "Cmd", "NT AUTH", "", "é", "É", "ÉX.exe", "K", "Kiwi", "İ",

         "sekurlsa::", "back\\slash", "a/b", 'q"q', "\n\t\r", "\x01", "😀", "77", "1001", "10.1.2.3", "fe80::1", "80",
         "CONTOSO\\ann", "INFO", "SetValue",
         "S-1-16-12288", "long-keyword-here", "0x8000", "P", "ws1", "x" * 400,
         "{54849625-5478-4994-a5ba-3e3b0328c30d}", "54849625-5478-4994-a5ba-3e3b0328c30d"]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(WORDS), st.lists(st.sampled_from(WORDS), max_size=3).map("".join), st.none(), st.booleans(), st.integers(-5, 2000),
    st.floats(allow_nan=False, allow_infinity=False), st.lists(st.sampled_from(WORDS), max_size=2), st.just({"a": 1}), st.text(max_size=5),
)  # fmt: skip
NAMES = ["Image", "CommandLine", "ParentImage", "User", "ProcessId", "EventType", "ProcessID", "Keywords", "Level",
         "Severity", "SourceName", "Provider",
         "Hostname", "Computer", "host", "tags", "RecordNumber", "EventRecordID", "ThreadID", "EventTime", "ExecutionProcessID", "Message",
         "image",
         "Command Line", "DestinationIp", "DestinationPort", "NewProcessName", "ParentProcessName", "MandatoryLabel", "SubjectUserName",
         "SubjectDomainName",
         "TargetUserName", "ProviderName", "Version", "Opcode", "UserID",
         "TimeGenerated", "Type", "Task", "Data", "Ünï", "a\"b", "Data_1"]  # fmt: skip
EVENTS = st.builds(
    lambda head, own, order: dict(sorted({**own, **head}.items(), key=lambda i: crc32(f"{order}{i[0]}".encode()) if order else 0)),
    st.fixed_dictionaries({
        "Channel": st.sampled_from([SYSMON, SYSMON, SYSMON, "Security", "security", "Other", None, 5]),
        "EventID": st.sampled_from([1, 1, 1, 3, "1", "3", 4688, "0x1", True, None, 1.0, 12]),
        "SourceName": st.sampled_from(["P", "Q", "", None]),
        "TimeCreated": st.just("2024-05-01T10:00:00Z"),
    }),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8),
    st.integers(0, 3),
)  # fmt: skip


def written(event: dict[str, Any], how: int) -> bytes:
    """The event as one of several writers of JSON writes it."""
    import json

    if how == 0:
        return orjson.dumps(event)
    if how == 1:
        return json.dumps(event).encode()  # \u escapes, blanks
    text = json.dumps(event, ensure_ascii=False, separators=(" , ", "\t: "))
    return text.replace("/", "\\/").encode("utf-8", "replace") + b" \r"


# No shrinking: each try judges twelve events in five ways.
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(st.tuples(EVENTS, st.integers(0, 2)), min_size=1, max_size=12))
def test_made_events(events: list[tuple[dict[str, Any], int]]) -> None:
    rules = sigma(RULES)
    assert rules.problems == ()
    agree(rules.rules, [written(e, how) for e, how in events])


# ------------------------------------------------------------------ nested events


def winlogbeat(event: dict[str, Any]) -> dict[str, Any]:
    own = {k: v for k, v in event.items() if k not in ("Channel", "EventID", "SourceName", "TimeCreated")}
    return {
        "@timestamp": event["TimeCreated"],
        "ecs": {"version": "8.0.0"},
        "host": {"name": own.pop("Hostname", "ws1"), "os": {"family": "windows"}},
        "log": {"level": own.pop("Level", "information")},
        "event": {"code": 1, "kind": "event"},
        "winlog": {"channel": event["Channel"], "event_id": event["EventID"], "provider_name": event["SourceName"], "event_data": own,
                   "computer_name": own.pop("Computer", "ws2.x"), "keywords": own.pop("Keywords", ["Audit Success"]), "user": {"identifier": "S-1"},
                   "process": {"pid": own.pop("ProcessID", 77), "thread": {"id": 2}}},
        "message": own.pop("Message", "Text"),
    }  # fmt: skip


def raw_event(event: dict[str, Any], how: int) -> dict[str, Any]:
    own = {k: v for k, v in event.items() if k not in ("Channel", "EventID", "SourceName", "TimeCreated")}
    number = {"#attributes": {"Qualifiers": 1}, "#text": event["EventID"]} if how & 1 else event["EventID"]
    provider = (
        {"@Name": event["SourceName"]} if how & 2 else {"#attributes": {"Name": event["SourceName"], "Guid": "{1}"}}
    )
    system = {"Provider": provider, "EventID": number, "Level": own.pop("Level", 4), "Channel": event["Channel"],
              "Keywords": own.pop("Keywords", "0x8"), "Computer": own.pop("Computer", "ws2"), "EventRecordID": 5,
              "TimeCreated": {"#attributes": {"SystemTime": event["TimeCreated"]}}, "Security": {"#attributes": {"UserID": "S-1"}},
              "Execution": {"#attributes": {"ProcessID": own.pop("ProcessID", 77), "ThreadID": 1}}}  # fmt: skip
    body = {"System": system, "EventData": own}
    return body if how & 4 else {"Event": {"#attributes": {"xmlns": "x"}, **body}}


DENTS: list[tuple[str, ...]] = [
    ("winlog", "event_data"), ("winlog", "channel"), ("winlog", "event_id"), ("winlog", "process"), ("host",), ("winlog",), ("Event",),
    ("Event", "EventData"), ("Event", "System", "EventID"), ("Event", "System", "Provider"), ("EventData",), ("System",), ("log",),
    ("Event", "UserData"), ("winlog", "user_data"), ("winlog", "log_name"), ("EventID",), ("event_id",), ("Type",), ("Event", "EventData", "Data"),
    ("winlog", "event_data", "Data"), ("winlog", "event_data", "#attributes"), ("Channel",), ("winlog\x1fchannel",), ("Event", "System"),
]  # fmt: skip
DENTED = st.sampled_from([None, {}, [], "x", 1, {"a": "b"}, {"#text": ["abc", "é"]}, {"EventID": 1}, ["abc", "whoami"]])


@settings(max_examples=30, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(st.tuples(EVENTS, st.integers(0, 8), st.integers(0, 2), st.none() | st.tuples(st.sampled_from(DENTS), DENTED)), min_size=1,
                max_size=10))  # fmt: skip
def test_made_nested_events(events: list[tuple[dict[str, Any], int, int, tuple[tuple[str, ...], Any] | None]]) -> None:
    lines = []
    for event, shape, how, dent in events:
        made = winlogbeat(event) if shape > 7 else raw_event(event, shape)
        if dent is not None:
            at: Any = made
            for step in dent[0][:-1]:
                at = at.get(step) if isinstance(at, dict) else None
            if isinstance(at, dict):
                at[dent[0][-1]] = dent[1]
        lines.append(written(made, how))
    agree(sigma(RULES).rules, lines)


@pytest.mark.parametrize("native", PATHS)
def test_shipped_shapes_need_no_decoder(native: bool) -> None:
    event = {"Channel": SYSMON, "EventID": 1, "SourceName": "P", "TimeCreated": "2024-05-01T10:00:00Z", "CommandLine": "whoami", "User": None,
             "ProcessGuid": "54849625-5478-4994-a5ba-3e3b0328c30d"}  # fmt: skip
    shapes = [winlogbeat(event), *(raw_event(event, how) for how in range(8)), {**event, "Type": "4"}]
    lines = [orjson.dumps(s) for s in shapes]
    matcher = SigmaMatcher(sigma(RULES).rules, native=native)
    for _ in range(2):
        hits, slow = matcher._scanner.scan(lines)
        assert slow == ([] if native else [0])  # winlog.keywords is a list, and a rule reads it
        assert [i for i, _ in hits] == list(range(len(slow), len(lines)))
    assert agree(sigma(RULES).rules, lines) >= len(lines)
    assert matcher._scanner.scan([orjson.dumps({**event, "Type": "Event"})]) == ([], [0])


@pytest.mark.parametrize("native", PATHS)
def test_odd_lines_go_to_the_decoder(native: bool) -> None:
    matcher = SigmaMatcher(sigma(RULES).rules, native=native)
    good = orjson.dumps(
        {
            "Channel": SYSMON,
            "EventID": 1,
            "SourceName": "x",
            "TimeCreated": "2024-05-01T10:00:00Z",
            "CommandLine": "whoami",
        }
    )
    lines = [good, b"", b"{", b"[]", b"{}", good[:-1], good + b"x", good.replace(b"whoami", b"who\x01ami"), good.replace(b"whoami", b"who\xffami"),
             b'{"Channel":"x","EventID":', b'{"Event":{"System":{}}}', good.replace(b'"Channel"', b'"Channe\\u006c"'),
             good.replace(b'"SourceName":"x"', b'"EventID":1'), b"null", b'"' + good, b'{"a":' * 300, b'{"a":"' + b"\\" * 7, good]  # fmt: skip
    scanner = (NativeLines if native else PythonLines)(lambda c, e: matcher._windows_program("windows.event", c, e))
    for _ in range(2):
        hits, slow = scanner.scan(lines)
        assert {0, len(lines) - 1} <= {i for i, _ in hits}
        # Whatever isn't plain JSON of a known shape must not be judged here.
        assert set(range(1, len(lines) - 1)) - {11, 12} <= set(slow)
    assert agree(sigma(RULES).rules, lines) >= 2


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.sampled_from([b'{"Channel":"Security","EventID":4688,"A":"b"}', b'{"a":{"b":[1,"]"]}}']), max_size=6),
       st.integers(0, 60), st.binary(max_size=3))  # fmt: skip
def test_any_bytes(lines: list[bytes], at: int, more: bytes) -> None:
    matcher = SigmaMatcher(sigma(RULES).rules, native=False)
    changed = [line[:at] + more + line[at + 1 :] for line in lines]
    for scanner in [PythonLines, *([NativeLines] if AVAILABLE else [])]:
        hits, slow = scanner(lambda c, e: matcher._windows_program("windows.event", c, e)).scan(changed)
        assert all(0 <= i < len(changed) for i in (*slow, *(i for i, _ in hits)))


@pytest.mark.parametrize("native", PATHS)
def test_memory_is_bounded_whatever_a_sender_writes(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from tocsin.detect.sigma import kernel, lines

    monkeypatch.setattr(kernel, "VALUE_BYTES", 100_000)
    monkeypatch.setattr(lines, "VALUE_BYTES", 100_000)
    monkeypatch.setattr(kernel, "MOST_LAYOUTS", 50)
    monkeypatch.setattr(lines, "LAYOUTS", 50)
    matcher = SigmaMatcher(sigma(RULES).rules, native=native)
    base = {"Channel": SYSMON, "EventID": 1, "SourceName": "x", "TimeCreated": "2024-05-01T10:00:00Z"}
    found = 0
    for start in range(0, 5_000, 500):
        events = [
            {**base, f"n{i % 200}": "v", "Image": f"C:\\{i}\\cmd.exe", "CommandLine": f"abc {i}"}
            for i in range(start, start + 500)
        ]
        hits, slow = matcher._scanner.scan([orjson.dumps(e) for e in events])
        found += len(hits)
        assert slow == []
    assert found == 5_000
    scanner = matcher._scanner
    if isinstance(scanner, NativeLines):
        assert scanner.stats()["value_bytes"] < 400_000
        assert scanner.stats()["layouts"] <= 250
    else:
        assert isinstance(scanner, PythonLines)
        assert sum(len(t) for t in scanner._budget.tables) < 2_000
        assert len(scanner._layouts) <= 50


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_computed_fields_read_what_they_say(name: str) -> None:
    asked: set[str] = set()

    class Seen(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.add(key)
            return super().get(key, default)

    for fields in ({}, dict.fromkeys(INPUTS[name], "%%1876"), dict.fromkeys(INPUTS[name], "7")):
        asked.clear()
        COMPUTED[name](Seen(fields))
        assert asked <= set(INPUTS[name])


@given(st.lists(st.text(st.sampled_from("ab:.k \\\"/éK"), min_size=1, max_size=6), min_size=1, max_size=6),
       st.text(st.sampled_from("abAB:.kK \\\"/éK"), max_size=30),
       st.booleans())  # fmt: skip
def test_a_line_with_a_keyword_is_always_suspicious(words: list[str], text: str, escaped: bool) -> None:
    import json

    from tocsin.detect.sigma.checks import Text

    keywords = keywords_of([Text("in", w.lower()) for w in words])
    line = json.dumps({"a": text}, ensure_ascii=escaped).encode()
    if keywords is None or not any(w.lower() in text.lower() for w in words):
        return
    assert keywords.suspicious(line)


@pytest.mark.parametrize("native", PATHS)
def test_alerts_of_lines_are_those_of_their_rows(native: bool) -> None:
    rules = sigma(RULES).rules
    base = {"Channel": SYSMON, "EventID": 1, "SourceName": "P", "CommandLine": "abc"}
    events: list[dict[str, Any]] = [
        {**base, "TimeCreated": "2024-05-01T10:00:00Z", "Hostname": "ws1", "User": "CONTOSO\\ann", "ProcessId": 7, "Image": "C:\\cmd.exe"},
        {**base, "TimeCreated": "2024-05-01T10:00:01Z", "Hostname": "ws1", "User": "CONTOSO\\ann", "Image": "C:\\cmd.exe"},
        {**base, "TimeCreated": "2024-05-01 10:00:02.5", "Hostname": "", "Computer": ["ws2"], "User": True, "Level": "Warning"},
        {**base, "TimeCreated": "2024-05-01 10:00:03", "UtcTime": "2024-05-01 10:00:03.111", "Hostname": 5, "User": 1, "Keywords": -1},
        {**base, "host": "ws4", "Timestamp": "2024-05-01T10:00:04Z", "IpAddress": "10.0.0.1", "Message": {"a": 1}},
        {**base, "host": "ws4", "SubjectUserName": None, "TargetUserName": "bob", "TargetDomainName": "", "Execution": [1]},
        {**base, "EventTime": "2024-05-01 12:00:00", "RecordNumber": 5, "ProcessID": 9, "Image": "x"},
    ]  # fmt: skip
    lines = [orjson.dumps(e) for e in events]
    seen = []
    for way in ("lines", "rows"):
        matcher = SigmaMatcher(rules, live=True, native=native)
        made = (
            matcher.match_lines(lines)
            if way == "lines"
            else [a for b in decoded(lines) for a in matcher.match(SourceBatch(b.source, b.rows, ""))]
        )
        scan = SigmaMatcher(rules, native=native)
        if way == "lines":
            scan.match_lines(lines)
        else:
            for batch in decoded(lines):
                scan.match(batch)
        # Lines that need the decoder come after the others.
        seen.append([sorted((a.to_dict() for a in found), key=lambda a: a["id"]) for found in (made, scan.finish())])
    for one, other in zip(seen[0], seen[1], strict=True):
        assert one == other
    assert len(seen[0][0]) > 4


@pytest.mark.parametrize("native", PATHS)
def test_hits_come_in_the_order_of_the_lines_whichever_way_each_went(native: bool) -> None:
    """Bursts begin with a group's first hit, so the order decides which hits are one alert."""
    chance = random.Random(5)
    rules = sigma(RULES).rules
    lines = []
    for number in range(400):
        event = {"Channel": SYSMON, "EventID": 1, "SourceName": "P", "CommandLine": f"abc {number}", "Hostname": f"ws{chance.randrange(4)}",
                 "TimeCreated": f"2024-05-{chance.randrange(1, 4):02}T{chance.randrange(24):02}:{chance.randrange(60):02}:00Z"}  # fmt: skip
        odd = number % 5
        if odd == 1:
            event["CommandLine"] = "abc kiwi"  # a keyword: the whole text must be looked at
        elif odd == 2:
            event["User"] = ["a", "b"]  # type: ignore[assignment]  # no flat object
        line = orjson.dumps({"event": event} if odd == 3 and number % 2 else event)
        lines.append(line + b"," if odd == 4 else line)
    told = []
    for way in (native, None):
        matcher = SigmaMatcher(rules, live=True, native=bool(way))
        if way is None:  # a line at a time, decoded
            made = [
                a for line in lines for b in decoded([line]) for a in matcher.match(SourceBatch(b.source, b.rows, ""))
            ]
        else:
            made = [a for at in range(0, 400, 100) for a in matcher.match_lines(lines[at : at + 100])]
        told.append([a.to_dict() for a in made])
    assert told[0] == told[1]
    assert len(told[0]) > 100


# ------------------------------------------------------------------ recorded events


@pytest.fixture(scope="module")
def rules() -> SigmaRules:
    loaded = [load_folder(SIGMA / f) for f in ("rules", "rules-emerging-threats", "rules-threat-hunting")]
    return SigmaRules(tuple(r for s in loaded for r in s.rules))


@pytest.mark.slow
@needs_sigma
def test_recorded_attacks(rules: SigmaRules) -> None:
    """Lines of OTRF's recordings: all that fire, and a sample of the others."""
    import zipfile

    chance = random.Random(3)
    archives = sorted((DATA / "otrf" / "atomic" / "windows").rglob("*.zip"))
    if not archives:
        pytest.skip("no OTRF recordings")
    lines: list[bytes] = []
    fast = SigmaMatcher(rules.rules)
    for path in chance.sample(archives, 25):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if not name.endswith(".json"):
                    continue
                body = archive.read(name).splitlines()
                hits, slow = fast._scanner.scan(body)
                wanted = {i for i, _ in hits} | set(slow) | set(chance.sample(range(len(body)), min(60, len(body))))
                lines += [body[i] for i in sorted(wanted)]
    batches = decoded(lines)
    wanted_pairs = pairs(fast, batches, lines=False)
    assert len(wanted_pairs) > 100
    for native in KINDS:
        assert pairs(SigmaMatcher(rules.rules, native=native), batches, lines=True) == wanted_pairs


def test_files_keep_their_lines(tmp_path: Path) -> None:
    event = {
        "Channel": SYSMON,
        "EventID": 1,
        "SourceName": "x",
        "TimeCreated": "2024-05-01T10:00:00Z",
        "CommandLine": "whoami",
    }
    good = orjson.dumps(event)
    (tmp_path / "a.json").write_bytes(
        b"\n".join([good, good.replace(b"whoami", b"w\xffi"), orjson.dumps({"event": event}), good])
    )
    (batch,) = (
        b for b in decode_path(tmp_path / "a.json") if isinstance(b, SourceBatch) and b.source == "windows.event"
    )
    assert batch.lines is not None
    assert list(batch.lines) == [good, None, None, good] or list(batch.lines) == [good, None, good]
    rules = sigma(detection("  s: {CommandLine: whoami}\n  condition: s"))
    for native in KINDS:
        hits = SigmaMatcher(rules.rules, native=native).hits(batch)
        assert len(hits) == len(batch) - 1
