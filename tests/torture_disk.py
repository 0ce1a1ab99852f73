"""A disk that is full or cannot be written, at every stage: `python tests/torture.py disk` (Linux, as root: it mounts
small file systems of its own).

A stage may end with a sentence and a status, never by a signal; what it leaves must not hinder the same command when
there is room again, and the result must be the one of an undisturbed disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

# From nothing to a figure, a stage after the other; each says its name first. The last line is what came out.
PROGRAM = """
import hashlib, sys
import matplotlib.pyplot as plt
import pandas as pd
from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import load
from reasvqa.generation import generate
from reasvqa.learning import train
from reasvqa.mini.build import SimulatedGenerator
from reasvqa.mini.generator import STRENGTHS
from reasvqa.companion import saving

print("data", flush=True)
samples = load("smoke-star", "train")
print("reasoning", flush=True)
generator = SimulatedGenerator(paths.dataset("smoke-star"), STRENGTHS["sim-weak"])
written = generate(samples, generator, paths.data() / "again" / "sim-weak.jsonl")
print("features and training", flush=True)
run = train(TrainConfig(dataset="smoke-star", epochs=2))
print("answers", flush=True)
run.predictions_on("val")
print("figure", flush=True)
figure, axes = plt.subplots()
axes.plot([1, 2])
saving.save_figure(figure, "line", pd.DataFrame({"y": [1, 2]}), "smoke", [run], "A line")
digest = hashlib.sha256("".join(written["response"]).encode())
digest.update(run.predictions_on("val").to_csv().encode())
for path in [*(run.path / name for name in ("predictions.csv", "history.csv", "weights.safetensors")),
             paths.figures("smoke") / "line.png"]:
    digest.update(path.read_bytes())
print("done", digest.hexdigest(), flush=True)
"""


@contextmanager
def _disk(folder: Path, kilobytes: int):
    """A file system of this size."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def _run(folder: Path) -> tuple[int, list[str], str]:
    """Status, what was printed, the last line of the error."""
    environment = os.environ | {"REASVQA_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=600
    )
    printed = [line for line in done.stdout.splitlines() if line]
    return done.returncode, printed, (done.stderr.strip().splitlines() or [""])[-1]


def main(steps: int = 12) -> list[str]:
    """Prints a line per trial. Returns what must not have happened."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        print("disk: skipped, it takes Linux and the right to mount")
        return []
    bad: list[str] = []
    with tempfile.TemporaryDirectory(prefix="reasvqa-disk-") as name:
        folder = Path(name) / "disk"
        with _disk(folder, 1_000_000):
            _, printed, error = _run(folder)
            if not printed or not printed[-1].startswith("done"):
                return [f"the undisturbed trial ends with: {error}"]
            undisturbed = printed[-1]
            used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 1024
        for step in range(1, steps + 1):
            room = used * step // steps + 8
            with _disk(folder, room):
                status, printed, error = _run(folder)
                print(f"full at {room} of {used} kB: stage {printed[-1][:40]!r}, status {status}, {error[:110]}")
                if status < 0 or (status == 0 and printed[-1] != undisturbed):
                    bad.append(f"full at {room} kB: status {status}")
                if status > 0 and not any(word in error for word in ("No space left", "GB are free")):
                    bad.append(f"full at {room} kB: no word of the disk: {error[:200]}")
                _remount(folder, "size=1000000k")
                status, printed, error = _run(folder)
                if not printed or printed[-1] != undisturbed:
                    bad.append(f"full at {room} kB, then room: {error[:200] or 'another result'}")
        with _disk(folder, 1_000_000):  # everything is there: nothing needs to be written but the figure
            _run(folder)
            _remount(folder, "ro")
            status, printed, error = _run(folder)
            print(f"read-only, all there: stage {printed[-1]!r}, status {status}, {error[:110]}")
            bad += ["read-only: more than the figure failed"] * (printed[-1] not in ("figure", undisturbed))
            _remount(folder, "rw")
            again = _run(folder)[1]
            bad += ["read-only, then not: another result"] * (again[-1:] != [undisturbed])
        with _disk(folder, 1_000_000):
            _remount(folder, "ro")
            status, printed, error = _run(folder)
            print(f"read-only, nothing there: stage {printed[-1]!r}, status {status}, {error[:110]}")
            bad += ["read-only, nothing there: no sentence"] * (status <= 0 or "ead-only" not in error)
    return bad


if __name__ == "__main__":
    found = main()
    print(*found, sep="\n")
    sys.exit(bool(found))
