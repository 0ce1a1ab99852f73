"""Files that several processes share: written whole or not at all, locked, and told apart when they change."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

NOTICE_AFTER_S = 10.0  # how long to wait for a lock before saying so

_NO_KERNEL_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its ending, that replaces it on success and is removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file that appears whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that appears whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def swap_in(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of `path`, then delete what was there."""
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)


def file_state(path: str | Path) -> tuple[int, int] | None:
    """Return a file's modification time in ns and size in bytes, the key of caches of its content; None: no file."""
    try:
        state = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_mtime_ns, state.st_size


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`: no other process, and no other thread, is inside at the same time.

    The kernel releases the lock when its holder ends, so a lock file left behind does no harm. Some file systems offer
    no such locks (Lustre, some NFS). There, `<path>.held` marks the lock. A marker whose holder ran on this machine and
    has ended is removed; any other is waited for. Waiting for longer than `NOTICE_AFTER_S` prints the file's name.

    Raises:
        OSError: the lock file cannot be written. The error names it.
    """
    notice = f"waiting for another process that does the same work (it holds {path})"
    try:
        held = _acquire(FileLock(path, fallback_to_soft=False), notice)
    except OSError as error:
        if error.errno not in _NO_KERNEL_LOCKS:
            raise OSError(error.errno, error.strerror, str(path)) from error
        held = _acquire(SoftFileLock(f"{path}.held"), f"{notice[:-1]}.held; if no process does, remove that file)")
    with held:
        yield


def _acquire(lock: BaseFileLock, notice: str) -> AbstractContextManager:
    try:
        return lock.acquire(timeout=NOTICE_AFTER_S)
    except Timeout:
        print(notice, flush=True)
        return lock.acquire()
