"""Threads that let others go first."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from tocsin.base.priority import yield_to_others

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts niceness by thread")


def niceness_after(*steps: int) -> list[int]:
    """What a new thread's niceness is after each of these calls."""
    seen: list[int] = []

    def work() -> None:
        for step in steps:
            yield_to_others(step)
            seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return seen


def test_a_thread_yields_and_its_program_does_not() -> None:
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness_after(mine + 3) == [mine + 3]
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine


def test_a_thread_never_gets_more_than_it_had() -> None:
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness_after(mine + 5, mine + 2, 0, 99) == [mine + 5, mine + 5, mine + 5, 19]
