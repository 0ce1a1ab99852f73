"""Processes beside each other: those that are started end with the one that started them, whatever ends it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor


def end_with(parent: int) -> None:
    """Called first in a child: from now on it ends within a second of its parent's end, even if that was killed, and at
    once on Ctrl-C, which Python would hand to a pool as one task's outcome and go on with the next.

    Args:
        parent: `os.getpid()` of the process that starts it.
    """

    def watch() -> None:
        while os.getppid() == parent:  # an orphan gets another parent
            time.sleep(1)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


@contextlib.contextmanager
def ended(executor: Executor) -> Iterator[Executor]:
    """Inside, an executor; it is shut down in the end, and at once by an interrupt, which ends the processes that were
    started inside and drops what is not begun."""
    before = set(multiprocessing.active_children())
    try:
        yield executor
    except BaseException:
        for worker in set(multiprocessing.active_children()) - before:
            worker.terminate()
        try:
            executor.shutdown(wait=False, cancel_futures=True)
        except TypeError:  # dask's drops it anyway
            executor.shutdown(wait=False)
        raise
    executor.shutdown()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
