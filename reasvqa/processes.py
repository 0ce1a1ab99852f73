"""Worker processes: one that crashes or hangs costs only its task, and none outlives the process that started it.

Workers are spawned, since torch does not survive a fork. They do not import the caller's script, so scripts need no
`if __name__ == "__main__"`, and a program read from standard input can start them as well.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from pebble import ProcessExpired, ProcessPool

ATTEMPTS = 3  # a task whose worker dies is tried so often

_STUCK_S = 600  # an orphan in which a library blocks all Python threads ends after this time


class WorkerLost(RuntimeError):
    """A worker died or took too long. The message is the cause."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """`count` worker processes, started with the first task and replaced when they die.

    Args:
        count: tasks that run at a time; at least 1.
        prepare: called in every worker before anything is imported for its first task.
        environment: variables that workers get, and that are not set here.
    """

    def __init__(self, count: int, prepare: Callable[[], object] | None = None, **environment: str):
        self._options: dict[str, Any] = {
            "max_workers": count,
            "initializer": _start_worker,
            "initargs": (os.getpid(), prepare, environment),
            "context": _Context(),
        }
        self._pool = ProcessPool(**self._options)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def submit(self, function: Callable, *arguments: Any, timeout: float | None = None) -> Future:
        """Run a function of an importable module in a worker. `result_of` returns what came out.

        A task that takes longer than `timeout` seconds is stopped, together with its worker.
        """
        if not self._pool.active:  # all workers died at once, for instance while they started
            self.stop()
            self._pool = ProcessPool(**self._options)
        return self._pool.schedule(_call, (pickle.dumps((function, arguments)),), timeout=timeout)

    def stop(self) -> None:
        """End the workers at once, whatever they do."""
        self._pool.stop()
        self._pool.join()


def _call(task: bytes) -> Any:
    """Run a task. It is unpickled here, since its imports may take long, and workers receive tasks one at a time."""
    function, arguments = pickle.loads(task)
    return function(*arguments)


def result_of(future: Future, timeout: float | None = None) -> Any:
    """Wait for a task and return its result.

    Raises:
        WorkerLost: its worker died, or it took too long.
        Exception: whatever the task raised.
    """
    try:
        return future.result(timeout)
    except ProcessExpired as error:
        code = error.exitcode
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        raise WorkerLost(f"the worker process died ({how})") from error
    except (BrokenProcessPool, CancelledError) as error:
        raise WorkerLost("the worker processes died") from error
    except TimeoutError as error:
        if error.args and error.args[0] != "Task timeout":
            raise  # the task's own
        limit = error.args[1] if error.args else timeout
        raise WorkerLost(f"the worker took longer than {limit:g} s") from error


def finish_all(submit: Callable[..., Future], tasks: Mapping[Any, tuple]) -> Iterator[tuple[Any, Future]]:
    """Run tasks and yield (name, finished future), in the order in which they finish.

    A task whose worker dies is submitted again, `ATTEMPTS` times in all. The others are not touched by it.

    Args:
        submit: `Workers.submit`, or that of an executor.
        tasks: (function, argument, ...) by name.
    """
    deaths: Counter[Hashable] = Counter()
    finished: queue.SimpleQueue[tuple[Hashable, Future]] = queue.SimpleQueue()

    def start(name: Hashable) -> None:
        submit(*tasks[name]).add_done_callback(lambda future: finished.put((name, future)))

    for name in tasks:
        start(name)
    left = len(tasks)
    while left:
        name, future = finished.get()
        if future.cancelled() or isinstance(future.exception(), (ProcessExpired, BrokenProcessPool)):
            deaths[name] += 1
            if deaths[name] < ATTEMPTS:
                start(name)
                continue
        left -= 1
        yield name, future


class _Process(SpawnProcess):
    """A spawned process that does not import the caller's script."""

    def start(self) -> None:
        super().start()
        # At this process's exit it is ended, not waited for. It does not know, and may have children itself.
        self._config["daemon"] = True  # pyright: ignore[reportAttributeAccessIssue]

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        _spawning.worker = True
        try:
            return SpawnProcess._Popen(process_obj)  # pyright: ignore[reportAttributeAccessIssue]
        finally:
            _spawning.worker = False


class _Context(SpawnContext):
    Process = _Process


_spawning = threading.local()
_preparation_data = spawn.get_preparation_data


def _without_main(name: str) -> dict[str, Any]:
    """Return what a spawned process is told; a worker is not told of the main module. Other processes are as before."""
    data = _preparation_data(name)
    if getattr(_spawning, "worker", False):
        data = {key: value for key, value in data.items() if not key.startswith("init_main")}
    return data


spawn.get_preparation_data = _without_main


def _start_worker(parent: int, prepare: Callable[[], object] | None, environment: dict[str, str]) -> None:
    """Prepare a worker. It ends within a second of its parent's end, even if the parent was killed."""
    os.environ |= environment
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # stop at once, also inside of a library
    nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open as long as the process lives)

    def watch() -> None:
        while os.getppid() == parent:  # an orphan gets another parent
            faulthandler.dump_traceback_later(_STUCK_S, exit=True, file=nowhere)
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
    if prepare is not None:
        prepare()
