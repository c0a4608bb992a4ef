"""A rule's own look-back, taken out of its query."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tocsin.detect.recent import without_recency


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("T | where TimeGenerated > ago(1h) | where A == 1", "T | where true | where A == 1"),
        ("T | where A == 1 and TimeGenerated >= ago(1d)", "T | where A == 1 and true"),
        ("T | where (Timestamp > ago(1h)) and A == 1", "T | where (true) and A == 1"),
        ("let l = 2h; T | where TimeGenerated > ago(l)", "let l = 2h; T | where true"),
        ("T | where ago(1h) < TimeGenerated", "T | where true"),
        ("T | where TimeGenerated between (ago(1h) .. now())", "T | where true"),
        ("T | where TimeGenerated > ago(5m)", None),
        ("T | where A == 1", None),
        ("T | where TimeGenerated > ago(1h) or A == 1", None),
        ("T | where TimeGenerated < ago(1h)", None),
        ("T | extend TimeGenerated = X | where TimeGenerated > ago(1h)", None),
        ("T | where TimeGenerated between (ago(2h) .. ago(1h))", None),
        ("T | where EventTime > ago(1h)", None),
        ("T | where TimeGenerated > ago(n)", None),
    ],
)
def test_recency(query: str, expected: str | None) -> None:
    assert without_recency(query, timedelta(minutes=10)) == expected
