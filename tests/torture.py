"""Many broken inputs, seeded, at everything that reads them: `python tests/torture.py videos` (or `annotations`).

pytest does not run this page: it takes minutes. The suite runs small seeded parts of the same trials. Every command
prints what happened how often, and its exit status is 1 when something did that must not: a wait without end, a process left
behind, a bare exception, other frames without a word.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil

from reasvqa import video
from reasvqa.video import VideoError, read_frames, read_many

# A decoder that dies or hangs where the file's name says so; "decord" in the name: only while decord may read it.
FAULTY = """
import os, signal, time
from reasvqa import video

def faulty(path, num_frames, clip, decord, honest=video.decode):
    name = os.path.basename(path)
    if decord or "decord" not in name:
        if "segfault" in name:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "abort" in name:
            os.abort()
        if "hang" in name:
            time.sleep(3600)
        if "spin" in name:
            while True:
                pass
    return honest(path, num_frames, clip, decord)

video.decode = faulty
video.serve()
"""
FAULTS = ("segfault", "abort", "hang", "spin")


def clips_with_faults(good: Path, folder: Path, count: int, faults: dict[int, str]) -> list[tuple[Path, None]]:
    """`count` links to a good video; those at the places in `faults` are named for what their decoder shall do."""
    paths = [folder / f"{place:03d}_{faults.get(place, 'good')}.mp4" for place in range(count)]
    for path in paths:
        path.symlink_to(good)
    return [(path, None) for path in paths]


def mutate(content: bytes, rng: random.Random) -> bytes:
    """The content with one kind of damage: cut off, bytes changed, a part zeroed, removed, doubled or moved."""
    at, length = rng.randrange(len(content)), rng.choice((1, 16, 1000, max(len(content) // 4, 1)))
    kind = rng.randrange(6)
    if kind == 0:
        return content[:at]
    if kind == 1:
        changed = bytearray(content)
        for _ in range(rng.choice((1, 10, 100))):
            changed[rng.randrange(len(content))] = rng.randrange(256)
        return bytes(changed)
    before, part, after = content[:at], content[at : at + length], content[at + length :]
    return {2: before + bytes(len(part)) + after, 3: before + after, 4: before + part + part + after}.get(
        kind, part + before + after
    )


def remux(source: Path, target: Path, **options: str) -> Path:
    """The video stream of `source` in the container that `target` is named for."""
    import av

    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        stream = old.streams.best("video")
        copy = new.add_stream_from_template(stream)
        for packet in old.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                new.mux(packet)
    return target


def decoders() -> list[psutil.Process]:
    """This process's decoders that are alive."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def mutated_clips(originals: list[Path], folder: Path, count: int, seed: int) -> Counter:
    """Damages copies of the originals and reads them: how many were "read" and "refused" (and what else happened)."""
    rng, counts, paths = random.Random(seed), Counter(), []
    for number in range(count):
        original = originals[number % len(originals)]
        paths.append(folder / f"{number:03d}{original.suffix}")
        paths[-1].write_bytes(mutate(original.read_bytes(), rng))
    for path, frames in zip(paths, read_many([(path, None) for path in paths], 2, 2), strict=True):
        if isinstance(frames, VideoError):
            counts["refused" if str(frames).startswith(f"{path}: ") else "refused without the file's name"] += 1
        else:
            counts["read" if frames.dtype == np.uint8 and frames.ndim == 4 and len(frames) == 2 else "other"] += 1
    return counts
