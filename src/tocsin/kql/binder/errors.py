"""The binder's refusals: one exception, codes with meanings, and the place in the text.

KQL0101  unknown column, variable or parameter        KQL0107  a constant is needed
KQL0102  unknown table                                KQL0108  a bad regular expression
KQL0103  unknown function or plugin                   KQL0109  duplicate or ambiguous name
KQL0104  wrong number or names of arguments           KQL0110  a limit of the compiler
KQL0105  wrong type                                   KQL0201  not supported by this engine
KQL0106  misplaced (aggregate, window, tabular …)     KQL0202  refused by policy
                                                      KQL0203  data from elsewhere can't be read
"""

from __future__ import annotations

from collections.abc import Iterable

from tocsin.base.errors import did_you_mean
from tocsin.kql.ast import Node, Span

_MOST_NAMED = 8  # names that are told where none is near

__all__ = ["BindError", "fail", "unknown"]


class BindError(Exception):
    """One refusal. `compile_query` turns it into the diagnostics of a `KqlErrors`."""

    def __init__(self, code: str, message: str, span: Span, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.span = span
        self.hint = hint


def fail(code: str, message: str, where: Node | Span, hint: str = "") -> BindError:
    """Make the error to raise; `where` is the node (or span) to underline."""
    return BindError(code, message, where.span if isinstance(where, Node) else where, hint)


def unknown(code: str, kind: str, name: str, known: Iterable[str], where: Node | Span) -> BindError:
    """An unknown name, with the nearest known one; where none is near, a column's error says which there are."""
    names = list(dict.fromkeys(known))
    hint = did_you_mean(name, _near(name, names))
    if not hint and code == "KQL0101" and names:
        shown = ", ".join(names[:_MOST_NAMED]) + (" …" if len(names) > _MOST_NAMED else "")
        hint = f"Known here: {shown}."
    return fail(code, f"There is no {kind} named '{name}' here.", where, hint)


def _near(name: str, known: Iterable[str]) -> list[str]:
    """Of very many names only those of about the same length with the same beginning: comparing them all takes seconds."""
    names = sorted(set(known))
    if len(names) <= 500:
        return names
    folded = name.lower()
    same = [n for n in names if n.lower() == folded]
    return same or [n for n in names if n[:1].lower() == folded[:1] and abs(len(n) - len(name)) <= 3][:500]


def unsupported(what: str, where: Node | Span, hint: str = "") -> BindError:
    """A construct of KQL that this engine does not run."""
    return fail("KQL0201", f"{what} is not supported.", where, hint)


def policy(what: str, reason: str, where: Node | Span) -> BindError:
    """A construct that is refused whatever the engine can do."""
    return fail("KQL0202", f"{what} is refused: {reason.rstrip('.')}.", where)
