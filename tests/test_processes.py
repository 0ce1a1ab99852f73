"""Processes beside each other: who waits says for what."""

import threading

from filelock import FileLock

from reasvqa import processes
from reasvqa.processes import alone


def test_who_waits_for_a_lock_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes, "PATIENCE", 0.05)
    path, order = tmp_path / "x.lock", []

    def work():
        with alone(path):
            order.append("second")

    other = FileLock(path)
    other.acquire()
    waiting = threading.Thread(target=work)
    waiting.start()
    waiting.join(0.5)
    assert (
        waiting.is_alive() and f"waiting for another process that works on the same ({path})" in capsys.readouterr().out
    )
    order.append("first")
    other.release()
    waiting.join(10)
    assert order == ["first", "second"]
    with alone(path):  # free again, and nothing is said
        assert not capsys.readouterr().out


def test_an_error_frees_the_lock(tmp_path):
    try:
        with alone(tmp_path / "x.lock"):
            raise KeyError
    except KeyError:
        pass
    with FileLock(tmp_path / "x.lock", timeout=0):
        pass
