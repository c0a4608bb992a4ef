"""What a file is, by its first bytes alone: a name or an extension is never looked at."""

from __future__ import annotations

import re

from tocsin.ingest.decoders.auditd import AUDIT_LINE
from tocsin.ingest.decoders.csvtext import find_dialect
from tocsin.ingest.decoders.declared import declared_header
from tocsin.ingest.decoders.syslog import looks_like_syslog
from tocsin.ingest.decoders.textlines import looks_declared
from tocsin.ingest.decoders.w3c import looks_like_w3c

__all__ = ["sniff"]

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"ElfFile\0", "evtx"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\xd4\xc3\xb2\xa1", "pcap"),
    (b"\xa1\xb2\xc3\xd4", "pcap"),
    (b"\x4d\x3c\xb2\xa1", "pcap"),
    (b"\xa1\xb2\x3c\x4d", "pcap"),
    (b"\x0a\x0d\x0d\x0a", "pcapng"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x00\x05\x16\x07", "appledouble"),
)
_XML = re.compile(r"^\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*<Events?[\s>]", re.DOTALL)
_JSON_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*[\[{]\s*[\"\[\]{}]")
_ZEEK = (b"#separator", b"#fields\t")
_TAG = re.compile(r"<[A-Za-z?!]")
_EVENT_NAMESPACE = "schemas.microsoft.com/win/2004/08/events"
_TEXT = frozenset({9, 10, 12, 13, 27, *range(32, 256)})


def sniff(head: bytes, *, complete: bool) -> tuple[str, str]:
    """(format, detail). `complete` is True when `head` is the whole file; detail is a CSV's delimiter.

    Formats: evtx, zip, gzip, bzip2, xz, zstd, tar, pcap, pcapng, 7z, rar, appledouble, empty, utf-16, json, windows-xml, zeek-tsv, w3c,
    auditd, syslog, lines (of a declared pattern), csv, text (of no known log), binary.
    """
    if not head:
        return "empty", ""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name, ""
    if head[:3] == b"BZh" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bzip2", ""
    if len(head) > 262 and head[257:262] == b"ustar":
        return "tar", ""
    # A skippable frame before the first zstd frame.
    if 0x50 <= head[0] <= 0x5F and head[1:4] == b"\x2a\x4d\x18":
        return "zstd", ""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16", head[:2].hex()
    return _sniff_text(head, complete)


def _sniff_text(head: bytes, complete: bool) -> tuple[str, str]:
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_ZEEK):
        return "zeek-tsv", ""  # its own first line says so, whatever noise follows
    odd = _odd_share(head[:4096])
    # Text holds a stray control character now and then, and old logs stray bytes; noise holds both, compiled files mostly zeros.
    if odd > 0.3 or (odd > 0.02 and _bad_utf8(head[:4096]) > (0.3 if _JSON_START.match(head) else 0.02)):
        return "binary", ""
    # UTF-8 that breaks off at the end of the head, and stray bytes in old logs, are no sign of anything.
    text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    stripped = text.lstrip()
    if not stripped:
        return ("empty", "") if complete else ("text", "")
    if stripped[0] == "{" or (stripped[0] == "[" and _array_start(stripped)):
        return "json", ""
    if _XML.match(stripped) or (_TAG.match(stripped) and "<Event" in stripped[:4096] and _EVENT_NAMESPACE in stripped):
        return "windows-xml", ""
    if stripped[0] == "#" and "\n#fields\t" in stripped:
        return "zeek-tsv", ""
    if looks_like_w3c(stripped):
        return "w3c", ""
    lines = [line for line in stripped.split("\n", 40)[:40] if line.strip()]
    if any(AUDIT_LINE.match(line) for line in lines[:5]):
        return "auditd", ""
    likely = sum(looks_like_syslog(line) for line in lines[:20])
    if likely * 2 >= min(len(lines), 20) and likely:
        return "syslog", ""
    if looks_declared([line for line in stripped.split("\n", 80)[:80] if line.strip()]):
        return "lines", ""
    if declared_header(lines[0].split(" ")):
        return "csv", " "
    table = find_dialect(text, complete=complete)
    if table is not None:
        return "csv", table[0]
    if sum(line.lstrip()[:1] == "{" for line in lines) * 2 > len(lines):
        return "json", ""
    if _bad_utf8(head) > 0.1:
        return "binary", ""
    return "text", ""


def _array_start(text: str) -> bool:
    return text[1:].lstrip()[:1] in ("{", "]", "[", "")


def _odd_share(head: bytes) -> float:
    return sum(byte not in _TEXT for byte in head) / len(head)


def _bad_utf8(head: bytes) -> float:
    text = head.decode("utf-8", "replace")
    return text.count("�") / len(text)
