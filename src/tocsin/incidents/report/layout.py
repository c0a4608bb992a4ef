"""Places an entity graph on a page: one column a kind of thing, from where an attack comes from to what it touched.

Deterministic and linear in edges, so that a report of a large incident is made in milliseconds and two runs give the same picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

__all__ = ["lay_out"]

_COLUMNS: tuple[tuple[str, ...], ...] = (
    ("IP", "URL", "DNS", "MailMessage", "MailCluster", "SubmissionMail"),
    ("Account", "Mailbox", "SecurityGroup"),
    ("Host", "IoTDevice", "AzureResource", "CloudApplication"),
    ("Process",),
    ("File", "FileHash", "RegistryKey", "RegistryValue", "Malware"),
)
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 190, 34, 60, 12, 16


def lay_out(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The picture: width, height, boxes (x, y, w, h, type, label, short) and lines (path, title)."""
    columns: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for node in graph["nodes"]:
        columns[_column(node["type"])].append(node)
    neighbours: dict[str, list[str]] = defaultdict(list)
    for edge in graph["edges"]:
        neighbours[edge["source"]].append(edge["target"])
        neighbours[edge["target"]].append(edge["source"])
    rank: dict[str, float] = {}
    used = sorted(columns)
    for column in used:  # one barycentre pass: a node sits near the mean of its neighbours already placed
        nodes = columns[column]
        for i, node in enumerate(nodes):
            placed = [rank[n] for n in neighbours[node["id"]] if n in rank]
            rank[node["id"]] = sum(placed) / len(placed) if placed else float(i)
        nodes.sort(key=lambda n: (rank[n["id"]], n["id"]))
        for i, node in enumerate(nodes):
            rank[node["id"]] = float(i)
    tallest = max((len(n) for n in columns.values()), default=0)
    height = tallest * (_HEIGHT + _GAP_Y) + 2 * _MARGIN
    boxes: dict[str, dict[str, Any]] = {}
    for x_index, column in enumerate(used):
        nodes = columns[column]
        offset = (height - len(nodes) * (_HEIGHT + _GAP_Y) + _GAP_Y) / 2
        for i, node in enumerate(nodes):
            boxes[node["id"]] = {
                "x": _MARGIN + x_index * (_WIDTH + _GAP_X),
                "y": round(offset + i * (_HEIGHT + _GAP_Y), 1),
                "w": _WIDTH,
                "h": _HEIGHT,
                "type": node["type"],
                "label": node["label"],
                "short": _short(node["label"]),
            }
    lines = []
    for edge in graph["edges"]:
        a, b = boxes.get(edge["source"]), boxes.get(edge["target"])
        if a is None or b is None:
            continue
        lines.append({"path": _curve(a, b), "title": f"{edge['label']} ({len(edge['alerts'])} alerts)"})
    width = 2 * _MARGIN + max(1, len(used)) * _WIDTH + max(0, len(used) - 1) * _GAP_X
    return {"width": width, "height": max(height, 60), "boxes": list(boxes.values()), "lines": lines}


def _column(kind: str) -> int:
    return next((i for i, kinds in enumerate(_COLUMNS) if kind in kinds), len(_COLUMNS) - 1)


def _short(label: str, room: int = 27) -> str:
    """A label that fits its box: the end of a path says more than its start, a name's start more than its end."""
    if len(label) <= room:
        return label
    return "…" + label[-(room - 1) :] if "\\" in label or "/" in label else label[: room - 1] + "…"


def _curve(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    if a["x"] > b["x"]:
        a, b = b, a
    ay, by = a["y"] + _HEIGHT / 2, b["y"] + _HEIGHT / 2
    if a["x"] == b["x"]:  # same column: bulge out to the right
        x = a["x"] + _WIDTH
        return f"M{x},{ay} C{x + 40},{ay} {x + 40},{by} {x},{by}"
    ax, bx = a["x"] + _WIDTH, b["x"]
    middle = (ax + bx) / 2
    return f"M{ax},{ay} C{middle},{ay} {middle},{by} {bx},{by}"
