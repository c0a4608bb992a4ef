"""Rows of Windows-shaped events out of the many JSON shapes that Windows events travel in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
import pyarrow as pa

from tocsin.ingest.decoders.eventtimes import row_times
from tocsin.ingest.decoders.windows_values import (
    NXLOG_EVENT_TYPES,
    TRANSPORT,
    event_data_of,
    field_text,
    int32,
    int64,
    is_bare_guid,
    keywords_text,
    level_number,
    optional_text,
)

__all__ = ["EVENT_SCHEMA", "EventBuffer", "columns_of", "event_data_of"]

EVENT_SCHEMA = pa.schema(
    [
        ("Channel", pa.string()),
        ("Provider", pa.string()),
        ("EventID", pa.int32()),
        ("Computer", pa.string()),
        ("TimeCreated", pa.timestamp("us")),
        ("EventRecordID", pa.int64()),
        ("Level", pa.int32()),
        ("Task", pa.int32()),
        ("Opcode", pa.int32()),
        ("Version", pa.int32()),
        ("Keywords", pa.string()),
        ("UserSid", pa.string()),
        ("ProcessID", pa.int32()),
        ("ThreadID", pa.int32()),
        ("ProviderGuid", pa.string()),
        ("ActivityID", pa.string()),
        ("Message", pa.string()),
        ("EventData", pa.string()),
    ]
)
_LOG_ANALYTICS_ADMIN = (
    "TenantId",
    "SourceSystem",
    "MG",
    "ManagementGroupName",
    "Type",
    "_ResourceId",
    "_SubscriptionId",
    "_ItemId",
    "SourceComputerId",
    "EventOriginId",
    "TimeCollected",
    "timestamp",
    "EventLevelName",
    "ParameterXml",
    "AzureDeploymentID",
    "Role",
    "PartitionKey",
    "RowKey",
    "StorageAccount",
)
_SUFFIXED = re.compile(r"^(.+)_(?:string|dynamic|long|int|real|bool|datetime|guid)$")
_dumps = orjson.dumps


class EventBuffer:
    """Collects events column by column and makes one Arrow table of them.

    Each `add_*` takes one shape. They take the given dict apart, so it must not be used afterwards.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._lines: list[bytes | None] = []
        self._times: list[tuple[Any, Any, Any, Any]] = []
        self.bytes = 0
        self.offset: int | None = None
        """Seconds that the collector's clock is behind UTC, where other events of the same body have told."""

    def __len__(self) -> int:
        return len(self._rows)

    def _add(self, times: tuple[Any, Any, Any, Any], row: tuple[Any, ...], line: bytes | None = None) -> None:
        self._times.append(times)
        self._rows.append(row)
        self._lines.append(line)
        self.bytes += len(row[-1]) + (len(row[-2]) if row[-2].__class__ is str else 0)

    def add_flat(self, d: dict[str, Any], line: bytes | None = None) -> None:
        """System and event fields side by side in one object (nxlog, Logstash, the public attack data sets); `line` is its JSON text, if at hand."""
        pop = d.pop
        provider = pop("SourceName", None) or pop("Provider", None) or pop("ProviderName", None)
        channel = pop("Channel", None)
        event_id = pop("EventID", None)
        message = pop("Message", None)
        created = pop("TimeCreated", None)
        stamp = pop("@timestamp", None)
        computer = pop("Hostname", None) or pop("Computer", None) or d.get("host")
        local = pop("EventTime", None)
        level = pop("Level", None)
        keywords = pop("Keywords", None)
        task = pop("Task", None)
        guid = pop("ProviderGuid", None)
        opcode = version = record = sid = pid = tid = activity = None
        if local is not None or "RecordNumber" in d or "ThreadID" in d:
            opcode = pop("OpcodeValue", None)
            if opcode is None:
                opcode = d.get("Opcode")
            pop("Opcode", None)
            version = pop("Version", None)
            record = pop("RecordNumber", None)
            sid = pop("UserID", None)
            pid = pop("ExecutionProcessID", None)
            if pid is None and d.get("ProcessID").__class__ is int:
                pid = pop("ProcessID")
            tid = pop("ThreadID", None)
            activity = pop("ActivityID", None)
            if level is None:
                level = d.get("Severity")
            kind = d.get("EventType")
            if kind.__class__ is str and kind in NXLOG_EVENT_TYPES:
                del d["EventType"]
            for name in TRANSPORT:
                d.pop(name, None)
        elif "host" in d or "tags" in d:
            for name in TRANSPORT:
                d.pop(name, None)
        utc = d.get("UtcTime")
        if record is None and "EventRecordID" in d:
            record = pop("EventRecordID")
        for name in [k for k, v in d.items() if v.__class__ is not str]:
            value = d[name]
            if value is None:
                del d[name]
            else:
                d[name] = field_text(value)
        self._add(
            (created, utc, local, stamp),
            (
                channel, provider, int32(event_id), computer, int64(record), level_number(level), int32(task), int32(opcode),
                int32(version), keywords_text(keywords), sid, int32(pid), int32(tid), guid, activity, message, _dumps(d),
            ),
            line,
        )  # fmt: skip

    def add_log_analytics(self, raw: dict[str, Any]) -> None:
        """A row of Log Analytics' Event, SecurityEvent or WindowsEvent tables, suffixed union columns (`x_string`) included."""
        d: dict[str, Any] = {}
        for name, value in raw.items():
            if value is None or value == "":
                continue
            suffixed = _SUFFIXED.match(name)
            d[suffixed[1] if suffixed and suffixed[1] not in raw else name] = value
        pop = d.pop
        times = (pop("TimeGenerated", None), d.get("UtcTime"), None, pop("TimeCreated", None))
        provider = pop("EventSourceName", None) or pop("Source", None) or pop("Provider", None)
        channel = pop("Channel", None) or pop("EventLog", None)
        level = pop("EventLevel", None)
        if level is None:
            level = pop("Level", None)
        pop("Level", None)
        message = pop("RenderedDescription", None) or pop("Message", None)
        computer = pop("Computer", None)
        event_id = pop("EventID", None)
        task = pop("Task", None)
        opcode = pop("Opcode", None)
        version = pop("Version", None)
        keywords = pop("Keywords", None)
        record = pop("EventRecordId", None)
        pid = pop("SystemProcessId", None)
        tid = pop("SystemThreadId", None)
        sid = pop("SystemUserId", None)
        correlation = pop("Correlation", None)
        fields = event_data_of(pop("EventData", None))
        for name in _LOG_ANALYTICS_ADMIN:
            pop(name, None)
        # Fields that the export had already unfolded into columns of their own.
        for name, value in d.items():
            fields.setdefault(name, field_text(value))
        self._add(
            times,
            (
                channel, provider, int32(event_id), computer, int64(record), level_number(level), int32(task), int32(opcode),
                int32(version), keywords_text(keywords), sid, int32(pid), int32(tid), None, optional_text(correlation), message, _dumps(fields),
            ),
        )  # fmt: skip

    def add_system(self, event: Mapping[str, Any], line: bytes | None = None) -> bool:
        """`{"System": {…}, "EventData": {…}}` as pyevtx-rs and XML-to-JSON tools write it. False when `System` is no object."""
        system = event.get("System")
        if not isinstance(system, dict):
            return False
        data = event.get("EventData")
        if data is None:
            data = event.get("UserData")
            if data is None:
                data = event.get("ProcessingErrorData") or event.get("BinaryEventData")
            elif isinstance(data, dict):
                inner = [v for k, v in data.items() if k != "#attributes"]
                if len(inner) == 1 and isinstance(inner[0], dict):
                    data = inner[0]
        self.add_parts(system, event_data_of(data), line=line)
        return True

    def add_parts(
        self, system: Mapping[str, Any], fields: dict[str, str], message: str | None = None, line: bytes | None = None
    ) -> None:
        """A `System` object (attributes in `#attributes`, `@name` or plain) and its unfolded fields."""
        provider = _attributes(system.get("Provider"))
        execution = _attributes(system.get("Execution"))
        security = _attributes(system.get("Security"))
        created = system.get("TimeCreated")
        created = _attributes(created).get("SystemTime") if isinstance(created, dict) else created
        event_id = system.get("EventID")
        if isinstance(event_id, dict):
            event_id = event_id.get("#text", event_id.get("$", event_id.get("Value")))
        guid = provider.get("Guid")
        if guid.__class__ is str and is_bare_guid(guid):
            guid = f"{{{guid}}}"
        self._add(
            (created, None, None, None),
            (
                optional_text(system.get("Channel")), optional_text(provider.get("Name")), int32(event_id), optional_text(system.get("Computer")),
                int64(system.get("EventRecordID")), level_number(system.get("Level")), int32(system.get("Task")),
                int32(system.get("Opcode")), int32(system.get("Version")), keywords_text(system.get("Keywords")),
                optional_text(security.get("UserID") or security.get("UserId")), int32(execution.get("ProcessID")),
                int32(execution.get("ThreadID")), guid, optional_text(_attributes(system.get("Correlation")).get("ActivityID")), message,
                _dumps(fields),
            ),
            line,
        )  # fmt: skip

    def add_winlogbeat(self, d: Mapping[str, Any], line: bytes | None = None) -> None:
        """Winlogbeat 7 and later (`winlog.*`) and 5/6 (`event_data` at the top)."""
        w = d.get("winlog")
        if not isinstance(w, dict):
            w = d
        data = w.get("event_data")
        if data is None:
            data = w.get("user_data")
        fields = event_data_of(data)
        process = w.get("process")
        process = process if isinstance(process, dict) else {}
        thread = process.get("thread")
        user = w.get("user")
        event = d.get("event")
        created = event.get("created") if isinstance(event, dict) else None
        level = w.get("level")
        if level is None:
            log = d.get("log")
            level = log.get("level") if isinstance(log, dict) else None
        event_id = w.get("event_id")
        if event_id is None and isinstance(event, dict):
            event_id = event.get("code")
        computer = w.get("computer_name")
        if not computer:
            host = d.get("host")
            computer = host.get("name") if isinstance(host, dict) else host
        self._add(
            (d.get("@timestamp") or created, None, None, None),
            (
                optional_text(w.get("channel") or w.get("log_name")), optional_text(w.get("provider_name") or w.get("source_name")), int32(event_id),
                optional_text(computer), int64(w.get("record_id", w.get("record_number"))), level_number(level), int32(w.get("task")),
                int32(w.get("opcode")), int32(w.get("version")), keywords_text(w.get("keywords")),
                optional_text(user.get("identifier")) if isinstance(user, dict) else None, int32(process.get("pid", w.get("process_id"))),
                int32(thread.get("id") if isinstance(thread, dict) else w.get("thread_id")), optional_text(w.get("provider_guid")),
                optional_text(w.get("activity_id")), optional_text(d.get("message")), _dumps(fields),
            ),
            line,
        )  # fmt: skip

    def add_otel(self, d: Mapping[str, Any]) -> None:
        """OpenTelemetry's `windowseventlog` receiver: `event_id.id`, `provider.name`, `event_data` as an object or as `data` of one-key objects."""
        event_id, provider = d.get("event_id"), _attributes(d.get("provider"))
        execution, security = _attributes(d.get("execution")), _attributes(d.get("security"))
        data = d.get("event_data") or d.get("user_data")
        if isinstance(data, dict) and isinstance(data.get("data"), list):
            merged: dict[str, Any] = {}
            unnamed = []
            for item in data["data"]:
                if isinstance(item, dict):
                    # An element without a name has the empty key.
                    merged |= {k: v for k, v in item.items() if k}
                    unnamed += [v for k, v in item.items() if not k]
                else:
                    unnamed.append(item)
            data = {**dict(zip((f"param{n}" for n in range(1, len(unnamed) + 1)), unnamed, strict=True)), **merged}
        correlation = _attributes(d.get("correlation"))
        self._add(
            (d.get("system_time"), None, None, None),
            (
                optional_text(d.get("channel")), optional_text(provider.get("name")),
                int32(event_id.get("id") if isinstance(event_id, dict) else event_id),
                optional_text(d.get("computer")), int64(d.get("record_id")), level_number(d.get("level")),
                int32(d.get("task")), int32(d.get("opcode")),
                int32(d.get("version")), keywords_text(d.get("keywords")), optional_text(security.get("user_id")), int32(execution.get("process_id")),
                int32(execution.get("thread_id")), optional_text(provider.get("guid")),
                optional_text(correlation.get("activity_id")), optional_text(d.get("message")),
                _dumps(event_data_of(data)),
            ),
        )  # fmt: skip

    def lines(self) -> list[bytes | None] | None:
        """The JSON texts of the collected events, None where none has one."""
        return self._lines if any(line is not None for line in self._lines) else None

    def take_rows(self) -> list[tuple[Any, ...]]:
        """What `take` makes rows of, without a table and without times: values in the order of `EVENT_SCHEMA` but TimeCreated."""
        rows = self._rows
        self._rows, self._times, self._lines, self.bytes = [], [], [], 0
        return rows

    def take(self) -> pa.Table:
        """The collected events as a table of `EVENT_SCHEMA`; the buffer is empty afterwards."""
        columns = list(zip(*self._rows, strict=True))
        created = row_times(self._times, self.offset)
        self._rows, self._times, self._lines, self.bytes = [], [], [], 0
        arrays: list[Any] = []
        number = 0
        for item in EVENT_SCHEMA:
            if item.name == "TimeCreated":
                arrays.append(created)
                continue
            arrays.append(_array(columns[number], item.type))
            number += 1
        return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA)


_PLAIN = (str, bytes, type(None))
_COLUMNS = tuple((f.name, f.type == pa.string()) for f in EVENT_SCHEMA if f.name != "TimeCreated")


def columns_of(values: tuple[Any, ...]) -> dict[str, Any]:
    """A row of `EventBuffer.take_rows` as `take` gives it: by name, what isn't a text in a column of texts as one."""
    return {
        name: field_text(v) if is_text and v.__class__ not in _PLAIN else v
        for (name, is_text), v in zip(_COLUMNS, values, strict=True)
    }


def _array(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError):
        # A field of an unexpected type, in any row: its JSON text is kept.
        return pa.array([v if v is None or isinstance(v, bytes | str) else field_text(v) for v in values], kind)


def _attributes(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        return {} if value is None else {"Name": value}
    inner = value.get("#attributes")
    if isinstance(inner, dict):
        return inner
    if any(k[:1] == "@" for k in value):
        return {k.lstrip("@"): v for k, v in value.items()}
    return value
