"""Fields out of the XML that Windows events carry."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, ParseError, fromstring

__all__ = ["event_element", "local_name", "xml_event_data", "xml_fields"]

_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INVALID_REFERENCE = re.compile(r"&#(?:x(?:[0-8BCEFbcef]|1[0-9a-fA-F])|[0-8]|1[124-9]|2[0-9]|3[01]);")


def event_element(text: str, *, cut: bool = False) -> Element | None:
    """The element that the text is, or None when it isn't well-formed even after characters that XML forbids were replaced.

    With `cut` a text that ends too early is taken as far as it goes. The text starts with the element, so a document's DTD and its
    entities are never seen.
    """
    try:
        return fromstring(text)  # noqa: S314 - see above
    except (ParseError, ValueError):
        pass
    try:
        # Event messages may hold control characters that XML forbids; Windows writes them all the same.
        return fromstring(_INVALID.sub("\ufffd", _INVALID_REFERENCE.sub("\ufffd", text)))  # noqa: S314
    except (ParseError, ValueError):
        pass
    if not cut:
        return None
    try:
        # Syslog relays cut long messages: what came before the cut is still an event.
        return fromstring(_closed(text))  # noqa: S314
    except (ParseError, ValueError):
        return None


_TAG = re.compile(r"<(/?)([A-Za-z_][\w:.-]*)(?:[^<>\"']|\"[^\"]*\"|'[^']*')*?(/?)>")


def _closed(text: str) -> str:
    """A text that was cut somewhere, up to its last whole piece and with the open elements closed."""
    if text.rfind("<") > text.rfind(">"):
        text = text[: text.rfind("<")]
    if text.rfind("&") > text.rfind(";"):
        text = text[: text.rfind("&")]
    stack: list[str] = []
    for match in _TAG.finditer(text):
        if match[1]:
            if not stack or stack.pop() != match[2]:
                raise ValueError("not nested")
        elif not match[3]:
            stack.append(match[2])
    return text + "".join(f"</{tag}>" for tag in reversed(stack))


def xml_fields(text: str) -> dict[str, str] | None:
    """The fields of an `EventData` or `UserData` text, or of one inside another element; None when it isn't well-formed."""
    if "<!" in text[:1024] and "<!DOCTYPE" in text[:1024].upper():
        return None
    root = event_element(text)
    return None if root is None else xml_event_data(root)


def xml_event_data(root: Element) -> dict[str, str]:
    """The fields below an `EventData` or `UserData` element; `root` may be that element or one that holds it."""
    out: dict[str, str] = {}
    number = 0
    holder = root
    if local_name(root.tag) not in ("EventData", "UserData"):
        for child in root.iter():
            if local_name(child.tag) in ("EventData", "UserData"):
                holder = child
                break
    children: Iterable[Element] = holder
    if local_name(holder.tag) == "UserData":
        children = [leaf for child in holder for leaf in (list(child) or [child])]
    for child in children:
        name = child.get("Name")
        text = child.text or ""
        if len(child):
            text = "".join(child.itertext())
        if name is None:
            tag = local_name(child.tag)
            if tag != "Data":
                name = tag
            else:
                name = f"Data_{number}" if number else "Data"
                number += 1
        out[name] = text
    return out


def local_name(tag: str) -> str:
    """A tag without its namespace."""
    return tag[tag.rfind("}") + 1 :]
