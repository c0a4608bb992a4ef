"""Rules of one kind of event, compiled together: which rules hold for an event, by the classes of its fields' values.

A `Program` is made for one (source, channel, event id). Checks on what is constant there are folded away, so most rules vanish or shrink.
A `Layout` is a program for events that have the same field names: it knows where each field of a rule is found, and which are missing in
all of them.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tocsin.detect.sigma.checks import Check, Reference, as_text
from tocsin.detect.sigma.computed import COMPUTED
from tocsin.detect.sigma.costs import Costs
from tocsin.detect.sigma.fields import FieldTable, KeywordTable
from tocsin.detect.sigma.logsource import Binding, plain_name
from tocsin.detect.sigma.tree import FALSE, KEYWORD, TRUE, All, Leaf, Node, Not, Some, leaves, rewrite

__all__ = ["Bound", "Code", "Layout", "Program"]

Test = Callable[[frozenset[int]], bool]
VERDICTS = 200_000
"""Verdicts that a layout remembers before it starts anew."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A rule at one of its bindings. `number` identifies the rule to the caller; `events` are the only event ids (as text) with which it can hold."""

    number: int
    tree: Node
    binding: Binding
    events: frozenset[str] | None = None


@dataclass(slots=True)
class Layout:
    """Where the fields of events of one shape are: `slots` are (table, getter name) pairs; see `Program.layout`."""

    slots: list[tuple[FieldTable, str]]
    constant: frozenset[int]
    verdicts: dict[tuple[frozenset[int], ...], tuple[int, ...]] = field(default_factory=dict)


class Code(NamedTuple):
    """A program as arrays of 32-bit numbers: see `Program.code` and ``holds`` in ``_kernel.c``."""

    code: bytes
    starts: bytes
    rules: bytes
    leaf_starts: bytes
    leaf_rules: bytes
    always: bytes


LEAF, NOT, ALL, SOME = range(4)


class Program:
    """The rules that events of one kind can satisfy.

    `constants` are fields with one value for all of these events (lower case name → text). Slots are Sigma field names resolved by their
    binding: plain source names, computed ones (``@…``), ``""`` for the whole event, and ``a\\x00b`` for a pair.
    """

    def __init__(self, rules: Iterable[Bound], constants: Mapping[str, str], costs: Costs | None = None) -> None:
        self._numbers: dict[tuple[str, Check], int] = {}
        self._rules: list[tuple[int, Node]] = []
        self._tests: dict[int, Test] = {}
        self._by_leaf: dict[int, list[int]] = defaultdict(list)
        self._always: list[int] = []
        by_slot: dict[str, dict[Check, int]] = defaultdict(dict)
        for bound in rules:
            tree = rewrite(bound.tree, _resolver(bound.binding, constants))
            if bound.binding.where != TRUE:
                plain = Binding(bound.binding.source)
                tree = rewrite(All((bound.binding.where, tree)), _resolver(plain, constants, resolved=True))
            if tree == FALSE:
                continue
            for leaf in leaves(tree):
                key = (leaf.field, leaf.check)
                if key not in self._numbers:
                    self._numbers[key] = by_slot[leaf.field][leaf.check] = len(self._numbers)
            at = len(self._rules)
            self._rules.append((bound.number, tree))
            needed = self._needed(tree)
            if needed is None:
                self._always.append(at)
            else:
                for leaf_id in needed[1]:
                    self._by_leaf[leaf_id].append(at)
        self.tables = {s: KeywordTable(c) if s == KEYWORD else FieldTable(c, costs=costs) for s, c in by_slot.items()}
        self._layouts: dict[tuple[str, ...], Layout] = {}

    @property
    def numbers(self) -> frozenset[int]:
        """The rules that can hold."""
        return frozenset(number for number, _ in self._rules)

    @property
    def empty(self) -> bool:
        """True when no rule can hold."""
        return not self._rules

    def __len__(self) -> int:
        return len(self._rules)

    # ------------------------------------------------------------------ layouts

    def layout(self, names: tuple[str, ...], more: Mapping[str, str] | None = None) -> Layout:
        """The layout of events whose own fields have these names; `more` maps plain names of other columns to their getter."""
        found = self._layouts.get(names)
        if found is None:
            if len(self._layouts) >= 4096:
                self._layouts.clear()  # a sender of endless new field names costs time, not memory
            found = self._layouts[names] = self._make_layout(names, more or {})
        return found

    def _make_layout(self, names: tuple[str, ...], more: Mapping[str, str]) -> Layout:
        exact = set(names)
        plain: dict[str, str] = {}
        for name in names:
            plain.setdefault(plain_name(name), name)
        slots: list[tuple[FieldTable, str]] = []
        constant: set[int] = set()
        for slot, table in self.tables.items():
            getter = _getter(slot, exact, plain, more)
            if getter is None:
                constant |= table.missing
            else:
                slots.append((table, getter))
        return Layout(slots, frozenset(constant))

    # ------------------------------------------------------------------ verdicts

    def verdict(self, layout: Layout, classes: tuple[frozenset[int], ...]) -> tuple[int, ...]:
        """Numbers of the rules that hold for fields of those classes."""
        found = layout.verdicts.get(classes)
        if found is None:
            if len(layout.verdicts) >= VERDICTS:
                layout.verdicts.clear()
            found = layout.verdicts[classes] = self.judge(layout.constant.union(*classes))
        return found

    def judge(self, held: frozenset[int]) -> tuple[int, ...]:
        """Numbers of the rules that hold where these checks do."""
        by_leaf = self._by_leaf
        candidates = {at for leaf in held if leaf in by_leaf for at in by_leaf[leaf]}
        candidates.update(self._always)
        found = set()
        for at in candidates:
            test = self._tests.get(at)
            if test is None:
                test = self._tests[at] = self._test(self._rules[at][1])  # most rules are never asked
            if test(held):
                found.add(self._rules[at][0])
        return tuple(sorted(found))

    def code(self) -> Code:
        """The rules as numbers, for the kernel."""
        code = array("I")
        starts = array("I")
        for _, tree in self._rules:
            starts.append(len(code))
            self._encode(tree, code)
        leaf_starts, leaf_rules = array("I", [0]), array("I")
        for number in range(len(self._numbers)):
            leaf_rules.extend(self._by_leaf.get(number, ()))
            leaf_starts.append(len(leaf_rules))
        rules = array("I", [number for number, _ in self._rules])
        return Code(*(a.tobytes() for a in (code, starts, rules, leaf_starts, leaf_rules, array("I", self._always))))

    def _encode(self, node: Node, code: array[int]) -> None:
        match node:
            case Leaf(name, check):
                code.extend((LEAF, self._numbers[name, check]))
            case Not(part):
                code.append(NOT)
                self._encode(part, code)
            case All(parts) | Some(parts):
                code.extend((ALL if isinstance(node, All) else SOME, len(parts), 0))
                end = len(code) - 1
                # Leaves first: they cost least.
                for part in sorted(parts, key=lambda p: not isinstance(p, Leaf)):
                    self._encode(part, code)
                code[end] = len(code)

    # ------------------------------------------------------------------ compiling

    def _test(self, node: Node) -> Test:
        """A function of the checks that hold."""
        match node:
            case Leaf(name, check):
                number = self._numbers[name, check]
                return lambda held: number in held
            case Not(part):
                inner = self._test(part)
                return lambda held: not inner(held)
            case All(parts):
                own, others = self._split(parts)
                if not others:
                    return own.issubset
                if not own:
                    return lambda held: all(t(held) for t in others)
                return lambda held: own <= held and all(t(held) for t in others)
            case Some(parts):
                own, others = self._split(parts)
                if not others:
                    return lambda held: not own.isdisjoint(held)
                return lambda held: not own.isdisjoint(held) or any(t(held) for t in others)

    def _split(self, parts: Sequence[Node]) -> tuple[frozenset[int], list[Test]]:
        own = frozenset(self._numbers[p.field, p.check] for p in parts if isinstance(p, Leaf))
        return own, [self._test(p) for p in parts if not isinstance(p, Leaf)]

    def _needed(self, node: Node) -> tuple[float, frozenset[int]] | None:
        """Checks of which one must hold for the node to, the rarest such set, with its weight; None where there is none."""
        match node:
            case Leaf(name, check):
                return check.rarity, frozenset({self._numbers[name, check]})
            case Not():
                return None
            case All(parts):
                options = [n for p in parts if (n := self._needed(p)) is not None]
                return min(options, key=lambda n: n[0], default=None)
            case Some(parts):
                found = [self._needed(p) for p in parts]
                if not found or any(n is None for n in found):
                    return None
                known = [n for n in found if n is not None]
                return sum(n[0] for n in known), frozenset().union(*(n[1] for n in known))


def _resolver(binding: Binding, constants: Mapping[str, str], *, resolved: bool = False) -> Callable[[Leaf], Node]:
    """Replaces Sigma's field names by slots and judges checks on constants."""

    def slot(name: str) -> str:
        return name if resolved or name == KEYWORD else binding.fields.get(name.lower(), name)

    def change(leaf: Leaf) -> Node:
        name = slot(leaf.field)
        if isinstance(leaf.check, Reference):
            if "\x00" in name:
                return leaf
            return Leaf(f"{name}\x00{slot(leaf.check.field)}", leaf.check)
        value = constants.get(name.lower())
        if value is None:
            return Leaf(name, leaf.check)
        return TRUE if leaf.check.holds(value) else FALSE

    return change


def _getter(slot: str, exact: set[str], plain: Mapping[str, str], more: Mapping[str, str]) -> str | None:
    """How to read a slot from an event with these field names; None where it is missing in all of them."""
    if slot == KEYWORD:
        return slot
    if "\x00" in slot:
        one, other = (_getter(s, exact, plain, more) for s in slot.split("\x00"))
        return None if one is None or other is None else f"{one}\x00{other}"
    if slot.startswith("@"):
        return slot if slot in COMPUTED else None
    if slot in exact:
        return slot
    short = plain_name(slot)
    if short in plain:
        return plain[short]
    if short in more:
        return more[short]
    if "." in slot:
        head, _, path = slot.partition(".")
        base = head if head in exact else plain.get(plain_name(head))
        if base is not None:
            return f"{base}\x01{path}"
    return None


def whole_text(values: Collection[Any]) -> str:
    """An event as one text, for keywords."""
    try:
        return "\n".join(values)
    except TypeError:  # something else than text among them
        return "\n".join(as_text(v) for v in values if v is not None)
