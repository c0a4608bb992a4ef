"""Attacks over several domains, as data (`domains/*.yaml`), sent to a server over its sockets in their sources' own shapes.

A file has `id`, `about`, `values` (names for `${…}`), `rows` and `expects`. A row says `at` (seconds from the start) and what is sent: `table` and
`row` (Azure's Logs Ingestion API), `event` (a JSON event over HEC) or `line` (over TCP syslog); `count` and `every` repeat it. `${time}` is its
moment, `${epoch}` that in seconds, `${n}` the count from 1.
"""

from __future__ import annotations

import json
import random
import re
import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.server import Server

__all__ = ["Sent", "domains", "now", "play", "send"]

_FOLDER = Path(__file__).with_name("domains")
_MARK = re.compile(r"\$\{([\w.]+)\}")
# How long sources take to tell what they saw, in seconds: mail and cloud logs come minutes late, hosts and firewalls at once.
LAGS = {
    "OfficeActivity": 900,
    "AuditLogs": 300,
    "SigninLogs": 300,
    "EmailEvents": 120,
    "UrlClickEvents": 180,
    "AzureActivity": 600,
    "event": 400,
}
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Sent:
    """One row: when it happened and is sent (seconds), by what it is sent (`table`, `event`, `line`), to which table, and what."""

    at: float
    told: float
    kind: str
    table: str
    value: Any


def domains() -> dict[str, dict[str, Any]]:
    """The scenarios by id."""
    read = (yaml.load(p.read_bytes(), yaml.CSafeLoader) for p in sorted(_FOLDER.glob("*.yaml")))
    return {s["id"]: s for s in read}


def play(scenario: Mapping[str, Any], start: datetime, order: str = "time") -> list[Sent]:
    """The rows as they are sent: by `time`, `shuffled`, or `lagged` as their sources are."""
    rows = list(_rows(scenario, start))
    if order == "shuffled":
        # Lines of one moment are one record of their source: nothing tears those apart.
        records = [list(of) for _, of in groupby(rows, key=lambda r: (r.kind, r.at))]
        random.Random(scenario["id"]).shuffle(records)
        return [r for record in records for r in record]
    if order == "lagged":
        rows = [Sent(r.at, r.at + LAGS.get(r.table, LAGS.get(r.kind, 0)), r.kind, r.table, r.value) for r in rows]
    return sorted(rows, key=lambda r: r.told)


def _rows(scenario: Mapping[str, Any], start: datetime) -> Iterator[Sent]:
    for part in scenario["rows"]:
        for n in range(1, int(part.get("count", 1)) + 1):
            at = float(part["at"]) + (n - 1) * float(part.get("every", 0))
            moment = start + timedelta(seconds=at)
            scope = {
                **scenario.get("values", {}),
                "n": n,
                "time": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "second": moment.strftime("%Y-%m-%dT%H:%M:%S"),
                "epoch": f"{moment.timestamp():.3f}",
            }
            if "table" in part:
                row = {"TimeGenerated": scope["time"], "Timestamp": scope["time"], **_filled(part["row"], scope)}
                yield Sent(at, at, "table", part["table"], row)
            elif "event" in part:
                yield Sent(at, at, "event", "", _filled(part["event"], scope))
            else:
                yield Sent(at, at, "line", "", _filled(part["line"], scope))


def _filled(value: Any, scope: Mapping[str, Any]) -> Any:
    match value:
        case dict():
            return {k: _filled(v, scope) for k, v in value.items()}
        case list():
            return [_filled(v, scope) for v in value]
        case str():
            if (whole := _MARK.fullmatch(value)) and not isinstance(scope[whole[1]], str):
                return scope[whole[1]]
            filled = _MARK.sub(lambda m: str(scope[m[1]]), value)
            return _filled(filled, scope) if filled != value and "${" in filled else filled
    return value


def send(server: Server, token: str, rows: Iterable[Sent]) -> int:
    """Sends them in that order, neighbours of one way together; gives how many."""
    client = server.client()
    bearer = {"Authorization": f"Bearer {token}"}
    count = 0
    with socket.create_connection(("127.0.0.1", server.ports["TCP"])) as syslog:
        for kind, table, values in _together(rows):
            count += len(values)
            match kind:
                case "table":
                    path = f"/dataCollectionRules/dcr-1/streams/Microsoft-{table}"
                    answer = client.post(path, params={"api-version": "2023-01-01"}, json=values, headers=bearer)
                    answer.raise_for_status()
                case "event":
                    body = "\n".join(json.dumps(v if "event" in v else {"event": v}) for v in values)
                    splunk = {"Authorization": f"Splunk {token}"}
                    client.post("/services/collector/event", content=body, headers=splunk).raise_for_status()
                case _:
                    syslog.sendall("".join(f"{v.rstrip()}\n" for v in values).encode())
    return count


def _together(rows: Iterable[Sent]) -> Iterator[tuple[str, str, list[Any]]]:
    """Rows of one way and table that are sent within a few seconds of each other are one request, as senders do."""
    waiting: dict[tuple[str, str], list[Any]] = defaultdict(list)
    since = 0.0
    for row in rows:
        if (waiting and abs(row.told - since) > 5) or len(waiting[row.kind, row.table]) >= _AT_ONCE:
            yield from ((k, t, v) for (k, t), v in waiting.items() if v)
            waiting.clear()
        if not any(waiting.values()):
            since = row.told
        waiting[row.kind, row.table].append(row.value)
    yield from ((k, t, v) for (k, t), v in waiting.items() if v)


def now() -> datetime:
    """Now, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
