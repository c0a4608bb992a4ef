"""Flat JSON objects of Windows events as their decoder reads them, without decoding them: which key feeds which field.

`FlatLayout` answers for one sequence of keys what `EventBuffer.add_flat` would do with such an object: which keys become columns, which are
transport and dropped, which stay as the event's own fields. Where that depends on more than the keys and the values a rule reads, there
is no layout and the line is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tocsin.detect.sigma.computed import COMPUTED, INPUTS, inside
from tocsin.detect.sigma.logsource import plain_name
from tocsin.ingest.decoders import flatvalues
from tocsin.ingest.decoders.shapes import WINDOWS_TABLES

__all__ = ["COLUMN", "SYSTEM_NAMES", "FlatLayout", "flat_layout"]

COLUMN = "\x02"
"""Marks a getter that reads a column of the batch instead of the event's own fields."""
SYSTEM_NAMES: Mapping[str, str] = {
    plain: COLUMN + name for plain, name in {
        "providername": "Provider", "provider": "Provider", "computer": "Computer", "computername": "Computer", "hostname": "Computer",
        "level": "Level", "task": "Task", "opcode": "Opcode", "version": "Version", "keywords": "Keywords", "userid": "UserSid",
        "usersid": "UserSid", "message": "Message", "eventrecordid": "EventRecordID", "executionprocessid": "ProcessID",
    }.items()
}  # fmt: skip
"""Columns of a batch by the plain names that rules use for them."""
_PROVIDERS = ("SourceName", "Provider", "ProviderName")
_ELSEWHERE = ("TimeGenerated", "EventSourceName")
"""Keys by which an object is a row of Log Analytics."""
MOST_INPUTS = 8


class FlatLayout:
    """The fields of objects with these keys.

    `fields` are the event's own, in order; `inputs` and `value` read any getter of a `Layout`. `channel` and `event` name the keys that decide
    on the program, `refused` the values of keys with which the object is something else and must be decoded.
    """

    channel, event, nested = "Channel", "EventID", False

    def __init__(self, names: Sequence[str], *, nxlog: bool) -> None:
        present = set(names)
        self.refused: Mapping[str, frozenset[str]] = {"Type": WINDOWS_TABLES} if "Type" in present else {}
        self._nxlog = nxlog
        self._columns: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {}
        dropped = {
            "Channel",
            "EventID",
            "Message",
            "TimeCreated",
            "@timestamp",
            "EventTime",
            "Level",
            "Keywords",
            "Task",
            "ProviderGuid",
        }
        # The first is the provider; a later one is the event's own, unless the first is empty.
        self._providers = tuple(n for n in _PROVIDERS if n in present)
        dropped.update(self._providers[:1])
        dropped.update(("Hostname", "Computer"))
        if nxlog:
            dropped.update(flatvalues.NXLOG)
        if nxlog or "host" in present or "tags" in present:
            dropped.update(flatvalues.TRANSPORT)
        record: tuple[str, ...] = ("RecordNumber",) if nxlog and "RecordNumber" in present else ("EventRecordID",)
        dropped.update(record)
        nothing = not nxlog
        for column, inputs, function in (
            ("Provider", _PROVIDERS, flatvalues.first),
            ("Computer", ("Hostname", "Computer", "host"), flatvalues.first),
            ("Message", ("Message",), flatvalues.text),
            ("Level", ("Level", "Severity") if nxlog else ("Level",), flatvalues.level),
            ("Keywords", ("Keywords",), flatvalues.keywords),
            ("Task", ("Task",), flatvalues.int32),
            ("Opcode", () if nothing else ("OpcodeValue", "Opcode"), flatvalues.int32),
            ("Version", () if nothing else ("Version",), flatvalues.int32),
            ("UserSid", () if nothing else ("UserID",), flatvalues.text),
            ("EventRecordID", record, flatvalues.int64),
            ("ProcessID", () if nothing else ("ExecutionProcessID", "ProcessID"), flatvalues.pid),
        ):  # fmt: skip
            if not present.isdisjoint(inputs):
                self._columns[column] = (inputs, function)
        self._present = present
        self.fields = tuple(n for n in names if n not in dropped)
        alike: dict[str, list[str]] = {}
        for name in self.fields:
            alike.setdefault(plain_name(name), []).append(name)
        # A null hides its key, and the first key of nearly the same name takes its place.
        self._instead = {
            n: tuple(o for o in group if o != n) for group in alike.values() if len(group) > 1 for n in group
        }
        self._special = {*self._instead, *self._providers, *(("EventType", "ProcessID") if nxlog else ())}

    @property
    def tangled(self) -> bool:
        """Whether a provider's key and another are nearly the same name: then the object is decoded."""
        return not self._instead.keys().isdisjoint(self._providers)

    def inputs(self, getter: str) -> tuple[str, ...]:
        """The keys that a getter reads; none where it has nothing to read."""
        if "\x00" in getter:
            one, other = getter.split("\x00")
            return tuple(dict.fromkeys((*self.inputs(one), *self.inputs(other))))
        if getter[0] == COLUMN:
            return tuple(n for n in self._columns.get(getter[1:], ((),))[0] if n in self._present)
        if getter == "@data":
            return tuple(n for n in self.fields if n == "Data" or n.startswith("Data_"))
        if getter[0] == "@":
            return tuple(n for n in INPUTS[getter] if n in self.fields)
        name = getter.partition("\x01")[0]
        if name in self._providers:
            return self._providers
        names = (name, *self._instead.get(name, ()))
        if "ProcessID" in names and self._nxlog and "ExecutionProcessID" in self._present:
            return ("ExecutionProcessID", *names)
        return names

    def plain(self, getter: str) -> bool:
        """Whether the getter's value is just that of a key, as text."""
        return (
            getter[0] not in (COLUMN, "@")
            and "\x00" not in getter
            and "\x01" not in getter
            and getter not in self._special
        )

    def value(self, getter: str, raw: Mapping[str, Any]) -> Any:
        """A getter's value of the values of its `inputs`."""
        if "\x00" in getter:
            one, other = getter.split("\x00")
            return self.value(one, raw), self.value(other, raw)
        if getter[0] == COLUMN:
            inputs, function = self._columns.get(getter[1:], ((), flatvalues.text))
            return function(*(raw.get(n) for n in inputs)) if inputs else None
        if getter[0] == "@":
            return COMPUTED[getter]({n: flatvalues.field(v) for n, v in raw.items() if v is not None})
        name, deep, path = getter.partition("\x01")
        text = next((v for n in (name, *self._instead.get(name, ())) if (v := self._own(n, raw)) is not None), None)
        return inside(text, path) if deep else text

    def _own(self, name: str, raw: Mapping[str, Any]) -> str | None:
        """The value of one of the event's own fields."""
        value = raw.get(name)
        if name in self._providers:
            earlier = self._providers[: self._providers.index(name)]
            if value is None or not any(raw.get(n) for n in earlier):
                return flatvalues.first(*(raw.get(n) for n in _PROVIDERS))
        if name == "EventType" and self._nxlog and value.__class__ is str and value in flatvalues.NXLOG_EVENT_TYPES:
            return None
        if name == "ProcessID" and self._nxlog and value.__class__ is int and raw.get("ExecutionProcessID") is None:
            return None  # the decoder takes it for the writer's
        return None if value is None else flatvalues.field(value)


def flat_layout(names: Sequence[str]) -> FlatLayout | None:
    """The layout of objects with these keys in this order, None for those that must be decoded."""
    present = set(names)
    if (
        len(present) != len(names)
        or "EventID" not in present
        or "Channel" not in present
        or present.intersection(_ELSEWHERE)
    ):
        return None
    if {"Hostname", "Computer"} <= present or {"RecordNumber", "EventRecordID"} <= present:
        return None
    nxlog = "RecordNumber" in present or "ThreadID" in present
    if "EventTime" in present and not nxlog:
        return None
    if "" in present:
        return None
    layout = FlatLayout(names, nxlog=nxlog)
    return None if layout.tangled else layout
