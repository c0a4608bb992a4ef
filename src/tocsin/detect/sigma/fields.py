"""All checks on one field at once: a value to its class, the set of checks that hold.

Two values of one class can't be told apart by any rule, and values repeat, so a class is found once a value and then looked up (97 % of values of
real Windows events are old acquaintances; `bench/`). Equal, prefix and suffix texts are dictionary look-ups by length; texts within a value
are found through the rarest run of four characters of each; expressions go through one RE2 set.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import re2  # type: ignore[import-untyped]

from tocsin.detect.sigma.checks import Check, Cidr, Exists, Glob, Null, Reference, Regex, Text, as_text
from tocsin.detect.sigma.literals import grows, least_length, needed_texts

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
        self.checks = checks
        self._limit = limit
        self._held = 0
        self._interned: dict[frozenset[int], frozenset[int]] = {}
        self.missing = frozenset(i for c, i in checks.items() if c.if_missing)
        self[MISSING] = self.missing
        self._plain = _Texts([(c, i) for c, i in checks.items() if isinstance(c, Text) and not c.cased])
        self._cased = _Texts([(c, i) for c, i in checks.items() if isinstance(c, Text) and c.cased])
        guarded: list[tuple[Check, int, frozenset[str]]] = []
        free: list[tuple[Regex, int]] = []
        for check, number in checks.items():
            if isinstance(check, Glob) and not check.cased:
                guarded.append((check, number, frozenset({check.literal})))
            elif isinstance(check, Regex):
                texts = needed_texts(check.pattern)
                if texts is None:
                    free.append((check, number))
                else:
                    guarded.append((check, number, texts))
        self._guarded = _Guarded(guarded)
        self._regexes = _Regexes([(c, i) for c, i in checks.items() if isinstance(c, Regex)])
        self._free = _Regexes(free)
        self._networks = _Networks([(c, i) for c, i in checks.items() if isinstance(c, Cidr)])
        special = (Text, Glob, Regex, Reference, Cidr)
        self._others = [
            (c, i) for c, i in checks.items() if not isinstance(c, special) or (isinstance(c, Glob) and c.cased)
        ]
        self._pairs = [(c, i) for c, i in checks.items() if isinstance(c, Reference)]

    def class_of(self, value: Any) -> frozenset[int]:
        """The checks that hold for a value, not remembered; equal answers are one object."""
        found = self._find(value)
        return self._interned.setdefault(found, found)

    def __missing__(self, value: Any) -> frozenset[int]:
        found = self.class_of(value)
        self._held += len(value) + 64 if isinstance(value, str) else 128
        if self._held > self._limit:
            self.clear()
            self._held = 0
            self[MISSING] = self.missing
        self[value] = found
        return found

    def _find(self, value: Any) -> frozenset[int]:
        if value is MISSING:
            return self.missing
        if isinstance(value, tuple):
            if self._pairs:
                return self._find_pair(value)
            return frozenset().union(*(self[v] for v in value)) if value else self.missing
        text = as_text(value)
        lower = text.lower()
        found: set[int] = set()
        grams = self._plain.find(lower, found)
        if self._cased.count:
            self._cased.find(text, found)
        if text.isascii():
            self._guarded.find(text, lower, grams, found)
            found.update(self.rest(text))
        else:
            # What an expression needs was found for ASCII only: (?i)s is also found in ſ.
            self._guarded.globs(lower, found)
            self._regexes.find(text, found)
            found.update(self.rest(text, free=False))
        return frozenset(found) if found else _NONE

    def rest(self, text: str, *, free: bool = True) -> set[int]:
        """The checks that hold of those which no text guards: networks, numbers, times, and expressions without a text that they need."""
        found: set[int] = set()
        if free:
            self._free.find(text, found)
        self._networks.find(text, found)
        for check, number in self._others:
            if check.holds(text):
                found.add(number)
        return found

    def rest_in(self) -> Callable[[bytes], list[int]] | None:
        """The same for ASCII texts as bytes; None where none can hold."""
        if not self.has_rest:
            return None
        together, single = self._free.parts()
        alone = [(c.finder, least_length(c.pattern), i) for c, i in single]
        if self._networks or any(not isinstance(c, Null | Exists) for c, _ in self._others):
            return lambda text: list(self.rest(text.decode()))

        def find(text: bytes) -> list[int]:
            found = together(text) if together else []
            size = len(text)
            for finder, least, number in alone:
                if size >= least and finder(text):
                    found.append(number)
            return found

        return find

    @property
    def has_rest(self) -> bool:
        """Whether `rest` can hold for some value."""
        return bool(self._free or self._networks or any(not isinstance(c, Null | Exists) for c, _ in self._others))

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
        self.checks = checks
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
    """Checks that are tried only where one of the texts that they need is in the value."""

    def __init__(self, checks: Sequence[tuple[Check, int, frozenset[str]]]) -> None:
        self._globs = [(c, i) for c, i, _ in checks if isinstance(c, Glob)]
        self._short = [(c, i, texts) for c, i, texts in checks if min(map(len, texts)) < GRAM]
        self._by_gram: dict[str, list[tuple[str, Check, int]]] = defaultdict(list)
        for check, number, texts in checks:
            if min(map(len, texts)) >= GRAM:
                for text in texts:
                    self._by_gram[text[-GRAM:]].append((text, check, number))

    def find(self, text: str, lower: str, grams: set[str] | None, found: set[int]) -> None:
        """Adds what holds of an ASCII value."""
        for check, number, texts in self._short:
            if any(t in lower for t in texts) and check.holds(text):
                found.add(number)
        if not self._by_gram:
            return
        tried: set[int] = set()
        for gram in self._by_gram.keys() & grams if grams is not None else self._by_gram:
            for needed, check, number in self._by_gram[gram]:
                if number not in tried and needed in lower:
                    tried.add(number)
                    if check.holds(text):
                        found.add(number)

    def globs(self, lower: str, found: set[int]) -> None:
        """Adds the texts with wildcards that hold, whatever they need."""
        found.update(i for c, i in self._globs if c.holds(lower))


class _Networks:
    """Networks by length of prefix: an address is read once, and looked up once a length."""

    def __init__(self, checks: Sequence[tuple[Cidr, int]]) -> None:
        self._by_prefix: dict[tuple[int, int], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for check, number in checks:
            network = ipaddress.ip_network(check.network)
            shift = network.max_prefixlen - network.prefixlen
            self._by_prefix[network.version, shift][int(network.network_address) >> shift].append(number)

    def __bool__(self) -> bool:
        return bool(self._by_prefix)

    def find(self, value: str, found: set[int]) -> None:
        """Adds the networks that hold the address."""
        if not self._by_prefix:
            return
        try:
            address = ipaddress.ip_address(value.strip())
        except ValueError:
            return
        number = int(address)
        for (version, shift), networks in self._by_prefix.items():
            if version == address.version:
                found.update(networks.get(number >> shift, ()))


class _Regexes:
    """Regular expressions; more than a few are searched for at once."""

    def __init__(self, checks: Sequence[tuple[Regex, int]]) -> None:
        self._count = len(checks)
        self._single = [(c, i) for c, i in checks if len(checks) <= SMALL_SET or grows(c.pattern)]
        self._measured = [(c, i, least_length(c.pattern)) for c, i in self._single]
        self._numbers: list[int] = []
        self._set: Any = None
        together = [(c, i) for c, i in checks if len(checks) > SMALL_SET and not grows(c.pattern)]
        if together:
            options = re2.Options()
            options.max_mem = 64 << 20
            every = re2.Set.SearchSet(options)
            for check, number in together:
                every.Add(check.pattern)
                self._numbers.append(number)
            every.Compile()
            self._set = every

    def __bool__(self) -> bool:
        return self._count > 0

    def parts(self) -> tuple[Callable[[bytes], list[int]] | None, list[tuple[Regex, int]]]:
        """What is searched for at once, as a function of a text in UTF-8, and what is searched for by itself."""
        if self._set is None:
            return None, self._single
        match, numbers = self._set.Match, self._numbers
        return lambda text: [numbers[i] for i in match(text) or ()], self._single

    def find(self, value: str, found: set[int]) -> None:
        """Adds what holds."""
        if self._set is not None:
            found.update(self._numbers[i] for i in self._set.Match(value) or ())
        for check, number, least in self._measured:
            if len(value) >= least and check.holds(value):
                found.add(number)


def _grams(text: str) -> list[str]:
    return [text[i : i + GRAM] for i in range(len(text) - GRAM + 1)]


def _by_length(texts: Iterable[tuple[str, int]]) -> list[tuple[int, dict[str, int]]]:
    lengths: dict[int, dict[str, int]] = defaultdict(dict)
    for text, number in texts:
        lengths[len(text)][text] = number
    return sorted(lengths.items())
