"""Process trees from rows: who started whom, on which host, though process ids come back.

A process is (host, process id, start time). A child names its parent's id and, where the source tells it, the parent's start time; then the link is
certain. Where only the id is told, the parent is the process of that id on that host that started last before the child did: an id that was given
to another process later is never taken for it, nor one that another program had. What nobody saw start is a node of its own that says so.

Sources tell one start in milliseconds, in ten millionths of a second, or when they wrote it down: what has one id on one host and started within a
second is one process, unless it is another program.

Where rows tell that a process ended, the id is nobody's from then on: what starts below it later was started by another, whom nobody saw.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tocsin.detect.alert import iso

__all__ = ["MOST_NODES", "Node", "build", "prune", "to_dict"]

MOST_NODES = 400
"""Processes that a tree shows at most; those nearest to the alerts stay."""

_SAME_START = timedelta(seconds=1)
"""So far apart are the times that sources tell of one start."""

Key = tuple[str, int, datetime | None]


@dataclass(slots=True)
class Node:
    """A process. `started` is None for one that is known only as somebody's parent and whose start nobody told."""

    host: str
    pid: int
    started: datetime | None
    file: str = ""
    command: str = ""
    account: str = ""
    sha256: str = ""
    seen: bool = False
    ended: datetime | None = None
    parent: Node | None = None
    certain: bool = True
    children: list[Node] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """What it is known by."""
        return (self.host, self.pid, self.started)


def build(rows: Iterable[Mapping[str, Any]], ends: Iterable[Mapping[str, Any]] = ()) -> list[Node]:
    """The processes of rows, linked. A row has Host, Pid, Started, File, Command, Account, Sha256, and of its parent ParentPid, ParentStarted,
    ParentFile, ParentCommand; Seen is False where the row only tells of it. Rows without host, id or start are left out; the same twice is one.
    `ends` have Host, Pid, Ended, File and, where it is told, Started.
    """
    nodes: dict[Key, Node] = {}
    by_id: dict[tuple[str, int], list[Node]] = defaultdict(list)
    links: list[tuple[Node, Mapping[str, Any]]] = []
    for row in rows:
        host, pid, started = str(row.get("Host") or "").lower(), row.get("Pid"), row.get("Started")
        if not host or pid is None or not isinstance(started, datetime):
            continue
        alike = by_id[host, int(pid)]
        node = _started(alike, started, str(row.get("File") or ""))
        if node is None:
            node = nodes[host, int(pid), started] = Node(host, int(pid), started)
            alike.append(node)
        node.seen = node.seen or bool(row.get("Seen", True))
        for name, column in (("file", "File"), ("command", "Command"), ("account", "Account"), ("sha256", "Sha256")):
            setattr(node, name, getattr(node, name) or str(row.get(column) or ""))
        links.append((node, row))
    for alike in by_id.values():
        alike.sort(key=lambda n: n.started or datetime.min)  # noqa: DTZ901 - seen ones have a start
    loose = _end(by_id, ends)
    for node, row in links:
        if node.parent is None and row.get("ParentPid") is not None:
            _link(node, row, nodes, by_id)
    _end_unseen(nodes.values(), loose)
    return list(nodes.values())


def _end(
    by_id: Mapping[tuple[str, int], list[Node]], ends: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, int], list[tuple[datetime, str]]]:
    """Notes when processes ended: an end is of the process of that id that started last before it. What is left, by host and id in time: the ends of
    processes that nobody saw start."""
    full: dict[str, set[str]] = defaultdict(set)
    for host, _ in by_id:
        full[host.split(".")[0]].add(host)
    told: list[tuple[datetime, str, int, str, datetime | None]] = []
    for row in ends:
        host, pid, ended, started = (
            str(row.get("Host") or "").lower(),
            row.get("Pid"),
            row.get("Ended"),
            row.get("Started"),
        )
        if not host or pid is None or not isinstance(ended, datetime):
            continue
        alike = full.get(host.split(".")[0], set())
        if host not in alike and len(alike) == 1 and "." not in min(host, *alike, key=len):
            host = next(iter(alike))  # one source calls it by its bare name, another by its full one
        told.append(
            (ended, host, int(pid), str(row.get("File") or ""), started if isinstance(started, datetime) else None)
        )
    loose: dict[tuple[str, int], list[tuple[datetime, str]]] = defaultdict(list)
    for ended, host, pid, file, started in sorted(told, key=lambda t: t[:3]):
        known = by_id.get((host, pid), ())
        if started is not None:
            node = _started(known, started, file)
        else:
            node = next((n for n in reversed(known) if n.started and n.started <= ended + _SAME_START), None)
        if node is None or (file and node.file and _name(file) != _name(node.file)):
            loose[host, pid].append((ended, file))
        elif node.ended is None:
            node.ended = ended
    return loose


def _end_unseen(nodes: Iterable[Node], loose: Mapping[tuple[str, int], Sequence[tuple[datetime, str]]]) -> None:
    """The ends of processes that are known only by what they started: the first after that, of the same program."""
    for node in nodes:
        if node.started is None and (ends := loose.get((node.host, node.pid))):
            last = max((c.started for c in node.children if c.started), default=None)
            node.ended = next(
                (
                    ended
                    for ended, file in ends
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


def _link(
    node: Node, row: Mapping[str, Any], nodes: dict[Key, Node], by_id: Mapping[tuple[str, int], list[Node]]
) -> None:
    pid = int(row["ParentPid"])
    started: datetime | None = row.get("ParentStarted")
    assert node.started is not None
    parent: Node | None = None
    certain = isinstance(started, datetime)
    if isinstance(started, datetime):
        parent = _started(by_id.get((node.host, pid), ()), started, str(row.get("ParentFile") or ""))
    else:
        until = node.started + _SAME_START
        earlier = [n for n in by_id.get((node.host, pid), ()) if n.started and n.started <= until and n is not node]
        wanted = str(row.get("ParentFile") or "").lower()
        parent = earlier[-1] if earlier else None
        if parent is not None and parent.ended is not None and parent.ended + _SAME_START < node.started:
            parent = None  # it was gone by then: the id was another's
        if parent is not None and wanted and parent.file and _name(parent.file) != _name(wanted):
            parent = None  # the id belongs to another program: what started this was not seen
    if parent is None:
        key = (node.host, pid, started if certain else None)
        parent = nodes.get(key)
        if parent is None or _name(parent.file) != _name(str(row.get("ParentFile") or "")):
            parent = Node(
                node.host,
                pid,
                started if certain else None,
                str(row.get("ParentFile") or ""),
                str(row.get("ParentCommand") or ""),
            )
            nodes[key if key not in nodes else (f"{node.host}#{len(nodes)}", pid, key[2])] = parent
    if parent is node or _above(parent, node):
        return  # rows that contradict each other make no circle
    node.parent, node.certain = parent, certain
    parent.children.append(node)


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
            (c for c in node.children if id(c) in shown), key=lambda c: (c.started is None, c.started or 0, c.pid)
        )
    roots.sort(key=lambda n: (n.host, n.started is None, n.started or 0, n.pid))
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
