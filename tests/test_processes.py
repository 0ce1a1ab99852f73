"""Worker processes that die, hang or are orphaned; locks on file systems that have none; files written whole."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

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


def test_workers_that_all_die_while_idle_are_replaced():
    with Workers(2) as workers:
        assert result_of(workers.submit(abs, -1)) == 1
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
        time.sleep(0.5)
        assert result_of(workers.submit(abs, -2)) == 2


def test_a_task_whose_worker_dies_once_is_tried_again(tmp_path):
    with Workers(1) as workers:
        flag = str(tmp_path / "flag")
        once = f"import os\nif not os.path.exists({flag!r}): os.mkdir({flag!r}); os.abort()"
        ((name, future),) = finish_all(workers.submit, {"once": (exec, once)})
    assert name == "once" and result_of(future) is None


def test_workers_get_their_environment():
    with Workers(1, TQDM_DISABLE="1") as workers:
        assert result_of(workers.submit(os.getenv, "TQDM_DISABLE")) == "1"


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "SIGINT"])
@pytest.mark.slow
def test_workers_end_with_their_parent(end):
    program = """
import sys, time
from reasvqa.processes import Workers, result_of
workers = Workers(2)
futures = [workers.submit(time.sleep, seconds) for seconds in (0, 3600, 3600)]
result_of(futures[0])
print("ready", flush=True)
result_of(futures[1])
"""
    process = subprocess.Popen([sys.executable, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(program)
    process.stdin.close()
    assert process.stdout.readline() == "ready\n"
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(getattr(signal, end))
    process.wait(30)
    process.stdout.close()
    assert len(children) >= 2 and not psutil.wait_procs(children, timeout=10)[1]


# --- locks ------------------------------------------------------------------------------------------------------------


def test_waiting_for_a_lock_is_announced(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "NOTICE_AFTER_S", 0.05)
    path, order = tmp_path / "x.lock", []

    def work():
        with locked(path):
            order.append("second")

    other = FileLock(path)
    other.acquire()
    waiting = threading.Thread(target=work)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive() and f"waiting for another process that does the same work (it holds {path})" in (
        capsys.readouterr().out
    )
    order.append("first")
    other.release()
    waiting.join(10)
    assert order == ["first", "second"]
    with pytest.raises(KeyError), locked(path):  # free again, nothing is printed, and an error frees it
        raise KeyError
    assert not capsys.readouterr().out
    with FileLock(path, timeout=0):
        pass


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def without_locks(request, monkeypatch):
    """A file system that has no locks."""

    def flock(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_without_locks_work_goes_on(tmp_path, without_locks, capsys):
    path = tmp_path / "x.lock"
    path.touch()  # copied along
    Path(f"{path}.held").write_text(f"{2**22 + 1}\n{socket.gethostname()}\n")  # its holder was killed
    for _ in range(2):
        with locked(path):
            assert Path(f"{path}.held").exists()
        assert not Path(f"{path}.held").exists()
    assert not capsys.readouterr().out


def test_without_locks_a_marker_of_another_machine_is_named(tmp_path, without_locks, monkeypatch, capsys):
    monkeypatch.setattr(files, "NOTICE_AFTER_S", 0.05)
    path = tmp_path / "x.lock"
    Path(f"{path}.held").write_text("17\nanother-machine\n")
    done = threading.Event()

    def work():
        with locked(path):
            done.set()

    waiting = threading.Thread(target=work)
    waiting.start()
    assert not done.wait(0.7)
    assert f"{path}.held; if no process does, remove that file" in capsys.readouterr().out
    Path(f"{path}.held").unlink()
    assert done.wait(10)
    waiting.join()


def test_other_errors_name_the_lock_file(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match=r"x\.lock"), locked(tmp_path / "x.lock"):
        pass


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
    with atomic_path(tmp_path / "made") as partial:
        partial.mkdir()
    assert (tmp_path / "made").is_dir()
