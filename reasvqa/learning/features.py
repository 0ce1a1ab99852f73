"""Compute the frozen half of the student once per clip, and keep its features on disk.

A clip's features are the same in every epoch, for every question, and in every run. One memory-mapped array holds them,
in the student's precision; a second one says which rows are valid. Worker processes decode videos while the student
encodes earlier ones. If the process is killed, only the batch in flight is lost.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
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
# Clips encoded together: always the same ones, whatever is missing, so that an interruption changes no number.
CLIPS_PER_BATCH = 8


class MissingVideos(RuntimeError):
    """Videos that a run needs cannot be read. The message lists the first few and the remedy."""


class NoRoom(OSError):
    """The features do not fit on the disk. The message says how much is needed, how much is free, and the remedy."""


@dataclass(frozen=True)
class Features:
    """Visual features of a split's clips; `features[sample]` has those of a sample's clip, (N, Q, E).

    Attributes:
        array: (clips, N, Q, E), memory-mapped; float32, or bfloat16 as its bits in uint16.
        rows: a clip's row in `array`.
        missing: why a clip cannot be read.
    """

    array: np.ndarray
    rows: dict[tuple, int]
    missing: dict[tuple, str]

    def __getitem__(self, sample: Sample) -> np.ndarray:
        return self.array[self.rows[_clip(sample)]]

    def tensor(self, samples: Sequence[Sample]) -> Tensor:
        """Return the features of these samples' clips, (B, N, Q, E), float32 or bfloat16, on the CPU."""
        tensor = torch.from_numpy(np.stack([self[sample] for sample in samples]))
        return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor


def dtype_of(config: TrainConfig) -> torch.dtype:
    """Return the dtype of frozen weights and features."""
    return torch.bfloat16 if config.precision == "bf16" else torch.float32


def feature_bytes(clips: int, num_frames: int, feature_shape: tuple[int, int], dtype: torch.dtype) -> int:
    """Return the size of the features of this many clips, in bytes."""
    return clips * num_frames * feature_shape[0] * feature_shape[1] * dtype.itemsize


def features_of(samples: Samples, student: Student, config: TrainConfig) -> Features:
    """Return what `build_features` does, with the cache under the data root; for a blind run, clips without frames."""
    if config.blind:
        nothing = np.zeros((1, 0, *student.feature_shape), np.float32)
        return Features(nothing, {_clip(sample): 0 for sample in samples}, {})
    return build_features(samples, student, config.student, config.num_frames, paths.features())


def build_features(samples: Samples, student: Student, name: str, num_frames: int, folder: Path) -> Features:
    """Return the features of all clips of `samples`; compute those that `folder` does not hold yet.

    The frozen half stays on the GPU only while it runs. Processes started together (torchrun) compute a share each.

    Args:
        name: the student's name or path, for the cache's key.
        num_frames: N.
        folder: the folder of the caches of all data sets, students and N.

    Raises:
        NoRoom: the features need more space than the disk has.
        OSError: the disk is full, because something else has taken the space.
    """
    clips = sorted({_clip(sample) for sample in samples}, key=str)
    described = [PROCEDURE, clips, str(samples.videos.resolve()), fingerprint(name), num_frames, str(student.dtype)]
    cache = folder / hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    state = PartialState(cpu=not torch.cuda.is_available())
    rank, world = state.process_index, state.num_processes
    with locked(cache / ".lock"):
        _make_arrays(cache, (len(clips), num_frames, *student.feature_shape), student.dtype)
    array = np.load(cache / "features.npy", mmap_mode="r")
    missing: dict[tuple, str] = {}
    with locked(cache / f".lock-{rank}-of-{world}"), (cache / "features.npy").open("r+b") as file:
        valid = np.load(cache / "valid.npy", mmap_mode="r+")
        # A row is valid for the content it was computed from: a video that is replaced is read again.
        stamps = np.array([video_stamp(samples.videos / video) for video, _ in clips])
        starts = range(0, len(clips), CLIPS_PER_BATCH)[rank::world]
        batches = [range(start, min(start + CLIPS_PER_BATCH, len(clips))) for start in starts]
        batches = [batch for batch in batches if any(stamps[i] == 0 or valid[i] != stamps[i] for i in batch)]
        student.move_vision_encoder(own_device() if batches else torch.device("cpu"))
        to_read = [(samples.videos / clips[i][0], clips[i][1]) for batch in batches for i in batch]
        frames = read_many(to_read, num_frames)
        blank = np.zeros((num_frames, 8, 8, 3), np.uint8)  # in place of what cannot be read
        for batch in tqdm(batches, desc="features", unit=f"{CLIPS_PER_BATCH} clips", disable=not batches):
            read = {clips[i]: next(frames) for i in batch}
            missing |= {clip: str(found) for clip, found in read.items() if isinstance(found, VideoError)}
            pictures = [blank if isinstance(found, VideoError) else found for found in read.values()]
            # On a full disk this raises an error, where writing to mapped memory would kill the process.
            file.seek(array.offset + batch.start * array[0].nbytes)
            file.write(to_disk(student.encode_frames(pictures)).tobytes())
            file.flush()
            os.fsync(file.fileno())
            valid[batch.start : batch.stop] = [0 if clips[i] in missing else stamps[i] for i in batch]
        student.move_vision_encoder(torch.device("cpu"))
    missing = {clip: reason for of_process in gather_object([missing]) for clip, reason in of_process.items()}
    return Features(array, {clip: i for i, clip in enumerate(clips)}, missing)


def _make_arrays(cache: Path, shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    """Create both arrays of a cache, with no row valid, unless both are complete."""
    with suppress(OSError, ValueError):  # numpy's errors for a file that is missing or was cut short
        for name in ("features.npy", "valid.npy"):
            np.load(cache / name, mmap_mode="r")
        return
    size, free = feature_bytes(shape[0], shape[1], shape[2:], dtype) / 1e9, shutil.disk_usage(cache).free / 1e9
    if size > 0.95 * free:
        raise NoRoom(
            f"the features ({shape[0]} clips x {shape[1]} frames x {shape[2]} x {shape[3]} in {str(dtype)[6:]}) need "
            f"{size:.3g} GB, but only {free:.3g} GB are free under {cache.parent}. "
            "Free some space, link the data root's features folder to a larger disk, or use fewer frames."
        )
    (cache / "valid.npy").unlink(missing_ok=True)
    open_memmap(cache / "features.npy", "w+", np.uint16 if dtype == torch.bfloat16 else np.float32, shape).flush()
    np.save(cache / "valid.npy", np.zeros(shape[0], np.int64))


def to_disk(features: Tensor) -> np.ndarray:
    """Return features as a numpy array: float32, or the bits of bfloat16 as uint16."""
    features = features.cpu()
    return features.view(torch.uint16).numpy() if features.dtype == torch.bfloat16 else features.numpy()


def readable(samples: Samples, features: Features, skip_missing: bool) -> Samples:
    """Return the samples whose videos could be read, and print how many could not be.

    Raises:
        MissingVideos: some cannot be read and `skip_missing` is False, or none can.
    """
    kept = [sample for sample in samples if _clip(sample) not in features.missing]
    if len(kept) == len(samples):
        return samples
    report = (
        f"{len(features.missing)} clips of {len(features.rows)} cannot be read, "
        f"and {len(samples) - len(kept)} of {len(samples)} questions depend on them: "
        f"{'; '.join(list(features.missing.values())[:3])}"
    )
    if not skip_missing or not kept:
        remedy = "Put the files in place, or set skip_missing=True to go on without these questions."
        raise MissingVideos(f"{report}. {remedy if kept else 'No question is left.'}")
    print(f"Skipped: {report}")
    return Samples(kept, samples.videos)


def _clip(sample: Sample) -> tuple:
    return sample.video, sample.clip


def video_stamp(path: Path) -> int:
    """Return a number for a video's content (`reasvqa.video.video_digest`); 0 if there is no file."""
    return _stamp(path, file_state(path))


@lru_cache(maxsize=1 << 17)
def _stamp(path: Path, state: tuple[int, int] | None) -> int:
    return int(video_digest(path), 16) >> 1 or 1 if state else 0
