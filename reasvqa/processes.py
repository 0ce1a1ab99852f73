"""Worker processes: one that crashes or hangs costs only its task, and none outlives the process that started it.

They are spawned, since torch does not survive a fork, and do not import the caller's script.
"""

import faulthandler
import itertools
import os
import pickle
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from functools import partial
from multiprocessing import current_process, spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, cast

from pebble import ProcessExpired, ProcessPool

IN_FLIGHT = 16  # tasks handed to workers at a time: more could fill the pipe to them, and block it if they die
ATTEMPTS = 3  # a task whose worker dies is tried so often
_NAME = "reasvqa-worker"  # of processes


class WorkerLost(RuntimeError):
    """A worker died or took too long. The message is the cause."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers(AbstractContextManager):
    """`count` worker processes, started with the first task and replaced when they die. Each sets the variables
    `environment` and calls `prepare` before it imports anything for its first task."""

    def __init__(self, count: int, prepare: Callable[[], object] | None = None, **environment: str):
        start, context = (os.getpid(), environment, pickle.dumps(prepare)), cast(Any, _Context())
        self._new_pool = partial(ProcessPool, count, initializer=_start_worker, initargs=start, context=context)
        self._pool = self._new_pool()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def submit(self, function: Callable, *arguments: Any, timeout: float | None = None) -> Future:
        """Run a function of an importable module in a worker, for at most `timeout` seconds; see `result_of`."""
        if not self._pool.active:  # all workers died at once, for instance while they started
            self.stop()
            self._pool = self._new_pool()
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
    """Wait for a task and return its result, or raise what it raised, or WorkerLost."""
    try:
        return future.result(timeout)
    except ProcessExpired as error:
        how = signal.Signals(-error.exitcode).name if error.exitcode < 0 else f"exit status {error.exitcode}"
        raise WorkerLost(f"the worker process died ({how})") from error
    except (BrokenProcessPool, CancelledError) as error:
        raise WorkerLost("the worker processes died") from error
    except TimeoutError as error:
        if error.args and error.args[0] != "Task timeout":
            raise  # the task's own
        limit = error.args[1] if error.args else timeout
        raise WorkerLost(f"the worker took longer than {limit:g} s") from error


def finish_all(submit: Callable[..., Future], tasks: Mapping[Any, tuple]) -> Iterator[tuple[Any, Future]]:
    """Run tasks, (function, argument, ...) by name, with the `submit` of `Workers` or an executor; yield (name, future)
    as they finish. A task whose worker dies is tried `ATTEMPTS` times."""
    deaths: Counter[Hashable] = Counter()
    waiting = iter(tasks.items())
    running: dict[Future, Any] = {}
    while True:
        for name, task in itertools.islice(waiting, max(0, IN_FLIGHT - len(running))):
            running[submit(*task)] = name
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            name = running.pop(future)
            died = future.cancelled() or isinstance(future.exception(), (ProcessExpired, BrokenProcessPool))
            deaths[name] += died
            if died and deaths[name] < ATTEMPTS:
                running[submit(*tasks[name])] = name
            else:
                yield name, future


class _Process(SpawnProcess):
    def start(self) -> None:
        """Start it even in a daemon, such as a dask worker. At this process's exit it is ended, not waited for."""
        parent: dict = current_process()._config  # pyright: ignore[reportAttributeAccessIssue]
        own: dict = self._config  # pyright: ignore[reportAttributeAccessIssue]
        self.name, own["daemon"] = _NAME, False  # it may have children itself
        daemon, parent["daemon"] = parent.get("daemon", False), False
        try:
            super().start()
        finally:
            own["daemon"], parent["daemon"] = True, daemon


class _Context(SpawnContext):
    Process = _Process


def _without_main(name: str) -> dict[str, Any]:
    """Return what a spawned process is told. Workers are not told of the main module, so they do not import it."""
    told = _preparation_data(name)
    return {key: value for key, value in told.items() if name != _NAME or not key.startswith("init_main")}


_preparation_data, spawn.get_preparation_data = spawn.get_preparation_data, _without_main


def _start_worker(parent: int, environment: dict[str, str], pickled: bytes) -> None:
    """Prepare a worker. It ends within a second of its parent's end, even if the parent was killed."""
    os.environ |= environment
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # stop at once, also inside of a library

    def watch() -> None:
        while os.getppid() == parent:  # an orphan gets another parent
            faulthandler.dump_traceback_later(600, exit=True, file=2)  # should a library block all Python threads
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
    if prepare := pickle.loads(pickled):  # may import what reads the environment
        prepare()
