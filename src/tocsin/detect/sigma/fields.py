"""All checks on one field at once: a value to its class, the set of checks that hold.

Two values of one class can't be told apart by any rule, and values repeat, so a class is found once a value and then looked up (97 % of values of
real Windows events are old acquaintances; `bench/`). Equal, prefix and suffix texts are dictionary look-ups by length; texts within a value
are found through the rarest run of four characters of each; expressions go through one RE2 set.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import re2  # type: ignore[import-untyped]

from tocsin.detect.sigma.checks import Check, Glob, Reference, Regex, Text, as_text

__all__ = ["MISSING", "FieldTable", "KeywordTable"]

MISSING = None
"""The value of a field that isn't there."""

GRAM = 4
LONG = 160
"""Characters above which runs are looked for by arrays instead of sets."""
SMALL_SET = 2
_NONE: frozenset[int] = frozenset()


class FieldTable(dict[Any, frozenset[int]]):
    """Maps a field's value (text, number, tuple of values, None) to the ids of the checks that hold.

    A dict that fills itself: ``table[value]``. It forgets everything once it holds `limit` characters of values, so that a sender of
    endless new command lines costs time, not memory.
    """

    def __init__(self, checks: Mapping[Check, int], *, limit: int = 32_000_000) -> None:
        super().__init__()
        self._limit = limit
        self._held = 0
        self._interned: dict[frozenset[int], frozenset[int]] = {}
        self.missing = frozenset(i for c, i in checks.items() if c.if_missing)
        self[MISSING] = self.missing
        self._plain = _Texts([(c, i) for c, i in checks.items() if isinstance(c, Text) and not c.cased])
        self._cased = _Texts([(c, i) for c, i in checks.items() if isinstance(c, Text) and c.cased])
        self._globs = _Guarded([(c, i, c.literal) for c, i in checks.items() if isinstance(c, Glob) and not c.cased])
        self._regexes = _Regexes([(c, i) for c, i in checks.items() if isinstance(c, Regex)])
        special = (Text, Glob, Regex, Reference)
        self._others = [
            (c, i) for c, i in checks.items() if not isinstance(c, special) or (isinstance(c, Glob) and c.cased)
        ]
        self._pairs = [(c, i) for c, i in checks.items() if isinstance(c, Reference)]

    def __missing__(self, value: Any) -> frozenset[int]:
        found = self._find(value)
        found = self._interned.setdefault(found, found)
        self._held += len(value) + 64 if isinstance(value, str) else 128
        if self._held > self._limit:
            self.clear()
            self._held = 0
            self[MISSING] = self.missing
        self[value] = found
        return found

    def _find(self, value: Any) -> frozenset[int]:
        if isinstance(value, tuple):
            if self._pairs:
                return self._find_pair(value)
            return frozenset().union(*(self[v] for v in value)) if value else self.missing
        text = as_text(value)
        lower = text.lower()
        found: set[int] = set()
        grams = self._plain.find(lower, found)
        self._globs.find(lower, grams, found)
        if self._cased.count:
            self._cased.find(text, found)
        self._regexes.find(text, found)
        for check, number in self._others:
            if check.holds(text):
                found.add(number)
        return frozenset(found) if found else _NONE

    def _find_pair(self, value: tuple[Any, ...]) -> frozenset[int]:
        one, other = value
        if one is MISSING or other is MISSING:
            return _NONE
        return frozenset(i for c, i in self._pairs if c.holds_pair(as_text(one), as_text(other)))


class KeywordTable(FieldTable):
    """The checks on a whole event's text. Whole events hardly repeat, so nothing is remembered; plain texts are looked for all at once."""

    def __init__(self, checks: Mapping[Check, int]) -> None:
        plain = [
            (c.text, i) for c, i in checks.items() if isinstance(c, Text) and c.how == "in" and not c.cased and c.text
        ]
        super().__init__(checks if len(plain) < len(checks) else {})
        self._numbers = [i for _, i in plain]
        self._set: Any = None
        if len(plain) == len(checks):
            options = re2.Options()
            options.max_mem = 64 << 20
            options.literal = True
            self._set = re2.Set.SearchSet(options)
            for text, _ in plain:
                self._set.Add(text)
            self._set.Compile()

    def __missing__(self, value: Any) -> frozenset[int]:
        if self._set is None:
            return self._find(value)
        found = self._set.Match(value.lower())
        return frozenset(self._numbers[i] for i in found) if found else _NONE


class _Texts:
    """Equal, prefix, suffix and substring texts."""

    def __init__(self, checks: Sequence[tuple[Text, int]]) -> None:
        self.count = len(checks)
        self._equal = {c.text: i for c, i in checks if c.how == "eq"}
        self._starts = _by_length((c.text, i) for c, i in checks if c.how == "start")
        self._ends = _by_length((c.text, i) for c, i in checks if c.how == "end")
        within = [(c.text, i) for c, i in checks if c.how == "in"]
        self._empty = [i for t, i in within if not t]
        common: Counter[str] = Counter(g for t, _ in within for g in _grams(t))
        common.update(c for t, _ in within for c in t)
        self._short: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for text, number in within:
            if 0 < len(text) < GRAM:
                # Values are mostly ASCII letters: a character outside them is rare whatever the rules say.
                self._short[min(text, key=lambda c: (c.isascii(), c.isalnum(), common[c], c))].append((text, number))
        self._within: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for text, number in within:
            if len(text) >= GRAM:
                self._within[min(_grams(text), key=lambda g: (common[g], g))].append((text, number))
        self._words: _Words | None = None

    def find(self, value: str, found: set[int]) -> set[str] | None:
        """Adds what holds; returns the value's grams where they were needed."""
        number = self._equal.get(value)
        if number is not None:
            found.add(number)
        size = len(value)
        for length, texts in self._starts:
            if length > size:
                break
            number = texts.get(value[:length])
            if number is not None:
                found.add(number)
        for length, texts in self._ends:
            if length > size:
                break
            number = texts.get(value[size - length :])
            if number is not None:
                found.add(number)
        found.update(self._empty)
        if self._short:
            for char in self._short.keys() & set(value):
                for text, each in self._short[char]:
                    if text in value:
                        found.add(each)
        if not self._within:
            return None
        if size > LONG:
            if self._words is None:
                self._words = _Words(self._within)
            for texts_ in self._words.candidates(value):
                for text, each in texts_:
                    if text in value:
                        found.add(each)
            return None
        grams = {value[i : i + GRAM] for i in range(size - GRAM + 1)}
        for gram in self._within.keys() & grams:
            for text, each in self._within[gram]:
                if text in value:
                    found.add(each)
        return grams


class _Words:
    """The same search for long values: runs of four bytes of UTF-8, all at once."""

    _SLOTS = 1 << 16
    _FACTOR = np.uint32(2654435761)

    def __init__(self, within: Mapping[str, list[tuple[str, int]]]) -> None:
        self._by_word: dict[int, list[list[tuple[str, int]]]] = defaultdict(list)
        for gram, texts in within.items():
            self._by_word[int.from_bytes(gram.encode("utf-8", "surrogatepass")[:4], "little")].append(texts)
        self._filled = np.zeros(self._SLOTS, np.bool_)
        self._filled[self._slots(np.array(list(self._by_word), np.uint32))] = True

    def _slots(self, words: Any) -> Any:
        return (words * self._FACTOR) >> np.uint32(16)

    def candidates(self, value: str) -> Iterator[list[tuple[str, int]]]:
        """The texts whose chosen run is in the value."""
        data = np.frombuffer(value.encode("utf-8", "surrogatepass"), np.uint8).astype(np.uint32)
        words = data[:-3] | data[1:-2] << np.uint32(8) | data[2:-1] << np.uint32(16) | data[3:] << np.uint32(24)
        for word in set(words[self._filled[self._slots(words)]].tolist()):
            yield from self._by_word.get(word, ())


class _Guarded:
    """Checks that are tried only where a text that they need is in the value."""

    def __init__(self, checks: Sequence[tuple[Check, int, str]]) -> None:
        self._always = [(c, i) for c, i, literal in checks if len(literal) < GRAM]
        self._by_gram: dict[str, list[tuple[str, Check, int]]] = defaultdict(list)
        for check, number, literal in checks:
            if len(literal) >= GRAM:
                self._by_gram[literal[:GRAM]].append((literal, check, number))

    def find(self, value: str, grams: set[str] | None, found: set[int]) -> None:
        """Adds what holds."""
        for check, number in self._always:
            if check.holds(value):
                found.add(number)
        if self._by_gram:
            for gram in self._by_gram.keys() & grams if grams is not None else self._by_gram:
                for literal, check, number in self._by_gram[gram]:
                    if literal in value and check.holds(value):
                        found.add(number)


class _Regexes:
    """Regular expressions; more than a few are searched for at once."""

    def __init__(self, checks: Sequence[tuple[Regex, int]]) -> None:
        self._single = list(checks)
        self._numbers: list[int] = []
        self._set: Any = None
        if len(checks) > SMALL_SET:
            options = re2.Options()
            options.max_mem = 64 << 20
            every = re2.Set.SearchSet(options)
            for check, number in checks:
                every.Add(check.pattern)
                self._numbers.append(number)
            every.Compile()
            self._set, self._single = every, []

    def find(self, value: str, found: set[int]) -> None:
        """Adds what holds."""
        if self._set is not None:
            found.update(self._numbers[i] for i in self._set.Match(value) or ())
        for check, number in self._single:
            if check.holds(value):
                found.add(number)


def _grams(text: str) -> list[str]:
    return [text[i : i + GRAM] for i in range(len(text) - GRAM + 1)]


def _by_length(texts: Iterable[tuple[str, int]]) -> list[tuple[int, dict[str, int]]]:
    lengths: dict[int, dict[str, int]] = defaultdict(dict)
    for text, number in texts:
        lengths[len(text)][text] = number
    return sorted(lengths.items())
