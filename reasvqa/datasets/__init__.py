"""Official annotation files -> samples. `load(name, split, root)` is the only call most readers need."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from reasvqa import paths
from reasvqa.config import BENCHMARKS, DRAWN, MINIATURES
from reasvqa.datasets import intentqa, nextqa, own, star
from reasvqa.datasets.base import DataError, Samples, check_links


@dataclass(frozen=True)
class Dataset:
    """A row of the registry: how its files are read, for a miniature, what makes them (name and folder are its
    arguments), and whether the training questions come in a drawn order."""

    read: Callable[[Path, str], Samples]
    make: str | None = None
    drawn: bool = False


_READERS = {"nextqa": nextqa.load, "star": star.load, "intentqa": intentqa.load}
DATASETS: dict[str, Dataset] = {name: Dataset(_READERS[name]) for name in BENCHMARKS} | {"own": Dataset(own.load)}
DATASETS |= {
    f"{scale}-{name}": Dataset(_READERS[name], make="reasvqa.mini.build:build")
    for scale in MINIATURES
    for name in BENCHMARKS
}
DATASETS |= {f"{DRAWN}-{name}": Dataset(_READERS[name], drawn=True) for name in BENCHMARKS}


def load(name: str, split: str, root: str | Path | None = None) -> Samples:
    """The samples of one split, in the order of the annotation file (of "small-..." see below).

    Args:
        name: "nextqa", "star", "intentqa"; "own" for a folder of your own (see `reasvqa.datasets.own`); or one of the
            first three with "mini-" (or "smoke-") in front: the miniatures have files of the same form. Where an
            official data set is downloaded, a miniature is made on first use (about a minute). With "small-" in front:
            the official files, with the training questions in an order that is drawn once for everybody, so that the
            first so many are a random sample, and the same one wherever the file's rows stand.
        split: "train", "val", "test"; NExT-QA also has "atp-hard".
        root: folder of the annotation files, which are only read; videos lie in its `videos` folder. Default: the data
            set's folder under the data root, where a miniature is made if it is not there.

    Raises:
        DataError: a file is missing, or a row is wrong; the message names the file, the row, the column and the remedy.
            Or a symbolic link leads a video out of the video folder.
        ValueError: no such data set or split.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset={name!r} is not known; choose one of {', '.join(DATASETS)}")
    dataset = DATASETS[name]
    if root is None:
        root = paths.dataset(name)
        if dataset.make is not None:
            resolve_name(dataset.make)(name, root)
    samples = dataset.read(Path(root), split)
    check_links(samples)
    if dataset.drawn and split == "train":
        return Samples(sorted(samples, key=lambda sample: _lot(sample.id)), samples.videos)
    return samples


def official() -> list[dict[str, str]]:
    """The rows of data/official.csv: dataset, split, file, questions, videos, verified ("yes": counted in the file)."""
    with paths.OFFICIAL_COUNTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _lot(id: str, seed: int = 0) -> bytes:
    """What a question draws for its place. A hash, so that it depends on nothing but the question and the seed."""
    return hashlib.sha256(f"{seed} {id}".encode()).digest()


__all__ = ["DATASETS", "DataError", "Samples", "load"]
