"""What must hold somewhere in a file's rows for a condition to be true of any of them: so that the lake can leave whole files out.

A condition implies a conjunction of *clauses*, each a set of *atoms* of which at least one must hold: that a column has a complete term, or that it
has a time from or up to some moment. What can't be said so is left out, which only means that more files are read.

A term here is a maximal run of ASCII letters and digits in lower case. KQL's terms are runs of letters and digits of any script, whose
boundaries are boundaries here too, so a term of KQL that is ASCII is one of these wherever it stands; others give no atom.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["TERM", "Atom", "Clause", "Clauses", "both", "either", "terms", "when_any_term", "when_terms"]

TERM = re.compile(r"[a-z0-9]+")
_CLAUSES = 24
_ATOMS = 256


@dataclass(frozen=True, slots=True)
class Atom:
    """`column` (an alias while the query is bound, a physical column afterwards) has the term, or a time in µs since 1970 from or up to `value`."""

    column: str
    kind: Literal["term", "from", "to"]
    value: str | int


Clause = frozenset[Atom]
"""At least one of these holds."""
Clauses = tuple[Clause, ...]
"""All of these hold. Empty says nothing."""


def both(parts: Iterable[Clauses]) -> Clauses:
    """What a conjunction implies."""
    return tuple(dict.fromkeys(clause for part in parts for clause in part))[:_CLAUSES]


def either(parts: Sequence[Clauses]) -> Clauses:
    """What a disjunction implies: one clause of each part, the one that is likely to rule most out."""
    if not parts or not all(parts):
        return ()
    clause = frozenset().union(*(min(part, key=_breadth) for part in parts))
    return (clause,) if len(clause) <= _ATOMS else ()


def _breadth(clause: Clause) -> tuple[int, int]:
    longest = max((len(a.value) for a in clause if isinstance(a.value, str)), default=0)
    return len(clause), -longest


def terms(text: str, *, before: bool, after: bool) -> list[str]:
    """Complete terms that every value which contains `text` has. `before`, `after`: the text begins, ends at a boundary there."""
    lowered = text.lower()
    if len(lowered) != len(text) or not lowered.isascii():
        # Case folding of other scripts may make ASCII letters; nothing is said then.
        return []
    return [
        match[0]
        for match in TERM.finditer(lowered)
        if (match.start() > 0 or before) and (match.end() < len(lowered) or after)
    ]


def when_terms(column: str, text: str, *, before: bool = True, after: bool = True) -> Clauses:
    """What it implies that a column contains `text`."""
    return both([tuple(frozenset((Atom(column, "term", t),)) for t in terms(text, before=before, after=after))])


def when_any_term(column: str, texts: Iterable[str]) -> Clauses:
    """What it implies that a column contains one of the texts, bounded on both sides."""
    return either([when_terms(column, text) for text in texts])
