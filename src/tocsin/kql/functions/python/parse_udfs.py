"""Texts with a grammar of their own: paths, CSV, command lines, XML, user agents, Punycode."""

from __future__ import annotations

import codecs
import csv
import json
import re
from functools import lru_cache
from typing import Any
from xml.parsers import expat

from tocsin.kql.functions.model import Udf
from tocsin.kql.functions.python.define import each
from tocsin.kql.functions.python.json_udfs import dumps

__all__ = ["UDFS"]

_PATH_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+)://")
_PATH_ROOT = re.compile(r"[A-Za-z]:[\\/]")


def parse_path(text: str) -> str:
    """parse_path: Windows and Unix paths, file URLs, alternate data streams."""
    rest, scheme = text, ""
    match = _PATH_SCHEME.match(rest)
    if match:
        scheme, rest = match[1], rest[match.end() :]
    root_match = _PATH_ROOT.match(rest)
    root = root_match[0] if root_match else ""
    stream = ""
    cut = max(rest.rfind("/"), rest.rfind("\\"))
    colon = rest.find(":", max(cut, len(root) - 1 if root else -1, 1 if root else -1) + 1)
    if colon >= 0:
        rest, stream = rest[:colon], rest[colon + 1 :]
        cut = max(rest.rfind("/"), rest.rfind("\\"))
    directory, name = (rest[:cut], rest[cut + 1 :]) if cut >= 0 else ("", rest)
    if root and cut == len(root) - 1:
        directory = root
    folder = re.split(r"[\\/]", directory.rstrip("\\/"))[-1] if directory else ""
    dot = name.rfind(".")
    return dumps(
        {
            "Scheme": scheme,
            "RootPath": root,
            "DirectoryPath": directory,
            "DirectoryName": "" if folder == root.rstrip("\\/") else folder,
            "Filename": name,
            "Extension": name[dot + 1 :] if dot >= 0 else "",
            "AlternateDataStreamName": stream,
        }
    )


def parse_csv(text: str) -> str:
    """parse_csv: the first record."""
    for record in csv.reader(text.splitlines(keepends=True), strict=False):
        return dumps(record or [""])
    return dumps([""])


def parse_command_line(text: str, kind: str) -> str | None:
    """parse_command_line by the rules of Windows: backslashes count before a quote, two quotes inside quotes are one."""
    if kind.lower() != "windows":
        return None
    found: list[str] = []
    at, size = 0, len(text)
    while True:
        while at < size and text[at] in " \t":
            at += 1
        if at >= size:
            break
        piece: list[str] = []
        quoted = False
        while at < size:
            char = text[at]
            if char == "\\":
                end = at
                while end < size and text[end] == "\\":
                    end += 1
                count = end - at
                if end < size and text[end] == '"' and found:
                    piece.append("\\" * (count // 2))
                    at = end
                    if count % 2:
                        piece.append('"')
                        at += 1
                    continue
                piece.append("\\" * count)
                at = end
                continue
            if char == '"':
                if quoted and text[at + 1 : at + 2] == '"' and found:
                    piece.append('"')
                    at += 2
                    continue
                quoted = not quoted
                at += 1
                continue
            if char in " \t" and not quoted:
                break
            piece.append(char)
            at += 1
        found.append("".join(piece))
    return dumps(found) if found else None


_LARGEST_XML = 1 << 20


def parse_xml(text: str) -> str | None:
    """parse_xml: elements as keys, attributes with @, text as #text; equal siblings become an array. Entities are not followed."""
    if len(text) > _LARGEST_XML or "<!ENTITY" in text:
        return None
    root: list[tuple[str, Any]] = []
    stack: list[tuple[str, dict[str, Any], list[str]]] = []

    def add(holder: dict[str, Any], key: str, value: Any) -> None:
        if key not in holder:
            holder[key] = value
        elif isinstance(holder[key], list):
            holder[key].append(value)
        else:
            holder[key] = [holder[key], value]

    def flush() -> None:
        if stack:
            _, holder, pieces = stack[-1]
            content = "".join(pieces).strip()
            pieces.clear()
            if content:
                add(holder, "#text", content)

    def start(name: str, attributes: list[str]) -> None:
        flush()
        stack.append((name, {f"@{k}": v for k, v in zip(attributes[::2], attributes[1::2], strict=True)}, []))

    def end(_name: str) -> None:
        flush()
        name, holder, _ = stack.pop()
        value: Any = holder
        if not holder:
            value = None
        elif list(holder) == ["#text"] and isinstance(holder["#text"], str):
            value = holder["#text"]
        if stack:
            add(stack[-1][1], name, value)
        else:
            root.append((name, value))

    parser = expat.ParserCreate()
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda data: stack[-1][2].append(data) if stack else None
    try:
        parser.Parse(
            text.encode("utf-8", "replace") if not text.lstrip().startswith("<?xml") else _without_declaration(text),
            True,
        )
    except expat.ExpatError:
        return None
    return dumps(dict(root)) if root else None


def _without_declaration(text: str) -> bytes:
    """The declared encoding was that of a file; this is text."""
    return re.sub(r"^\s*<\?xml.*?\?>", "", text, count=1, flags=re.DOTALL).encode("utf-8", "replace")


@lru_cache(maxsize=1)
def _agents() -> Any:
    import ua_parser

    return ua_parser


@lru_cache(maxsize=65536)
def _agent(text: str) -> dict[str, dict[str, str]]:
    """What the public user agent patterns say of the text."""
    found = _agents().parse(text)
    browser, os, device = found.user_agent, found.os, found.device
    return {
        "Browser": {
            "Family": browser.family if browser else "Other",
            "MajorVersion": (browser.major if browser else "") or "",
            "MinorVersion": (browser.minor if browser else "") or "",
            "Patch": (browser.patch if browser else "") or "",
        },
        "OperatingSystem": {
            "Family": os.family if os else "Other",
            "MajorVersion": (os.major if os else "") or "",
            "MinorVersion": (os.minor if os else "") or "",
            "Patch": (os.patch if os else "") or "",
            "PatchMinor": (os.patch_minor if os else "") or "",
        },
        "Device": {
            "Family": device.family if device else "Other",
            "Brand": (device.brand if device else "") or "",
            "Model": (device.model if device else "") or "",
        },
    }


_LOOK_FOR = {"browser": "Browser", "os": "OperatingSystem", "device": "Device"}


def parse_user_agent(text: str, look_for: str) -> str | None:
    """parse_user_agent: `look_for` is one of browser, os, device, or a JSON array of them."""
    wanted = json.loads(look_for) if look_for.startswith("[") else [look_for]
    keys = [_LOOK_FOR[str(w).lower()] for w in wanted if str(w).lower() in _LOOK_FOR]
    if not keys:
        return None
    parsed = _agent(text[:4096])
    return dumps({key: parsed[key] for key in ("Browser", "OperatingSystem", "Device") if key in keys})


_DOTS = re.compile("[.\u3002\uff0e\uff61]")


def _encode(text: str) -> str:
    return codecs.encode(text, "punycode").decode("ascii")


def punycode(text: str) -> str:
    """punycode_from_string."""
    return _encode(text)


def unpunycode(text: str) -> str:
    """punycode_to_string; empty when it is none."""
    try:
        return text.encode("ascii").decode("punycode")
    except (UnicodeError, ValueError):
        return ""


def domain_to_punycode(text: str) -> str:
    """punycode_domain_to_string in Kusto's naming: the domain's labels as ``xn--…``."""
    return ".".join(label if label.isascii() else "xn--" + _encode(label) for label in _DOTS.split(text))


def domain_from_punycode(text: str) -> str:
    """punycode_domain_from_string: the domain's ``xn--…`` labels as text; empty when one is none."""
    labels = []
    for label in text.split("."):
        if label.lower().startswith("xn--"):
            decoded = unpunycode(label[4:])
            if not decoded:
                return ""
            labels.append(decoded)
        else:
            labels.append(label)
    return ".".join(labels)


UDFS: tuple[Udf, ...] = (
    each("k_parse_path", "VARCHAR", "VARCHAR", parse_path),
    each("k_parse_csv", "VARCHAR", "VARCHAR", parse_csv),
    each("k_parse_command_line", "VARCHAR VARCHAR", "VARCHAR", parse_command_line),
    each("k_parse_xml", "VARCHAR", "VARCHAR", parse_xml),
    each("k_parse_user_agent", "VARCHAR VARCHAR", "VARCHAR", parse_user_agent),
    each("k_punycode", "VARCHAR", "VARCHAR", punycode),
    each("k_unpunycode", "VARCHAR", "VARCHAR", unpunycode),
    each("k_punycode_domain", "VARCHAR", "VARCHAR", domain_to_punycode),
    each("k_unpunycode_domain", "VARCHAR", "VARCHAR", domain_from_punycode),
)
