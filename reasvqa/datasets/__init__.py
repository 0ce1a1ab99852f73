"""Official annotation files -> samples. `load(name, split, root)` is the only call most readers need."""

from __future__ import annotations

from pathlib import Path

from reasvqa.datasets import intentqa, nextqa, own, star
from reasvqa.datasets.base import DataError, Samples, check_links

_OFFICIAL = {"nextqa": nextqa.load, "star": star.load, "intentqa": intentqa.load}
_LOADERS = _OFFICIAL | {"own": own.load}
MINIATURES = ("mini", "smoke")
DATASETS = tuple(_LOADERS) + tuple(f"{scale}-{name}" for scale in MINIATURES for name in _OFFICIAL)
DATA = Path(__file__).parents[2] / "data"


def load(name: str, split: str, root: str | Path | None = None) -> Samples:
    """The samples of one split, in the order of the annotation file.

    Args:
        name: "nextqa", "star", "intentqa"; "own" for a folder of your own (see `reasvqa.datasets.own`); or one of the first three
            with "mini-" (or "smoke-") in front: the miniatures have files of the same form. Where an official data set is
            downloaded, a miniature is made on first use (about a minute).
        split: "train", "val", "test"; NExT-QA also has "atp-hard".
        root: folder of the annotation files; videos lie in its `videos` folder. Default: data/<name> beside the library.

    Raises:
        DataError: a file is missing, or a row is wrong; the message names the file, the row, the column and the remedy. Or
            a symbolic link leads a video out of the video folder.
        ValueError: no such data set or split.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset {name!r} is not known; choose one of {', '.join(DATASETS)}")
    scale, _, kind = name.rpartition("-")
    if scale and root is None:
        from reasvqa.mini.build import build

        build(name, DATA / name)
    samples = _LOADERS[kind](Path(root) if root is not None else DATA / name, split)
    check_links(samples)
    return samples


__all__ = ["DATA", "DATASETS", "MINIATURES", "DataError", "Samples", "load"]
