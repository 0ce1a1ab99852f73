"""The frozen half of the student, computed once per clip and kept on disk.

The vision side (ViT and Q-Former, or vision tower) never changes, so its output for a clip is the same in every epoch,
for every question about it and in every run. It lies in one memory-mapped array, in the student's precision; a second
array says which rows are valid. Videos are decoded in worker processes while the student looks at those before. A kill
loses the block in flight.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor
from tqdm.auto import tqdm

from reasvqa.datasets import Samples
from reasvqa.files import locked
from reasvqa.samples import Sample
from reasvqa.students import Student, fingerprint, own_device
from reasvqa.video import VideoError, read_many, video_digest

PROCEDURE = 1  # raise it when decoding or preprocessing changes what a clip's features are
BLOCK = 8  # clips looked at together; always the same ones, so that interruptions do not change the numbers


class MissingVideos(RuntimeError):
    """Videos that a run needs cannot be read. The message lists the first few and says what to do."""


class NoRoom(OSError):
    """The features do not fit on the disk. The message says how much is needed, how much is free, and what to do."""


class Features:
    """Visual features of a split's clips: (clips, N, Q, E), memory-mapped; float32, or bfloat16 as its bits in uint16.

    `features[sample]` is the (N, Q, E) array of a sample's clip, `features.tensor(samples)` the (B, N, Q, E) tensor of
    several; `missing` maps unreadable clips to what is wrong with them.
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

    Only if clips are missing does the student's frozen half go to the GPU, and comes back afterwards. Of several
    processes started together (torchrun) each computes its share.

    Args:
        samples: questions; several may share a clip.
        student: its `encode_frames` makes the features, in its own precision.
        name: the student's name or path, for the cache's key.
        num_frames: N.
        folder: where caches of all data sets, students and N lie side by side.

    Raises:
        NoRoom: what is missing is more than the disk has free.
    """
    clips = sorted({_clip(sample) for sample in samples}, key=str)
    dtype = student.dtype
    described = [PROCEDURE, clips, str(samples.videos.resolve()), fingerprint(name), num_frames, str(dtype)]
    place = folder / hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    shape = (len(clips), num_frames, *student.feature_shape)
    with locked(place / ".lock"):
        _make_arrays(place, shape, dtype)
    missing: dict[tuple, str] = {}
    with locked(place / f".lock-{rank}-of-{world}"):
        array, valid = open_memmap(place / "features.npy", "r+"), open_memmap(place / "valid.npy", "r+")
        # A row is valid for the content that it was made from: a video that is replaced is read again.
        stamps = np.array([video_stamp(samples.videos / video) for video, _ in clips])
        blocks = [range(at, min(at + BLOCK, len(clips))) for at in range(0, len(clips), BLOCK)]
        blocks = [block for block in blocks[rank::world] if any(stamps[i] == 0 or valid[i] != stamps[i] for i in block)]
        student.move_vision_encoder(own_device() if blocks else torch.device("cpu"))
        frames = read_many([(samples.videos / clips[i][0], clips[i][1]) for block in blocks for i in block], num_frames)
        for block in tqdm(blocks, desc="features", unit=f"{BLOCK} clips", disable=not blocks):
            read = dict(zip(block, [next(frames) for _ in block], strict=True))
            failed = {i: str(picture) for i, picture in read.items() if isinstance(picture, VideoError)}
            missing |= {clips[i]: cause for i, cause in failed.items()}
            blank = np.zeros((num_frames, 8, 8, 3), np.uint8)  # in the place of what cannot be read
            pictures = [blank if isinstance(picture, VideoError) else picture for picture in read.values()]
            array[block.start : block.stop] = to_disk(student.encode_frames(pictures))
            array.flush()
            valid[block.start : block.stop] = [0 if i in failed else stamps[i] for i in block]
        student.move_vision_encoder(torch.device("cpu"))
    if world > 1:
        torch.distributed.barrier()
        causes: list = [None] * world
        torch.distributed.all_gather_object(causes, missing)
        missing = {clip: cause for part in causes for clip, cause in part.items()}
    return Features(np.load(place / "features.npy", mmap_mode="r"), {clip: i for i, clip in enumerate(clips)}, missing)


def _make_arrays(place: Path, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Both arrays of a cache with their whole room on the disk, unless they are there. A file that was cut short is
    made anew: numpy would fill it with zeros."""
    kinds = {
        "features.npy": (np.float32 if dtype == torch.float32 else np.uint16, shape),
        "valid.npy": (np.int64, shape[:1]),
    }
    if all((place / name).exists() and _whole(place / name, *kind) for name, kind in kinds.items()):
        return
    size = math.prod(shape) * dtype.itemsize
    what = f"{shape[0]} clips x {shape[1]} frames x {shape[2]} x {shape[3]} in {str(dtype)[6:]}"
    free = shutil.disk_usage(place).free
    if size > 1e9:
        print(f"features: {what}: {size / 1e9:.1f} GB under {place.parent}")
    full = NoRoom(
        f"the features ({what}) need {size / 1e9:.3g} GB, but only {free / 1e9:.3g} GB are free under {place.parent}. "
        "Make room there, put a larger disk at the data root's features folder (a link will do), or use fewer frames."
    )
    if size > 0.95 * free:
        raise full
    for name in reversed(kinds):  # rows become valid last
        (place / name).unlink(missing_ok=True)
    for name, (kind, of) in kinds.items():
        open_memmap(place / name, "w+", kind, of).flush()
        if hasattr(os, "posix_fallocate"):  # a hole that finds no room later would kill the process without a word
            try:
                with open(place / name, "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            except OSError as error:
                (place / name).unlink()
                raise full from error


def _whole(path: Path, kind: type, shape: tuple[int, ...]) -> bool:
    """Is this the array that was made, in all its length?"""
    try:
        array = np.load(path, mmap_mode="r")
    except (ValueError, OSError):
        return False
    return array.dtype == kind and array.shape == shape


def to_disk(features: Tensor) -> np.ndarray:
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
        report = (
            f"{len(features.missing)} clips of {len(features.rows)} cannot be read, "
            f"{len(samples) - len(kept)} of {len(samples)} questions depend on them"
        )
        first = "; ".join(list(features.missing.values())[:3])
        if not skip_missing:
            raise MissingVideos(
                f"{report}: {first}. Put the files in place, or set skip_missing=True to go on without these questions."
            )
        print(f"Skipped: {report}: {first}")
    if not kept:
        raise MissingVideos("no question is left to work on")
    return Samples(kept, samples.videos)


def _clip(sample: Sample) -> tuple:
    return sample.video, sample.clip


def video_stamp(path: Path) -> int:
    """A number for a video's content, see `reasvqa.video.video_digest`; 0 when there is none."""
    try:
        state = path.stat()
    except OSError:
        return 0
    return _stamp_of(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1 << 17)
def _stamp_of(path: Path, changed: int, size: int) -> int:
    """Computed again only when the file's time or size has changed."""
    return int(video_digest(path), 16) >> 1 or 1
