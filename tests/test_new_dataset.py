"""CONTRIBUTING.md's row on data sets, followed to the letter: a file and a row, and the notebooks train on it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reasvqa import paths
from reasvqa.datasets import load

READER = """
from reasvqa.datasets.base import Samples
from reasvqa.samples import Sample


def load(root, split):
    samples = []
    for line in (root / f"{split}.txt").read_text().splitlines():
        id, video, start, end, answer, question, *options = line.split("\\t")
        samples.append(Sample(id, video, (float(start), float(end)), question, tuple(options), int(answer), "Any"))
    return Samples(samples, root / "videos")
"""
ROW = 'DATASETS["mine"] = Dataset(mine.load, preset="smoke")\n'


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of the project with the data set "mine" in it."""
    for name in ("data", "notebooks"):
        (tmp_path / name).symlink_to(paths.CHECKOUT / name)
    package = shutil.copytree(
        paths.CHECKOUT / "reasvqa", tmp_path / "reasvqa", ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "datasets" / "mine.py").write_text(READER)
    registry = package / "datasets" / "__init__.py"
    text = registry.read_text().replace("import nextqa,", "import mine, nextqa,")
    first = text.index("DATASETS[")
    registry.write_text(text[:first] + ROW + text[first:])
    return tmp_path


@pytest.fixture
def root(smoke_star, tmp_path) -> Path:
    """Its files: some of the miniature's questions in a format that nobody else has, and responses to them."""
    folder = tmp_path / "root" / "mine"
    for split in ("train", "val"):
        samples = load("smoke-star", split)
        rows = [[s.id, s.video, *map(str, s.clip or ()), str(s.answer), s.question, *s.options] for s in samples]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{split}.txt").write_text("".join("\t".join(row) + "\n" for row in rows))
    for name in ("videos", "reasoning"):
        (folder / name).symlink_to(paths.dataset("smoke-star") / name)
    return folder.parent


@pytest.mark.slow
def test_a_data_set_is_a_file_and_a_row(project, root):
    out = project / "out.ipynb"
    command = [sys.executable, "-m", "papermill", str(project / "notebooks" / "04_train_mtl.ipynb"), str(out)]
    command += ["-p", "dataset", "mine", "-p", "scale", "smoke", "--cwd", str(project), "--no-progress-bar"]
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(project), "REASVQA_DATA": str(root)},
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kept = {path.parent.name.rpartition("-")[0] for path in (root / "runs").glob("*/meta.json")}
    assert kept == {"mine-mini-blip2-blind-s0", "mine-mini-blip2-stl-none-s0", "mine-mini-blip2-mtl-refined-s0"}
