"""Python functions behind the string operators: what a term is, for the few rows where ASCII does not settle it.

The SQL tests for a substring first, then for a term whose neighbours are ASCII; only rows that hold the needle beside a character outside
ASCII come here. (A regular expression with Unicode classes says it in SQL alone, but takes the engine ten milliseconds to compile
for each needle.)
"""

from __future__ import annotations

import unicodedata

import pyarrow as pa

from tocsin.kql.functions.model import Udf

__all__ = ["OPERATOR_UDFS", "SEPARATOR", "has_term"]

SEPARATOR = "\x01"
"""Between the needles of `q_terms`."""


def _is_term_character(char: str) -> bool:
    return char.isalnum() if char.isascii() else unicodedata.category(char)[0] in "LN"


def has_term(text: str, needle: str, before: bool = True, after: bool = True) -> bool:
    """True where `needle` stands in `text` between characters that are neither letters nor digits (at the sides asked for).

    A side of the needle that is itself no letter or digit needs no boundary.
    """
    if not needle:
        return True
    before = before and _is_term_character(needle[0])
    after = after and _is_term_character(needle[-1])
    at = text.find(needle)
    while at >= 0:
        end = at + len(needle)
        if not (before and at and _is_term_character(text[at - 1])) and not (
            after and end < len(text) and _is_term_character(text[end])
        ):
            return True
        at = text.find(needle, at + 1)
    return False


def _term(texts: pa.Array, needles: pa.Array, befores: pa.Array, afters: pa.Array) -> pa.Array:
    rows = zip(texts.to_pylist(), needles.to_pylist(), befores.to_pylist(), afters.to_pylist(), strict=True)
    return pa.array([has_term(t or "", n or "", b, a) for t, n, b, a in rows], pa.bool_())


def _terms(texts: pa.Array, needles: pa.Array) -> pa.Array:
    rows = zip(texts.to_pylist(), needles.to_pylist(), strict=True)
    return pa.array([any(has_term(t or "", n) for n in (ns or "").split(SEPARATOR)) for t, ns in rows], pa.bool_())


def components(nodes: list[int], starts: list[int], ends: list[int], strong: bool) -> list[int]:
    """The component of each node, numbered from 0 in the order of their first nodes."""
    from collections import defaultdict

    forwards: dict[int, list[int]] = defaultdict(list)
    backwards: dict[int, list[int]] = defaultdict(list)
    for a, z in zip(starts, ends, strict=True):
        forwards[a].append(z)
        backwards[z].append(a)
    if not strong:
        for a, z in zip(starts, ends, strict=True):
            forwards[z].append(a)
        return _flood(nodes, nodes, forwards)
    # Kosaraju: in the order of leaving a walk over the edges, the walk against the edges finds one component after another.
    return _flood(nodes, _leaving_order(nodes, forwards)[::-1], backwards)


def _leaving_order(nodes: list[int], edges: dict[int, list[int]]) -> list[int]:
    seen: set[int] = set()
    order: list[int] = []
    for root in nodes:
        if root in seen:
            continue
        seen.add(root)
        stack = [(root, iter(edges[root]))]
        while stack:
            here, following = stack[-1]
            onward = next((n for n in following if n not in seen), None)
            if onward is None:
                order.append(here)
                stack.pop()
            else:
                seen.add(onward)
                stack.append((onward, iter(edges[onward])))
    return order


def _flood(nodes: list[int], roots: list[int], edges: dict[int, list[int]]) -> list[int]:
    found: dict[int, int] = {}
    for root in roots:
        if root in found:
            continue
        found[root] = root
        stack = [root]
        while stack:
            for onward in edges[stack.pop()]:
                if onward not in found:
                    found[onward] = root
                    stack.append(onward)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(found[n], len(numbers)) for n in nodes]


def _components(nodes: pa.Array, starts: pa.Array, ends: pa.Array, strong: pa.Array) -> pa.Array:
    rows = zip(nodes.to_pylist(), starts.to_pylist(), ends.to_pylist(), strong.to_pylist(), strict=True)
    return pa.array([components(n or [], a or [], z or [], s) for n, a, z, s in rows], pa.list_(pa.int64()))


OPERATOR_UDFS = (
    Udf("q_term", ("VARCHAR", "VARCHAR", "BOOLEAN", "BOOLEAN"), "BOOLEAN", _term),
    Udf("q_components", ("BIGINT[]", "BIGINT[]", "BIGINT[]", "BOOLEAN"), "BIGINT[]", _components),
    Udf("q_terms", ("VARCHAR", "VARCHAR"), "BOOLEAN", _terms),
)
