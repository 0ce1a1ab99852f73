"""An installed copy works outside a checkout: import, train at smoke scale, draw a figure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
SCRIPT = """
from pathlib import Path
import reasvqa
import runpy, sys
from reasvqa import paths
from reasvqa.companion import paper
from reasvqa.learning import TrainConfig, train
from reasvqa.companion.claims import claims
from reasvqa.companion import figures, saving

sys.argv = ["reasvqa", "check", "--help"]
try:
    runpy.run_module("reasvqa", run_name="__main__")
except SystemExit as ended:
    assert ended.code == 0
assert paths.CHECKOUT is None and Path(reasvqa.__file__).is_relative_to(Path("installed").resolve()), reasvqa.__file__
assert paths.data() == Path("reasvqa-data").resolve()
assert paper.table(5).loc["MTL_All", "STAR"] == 73.2 and len(claims()) > 30
run = train(TrainConfig(dataset="smoke-star", questions=8))
figure = figures.learning_curves({"MTL_All": [run]})
print(saving.save_figure(figure, "curves", run.history, "smoke", [run]))
"""


@pytest.mark.slow
def test_an_installed_copy_works_without_a_checkout(tmp_path):
    """Made of what git has, in a folder that has nothing else."""
    source = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True)
    names = listed.stdout.splitlines()
    if listed.returncode:
        pytest.skip("not a checkout: nobody knows which files belong to it")
    for name in names:
        if name.startswith(("reasvqa/", "data/")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, source / name)
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--target", str(target), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    environment = {k: v for k, v in os.environ.items() if k not in ("REASVQA_DATA", "PYTHONPATH")}
    environment["PYTHONPATH"] = os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "usage: reasvqa check" in done.stdout and (target / "bin" / "reasvqa").is_file()
    picture = Path(done.stdout.splitlines()[-1])
    assert picture.is_file() and picture.is_relative_to(tmp_path / "reasvqa-data")
    assert {file.suffix for file in picture.parent.glob("curves.*")} == {".pdf", ".png", ".csv", ".json"}
    assert {path.name for path in tmp_path.iterdir()} == {"source", "installed", "reasvqa-data"}
