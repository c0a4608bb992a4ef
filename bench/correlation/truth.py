"""Which alerts of a recording its attack caused: by what its makers wrote, never by what correlation made of it.

An alert is *caused* by the attack when

1. its technique is one that the metadata maps the attack to, or
2. a row that proves it holds a word of the attacker's own log (`simulation.adversary_view`): the name of a file that he brought, or an address, or
3. a row that proves it speaks of a process that is one of those in alerts of 1 and 2, or a parent or a child of one, or of a logon session of one.

The rest is *background*: the laboratory's own machinery (Windows settling down, the collection of the logs themselves). Background in the attack's
incident is counted as foreign. Words that are the operating system's own files don't count for 2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from bench.correlation.datasets import Dataset

from tocsin.detect.alert import Alert

__all__ = ["caused"]

_FILE = re.compile(
    r"[\w.\-]+\.(?:exe|dll|ps1|hta|bat|sct|dmp|vbs|js|py|class|jar|aspx|msi|cmd|kirbi|dit|sys|chm|cpl|inf|xsl|txt)\b",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")
_SYSTEMS_OWN = frozenset(
    {
        "cmd.exe", "powershell.exe", "lsass.exe", "svchost.exe", "explorer.exe", "services.exe", "conhost.exe", "csrss.exe", "wininit.exe",
        "winlogon.exe", "smss.exe", "dwm.exe", "taskhostw.exe", "sihost.exe", "spoolsv.exe", "lsm.exe", "ntdll.dll", "kernel32.dll",
        "wmiprvse.exe", "rundll32.exe", "net.exe", "net1.exe", "whoami.exe",
    }
)  # fmt: skip
_NODES = (
    "ProcessGuid", "ParentProcessGuid", "SourceProcessGUID", "SourceProcessGuid", "LogonGuid",
)  # fmt: skip
_PIDS = ("ProcessId", "InitiatingProcessId", "NewProcessId", "ParentProcessId", "SourceProcessId")
_LOGONS = ("LogonId", "SubjectLogonId", "TargetLogonId")
_BUILT_IN_LOGONS = ("0x0", "0x3e4", "0x3e5", "0x3e7", "0")


def caused(dataset: Dataset, alerts: Sequence[Alert]) -> set[str]:
    """The ids of the alerts that the attack caused."""
    words = _words(dataset)
    techniques = set(dataset.techniques)
    found: set[str] = set()
    nodes: set[str] = set()
    texts = {a.id: json.dumps([e.row for e in a.events], default=str).lower() for a in alerts}
    for alert in alerts:
        if techniques & {t.partition(".")[0] for t in alert.techniques} or any(w in texts[alert.id] for w in words):
            found.add(alert.id)
            nodes |= _nodes(alert)
    grown = True
    while grown:
        grown = False
        for alert in alerts:
            if alert.id not in found and not nodes.isdisjoint(mine := _nodes(alert)):
                found.add(alert.id)
                nodes |= mine
                grown = True
    return found


def _words(dataset: Dataset) -> set[str]:
    text = str((dataset.metadata.get("simulation") or {}).get("adversary_view") or "")
    words = {w.lower() for w in (*_FILE.findall(text), *_ADDRESS.findall(text))}
    return {w for w in words if w not in _SYSTEMS_OWN and not w.startswith(("127.", "0.", "255."))}


def _nodes(alert: Alert) -> set[str]:
    found: set[str] = set()
    for event in alert.events:
        row = event.row
        host = str(row.get("Computer") or row.get("Hostname") or row.get("DeviceName") or "").partition(".")[0].lower()
        for column in _NODES:
            value = str(row.get(column) or "").strip("{}").lower()
            if value.strip("0-") and not value.endswith(
                ("-e703-000000000000", "-e503-000000000000", "-e403-000000000000")
            ):
                found.add(value)
        for column in _PIDS:
            if (pid := _number(row.get(column))) not in ("", "0", "4"):
                found.add(f"{host}:{pid}")
        for column in _LOGONS:
            if (logon := str(row.get(column) or "").lower()) and logon not in _BUILT_IN_LOGONS:
                found.add(f"{host}@{logon}")
    return found


def _number(value: object) -> str:
    text = str(value or "")
    try:
        return str(int(text, 16) if text.lower().startswith("0x") else int(text))
    except ValueError:
        return ""
