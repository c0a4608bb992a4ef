"""Names short enough for a sentence or a table's cell; the evidence has them whole."""

from __future__ import annotations

import re

__all__ = ["brief", "cut"]

_MOST = 60
_QUOTED = re.compile(r'\s*"([^"]+)"')
_SPACED = re.compile(
    r"(?:[A-Za-z]:|\\\\)[^\s\":]*(?: [^\s\":/-][^\s\":]*)*?\.(?:exe|com|bat|cmd|scr)(?=[\s\"]|$)", re.IGNORECASE
)
"""A path of Windows with spaces in it that nobody quoted: up to what runs, before the first argument."""


def brief(kind: str, label: str) -> str:
    """A thing's short name by its kind: a host without its domain, an account without its directory, of a command line the program, of a path its
    last part where all of it is long. Where nothing would be left, all of it; never more than 60 characters."""
    text = " ".join(label.split())
    if kind == "Host":
        text = text.split(".", maxsplit=1)[0] or text
    elif kind in ("Account", "Mailbox"):
        text = text.rpartition("\\")[2].split("@")[0] or text
    elif kind == "Process":
        text = _program(text) or text
    elif kind in ("File", "RegistryKey", "RegistryValue") and len(text) > _MOST:
        text = "…" + re.split(r"(?=[\\/])", text)[-1]
    return cut(text)


def cut(text: str, most: int = _MOST) -> str:
    """The text on one line, with its end left out where it is longer than that many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def _program(command: str) -> str:
    """The name of the program of a command line: what stands in quotes, else a path up to what ends like a program's name, else the first word."""
    if re.fullmatch(r"pid \d+", command):
        return command  # of a process of which nothing but its number is told
    start = command[:1000]
    found = _QUOTED.match(start)
    spaced = _SPACED.match(start)
    path = found[1] if found else spaced[0] if spaced else start.split(" ", maxsplit=1)[0]
    return path.rstrip("\\/").replace("\\", "/").rsplit("/", maxsplit=1)[-1]
