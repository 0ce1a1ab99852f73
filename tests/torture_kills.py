"""Kills at random moments of whatever trains, and what is left of it: processes, half files, other results.

`python tests/torture.py kills` runs it.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

# What is killed: runs side by side on two processes, and their answers to another split. It prints where they are.
PROGRAM = """
from reasvqa.learning import TrainConfig, train_all
if __name__ == "__main__":
    runs = train_all([TrainConfig(dataset="smoke-star", seed=seed, epochs=3) for seed in (0, 1)])
    for run in runs:
        run.predictions_on("val")
        print(run.path.name)
"""


def _start(root: Path) -> subprocess.Popen:
    program = root.parent / "program.py"
    program.write_text(PROGRAM)
    environment = os.environ | {"REASVQA_DATA": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(program)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _result(root: Path, names: list[str]) -> str:
    """A hash of what the runs hold but for their times."""
    digest = hashlib.sha256()
    for name in sorted(names):
        for pattern in ("predictions.csv", "predictions-val-*.csv", "history.csv", "weights.safetensors"):
            (file,) = (root / "runs" / name).glob(pattern)
            digest.update(file.read_bytes())
    return digest.hexdigest()


def main(kills: int = 100, seed: int = 0) -> int:
    """Kills (SIGKILL and SIGTERM in turn), rerun after each; prints counts. Returns the number of mistakes."""
    rng, mistakes, orphans, longest = random.Random(seed), 0, 0, 0.0
    with tempfile.TemporaryDirectory(prefix="reasvqa-kills-") as folder:
        root = Path(folder) / "data"
        began = time.time()
        names = _start(root).communicate()[0].split()
        undisturbed, seconds = _result(root, names), time.time() - began
        done = 0
        while done < kills:
            shutil.rmtree(root / "runs")
            shutil.rmtree(root / "features", ignore_errors=True)
            while True:
                process = _start(root)
                try:
                    output = process.communicate(timeout=rng.uniform(0.2, 1.1) * seconds)[0]
                    break  # it came to its end
                except subprocess.TimeoutExpired:
                    children = psutil.Process(process.pid).children(recursive=True)
                    process.send_signal((signal.SIGKILL, signal.SIGTERM)[done % 2])
                    process.wait()
                    done, ended = done + 1, time.time()
                    # A child that was killed for while it still imported ends when that is done.
                    _, alive = psutil.wait_procs(children, timeout=20)
                    longest = max(longest, time.time() - ended)
                    orphans += len(alive)
                    for child in alive:
                        child.kill()
            if sorted(output.split()) != sorted(names) or _result(root, names) != undisturbed:
                mistakes += 1
        left = [path.name for path in (root / "runs").iterdir() if path.name.endswith((".partial", ".old"))]
    print(f"{done} kills: {mistakes} other results, {len(left)} leftovers")
    print(f"{orphans} processes outlived theirs by 20 s; the last of the others ended after {longest:.1f} s")
    return mistakes + orphans + len(left)


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))
