"""Runs without their weights, in one file: all that tables, figures and the ledger are made of, a few kB a run.

The runs of `figures/` come with the repository so. Whoever has the same data, settings and versions, by the run's key,
has the result of hours of training at once; whoever wants the student itself trains it again.
"""

from __future__ import annotations

import io
import lzma
import os
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from reasvqa.learning.runs import Run
from reasvqa.learning.store import RESULT, WEIGHTS, meta_text

_UNREADABLE = (tarfile.TarError, lzma.LZMAError, EOFError)


def pack(runs: Sequence[Run], file: Path) -> None:
    """Writes runs without their weights into an archive (tar, xz), which appears whole; the same runs give the same
    bytes. In the place of the weights stands their checksum: who trains a run again sees whether it is the same.

    Raises:
        DamagedRun: a file of a run is not as it was written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    with tarfile.open(partial, "w:xz") as archive:
        for run in sorted(set(runs), key=lambda run: run.path.name):
            files = {name: sha for name, sha in run.meta["files"].items() if name in RESULT or run.has(name)}
            left_out = files.pop(WEIGHTS, None) or run.meta["left_out"]
            contents = {name: run.file(name).read_bytes() for name in sorted(files)}
            contents["meta.json"] = meta_text(run.meta | {"files": files, "left_out": left_out}).encode()
            for name, content in contents.items():
                member = tarfile.TarInfo(f"{run.path.name}/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    os.replace(partial, file)


def unpack(file: Path, store: Path) -> list[str]:
    """Puts the runs of an archive into a run store, each whole; those that are there stay as they are. Returns the
    names of the new ones.

    Raises:
        ValueError: the archive is damaged, or a name in it leads elsewhere.
    """
    store.mkdir(parents=True, exist_ok=True)
    new = []
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=store) as partial:
        try:
            with tarfile.open(file, "r:xz") as archive:
                archive.extractall(partial, filter="data")
        except _UNREADABLE as error:  # a full disk is something else
            raise ValueError(f"{file}: cannot be unpacked ({error}); take it from the repository again") from error
        for folder in sorted(Path(partial).iterdir()):
            with suppress(OSError):  # it is there, or another process was quicker
                os.replace(folder, store / folder.name)
                new.append(folder.name)
    return new


def names(file: Path) -> frozenset[str]:
    """The names of the runs in an archive; none where there is no archive."""
    try:
        state = file.stat()
    except FileNotFoundError:
        return frozenset()
    return _names(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _names(file: Path, *_state: int) -> frozenset[str]:
    try:
        with tarfile.open(file, "r:xz") as archive:
            return frozenset(name.split("/")[0] for name in archive.getnames())
    except (*_UNREADABLE, OSError) as error:
        raise ValueError(f"{file}: cannot be read ({error}); take it from the repository again") from error
