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

import numpy as np
import re2  # type: ignore[import-untyped]

from tocsin.detect.sigma.checks import Check, Text

__all__ = ["Keywords", "keywords_of"]

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

    def suspicious(self, text: bytes) -> bool:
        """Whether a line, or several, may hold a keyword."""
        return bool(self._set.Match(text)) or _odd(text)

    def find(self, body: bytes, starts: Any) -> set[int]:
        """Numbers of the lines of a body that may hold a keyword; `starts` are the lines' beginnings (an array)."""
        data = np.frombuffer(body, np.uint8)
        if len(data) < 4:
            return set()
        folded = data | np.uint8(32)
        found: set[int] = set()
        for probe in self.probes:
            letters = [c | 32 for c in probe]
            mask = folded[: len(folded) - len(letters) + 1] == letters[0]
            for offset, letter in enumerate(letters[1:], 1):
                mask &= folded[offset : len(folded) - len(letters) + 1 + offset] == letter
            if mask.any():
                found.update((np.searchsorted(starts, np.flatnonzero(mask), "right") - 1).tolist())
        return {line for line in found if self.suspicious(_line(body, starts, line))} | _odd_lines(body, data, starts)


def _line(body: bytes, starts: Any, number: int) -> bytes:
    end = int(starts[number + 1]) if number + 1 < len(starts) else len(body)
    return body[int(starts[number]) : end]


def _odd(text: bytes) -> bool:
    """Whether characters may be written otherwise than as they are."""
    if b"\xe2\x84\xaa" in text or b"\xc4\xb0" in text:
        return True
    return (b"\\u" in text or b"\\/" in text) and _ESCAPE.search(text) is not None


_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\[u/]")


def _odd_lines(body: bytes, data: Any, starts: Any) -> set[int]:
    slashes = data[:-1] == 92
    after = data[1:]
    places = np.flatnonzero(slashes & ((after == 117) | (after == 47)))
    alone = [p for p in places.tolist() if body[p - 1] != 92 or _alone(body, p)]
    found = set((np.searchsorted(starts, alone, "right") - 1).tolist())
    if not body.isascii():
        kelvin = (data[:-2] == 0xE2) & (data[1:-1] == 0x84) & (data[2:] == 0xAA)
        dotted = (data[:-1] == 0xC4) & (data[1:] == 0xB0)
        for places in (np.flatnonzero(kelvin), np.flatnonzero(dotted)):
            found.update((np.searchsorted(starts, places, "right") - 1).tolist())
    return found


def _alone(body: bytes, at: int) -> bool:
    """Whether a backslash isn't itself escaped."""
    first = at
    while first and body[first - 1] == 92:
        first -= 1
    return (at - first) % 2 == 0


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
    options = re2.Options()
    options.literal = True
    options.case_sensitive = False
    every = re2.Set.SearchSet(options)
    for word in words:
        every.Add(word)
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
