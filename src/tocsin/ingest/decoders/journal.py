"""Records of systemd's journal, as shippers send them, as rows of syslog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["FACILITIES", "SEVERITIES", "journal_row"]

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


def journal_row(d: Mapping[str, Any], time: object = None) -> dict[str, Any]:
    """The row of kind `syslog` of one record. `time` is what its envelope says, for records without a timestamp of their own."""
    return {
        "TimeCreated": _time(d.get("__REALTIME_TIMESTAMP") or d.get("_SOURCE_REALTIME_TIMESTAMP"))
        or d.get("@timestamp")
        or time,
        "HostName": d.get("_HOSTNAME"),
        "Facility": _named(d.get("SYSLOG_FACILITY"), FACILITIES),
        "SeverityLevel": _named(d.get("PRIORITY"), SEVERITIES),
        "ProcessName": d.get("SYSLOG_IDENTIFIER") or d.get("_COMM"),
        "ProcessID": d.get("_PID") or d.get("SYSLOG_PID"),
        "SyslogMessage": d.get("MESSAGE"),
    }


def _time(micros: object) -> float | None:
    try:
        return int(str(micros)) / 1_000_000
    except ValueError:
        return None


def _named(value: object, names: tuple[str, ...]) -> str | None:
    try:
        return names[int(str(value))]
    except (ValueError, IndexError):
        return None
