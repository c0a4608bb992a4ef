"""Threads that let others go first."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

__all__ = ["yield_to_others"]


def yield_to_others(niceness: int) -> None:
    """Lowers the calling thread's share of the processors when they are scarce, as nice(1) does for programs.

    Only Linux counts niceness by thread; elsewhere this does nothing. It can't be taken back, so it is for threads of a pool of their own.
    """
    if niceness > 0 and sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            # A program that was started with less than that keeps its own.
            os.setpriority(os.PRIO_PROCESS, thread, max(os.getpriority(os.PRIO_PROCESS, thread), min(19, niceness)))
