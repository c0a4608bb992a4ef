"""What a regular expression needs: texts of which a value must hold one for the expression to match.

Found in the parse tree of Python's own expression parser. Where RE2 and Python read an expression differently, or no text of use is in it,
there is no answer, and the expression is tried on every value.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

__all__ = ["grows", "least_length", "needed_texts"]

_RARE = frozenset("`^{}+&|<>%$#~;=@![]()?*")
"""Signs that most values don't hold: one of them alone is worth looking for."""
MOST = 24
_APART = re.compile(r"\[\[?:|(?<!\\)(?:\\\\)*\\[QEpPCzRKX]|\(\?[a-zA-Z]*U")
"""What the two engines read differently, or only one of them."""


def needed_texts(pattern: str) -> frozenset[str] | None:
    """Lower case ASCII texts of which any matching value, in lower case and if it is ASCII, holds at least one; None where there are none."""
    if _APART.search(pattern):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sets in sets, which neither engine has
            tree = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError):
        return None
    found = _sequence(list(tree))
    if not found or len(found) > MOST or any(len(t) < 2 and t not in _RARE for t in found):
        return None
    return found


def least_length(pattern: str) -> int:
    """The characters that an ASCII match has at least; 0 where that can't be said."""
    if _APART.search(pattern):
        return 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(parser.parse(pattern).getwidth()[0])
    except (re.error, OverflowError, RecursionError):
        return 0


def grows(pattern: str) -> bool:
    """Whether a long counted repetition is in it, which multiplies the states of expressions that are searched for together."""
    return any(int(n) >= 50 for n in _COUNTED.findall(pattern))


_COUNTED = re.compile(r"[{,](\d+)[,}]")


def _worth(texts: frozenset[str] | None) -> float:
    return min(len(t) if len(t) > 1 or t in _RARE else 0 for t in texts) - len(texts) / 8 if texts else -100


def _sequence(items: Sequence[tuple[Any, Any]]) -> frozenset[str] | None:
    """The best set of a sequence: one of its parts', or a run of letters."""
    best: frozenset[str] | None = None
    run = ""

    def offer(texts: frozenset[str] | None) -> None:
        nonlocal best
        if texts and len(texts) <= MOST and _worth(texts) > _worth(best):
            best = texts

    for kind, argument in _flat(items):
        if kind is sre.LITERAL and argument < 128:
            run += chr(argument).lower()
            continue
        if kind is sre.AT:  # an anchor takes nothing: the run goes on
            continue
        offer(frozenset({run}) if run else None)
        run = ""
        if kind is sre.BRANCH:
            parts = [_sequence(list(branch)) for branch in argument[1]]
            if all(parts):
                offer(frozenset().union(*(p for p in parts if p)))
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT) and argument[0] >= 1:
            offer(_sequence(list(argument[2])))
    offer(frozenset({run}) if run else None)
    return best


def _flat(items: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Groups opened, single-letter classes (`[.]`) as letters, and what is there exactly once repeated as itself."""
    found: list[tuple[Any, Any]] = []
    for kind, argument in items:
        if kind is sre.SUBPATTERN:
            found.extend(_flat(list(argument[3])))
        elif kind is sre.IN and len(argument) == 1 and argument[0][0] is sre.LITERAL:
            found.append(argument[0])
        elif kind is sre.IN and _one_letter(argument):
            found.append((sre.LITERAL, ord(_one_letter(argument))))
        else:
            found.append((kind, argument))
    return found


def _one_letter(members: Sequence[tuple[Any, Any]]) -> str:
    """The letter of a class such as ``[aA]``, or nothing."""
    if all(k is sre.LITERAL and v < 128 for k, v in members):
        letters = {chr(v).lower() for _, v in members}
        if len(letters) == 1:
            return letters.pop()
    return ""
