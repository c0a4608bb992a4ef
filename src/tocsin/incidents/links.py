"""Links that rows tell of and entities don't: process trees, logon sessions, and which files are the system's own.

Which columns mean what is content (`packs/*/links/*.yaml`), because every source names them its own way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tocsin.content import Content, LinkFile
from tocsin.detect.alert import Alert
from tocsin.tables.entities import EntityKey, process_key

__all__ = ["Found", "Links", "links_of", "shipped_links"]

_HOST_TYPES = ("Host",)
_WHOLE = r"^\s*([\w.-]+)\s*$"
_LONGEST = 8192
_HERE = frozenset({"localhost", "local", "127", "globalroot", "device"})


@dataclass(slots=True)
class Found:
    """What an alert's rows tell: keys with labels, the processes that did it, values of hashes and paths that are the system's own."""

    keys: dict[EntityKey, str] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    common: set[str] = field(default_factory=set)
    system: re.Pattern[str] | None = None

    @property
    def processes(self) -> frozenset[str]:
        """The processes that its rows speak of, by their nodes' names."""
        return frozenset(self.own)

    def is_common(self, key: EntityKey) -> bool:
        """Whether a file or hash is the system's own: found on every machine, so that it joins nothing."""
        if key[0] == "hash":
            return key[1] in self.common
        return self.system is not None and self.system.match(key[1] + "\\") is not None


@dataclass(frozen=True, slots=True)
class Links:
    """The links of all packs, ready to read rows with."""

    processes: tuple[Mapping[str, Any], ...] = ()
    sessions: tuple[Mapping[str, Any], ...] = ()
    files: tuple[Mapping[str, Any], ...] = ()
    mentions: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = ()
    system: re.Pattern[str] | None = None

    def read(self, alert: Alert) -> Found:
        """What the alert's rows tell."""
        found = Found(system=self.system)
        hosts = [e.label.partition(".")[0].lower() for e in alert.entities if e.type in _HOST_TYPES]
        alone = hosts[0] if len(set(hosts)) == 1 else ""
        for event in alert.events:
            row = {k: v for k, v in event.row.items() if v not in (None, "")}
            for each in self.processes:
                self._process(each, row, alone, found)
            for each in self.sessions:
                self._session(each, row, alone, found)
            for each in self.files:
                self._file(each, row, found)
            for pattern, columns in self.mentions:
                _mentioned(pattern, columns, row, found)
        return found

    def _process(self, each: Mapping[str, Any], row: Mapping[str, Any], alone: str, found: Found) -> None:
        node = self._node(each, row, alone)
        if not node:
            return
        label = str(next((row[c] for c in each.get("label", ()) if c in row), "")) or node
        if not each.get("parent"):
            found.own.add(node)
            found.keys.setdefault(("process", node), label.lower())
        found.keys.setdefault(("tree", node), label.lower())

    def _node(self, each: Mapping[str, Any], row: Mapping[str, Any], alone: str) -> str:
        value = _text(row.get(each["id"]))
        if not value or value.strip("{}0-x") == "":
            return ""
        if each.get("unique"):
            return value.strip("{}").lower()
        host = _host(each, row) or alone
        start = _text(row.get(each.get("start", "")))
        number = _number(value)
        if not host or number in each.get("never", ()) or (each.get("start") and not start):
            return ""
        return process_key(host, number, start)[1] if start else ""

    def _session(self, each: Mapping[str, Any], row: Mapping[str, Any], alone: str, found: Found) -> None:
        value = _text(row.get(each["id"]))
        host = _host(each, row) or alone
        if not value or not host or _number(value) in {_number(str(n)) for n in each.get("never", ())}:
            return
        user = next((str(row[c]) for c in each.get("label", ()) if c in row), "")
        if user.endswith("$"):
            return  # the machine's own sessions say no more than its name
        number = _number(value)
        # Windows counts sessions anew at each start: a number that another account has is another session.
        owner = user.rpartition("\\")[2].partition("@")[0].lower()
        found.keys.setdefault(("session", host, number, owner), f"{user or 'logon'} {number} on {host}".lower())

    def _file(self, each: Mapping[str, Any], row: Mapping[str, Any], found: Found) -> None:
        path = next((_text(row[c]) for c in each["path"] if c in row), "")
        if not path or self.system is None or not self.system.match(path.lower()):
            return
        for column in each["hash"]:
            for part in re.findall(r"[0-9a-fA-F]{32,64}", _text(row.get(column))):
                found.common.add(part.lower())


def links_of(content: Content) -> Links:
    """The links of packs."""
    return _made(content.links)


@cache
def shipped_links() -> Links:
    """The links of the packs that ship with Tocsin: what a correlator uses when it is given none."""
    from tocsin.content import load_packs, packs_dir

    return links_of(load_packs([packs_dir()], only=("links",)))


def _made(files: Iterable[LinkFile]) -> Links:
    processes: list[Mapping[str, Any]] = []
    sessions: list[Mapping[str, Any]] = []
    paths: list[Mapping[str, Any]] = []
    system: list[str] = []
    mentions: list[tuple[re.Pattern[str], tuple[str, ...]]] = []
    for file in files:
        value = file.document.value
        processes.extend(value.get("processes") or ())
        sessions.extend(value.get("sessions") or ())
        paths.extend(value.get("files") or ())
        system.extend(value.get("system") or ())
        mentions.extend(
            (re.compile(each.get("pattern") or _WHOLE, re.IGNORECASE), tuple(each["columns"]))
            for each in value.get("mentions") or ()
        )
    pattern = re.compile("|".join(f"(?:{s})" for s in system), re.IGNORECASE) if system else None
    return Links(tuple(processes), tuple(sessions), tuple(paths), tuple(mentions), pattern)


def _mentioned(pattern: re.Pattern[str], columns: tuple[str, ...], row: Mapping[str, Any], found: Found) -> None:
    """Hosts that a value names: the other end of a command or a logon."""
    for column in columns:
        value = row.get(column)
        if not isinstance(value, str):
            continue
        for match in pattern.finditer(value[:_LONGEST]):
            full = match[1].lower().strip(".")
            name = full.partition(".")[0]
            if len(name) > 1 and not name.isdigit() and name not in _HERE:
                found.keys.setdefault(("hostname", name), name)


def _host(each: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    name = next((_text(row[c]) for c in each.get("host", ()) if c in row), "")
    return name.partition(".")[0].lower()


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value).strip()


def _number(text: str) -> str:
    try:
        return str(int(text, 16) if text.lower().startswith("0x") else int(float(text)))
    except ValueError:
        return text.lower()
