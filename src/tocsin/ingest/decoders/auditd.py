"""Linux audit records: `audit.log` as text, records of one event merged; and the merged records that AUOMS sends by syslog.

A row of kind `linux.auditd` is one event. `Fields` holds the fields of its records by name, values decoded; where two records of an event
have the same field with different values, the later one is named `TYPE.field`. EXECVE's arguments also stand together as `argv` (a list)
and `cmdline`; PATH records as `paths` (a list of objects), the fields of the first that isn't the parent folder directly as well. SELinux's
decision and permissions, which stand outside the pairs, have the names that auparse gives them, `seresult` and `seperms`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import orjson

from tocsin.base.errors import Place
from tocsin.ingest import codes
from tocsin.ingest.decoders.context import Context
from tocsin.ingest.decoders.lines import LongLine, line_blocks
from tocsin.ingest.decoders.source import Source
from tocsin.ingest.model import DecodedItem
from tocsin.tables.kinds import KINDS

__all__ = ["AUDIT_LINE", "AuditEvent", "add_audit_text", "auoms_row", "decode_auditd", "parse_record"]

AUDIT_LINE = re.compile(
    r"(?:node=(?P<node>\S+) )?type=(?P<type>[A-Z][A-Z0-9_\[\]]*) (?:msg=)?audit\((?P<time>\d{1,12}\.\d{1,9}):(?P<serial>\d{1,18})\): ?"
)
_PAIR = re.compile(r"""([A-Za-z_][\w\-.\[\]]*)=("(?:[^"\\]|\\.)*"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|\S*)""")
# Fields that the kernel writes as hex when they hold blanks, quotes or control characters (`audit_log_untrustedstring`).
_UNTRUSTED = frozenset(
    {"proctitle", "comm", "exe", "cwd", "name", "path", "dir", "file", "cmd", "acct", "data", "key", "ocomm", "watch", "dev", "old-disk",
     "new-disk", "vm", "grp", "cgroup", "root_dir"}
)  # fmt: skip
_HEX = re.compile(r"^(?:[0-9A-F]{2})+$")
_ARGUMENT = re.compile(r"^a(\d+)(?:\[(\d+)\])?$")
_AVC = re.compile(r"avc:\s+(granted|denied)\s+\{([^}]*)\}")
_MAX_OPEN = 1024
_ENRICHED = "\x1d"


class AuditEvent:
    """The records of one audit event, merged as they come."""

    __slots__ = ("_arguments", "computer", "fields", "paths", "serial", "time", "types")

    def __init__(self, time: str, serial: str, computer: str) -> None:
        self.time = time
        self.serial = int(serial)
        self.computer = computer
        self.types: list[str] = []
        self.fields: dict[str, Any] = {}
        self.paths: list[dict[str, str]] = []
        self._arguments: dict[int, dict[int, str]] = {}

    def merge(self, kind: str, body: str) -> None:
        """Adds one record's fields."""
        if kind not in self.types:
            self.types.append(kind)
        body, _, enriched = body.partition(_ENRICHED)
        pairs = parse_record(body, kind)
        if kind == "EXECVE":
            self._execve(pairs)
            pairs = {k: v for k, v in pairs.items() if not _ARGUMENT.match(k) and not k.endswith("_len")}
        elif kind == "PATH":
            self.paths.append(pairs)
            if pairs.get("nametype") == "PARENT":
                pairs = {}
        elif kind == "SOCKADDR" and "saddr" in pairs:
            pairs.update(_socket_address(pairs["saddr"]))
        if enriched:
            pairs.update(parse_record(enriched, "enriched"))
        fields = self.fields
        for name, value in pairs.items():
            known = fields.get(name)
            if known is None:
                fields[name] = value
            elif known != value and kind != "PATH":
                fields[f"{kind}.{name}"] = value

    def _execve(self, pairs: dict[str, str]) -> None:
        for name, value in pairs.items():
            match = _ARGUMENT.match(name)
            if match:
                self._arguments.setdefault(int(match[1]), {})[int(match[2] or 0)] = value

    def row(self) -> dict[str, Any]:
        """The row of kind `linux.auditd`."""
        fields = self.fields
        if self._arguments:
            argv = ["".join(parts[i] for i in sorted(parts)) for _, parts in sorted(self._arguments.items())]
            fields["argv"] = argv
            fields["cmdline"] = " ".join(argv)
        if self.paths:
            fields["paths"] = self.paths
            if "name" not in fields:
                fields.update((k, v) for k, v in self.paths[0].items() if k not in fields)
        return {
            "TimeCreated": _iso(self.time),
            "Computer": self.computer or fields.get("node"),
            "Serial": self.serial,
            "Types": orjson.dumps(self.types).decode(),
            "Fields": orjson.dumps(fields).decode(),
        }


def _iso(seconds: str) -> str:
    whole, _, fraction = seconds.partition(".")
    try:
        start = datetime.fromtimestamp(int(whole), UTC)
    except (OverflowError, ValueError, OSError):
        return ""
    return f"{start:%Y-%m-%dT%H:%M:%S}.{(fraction + '000000')[:6]}Z" if start.year >= 1000 else ""


def parse_record(body: str, kind: str) -> dict[str, str]:
    """The `name=value` pairs of one record's body, decoded; the pairs inside a user-space `msg='…'` among them."""
    out: dict[str, str] = {}
    for name, value in _PAIR.findall(body):
        if name == "msg" and value[:1] == "'":
            out.update(parse_record(value[1:-1], kind))
            continue
        out[name] = _decode(name, value, kind)
    if decision := _AVC.match(body):
        out["seresult"], out["seperms"] = decision[1], ",".join(decision[2].split())
    return out


def _decode(name: str, value: str, kind: str) -> str:
    if value[:1] in ('"', "'") and len(value) >= 2 and value[-1] == value[0]:
        return value[1:-1]
    if value == "(null)":
        return ""
    untrusted = name in _UNTRUSTED or (kind == "EXECVE" and _ARGUMENT.match(name) is not None)
    if untrusted and len(value) >= 2 and _HEX.match(value):
        # A short decimal-looking value of an untrusted field is still hex: plain ones are always quoted.
        raw = bytes.fromhex(value)
        if name == "proctitle":
            raw = raw.rstrip(b"\0").replace(b"\0", b" ")
        elif name == "key":
            raw = raw.replace(b"\x01", b",")
        return raw.decode("utf-8", "replace")
    return value


def _socket_address(saddr: str) -> dict[str, str]:
    """The family, address and port in a hex `saddr` (little-endian machines, as nearly all are)."""
    if not _HEX.match(saddr):
        return {}
    raw = bytes.fromhex(saddr)
    if len(raw) < 2:
        return {}
    family = struct.unpack_from("<H", raw)[0]
    if family == 1:
        # An abstract socket's name starts with NUL.
        path = raw[2:].split(b"\0", 1)[0] or raw[3:].rstrip(b"\0")
        return {"saddr_fam": "local", "path": path.decode("utf-8", "replace")}
    if family == 2 and len(raw) >= 8:
        return {
            "saddr_fam": "inet",
            "laddr": str(IPv4Address(raw[4:8])),
            "lport": str(struct.unpack_from(">H", raw, 2)[0]),
        }
    if family == 10 and len(raw) >= 24:
        return {
            "saddr_fam": "inet6",
            "laddr": str(IPv6Address(raw[8:24])),
            "lport": str(struct.unpack_from(">H", raw, 2)[0]),
        }
    return {"saddr_fam": str(family)}


def decode_auditd(source: Source, context: Context) -> Iterator[DecodedItem]:
    """Reads an audit log. Records of an event stand close together but may be interleaved with another event's."""
    pending: dict[tuple[str, str, str], AuditEvent] = {}
    for number, lines in line_blocks(source, context.limits.max_record_bytes, context.limits.dead_letter_bytes):
        for index, raw in enumerate(lines):
            place = Place(source.name, line=number + index)
            if isinstance(raw, LongLine):
                yield context.too_long(raw, place)
                continue
            line = context.text(raw, number + index).strip("\r\n\0 ")
            if not line or line == "----" or line.startswith("time->"):
                continue
            match = AUDIT_LINE.search(line)
            if match is None:
                yield context.dead("The line isn't an audit record.", codes.AUDITD, place, raw)
                continue
            node = match["node"] or context.host
            key = (node, match["time"], match["serial"])
            event = pending.get(key)
            if event is None:
                if len(pending) >= _MAX_OPEN:
                    oldest = next(iter(pending))
                    context.add(KINDS.audit, pending.pop(oldest).row())
                event = pending[key] = AuditEvent(match["time"], match["serial"], node)
            if match["type"] == "EOE":
                context.add(KINDS.audit, pending.pop(key).row())
                continue
            event.merge(match["type"], line[match.end() :])
        yield from context.full()
    for event in pending.values():
        context.add(KINDS.audit, event.row())


# AUOMS writes values with blanks unquoted (`proctitle=/bin/sh -c id`): a value ends where ` name=` follows.
_AUOMS_KEY = re.compile(r"(?:^| )([a-z_][a-z0-9_]*)=")
_JSON_START = frozenset('["')


def add_audit_text(message: str, host: str, context: Context) -> bool:
    """Adds the audit record that another line carries; records of one event are merged as long as its file or body lasts.

    False when the text holds no record.
    """
    match = AUDIT_LINE.search(message)
    if match is None:
        return False
    if match["type"].startswith("AUOMS"):
        row = auoms_row(message, host)
        if row is not None:
            context.derived += 1
            context.add(KINDS.audit, row)
        return True
    node = match["node"] or host
    key = (node, match["time"], match["serial"])
    event = context.audit.get(key)
    if event is None:
        if len(context.audit) >= _MAX_OPEN:
            context.add_audit(context.audit.pop(next(iter(context.audit))))
        event = context.audit[key] = AuditEvent(match["time"], match["serial"], node)
    if match["type"] == "EOE":
        context.add_audit(context.audit.pop(key))
    else:
        event.merge(match["type"], message[match.end() :])
    return True


def auoms_row(message: str, host: str) -> dict[str, Any] | None:
    """The row of a syslog message that holds one audit event, AUOMS's merged form or a plain record; None when it holds none."""
    match = AUDIT_LINE.search(message)
    if match is None:
        return None
    kind, body = match["type"], message[match.end() :]
    if not kind.startswith("AUOMS"):
        event = AuditEvent(match["time"], match["serial"], match["node"] or host)
        event.merge(kind, body)
        return event.row()
    fields = dict(_auoms_pairs(body))
    return {
        "TimeCreated": _iso(match["time"]),
        "Computer": fields.get("node") or host or None,
        "Serial": int(match["serial"]),
        "Types": orjson.dumps([kind]).decode(),
        "Fields": orjson.dumps(fields).decode(),
    }


def _closing_quote(body: str, start: int) -> int:
    """Where the value that begins with the quote at `start` ends. AUOMS does not escape quotes inside a value, so the one that closes it
    is the first after which another ``name=`` or the end follows; where there is none, the next quote."""
    end = start
    while (end := body.find('"', end + 1)) >= 0:
        if body[end - 1] == "\\" and body[end - 2 : end - 1] != "\\":
            continue
        if end + 1 == len(body) or _AUOMS_KEY.match(body, end + 1):
            return end
    first = body.find('"', start + 1)
    return first if first >= 0 else len(body)


def _auoms_pairs(body: str) -> Iterator[tuple[str, Any]]:
    position = 0
    while True:
        key = _AUOMS_KEY.search(body, position)
        if key is None:
            return
        start = key.end()
        if body[start : start + 1] == '"':
            end = _closing_quote(body, start)
            yield key[1], body[start + 1 : end]
            position = min(end + 1, len(body))
            continue
        if body[start : start + 1] == "[":
            end = body.find('"]', start) + 2
            if end > 1:
                text = body[start:end]
                try:
                    yield key[1], orjson.loads(text)
                except orjson.JSONDecodeError:
                    yield key[1], text
                position = end
                continue
        following = _AUOMS_KEY.search(body, start)
        end = following.start() if following else len(body)
        yield key[1], body[start:end].strip()
        position = end
