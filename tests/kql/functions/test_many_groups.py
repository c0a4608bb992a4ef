"""Capture groups beyond those that the engine numbers."""

from __future__ import annotations

import pytest

from tests.kql.functions.harness import run
from tocsin.kql import KqlErrors

PATTERN = "".join(f"({letter})" for letter in "abcdefghijkl") + "(z)?"


def test_groups_above_nine() -> None:
    calls = ", ".join(f"extract('{PATTERN}', {group}, 'xabcdefghijkl')" for group in (0, 9, 10, 12, 13, 14))
    assert run(f"print {calls}, extract('{PATTERN}', 11, '')") == [["abcdefghijkl", "i", "j", "l", "", "", ""]]


def test_of_a_pattern_in_a_column_they_are_refused() -> None:
    with pytest.raises(KqlErrors, match="above 9"):
        run("print p = '(a)' | extend r = extract(p, 10, 'a')")
