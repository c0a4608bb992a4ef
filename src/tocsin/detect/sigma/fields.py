"""All checks on one field at once: a value to its class, the set of checks that hold.

Two values of one class can't be told apart by any rule, and values repeat, so a class is found once a value and then looked up (97 % of values of
real Windows events are old acquaintances; `bench/`). Equal, prefix and suffix texts are dictionary look-ups by length; texts within a value
are found by one Aho-Corasick automaton, and so is what globs and expressions need; these are tried only then.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import re2  # type: ignore[import-untyped]
from ahocorasick_rs import AhoCorasick, MatchKind

from tocsin.detect.sigma.checks import Check, Cidr, Exists, Glob, Null, Reference, Regex, Text, as_text
from tocsin.detect.sigma.costs import Costs
from tocsin.detect.sigma.literals import grows, least_length, needed_texts

__all__ = ["MISSING", "FieldTable", "KeywordTable"]

MISSING = None
"""The value of a field that isn't there."""

SMALL_SET = 2
_NONE: frozenset[int] = frozenset()


class FieldTable(dict[Any, frozenset[int]]):
    """Maps a field's value (text, number, tuple of values, None) to the ids of the checks that hold.

    A dict that fills itself: ``table[value]``. It forgets everything once it holds `limit` characters of values, so that a sender of
    endless new command lines costs time, not memory.
    """

    def __init__(self, checks: Mapping[Check, int], *, limit: int = 32_000_000, costs: Costs | None = None) -> None:
        super().__init__()
        self._costs = costs
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
        self._guarded = {i: c for c, i, _ in guarded}
        self._globs = [(c, i) for c, i, _ in guarded if isinstance(c, Glob)]
        within = [(c.text, i) for c, i in checks.items() if isinstance(c, Text) and not c.cased and c.how == "in"]
        self._within = _Within([*within, *((text, i) for _, i, texts in guarded for text in texts)])
        self._regexes = _Regexes([(c, i) for c, i in checks.items() if isinstance(c, Regex)])
        self._free = _Regexes(free)
        self._tried = [c for c, _ in free]
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
        self._plain.find(lower, found)
        if self._cased.count:
            self._cased.find(text, found)
        inside = self._within.find(lower)
        if self._costs is not None and (self._tried or inside) and self._costs.due():
            self.measure([c for i in inside if isinstance(c := self._guarded.get(i), Regex)], text.encode())
        if text.isascii():
            guarded = self._guarded
            for number in inside:
                check = guarded.get(number)
                if check is None or check.holds(text):
                    found.add(number)
            found.update(self.rest(text))
        else:
            # What an expression needs was found for ASCII only: (?i)s is also found in ſ.
            found.update(inside.difference(self._guarded))
            found.update(i for c, i in self._globs if c.holds(lower))
            self._regexes.find(text, found)
            found.update(self.rest(text, free=False))
        return frozenset(found) if found else _NONE

    def measure(self, checks: Sequence[Regex], text: bytes) -> None:
        """Measures what expressions take on a text: these, and those that are tried on every text."""
        if self._costs is not None:
            self._costs.measure([*checks, *self._tried], text)

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
    """Equal, prefix and suffix texts, and those within where the case counts."""

    def __init__(self, checks: Sequence[tuple[Text, int]]) -> None:
        self.count = len(checks)
        self._equal = {c.text: i for c, i in checks if c.how == "eq"}
        self._starts = _by_length((c.text, i) for c, i in checks if c.how == "start")
        self._ends = _by_length((c.text, i) for c, i in checks if c.how == "end")
        self._within = _Within([(c.text, i) for c, i in checks if c.how == "in" and c.cased])

    def find(self, value: str, found: set[int]) -> None:
        """Adds what holds."""
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
        found.update(self._within.find(value))


class _Within:
    """Texts within a value, all at once."""

    def __init__(self, texts: Sequence[tuple[str, int]]) -> None:
        self._always = frozenset(i for t, i in texts if not t)
        by_text: dict[str, list[int]] = defaultdict(list)
        for text, number in texts:
            if text:
                by_text[text].append(number)
        self._numbers = list(by_text.values())
        # A surrogate has no UTF-8 form, and no value that was decoded holds one.
        self._automaton = AhoCorasick(list(by_text), matchkind=MatchKind.Standard) if by_text else None

    def find(self, value: str) -> set[int]:
        """The numbers of the texts in a value."""
        found = set(self._always)
        if self._automaton is not None:
            numbers = self._numbers
            for index in {match[0] for match in self._automaton.find_matches_as_indexes(value, overlapping=True)}:
                found.update(numbers[index])
        return found


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
        self._sets: list[tuple[Callable[[Any], Any], list[int]]] = []
        together = [(c, i) for c, i in checks if len(checks) > SMALL_SET and not grows(c.pattern)]
        for some in _portions(together):
            options = re2.Options()
            options.max_mem = 64 << 20
            every = re2.Set.SearchSet(options)
            for check, _ in some:
                every.Add(check.pattern)
            every.Compile()
            self._sets.append((every.Match, [i for _, i in some]))

    def __bool__(self) -> bool:
        return self._count > 0

    def parts(self) -> tuple[Callable[[bytes], list[int]] | None, list[tuple[Regex, int]]]:
        """What is searched for at once, as a function of a text in UTF-8, and what is searched for by itself."""
        if not self._sets:
            return None, self._single
        sets = self._sets
        if len(sets) == 1:
            ((match, numbers),) = sets
            return lambda text: [numbers[i] for i in match(text) or ()], self._single
        return lambda text: [numbers[i] for match, numbers in sets for i in match(text) or ()], self._single

    def find(self, value: str, found: set[int]) -> None:
        """Adds what holds."""
        for match, numbers in self._sets:
            found.update(numbers[i] for i in match(value) or ())
        for check, number, least in self._measured:
            if len(value) >= least and check.holds(value):
                found.add(number)


_SET_INSTRUCTIONS = 300_000
"""Instructions of the expressions that are searched for at once; RE2 refuses a set somewhere above a million in the memory that it gets."""


def _portions(checks: Sequence[tuple[Regex, int]]) -> Iterator[list[tuple[Regex, int]]]:
    """The expressions in portions that a set can hold."""
    portion: list[tuple[Regex, int]] = []
    size = 0
    for check, number in checks:
        if portion and size + check.size > _SET_INSTRUCTIONS:
            yield portion
            portion, size = [], 0
        portion.append((check, number))
        size += check.size
    if portion:
        yield portion


def _by_length(texts: Iterable[tuple[str, int]]) -> list[tuple[int, dict[str, int]]]:
    lengths: dict[int, dict[str, int]] = defaultdict(dict)
    for text, number in texts:
        lengths[len(text)][text] = number
    return sorted(lengths.items())
