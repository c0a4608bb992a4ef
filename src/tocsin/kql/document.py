"""A small pretty printer: text, places where a line may break, groups that are kept on one line where they fit.

After Wadler's "A prettier printer", with the addition of lines that must break, for comments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

__all__ = ["BLANK", "HARD", "LINE", "SOFT", "SPACE", "Doc", "Fill", "Group", "Indent", "Text", "Trail", "render"]

STEP: Final = 4


class Doc:
    """Part of a document. `width` is what it takes on one line; infinite where it can't stand on one.

    `trails`: it ends with a comment, so nothing can follow on its line.
    """

    __slots__ = ("trails", "width")

    def __init__(self, width: float, *, trails: bool = False) -> None:
        self.width = width
        self.trails = trails


class Text(Doc):
    """Characters as they are."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__(math.inf if "\n" in text else len(text))
        self.text = text


class Trail(Doc):
    """A comment at the end of a line: it does not count for the width, and a new line follows."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__(0, trails=True)
        self.text = text


class _Break(Doc):
    __slots__ = ("kind",)

    def __init__(self, kind: str, width: float) -> None:
        super().__init__(width)
        self.kind = kind


SPACE: Final = _Break("space", 1)
"""A space, but none at the beginning of a line."""
LINE: Final = _Break("line", 1)
"""A new line where its group is broken, else a space."""
SOFT: Final = _Break("soft", 0)
"""A new line where its group is broken, else nothing."""
HARD: Final = _Break("hard", math.inf)
"""A new line; several in a row are one."""
BLANK: Final = _Break("blank", math.inf)
"""An empty line."""


class _Block(Doc):
    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[Doc]) -> None:
        width = 0.0
        trails = False
        for part in parts:
            width = math.inf if trails and not isinstance(part, _Break) else width + part.width
            trails = trails or part.trails
        super().__init__(width, trails=trails)
        self.parts = parts


class Group(_Block):
    """Parts that stand on one line if they fit there."""

    __slots__ = ()


class Indent(_Block):
    """Parts whose new lines are indented by one step more."""

    __slots__ = ()


class Fill(_Block):
    """Parts with breaks between them, as many on a line as fit."""

    __slots__ = ()


def render(parts: Sequence[Doc], width: int) -> str:
    """The document as text, lines of at most `width` where that is possible; it ends with a line break."""
    out: list[str] = []
    column = 0
    pending: int | None = 0  # the indentation of a line that has begun but has no text yet
    space = False
    stack: list[tuple[Doc, int, bool]] = [(part, 0, False) for part in reversed(parts)]
    while stack:
        doc, indent, flat = stack.pop()
        if isinstance(doc, Text):
            if not doc.text:
                continue
            if pending is not None:
                if out:
                    out.append("\n")
                out.append(" " * pending)
                column, pending = pending, None
            elif space:
                out.append(" ")
                column += 1
            space = False
            out.append(doc.text)
            newline = doc.text.rfind("\n")
            column = column + len(doc.text) if newline < 0 else len(doc.text) - newline - 1
        elif isinstance(doc, Trail):
            if pending is not None and out:
                out.append("\n" + " " * pending)
            elif out:
                out.append(" ")
            out.append(doc.text)
            pending, space = indent, False
        elif isinstance(doc, _Break):
            if doc.kind == "space" or (flat and doc.kind == "line"):
                space = True
            elif not flat or doc.width == math.inf:
                pending, space = indent, False
                if doc.kind == "blank" and out and out[-1] != "\n":
                    out.append("\n")
        elif isinstance(doc, Fill):
            _push_fill(stack, doc, indent, flat or column + doc.width <= width)
        elif isinstance(doc, _Block):
            inner = indent + STEP if isinstance(doc, Indent) else indent
            at = pending if pending is not None else column
            fits = flat or (isinstance(doc, Group) and at + doc.width <= width)
            keep = flat if not isinstance(doc, Group) else fits
            stack.extend((part, inner, keep) for part in reversed(doc.parts))
        elif isinstance(doc, _Try):
            at = pending if pending is not None else column
            fits = at + 1 + doc.item.width + 1 <= width
            stack.append((doc.item, indent, False))
            stack.append((doc.separator, indent, fits))
    return "".join(out).rstrip(" \n") + "\n" if out else ""


class _Try(Doc):
    """A break of a Fill with the part after it: it breaks where that does not fit."""

    __slots__ = ("item", "separator")

    def __init__(self, separator: Doc, item: Doc) -> None:
        super().__init__(separator.width + item.width)
        self.separator = separator
        self.item = item


def _push_fill(stack: list[tuple[Doc, int, bool]], doc: Fill, indent: int, flat: bool) -> None:
    if flat:
        stack.extend((part, indent, True) for part in reversed(doc.parts))
        return
    tries: list[Doc] = []
    parts = doc.parts
    k = 0
    while k < len(parts):
        if isinstance(parts[k], _Break) and k + 1 < len(parts):
            tries.append(_Try(parts[k], parts[k + 1]))
            k += 2
        else:
            tries.append(parts[k])
            k += 1
    stack.extend((part, indent, False) for part in reversed(tries))
