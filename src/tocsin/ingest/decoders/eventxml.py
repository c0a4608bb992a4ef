"""One Windows event in XML → a row."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

from tocsin.ingest.decoders.windows import EventBuffer
from tocsin.ingest.decoders.xmlfields import event_element, local_name, xml_event_data

__all__ = ["add_event_xml"]


def add_event_xml(text: str, buffer: EventBuffer) -> bool:
    """Adds one `<Event>…</Event>` to the buffer. False when the text isn't well-formed or isn't an event."""
    root = event_element(text, cut=True)
    if root is None:
        return False
    system: Element | None = None
    fields: dict[str, str] = {}
    message: str | None = None
    for child in root:
        tag = local_name(child.tag)
        if tag == "System":
            system = child
        elif tag in ("EventData", "UserData"):
            fields = xml_event_data(child)
        elif tag == "RenderingInfo":
            for part in child:
                if part.tag.endswith("Message"):
                    message = part.text
    if system is None:
        return False
    values: dict[str, Any] = {}
    for child in system:
        tag = local_name(child.tag)
        values[tag] = dict(child.attrib) if child.attrib and tag != "EventID" else child.text
    buffer.add_parts(values, fields, message)
    return True
