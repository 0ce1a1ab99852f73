"""The run store: a folder per run, sealed with the checksums of its files.

runs/<key>/
    config.json  metrics.json  predictions.csv  history.csv  weights.safetensors    the result
    meta.json                                       versions, place of the data, checksums
    predictions-<split>-<hash of the split>.csv     what the student answered later
    written.csv                                     what the student wrote later
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import peft
import torch
import transformers

import reasvqa
from reasvqa.files import locked, write_text

WEIGHTS = "weights.safetensors"
RESULT = ("config.json", "metrics.json", "predictions.csv", "history.csv", WEIGHTS)


class DamagedRun(ValueError):
    """A kept run has changed since it was written. The message names the file and the remedy."""


@dataclass(frozen=True)
class SealedFolder:
    """A finished run's folder. Every file is compared with its checksum before it is read."""

    path: Path

    @cached_property
    def meta(self) -> dict:
        """Time, versions, device, processes, the generator's accuracy, the data's folder, checksums.

        Raises:
            DamagedRun: meta.json cannot be read or has changed.
        """
        try:
            meta = json.loads((self.path / "meta.json").read_text(encoding="utf-8"))
            intact = meta.pop("sha256") == _checksum(meta)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged("meta.json", "cannot be read") from error
        if not intact:
            raise self._damaged("meta.json", "has changed since it was written")
        return meta

    def file(self, name: str) -> Path:
        """Return the path of one of the run's files, after its content was found to be intact.

        Raises:
            DamagedRun: the file is missing or has changed.
        """
        path = self.path / name
        if name not in self.meta["files"] or not path.is_file():
            raise self._damaged(name, "is missing")
        if _file_checksum(path) != self.meta["files"][name]:
            raise self._damaged(name, "has changed since it was written")
        return path

    def check(self) -> Self:
        """Return the run itself, after all files of its result were found to be intact; see `file`."""
        for name in RESULT:
            if name != WEIGHTS or self.has_weights:
                self.file(name)
        return self

    @property
    def has_weights(self) -> bool:
        """False for a run that came with the repository, which ships no weights."""
        return "left_out" not in self.meta

    def has(self, name: str) -> bool:
        """Tell whether a file is there and intact."""
        try:
            return bool(self.file(name))
        except DamagedRun:
            return False

    @contextmanager
    def adding(self) -> Iterator[None]:
        """Keep other processes from adding to the run, and see what they have added. A read-only store has no lock."""
        with ExitStack() as stack:
            with suppress(OSError):
                stack.enter_context(locked(Path(f"{self.path}.lock")))
            self.__dict__.pop("meta", None)
            yield

    def add(self, name: str, text: str) -> None:
        """Add a file, inside of `adding`; a read-only store stays as it is."""
        with suppress(OSError):
            write_text(self.path / name, text)
            self.meta["files"][name] = _file_checksum(self.path / name)
            write_text(self.path / "meta.json", meta_text(self.meta))

    def _damaged(self, name: str, problem: str) -> DamagedRun:
        return DamagedRun(
            f"{self.path / name}: {problem}, so this run cannot be used. "
            "Ask for it again (train, or reproduce) to remake it."
        )


def seal(folder: Path, meta: dict) -> None:
    """Write meta.json with versions and the checksums of the result: the last step of a run."""
    versions = {module.__name__: module.__version__ for module in (reasvqa, torch, transformers, peft)}
    versions["python"] = platform.python_version()
    files = {name: _file_checksum(folder / name) for name in RESULT}
    write_text(folder / "meta.json", meta_text(meta | {"versions": versions, "files": files}))


def problem_with(path: Path) -> str | None:
    """Return why the run in a folder cannot be used: it is missing or damaged; None: it is intact."""
    try:
        SealedFolder(path).check()
    except DamagedRun as damage:
        return str(damage)
    return None


def swap_in(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of `path`, then delete what was there."""
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)


def json_text(content: dict) -> str:
    """Return the text of a JSON file."""
    return json.dumps(content, indent=1) + "\n"


def meta_text(meta: dict) -> str:
    """Return the text of meta.json, with a checksum of its own."""
    return json_text(meta | {"sha256": _checksum(meta)})


def _checksum(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _file_checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
