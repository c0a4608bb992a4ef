"""Python's garbage collector where it is in the way, and how the system gives memory."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["collector_paused", "small_pages"]

_PR_SET_THP_DISABLE = 41


@contextmanager
def collector_paused() -> Iterator[None]:
    """Builds many objects that stay without looking for garbage among them again and again: loading all of SigmaHQ takes half the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def small_pages() -> None:
    """Asks Linux for memory in small pages.

    Arrow's allocator asks for huge ones, 2 MiB that the kernel clears at once, and gives them back soon. Batch after batch of columns of a few
    kilobytes made that a quarter of intake's time. Elsewhere, and where the kernel refuses, nothing happens. See prctl(2).
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
