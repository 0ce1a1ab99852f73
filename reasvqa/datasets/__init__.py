"""Read annotation files into samples. Most users need only `load(name, split, root)`."""

import csv
import hashlib
from pathlib import Path

from reasvqa import paths
from reasvqa.datasets import nextqa, own, star
from reasvqa.datasets.base import DataError, Samples, check_links
from reasvqa.registry import DATASETS, Dataset
from reasvqa.validation import one_of

# A new data set is a row: its name, its reader and, if it is not "paper", its preset (`reasvqa.config`).
DATASETS["nextqa"] = Dataset(nextqa.load)
DATASETS["star"] = Dataset(star.load)
DATASETS["intentqa"] = Dataset(nextqa.load_intentqa)
DATASETS["small-nextqa"] = Dataset(nextqa.load, preset="small", folder="nextqa", shuffled=True)
DATASETS["small-star"] = Dataset(star.load, preset="small", folder="star", shuffled=True)
DATASETS["small-intentqa"] = Dataset(nextqa.load_intentqa, preset="small", folder="intentqa", shuffled=True)
DATASETS["own"] = Dataset(own.load)


def load(name: str, split: str, root: str | Path | None = None) -> Samples:
    """Load the samples of one split, in the order of the annotation file.

    Args:
        name: a name in `DATASETS`: "nextqa", "star", "intentqa"; "own" for a folder of your own (see
            `reasvqa.datasets.own`). "mini-" or "smoke-" in front of one of the first three: its miniature, with files
            in the same formats; a split's videos are made on first use. "small-" in front: the official files, with
            the training questions in a random order that is the same for everybody.
        split: "train", "val", "test"; NExT-QA also has "atp-hard".
        root: folder of the annotation files, which are only read; videos are in its folder `videos`. Default: the data
            set's folder under the data root; a missing miniature is made there.

    Raises:
        DataError: a file is missing, a row is wrong (the message names file, row, column and remedy), or a symbolic
            link leads a video out of the video folder.
        ValueError: no such data set or split.
    """
    dataset = DATASETS[one_of("dataset", name, DATASETS)]
    root = paths.dataset(name) if root is None else Path(root)
    if dataset.make is not None and root == paths.dataset(name):
        dataset.make(name, root, split)
    samples: Samples = dataset.read(root, split)
    check_links(samples)
    if dataset.shuffled and split == "train":
        # By a hash of the id, so that a question's rank does not depend on the other questions.
        ranked = sorted(samples, key=lambda sample: hashlib.sha256(f"0 {sample.id}".encode()).digest())
        return Samples(ranked, samples.videos)
    return samples


def official() -> list[dict[str, str]]:
    """Return the rows of data/official.csv: dataset, split, file, questions, videos, verified ("yes": counted)."""
    with paths.OFFICIAL_COUNTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


__all__ = ["DATASETS", "DataError", "Dataset", "Samples", "load"]
