"""Many broken inputs, servers and kills, seeded: `python tests/torture.py all`, or videos, annotations, settings,
reasoning, servers, kills, disk.

pytest does not run this page: it takes minutes. The suite runs small seeded parts of the same trials. Every command
prints what happened how often, and its exit status is 1 when something did that must not: a wait without end, a process
left behind, a bare exception, other frames without a word.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import math
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torture_disk
import torture_kills
import torture_reasoning
import torture_servers
from torture_video import clips_with_faults, faulty, mutate, mutated_clips, remux

from reasvqa import video
from reasvqa.config import TrainConfig
from reasvqa.datasets import DataError, load
from reasvqa.video import VideoError, decode, read_many

FAULTS = ("segfault", "abort", "hang", "spin")


def annotations(folder: Path, rows: int) -> dict[str, Path]:
    """A file of each loader with so many questions, each in a folder of its own under `folder`."""
    folders = {name: folder / name for name in ("nextqa", "intentqa", "star", "own")}
    for place in folders.values():
        place.mkdir(parents=True, exist_ok=True)
    options = [f"does thing {i}" for i in range(5)]
    for name, column in (("nextqa", "video"), ("intentqa", "video_id")):
        header = [column, "frame_count", "width", "height", "question", "answer", "qid", "type"]
        table = [[*header, *(f"a{i}" for i in range(5))]]
        for i in range(rows):
            question = 'why, in the end, does he say "go"' if i % 3 else "what happens"
            table.append([str(10 + i // 5), "99", "640", "480", question, str(i % 5), str(i), "CW", *options])
        with (folders[name] / "val.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)
        paths = {str(10 + i): f"11/{10 + i}" for i in range(rows // 5 + 1)}
        (folders[name] / "map_vid_vidorID.json").write_text(json.dumps(paths))
    choices = [{"choice_id": i, "choice": text} for i, text in enumerate(options[:4])]
    item = {"question": "Which?", "start": 1.5, "end": 9.0, "choices": choices, "answer": options[2]}
    items = [item | {"question_id": f"Sequence_T1_{i}", "video_id": f"V{i // 5}"} for i in range(rows)]
    (folders["star"] / "STAR_val.json").write_text(json.dumps(items, indent=1))
    table = [["video", "start", "end", "question", "a0", "a1", "a2", "answer", "split", "reasoning"]]
    for i in range(rows):
        table.append(["v.mp4", "1", "2.5", f"Who {i}, then?", *options[:3], "B", "val", 'He "runs", then\nhe stops.'])
    with (folders["own"] / "questions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)
    return folders


_HOSTILE = (
    '"', "''", ",", "\n", "\r", "\0", "\ufeff", "\ud800", "é", "[", "{", "}", "null", "NaN", "-1", "1e999", "1" * 5000,
    "x" * 140_000, "../", "/etc/passwd", "C:\\", "a.m3u8", "[" * 20_000, '{"a": ', "true", ",,,,", "\t", "\u2028",
    "\x1a",
)  # fmt: skip


def mutated_annotations(folder: Path, count: int, seed: int) -> Counter:
    """Damages a file of each loader and loads it: how many were "read" and "refused", and what must not be.

    A quotation mark put somewhere may be refused or be a part of a text; it may not cost rows.
    """
    rng, counts, rows = random.Random(seed), Counter(), 20
    folders = annotations(folder, rows)
    originals = [(name, path, path.read_bytes()) for name in folders for path in sorted(folders[name].iterdir())]
    for number in range(count):
        name, path, content = originals[number % len(originals)]
        quote = rng.random() < 0.2 and path.suffix == ".csv"
        if quote or rng.random() < 0.5:
            at = rng.randrange(len(content))
            added = '"' if quote else rng.choice(_HOSTILE)
            damaged = (
                content[:at]
                + added.encode("utf-8", "surrogatepass")
                + content[at + rng.choice((0, 0, 1, 5)) * (not quote) :]
            )
        else:
            damaged = mutate(content, rng)
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = load(name, "val", folders[name])
            counts["rows lost by a quote" if quote and len(found) != rows else "read"] += 1
        except DataError as error:
            named = str(error).startswith(str(folders[name])) and len(str(error)) < 1200
            counts["refused" if named else f"refused without the file's name: {str(error)[:200]}"] += 1
        except Exception as error:
            counts[f"{name}: {type(error).__name__}: {str(error)[:100]}"] += 1
        path.write_bytes(content)
    return counts


def settings_mistaken(count: int, seed: int) -> Counter:
    """Puts odd values into one to three settings at a time: "understood" (and then to be settled, and of the fields'
    types), "refused" by a sentence that names one of them, or what must not be."""
    rng, counts = random.Random(seed), Counter()
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    odd = [0, 1, -1, 2.5, 10**400, -(10**20), 1e308, math.nan, math.inf, True, None, "", "0.5", "false", "paper", "\0"]
    odd += ["x" * 140_000, "../..", "$x$", "\ud800", b"a", [], [0], {}, {"a": 1}, (), np.float32(0.5), np.int64(3), 1j]
    for _ in range(count):
        chosen = {name: rng.choice(odd) for name in rng.sample(names, rng.randint(1, 3))}
        try:
            config = TrainConfig(**{"dataset": "mini-star"} | chosen).resolve()
            whole = config.resolve() == config and config.label and json.dumps(dataclasses.asdict(config))
            counts["understood" if whole else f"not settled: {chosen}"] += 1
        except ValueError as error:
            named = any(str(error).startswith(f"{name}=") for name in chosen) and len(str(error)) < 1000
            counts["refused" if named else f"refused without its name: {str(error)[:50]}"] += 1
        except Exception as error:
            counts[f"{type(error).__name__}: {str(error)[:100]} for {', '.join(chosen)}"] += 1
    return counts


def steps_to_load(folder: Path, rows: int) -> int:
    """How many function calls it takes to load so many rows with every loader."""
    folders, steps = annotations(folder, rows), 0

    def count(frame, event, argument) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        for name, place in folders.items():
            load(name, "val", place).to_pandas()
    finally:
        sys.setprofile(None)
    return steps


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=[*TRIALS, "all"])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    failed = False
    for name in TRIALS if arguments.command == "all" else [arguments.command]:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            bad = TRIALS[name](Path(folder), arguments.seed)
        print(f"{name}: {'bad: ' + '; '.join(bad) if bad else 'good'}, {time.monotonic() - began:.0f} s", flush=True)
        failed |= bool(bad)
    return int(failed)


def annotation_files(folder: Path, seed: int) -> list[str]:
    """5,000 mutated annotation files."""
    counts = mutated_annotations(folder, 5000, seed)
    for what, count in counts.most_common():
        print(f"{count:6} {what}")
    return [what for what in counts if what not in ("read", "refused")]


def videos(folder: Path, seed: int) -> list[str]:
    """300 mutated clips in four containers, and 40 decoders that die or hang, with 2 and with 4 workers."""
    from reasvqa.mini.render import write_video
    from reasvqa.mini.world import make_story

    good, bad = folder / "good.mp4", []
    write_video(make_story(np.random.default_rng(seed), "good", before=1, after=1), good)
    originals = [good, remux(good, folder / "good.mkv"), remux(good, folder / "good.flv")]
    originals.append(remux(good, folder / "fast.mp4", movflags="faststart"))
    (folder / "clips").mkdir()
    counts = mutated_clips(originals, folder / "clips", 300, seed)
    print("300 mutated clips:", dict(counts))
    bad += [what for what in counts if what not in ("read", "refused")]

    video.decode, video.TIMEOUT_S = faulty, 4
    rng = random.Random(seed)
    for workers in (2, 4):
        faults = {place: FAULTS[i % 4] for i, place in enumerate(rng.sample(range(80), 40))}
        (place := folder / f"faults-{workers}").mkdir()
        clips = clips_with_faults(good, place, 80, faults)
        results, expected = list(read_many(clips, 2, workers)), decode(str(good), 2, None)
        wrong = 0
        for i, result in enumerate(results):
            wrong += not (isinstance(result, VideoError) if i in faults else np.array_equal(result, expected))
        refused = sum(isinstance(result, VideoError) for result in results)
        print(f"{workers} workers, 40 decoders that die or hang among 80: {refused} refused, {wrong} wrong")
        bad += ["a wrong result beside faulty decoders"] * (wrong > 0 or len(results) != 80)
    video.close()
    workers = [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    print(f"decoders left: {len(workers)}")
    return bad + ["decoders left"] * bool(workers)


def mistakes(count: int) -> list[str]:
    """A number of mistakes in the words of the other trials."""
    return [f"{count} mistakes"] * bool(count)


def settings(_: Path, seed: int) -> list[str]:
    counts = settings_mistaken(5000, seed)
    print(f"5000 mutated settings: {dict(counts)}")
    return [what for what in counts if what not in ("understood", "refused")]


TRIALS: dict[str, Callable[[Path, int], list[str]]] = {
    "videos": videos,
    "annotations": annotation_files,
    "settings": settings,
    "reasoning": lambda _, seed: mistakes(torture_reasoning.main(5000, 60, seed)),
    "servers": lambda *_: mistakes(torture_servers.main()),
    "kills": lambda _, seed: mistakes(torture_kills.main(200, seed)),
    "disk": lambda *_: torture_disk.main(),
}


if __name__ == "__main__":
    sys.exit(main())
