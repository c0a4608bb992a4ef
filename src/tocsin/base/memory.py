"""Python's garbage collector where it is in the way, and what the system gives: memory, file handles."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

__all__ = ["collector_paused", "collector_seconds", "everything_stays", "many_handles", "small_pages"]

_PR_SET_THP_DISABLE = 41
_HANDLES = 1 << 16

_SELDOM = 100
"""Collections of what is middle-aged for one of all: at most 700,000 objects come, less those that were let go of, between two of those."""


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


def everything_stays() -> None:
    """Tells the collector that what is there now will stay, so that it never looks for garbage among it again: a server's modules, packs, rules and
    tables are hundreds of thousands of objects, and everything waits while they are looked through. What is let go of is freed all the same,
    unless it holds itself.

    What comes afterwards and stays is looked through seldom: Python does it whenever a quarter more has come to stay since, and with all that was
    there set aside that is every thousand objects or so, each time through tables of millions (a fifth of correlation's time). Garbage among what
    is younger is found as before."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _SELDOM)


class _Collected:
    """How long collections of garbage took since the first time somebody asked."""

    def __init__(self) -> None:
        self.seconds = self._began = 0.0
        gc.callbacks.append(self._collects)

    def _collects(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self.seconds += time.perf_counter() - self._began


@cache
def _collected() -> _Collected:
    return _Collected()


def collector_seconds() -> float:
    """For how long everything has waited for collections of garbage, since somebody asked first."""
    return _collected().seconds


def small_pages() -> None:
    """Asks Linux for memory in small pages.

    Arrow's allocator asks for huge ones, 2 MiB that the kernel clears at once, and gives them back soon. Batch after batch of columns of a few
    kilobytes made that a quarter of intake's time. Elsewhere, and where the kernel refuses, nothing happens. See prctl(2).
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)


def many_handles() -> None:
    """Raises the limit of open files to what the system allows without asking: usually it begins at 1,024, which senders' connections alone can use
    up, and then no file of the lake could be opened. Where there are no such limits nothing happens."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _HANDLES if hard == resource.RLIM_INFINITY else min(hard, _HANDLES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
