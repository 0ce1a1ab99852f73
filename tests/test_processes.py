"""Worker processes that die, hang or are orphaned; locks on file systems that have none; files written whole."""

import errno
import fcntl
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from tqdm import tqdm

from reasvqa import files
from reasvqa.files import atomic_path, file_state, locked, write_text
from reasvqa.processes import WorkerLost, Workers, finish_all, result_of


def test_a_worker_that_dies_or_hangs_costs_its_task_only():
    tasks = {
        "abort": (os.abort,),
        "killed": (signal.raise_signal, signal.SIGKILL),
        "error": (int, "x"),
        **{f"good {i}": (divmod, i, 3) for i in range(6)},
    }
    outcomes = {}
    with Workers(2) as workers:
        hanging = workers.submit(time.sleep, 3600, timeout=1)
        for name, future in finish_all(workers.submit, tasks):
            try:
                outcomes[name] = result_of(future)
            except (WorkerLost, ValueError) as error:
                outcomes[name] = str(error)
        with pytest.raises(WorkerLost, match="longer than 1 s"):
            result_of(hanging)
    assert "SIGABRT" in outcomes.pop("abort") and "SIGKILL" in outcomes.pop("killed")
    assert "invalid literal" in outcomes.pop("error")
    assert outcomes == {f"good {i}": divmod(i, 3) for i in range(6)}


@pytest.mark.slow
def test_workers_that_all_die_while_idle_are_replaced():
    with Workers(2) as workers:
        assert result_of(workers.submit(abs, -1)) == 1
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
        time.sleep(0.5)
        assert result_of(workers.submit(abs, -2)) == 2


@pytest.mark.slow
def test_workers_get_their_environment_and_a_task_whose_worker_dies_once_is_tried_again(tmp_path):
    with Workers(1, tqdm.get_lock, TQDM_DISABLE="1") as workers:
        flag = str(tmp_path / "flag")
        once = f"import os\nif not os.path.exists({flag!r}): os.mkdir({flag!r}); os.abort()"
        ((name, future),) = finish_all(workers.submit, {"once": (exec, once)})
        assert name == "once" and result_of(future) is None
        assert result_of(workers.submit(os.getenv, "TQDM_DISABLE")) == "1"
        assert result_of(workers.submit(eval, "__import__('tqdm').tqdm([]).disable")), "prepare came first"


@pytest.mark.slow
def test_daemons_start_workers_as_well(monkeypatch):
    """A worker of dask is one."""
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    with Workers(1) as workers:
        assert result_of(workers.submit(abs, -1)) == 1
    assert multiprocessing.current_process().daemon


PARENT = """
import os, signal, time
from reasvqa.processes import Workers, result_of
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where a script starts the tests with "&"
workers = Workers(2)
futures = [workers.submit(time.sleep, seconds) for seconds in (0, 3600, 3600)]
result_of(futures[0])
if (sibling := os.fork()) == 0:
    time.sleep(3600)
print(sibling, flush=True)
result_of(futures[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "SIGINT"])
@pytest.mark.slow
def test_workers_end_with_their_parent(end):
    """They hang, and a process that was forked before holds their pipes open."""
    with subprocess.Popen([sys.executable, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        parent.stdin.write(PARENT)
        parent.stdin.close()
        sibling = psutil.Process(int(parent.stdout.readline()))
        try:
            children = psutil.Process(parent.pid).children(recursive=True)
            workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
            parent.send_signal(getattr(signal, end))
            parent.wait(30)
            assert len(workers) == 2 and not psutil.wait_procs(workers, timeout=10)[1] and sibling.is_running()
        finally:
            sibling.kill()
            parent.kill()


# --- locks ------------------------------------------------------------------------------------------------------------


def assert_waits(path: Path, notice: str, free: Callable[[], object], monkeypatch, capsys) -> None:
    """A thread waits for the lock, says so, and gets it once it is free."""
    monkeypatch.setattr(files, "NOTICE_AFTER_S", 0.05)
    inside = threading.Event()

    def work() -> None:
        with locked(path):
            inside.set()

    waiting = threading.Thread(target=work)
    waiting.start()
    assert not inside.wait(0.5)
    assert notice in capsys.readouterr().out
    free()
    assert inside.wait(10)
    waiting.join()


def test_waiting_for_a_lock_is_announced(tmp_path, monkeypatch, capsys):
    path = tmp_path / "x.lock"
    (other := FileLock(path)).acquire()
    notice = f"waiting for another process that does the same work (it holds {path})"
    assert_waits(path, notice, other.release, monkeypatch, capsys)
    with pytest.raises(KeyError), locked(path):  # an error frees it
        raise KeyError
    with FileLock(path, timeout=0):
        pass


@pytest.mark.parametrize("missing", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_file_systems_without_locks(missing, tmp_path, monkeypatch, capsys):
    """A marker takes the lock's place. One of a killed process is removed, one of another machine is named."""
    path = tmp_path / "x.lock"
    marker = Path(f"{path}.held")
    monkeypatch.setattr(fcntl, "flock", raising(missing))
    path.touch()  # copied along
    marker.write_text(f"{2**22 + 1}\n{socket.gethostname()}\n")
    for _ in range(2):
        with locked(path):
            assert marker.exists()
        assert not marker.exists() and not capsys.readouterr().out
    marker.write_text("17\nanother-machine\n")
    assert_waits(path, f"{marker}; if no process does, remove that file", marker.unlink, monkeypatch, capsys)


def test_other_errors_name_the_lock_file(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", raising(errno.EIO))
    with pytest.raises(OSError, match=r"x\.lock"), locked(tmp_path / "x.lock"):
        pass


def raising(number: int) -> Callable[..., None]:
    def flock(*_) -> None:
        raise OSError(number, os.strerror(number))

    return flock


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_appear_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "x.csv"
    write_text(path, "a")
    state = file_state(path)
    with pytest.raises(KeyError), atomic_path(path) as partial:
        partial.write_text("half")
        raise KeyError
    assert path.read_text() == "a" and file_state(path) == state and list(path.parent.iterdir()) == [path]
    with atomic_path(path) as partial:
        partial.write_text("bc")
    assert path.read_text() == "bc" and file_state(path) != state and partial.suffix == ".csv"
