"""Videos made for tests: every picture shows its number, so that a decoder's result can be read off the frames."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from reasvqa import video

RATE = 25


def numbered(number: int) -> np.ndarray:
    """Draw a picture, uint8 (64, 128, 3): eight blocks for the bits of `number`, red above on the left."""
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[:8, :64, 0] = 255
    for bit in range(8):
        row, column = divmod(bit, 4)
        picture[8 + 28 * row : 36 + 28 * row, 32 * column : 32 * column + 32] = 255 * (number >> bit & 1)
    return picture


def numbers_of(frames: Iterable[np.ndarray]) -> list[int]:
    """Read the numbers off pictures."""
    blocks = [
        [f[14 + 28 * (b // 4) : 30 + 28 * (b // 4), 32 * (b % 4) + 8 : 32 * (b % 4) + 24] for b in range(8)]
        for f in frames
    ]
    return [sum(int(block.mean() > 128) << bit for bit, block in enumerate(of_one)) for of_one in blocks]


PIXELS = {"gif": "rgb8", "qtrle": "gray", "rpza": "rgb555le"}


def write(path: Path, codec: str = "libx264", times: Iterable[int] = range(200), sound: bool = False, **options: str):
    """Encode the pictures 0, 1, ...; picture i is shown at times[i] / RATE seconds. `sound` puts a first stream."""
    with av.open(str(path), "w") as file:
        noise = file.add_stream("aac", rate=8000) if sound else None
        stream = file.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 128, 64, PIXELS.get(codec, "yuv420p")
        stream.codec_context.time_base = Fraction(1, RATE)
        stream.options = options
        if codec in ("mpeg4", "mpeg2video"):
            stream.bit_rate = 4_000_000
        for number, at in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = at, Fraction(1, RATE)
            file.mux(stream.encode(frame))
            if noise is not None:
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.float32), format="fltp", layout="mono")
                silence.sample_rate = 8000
                file.mux(noise.encode(silence))
        file.mux(stream.encode())
    return path


def remux(source: Path, target: Path, start_s: float = 0.0, end_s: float = 1e9, **options: str) -> Path:
    """Copy without encoding what is shown from `start_s` on, as `ffmpeg -ss START -i SOURCE -c copy TARGET` does: from
    the key frame before it on, with negative times, which mp4 and mov hide by an edit list."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams if s.type in ("video", "audio")}
        if start_s:
            old.seek(int(start_s / old.streams.video[0].time_base), stream=old.streams.video[0])
        for packet in old.demux():
            if packet.dts is not None and packet.stream_index in streams and packet.pts * packet.time_base < end_s:
                shift = round(start_s / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = streams[packet.stream_index]
                new.mux(packet)
    return target


def set_edits(path: Path, edits: list[tuple[float, float]]) -> Path:
    """Give the only track of an mp4 file these edits: (seconds shown, from which second of the media on; -1: nothing).

    The file's moov box must be its last one (ISO 14496-12, 8.6.6).
    """
    data = path.read_bytes()

    def box(name: bytes) -> tuple[int, int]:
        at = data.index(name) - 4
        return at, at + int.from_bytes(data[at : at + 4], "big")

    def scale(name: bytes) -> int:
        return int.from_bytes(data[(at := data.index(name) + 16) : at + 4], "big")

    entries = [(round(s * scale(b"mvhd")), round(m * scale(b"mdhd")) if m >= 0 else -1, 1 << 16) for s, m in edits]
    body = struct.pack(">II", 0, len(edits)) + b"".join(struct.pack(">IiI", *entry) for entry in entries)
    elst = struct.pack(">I4s", 8 + len(body), b"elst") + body
    edts = struct.pack(">I4s", 8 + len(elst), b"edts") + elst
    start, end = box(b"edts")
    changed = bytearray(data[:start] + edts + data[end:])
    for name in (b"moov", b"trak"):
        at, stop = box(name)
        changed[at : at + 4] = (stop - at + len(edts) - (end - start)).to_bytes(4, "big")
    path.write_bytes(changed)
    return path


def turn(source: Path, target: Path, a: int, b: int, c: int, d: int) -> Path:
    """Copy an mp4 or mov file and write the matrix of its track (ISO 14496-12, tkhd)."""
    data = bytearray(source.read_bytes())
    at = data.find(b"tkhd") + 4 + 40
    matrix = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", *matrix)
    target.write_bytes(data)
    return target


# --- faults -----------------------------------------------------------------------------------------------------------


def faulty(path: str, num_frames: int, clip: video.Clip, honest=video.decode):
    """`decode`, but the decoder dies or hangs if the file's name says so."""
    name = os.path.basename(path)
    if "segfault" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "abort" in name:
        os.abort()
    if "hang" in name:
        time.sleep(3600)
    while "spin" in name:
        pass
    return honest(path, num_frames, clip)


def clips_with_faults(good: Path, folder: Path, count: int, faults: dict[int, str]) -> list[tuple[Path, None]]:
    """`count` links to a good video; those at the places in `faults` are named for what their decoder shall do."""
    paths = [folder / f"{place:03d}_{faults.get(place, 'good')}.mp4" for place in range(count)]
    for path in paths:
        path.symlink_to(good)
    return [(path, None) for path in paths]
