"""What a source event says as evidence: its row, its time and its entities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa

from tocsin.detect.entities import derive_entities, make, text
from tocsin.detect.make import moment
from tocsin.ingest.model import SourceBatch
from tocsin.tables.entities import Entity

__all__ = ["EPOCH", "event_entities", "event_rows", "event_time"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("TimeCreated", "TimeGenerated", "Timestamp", "ts", "EventTime", "CreationTime")
_DROPPED = ("EventData", "ProviderGuid", "ActivityID", "Fields")


def event_rows(batch: SourceBatch, indexes: Sequence[int]) -> list[dict[str, Any]]:
    """Rows as flat, JSON-able values: system columns, then the event's own fields; empty ones left out."""
    kept = batch.rows.select([n for n in batch.rows.column_names if n not in _DROPPED])
    return [
        _row(batch, index, values)
        for index, values in zip(indexes, kept.take(pa.array(indexes, pa.int64())).to_pylist(), strict=True)
    ]


def _row(batch: SourceBatch, index: int, values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, datetime):
            value = (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat().replace("+00:00", "Z")
        if value is not None and value != "":
            found[name] = value
    inner: Mapping[str, Any] = {}
    if "EventData" in batch.rows.column_names:
        inner = batch.event_data()[index]
    elif batch.source == "linux.auditd":
        inner = orjson.loads(batch.rows.column("Fields")[index].as_py() or "{}")
    for name, value in inner.items():
        if value is not None and value != "":
            found[name if name not in found else f"EventData.{name}"] = value
    return found


def event_time(source: str, row: Mapping[str, Any]) -> datetime:
    """When the event happened; 1970 where it doesn't say."""
    del source
    return next((m for n in _TIMES if (m := moment(row.get(n))) is not None), EPOCH)


def event_entities(source: str, row: Mapping[str, Any]) -> tuple[Entity, ...]:
    """The entities that the event names."""
    if source in ("windows.event", "linux.sysmon"):
        return tuple(dict.fromkeys(_windows(row)))
    if source == "linux.auditd":
        return tuple(dict.fromkeys(_auditd(row)))
    if source.startswith("zeek."):
        return tuple(dict.fromkeys(_zeek(row)))
    if source == "syslog":
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
_FULL = ("User", "SourceUser", "TargetUser", "Detection User", "AccountName", "UserName")
_ADDRESSES = ("IpAddress", "DestinationIp", "SourceIp", "DestAddress", "SourceAddress", "ClientAddress", "Address")
_FILES = ("TargetFilename", "ImageLoaded", "Image", "NewProcessName", "SourceImage", "ServiceFileName", "ImagePath")
_ALGORITHMS = ("SHA256", "SHA1", "MD5")


def _windows(row: Mapping[str, Any]) -> Iterator[Entity]:
    host = text(row.get("Computer"))
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
    for name in _ADDRESSES:
        yield from make("IP", {"Address": _get(row, name)})
    yield from _windows_processes(row, host)
    event = row.get("EventID")
    for name in _FILES:
        path = _get(row, name).strip('"')
        if path and (name != "Image" or event in (1, 11, 23, 26)):
            yield from make("File", {"Name": path, "Host": host})
            break  # the file that the event is about; the others are context
    hashes = dict(part.split("=", 1) for part in _get(row, "Hashes").split(",") if "=" in part)
    for algorithm in _ALGORITHMS:
        if value := hashes.get(algorithm):
            yield from make("FileHash", {"Algorithm": algorithm, "Value": value})
            break
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
    created = _get(row, "UtcTime") if event == 1 else ""
    yield from make(
        "Process",
        {
            "ProcessId": pid,
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


def _auditd(row: Mapping[str, Any]) -> Iterator[Entity]:
    host = text(row.get("Computer"))
    yield from make("Host", {"FullName": host})
    for name in ("AUID", "UID", "acct"):
        user = text(row.get(name))
        if user and user not in ("unset", "root"):
            yield from make("Account", {"Name": user})
    if pid := text(row.get("pid")):
        yield from make(
            "Process",
            {
                "ProcessId": pid,
                "CommandLine": text(row.get("cmdline")),
                "ImageFile": text(row.get("exe")),
                "Host": host,
            },
        )
    if path := text(row.get("name")) or text(row.get("exe")):
        yield from make("File", {"Name": path, "Host": host})
    yield from make("IP", {"Address": text(row.get("addr"))})


def _zeek(row: Mapping[str, Any]) -> Iterator[Entity]:
    for name in ("id.orig_h", "id.resp_h"):
        yield from make("IP", {"Address": text(row.get(name))})
    if host := text(row.get("host")):
        yield from make("DNS", {"DomainName": host.lower()})
    if query := text(row.get("query")):
        yield from make("DNS", {"DomainName": query.rstrip(".").lower()})
