"""Keywords in JSON lines: pieces that every line with a keyword holds, so that most lines needn't be read for them.

A line is the event as JSON: a keyword's letters, digits and most punctuation stand in it as they are, a backslash, quote or slash may not.
`word` is the longest piece of a keyword that does; `probes` are a few short pieces, one in each word, that are rare in logs. Lines with
``\\u`` or ``\\/`` escapes or letters whose small form is ASCII though they aren't (K for kelvin, İ) are read whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import re2  # type: ignore[import-untyped]

from tocsin.detect.sigma.checks import Check, Text

__all__ = ["Keywords", "keywords_of"]

_ODD = ("\u212a", "\u0130", r"(?:^|[^\\])(?:\\\\)*\\[u/]")
"""Where characters may be written otherwise than as they are."""
MOST_PROBES = 12
MOST_WORDS = 200
_SAFE = re.compile(r'[^"\\/\x00-\x1f\x7f-\U0010ffff]+')
_COMMON = {" ": 0.06, ".": 0.02, "-": 0.02, ":": 0.02, "_": 0.005, ",": 0.01, "=": 0.004, "0": 0.05}
for _letters, _often in (
    ("eiont", 0.05),
    ("asrlcdmw", 0.03),
    ("pu123456789hfgy", 0.02),
    ("vbkx", 0.008),
    ("jqz", 0.002),
):
    _COMMON.update(dict.fromkeys(_letters, _often))


@dataclass(frozen=True, eq=False)
class Keywords:
    """What to look for in lines: `words` and `probes`, lower case."""

    words: tuple[str, ...]
    probes: tuple[bytes, ...]
    _set: Any = field(repr=False, compare=False)

    def suspicious(self, line: bytes) -> bool:
        """Whether a line may hold a keyword."""
        return bool(self._set.Match(line))


def keywords_of(checks: Iterable[Check]) -> Keywords | None:
    """What to look for, None where a check isn't a plain text or has no piece of use: every event must then be read."""
    return _keywords(frozenset(checks))


@lru_cache(maxsize=256)
def _keywords(checks: frozenset[Check]) -> Keywords | None:
    words: list[str] = []
    for check in checks:
        if not isinstance(check, Text) or check.how != "in" or check.cased or not check.text.isascii():
            return None
        word = max(_SAFE.findall(check.text), key=len, default="")
        if len(word) < 2:
            return None
        words.append(word)
    words.sort()
    probes = _probes(words)
    if len(probes) > MOST_PROBES or len(words) > MOST_WORDS:
        return None
    every = re2.Set.SearchSet()
    for word in words:
        every.Add(f"(?i){re2.escape(word)}")
    for odd in _ODD:
        every.Add(odd)
    every.Compile()
    return Keywords(tuple(words), tuple(p.encode() for p in probes), every)


def _probes(words: Sequence[str]) -> list[str]:
    """Few, rare pieces of two to four characters, one in every word. Their first two characters are looked for first, so these must be rare."""
    left = set(words)
    found: list[str] = []
    while left and len(found) <= MOST_PROBES:
        offers: dict[str, int] = {}
        for word in left:
            for size in (2, 3, 4):
                for piece in {word[i : i + size] for i in range(len(word) - size + 1)}:
                    offers[piece] = offers.get(piece, 0) + 1
        best = min(offers, key=lambda p: ((_share(p[:2]) + _share(p)) / offers[p] ** 2, p))
        found.append(best)
        left = {w for w in left if best not in w}
    return found


def _share(piece: str) -> float:
    """About how often a piece is found at a place of a log; the same sign twice is rare, letters come in words."""
    share = 1.0
    for before, char in zip((" ", *piece), piece, strict=False):
        share *= _COMMON.get(char, 0.003) * (0.1 if before == char and not char.isalnum() else 1)
    return share + 1e-7
