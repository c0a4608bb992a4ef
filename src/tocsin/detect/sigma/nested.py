"""Windows events in nested JSON as their decoder reads them: Winlogbeat and Elastic Agent (`winlog.*`), and `Event.System`/`EventData`.

`spread` makes such an object flat under joined names; `nested_layout` says of one sequence of joined names which feeds which field, as
`flat.py` does of flat objects. What the decoder would treat by more than names and values has no layout and is decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tocsin.detect.sigma.computed import COMPUTED, INPUTS, inside
from tocsin.detect.sigma.flat import COLUMN
from tocsin.ingest.decoders import flatvalues

__all__ = ["ENTERED", "SEPARATOR", "NestedLayout", "nested_layout", "spread"]

SEPARATOR = "\x1f"
_SYSTEM = ("", "Provider", "EventID", "Security", "Execution")
ENTERED: frozenset[str] = frozenset(
    SEPARATOR.join(path)
    for path in (
        *(
            (*top, *more)
            for top in (("Event",), ())
            for more in (
                *((("System", name) if name else ("System",)) for name in _SYSTEM),
                *(("System", name, "#attributes") for name in _SYSTEM[1:]),
                ("EventData",),
            )
        ),
        ("Event",),
        ("winlog",), ("winlog", "event_data"), ("winlog", "user"), ("winlog", "process"), ("host",), ("log",),
    )
)  # fmt: skip
"""The objects that are opened, by the joined names of their keys; all others are values."""

_WINLOG = "winlog" + SEPARATOR
_WINLOG_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "Provider": ("winlog.provider_name", "winlog.source_name"),
    "Computer": ("winlog.computer_name", "host", "host.name"),
    "Message": ("message",),
    "Level": ("winlog.level", "log.level"),
    "Keywords": ("winlog.keywords",),
    "Task": ("winlog.task",),
    "Opcode": ("winlog.opcode",),
    "Version": ("winlog.version",),
    "UserSid": ("winlog.user.identifier",),
    "EventRecordID": ("winlog.record_id", "winlog.record_number"),
    "ProcessID": ("winlog.process", "winlog.process.pid", "winlog.process_id"),
}
_SYSTEM_COLUMNS: Mapping[str, str] = {
    "Provider": "Provider", "Computer": "Computer", "Level": "Level", "Keywords": "Keywords", "Task": "Task", "Opcode": "Opcode",
    "Version": "Version", "UserSid": "Security", "EventRecordID": "EventRecordID", "ProcessID": "Execution",
}  # fmt: skip


def spread(event: Mapping[str, Any]) -> dict[str, Any]:
    """An object with the objects of `ENTERED` opened."""
    found: dict[str, Any] = {}
    _spread(event, "", found)
    return found


def _spread(event: Mapping[str, Any], prefix: str, found: dict[str, Any]) -> None:
    for name, value in event.items():
        path = prefix + name
        if value.__class__ is dict and path in ENTERED:
            _spread(value, path + SEPARATOR, found)
        else:
            found[path] = value


def _gathered(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The object that `spread` made these names and values of."""
    found: dict[str, Any] = {}
    for path, value in raw.items():
        *way, last = path.split(SEPARATOR)
        at = found
        for step in way:
            at = at.setdefault(step, {})
        at[last] = value
    return found


class NestedLayout:
    """The fields of nested objects with these names; see `tocsin.detect.sigma.flat.FlatLayout`."""

    refused: Mapping[str, frozenset[str]] = {}
    nested = True

    def __init__(
        self, data: str, names: Sequence[str], columns: Mapping[str, tuple[str, ...]], channel: str, event: str
    ) -> None:
        self.channel, self.event = channel, event
        self._data = data
        self.fields = tuple(n[len(data) :] for n in names if n.startswith(data))
        self._columns = columns

    def inputs(self, getter: str) -> tuple[str, ...]:
        """See `FlatLayout.inputs`."""
        if "\x00" in getter:
            one, other = getter.split("\x00")
            return tuple(dict.fromkeys((*self.inputs(one), *self.inputs(other))))
        if getter[0] == COLUMN:
            return self._columns.get(getter[1:], ())
        if getter == "@data":
            return tuple(self._data + n for n in self.fields if n.startswith("Data_"))
        if getter[0] == "@":
            return tuple(self._data + n for n in INPUTS[getter] if n in self.fields)
        return (self._data + getter.partition("\x01")[0],)

    def plain(self, getter: str) -> bool:
        """See `FlatLayout.plain`."""
        return getter[0] not in (COLUMN, "@") and "\x00" not in getter and "\x01" not in getter

    def value(self, getter: str, raw: Mapping[str, Any]) -> Any:
        """See `FlatLayout.value`."""
        if "\x00" in getter:
            one, other = getter.split("\x00")
            return self.value(one, raw), self.value(other, raw)
        if getter[0] == COLUMN:
            known = {n: raw[n] for n in self.inputs(getter)}
            return flatvalues.nested_columns(_gathered(known))[getter[1:]] if known else None
        if getter[0] == "@":
            size = len(self._data)
            return COMPUTED[getter]({n[size:]: flatvalues.own(v) for n, v in raw.items() if n.startswith(self._data)})
        name, deep, path = getter.partition("\x01")
        text = flatvalues.own(raw[self._data + name])
        return inside(text, path) if deep else text


def nested_layout(names: Sequence[str]) -> NestedLayout | None:
    """The layout of objects that `spread` gives these names, None for those that must be decoded."""
    present = set(names)
    tops = {n.partition(SEPARATOR)[0] for n in names}
    if len(present) != len(names) or "EventID" in tops or "" in present:
        return None
    if {"event_id", "provider", "channel"} <= tops:
        return None
    if "winlog" in tops:
        return None if "winlog" in present else _winlog(names, present)
    if {"event_id"} <= tops and not tops.isdisjoint(("event_data", "log_name")):
        return None
    top = "Event" + SEPARATOR if "Event" in tops else ""
    if "Event" in present:
        return None
    return _system(names, present, top)


def _winlog(names: Sequence[str], present: set[str]) -> NestedLayout | None:
    channel, event, data = _WINLOG + "channel", _WINLOG + "event_id", _WINLOG + "event_data"
    if channel not in present or event not in present:
        return None
    if not present.isdisjoint((data, _WINLOG + "user_data", _WINLOG + "log_name", data + SEPARATOR + "Data")):
        return None
    columns = {
        column: tuple(joined for i in inputs if (joined := i.replace(".", SEPARATOR)) in present)
        for column, inputs in _WINLOG_COLUMNS.items()
    }
    return _layout(data, names, columns, channel, event)


def _system(names: Sequence[str], present: set[str], top: str) -> NestedLayout | None:
    system, data = f"{top}System{SEPARATOR}", f"{top}EventData"
    channel, event = system + "Channel", system + "EventID"
    if event not in present:
        event += SEPARATOR + "#text"
    if channel not in present or event not in present:
        return None
    others = (
        data,
        *(top + n for n in ("UserData", "ProcessingErrorData", "BinaryEventData")),
        data + SEPARATOR + "Data",
    )
    if not present.isdisjoint(others) or any(n.startswith(top + "UserData") for n in names):
        return None
    if not top and not any(n.startswith(data) for n in names):
        return None
    columns = {
        column: tuple(n for n in names if n == system + own or n.startswith(system + own + SEPARATOR))
        for column, own in _SYSTEM_COLUMNS.items()
    }
    return _layout(data, names, columns, channel, event)


def _layout(
    data: str, names: Sequence[str], columns: Mapping[str, tuple[str, ...]], channel: str, event: str
) -> NestedLayout | None:
    layout = NestedLayout(data + SEPARATOR, names, columns, channel, event)
    return None if any(n == "" or n[0] in "#@" or SEPARATOR in n for n in layout.fields) else layout
