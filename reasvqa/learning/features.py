"""The frozen half of the student, computed once per clip and kept on disk.

The vision side (ViT and Q-Former, or vision tower) never changes, so its output for a clip is the same in every epoch,
for every question about the clip, and in every run. One memory-mapped array holds it, in the student's precision; a
second array says which rows are valid. Worker processes decode videos while the student encodes earlier ones. A kill
loses the batch in flight.
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

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.files import file_state, locked
from reasvqa.samples import Sample
from reasvqa.students import Student, fingerprint, own_device
from reasvqa.video import VideoError, read_many, video_digest

PROCEDURE = 1  # raise it when decoding or preprocessing changes a clip's features
# Clips encoded together. Always the same ones, whatever is missing, so that an interruption changes no number.
CLIPS_PER_BATCH = 8


class MissingVideos(RuntimeError):
    """Videos that a run needs cannot be read. The message lists the first few and the remedy."""


class NoRoom(OSError):
    """The features do not fit on the disk. The message says how much is needed, how much is free, and the remedy."""


class Features:
    """Visual features of a split's clips: (clips, N, Q, E), memory-mapped; float32, or bfloat16 as its bits in uint16.

    `features[sample]` is the (N, Q, E) array of a sample's clip, `features.tensor(samples)` the (B, N, Q, E) tensor of
    several; `missing` maps clips that cannot be read to the reason.
    """

    def __init__(self, array: np.ndarray, rows: dict[tuple, int], missing: dict[tuple, str]):
        self.array = array
        self.rows = rows
        self.missing = missing

    def __getitem__(self, sample: Sample) -> np.ndarray:
        return self.array[self.rows[_clip(sample)]]

    def tensor(self, samples: Sequence[Sample]) -> Tensor:
        tensor = torch.from_numpy(np.stack([self[sample] for sample in samples]))
        return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor

    def has(self, sample: Sample) -> bool:
        return _clip(sample) not in self.missing


def dtype_of(config: TrainConfig) -> torch.dtype:
    """Return the dtype of frozen weights and features."""
    return torch.bfloat16 if config.precision == "bf16" else torch.float32


def feature_bytes(clips: int, num_frames: int, feature_shape: tuple[int, int], dtype: torch.dtype) -> int:
    """Return the size of the features of this many clips, in bytes."""
    return clips * num_frames * feature_shape[0] * feature_shape[1] * dtype.itemsize


def features_of(samples: Samples, student: Student, config: TrainConfig) -> Features:
    """Return the features of these samples' clips from the cache under the data root; see `build_features`."""
    return build_features(samples, student, config.student, config.num_frames, paths.features())


def build_features(samples: Samples, student: Student, name: str, num_frames: int, folder: Path) -> Features:
    """Return the features of all clips of `samples`; compute those that `folder` does not hold yet.

    The student's frozen half moves to the GPU only if clips are missing, and moves back afterwards. Of several
    processes started together (torchrun) each computes its share.

    Args:
        samples: questions; several may share a clip.
        student: its `encode_frames` computes the features, in its own precision.
        name: the student's name or path, for the cache's key.
        num_frames: N.
        folder: the folder of the caches of all data sets, students and N.

    Raises:
        NoRoom: the features need more space than the disk has.
    """
    clips = sorted({_clip(sample) for sample in samples}, key=str)
    dtype = student.dtype
    described = [PROCEDURE, clips, str(samples.videos.resolve()), fingerprint(name), num_frames, str(dtype)]
    cache = folder / hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    with locked(cache / ".lock"):
        _make_arrays(cache, (len(clips), num_frames, *student.feature_shape), dtype)
    missing: dict[tuple, str] = {}
    with locked(cache / f".lock-{rank}-of-{world}"):
        array, valid = open_memmap(cache / "features.npy", "r+"), open_memmap(cache / "valid.npy", "r+")
        # A row is valid for the content it was computed from: a video that is replaced is read again.
        stamps = np.array([video_stamp(samples.videos / video) for video, _ in clips])
        starts = range(0, len(clips), CLIPS_PER_BATCH)[rank::world]
        batches = [range(start, min(start + CLIPS_PER_BATCH, len(clips))) for start in starts]
        batches = [batch for batch in batches if any(stamps[i] == 0 or valid[i] != stamps[i] for i in batch)]
        student.move_vision_encoder(own_device() if batches else torch.device("cpu"))
        frames = read_many(
            [(samples.videos / clips[i][0], clips[i][1]) for batch in batches for i in batch], num_frames
        )
        for batch in tqdm(batches, desc="features", unit=f"{CLIPS_PER_BATCH} clips", disable=not batches):
            read = {i: next(frames) for i in batch}
            failed = {i: str(picture) for i, picture in read.items() if isinstance(picture, VideoError)}
            missing |= {clips[i]: reason for i, reason in failed.items()}
            blank = np.zeros((num_frames, 8, 8, 3), np.uint8)  # in place of what cannot be read
            pictures = [blank if isinstance(picture, VideoError) else picture for picture in read.values()]
            array[batch.start : batch.stop] = to_disk(student.encode_frames(pictures))
            array.flush()
            valid[batch.start : batch.stop] = [0 if i in failed else stamps[i] for i in batch]
        student.move_vision_encoder(torch.device("cpu"))
    if world > 1:
        torch.distributed.barrier()
        gathered: list = [None] * world
        torch.distributed.all_gather_object(gathered, missing)
        missing = {clip: reason for of_process in gathered for clip, reason in of_process.items()}
    return Features(np.load(cache / "features.npy", mmap_mode="r"), {clip: i for i, clip in enumerate(clips)}, missing)


def _make_arrays(cache: Path, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Create both arrays of a cache and reserve their space on the disk, unless they are there in full.

    numpy would fill a file that was cut short with zeros, so that one is made again.
    """
    arrays = {
        "features.npy": (np.float32 if dtype == torch.float32 else np.uint16, shape),
        "valid.npy": (np.int64, shape[:1]),
    }
    if all(_is_complete(cache / name, *array) for name, array in arrays.items()):
        return
    size, free = math.prod(shape) * dtype.itemsize, shutil.disk_usage(cache).free
    what = f"{shape[0]} clips x {shape[1]} frames x {shape[2]} x {shape[3]} in {str(dtype)[6:]}"
    if size > 1e9:
        print(f"features: {what}: {size / 1e9:.1f} GB under {cache.parent}")
    no_room = NoRoom(
        f"the features ({what}) need {size / 1e9:.3g} GB, but only {free / 1e9:.3g} GB are free under {cache.parent}. "
        "Free some space, link the data root's features folder to a larger disk, or use fewer frames."
    )
    if size > 0.95 * free:
        raise no_room
    for name in reversed(arrays):  # rows become valid last
        (cache / name).unlink(missing_ok=True)
    for name, (kind, of_shape) in arrays.items():
        open_memmap(cache / name, "w+", kind, of_shape).flush()
        if hasattr(os, "posix_fallocate"):  # a sparse file that finds no space later would kill the process silently
            try:
                with open(cache / name, "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            except OSError as error:
                (cache / name).unlink()
                raise no_room from error


def _is_complete(path: Path, kind: type, shape: tuple[int, ...]) -> bool:
    try:
        array = np.load(path, mmap_mode="r")
    except (ValueError, OSError):
        return False
    return array.dtype == kind and array.shape == shape


def to_disk(features: Tensor) -> np.ndarray:
    """Return features as numpy holds them: float32, or the bits of bfloat16 as uint16."""
    features = features.cpu()
    return features.view(torch.uint16).numpy() if features.dtype == torch.bfloat16 else features.numpy()


def readable(samples: Samples, features: Features, skip_missing: bool) -> Samples:
    """Return the samples whose videos could be read, and print how many could not.

    Raises:
        MissingVideos: some cannot be read and `skip_missing` is False, or none can.
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
        raise MissingVideos("none of the questions has a video that can be read")
    return Samples(kept, samples.videos)


def _clip(sample: Sample) -> tuple:
    return sample.video, sample.clip


def video_stamp(path: Path) -> int:
    """Return a number for a video's content (`reasvqa.video.video_digest`); 0 if there is no file."""
    return _stamp(path, *file_state(path)) if path.exists() else 0


@lru_cache(maxsize=1 << 17)
def _stamp(path: Path, *_state: int) -> int:
    return int(video_digest(path), 16) >> 1 or 1
