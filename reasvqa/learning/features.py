"""The frozen half of the student, computed once per clip and kept on disk.

The vision side (ViT and Q-Former, or vision tower) never changes, so its output for a clip is the same in every epoch, for every question about it and
in every run. It lies in one memory-mapped array; a second array says which rows are valid. A kill loses the rows in flight.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.lib.format import open_memmap
from tqdm.auto import tqdm

from reasvqa.datasets import Samples
from reasvqa.learning.students import STUDENTS, Student
from reasvqa.samples import Sample
from reasvqa.video import VideoError, read_many


class MissingVideos(RuntimeError):
    """Videos that a run needs cannot be read. The message lists the first few and says what to do."""


class Features:
    """Visual features of a split's clips: float32 (clips, N, Q, E), memory-mapped.

    `features[sample]` is the (N, Q, E) array of a sample's clip; `missing` maps unreadable clips to what is wrong with them.
    """

    def __init__(self, array: np.ndarray, rows: dict[tuple, int], missing: dict[tuple, str]):
        self.array = array
        self.rows = rows
        self.missing = missing

    def __getitem__(self, sample: Sample) -> np.ndarray:
        return self.array[self.rows[_clip(sample)]]

    def has(self, sample: Sample) -> bool:
        return _clip(sample) not in self.missing


def build_features(samples: Samples, student: Student, name: str, num_frames: int, folder: Path) -> Features:
    """The features of all clips of `samples`; what `folder` holds already is not computed again.

    Args:
        samples: questions; several may share a clip.
        student: its `see` makes the features.
        name: the student's name or path, for the cache's key.
        num_frames: N.
        folder: where caches of all data sets, students and N lie side by side.
    """
    clips = sorted({_clip(sample) for sample in samples}, key=str)
    key = hashlib.sha256(json.dumps([clips, str(samples.videos.resolve()), fingerprint(name), num_frames]).encode()).hexdigest()[:16]
    place = folder / key
    place.mkdir(parents=True, exist_ok=True)
    shape = (len(clips), num_frames, *student.feature_shape)
    missing: dict[tuple, str] = {}
    with FileLock(place / ".lock"):
        if not (place / "valid.npy").exists():
            open_memmap(place / "features.npy", "w+", np.float32, shape).flush()
            open_memmap(place / "valid.npy", "w+", np.int64, (len(clips),)).flush()
        array, valid = open_memmap(place / "features.npy", "r+"), open_memmap(place / "valid.npy", "r+")
        # A row is valid for the file it was made from, told by its size: a video that is replaced is read again.
        stamps = [_stamp(samples.videos / video) for video, _ in clips]
        todo = [i for i in range(len(clips)) if stamps[i] == 0 or valid[i] != stamps[i]]
        frames = read_many([(samples.videos / clips[i][0], clips[i][1]) for i in todo], num_frames)
        for i, pictures in tqdm(zip(todo, frames, strict=True), total=len(todo), desc="features", unit="clip", disable=not todo):
            if isinstance(pictures, VideoError):
                missing[clips[i]] = str(pictures)
                continue
            array[i] = student.see(pictures).float().cpu().numpy()
            array.flush()
            valid[i] = stamps[i]
    return Features(np.load(place / "features.npy", mmap_mode="r"), {clip: i for i, clip in enumerate(clips)}, missing)


def readable(samples: Samples, features: Features, skip_missing: bool) -> Samples:
    """The samples whose videos could be read; says how many could not, and refuses to go on unless told to skip them.

    Raises:
        MissingVideos: some cannot be read, and `skip_missing` is False.
    """
    kept = [sample for sample in samples if features.has(sample)]
    if len(kept) < len(samples):
        report = f"{len(features.missing)} clips of {len(features.rows)} cannot be read, {len(samples) - len(kept)} of {len(samples)} questions depend on them"
        first = "; ".join(list(features.missing.values())[:3])
        if not skip_missing:
            raise MissingVideos(f"{report}: {first}. Put the files in place, or set skip_missing=True to go on without these questions.")
        print(f"Skipped: {report}: {first}")
    if not kept:
        raise MissingVideos("no question is left to work on")
    return Samples(kept, samples.videos)


def fingerprint(name: str) -> str:
    """Tells checkpoints apart: a hash of the weight files' names, sizes and first and last megabytes (all of a small file).

    A hub id is its own fingerprint.
    """
    folder = Path(STUDENTS.get(name, name))
    if not folder.is_dir():
        return str(folder)
    files = [*sorted(folder.glob("*.safetensors")), folder / "config.json", folder / "preprocessor_config.json"]
    return _digest(tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@lru_cache(maxsize=64)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """The hash of `fingerprint`; of files given with their times and sizes, so that it is computed again when they change."""
    digest = hashlib.sha256()
    for file, _, size in files:
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as data:
            digest.update(data.read(1 << 20))
            data.seek(max(0, size - (1 << 20)))
            digest.update(data.read())
    return digest.hexdigest()


def _clip(sample: Sample) -> tuple:
    return sample.video, sample.clip


def _stamp(path: Path) -> int:
    """The file's size plus one; 0 when there is none."""
    return path.stat().st_size + 1 if path.is_file() else 0


def stack(features: Features, samples: Iterable[Sample]) -> np.ndarray:
    """float32 (B, N, Q, E) of some samples."""
    return np.stack([features[sample] for sample in samples])
