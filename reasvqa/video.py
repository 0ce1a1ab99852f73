"""N uniform frames of a video file or of a clip of it (paper, section 4.1: N = 4).

Decoding runs in child processes, the decoders: a broken file may abort or hang one of them, and must cost that file
only. decord reads mp4, mov, mkv and webm, where it is installed. PyAV reads the rest: other containers, in which decord
takes wrong frames, AV1, rotated phone videos, files that crash decord, and everything on systems for which decord has
no wheel. What neither can read is a VideoError.
"""

from __future__ import annotations

import atexit
import faulthandler
import functools
import hashlib
import io
import json
import operator
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

Clip = tuple[float, float] | None  # (start, end) in seconds; None: the whole video

TIMEOUT_S = 120.0  # for one file; a decoder that takes longer has hung
MAX_PIXELS = 36_000_000  # of one frame: 8K (7680 x 4320) is read; a small file that unfolds to gigabytes is not
# Containers that hold their own pictures. Playlists (HLS, DASH, concat) would have other files read: not among them.
FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif"

_DIGEST_BYTES = 64 * 1024  # read at the beginning, in the middle and at the end of a file
_TOLERANCE_S = 1e-3  # containers round timestamps to the millisecond
_SLACK_S = 0.1  # a container's duration may exceed its last frame's end by so much: the last packets of sound
_START_S = 120.0  # for a decoder's imports, on a machine that is busy
_IDLE_S = 300.0  # a decoder without work for so long ends; until then single calls need not start one
_PROGRAM = "from reasvqa.video import serve; serve()"  # what a decoder runs


class VideoError(RuntimeError):
    """A video could not be read. The message names the file and the cause."""


def read_frames(path: str | Path, num_frames: int = 4, clip: Clip = None) -> np.ndarray:
    """Uniform frames of a video: frame t is the one shown in the middle of the t-th of `num_frames` equal parts.

    Args:
        path: the file. Of several video streams the largest is read.
        num_frames: N >= 1.
        clip: (start, end) in seconds from the video's beginning; an end beyond the last frame is cut. None: all of it.

    Returns:
        uint8 array (N, H, W, 3), RGB, upright (the container's rotation is applied).

    Raises:
        VideoError: the file is missing, empty, damaged, cut off, too large, a playlist or without a video stream,
            or the clip lies outside of it.
        ValueError: num_frames is no whole number from 1 on.
    """
    frames = next(read_many([(path, clip)], num_frames, workers=1))
    if isinstance(frames, VideoError):
        raise frames
    return frames


def read_many(
    clips: Iterable[tuple[str | Path, Clip]], num_frames: int = 4, workers: int | None = None
) -> Iterator[np.ndarray | VideoError]:
    """Frames of many clips, in order, by `workers` decoders (default: one a core).

    A VideoError stands for what cannot be read; the others are not touched by it. At most a few clips
    are decoded ahead, so memory does not grow with their number.

    Raises:
        ValueError: num_frames is no whole number from 1 on.
    """
    try:
        whole = operator.index(num_frames)
    except TypeError:
        whole = 0
    if whole < 1:
        raise ValueError(f"num_frames must be a whole number from 1 on, not {num_frames!r}")
    return _read_ahead(clips, whole, workers or os.cpu_count() or 1)


def _read_ahead(clips: Iterable[tuple[str | Path, Clip]], num_frames: int, workers: int):
    """One thread a decoder, so that decoding goes on while the caller is busy. They are daemons: the interpreter's end
    does not wait for a file that hangs."""
    process = os.getpid()
    lane = _Lane()
    jobs: queue.SimpleQueue = queue.SimpleQueue()
    pending: deque[Future] = deque()
    threads: list[threading.Thread] = []

    def work() -> None:
        while (job := jobs.get()) is not None:
            path, clip, future = job
            try:
                future.set_result(lane.read(path, clip, num_frames))
            except BaseException as error:
                future.set_exception(error)

    def first() -> np.ndarray | VideoError:
        if os.getpid() != process:
            raise RuntimeError("read_many was started before a fork; its decoders belong to the parent. Start it anew.")
        return pending.popleft().result()

    try:
        for path, clip in clips:
            pending.append(Future())
            jobs.put((path, clip, pending[-1]))
            if len(threads) < workers:
                threads.append(threading.Thread(target=work, name="decoding", daemon=True))
                threads[-1].start()
            if len(pending) >= 4 * workers:
                yield first()
        while pending:
            yield first()
    finally:
        if os.getpid() == process:
            lane.stop()
            for _ in threads:
                jobs.put(None)


class _Lane:
    """What one call of `read_many` has running, so that it can be stopped at any moment."""

    def __init__(self) -> None:
        self.stopped = False
        self.busy: set[_Decoder] = set()

    def stop(self) -> None:
        self.stopped = True
        for decoder in list(self.busy):
            decoder.process.kill()

    def read(self, path: str | Path, clip: Clip, num_frames: int) -> np.ndarray | VideoError:
        """A clip's frames. A file on which the decoder dies or hangs is tried once more, by PyAV alone."""
        cause = "reading was stopped"
        for decord in (True, False):
            if self.stopped:
                break
            decoder = _take()
            self.busy.add(decoder)
            try:
                if self.stopped:  # since
                    decoder.process.kill()
                result = decoder.ask(os.fspath(path), num_frames, clip, decord)
            except _Dead as error:
                cause = str(error)
                continue
            finally:
                self.busy.discard(decoder)
            _give_back(decoder)
            return VideoError(f"{path}: {result}") if isinstance(result, str) else result
        return VideoError(f"{path}: {cause}")


class _Dead(Exception):
    """A decoder ended before it had answered. The message is the cause."""


class _Decoder:
    """A child process that runs `serve`. It has one request at a time, and ends with its parent."""

    def __init__(self) -> None:
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(os.getpid())],
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.requests = cast(io.RawIOBase, self.process.stdin)
        self.answers = cast(io.RawIOBase, self.process.stdout)
        self.started = False
        self.used = time.monotonic()

    def ask(self, path: str, num_frames: int, clip: Clip, decord: bool) -> np.ndarray | str:
        """The result of `decode`, or `_Dead` is raised: the process died, or took longer than TIMEOUT_S."""
        if not self.started:
            with self._limit(_START_S):
                self.started = bool(self.answers.readline())
        with self._limit(TIMEOUT_S):
            request = {"path": path, "num_frames": num_frames, "clip": clip, "decord": decord}
            self.requests.write(json.dumps(request, default=float).encode() + b"\n")
            answer = json.loads(self.answers.readline())
            if "error" in answer:
                return answer["error"]
            frames = np.empty(answer["shape"], np.uint8)
            missing = frames.data.cast("B")
            while missing:
                count = self.answers.readinto(missing)
                if not count:
                    raise EOFError
                missing = missing[count:]
            return frames

    @contextmanager
    def _limit(self, limit_s: float) -> Iterator[None]:
        """Kills the process when what is done inside takes longer. However the process ends, `_Dead` says why."""
        late = threading.Event()

        def kill() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(limit_s, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, EOFError, json.JSONDecodeError) as error:
            self.process.kill()
            code = self.process.wait()
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            cause = (
                f"decoding took longer than {limit_s:g} s" if late.is_set() else f"the decoder's process died ({how})"
            )
            raise _Dead(cause) from error
        finally:
            timer.cancel()
            timer.join()  # from here on it cannot kill any more
            self.used = time.monotonic()


_idle: list[_Decoder] = []
_lock = threading.Lock()


def _take() -> _Decoder:
    """An idle decoder, or a new one."""
    with _lock:
        while _idle:
            decoder = _idle.pop()
            if decoder.process.poll() is None and time.monotonic() - decoder.used < 0.8 * _IDLE_S:
                return decoder
    return _Decoder()


def _give_back(decoder: _Decoder) -> None:
    with _lock:
        _idle.append(decoder)


@atexit.register
def close() -> None:
    """Ends the idle decoders. They would end by themselves; what is needed later is started anew."""
    with _lock:
        while _idle:
            decoder = _idle.pop()
            decoder.process.kill()
            decoder.process.wait()
            decoder.requests.close()
            decoder.answers.close()


def _forget() -> None:
    """After a fork: the decoders belong to the parent, and the lock may be held by a thread that is not here."""
    global _lock
    _lock = threading.Lock()
    for decoder in _idle:
        decoder.requests.close()
        decoder.answers.close()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def serve() -> None:
    """What a decoder does: `decode` for each line of JSON on its input; a line of JSON and the frames' bytes answer.

    Never returns: the process ends when the parent has closed the input or is gone, or after _IDLE_S without work.
    """
    parent = int(sys.argv[1])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes where errors go
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's affair
    requests: queue.SimpleQueue = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin.buffer:
            requests.put(json.loads(line))
        os._exit(0)

    def watch() -> None:
        # The end of the input tells of the parent's end, unless a process forked from the parent still holds it open.
        # A library that hangs may keep this thread from running: then faulthandler, which needs no Python, ends all.
        while os.getppid() == parent:
            faulthandler.dump_traceback_later(60, exit=True, file=nowhere)
            time.sleep(0.5)
        os._exit(0)

    nowhere = open(os.devnull, "w")  # noqa: SIM115 (open as long as the process lives)
    for task in (listen, watch):
        threading.Thread(target=task, daemon=True).start()
    import av  # noqa: F401 (what takes time comes before the first request, whose time is limited)

    _decord()
    answers.write(b"ready\n")
    answers.flush()
    while True:
        try:
            result = decode(**requests.get(timeout=_IDLE_S))
        except queue.Empty:
            os._exit(0)
        header = {"error": result} if isinstance(result, str) else {"shape": result.shape}
        try:
            answers.write(json.dumps(header).encode() + b"\n")
            if not isinstance(result, str):
                answers.write(np.ascontiguousarray(result).data)
            answers.flush()
        except OSError:  # nobody listens any more
            os._exit(0)


def decode(path: str, num_frames: int, clip: Clip, decord: bool = True) -> np.ndarray | str:
    """The frames, or what is wrong with the file; in this process, which a broken file may take down. `read_frames` is
    safer. Without `decord`, PyAV alone reads."""
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
    path = os.path.abspath(path)  # "concat:..." is a name, not a protocol
    cause = ""
    try:
        about = _about(path)
        if decord and about.plain and _decord() is not None:
            try:
                return _decode_decord(path, about, num_frames, clip)
            except _Refused:
                raise
            except Exception as error:  # decord's errors have no common class; whatever they are, PyAV is asked next
                cause = f"decord: {_first_line(error)}; "
        return _decode_av(path, about, num_frames, clip)
    except _Refused as error:
        return str(error)
    except Exception as error:
        return f"{cause}PyAV: {_first_line(error)}"


class _Refused(Exception):
    """The file or the clip is at fault, whoever reads it. The message says how."""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _open(path: str) -> Any:
    import av

    return av.open(path, options={"format_whitelist": FORMATS, "protocol_whitelist": "file"})


def _video(container: Any) -> Any:
    stream = container.streams.best("video")
    if stream is None:
        raise _Refused("the file has no video stream")
    # A stream may say one size and hold another.
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


class _About(NamedTuple):
    """What a container says before anything but its first frame is decoded."""

    plain: bool  # decord may read it
    lasts: float  # seconds
    alone: bool  # that is the video stream's length; else the length of all streams, counted from time 0


def _about(path: str) -> _About:
    """decord may read mp4, mov, mkv and webm (in avi, mpg and ts its seeking misses), without rotation, which it
    ignores, and without AV1, for which it is too old.

    Raises:
        _Refused: the file is of no container that is read, or its frames are too large.
    """
    from av.error import ArgumentError, FFmpegError

    try:
        container = _open(path)
    except ArgumentError as error:
        raise _Refused(
            "a picture, a playlist, or of no kind that is read (mp4, mov, mkv, webm, avi, ts, mpg, flv, wmv, ogv, gif)"
        ) from error
    with container:
        stream = _video(container)
        codec = stream.codec_context
        if codec.width * codec.height > MAX_PIXELS:
            raise _Refused(
                f"frames of {codec.width} x {codec.height} pixels, more than the {MAX_PIXELS:,} allowed; scale it down"
            )
        plain = container.format.name.startswith(("mov", "matroska")) and not (
            "av1" in codec.name or "dav1d" in codec.name
        )
        if plain:
            try:
                plain = next(container.decode(stream)).rotation == 0
            except (FFmpegError, StopIteration):
                plain = False
        if stream.duration:
            return _About(plain, float(stream.duration * stream.time_base), True)
        return _About(plain, (container.duration or 0) / 1e6, False)


@functools.cache
def _decord() -> Any:
    """The module, or None where it has no wheel: PyAV then reads everything."""
    try:
        import decord
    except (ImportError, OSError):  # OSError: a library it needs is not there
        return None
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def pick_frames(starts: np.ndarray, num_frames: int, clip: Clip) -> np.ndarray:
    """Which frames to read: int64 (N,) indices into `starts`, the frames' presentation times in seconds, ascending."""
    if len(starts) == 0:
        raise ValueError("no frames")
    starts = starts - starts[0]
    begin, end = clip if clip is not None else (0.0, np.inf)
    end = min(end, float(starts[-1]) + _step(starts))
    if begin >= end:
        raise _Refused(f"the clip starts at {begin:.2f} s, but the video ends at {end:.2f} s")
    middles = begin + (np.arange(num_frames) + 0.5) * (end - begin) / num_frames
    return np.clip(np.searchsorted(starts, middles + _TOLERANCE_S, side="right") - 1, 0, len(starts) - 1)


def _step(starts: np.ndarray) -> float:
    """How long a frame is shown, in seconds."""
    return float(np.median(np.diff(starts))) if len(starts) > 1 else 0.04


def _check_whole(path: str, about: _About, starts: np.ndarray, clip: Clip) -> None:
    """Refuses a file that was cut off, where that changes which frames are read: the container says how long it lasts,
    but nothing in it lasts so long. (Sound may outlast the pictures; a clip inside of what is left can be read.)"""
    begin, shown = float(starts[0]), float(starts[-1] - starts[0]) + _step(starts)
    enough = about.lasts - _SLACK_S - (_step(starts) if about.alone else 0)  # mp4 counts from the first decoding time
    held = shown if about.alone else begin + shown
    if held >= enough or (clip is not None and clip[1] <= shown):
        return
    with _open(path) as container:  # the last frame may be shown for longer than the others
        streams = [_video(container)] if about.alone else list(container.streams)
        ends = ((p.pts + (p.duration or 0)) * p.time_base for p in container.demux(streams) if p.pts is not None)
        held = max(held, float(max(ends)) - (begin if about.alone else 0))
    if held < enough:
        raise _Refused(
            f"the file is cut off: it should last {about.lasts:.2f} s, but holds {held:.2f} s. Get it again, or write "
            "it anew (ffmpeg -i FILE -c copy NEW) if this is all there is"
        )


def _decode_decord(path: str, about: _About, num_frames: int, clip: Clip) -> np.ndarray:
    reader = _decord().VideoReader(path, num_threads=1)
    starts = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    picked = pick_frames(starts, num_frames, clip)
    _check_whole(path, about, starts, clip)
    return reader.get_batch(picked.tolist()).asnumpy()


def _decode_av(path: str, about: _About, num_frames: int, clip: Clip) -> np.ndarray:
    """Reads the packets' times, then seeks to the key frame before each wanted frame and decodes up to it."""
    with _open(path) as container:
        stream = _video(container)
        pts = np.array(
            sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None and not packet.is_discard)
        )
        if len(pts) == 0:
            raise _Refused("the video stream has no frames")
        starts = pts * float(stream.time_base)
        picked = pick_frames(starts, num_frames, clip)
        _check_whole(path, about, starts, clip)
        # A picture may come in two packets, its fields: then the first of them has its time.
        wanted = [(int(pts[max(index - 1, 0)]), int(pts[index])) for index in picked]
        frames = []
        for first, last in wanted if container.format.name.startswith(("mov", "matroska", "avi")) else []:
            container.seek(last, stream=stream, backward=True)
            (frame,) = _frames_at(container.decode(stream), [last])
            if frame is None or frame.pts < first:
                break
            frames.append(frame)
    if len(frames) < num_frames:
        # Without an index (ts, mpg) seeking may end anywhere: from the beginning, then.
        with _open(path) as container:
            frames = _frames_at(container.decode(_video(container)), [last for _, last in wanted])
    for frame, index, (first, _) in zip(frames, picked, wanted, strict=True):
        if frame is None or frame.pts < first:
            raise _Refused(f"the file is damaged: its frame at {starts[index] - starts[0]:.2f} s cannot be decoded")
    # PyAV gives the angle that turns the stored picture upright, counter-clockwise.
    return np.ascontiguousarray(
        np.stack([np.rot90(f.to_ndarray(format="rgb24"), k=round(f.rotation / 90) % 4) for f in frames])
    )


def _frames_at(decoded: Iterator, times: list[int]) -> list:
    """For each of these ascending times the last frame that begins then or before, or None."""
    found: list = []
    shown = None
    for frame in decoded:
        if frame.pts is None:
            continue
        while len(found) < len(times) and frame.pts > times[len(found)]:
            found.append(shown)
        if len(found) == len(times):
            return found
        shown = frame
        while len(found) < len(times) and frame.pts == times[len(found)]:
            found.append(shown)
        if len(found) == len(times):
            return found
    return found + [shown] * (len(times) - len(found))


def video_digest(path: str | Path) -> str:
    """A cheap fingerprint of a file's content, 16 hexadecimal digits: its size, its first, middle and last 64 KiB.

    Files of up to 192 KiB are read whole. In a larger one a change of the same size in between goes unseen; a video
    encoded anew changes its size or its ends. Not a cryptographic promise.

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
