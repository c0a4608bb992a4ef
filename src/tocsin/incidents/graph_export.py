"""An incident's graph for other tools: GraphML (Gephi, yEd, Cytoscape, networkx read it)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

__all__ = ["GRAPHML", "graphml"]

GRAPHML = "application/graphml+xml"

_GRAPH = ("left_out",)
_NODE = ("type", "label", "first")
_EDGE = ("label", "alert_id", "alerts", "alert_count", "first")
_NUMBERS = frozenset({"alert_count", "left_out"})


def graphml(graph: Mapping[str, Any], title: str) -> str:
    """The graph of `tocsin.incidents.story.graph` as GraphML. An edge names its alerts in `alerts`, `alert_count` says how many there are;
    `left_out` of the graph how many things it doesn't hold. Characters that XML can't hold become U+FFFD."""
    root = ElementTree.Element("graphml", {"xmlns": "http://graphml.graphdrawing.org/xmlns"})
    for kind, names in (("graph", _GRAPH), ("node", _NODE), ("edge", _EDGE)):
        for name in names:
            what = {
                "id": f"{kind}-{name}",
                "for": kind,
                "attr.name": name,
                "attr.type": "int" if name in _NUMBERS else "string",
            }
            ElementTree.SubElement(root, "key", what)
    drawn = ElementTree.SubElement(root, "graph", {"id": _text(title), "edgedefault": "directed"})
    _data(drawn, "graph", _GRAPH, graph)
    for node in graph["nodes"]:
        made = ElementTree.SubElement(drawn, "node", {"id": str(node["id"])})
        _data(made, "node", _NODE, node)
    for number, edge in enumerate(graph["edges"]):
        ends = {"id": f"e{number}", "source": str(edge["source"]), "target": str(edge["target"])}
        _data(ElementTree.SubElement(drawn, "edge", ends), "edge", _EDGE, edge)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _data(parent: ElementTree.Element, kind: str, names: tuple[str, ...], values: Mapping[str, Any]) -> None:
    for name in names:
        value = values.get(name)
        if value is None:
            continue
        text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        ElementTree.SubElement(parent, "data", {"key": f"{kind}-{name}"}).text = _text(text)


def _text(text: str) -> str:
    """XML 1.0 has no place for most control characters, surrogates and two more (https://www.w3.org/TR/xml/#charsets)."""
    return "".join(
        c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000" else "\ufffd"
        for c in text
    )
