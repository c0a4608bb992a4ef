"""CEF and LEEF: events whose text begins with `CEF:` or `LEEF:`, alone on a line or behind a syslog header.

Rows have kind `cef` or `leef`. `Header` holds what stands between the bars (version, vendor, product, deviceVersion, id, name, severity) and
what the syslog header around it said (host, ip, facility, level, process); `Extension` holds the keys, unescaped; `Pairs` the same as text,
`key=value` and a record separator (U+001E) after each, in the order of the event, so that a parser can keep what it has no column for.

Sources: Micro Focus' "Implementing ArcSight Common Event Format" and IBM's "LEEF" guide.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson

from tocsin.ingest.decoders.declared import marked_times
from tocsin.ingest.decoders.times import parse_time

__all__ = ["find_mark", "parse_marked", "parse_pairs"]

SEPARATOR = "\x1e"
_MARK = re.compile(r"(?:^|[\s:\]>])(?P<mark>(?P<kind>CEF):\s?\d+(?:\.\d+)?\||(?P<leef>LEEF):\s?[12](?:\.\d+)?\|)")
_FAR = 1024
"""The farthest place of the mark: behind the longest header that syslog knows."""
_FIELD = re.compile(r"((?:[^|\\]|\\.)*+)\|", re.DOTALL)
_KEY = re.compile(r"(?<!\S)([\w.:\-\[\]/@]{1,256})=")
_BAR = re.compile(r"\\([\\|])")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "=": "=", "|": "|"}
_HEX = re.compile(r"(?:0?x)([0-9A-Fa-f]{1,4})$", re.IGNORECASE)
_JAVA_RUN = re.compile(r"'([^']*)'|([A-Za-z])\2*|[^A-Za-z']+")
_JAVA = {
    "yyyy": "%Y", "yy": "%y", "MMM": "%b", "MM": "%m", "M": "%m", "dd": "%d", "d": "%d", "HH": "%H", "H": "%H", "hh": "%I", "h": "%I",
    "mm": "%M", "m": "%M", "ss": "%S", "s": "%S", "SSS": "%f", "SS": "%f", "S": "%f", "a": "%p", "Z": "%z", "X": "%z", "XX": "%z",
    "XXX": "%z", "EEE": "%a", "z": "%Z",
}  # fmt: skip


def find_mark(line: str) -> tuple[int, str] | None:
    """(where the event begins, its kind) when the line carries a CEF or LEEF event, else None."""
    if "CEF:" not in line and "LEEF:" not in line:
        return None
    found = _MARK.search(line, 0, _FAR)
    if found is None:
        return None
    return found.start("mark"), "cef" if found["kind"] else "leef"


def parse_marked(text: str, kind: str) -> dict[str, Any] | None:
    """Header, Extension and Pairs of the event, and TimeCreated when it names one. None when its header isn't whole."""
    names: tuple[str, ...]
    fields, end = _header(text, 7 if kind == "cef" else 5)
    if kind == "cef":
        if len(fields) == 6:
            # A header without extension may lack the last bar.
            fields, end = [*fields, text[end:]], len(text)
        if len(fields) != 7:
            return None
        names = ("version", "vendor", "product", "deviceVersion", "id", "name", "severity")
        pairs = parse_pairs(text[end:])
    else:
        if len(fields) != 5:
            return None
        names = ("version", "vendor", "product", "deviceVersion", "id")
        pairs = _attributes(text[end:], fields[0])
    header = dict(zip(names, (_BAR.sub(r"\1", f).strip() for f in fields), strict=True))
    header["version"] = header["version"].partition(":")[2].strip()
    extension = dict(pairs)
    row: dict[str, Any] = {"Header": header, "TimeCreated": _time(kind, extension)}
    for name in marked_times(kind).rewritten:
        value = extension.get(name)
        if value and (time := parse_time(value)) is not None:
            extension[name] = time.isoformat(timespec="microseconds") + "Z"
    row["Extension"] = orjson.dumps(extension).decode()
    row["Pairs"] = "".join(f"{k}={v.replace(SEPARATOR, ' ')}{SEPARATOR}" for k, v in pairs)
    return row


def _header(text: str, count: int) -> tuple[list[str], int]:
    """Up to `count` fields in front of bars, and where they end."""
    fields: list[str] = []
    position = 0
    while len(fields) < count and (found := _FIELD.match(text, position)) is not None:
        fields.append(found[1])
        position = found.end()
    return fields, position


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """The keys and values of a CEF extension. A value ends where white space, a key and an unescaped `=` follow it."""
    found = list(_KEY.finditer(text))
    out = []
    for number, key in enumerate(found):
        end = found[number + 1].start() if number + 1 < len(found) else len(text)
        value = text[key.end() : end].strip()
        if "\\" in value:
            value = _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[0]), value)
        out.append((key[1], value))
    return out


def _attributes(text: str, version: str) -> list[tuple[str, str]]:
    delimiter = "\t"
    if ":2" in version.replace(" ", ""):
        first, bar, rest = text.partition("|")
        # The delimiter's field may be left out, and may be empty, which both mean a tab.
        if bar and "=" not in first.strip()[1:]:
            text = rest
            spelled = _HEX.match(first.strip())
            delimiter = chr(int(spelled[1], 16)) if spelled else first.strip(" ")[:1] or "\t"
            if "\ud800" <= delimiter <= "\udfff":
                delimiter = "\t"
    pieces = [piece for piece in text.split(delimiter) if piece.strip()]
    if len(pieces) == 1 and len(_KEY.findall(text)) > 1:
        # Relays turn tabs into blanks.
        return parse_pairs(text)
    out = []
    for piece in pieces:
        key, equals, value = piece.partition("=")
        if equals and key.strip():
            out.append((key.strip(), value.strip()))
        elif out:
            # A delimiter within a value.
            out[-1] = (out[-1][0], f"{out[-1][1]}{delimiter}{piece}")
    return out


def _time(kind: str, extension: dict[str, str]) -> datetime | None:
    """When the event happened, by the keys that say so."""
    times = marked_times(kind)
    for name in times.keys:
        value = extension.get(name)
        if not value:
            continue
        spelled = extension.get(times.format) if times.format else None
        found = (_java_time(value, spelled) if spelled else None) or parse_time(value)
        if found is not None:
            return found
    return None


def _java_time(value: str, pattern: str) -> datetime | None:
    """A time in the form that a Java date pattern describes."""
    spelled = "".join(
        (m[1] if m[1] is not None else _JAVA.get(m[0], m[0]) if m[2] else m[0].replace("%", "%%"))
        for m in _JAVA_RUN.finditer(pattern[:64])
    )
    try:
        found = datetime.strptime(value, spelled)  # noqa: DTZ007 - without a zone it means UTC here
    except (ValueError, OverflowError, re.error):
        return None
    try:
        return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        return None
