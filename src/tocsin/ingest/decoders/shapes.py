"""Which kind of row a JSON object is. The order of the questions matters: the most telling key first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tocsin.ingest.decoders.auditd import add_audit_text
from tocsin.ingest.decoders.context import Context, as_text
from tocsin.ingest.decoders.declared import declared_object, envelope_rows
from tocsin.ingest.decoders.journal import journal_row
from tocsin.ingest.decoders.jsonvalue import json_text
from tocsin.ingest.decoders.names import names
from tocsin.ingest.decoders.tables import plain_name
from tocsin.ingest.decoders.zeek import zeek_row
from tocsin.tables.kinds import KINDS

__all__ = ["WINDOWS_TABLES", "add_object", "add_table_row"]

WINDOWS_TABLES = names().event_tables
"""Tables whose rows are Windows events: they go through the Windows parsers like any other Windows event."""

_HEC = frozenset({"time", "host", "source", "sourcetype", "index", "event", "fields"})
_WRAPPERS = names().wrapped
_TIMES = names().times
_HOSTS = names().hosts
_CARRIERS = names().carriers
_MAX_UNWRAP = 4


def add_object(d: dict[str, Any], context: Context, depth: int = 0) -> bool:
    """Adds an object to the buffer of its kind. It may be taken apart. False when it holds no row at all."""
    if "EventID" in d:
        if "TimeGenerated" in d or "EventSourceName" in d or _type(d) in WINDOWS_TABLES:
            if _type(d, "Event") in WINDOWS_TABLES or ("Channel" in d or "EventLog" in d):
                context.windows.add_log_analytics(d)
                return True
        elif "Channel" in d or "SourceName" in d or "ProviderGuid" in d or "Provider" in d:
            if context.default_time is not None and "TimeCreated" not in d and "EventTime" not in d:
                d["TimeCreated"] = context.default_time
            context.windows.add_flat(d, None if depth else context.line)
            return True
    if d.get("event_id").__class__ is dict and "provider" in d and "channel" in d:
        context.windows.add_otel(d)
        return True
    if "winlog" in d or ("event_data" in d and "event_id" in d) or ("log_name" in d and "event_id" in d):
        context.windows.add_winlogbeat(d, None if depth else context.line)
        return True
    event, line = d.get("Event"), None if depth else context.line
    if event.__class__ is dict and "System" in event and context.windows.add_system(event, line):
        return True
    if "System" in d and ("EventData" in d or "UserData" in d) and context.windows.add_system(d, line):
        return True
    if "ts" in d or "@stream" in d or "_path" in d:
        zeek = zeek_row(d)
        if zeek is not None:
            context.add(*zeek)
            return True
    named: str | None = context.hint_table or context.matcher.named(d)
    if named is None and (declared := declared_object(d, context.default_time, context.host)) is not None:
        context.add(*declared)
        return True
    if depth < _MAX_UNWRAP:
        inner = _unwrap(d) or envelope_rows(d)
        if inner is not None:
            count = 0
            for item in inner:
                if item.__class__ is dict and item and add_object(item, context, depth + 1):
                    count += 1
            return count > 0
    if not d:
        return False
    table = named
    if table is None and depth == 0 and context.carried is not None and _add_carried_message(d, context):
        return True
    if table is None and not ("@timestamp" in d and ("ecs" in d or "agent" in d or "@metadata" in d)):
        # The Elastic Common Schema's names are nobody's table.
        table = context.matcher.of(d)
    if table is not None and table not in WINDOWS_TABLES:
        add_table_row(table, d, context)
        return True
    add_unknown("json", d, context)
    return True


def _add_carried_message(d: Mapping[str, Any], context: Context) -> bool:
    """Reads the log line that a shipper put into an object: Beats' and Fluentd's `message`, Fluent Bit's `log`, the journal's `MESSAGE`."""
    if "MESSAGE" in d and ("SYSLOG_IDENTIFIER" in d or "_SYSTEMD_UNIT" in d or "_TRANSPORT" in d):
        context.add(KINDS.syslog, journal_row(d, context.default_time))
        return True
    carried, context.carried = context.carried, None
    context.line = None  # what is carried isn't the line itself
    host = context.host
    try:
        for name in ("message", "log", "MESSAGE", "System"):
            text = d.get(name)
            if text.__class__ is str and text:
                own = d.get("host")
                own = own.get("name") or own.get("hostname") if own.__class__ is dict else own
                context.host = own if own.__class__ is str and own else host
                if carried is not None and carried(text):
                    return True
    finally:
        context.carried, context.host = carried, host
    return False


def _type(d: Mapping[str, Any], default: str = "") -> str:
    """The table that an object says it is of."""
    found = d.get("Type", default)
    return found if found.__class__ is str else ""


def _unwrap(d: Mapping[str, Any]) -> Iterator[Any] | None:
    """The rows inside an envelope: HEC, API answers with a list, Log Analytics' `tables`."""
    if "event" in d and _HEC.issuperset(d) and ("time" in d or "sourcetype" in d or len(d) == 1):
        event = d["event"]
        if event.__class__ is dict:
            return iter((event,))
        return None
    tables = d.get("tables") or d.get("Tables")
    if (
        isinstance(tables, list)
        and tables
        and isinstance(tables[0], dict)
        and ("rows" in tables[0] or "Rows" in tables[0])
    ):
        return _log_analytics_rows(tables)
    if len(d) <= 6:
        for name in _WRAPPERS:
            rows = d.get(name)
            if rows.__class__ is list and rows and rows[0].__class__ is dict:
                return iter(rows)
    return None


def _log_analytics_rows(tables: list[Any]) -> Iterator[dict[str, Any]]:
    for table in tables:
        columns = table.get("columns") or table.get("Columns") or []
        names = [c.get("name") or c.get("ColumnName") or "" for c in columns if isinstance(c, dict)]
        for row in table.get("rows") or table.get("Rows") or []:
            if isinstance(row, list):
                yield dict(zip(names, row, strict=False))


def add_table_row(table: str, d: Mapping[str, Any], context: Context) -> None:
    """Adds a row that has a catalogue table's columns. Linux events carried in Syslog's message become rows of their kind as well."""
    row: dict[str, Any] = {}
    for name, value in d.items():
        if value is None or value == "":
            row.setdefault(plain_name(name), None)
            continue
        plain = plain_name(name)
        if plain == name or row.get(plain) is None:
            row[plain] = value
    if (carrier := _CARRIERS.get(table)) is not None:
        host = next((row[n] for n in carrier.host if row.get(n)), None)
        add_carried(row.get(carrier.text), host, context)
    if context.default_time is not None:
        row.setdefault("TimeGenerated", context.default_time)
    context.add(f"table.{table}", row)


def add_carried(message: object, host: object, context: Context) -> None:
    """Adds the Windows or Sysmon-for-Linux event or the audit record that a syslog message carries, if it does."""
    if message.__class__ is not str:
        return
    text: str = message
    if "<Event" in text[:64] and ("Linux-Sysmon" in text[:256] or "schemas.microsoft.com/win" in text[:256]):
        context.derived += context.add_event(text)
    elif "type=" in text[:64] and "audit(" in text[:160]:
        add_audit_text(text, as_text(host) or "", context)


def add_unknown(kind: str, d: Mapping[str, Any], context: Context) -> None:
    """Keeps a row of unknown shape whole."""
    time = next((d[k] for k in _TIMES if d.get(k)), context.default_time)
    host = next((d[k] for k in _HOSTS if d.get(k).__class__ is str and d[k]), None)
    if host is None and d.get("host").__class__ is dict:
        host = d["host"].get("name")
    if context.envelope:
        d = {**context.envelope, **d}
    context.add(kind, {"TimeCreated": time, "Computer": host or context.host or None, "RawData": json_text(d)})
