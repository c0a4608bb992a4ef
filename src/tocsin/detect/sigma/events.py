"""What a source event says as evidence: its row, its time and its entities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa

from tocsin.detect.entities import derive_entities, make, text
from tocsin.detect.make import assets_of, moment
from tocsin.detect.sigma.networks import SENSOR, SensorNetworks
from tocsin.ingest.decoders import flatvalues
from tocsin.ingest.decoders.windows import EVENT_SCHEMA
from tocsin.ingest.model import SourceBatch
from tocsin.tables.entities import Entity
from tocsin.tables.kinds import EVENT_KINDS, KINDS

__all__ = ["EPOCH", "Assets", "Event", "batch_events", "event_entities", "line_events"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("TimeCreated", "TimeGenerated", "Timestamp", "ts", "EventTime", "CreationTime")
_DROPPED = ("EventData", "ProviderGuid", "ActivityID", "Fields")
_ONE = SensorNetworks()
_KEPT = tuple(n for n in EVENT_SCHEMA.names if n not in _DROPPED)


class Event:
    """An event that some rule holds for.

    Its row and entities are made when first asked for: most events of a rule that fires often are only counted. `make` gives the row; where
    it holds on to more than the event (a batch), `heavy` says so, and whoever keeps the event calls `keep`.
    """

    __slots__ = ("_entities", "_heavy", "_make", "_row", "assets", "source", "time")

    def __init__(
        self,
        source: str,
        time: datetime,
        assets: tuple[str, ...],
        *,
        make: Callable[[], Mapping[str, Any]] | None = None,
        heavy: bool = False,
        row: Mapping[str, Any] | None = None,
        entities: tuple[Entity, ...] | None = None,
    ) -> None:
        self.source, self.time, self.assets = source, time, assets
        self._make, self._row, self._entities, self._heavy = make, row, entities, heavy

    def keep(self) -> None:
        """Lets go of what is more than the event."""
        if self._heavy:
            self._heavy = False
            self.row  # noqa: B018 - made now, and the batch is free

    @property
    def row(self) -> Mapping[str, Any]:
        """Flat, JSON-able values: system columns, then the event's own fields; empty ones left out."""
        if self._row is None:
            assert self._make is not None
            self._row, self._make = self._make(), None
        return self._row

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The entities that the event names."""
        if self._entities is None:
            self._entities = event_entities(self.source, self.row)
        return self._entities


_TEXT_OR_NONE = frozenset({str, type(None)})


class Assets:
    """`assets_of` of Windows events, remembered by what they are made of: hosts and accounts repeat. `networks`: those of Zeek's sensors."""

    def __init__(self, networks: SensorNetworks, most: int = 20_000) -> None:
        self.networks = networks
        self._most = most
        self._known: dict[tuple[Any, ...], tuple[str, ...]] = {}

    def of(self, computer: Any, fields: Mapping[str, Any]) -> tuple[str, ...]:
        """Of an event's computer and its own fields."""
        return self._find((computer, *map(fields.get, _NAMED)))

    def of_values(self, computer: str | None, fields: Mapping[str, Any]) -> tuple[str, ...]:
        """The same of fields as JSON gives them."""
        key = (computer, *map(fields.get, _NAMED))
        if not _TEXT_OR_NONE.issuperset(map(type, key)):
            key = (computer, *(None if v is None else flatvalues.field(v) for v in key[1:]))
        return self._find(key)

    def _find(self, key: tuple[Any, ...]) -> tuple[str, ...]:
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= self._most:
                self._known.clear()
            row = {n: v for n, v in zip(("Computer", *_NAMED), key, strict=True) if v is not None and v != ""}
            found = self._known[key] = assets_of((*_who(row, text(key[0])), *_addresses(row)))
        return found


def batch_events(batch: SourceBatch, indexes: Sequence[int], assets: Assets) -> list[Event]:
    """The events of these rows of a batch."""
    kept = batch.rows.select([n for n in batch.rows.column_names if n not in _DROPPED])
    if batch.source not in EVENT_KINDS:
        found: list[Event] = []
        for index, values in zip(indexes, kept.take(pa.array(indexes, pa.int64())).to_pylist(), strict=True):
            row = _row(values, _inner(batch, index))
            entities = event_entities(batch.source, row, assets.networks)
            found.append(Event(batch.source, _time(row), assets_of(entities), row=row, entities=entities))
        return found
    head = batch.rows.select(["Computer", "TimeCreated"]).take(pa.array(indexes, pa.int64()))
    computers, times = head.column("Computer").to_pylist(), head.column("TimeCreated").to_pylist()
    data = batch.event_data()

    def event(index: int, computer: Any, created: datetime | None) -> Event:
        fields = data[index]

        def make() -> dict[str, Any]:
            return _row(kept.slice(index, 1).to_pylist()[0], fields)

        if created is None:  # it may tell its time in a field of its own
            row = make()
            return Event(batch.source, _time(row), assets.of(computer, fields), row=row)
        return Event(batch.source, _utc(created), assets.of(computer, fields), make=make, heavy=True)

    return [event(*each) for each in zip(indexes, computers, times, strict=True)]


def line_events(lines: Sequence[bytes], assets: Assets) -> list[Event]:
    """The events of JSON lines of Windows events; as their batch's would be, but of flat ones only what is asked for is decoded."""
    objects = [orjson.loads(line) for line in lines]
    flat = [at for at, found in enumerate(objects) if "EventID" in found]
    made: list[Event | None] = [None] * len(lines)
    if len(flat) < len(lines):
        nested = sorted(set(range(len(lines))).difference(flat))
        batch = SourceBatch(KINDS.windows, flatvalues.nested_rows([objects[at] for at in nested]), "")
        for at, event in zip(nested, batch_events(batch, range(len(nested)), assets), strict=True):
            event.keep()
            made[at] = event
    times = flatvalues.times([objects[at] for at in flat]).to_pylist()
    for at, created in zip(flat, times, strict=True):
        made[at] = _flat_event(lines[at], objects[at], created, assets)
    return [event for event in made if event is not None]


def _flat_event(line: bytes, fields: dict[str, Any], created: datetime | None, assets: Assets) -> Event:
    def make() -> dict[str, Any]:
        named, own = flatvalues.columns(orjson.loads(line))
        named["TimeCreated"] = created
        return _row({n: named[n] for n in _KEPT}, own)

    whose = assets.of_values(flatvalues.computer(fields), fields)
    if created is None:  # it may tell its time in a field of its own
        row = make()
        return Event(KINDS.windows, _time(row), whose, row=row)
    return Event(KINDS.windows, created.replace(tzinfo=UTC), whose, make=make)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _inner(batch: SourceBatch, index: int) -> Mapping[str, Any]:
    """The fields that a row carries beside its columns."""
    if batch.source == KINDS.audit:
        found: dict[str, Any] = orjson.loads(batch.rows.column("Fields")[index].as_py() or "{}")
        return found
    return batch.event_data()[index] if "EventData" in batch.rows.column_names else {}


def _row(values: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, datetime):
            value = _utc(value).isoformat().replace("+00:00", "Z")
        if value is not None and value != "":
            found[name] = value
    for name, value in inner.items():
        if value is not None and value != "":
            found[name if name not in found else f"EventData.{name}"] = value
    return found


def _time(row: Mapping[str, Any]) -> datetime:
    """When the event happened; 1970 where it doesn't say."""
    return next((m for n in _TIMES if (m := moment(row.get(n))) is not None), EPOCH)


def event_entities(source: str, row: Mapping[str, Any], networks: SensorNetworks = _ONE) -> tuple[Entity, ...]:
    """The entities that the event names. `networks`: those of Zeek's sensors."""
    if source in EVENT_KINDS:
        return tuple(dict.fromkeys(_windows(row)))
    if source == KINDS.audit:
        return tuple(dict.fromkeys(_auditd(row)))
    if source.startswith("zeek."):
        return tuple(dict.fromkeys(_zeek(row, networks.of(text(row.get(SENSOR))))))
    if source == KINDS.syslog:
        return tuple(dict.fromkeys(make("Host", {"FullName": text(row.get("HostName"))})))
    return tuple(derive_entities(row))


def _get(row: Mapping[str, Any], name: str) -> str:
    """An event's own field, also where a system column of the same name stands before it."""
    return text(row.get(f"EventData.{name}", row.get(name)))


_PAIRS = (
    ("TargetUserName", "TargetDomainName", ("TargetUserSid", "TargetSid")),
    ("SubjectUserName", "SubjectDomainName", ("SubjectUserSid",)),
    ("TargetOutboundUserName", "TargetOutboundDomainName", ()),
)
_MANAGEMENT = range(4720, 4800)
"""Security events in which the subject makes something of the target, an account or a group (Microsoft: Audit Account Management): the first account
that an event names is who acted. At a logon that is the target."""
_FULL = ("User", "SourceUser", "TargetUser", "Detection User", "AccountName", "UserName")
_ADDRESSES = ("IpAddress", "DestinationIp", "SourceIp", "DestAddress", "SourceAddress", "ClientAddress", "Address")
_FILES = ("TargetFilename", "ImageLoaded", "Image", "NewProcessName", "SourceImage", "ServiceFileName", "ImagePath")
_ALGORITHMS = ("SHA256", "SHA1", "MD5")


_NAMED = (*{n for name, domain, sids in _PAIRS for n in (name, domain, *sids)}, *_FULL, *_ADDRESSES)
"""The fields that hosts, accounts and addresses are made of, beside the computer."""


def _windows(row: Mapping[str, Any]) -> Iterator[Entity]:
    host = text(row.get("Computer"))
    who = list(_who(row, host))
    if row.get("EventID") in _MANAGEMENT:
        subject = [e for e in who if e.type == "Account" and e.identifiers.get("Name") == _get(row, "SubjectUserName")]
        who = [*subject, *(e for e in who if e not in subject)]
    yield from who
    yield from _addresses(row)
    yield from _windows_processes(row, host)
    yield from _windows_things(row, host)


def _who(row: Mapping[str, Any], host: str) -> Iterator[Entity]:
    yield from make("Host", {"FullName": host})
    for name, domain, sids in _PAIRS:
        user = _get(row, name)
        if user and not user.endswith("$"):
            sid = next((s for n in sids if (s := _get(row, n)).startswith("S-1-5-21-")), "")
            yield from make("Account", {"Name": user, "NTDomain": _get(row, domain), "Sid": sid})
    for name in _FULL:
        user = _get(row, name)
        if user and not user.endswith("$"):
            yield from make("Account", {"Name": user})


def _addresses(row: Mapping[str, Any]) -> Iterator[Entity]:
    for name in _ADDRESSES:
        yield from make("IP", {"Address": _get(row, name)})


def _windows_things(row: Mapping[str, Any], host: str) -> Iterator[Entity]:
    event = row.get("EventID")
    told = _get(row, "Hashes") or _get(row, "Hash")  # Sysmon's event 15 calls them by the latter
    hashes = dict(part.split("=", 1) for part in told.split(",") if "=" in part)
    algorithm = next((a for a in _ALGORITHMS if hashes.get(a)), "")
    for name in _FILES:
        path = _get(row, name).strip('"')
        if path and (name != "Image" or event in (1, 11, 23, 26)):
            yield from make("File", {"Name": path, "FileHash": hashes.get(algorithm, ""), "Host": host})
            break  # the file that the event is about, and whose hashes it tells; the others are context
    if algorithm:
        yield from make("FileHash", {"Algorithm": algorithm, "Value": hashes[algorithm]})
    if key := _get(row, "TargetObject") or (_get(row, "ObjectName") if event == 4657 else ""):
        yield from make("RegistryKey", {"Key": key})
    if name := _get(row, "QueryName"):
        yield from make("DNS", {"DomainName": name.rstrip(".").lower()})


def _windows_processes(row: Mapping[str, Any], host: str) -> Iterator[Entity]:
    event = row.get("EventID")
    if event == 4688:
        yield from make(
            "Process",
            {
                "ProcessId": _get(row, "NewProcessId"),
                "ParentProcessId": _get(row, "ProcessId"),
                "CommandLine": _get(row, "CommandLine"),
                "ImageFile": _get(row, "NewProcessName"),
                "CreationTimeUtc": text(row.get("TimeCreated")),
                "Host": host,
            },
        )
        return
    pid = _get(row, "ProcessId") or _get(row, "SourceProcessId")
    image = _get(row, "Image") or _get(row, "SourceImage")
    if not pid or not image:
        return
    created = (_get(row, "UtcTime") or text(row.get("TimeCreated"))) if event == 1 else ""
    yield from make(
        "Process",
        {
            "ProcessId": pid,
            "ParentProcessId": _get(row, "ParentProcessId") if event == 1 else "",
            "CommandLine": _get(row, "CommandLine"),
            "ImageFile": image,
            "CreationTimeUtc": created,
            "Host": host,
        },
    )
    if event == 1 and (parent := _get(row, "ParentImage")) and parent != "-":
        yield from make(
            "Process",
            {
                "ProcessId": _get(row, "ParentProcessId"),
                "CommandLine": _get(row, "ParentCommandLine"),
                "ImageFile": parent,
                "Host": host,
            },
        )


_STARTS = ('"EXECVE"', '"AUOMS_EXECVE"')
"""Audit records by which a process becomes another program; the tables count that as its start too."""


def _auditd(row: Mapping[str, Any]) -> Iterator[Entity]:
    host = text(row.get("Computer"))
    yield from make("Host", {"FullName": host})
    for name in ("AUID", "UID", "acct"):
        user = text(row.get(name))
        if user and user not in ("unset", "root"):
            yield from make("Account", {"Name": user})
    if pid := text(row.get("pid")):
        started = any(kind in str(row.get("Types")) for kind in _STARTS) and row.get("success") != "no"
        yield from make(
            "Process",
            {
                "ProcessId": pid,
                "ParentProcessId": text(row.get("ppid")),
                "CreationTimeUtc": text(row.get("TimeCreated")) if started else "",
                "CommandLine": text(row.get("cmdline")),
                "ImageFile": text(row.get("exe")),
                "Host": host,
            },
        )
    if path := text(row.get("name")) or text(row.get("exe")):
        yield from make("File", {"Name": path, "Host": host})
    yield from make("IP", {"Address": text(row.get("addr"))})


def _zeek(row: Mapping[str, Any], network: str) -> Iterator[Entity]:
    for name in ("id.orig_h", "id.resp_h"):
        yield from make("IP", {"Address": text(row.get(name)), "AddressScope": network})
    if host := text(row.get("host")):  # what the client called it: a name, or an address
        named = list(make("IP", {"Address": host, "AddressScope": network}))
        yield from named or make("DNS", {"DomainName": host.lower()})
    if query := text(row.get("query")):
        yield from make("DNS", {"DomainName": query.rstrip(".").lower()})
