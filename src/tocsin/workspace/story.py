"""What an incident's page shows that takes more than state: its meaning by content, its process trees from rows, its proof in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from datetime import datetime, timedelta
from typing import Any

from tocsin import __version__
from tocsin.access.errors import ForbiddenError
from tocsin.base.errors import TocsinError
from tocsin.content import Content
from tocsin.detect.alert import iso
from tocsin.detect.columns import COLUMNS
from tocsin.incidents import processes
from tocsin.incidents.desk import shown
from tocsin.incidents.export import bundle
from tocsin.incidents.load import from_row
from tocsin.incidents.meaning import meaning
from tocsin.incidents.model import Incident
from tocsin.incidents.priority import Judge
from tocsin.lake.engine import Limits
from tocsin.workspace.reach import Parts, reach

__all__ = ["Stories"]

_AROUND = timedelta(hours=1)
_HOSTS = 20
_EXPORT_SECONDS = 30.0
"""So long an export waits for what could be reached, and so long for the process trees."""
_QUERY = """declare query_parameters(Hosts:dynamic, From:datetime, To:datetime);
IncidentProcesses(Hosts, From, To)"""
_EVENTS = """declare query_parameters(Hosts:dynamic, From:datetime, To:datetime);
IncidentProcessEvents(Hosts, From, To)"""
_ENDS = """declare query_parameters(Hosts:dynamic, From:datetime, To:datetime);
IncidentProcessEnds(Hosts, From, To)"""


class Stories:
    """Stories of incidents. Nothing is kept: each is made from what state, content and tables hold now."""

    def __init__(self, parts: Parts, content: Callable[[], Content], judge: Callable[[], Judge | None]) -> None:
        self._parts = parts
        self._content = content
        self._judge = judge

    def narrative(self, incident_id: str) -> dict[str, Any]:
        """Summary, blast radius, root cause, advice, similar incidents. NotFoundError for no such incident."""
        content, judge = self._content(), self._judge()
        with self._parts.state.read() as unit:
            return meaning(unit, incident_id, content, judge)

    def reach(self, incident_id: str, *, principal: Any = None) -> dict[str, Any]:
        """What could be reached from the incident's accounts and machines, as the principal may see it. NotFoundError for no such incident."""
        return reach(self._parts, self._content(), self._judge(), incident_id, principal=principal)

    def processes(self, incident_id: str, *, principal: Any = None, seconds: float | None = None) -> dict[str, Any]:
        """The process trees of the incident's hosts around its alerts, what is near its alerts only. As the principal may see it. `seconds`: so long
        each of the three questions may take."""
        limits = None if seconds is None else Limits(seconds=seconds)
        with self._parts.state.read() as unit:
            incident = from_row(shown(unit, incident_id), unit.incidents.alerts_of(incident_id))
        if not incident.alerts:
            return {
                "trees": [],
                "left_out": 0,
                "hosts": [],
                "hosts_left_out": 0,
                "truncated": False,
                "ends_known": True,
            }
        hosts = [h.lower() for h in incident.hosts()]
        since, until = incident.first - _AROUND, incident.last + _AROUND
        names = sorted({n for h in hosts[:_HOSTS] for n in (h, h.split(".")[0])})
        given = {"Hosts": names, "From": since, "To": until}
        result = self._parts.queries.run(_QUERY, principal=principal, parameters=given, limits=limits)
        rows = list(_with_parents(result.dicts()))
        # Who may not read the tables of event logs gets the trees without what these tell more: starts that sensors don't, and ends.
        ends: list[dict[str, Any]] = []
        truncated, ends_known = result.truncated, True
        try:
            events = self._parts.queries.run(_EVENTS, principal=principal, parameters=given, limits=limits)
            told = self._parts.queries.run(_ENDS, principal=principal, parameters=given, limits=limits)
            rows += [{**r, "Started": _moment(r["Started"])} for r in events.dicts()]
            ends = [{**r, **{n: _moment(r[n]) for n in ("Ended", "Started")}} for r in told.dicts()]
            truncated = truncated or events.truncated or told.truncated
        except ForbiddenError:
            ends_known = False
        nodes = processes.build(rows, ends)
        _mark(nodes, incident)
        roots, left_out = processes.prune(nodes)
        return {
            "trees": [processes.to_dict(r) for r in roots],
            "left_out": left_out,
            "hosts": hosts[:_HOSTS],
            "hosts_left_out": max(0, len(hosts) - _HOSTS),
            "truncated": truncated,
            "ends_known": ends_known,
        }

    def bundle(self, incident_id: str, *, audit: bool, principal: Any = None, asks: bool = True) -> dict[str, Any]:
        """The incident's proof (see `tocsin.incidents.export`), with its audit rows if those may be seen, and with what could be reached and its
        process trees as the principal may see them, unless they may not ask the tables."""
        content, judge = self._content(), self._judge()
        reached: dict[str, Any] = {"not_asked": "who exported it may not ask the tables"}
        trees = reached
        if asks:
            by = {"asked_by": getattr(principal, "name", None) or "local"}
            told = reach(self._parts, content, judge, incident_id, principal=principal, seconds=_EXPORT_SECONDS)
            reached = {**by, **told}
            try:
                at = {"at": iso(self._parts.state.clock.now())}
                trees = {**by, **at, **self.processes(incident_id, principal=principal, seconds=_EXPORT_SECONDS / 3)}
            except TocsinError as error:  # a table that may not be read, a question that takes too long
                trees = {"not_asked": error.message.rstrip(".")}
        with self._parts.state.read() as unit:
            return bundle(unit, incident_id, content, judge, __version__, audit=audit, reach=reached, processes=trees)


def _with_parents(rows: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The rows, and a row more for each parent whose own parent they tell of."""
    for texts in rows:
        row = {**texts, **{n: _moment(texts[n]) for n in ("Started", "ParentStarted", "GrandparentStarted")}}
        yield row
        if row["ParentStarted"] is not None:
            yield {
                "Host": row["Host"],
                "Pid": row["ParentPid"],
                "Uid": row.get("ParentUid"),
                "Started": row["ParentStarted"],
                "File": row["ParentFile"],
                "Command": row["ParentCommand"],
                "ParentPid": row["GrandparentPid"],
                "ParentStarted": row["GrandparentStarted"],
                "ParentFile": row["GrandparentFile"],
                "Seen": False,
            }


_PIDS: list[tuple[str, str]] = [(pid, started) for pid, started in COLUMNS["processes"]["ids"]]
_UIDS: list[str] = COLUMNS["processes"]["unique_ids"]
"""Columns with a process's unique id, that of what a row is about first."""
_CLOSE = timedelta(seconds=2)


def _mark(nodes: list[processes.Node], incident: Incident) -> None:
    """Which process which alert is about: by the process that it names, else by its evidence's ids and times."""
    by_id: dict[int, list[processes.Node]] = {}
    by_uid: dict[str, list[processes.Node]] = {}
    for node in nodes:
        if node.pid is not None:
            by_id.setdefault(node.pid, []).append(node)
        if node.uid:
            by_uid.setdefault(node.uid, []).append(node)
    for linked in incident.alerts:
        alert = linked.alert
        hosts = {e.label.lower() for e in alert.entities if e.type == "Host"}
        hosts |= {h.split(".")[0] for h in hosts}
        found: list[processes.Node] = []
        wanted: set[tuple[int, datetime | None]] = set()
        for entity in alert.entities:
            if entity.type == "Process" and (pid := _number(entity.identifiers.get("ProcessId"))) is not None:
                wanted.add((pid, _moment(entity.identifiers.get("CreationTimeUtc"))))
        for evidence in alert.events:
            uid = next((u for n in _UIDS if (u := processes.uid_of(evidence.row.get(n)))), "")
            if alike := _on(hosts, by_uid.get(uid, ())):
                found += alike
                continue
            for pid_name, time_name in _PIDS:
                if (pid := _number(evidence.row.get(pid_name))) is not None:
                    wanted.add((pid, _moment(evidence.row.get(time_name))))
                    if pid_name == "ProcessId":
                        break
        for pid, started in wanted:
            alike = _on(hosts, by_id.get(pid, ()))
            if started is not None:
                alike = [n for n in alike if n.started is not None and abs(n.started - started) <= _CLOSE]
            else:
                alike = [n for n in alike if n.started is not None and n.started <= alert.end + _CLOSE][-1:]
                alike = [
                    n for n in alike if n.ended is None or n.ended >= alert.time - _CLOSE
                ]  # gone: the id was another's
            found += alike
        for node in found:
            if alert.id not in node.alerts:
                node.alerts.append(alert.id)


def _on(hosts: Set[str], nodes: Iterable[processes.Node]) -> list[processes.Node]:
    """Those on the hosts, by full or by bare name; all where no host is told."""
    return [n for n in nodes if not hosts or n.host in hosts or n.host.split(".")[0] in hosts]


def _number(value: Any) -> int | None:
    try:
        return int(str(value), 0)
    except ValueError:
        return None


def _moment(value: Any) -> datetime | None:
    try:
        made = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return made if made.tzinfo is not None else None
