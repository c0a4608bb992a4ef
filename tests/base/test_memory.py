"""How the system gives the process its memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_small_pages_are_asked_for() -> None:
    """In a process of its own: it can't be taken back."""
    program = "from tocsin.base.memory import small_pages; small_pages(); print(open('/proc/self/status').read())"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    found = [line.split() for line in told.splitlines() if line.startswith("THP_enabled")]
    if not found:
        pytest.skip("this kernel doesn't tell")
    assert found == [["THP_enabled:", "0"]]


def test_what_stays_is_looked_through_no_more_and_let_go_of_all_the_same() -> None:
    program = """
import gc, weakref
from tocsin.base.memory import everything_stays
class Thing: pass
things = [Thing() for _ in range(1000)]
gone = weakref.ref(things[0])
everything_stays()
assert gc.get_freeze_count() > 1000, gc.get_freeze_count()
assert not any(isinstance(o, Thing) for o in gc.get_objects())
things.clear()
assert gone() is None
"""
    subprocess.run([sys.executable, "-c", program], check=True)
