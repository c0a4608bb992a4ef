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


OPERATOR_UDFS = (
    Udf("q_term", ("VARCHAR", "VARCHAR", "BOOLEAN", "BOOLEAN"), "BOOLEAN", _term),
    Udf("q_terms", ("VARCHAR", "VARCHAR"), "BOOLEAN", _terms),
)
