"""N uniform frames of a video file or of a clip of it (paper, section 4.1: N = 4).

Decoding runs in child processes: a broken file may abort the decoder's process, and must cost that file only. decord reads
first; PyAV reads what decord cannot (AV1, rotated phone videos, files that crash it). What neither can read is a VideoError.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

TIMEOUT_S = 120.0  # for one file; a decoder that takes longer has hung
_DIGEST_BYTES = 64 * 1024  # read at the beginning, in the middle and at the end of a file
_TOLERANCE_S = 1e-3  # containers round timestamps to the millisecond


class VideoError(RuntimeError):
    """A video could not be read. The message names the file and the cause."""


def read_frames(path: str | Path, num_frames: int = 4, clip: tuple[float, float] | None = None) -> np.ndarray:
    """Uniform frames of a video: frame t is the one shown in the middle of the t-th of `num_frames` equal parts.

    Args:
        path: the file. Of several video streams the largest is read.
        num_frames: N >= 1.
        clip: (start, end) in seconds from the video's beginning; an end beyond the last frame is cut. None: all of it.

    Returns:
        uint8 array (N, H, W, 3), RGB, upright (the container's rotation is applied).

    Raises:
        VideoError: the file is missing, empty, damaged or without a video stream, or the clip lies outside of it.
    """
    frames = next(read_many([(path, clip)], num_frames, workers=1))
    if isinstance(frames, VideoError):
        raise frames
    return frames


def read_many(
    clips: Sequence[tuple[str | Path, tuple[float, float] | None]], num_frames: int = 4, workers: int | None = None
) -> Iterator[np.ndarray | VideoError]:
    """Frames of many clips, in order, decoded by `workers` processes; a VideoError takes the place of what cannot be read.

    At most a few clips are decoded ahead, so memory does not grow with their number.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, not {num_frames}")
    workers = workers or os.cpu_count() or 1
    pending: list = []
    for clip in clips:
        pending.append((clip, _submit(workers, *clip, num_frames)))
        if len(pending) >= 4 * workers:
            yield _collect(*pending.pop(0), num_frames, workers)
    while pending:
        yield _collect(*pending.pop(0), num_frames, workers)


def _executor(workers: int):
    from loky import get_reusable_executor

    # Idle workers stay for a while, so that single calls do not pay for a new process each.
    return get_reusable_executor(max_workers=workers, timeout=300, reuse=True)


def _submit(workers: int, path, clip, num_frames: int, decord: bool = True):
    from concurrent.futures import Future

    try:
        return _executor(workers).submit(decode, str(path), num_frames, clip, decord)
    except RuntimeError as error:  # another file has just brought the workers down
        future: Future = Future()
        future.set_exception(error)
        return future


def _collect(clip, future, num_frames: int, workers: int) -> np.ndarray | VideoError:
    """The result of a future. A crash takes down whatever was being decoded beside it, so its victims are tried again alone,
    first as before and then without decord."""
    from concurrent.futures import TimeoutError as FutureTimeout

    cause = "the decoder's process died"
    for attempt in range(3):
        try:
            result = future.result(timeout=TIMEOUT_S)
            return VideoError(f"{clip[0]}: {result}") if isinstance(result, str) else result
        except FutureTimeout:
            cause = f"decoding took longer than {TIMEOUT_S:.0f} s"
            _executor(workers).shutdown(wait=True, kill_workers=True)
        except RuntimeError as error:  # loky's TerminatedWorkerError and ShutdownExecutorError
            cause = f"the decoder's process died ({type(error).__name__})"
        if attempt < 2:
            future = _submit(1, *clip, num_frames, decord=attempt == 0)
    return VideoError(f"{clip[0]}: {cause}")


def video_digest(path: str | Path) -> str:
    """A cheap fingerprint of a file's content: 16 hexadecimal digits from its size and its first, middle and last 64 KiB.

    Files of up to 192 KiB are read whole. In a larger one a change of the same size in between goes unseen; a video encoded anew
    changes its size or its ends. Not a cryptographic promise.

    Raises:
        VideoError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.blake2b(size.to_bytes(8, "big"), digest_size=8)
            middle = min(max((size - _DIGEST_BYTES) // 2, _DIGEST_BYTES), size)
            for start in (0, middle, max(size - _DIGEST_BYTES, middle)):
                file.seek(start)
                digest.update(file.read(_DIGEST_BYTES))
    except OSError as error:
        raise VideoError(f"{path}: {error.strerror or error}") from error
    return digest.hexdigest()


def decode(path: str, num_frames: int, clip: tuple[float, float] | None, decord: bool = True) -> np.ndarray | str:
    """The frames, or what is wrong with the file; in this process, which a broken file may take down. `read_frames` is safer."""
    if not os.path.isfile(path):
        return "no such file"
    if os.path.getsize(path) == 0:
        return "the file is empty"
    if clip is not None and not 0 <= clip[0] < clip[1]:
        return f"clip {clip} is not (start, end) in seconds with 0 <= start < end"
    cause = ""
    if decord and _plain(path):
        try:
            return _decode_decord(path, num_frames, clip)
        except _OutsideClip as error:
            return str(error)
        except Exception as error:  # decord's errors have no common class; whatever they are, PyAV is asked next
            cause = f"decord: {_first_line(error)}; "
    try:
        return _decode_av(path, num_frames, clip)
    except _OutsideClip as error:
        return str(error)
    except Exception as error:
        return f"{cause}PyAV: {_first_line(error)}"


class _OutsideClip(Exception):
    pass


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def pick_frames(starts: np.ndarray, num_frames: int, clip: tuple[float, float] | None) -> np.ndarray:
    """Which frames to read: int64 (N,) indices into `starts`, the frames' presentation times in seconds, ascending."""
    if len(starts) == 0:
        raise ValueError("no frames")
    starts = starts - starts[0]
    step = float(np.median(np.diff(starts))) if len(starts) > 1 else 0.04
    begin, end = clip if clip is not None else (0.0, np.inf)
    end = min(end, float(starts[-1]) + step)
    if begin >= end:
        raise _OutsideClip(f"the clip starts at {begin:.2f} s, but the video ends at {end:.2f} s")
    middles = begin + (np.arange(num_frames) + 0.5) * (end - begin) / num_frames
    return np.clip(np.searchsorted(starts, middles + _TOLERANCE_S, side="right") - 1, 0, len(starts) - 1)


def _plain(path: str) -> bool:
    """True when decord may read the file: no rotation (decord ignores it) and no AV1 (its decoder is too old)."""
    import av

    try:
        with av.open(path) as container:
            stream = container.streams.best("video")
            if stream is None or stream.codec_context.name in ("av1", "libdav1d", "libaom-av1"):
                return False
            return next(container.decode(stream)).rotation == 0
    except Exception:
        return True  # PyAV cannot; perhaps decord can


def _decode_decord(path: str, num_frames: int, clip: tuple[float, float] | None) -> np.ndarray:
    import decord

    reader = decord.VideoReader(path, num_threads=1)
    starts = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    return reader.get_batch(pick_frames(starts, num_frames, clip).tolist()).asnumpy()


def _decode_av(path: str, num_frames: int, clip: tuple[float, float] | None) -> np.ndarray:
    """Reads the packets' times, then seeks to the key frame before each wanted frame and decodes up to it."""
    import av

    with av.open(path) as container:
        stream = container.streams.best("video")
        if stream is None:
            raise ValueError("the file has no video stream")
        pts = np.array(
            sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None and not packet.is_discard)
        )
        wanted = pts[pick_frames(pts * float(stream.time_base), num_frames, clip)] if len(pts) else pts
        frames = []
        for time in wanted:
            container.seek(int(time), stream=stream, backward=True)
            shown = None
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts > time and shown is not None:
                    break
                shown = frame
                if frame.pts is not None and frame.pts >= time:
                    break
            if shown is None:
                raise ValueError(f"no frame could be decoded at {float(time * stream.time_base):.2f} s")
            # PyAV gives the angle that turns the stored picture upright, counter-clockwise.
            frames.append(np.rot90(shown.to_ndarray(format="rgb24"), k=round(shown.rotation / 90) % 4))
        if not frames:
            raise ValueError("the video stream has no frames")
        return np.ascontiguousarray(np.stack(frames))
