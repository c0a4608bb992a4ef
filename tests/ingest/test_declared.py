"""Sources that packs declare, and local times in the zone that a setting, a declaration or the sender names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tocsin.content import load_packs
from tocsin.ingest.decoders import decode_body
from tocsin.ingest.decoders.body import frame_syslog
from tocsin.ingest.decoders.declared import declare
from tocsin.ingest.settings import DecodeLimits
from tocsin.lake import Body

NOW = datetime(2024, 7, 1, 12, tzinfo=UTC)
BIND = "01-Jul-2024 10:00:00.123 queries: info: client @0x7f 10.0.0.5#5353 (example.org): query: example.org IN A +E(0)K (10.0.0.1)"
WINDOWS = "7/1/2024 10:00:00 AM 0E5C PACKET  00000000028657F0 UDP Rcv 10.0.0.5      0002   Q [0001   D   NOERROR] A      (7)example(3)org(0)"
DOOR = """
[[line]]
kind = "acme.door"
zone = "Europe/Berlin"
time_format = "%d.%m.%Y %H:%M"
pattern = '(?P<time>\\d\\d\\.\\d\\d\\.\\d{4}\\ \\d\\d:\\d\\d)\\ door=(?P<door>\\w+)\\ (?P<result>open|refused)$'

[[object]]
kind = "acme.{badge_event}"
has = ["badge_event", "badge"]
time = ["at"]
"""


def rows(source: str, data: bytes, limits: DecodeLimits | None = None, **meta: str) -> list[tuple[str, dict[str, Any]]]:
    found = decode_body(Body(source, data, NOW, meta), limits=limits)
    return [
        (b.source, r) for b in found if hasattr(b, "rows") and not isinstance(b.rows, int) for r in b.rows.to_pylist()
    ]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "sources").mkdir()
    yield tmp_path
    declare([])


def take(site: Path, text: str) -> list[str]:
    (site / "sources" / "door.toml").write_text(text)
    content = load_packs([site])
    problems = [*content.problems, *declare((str(f.path), f.document) for f in content.sources)]
    return [str(p) for p in problems]


def test_a_pack_declares_sources(site: Path) -> None:
    lines = b"01.07.2024 10:00 door=north open\n"
    assert rows("jsonl", b'{"badge_event": "Denied", "badge": "7"}')[0][0] == "json"
    assert take(site, DOOR) == []
    ((kind, row),) = rows("file", lines * 1, path="/x/door.log", format="lines")
    assert kind == "acme.door"
    assert row["TimeCreated"] == datetime(2024, 7, 1, 8)  # noqa: DTZ001 - Berlin's summer time is two hours ahead
    assert json.loads(row["RawData"])["door"] == "north"
    assert rows("jsonl", b'{"badge_event": "Denied", "badge": "7"}')[0][0] == "acme.denied"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[line]]\nkind = 'a.b'\n", "[[line]] 1 (a.b): 'pattern' is missing"),
        ("[[line]]\nkind = 'a.b'\npattern = '('\n", "is no regular expression"),
        ("[[line]]\nkind = 'a.b'\npattern = 'x'\nzone = 'Europe/Berln'\n", "is no time zone"),
        ("[[line]]\nkind = 'a.b'\npatern = 'x'\npattern = 'y'\n", "Did you mean 'pattern'?"),
        ("[[objekt]]\nkind = 'a.b'\n", "Did you mean '[[object]]'?"),
        ("[[object]]\nkind = 'syslog'\nhas = ['a']\n", "can't be the name of a kind"),
        ("[[object]]\nkind = 'a.b'\nhas = 'a'\n", "must be a list of texts"),
        ("[[object]\n", "Not TOML"),
    ],
)
def test_a_wrong_declaration_is_said_and_left_out(site: Path, text: str, said: str) -> None:
    (problem,) = take(site, text)
    assert said in problem
    assert "door.toml" in problem
    assert rows("file", BIND.encode(), path="/x/q.log", format="lines")[0][0] == "dns.bind"  # the shipped ones go on


def created(source: str, data: str, limits: DecodeLimits | None = None, **meta: str) -> datetime:
    found = dict(rows(source, data.encode(), limits, **meta))
    (row,) = (r for kind, r in found.items() if kind != "syslog")
    time: datetime = row["TimeCreated"]
    return time.replace(microsecond=0, tzinfo=UTC)


@pytest.mark.parametrize("line", [BIND, WINDOWS], ids=["bind", "windows"])
def test_local_times_are_read_in_the_zone_of_the_setting(line: str) -> None:
    kind = "dns.bind" if line is BIND else "dns.windows"

    def at(zones: dict[str, str]) -> int:
        return created("file", line, DecodeLimits(zones=zones), path="/logs/berlin/dns.log", format="lines").hour

    assert at({}) == 10  # UTC, as documented
    assert at({kind: "Europe/Berlin"}) == 8
    assert at({"/logs": "America/New_York", "/logs/berlin": "Europe/Berlin"}) == 8
    assert at({"/other": "Europe/Berlin"}) == 10


def test_a_firewalls_log_says_that_its_times_are_local() -> None:
    log = (
        "#Version: 1.5\n#Software: Microsoft Windows Firewall\n#Time Format: Local\n"
        "#Fields: date time action protocol src-ip\n2024-07-01 10:00:00 DROP TCP 10.0.0.5\n"
    )
    iis = "#Software: Microsoft Internet Information Services 10.0\n#Fields: date time c-ip\n2024-07-01 10:00:00 10.0.0.5\n"
    limits = DecodeLimits(zones={"/logs": "Europe/Berlin"})
    assert created("file", log, path="/logs/pfirewall.log", format="w3c").hour == 10
    assert created("file", log, limits, path="/logs/pfirewall.log", format="w3c").hour == 8
    # IIS writes UTC whatever the server's zone is.
    assert created("file", iis, limits, path="/logs/u_ex.log", format="w3c").hour == 10


def test_what_syslogs_header_says_goes_before_a_local_time_of_no_zone() -> None:
    message = f"<30>1 2024-07-01T10:00:00+02:00 ns1 named 1 - - {BIND}"
    data = frame_syslog([message.encode()]).decode()
    assert created("syslog", data, peer="10.0.0.1").hour == 8
    limits = DecodeLimits(zones={"10.0.0.1": "America/New_York"})
    assert created("syslog", data, limits, peer="10.0.0.1").hour == 14


def test_the_time_that_a_shipper_left_stands_in_for_the_events_own() -> None:
    event = {
        "eventVersion": "1.05",
        "eventSource": "ec2.amazonaws.com",
        "eventName": "RunInstances",
        "awsRegion": "us-east-1",
    }
    shipped = json.dumps({**event, "@timestamp": "2024-07-01T10:00:00.000Z", "@version": "1"}).encode()
    whole = json.dumps(
        {**event, "eventTime": "2024-07-01T09:59:00Z", "@timestamp": "2024-07-01T10:00:00.000Z"}
    ).encode()
    times = [rows("jsonl", line)[0][1]["TimeCreated"] for line in (shipped, whole)]
    assert [t.replace(tzinfo=UTC) for t in times] == [
        datetime(2024, 7, 1, 10, tzinfo=UTC),
        datetime(2024, 7, 1, 9, 59, tzinfo=UTC),
    ]
