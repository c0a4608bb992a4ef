"""Places in query texts as clients count them.

The compiler counts characters (code points). JavaScript, Java, C# and Monaco count UTF-16 code units, in which an emoji is two; so does
this API unless a request says ``"units": "codepoints"`` (what Python and Rust's `chars` count). Lines and columns begin with 1, offsets with 0;
a line ends with ``\\n``.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Any, Literal

__all__ = ["Positions", "Units"]

Units = Literal["utf16", "codepoints"]

_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


class Positions:
    """Turns a client's places in one text into the compiler's offsets, and back."""

    def __init__(self, text: str, units: Units = "utf16") -> None:
        self._length = len(text)
        self._breaks = [m.start() for m in re.finditer("\n", text)]
        # Characters that are two code units: where they are as characters, and in code units.
        self._astral = [m.start() for m in _ASTRAL.finditer(text)] if units == "utf16" else []
        self._units = [at + k for k, at in enumerate(self._astral)]

    def offset(self, offset: int) -> int:
        """The compiler's offset for a client's; past the end means the end, between two surrogates means after both."""
        before = bisect_left(self._units, offset)
        halved = before > 0 and self._units[before - 1] == offset - 1
        return min(offset - before + halved, self._length)

    def at(self, line: int, column: int) -> int:
        """The compiler's offset for a client's line and column; past a line's end means its end."""
        line = min(line, len(self._breaks) + 1)
        first = self._breaks[line - 2] + 1 if line > 1 else 0
        last = self._breaks[line - 1] if line <= len(self._breaks) else self._length
        return min(self.offset(self.units(first) + column - 1), last)

    def units(self, offset: int) -> int:
        """The client's offset for the compiler's."""
        return offset + bisect_left(self._astral, offset)

    def place(self, offset: int) -> tuple[int, int]:
        """The client's line and column for the compiler's offset."""
        offset = min(max(offset, 0), self._length)
        line = bisect_left(self._breaks, offset)
        first = self._breaks[line - 1] + 1 if line else 0
        return line + 1, self.units(offset) - self.units(first) + 1

    def range(self, span: tuple[int, int]) -> dict[str, Any]:
        """A span as `tocsin.api.routes.language.TextRange`."""
        line, column = self.place(span[0])
        end_line, end_column = self.place(span[1])
        return {
            "start": self.units(span[0]),
            "end": self.units(span[1]),
            "line": line,
            "column": column,
            "end_line": end_line,
            "end_column": end_column,
        }
