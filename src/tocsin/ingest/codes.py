"""The stable codes of what can be wrong with input. Each failure has one; nothing decides by a message's text."""

from __future__ import annotations

__all__ = [
    "AUDITD",
    "BAD_GZIP",
    "BINARY",
    "BOMB_BYTES",
    "BOMB_DEPTH",
    "BOMB_MEMBERS",
    "BOMB_RATIO",
    "CANT_LISTEN",
    "CORRUPT_ARCHIVE",
    "CSV_ROW",
    "EMPTY_REPLAY",
    "ENCRYPTED",
    "EVTX_CHUNK",
    "EVTX_TRUNCATED",
    "INTERNAL",
    "JSON_NOT_OBJECT",
    "JSON_SYNTAX",
    "MAPPING",
    "NO_TABLE",
    "PCAP",
    "TOO_LONG",
    "TRANSFORM",
    "UNKNOWN_TEXT",
    "UNREADABLE",
    "UNSUPPORTED_ARCHIVE",
    "XML_EVENT",
    "ZEEK_ROW",
]

UNREADABLE = "ING0002"
"""The file can't be opened or read: missing, no permission, I/O error."""
BINARY = "ING0003"
"""Binary data of no known format."""
BAD_GZIP = "ING0004"
"""A compressed stream ends too early or is damaged."""
CORRUPT_ARCHIVE = "ING0005"
"""An archive's directory or headers are damaged."""
ENCRYPTED = "ING0006"
"""A password is needed."""
BOMB_RATIO = "ING0007"
"""Expands too much for its size (`archive_ratio`)."""
BOMB_BYTES = "ING0008"
"""Expands to too many bytes (`archive_bytes`)."""
BOMB_MEMBERS = "ING0009"
"""Too many members (`archive_members`)."""
BOMB_DEPTH = "ING0010"
"""Archives nested too deeply (`archive_depth`)."""
UNSUPPORTED_ARCHIVE = "ING0011"
"""A known archive format or compression method that isn't read."""
TOO_LONG = "ING0012"
"""A line or record longer than `max_record_bytes`."""
JSON_SYNTAX = "ING0013"
"""Text that should be JSON and isn't."""
JSON_NOT_OBJECT = "ING0014"
"""JSON, but not an object."""
EVTX_CHUNK = "ING0015"
"""A damaged chunk or record of an EVTX file."""
EVTX_TRUNCATED = "ING0016"
"""An EVTX file whose header is unreadable or that ends before its last chunk."""
XML_EVENT = "ING0017"
"""A Windows event in XML that isn't well-formed."""
AUDITD = "ING0018"
"""A line within an audit log that isn't an audit record."""
CSV_ROW = "ING0019"
"""A CSV row that can't be read or doesn't fit its header."""
ZEEK_ROW = "ING0020"
"""A Zeek row that doesn't fit its #fields."""
PCAP = "ING0021"
"""A packet capture: recognised, not read here."""
UNKNOWN_TEXT = "ING0022"
"""Text, but of no known log format."""
MAPPING = "ING0023"
"""A parser failed on a batch."""
NO_TABLE = "ING0024"
"""A table was named that doesn't exist."""
TRANSFORM = "ING0025"
"""A transform of the user failed on a batch."""
EMPTY_REPLAY = "ING0026"
"""A dead letter that was replayed gave nothing."""
CANT_LISTEN = "ING0027"
"""A receiver can't have its address: another program holds the port, or the system forbids it."""
NO_MEDIA = "ING0070"
"""A request without a Content-Type where its protocol needs one."""
OTHER_MEDIA = "ING0071"
"""A request whose Content-Type its protocol doesn't take."""
INTERNAL = "ING0099"
"""A decoder failed in a way it should not have."""
