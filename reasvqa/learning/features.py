"""The frozen half of the student, computed once per clip and kept on disk.

The vision side (ViT and Q-Former, or vision tower) never changes, so its output for a clip is the same in every epoch, for every
question about it and in every run. It lies in one memory-mapped array, in the student's precision; a second array says which rows
are valid. Videos are decoded in worker processes while the student looks at those before. A kill loses the block in flight.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.lib.format import open_memmap
from torch import Tensor
from tqdm.auto import tqdm

from reasvqa.datasets import Samples
from reasvqa.learning.students import STUDENTS, Student, own_device
from reasvqa.samples import Sample
from reasvqa.video import VideoError, read_many

BLOCK = 8  # clips looked at together; always the same ones, so that interruptions do not change the numbers


class MissingVideos(RuntimeError):
    """Videos that a run needs cannot be read. The message lists the first few and says what to do."""


class NoRoom(OSError):
    """The features do not fit on the disk. The message says how much is needed, how much is free, and what to do."""


class Features:
    """Visual features of a split's clips: (clips, N, Q, E), memory-mapped; float32, or bfloat16 as its bits in uint16.

    `features[sample]` is the (N, Q, E) array of a sample's clip, `features.tensor(samples)` the (B, N, Q, E) tensor of several;
    `missing` maps unreadable clips to what is wrong with them.
    """

    def __init__(self, array: np.ndarray, rows: dict[tuple, int], missing: dict[tuple, str]):
        self.array = array
        self.rows = rows
        self.missing = missing

    def __getitem__(self, sample: Sample) -> np.ndarray:
        return self.array[self.rows[_clip(sample)]]

    def tensor(self, samples: Sequence[Sample]) -> Tensor:
        return _from_disk(np.stack([self[sample] for sample in samples]))

    def has(self, sample: Sample) -> bool:
        return _clip(sample) not in self.missing


def feature_bytes(clips: int, num_frames: int, feature_shape: tuple[int, int], dtype: torch.dtype) -> int:
    """Size on disk of the features of so many clips."""
    return clips * num_frames * feature_shape[0] * feature_shape[1] * dtype.itemsize


def build_features(samples: Samples, student: Student, name: str, num_frames: int, folder: Path) -> Features:
    """The features of all clips of `samples`; what `folder` holds already is not computed again.

    Only if clips are missing does the student's frozen half go to the GPU, and comes back afterwards. Of several processes started
    together (torchrun) each computes its share.

    Args:
        samples: questions; several may share a clip.
        student: its `see` makes the features, in its own precision.
        name: the student's name or path, for the cache's key.
        num_frames: N.
        folder: where caches of all data sets, students and N lie side by side.

    Raises:
        NoRoom: what is missing is more than the disk has free.
    """
    clips = sorted({_clip(sample) for sample in samples}, key=str)
    dtype = student.dtype
    described = [clips, str(samples.videos.resolve()), fingerprint(name), num_frames] + (
        [str(dtype)] if dtype != torch.float32 else []
    )
    place = folder / hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    with FileLock(place / ".lock"):
        if not (place / "valid.npy").exists():
            size = feature_bytes(len(clips), num_frames, student.feature_shape, dtype)
            _check_room(
                size,
                place,
                f"{len(clips)} clips x {num_frames} frames x {student.feature_shape[0]} x {student.feature_shape[1]} in {str(dtype)[6:]}",
            )
            shape = (len(clips), num_frames, *student.feature_shape)
            open_memmap(
                place / "features.npy", "w+", np.float32 if dtype == torch.float32 else np.uint16, shape
            ).flush()
            open_memmap(place / "valid.npy", "w+", np.int64, (len(clips),)).flush()
    missing: dict[tuple, str] = {}
    with FileLock(place / f".lock-{rank}-of-{world}"):
        array, valid = open_memmap(place / "features.npy", "r+"), open_memmap(place / "valid.npy", "r+")
        # A row is valid for the file it was made from, told by its size: a video that is replaced is read again.
        stamps = np.array([_stamp(samples.videos / video) for video, _ in clips])
        blocks = [range(at, min(at + BLOCK, len(clips))) for at in range(0, len(clips), BLOCK)]
        blocks = [block for block in blocks[rank::world] if any(stamps[i] == 0 or valid[i] != stamps[i] for i in block)]
        student.move_eyes(own_device() if blocks else torch.device("cpu"))
        frames = read_many([(samples.videos / clips[i][0], clips[i][1]) for block in blocks for i in block], num_frames)
        for block in tqdm(blocks, desc="features", unit=f"{BLOCK} clips", disable=not blocks):
            pictures = [next(frames) for _ in block]
            failed = {
                i: str(picture) for i, picture in zip(block, pictures, strict=True) if isinstance(picture, VideoError)
            }
            missing |= {clips[i]: cause for i, cause in failed.items()}
            blank = np.zeros((num_frames, 8, 8, 3), np.uint8)  # in the place of what cannot be read
            array[block.start : block.stop] = _to_disk(
                student.see([blank if i in failed else picture for i, picture in zip(block, pictures, strict=True)])
            )
            array.flush()
            valid[block.start : block.stop] = [0 if i in failed else stamps[i] for i in block]
        student.move_eyes(torch.device("cpu"))
    if world > 1:
        torch.distributed.barrier()
        causes: list = [None] * world
        torch.distributed.all_gather_object(causes, missing)
        missing = {clip: cause for part in causes for clip, cause in part.items()}
    return Features(np.load(place / "features.npy", mmap_mode="r"), {clip: i for i, clip in enumerate(clips)}, missing)


def _check_room(size: int, folder: Path, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if size > 1e9:
        print(f"features: {what}: {size / 1e9:.1f} GB under {folder.parent}")
    if size > 0.95 * free:
        raise NoRoom(
            f"the features ({what}) need {size / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free under {folder.parent}. "
            "Make room there, put a larger disk at data/features (a link will do), or use fewer frames."
        )


def _to_disk(features: Tensor) -> np.ndarray:
    """As numpy has no bfloat16, its bits are kept as uint16."""
    features = features.cpu()
    return features.view(torch.uint16).numpy() if features.dtype == torch.bfloat16 else features.numpy()


def _from_disk(array: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor


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
            raise MissingVideos(
                f"{report}: {first}. Put the files in place, or set skip_missing=True to go on without these questions."
            )
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
