"""Many broken inputs, servers and kills, seeded: `python tests/torture.py all`, or the name of one of `TRIALS`.

pytest does not run this page: it takes minutes. The suite runs small seeded parts of the same trials. Every trial
prints what happened how often. The exit status is 1 when something did that must not: a wait without end, a process
left behind, a bare exception, silently other frames.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import torture_servers
from made_videos import clips_with_faults, faulty, remux
from test_generation import Counting, killed_again_and_again, samples

from reasvqa import video
from reasvqa.datasets import DataError, load
from reasvqa.generation import ReasoningError, generate, read_reasoning
from reasvqa.video import VideoError, decode, read_many

# --- videos -----------------------------------------------------------------------------------------------------------


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Return the content with one kind of damage: cut off, bytes changed, a part zeroed, removed, doubled or moved."""
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


def mutated_clips(originals: list[Path], folder: Path, count: int, seed: int) -> Counter:
    """Damage copies of the originals and read them: count how many were "read" and "refused" (and what else happened).

    One that is only cut off must be refused or show the original's frames.
    """
    rng, counts, paths = random.Random(seed), Counter(), []
    whole = dict(zip(originals, read_many([(path, None) for path in originals], 2, 2), strict=True))
    for number in range(count):
        original = originals[number % len(originals)]
        paths.append(folder / f"{number:03d}{original.suffix}")
        paths[-1].write_bytes(mutate(original.read_bytes(), rng))
    for number, (path, frames) in enumerate(zip(paths, read_many([(path, None) for path in paths], 2, 2), strict=True)):
        original = originals[number % len(originals)]
        if isinstance(frames, VideoError):
            counts["refused" if str(frames).startswith(f"{path}: ") else "refused without the file's name"] += 1
        elif original.read_bytes().startswith(path.read_bytes()) and not np.array_equal(frames, whole[original]):
            counts[f"cut off, and other frames ({original.name})"] += 1
        else:
            counts["read" if frames.dtype == np.uint8 and frames.ndim == 4 and len(frames) == 2 else "other"] += 1
    return counts


def videos(folder: Path, seed: int) -> list[str]:
    """Read 300 mutated clips in four containers, and 40 clips whose decoders die or hang, with 2 and with 4 workers."""
    from reasvqa.mini.render import write_video
    from reasvqa.mini.world import make_story

    good = folder / "good.mp4"
    write_video(make_story(np.random.default_rng(seed), "good", before=1, after=1), good)
    originals = [good, *(remux(good, folder / f"good.{kind}") for kind in ("mkv", "flv"))]
    originals.append(remux(good, folder / "fast.mp4", movflags="faststart"))
    (folder / "clips").mkdir()
    bad = report(mutated_clips(originals, folder / "clips", 300, seed))
    video.decode, video.TIMEOUT_S = faulty, 4
    expected, rng = decode(str(good), 2, None), random.Random(seed)
    for workers in (2, 4):
        kinds = ("segfault", "abort", "hang", "spin")
        faults = {place: kinds[i % 4] for i, place in enumerate(rng.sample(range(80), 40))}
        (place := folder / f"faults-{workers}").mkdir()
        results = list(read_many(clips_with_faults(good, place, 80, faults), 2, workers))
        refused = {i for i, result in enumerate(results) if isinstance(result, VideoError)}
        same = all(np.array_equal(result, expected) for i, result in enumerate(results) if i not in faults)
        print(f"{workers} workers, 40 decoders that die or hang among 80: {len(refused)} refused")
        bad += ["a wrong result beside faulty decoders"] * (refused != set(faults) or not same or len(results) != 80)
    video.close()
    left = [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    return bad + ["decoders left"] * bool(left)


# --- annotations ------------------------------------------------------------------------------------------------------


def annotations(folder: Path, rows: int) -> dict[str, Path]:
    """Write a file of each loader with so many questions, each in a folder of its own under `folder`."""
    folders = {name: folder / name for name in ("nextqa", "intentqa", "star", "own")}
    for place in folders.values():
        place.mkdir(parents=True, exist_ok=True)

    def write(path: Path, header: str, table: list[list]) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header.split(), *table])

    options, numbers = [f"does thing {i}" for i in range(5)], range(rows)
    asked = ["what happens", *['why, in the end, does he say "go"'] * 2]
    table = [[10 + i // 5, 99, 640, 480, asked[i % 3], i % 5, i, "CW", *options] for i in numbers]
    for name, column in (("nextqa", "video"), ("intentqa", "video_id")):
        header = f"{column} frame_count width height question answer qid type a0 a1 a2 a3 a4"
        write(folders[name] / "val.csv", header, table)
        paths = {str(10 + i): f"11/{10 + i}" for i in range(rows // 5 + 1)}
        (folders[name] / "map_vid_vidorID.json").write_text(json.dumps(paths))
    choices = [{"choice_id": i, "choice": text} for i, text in enumerate(options[:4])]
    item = {"question": "Which?", "start": 1.5, "end": 9.0, "choices": choices, "answer": options[2]}
    items = [item | {"question_id": f"Sequence_T1_{i}", "video_id": f"V{i // 5}"} for i in numbers]
    (folders["star"] / "STAR_val.json").write_text(json.dumps(items, indent=1))
    own = ["B", "val", 'He "runs", then\nhe stops.']
    table = [["v.mp4", 1, 2.5, f"Who {i}, then?", *options[:3], *own] for i in numbers]
    write(folders["own"] / "questions.csv", "video start end question a0 a1 a2 answer split reasoning", table)
    return folders


_HOSTILE = (
    '"', "''", ",", "\n", "\r", "\0", "\ufeff", "\ud800", "é", "[", "{", "}", "null", "NaN", "-1", "1e999", "1" * 5000,
    "x" * 140_000, "../", "/etc/passwd", "C:\\", "a.m3u8", "[" * 20_000, '{"a": ', "true", ",,,,", "\t", "\u2028",
    "\x1a",
)  # fmt: skip


def insert_hostile(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return (
        content[:at] + rng.choice(_HOSTILE).encode("utf-8", "surrogatepass") + content[at + rng.choice((0, 0, 1, 5)) :]
    )


def mutated_annotations(folder: Path, files: int, seed: int) -> Counter:
    """Damage a file of each loader and load it: count how many were "read" and "refused", and what must not be.

    A quotation mark put somewhere may be refused or be a part of a text; it may not cost rows.
    """
    rng, counts, rows = random.Random(seed), Counter(), 20
    folders = annotations(folder, rows)
    originals = [(name, path, path.read_bytes()) for name in folders for path in sorted(folders[name].iterdir())]
    for number in range(files):
        name, path, content = originals[number % len(originals)]
        quote = rng.random() < 0.2 and path.suffix == ".csv"
        at = rng.randrange(len(content))
        hurt = rng.choice((mutate, insert_hostile))
        path.write_bytes(content[:at] + b'"' + content[at:] if quote else hurt(content, rng))
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


def steps_to_load(folder: Path, rows: int) -> int:
    """Count how many function calls it takes to load so many rows with every loader."""
    folders, steps = annotations(folder, rows), itertools.count()
    sys.setprofile(lambda *_: next(steps) and None)
    try:
        for name, place in folders.items():
            load(name, "val", place).to_pandas()
    finally:
        sys.setprofile(None)
    return next(steps)


# --- reasoning files --------------------------------------------------------------------------------------------------

_VALUES = (
    None, True, 0, -1, 4, 10**30, 1e400, "", "B", "\ud800", "x" * 100_000, [], [[]], {}, {"id": "s0"}, "s1", "Answer:",
)  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return the file after one to three accidents: to bytes, to lines or to values."""
    for _ in range(rng.randint(1, 3)):
        lines = content.split(b"\n")
        line, accident = rng.randrange(len(lines)), rng.randrange(6)
        if accident == 0 and content:
            content = mutate(content, rng)
        elif accident == 1:
            content = insert_hostile(content, rng)
        elif accident == 2:
            content = content.replace(b"\n", rng.choice([b"\r", b"\r\n", b"", b"\n\n"]))
        elif accident == 3:
            content = b"\n".join(rng.sample(lines, len(lines)))
        elif accident == 4:
            content = b"\n".join([*lines[:line], rng.choice(lines), *lines[line:]])
        else:
            with suppress(ValueError, TypeError):  # an accident has been here already
                row = json.loads(lines[line])
                row[rng.choice([*row, "new"])] = rng.choice(_VALUES)
                content = b"\n".join([*lines[:line], json.dumps(row).encode(), *lines[line + 1 :]])
    return content


def continued(content: bytes, folder: Path) -> str:
    """Read and continue a file: how it ends. No whole line may be lost, and a file that is refused stays as it is."""
    path, side = folder / "r.jsonl", folder / "r.removed"
    path.write_bytes(content)
    try:
        table = generate(samples(12), Counting(), path)
    except ReasoningError as error:
        changed = path.read_bytes() != content
        return "refused, but changed" if changed else "refused" if str(path) in str(error) else f"unnamed: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    after = path.read_bytes() + (side.read_bytes() if side.exists() else b"")
    if any(line.strip() not in after for line in content.replace(b"\r", b"\n").split(b"\n")):
        return "a line is lost"
    again = read_reasoning(path, samples(12))
    return "continued" if again.equals(table) and len(table) == 12 else "read otherwise"


def reasoning(folder: Path, seed: int) -> list[str]:
    """Read and continue 5,000 damaged files; kill 10 runs, 6 times each, and let them end."""
    generate(samples(8), Counting(), folder / "whole.jsonl")
    whole, counts = (folder / "whole.jsonl").read_bytes(), Counter()
    for number in range(5000):
        with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            counts[continued(damaged(whole, random.Random(f"{seed} {number}")), Path(place))] += 1
    for trial in range(10):
        (place := folder / str(trial)).mkdir()
        killed, undisturbed = killed_again_and_again(place, 6, 1000 * seed + trial)
        counts["continued" if killed == undisturbed else "another file after kills"] += 1
    return report(counts)


# --- the command ------------------------------------------------------------------------------------------------------


def report(counts: Counter[str]) -> list[str]:
    """Print what happened how often; return what must not have happened."""
    for what, count in counts.most_common():
        print(f"{count:6} {what}")
    return [what for what in counts if what not in ("read", "refused", "continued")]


TRIALS: dict[str, Callable[[Path, int], list[str]]] = {
    "videos": videos,
    "annotations": lambda folder, seed: report(mutated_annotations(folder, 5000, seed)),
    "reasoning": reasoning,
    "servers": lambda *_: torture_servers.mistakes(),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trial", choices=[*TRIALS, "all"])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    failed = False
    for name in TRIALS if arguments.trial == "all" else [arguments.trial]:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            bad = TRIALS[name](Path(folder), arguments.seed)
        print(f"{name}: {'bad: ' + '; '.join(bad) if bad else 'good'}, {time.monotonic() - began:.0f} s", flush=True)
        failed |= bool(bad)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
