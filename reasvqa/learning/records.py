"""Pack runs without their weights into one archive: all that tables, figures and the ledger need, a few kB per run.

The runs behind `figures/` ship this way. A run with the same key is then trained again only if its weights are needed.
"""

import io
import lzma
import os
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from reasvqa.files import atomic_path, file_state
from reasvqa.learning.runs import RESULT, WEIGHTS, Run, meta_text


def pack(runs: Sequence[Run], file: Path) -> None:
    """Write runs without their weights to an archive (tar, xz). The same runs give the same bytes.

    meta.json keeps the weights' checksum, so training a run again shows whether the weights are the same.

    Raises:
        DamagedRun: a file of a run has changed.
    """
    with atomic_path(file) as partial, tarfile.open(partial, "w:xz") as archive:
        for run in sorted(set(runs), key=lambda run: run.path.name):
            files = {name: sha for name, sha in run.meta["files"].items() if name in RESULT or run.has(name)}
            left_out = files.pop(WEIGHTS, None) or run.meta["left_out"]
            contents = {name: run.file(name).read_bytes() for name in sorted(files)}
            contents["meta.json"] = meta_text(run.meta | {"files": files, "left_out": left_out}).encode()
            for name, content in contents.items():
                member = tarfile.TarInfo(f"{run.path.name}/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def unpack(file: Path, store: Path) -> list[str]:
    """Put the runs of an archive into a run store, each as a whole, and return the names of the new ones.

    Raises:
        ValueError: the archive is damaged, or a name in it leads elsewhere.
    """
    store.mkdir(parents=True, exist_ok=True)
    new = []
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=store) as partial:
        with _opened(file) as archive:
            archive.extractall(partial, filter="data")
        for folder in sorted(Path(partial).iterdir()):
            with suppress(OSError):  # the run is there, or another process was faster
                os.replace(folder, store / folder.name)
                new.append(folder.name)
    return new


def names(file: Path) -> frozenset[str]:
    """Return the names of the runs in an archive, none if there is no archive. Raise as `unpack` does."""
    return _names(file, file_state(file))


@lru_cache(maxsize=4)
def _names(file: Path, state: object) -> frozenset[str]:
    if state is None:
        return frozenset()
    with _opened(file) as archive:
        return frozenset(name.split("/")[0] for name in archive.getnames())


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file, "r:xz") as archive:
            yield archive
    except (tarfile.TarError, lzma.LZMAError, EOFError, IsADirectoryError) as error:  # a full disk is no damage
        raise ValueError(f"{file}: cannot be read ({error}); take it from the repository again") from error
