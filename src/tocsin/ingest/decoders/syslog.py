"""Syslog text: RFC 5424, RFC 3164 and what senders make of it, with or without priority.

A line is never refused: what doesn't parse is a message without header. Lines that carry a Sysmon-for-Linux event or an audit record
give a row of that kind as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from tocsin.base.errors import Place
from tocsin.ingest.decoders.context import Context
from tocsin.ingest.decoders.declared import declared_object, from_syslog
from tocsin.ingest.decoders.journal import FACILITIES, SEVERITIES
from tocsin.ingest.decoders.lines import LongLine, line_blocks
from tocsin.ingest.decoders.marked import find_mark, parse_marked
from tocsin.ingest.decoders.shapes import add_carried, add_object
from tocsin.ingest.decoders.source import Source
from tocsin.ingest.model import DecodedItem
from tocsin.tables.kinds import KINDS

__all__ = ["FACILITIES", "SEVERITIES", "add_syslog_line", "decode_syslog", "looks_like_syslog", "parse_syslog"]

_PRI = re.compile(r"<(\d{1,3})>")
_5424 = re.compile(
    r"1 (?P<time>-|\S+) (?P<host>\S{1,255}) (?P<app>\S{1,48}) (?P<pid>\S{1,128}) (?P<msgid>\S{1,32})"
    r" (?P<sd>-|(?:\[[^ =\]\"]{1,32}(?: [^ =\]\"]{1,32}=\"(?:[^\"\\\]]|\\.)*\")*\])+)(?: |$)"
)
_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_BSD = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 0-3]?\d \d\d:\d\d:\d\d(?:\.\d{1,9})?"
_CISCO = r"\*?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 0-3]?\d \d{4} \d\d:\d\d:\d\d(?:\.\d+)?"
_3164 = re.compile(rf"(?P<time>{_ISO}|{_CISCO}|{_BSD}):? +(?P<rest>.*)", re.DOTALL)
# Cisco IOS: a sequence number, with `logging origin-id` the host, the time with its zone. It writes no host otherwise.
_IOS = re.compile(
    rf"\d{{1,10}}: +(?:(?P<host>[A-Za-z][\w.\-]{{0,254}}): +)?[*.]?(?P<time>{_CISCO}|{_BSD})(?: [A-Z]{{2,5}})?: +(?P<rest>%.*)",
    re.DOTALL,
)
_HOST_TAG = re.compile(
    r"(?:(?P<host>[A-Za-z0-9_.:\-]{1,255}) +)?(?P<app>[^\s\[\]:]{1,64})(?:\[(?P<pid>[^\]\s]{1,32})\])?: ?", re.DOTALL
)
_LINE_START = re.compile(rf"^(?:<\d{{1,3}}>|{_BSD} |{_ISO} \S+ [^\s\[\]:]{{1,64}}(?:\[\d+\])?: |{_CISCO})")
_MONTHS = {
    m: i for i, m in enumerate(("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1)
}


def looks_like_syslog(line: str) -> bool:
    """True when the line starts as syslog lines do."""
    return _LINE_START.match(line) is not None or find_mark(line) is not None


def parse_syslog(line: str, *, received: datetime | None = None, peer: str = "") -> dict[str, Any]:
    """The row of kind `syslog` of one message.

    A time without year is the nearest before `received` (one day of clock error allowed); without a zone it is UTC. A message without
    time has the time it was received, without host the peer's address.
    """
    facility = severity = None
    text = line
    match = _PRI.match(line)
    if match and int(match[1]) <= 191:
        priority = int(match[1])
        facility, severity = FACILITIES[priority >> 3], SEVERITIES[priority & 7]
        text = line[match.end() :]
    row: dict[str, Any] = {
        "TimeCreated": None, "HostName": None, "Facility": facility, "SeverityLevel": severity, "ProcessName": None, "ProcessID": None,
        "SyslogMessage": text, "HostIP": peer or None,
    }  # fmt: skip
    new = _5424.match(text)
    if new:
        message = text[new.end() :].removeprefix("﻿")
        row["TimeCreated"] = None if new["time"] == "-" else new["time"]
        row["HostName"], row["ProcessName"], row["ProcessID"] = _dash(new["host"]), _dash(new["app"]), _dash(new["pid"])
        row["SyslogMessage"] = message
        row["MsgID"] = _dash(new["msgid"])
        row["StructuredData"] = _structured(new["sd"])
    elif ios := _IOS.match(text):
        row["TimeCreated"], row["HostName"] = _old_time(ios["time"], received), ios["host"]
        row["SyslogMessage"] = ios["rest"]
    else:
        old = _3164.match(text)
        if old:
            row["TimeCreated"] = _old_time(old["time"], received)
            text = old["rest"]
        tag = _HOST_TAG.match(text) if old or facility else None
        if tag:
            row["HostName"], row["ProcessName"], row["ProcessID"] = tag["host"], tag["app"], tag["pid"]
            text = text[tag.end() :]
        elif old:
            host, _, rest = text.partition(" ")
            if rest and len(host) <= 255:
                row["HostName"], text = host, rest.removeprefix(": ")  # Cisco ASA: `fw1 : %ASA-6-302013: …`
        row["SyslogMessage"] = text
    if row["TimeCreated"] is None and received is not None:
        row["TimeCreated"] = received
    if row["HostName"] is None:
        row["HostName"] = peer or None
    return row


def _dash(text: str) -> str | None:
    return None if text == "-" else text


_SD_ELEMENT = re.compile(r"\[([^ =\]\"]{1,32})((?: [^ =\]\"]{1,32}=\"(?:[^\"\\\]]|\\.)*\")*)\]")
_SD_PARAM = re.compile(r" ([^ =\]\"]{1,32})=\"((?:[^\"\\\]]|\\.)*)\"")


def _structured(text: str) -> str | None:
    if text == "-":
        return None
    out = {
        element[1]: {k: re.sub(r"\\([\"\\\]])", r"\1", v) for k, v in _SD_PARAM.findall(element[2])}
        for element in _SD_ELEMENT.finditer(text)
    }
    return orjson.dumps(out).decode()


def _old_time(text: str, received: datetime | None) -> object:
    if text[0].isdigit():
        return text.replace(",", ".")
    parts = text.lstrip("*").split()
    month, day = _MONTHS[parts[0]], int(parts[1])
    clock = parts[-1]
    year: int | None = int(parts[2]) if len(parts) == 4 else None
    hour, minute, second = clock.split(":")
    whole, _, fraction = second.partition(".")
    micro = int((fraction + "000000")[:6])
    reference = received or datetime.now(UTC)
    candidates = (year,) if year else (reference.year + 1, reference.year, reference.year - 1)
    for candidate in candidates:
        assert candidate is not None
        try:
            found = datetime(candidate, month, day, int(hour), int(minute), min(int(whole), 59), micro, tzinfo=UTC)
        except ValueError:
            continue
        if year or found <= reference + timedelta(days=1):
            return found
    return None


def add_syslog_line(line: str, context: Context, *, received: datetime | None, peer: str = "") -> None:
    """Adds the row of a message, and of the event that it carries."""
    context.record_bytes = len(line)
    mark = find_mark(line)
    if mark is not None and (marked := parse_marked(line[mark[0] :], mark[1])) is not None:
        _add_marked(mark[1], marked, line[: mark[0]], context, received, peer)
        return
    row = parse_syslog(line, received=received, peer=peer)
    message = row["SyslogMessage"]
    if message[:1] == "{" and message[-1:] == "}":
        # A structured event whose transport is syslog: @cee, winlogbeat over syslog and the like.
        try:
            value = orjson.loads(message)
        except orjson.JSONDecodeError:
            value = None
        if (
            value.__class__ is dict
            and ("winlog" in value or "EventID" in value or "Event" in value or declared_object(value) is not None)
            and add_object(value, context)
        ):
            return
    context.add(KINDS.syslog, row)
    derived = from_syslog(row["ProcessName"], message, row["HostName"] or "", row["TimeCreated"], context.zone)
    if derived is not None:
        context.add(*derived)
        context.derived += 1
    add_carried(message, row["HostName"], context)


def _add_marked(
    kind: str, marked: dict[str, Any], header: str, context: Context, received: datetime | None, peer: str
) -> None:
    """Adds a CEF or LEEF event with what the syslog header before it says. It is no row of kind `syslog` besides."""
    # With a tag behind it the header parses as that of any message does.
    around = parse_syslog(f"{header}{kind.upper()}: ", received=received, peer=peer)
    named = parse_syslog(f"{header}{kind.upper()}: ")["TimeCreated"]
    fields = marked["Header"]
    for name, column in _AROUND:
        if around[column] is not None and around[column] != kind.upper():
            fields[name] = around[column]
    marked["TimeCreated"] = named or marked["TimeCreated"] or around["TimeCreated"]
    marked["Computer"] = around["HostName"] or context.host or None
    marked["Header"] = orjson.dumps(fields).decode()
    context.add(kind, marked)


_AROUND = (
    ("host", "HostName"),
    ("ip", "HostIP"),
    ("facility", "Facility"),
    ("level", "SeverityLevel"),
    ("process", "ProcessName"),
    ("pid", "ProcessID"),
)


def decode_syslog(
    source: Source, context: Context, *, received: datetime | None = None, peer: str = ""
) -> Iterator[DecodedItem]:
    """Reads syslog lines from a file. Lines that start with white space continue the message before."""
    held: str | None = None
    for number, lines in line_blocks(source, context.limits.max_record_bytes, context.limits.dead_letter_bytes):
        for index, raw in enumerate(lines):
            if isinstance(raw, LongLine):
                place = Place(source.name, line=number + index)
                yield context.too_long(raw, place)
                continue
            line = context.text(raw, number + index).rstrip("\r\n\0")
            if not line.strip():
                continue
            if held is not None and line[0] in " \t" and len(held) < 65_536:
                held = f"{held}\n{line}"
                continue
            if held is not None:
                add_syslog_line(held, context, received=received, peer=peer)
            held = line
        yield from context.full()
    if held is not None:
        add_syslog_line(held, context, received=received, peer=peer)
