"""Read N uniform frames of a video file or of a clip of it (paper, section 4.1: N = 4).

PyAV decodes in worker processes: a broken file may crash or hang its decoder, but does not affect other files.
"""

import atexit
import hashlib
import operator
import os
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from reasvqa.processes import WorkerLost, Workers, cores, result_of

Clip = tuple[float, float] | None  # (start, end) in seconds; None: the whole video

TIMEOUT_S = 120.0  # for one file; a decoder that takes longer counts as hanging
MAX_PIXELS = 36_000_000  # of a frame: enough for 8K (7680 x 4320), not for small files that unpack to gigabytes
# Containers that hold their own pictures, so no playlists (HLS, DASH, concat), which would have other files read.
FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif"

# Codecs whose key frames are complete: nothing of earlier packets is needed, such as a palette.
SEEKABLE = frozenset("h264 hevc vp8 vp9 av1 mpeg1video mpeg2video mpeg4 mjpeg prores theora vvc".split())

_DIGEST_BYTES = 64 * 1024  # read at the beginning, in the middle and at the end of a file
_TOLERANCE_S = 1e-3  # containers round timestamps to the millisecond
_SLACK_S = 0.1  # how much longer than its frames a container may last, because of the last packets of sound


class VideoError(RuntimeError):
    """A video could not be read. The message names the file and the cause."""


def read_frames(path: str | Path, num_frames: int = 4, clip: Clip = None) -> np.ndarray:
    """Read uniform frames: frame t is the one shown in the middle of the t-th of `num_frames` equal parts.

    Args:
        path: the file. If it has several video streams, the largest is read.
        num_frames: N >= 1.
        clip: (start, end) in seconds from the first frame; an end beyond the last frame is cut. None: the whole video.

    Returns:
        uint8 array (N, H, W, 3), RGB, upright: rotated and mirrored as the file says.

    Raises:
        VideoError: the file is missing, empty, damaged, truncated, too large, a playlist or without a video stream,
            or the clip lies outside the video.
        ValueError: num_frames is not a positive integer.
    """
    frames = next(read_many([(path, clip)], num_frames, workers=1))
    if isinstance(frames, VideoError):
        raise frames
    return frames


def read_many(
    clips: Iterable[tuple[str | Path, Clip]], num_frames: int = 4, workers: int | None = None
) -> Iterator[np.ndarray | VideoError]:
    """Read the frames of many clips, in order, with `workers` decoders (default: one per core).

    A clip that cannot be read yields a VideoError. Only a few clips are decoded ahead, so memory does not grow with
    their number.

    Raises:
        ValueError: num_frames or workers is not a positive integer; raised with the first result.
    """
    if not isinstance(num_frames, Integral) or num_frames < 1:
        raise ValueError(f"num_frames: expected an integer of at least 1, got {num_frames!r}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers!r}")
    workers = min(workers or cores(), max(operator.length_hint(clips, 64), 1))
    process = os.getpid()
    try:
        pool = _idle[workers].pop()
    except IndexError:
        pool = Workers(workers)
    pending: deque[tuple[str | Path, Future]] = deque()

    def next_result() -> np.ndarray | VideoError:
        if os.getpid() != process:
            raise RuntimeError("read_many was called before a fork, so the parent has its decoders. Call it again.")
        path, future = pending[0]
        try:
            # The workers' own time limit comes first, unless one was killed while it sent its result.
            result = result_of(future, 3 * TIMEOUT_S)
        except WorkerLost as error:
            result = str(error)
        pending.popleft()
        return VideoError(f"{path}: {result}") if isinstance(result, str) else result

    try:
        for path, clip in clips:
            pending.append((path, pool.submit(decode, os.fspath(path), int(num_frames), clip, timeout=TIMEOUT_S)))
            if len(pending) >= 4 * workers:
                yield next_result()
        while pending:
            yield next_result()
    finally:
        if os.getpid() == process:
            if pending:  # nobody waits for what is being decoded
                pool.stop()
            else:
                _idle[workers].append(pool)


_idle: defaultdict[int, list[Workers]] = defaultdict(list)  # decoders that wait for the next call, by their number
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # the decoders belong to the parent


@atexit.register
def close() -> None:
    """End the idle decoders, which hold about 50 MB each. Later calls start new ones."""
    for pools in list(_idle.values()):
        while pools:
            pools.pop().stop()


# --- in a decoder -----------------------------------------------------------------------------------------------------


class _Refused(Exception):
    """A fault of the file or the clip. The message says which."""


def decode(path: str, num_frames: int, clip: Clip) -> np.ndarray | str:
    """Return the frames, or what is wrong. A broken file may crash this process, so `read_frames` is safer."""
    if not os.path.isfile(path):
        return "no such file"
    if os.path.getsize(path) == 0:
        return "the file is empty"
    try:
        if clip is not None:
            clip = float(clip[0]), float(clip[1])
            if not 0 <= clip[0] < clip[1]:
                raise ValueError
    except (TypeError, ValueError, OverflowError, IndexError):
        return f"clip {str(clip)[:80]} is not (start, end) in seconds with 0 <= start < end"
    try:
        return _decode(os.path.abspath(path), num_frames, clip)  # "concat:..." is a name, not a protocol
    except _Refused as error:
        return str(error)
    except Exception as error:  # a damaged file may raise anything
        lines = str(error).strip().splitlines()
        return f"PyAV: {lines[0] if lines else type(error).__name__}"


def _decode(path: str, num_frames: int, clip: Clip, first: float = -np.inf) -> np.ndarray:
    with _open(path) as container:
        stream = _video_stream(container)
        pts, key, shown = _read_packets(path, stream)
        shown = shown[shown >= first]
        unit = float(stream.time_base)
        starts = shown * unit
        picked = pick_frames(starts, num_frames, clip)
        _check_whole(path, stream, starts, clip)
        times = shown[picked]
        pictures = _seek_pictures(stream, pts, key, times.tolist())
    if pictures is None:
        with _open(path) as container:
            frames = container.decode(_video_stream(container))
            pictures, decoded = _collect_pictures(frames, times.tolist(), to_end=len(set(shown)) < len(shown))
        if len(pictures) < len(set(times.tolist())) and decoded and decoded[0] > shown[0]:
            return _decode(path, num_frames, clip, decoded[0])  # the first pictures need others that were cut
        gaps = np.diff(decoded)
        if not (gaps > 0).all():  # only the pictures' order is certain: avi does not say when each is shown
            if len(set(decoded)) < len(decoded):  # or parts were joined, each with its own times
                decoded = np.cumsum([0, *np.where(gaps > 0, gaps, np.median(gaps))])
            picked = pick_frames(np.sort(decoded) * unit, num_frames, clip)
            with _open(path) as container:
                frames = enumerate(container.decode(_video_stream(container)))
                pictures = {place: frame for place, frame in frames if place in picked}
            times = picked
    missing = [place for place, time in zip(picked, times, strict=True) if time not in pictures]
    if missing:
        raise _Refused(f"the file is damaged: its frame at {starts[missing[0]] - starts[0]:.2f} s cannot be decoded")
    return np.ascontiguousarray(np.stack([_upright(pictures[time]) for time in times]))


def _open(path: str) -> Any:
    import av
    from av.error import ArgumentError

    try:
        return av.open(path, options={"format_whitelist": FORMATS, "protocol_whitelist": "file"})
    except ArgumentError as error:
        raise _Refused(
            "a picture, a playlist, or not a supported format (mp4, mov, mkv, webm, avi, ts, mpg, flv, wmv, ogv, gif)"
        ) from error


def _video_stream(container: Any) -> Any:
    stream = container.streams.best("video")
    if stream is None:
        raise _Refused("the file has no video stream")
    codec = stream.codec_context
    if codec is None:
        raise _Refused("no decoder for this kind of video")
    if codec.width * codec.height > MAX_PIXELS:
        raise _Refused(
            f"frames of {codec.width} x {codec.height} pixels, more than the {MAX_PIXELS:,} allowed; scale it down"
        )
    codec.options = {"max_pixels": str(MAX_PIXELS)}  # a stream may say one size and hold another
    return stream


def _read_packets(path: str, stream: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return when each packet's picture is shown, in decoding order; whether decoding can start there; and the
    ascending times of the pictures that are shown. Left out are pictures that edit lists hide, and those that cannot be
    decoded: before the first key frame, or behind it but shown before it, which need a picture that was cut."""
    packets = [(p.pts, p.is_keyframe, not p.is_discard) for p in stream.container.demux(stream) if p.pts is not None]
    if not packets:
        raise _Refused("the video stream has no frames")
    pts, key, shown = (np.array(column) for column in zip(*packets, strict=True))
    if not key[0] or (pts < pts[0]).any():
        with _open(path) as other:
            first = next((f.pts for f in other.decode(_video_stream(other)) if f.pts is not None), None)
        if first is not None:
            shown &= pts >= first
    if not shown.any():
        raise _Refused("the video stream has no frames")
    return pts, key, np.sort(pts[shown])


def pick_frames(starts: np.ndarray, num_frames: int, clip: Clip) -> np.ndarray:
    """Return the frames to read, int64 (N,): indices into `starts`, the ascending presentation times in seconds."""
    starts = starts - starts[0]
    begin, end = clip if clip is not None else (0.0, np.inf)
    end = min(end, float(starts[-1]) + _step(starts))
    if begin >= end:
        raise _Refused(f"the clip starts at {begin:.2f} s, but the video ends at {end:.2f} s")
    middles = begin + (np.arange(num_frames) + 0.5) * (end - begin) / num_frames
    return np.clip(np.searchsorted(starts, middles + _TOLERANCE_S, side="right") - 1, 0, len(starts) - 1)


def _step(starts: np.ndarray) -> float:
    """Return for how many seconds a frame is shown."""
    return float(np.median(np.diff(starts))) if len(starts) > 1 else 0.04


def _check_whole(path: str, stream: Any, starts: np.ndarray, clip: Clip) -> None:
    """Refuse a file that should last longer than its packets, because the wrong frames would be read. Accept sound that
    outlasts the pictures, and a clip that lies inside what is left."""
    own = bool(stream.duration)  # the video stream's length is known; else that of all streams, counted from time 0
    lasts = float(stream.duration * stream.time_base) if own else (stream.container.duration or 0) / 1e6
    begin, shown = float(starts[0]), float(starts[-1] - starts[0]) + _step(starts)
    enough = lasts - _SLACK_S - (_step(starts) if own else 0)  # mp4 counts from the first decoding time
    if own and 0 < begin < lasts:
        enough -= begin  # an edit list may begin with a gap
    held = shown if own else begin + shown
    if held >= enough or (clip is not None and clip[1] <= shown):
        return
    with _open(path) as other:  # the last frame may be shown for longer than the others
        streams = [_video_stream(other)] if own else list(other.streams)
        packets = (p for p in other.demux(streams) if p.pts is not None and not p.is_discard)
        spans = [(p.pts * p.time_base, (p.pts + (p.duration or 0)) * p.time_base) for p in packets]
        first = min(start for start, _ in spans) if own else 0  # also of what cannot be decoded
        held = max(held, float(max(end for _, end in spans) - first))
    if held < enough:
        raise _Refused(
            f"the file is truncated: it should last {lasts:.2f} s, but holds {held:.2f} s. Get it again. If this "
            "is all there is, rewrite it (ffmpeg -i FILE -c copy NEW)"
        )


def _seek_pictures(stream: Any, pts_of: np.ndarray, key: np.ndarray, times: Sequence[int]) -> dict[int, Any] | None:
    """Decode the pictures of these ascending times, each from the key frame before it. Return None where this is not
    safe: without an index, if the container does not say when each picture is shown, or if key frames depend on
    packets before them."""
    container, codec = stream.container, stream.codec_context
    place = {pts: i for i, pts in enumerate(pts_of.tolist())}
    indexed = container.format.name.startswith(("mov", "matroska"))
    if not (indexed or (container.format.name == "avi" and not codec.has_b_frames)) or len(place) < len(pts_of):
        return None
    if codec.codec.canonical_name not in SEEKABLE:
        return None
    keys, wanted, pictures = np.flatnonzero(key), set(times), {}
    packets: Iterator[Any] = iter(())
    reached: int | None = -1  # the place of the last packet that was decoded
    for pts in sorted(wanted):
        # A key frame that is decoded before the picture but shown after it is not enough: open groups of pictures.
        before = keys[(keys <= place[pts]) & (pts_of[keys] <= pts)]
        if pts not in pictures and len(before) == 0:
            return None
        if pts not in pictures and before[-1] > reached:
            container.seek(int(pts_of[before[-1]]), stream=stream, backward=True)
            packets, reached = container.demux(stream), None
        while pts not in pictures:
            packet = next(packets, None)
            if packet is None:
                return None
            at = place.get(packet.pts, len(place) if packet.pts is None else -1)
            if reached is None and not 0 <= at <= before[-1]:
                return None  # the container's own index leads elsewhere
            reached = at
            # Skip pictures that no other picture needs.
            codec.skip_frame = "NONREF" if packet.pts is not None and packet.pts < pts else "DEFAULT"
            decoded = packet.decode()
            if any(frame.is_corrupt for frame in decoded):
                return None  # the file calls pictures key frames that need others, as some of Xvid do
            pictures |= {frame.pts: frame for frame in decoded if frame.pts in wanted}
    return pictures


def _collect_pictures(
    frames: Iterator[Any], times: Sequence[int], to_end: bool
) -> tuple[dict[int, Any], Sequence[int]]:
    """Return the pictures of these times from all frames of a stream, and the times of the decoded frames. Decoding
    stops at the last wanted picture, unless the frames' times prove wrong or `to_end` is True."""
    wanted, pictures, shown = set(times), {}, []
    for frame in frames:
        if frame.pts is not None:
            shown.append(frame.pts)
            if frame.pts in wanted:
                pictures[frame.pts] = frame
                if not to_end and len(pictures) == len(wanted) and (np.diff(shown) > 0).all():
                    break
    return pictures, shown


def _upright(frame: Any) -> np.ndarray:
    """Return the picture upright, uint8 (H, W, 3), RGB, turned by the nearest quarter turn.

    The container's matrix maps stored points to shown ones: x' = a x + c y, y' = b x + d y (ISO 14496-12, tkhd).
    """
    picture = frame.to_ndarray(format="rgb24")
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    across, down = a, d
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, across, down = picture.transpose(1, 0, 2), c, b
    return picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def video_digest(path: str | Path) -> str:
    """Return a cheap fingerprint of a file's content, 16 hexadecimal digits: its size, first, middle and last 64 KiB.

    In a file of more than 192 KiB, a change elsewhere that keeps the size goes unnoticed.

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
