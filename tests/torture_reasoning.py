"""Reasoning files that are damaged, and generations that are killed, by the hundred. Seeded.

    python tests/torture_reasoning.py                  2,000 damaged files, 60 kills
    python tests/torture_reasoning.py 100 10 7         100 files, 10 kills, another seed

A damaged file is either read and continued, with every whole line still there or on the side, or refused by one
sentence that names the file, and then not a byte of it is touched. A run that is killed again and again ends with the
file of one that nobody disturbed.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from test_generation import Counting, killed_again_and_again, samples

from reasvqa.generation import ReasoningError, generate, read_reasoning

VALUES = [
    None,
    True,
    0,
    -1,
    4,
    10**30,
    1e400,
    "",
    "B",
    "\ud800",
    "x" * 100_000,
    [],
    [[]],
    {},
    {"id": "s0"},
    "s1",
    "Answer:",
]
PIECES = [
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xff",
    b"{",
    b"}",
    b'"',
    b",",
    b"[",
    b"\xef\xbb\xbf",
    b"\\u",
    b"1e9",
    b"\xe2\x80",
]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The file after one to three accidents: to bytes, to lines or to values."""
    for _ in range(rng.randint(1, 3)):
        at, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
        lines = content.split(b"\n")
        line = rng.randrange(len(lines))
        accident = rng.randrange(8)
        if accident == 0:
            content = content[:at]
        elif accident == 1:
            content = content[:at] + rng.choice(PIECES) + content[at:]
        elif accident == 2:
            content = content[:at] + content[end:]
        elif accident == 3:
            content = content[:end] + content[at:]
        elif accident == 4:
            content = content.replace(b"\n", rng.choice([b"\r", b"\r\n", b"", b"\n\n"]))
        elif accident == 5:
            rng.shuffle(lines)
            content = b"\n".join(lines)
        elif accident == 6:
            content = b"\n".join([*lines[:line], rng.choice(lines), *lines[line:]])
        else:
            try:
                row = json.loads(lines[line])
                row[rng.choice([*row, "new"])] = rng.choice(VALUES)
                content = b"\n".join([*lines[:line], json.dumps(row).encode(), *lines[line + 1 :]])
            except (ValueError, TypeError):
                pass  # an accident has been here already
    return content


def outcome(content: bytes, folder: Path) -> str:
    """How reading and continuing a file ends; a mistake begins with "MISTAKE"."""
    path = folder / "r.jsonl"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = generate(samples(12), Counting(), path)
        except ReasoningError as error:
            if path.read_bytes() != content:
                return f"MISTAKE: refused and changed ({error})"
            return "refused" if str(path) in str(error) else f"MISTAKE: {error}"
        except Exception as error:
            return f"MISTAKE: {type(error).__name__}: {error}"
    side = folder / "r.removed"
    after = path.read_bytes() + (side.read_bytes() if side.exists() else b"")
    lost = [line for line in content.replace(b"\r", b"\n").split(b"\n") if line.strip() not in after]
    if lost:
        return f"MISTAKE: lost {lost[0][:200]!r}"
    if not read_reasoning(path, samples(12)).equals(table) or len(table) != 12:
        return "MISTAKE: read otherwise"
    return "continued, lines on the side" if side.exists() else "continued"


def main(files: int = 2000, kills: int = 60, seed: int = 0) -> int:
    """Prints what happened; the number of mistakes is the exit status."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        generate(samples(8), Counting(), Path(folder, "whole.jsonl"))
        whole = Path(folder, "whole.jsonl").read_bytes()
    for number in range(files):
        with tempfile.TemporaryDirectory() as folder:
            end = outcome(damaged(whole, random.Random(f"{seed} {number}")), Path(folder))
        counts[end.partition(":")[0]] += 1
        if end.startswith("MISTAKE"):
            print(f"file {number}: {end}", flush=True)
    print(f"{files} damaged files: {', '.join(f'{n} {end}' for end, n in counts.items())}", flush=True)
    mistakes = counts["MISTAKE"]
    for trial in range(kills // 6):
        with tempfile.TemporaryDirectory() as folder:
            killed, undisturbed = killed_again_and_again(Path(folder), 6, 1000 * seed + trial)
        mistakes += killed != undisturbed
        print(f"6 kills: {'the same file' if killed == undisturbed else 'ANOTHER FILE'}", flush=True)
    print(f"{mistakes} mistakes")
    return mistakes


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
