"""What is wrong with a query text, where, and what to write instead.

Codes by the stage that finds the fault (a code is never reused for another meaning):

    KQL00xx  text and syntax (this package's lexer and parser)
      KQL0001  a character that no token begins with        KQL0002  a string that is not closed
      KQL0003  a literal whose text is not a value           KQL0004  the text is too long
      KQL0010  something else was expected here              KQL0011  no such operator
      KQL0012  no such choice (join kind, column type …)     KQL0013  the text ends too early
      KQL0014  a bracket that closes nothing                 KQL0015  a word that belongs to another language or release
      KQL0020  nested too deeply                             KQL0021  more errors than are worth listing
      KQL0030  a name that is defined but not used (a warning of the language service)
      KQL0031  a part of a fuzzy union that names what isn't there, and is left out (a warning)
    KQL01xx  names and types (the binder)
    KQL02xx  refused by policy or not supported
      KQL0204  not in a transform, which sees one row at a time   KQL0205  a transform's result doesn't fit its table
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tocsin.base.errors import Advice, KqlError, Place

__all__ = ["Diagnostic", "KqlErrors", "Severity", "line_and_column"]

Severity = Literal["error", "warning", "info"]

_CONTEXT = 100  # characters of a very long line that are shown on each side of the fault


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """The 1-based line and column (in characters) of an offset; an offset past the end means the end."""
    offset = min(max(offset, 0), len(text))
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `span` are character offsets; `line` and `column` are 1-based and tell where it begins."""

    code: str
    message: str
    span: tuple[int, int]
    line: int
    column: int
    hint: str = ""
    severity: Severity = "error"

    @classmethod
    def at(
        cls, text: str, span: tuple[int, int], code: str, message: str, *, hint: str = "", severity: Severity = "error"
    ) -> Diagnostic:
        """A finding at a span of `text`; line and column are computed. Sentences may quote the text, so they are made printable."""
        line, column = line_and_column(text, span[0])
        if not message.isprintable():
            message = _printable(message)
        return cls(code, message, span, line, column, hint if hint.isprintable() else _printable(hint), severity)

    @property
    def fix(self) -> tuple[tuple[int, int], str] | None:
        """An edit that follows the hint: what to replace, and by what; None where that takes thought."""
        if isinstance(self.hint, Advice):
            return self.hint.span or self.span, self.hint.replacement
        return None

    def render(self, text: str) -> str:
        """The finding as a person reads it: the sentence, the line it is about, a caret under the place, the advice."""
        start = min(self.span[0], len(text))
        first = text.rfind("\n", 0, start) + 1
        last = text.find("\n", start)
        last = len(text) if last < 0 else last
        end = min(max(self.span[1], start + 1), max(last, start + 1))
        left, right = max(first, start - _CONTEXT), min(last, start + _CONTEXT)
        end = min(end, max(right, start + 1))
        shown = ("… " if left > first else "") + text[left:right] + (" …" if right < last else "")
        lead = ("  " if left > first else "") + text[left:start]
        gutter = f"{self.line} | "
        under = " " * (len(gutter) - 2) + "| " + _blank(lead) + "^" * max(1, _width(text[start:end]))
        lines = [
            f"{self.severity} {self.code} at line {self.line}, column {self.column}: {self.message}",
            gutter + _printable(shown),
            under,
        ]
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)


class KqlErrors(KqlError):  # noqa: N818 - the plural says that it holds several
    """Everything that is wrong with one query text. `diagnostics` is never empty and ordered by place."""

    def __init__(self, diagnostics: Iterable[Diagnostic], text: str = "") -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(sorted(diagnostics, key=lambda d: d.span))
        self.text = text
        first = next((d for d in self.diagnostics if d.severity == "error"), self.diagnostics[0])
        super().__init__(
            first.message,
            code=first.code,
            place=Place(line=first.line, column=first.column, offset=first.span[0]),
            hint=first.hint,
        )

    def render(self, text: str | None = None) -> str:
        """Every finding with its line and caret."""
        source = self.text if text is None else text
        return "\n\n".join(d.render(source) for d in self.diagnostics)


def _width(text: str) -> int:
    """Columns that a terminal gives to a text."""
    width = 0
    for char in text:
        if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Mn"):
            continue
        width += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return width


def _blank(text: str) -> str:
    """White space as wide as `text`; tabs stay tabs, so the caret stands right whatever a tab means."""
    return "".join("\t" if c == "\t" else " " * _width(c) for c in text)


def _printable(text: str) -> str:
    """`text` without characters that would disturb a terminal (control, bidirectional overrides), each as `·` or nothing."""
    out = []
    for char in text:
        category = unicodedata.category(char)
        if char == "\t" or category not in ("Cc", "Cf", "Cs"):
            out.append(char)
        elif category != "Cf":
            out.append("·")
    return "".join(out)
