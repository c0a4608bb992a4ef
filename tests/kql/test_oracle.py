"""The recorded answers of the real engine, where the corpus is at hand: how many agree must never fall."""

from __future__ import annotations

import pytest

from tests.kql import corpora
from tests.kql.executor import Executor

pytestmark = pytest.mark.skipif(not corpora.SHARED.exists(), reason="the recorded corpora are not on this machine")


def tally(corpus: str, executor: Executor, compare: object) -> dict[str, int]:
    """Outcomes by kind."""
    counts: dict[str, int] = {}
    for case in corpora.cases(corpus):
        kind, _ = corpora.outcome(executor, case, compare)
        counts[kind] = counts.get(kind, 0) + 1
    return counts


@pytest.mark.parametrize(("corpus", "least"), [("fuzz", 0.99), ("docs", 0.98), ("agrees", 0.99)])
def test_answers(corpus: str, least: float) -> None:
    """Values, names and order equal to the engine's; what is not equal is refused or known."""
    counts = tally(corpus, Executor(), corpora.comparer())
    assert counts["exact"] / sum(counts.values()) >= least, counts
    assert "sql" not in counts
    assert "crash" not in counts


def test_rejects_have_places() -> None:
    """What the engine refuses is refused."""
    counts = tally("rejects", Executor(), None)
    assert set(counts) == {"refused"}, counts
    assert "sql" not in counts
    assert "crash" not in counts


@pytest.mark.slow
def test_hunting_queries_run_over_empty_tables() -> None:
    """Public hunting queries compile and execute; no SQL error ever reaches a user."""
    executor = Executor(corpora.catalogue())
    counts: dict[str, int] = {}
    for position, case in enumerate(corpora.cases("hunting")):
        if position % 8:
            continue
        kind, _ = corpora.outcome(executor, case, None, external=lambda *_: None)
        counts[kind] = counts.get(kind, 0) + 1
    assert set(counts) <= {"exact", "refused"}, counts
    assert counts["exact"] / sum(counts.values()) >= 0.92, counts
