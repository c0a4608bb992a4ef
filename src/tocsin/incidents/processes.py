"""Process trees from rows: who started whom, on which host, though process ids come back.

A process is (host, process id, start time), or (host, unique id) where the source gives one that never comes back (Sysmon's ProcessGuid). A child
that names its parent's unique id, or its id and start time, is linked with certainty. Where only the id is told, the parent is the process of that
id on that host that started last before the child did: an id that was given to another process later is never taken for it, nor one that another
program had. What nobody saw start is a node of its own that says so.

Sources tell one start in milliseconds, in ten millionths of a second, in seconds, or when they wrote it down: what has one id on one host and
started within a second is one process, unless it is another program. A row without a process id (some collectors lose it) has that which a child or
another source tells of the same process.

Where rows tell that a process ended, the id is nobody's from then on: what starts below it later was started by another, whom nobody saw.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tocsin.detect.alert import iso

__all__ = ["MOST_NODES", "Node", "build", "prune", "to_dict", "uid_of"]

MOST_NODES = 400
"""Processes that a tree shows at most; those nearest to the alerts stay."""

_SAME_START = timedelta(seconds=1)
"""So far apart are the times that sources tell of one start."""

_Loose = dict[tuple[str, int | str], list[tuple[datetime, str]]]
"""By host, and number or unique id: ends, each with its program."""


@dataclass(slots=True)
class Node:
    """A process. `started` is None for one that is known only as somebody's parent and whose start nobody told, `pid` where no row tells it."""

    host: str
    pid: int | None
    started: datetime | None
    file: str = ""
    command: str = ""
    account: str = ""
    sha256: str = ""
    uid: str = ""
    seen: bool = False
    ended: datetime | None = None
    parent: Node | None = None
    certain: bool = True
    children: list[Node] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Told:
    """A row that tells of a start, read."""

    row: Mapping[str, Any]
    host: str
    pid: int | None
    uid: str
    started: datetime
    parent_pid: int | None
    parent_uid: str


def build(rows: Iterable[Mapping[str, Any]], ends: Iterable[Mapping[str, Any]] = ()) -> list[Node]:
    """The processes of rows, linked. A row has Host, Started, Pid or Uid or both, File, Command, Account, Sha256, and of its parent ParentPid,
    ParentUid, ParentStarted, ParentFile, ParentCommand; Seen is False where the row only tells of it. Rows without host, start, or any id are left
    out; the same twice is one. `ends` have Host, Pid or Uid, Ended, File and, where it is told, Started.
    """
    return _Forest([t for row in rows if (t := _read(row)) is not None]).made(ends)


def uid_of(value: Any) -> str:
    """A process's unique id as it is compared: without braces, in lower case; "" for none (some sources write zeros)."""
    text = str(value or "").strip("{} ").lower()
    return text if text.strip("0-") else ""


def _read(row: Mapping[str, Any]) -> _Told | None:
    host, started, pid, uid = (
        str(row.get("Host") or "").lower(),
        row.get("Started"),
        row.get("Pid"),
        uid_of(row.get("Uid")),
    )
    if not host or not isinstance(started, datetime) or (pid is None and not uid):
        return None
    parent = row.get("ParentPid")
    return _Told(
        row,
        host,
        None if pid is None else int(pid),
        uid,
        started,
        None if parent is None else int(parent),
        uid_of(row.get("ParentUid")),
    )


class _Forest:
    """The processes that rows tell of, being linked."""

    def __init__(self, told: Sequence[_Told]) -> None:
        self._nodes: list[Node] = []
        self._by_id: dict[tuple[str, int], list[Node]] = defaultdict(list)
        self._by_uid: dict[tuple[str, str], Node] = {}
        self._numberless: dict[str, list[tuple[Node, _Told]]] = defaultdict(list)
        self._unseen: dict[tuple[str, int | None, datetime | None], list[Node]] = defaultdict(list)
        self._links: list[tuple[Node, _Told]] = []
        pids: dict[tuple[str, str], int] = {}
        for each in told:
            for uid, pid in ((each.uid, each.pid), (each.parent_uid, each.parent_pid)):
                if uid and pid is not None:
                    pids.setdefault((each.host, uid), pid)
        # What has a unique id first: what has a number alone is then found to be one of these.
        for each in sorted(told, key=lambda t: not t.uid):
            pid = each.pid if each.pid is not None else pids.get((each.host, each.uid))
            node = self._node(each, pid)
            node.seen = node.seen or bool(each.row.get("Seen", True))
            for name, column in (
                ("file", "File"),
                ("command", "Command"),
                ("account", "Account"),
                ("sha256", "Sha256"),
            ):
                setattr(node, name, getattr(node, name) or str(each.row.get(column) or ""))
            self._links.append((node, each))
        for alike in self._by_id.values():
            alike.sort(key=lambda n: n.started or datetime.min)  # noqa: DTZ901 - seen ones have a start

    def made(self, ends: Iterable[Mapping[str, Any]]) -> list[Node]:
        """The nodes, linked, with their ends."""
        loose = self._end(ends)
        for node, told in self._links:
            if node.parent is None and (told.parent_pid is not None or told.parent_uid):
                self._link(node, told)
        _end_unseen(self._nodes, loose)
        return self._nodes

    def _node(self, told: _Told, pid: int | None) -> Node:
        """The process that a row tells of, made where no row before told of it."""
        node = self._by_uid.get((told.host, told.uid)) if told.uid else None
        if node is None and pid is not None:
            alike = [n for n in self._by_id[told.host, pid] if _may_be(n, told.uid)]
            node = _started(alike, told.started, str(told.row.get("File") or ""))
            if node is None and not told.uid:
                node = self._named(told, pid)
        if node is None:
            node = Node(told.host, pid, told.started, uid=told.uid)
            self._nodes.append(node)
            if pid is not None:
                self._by_id[told.host, pid].append(node)
            else:
                self._numberless[told.host].append((node, told))
        if told.uid:
            self._by_uid.setdefault((told.host, told.uid), node)
        return node

    def _named(self, told: _Told, pid: int) -> Node | None:
        """The process whose number nobody told so far and that a row with a number tells of too: the only one of that program, start, command and
        parent. It has the number from then on."""
        waiting = self._numberless.get(told.host, [])
        file, command = _name(str(told.row.get("File") or "")), str(told.row.get("Command") or "")
        found = [
            (node, other)
            for node, other in waiting
            if file
            and _name(node.file) == file
            and abs(other.started - told.started) <= _SAME_START
            and (not command or not node.command or command == node.command)
            and (None in (told.parent_pid, other.parent_pid) or told.parent_pid == other.parent_pid)
        ]
        if len(found) != 1:
            return None
        node = found[0][0]
        waiting.remove(found[0])
        node.pid = pid
        self._by_id[told.host, pid].append(node)
        return node

    def _end(self, ends: Iterable[Mapping[str, Any]]) -> _Loose:
        """Notes when processes ended: an end is of the process of that unique id, or of the one of that number that started last before it. What is
        left, in time: the ends of processes that nobody saw start."""
        full: dict[str, set[str]] = defaultdict(set)
        for host in {n.host for n in self._nodes}:
            full[host.split(".")[0]].add(host)
        told: list[tuple[datetime, str, int | None, str, str, datetime | None]] = []
        for row in ends:
            host, pid, uid = str(row.get("Host") or "").lower(), row.get("Pid"), uid_of(row.get("Uid"))
            ended, started = row.get("Ended"), row.get("Started")
            if not host or (pid is None and not uid) or not isinstance(ended, datetime):
                continue
            alike = full.get(host.split(".")[0], set())
            if host not in alike and len(alike) == 1 and "." not in min(host, *alike, key=len):
                host = next(iter(alike))  # one source calls it by its bare name, another by its full one
            start = started if isinstance(started, datetime) else None
            told.append((ended, host, None if pid is None else int(pid), uid, str(row.get("File") or ""), start))
        loose: _Loose = defaultdict(list)
        for ended, host, pid, uid, file, start in sorted(told, key=lambda t: (t[0], t[1], t[2] or 0)):
            node = self._by_uid.get((host, uid)) if uid else None
            if node is None and pid is not None:
                known = [n for n in self._by_id.get((host, pid), ()) if _may_be(n, uid)]
                if start is not None:
                    node = _started(known, start, file)
                else:
                    node = next((n for n in reversed(known) if n.started and n.started <= ended + _SAME_START), None)
            if node is None or (file and node.file and _name(file) != _name(node.file)):
                for each in (pid, uid):
                    if each is not None and each != "":
                        loose[host, each].append((ended, file))
            elif node.ended is None:
                node.ended = ended
        return loose

    def _link(self, node: Node, told: _Told) -> None:
        row, started = told.row, told.row.get("ParentStarted")
        file = str(row.get("ParentFile") or "")
        certain = isinstance(started, datetime) or bool(told.parent_uid)
        parent = self._by_uid.get((node.host, told.parent_uid)) if told.parent_uid else None
        if parent is None and told.parent_pid is not None:
            alike = [n for n in self._by_id.get((node.host, told.parent_pid), ()) if _may_be(n, told.parent_uid)]
            if isinstance(started, datetime):
                parent = _started(alike, started, file)
            elif (parent := _last(alike, node, file)) is not None:
                certain = False
        if parent is None:
            parent = self._not_seen(node.host, told, started if isinstance(started, datetime) else None, file)
        if parent is node or _above(parent, node):
            return  # rows that contradict each other make no circle
        node.parent, node.certain = parent, certain
        parent.children.append(node)

    def _not_seen(self, host: str, told: _Told, started: datetime | None, file: str) -> Node:
        """The process that nobody saw start and that a row names as a parent."""
        if told.parent_uid and (known := self._by_uid.get((host, told.parent_uid))) is not None:
            return known
        alike = self._unseen[host, told.parent_pid, started]
        node = next((n for n in alike if _name(n.file) == _name(file) and _may_be(n, told.parent_uid)), None)
        if node is None or (told.parent_uid and not node.uid):
            node = Node(
                host, told.parent_pid, started, file, str(told.row.get("ParentCommand") or ""), uid=told.parent_uid
            )
            self._nodes.append(node)
            alike.append(node)
        if told.parent_uid:
            self._by_uid[host, told.parent_uid] = node
        return node


def _may_be(node: Node, uid: str) -> bool:
    """Whether a process may have that unique id too: two of one source are of two processes, those of two sources (Sysmon's have dashes) may be of
    one."""
    return not uid or not node.uid or uid == node.uid or ("-" in uid) != ("-" in node.uid)


def _last(alike: Sequence[Node], node: Node, file: str) -> Node | None:
    """Which of the processes of one number, in order of start, started another one: the last that was there; None where it was gone by then, or is
    another program, so that who had the number was not seen."""
    assert node.started is not None
    until = node.started + _SAME_START
    earlier = [n for n in alike if n.started and n.started <= until and n is not node]
    if not earlier:
        return None
    parent = earlier[-1]
    if parent.ended is not None and parent.ended + _SAME_START < node.started:
        return None
    return None if file and parent.file and _name(parent.file) != _name(file) else parent


def _end_unseen(nodes: Iterable[Node], loose: _Loose) -> None:
    """The ends of processes that are known only by what they started: that of their unique id, or the first after that, of the same program."""
    for node in nodes:
        if node.started is not None or node.ended is not None:
            continue
        ends = loose.get((node.host, node.uid)) if node.uid else None
        if not ends and node.pid is not None:
            ends = loose.get((node.host, node.pid))
        last = max((c.started for c in node.children if c.started), default=None)
        node.ended = next(
            (
                ended
                for ended, file in ends or ()
                if (last is None or ended >= last - _SAME_START)
                and (not file or not node.file or _name(file) == _name(node.file))
            ),
            None,
        )


def _started(alike: Iterable[Node], started: datetime, file: str) -> Node | None:
    """Which of the processes of one id on one host started then, or the nearest to it; None where nothing did, or only another program."""
    near = [
        (abs(n.started - started), place, n)
        for place, n in enumerate(alike)
        if n.started
        and abs(n.started - started) <= _SAME_START
        and (n.started == started or not file or not n.file or _name(n.file) == _name(file))
    ]
    return min(near)[2] if near else None


def _above(node: Node, wanted: Node) -> bool:
    """Whether `wanted` is an ancestor of the node."""
    step: Node | None = node
    while step is not None:
        if step is wanted:
            return True
        step = step.parent
    return False


def _name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1].lower()


def prune(nodes: Sequence[Node], *, most: int = MOST_NODES) -> tuple[list[Node], int]:
    """The roots of what is near alerts: processes with alerts, their ancestors, their children; and how many more there are of those.

    Without any alert on a process all of them are near.
    """
    marked = [n for n in nodes if n.alerts] or list(nodes)
    kept: dict[int, Node] = {}
    for node in marked:
        step: Node | None = node
        while step is not None and id(step) not in kept:
            kept[id(step)] = step
            step = step.parent
    for node in marked:
        for child in node.children:
            kept.setdefault(id(child), child)
    near = list(kept.values())
    shown = {id(n): n for n in near[:most]}
    for node in list(shown.values()):  # an ancestor is never left out below a node that stays
        step = node.parent
        while step is not None and id(step) not in shown:
            shown[id(step)] = step
            step = step.parent
    roots = [n for n in shown.values() if n.parent is None or id(n.parent) not in shown]
    for node in shown.values():
        node.children = sorted(
            (c for c in node.children if id(c) in shown),
            key=lambda c: (c.started is None, c.started or 0, c.pid or 0, c.uid),
        )
    roots.sort(key=lambda n: (n.host, n.started is None, n.started or 0, n.pid or 0, n.uid))
    return roots, len(near) - len(shown)


def to_dict(node: Node) -> dict[str, Any]:
    """The node and those below it as JSON."""
    stack: list[tuple[Node, list[dict[str, Any]]]] = []
    top: list[dict[str, Any]] = []
    stack.append((node, top))
    while stack:
        at, into = stack.pop()
        children: list[dict[str, Any]] = []
        into.append(
            {
                "host": at.host,
                "pid": at.pid,
                "started": iso(at.started) if at.started else None,
                "ended": iso(at.ended) if at.ended else None,
                "file": at.file,
                "command": at.command,
                "account": at.account,
                "sha256": at.sha256,
                "seen": at.seen,
                "certain": at.certain,
                "alerts": at.alerts,
                "children": children,
            }
        )
        stack.extend((child, children) for child in reversed(at.children))
    return top[0]
