"""Processes that this library starts end with the one that started them, whatever ends it."""

from __future__ import annotations

import os
import threading
import time


def end_with(parent: int) -> None:
    """Called first in a child: from now on it ends within a second of its parent's end, even if that was killed.

    Args:
        parent: `os.getpid()` of the process that starts it.
    """

    def watch() -> None:
        while os.getppid() == parent:  # an orphan gets another parent
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
