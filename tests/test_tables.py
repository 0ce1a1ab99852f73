"""The notebooks of tables and figures, at smoke scale: two by `reasvqa reproduce`, the others in this process."""

import subprocess
import sys

import nbformat
import pytest
from executed import PAPER, execute

from reasvqa import paths
from reasvqa.companion import reproduce
from reasvqa.companion.experiments import EXPERIMENTS, all_settings

NAMES = ["table6", "figure2"]
REPRODUCE = ["--scale", "smoke", "--seeds", "0", "--jobs", "1", "--only", *NAMES]


@pytest.fixture(scope="module")
def reproduced():
    """Every run and every notebook of two tables, as anybody would start it. The folder of the executed notebooks."""
    command = [sys.executable, "-m", "reasvqa", "reproduce", *REPRODUCE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return paths.reproduced("smoke")


@pytest.mark.slow
def test_they_are_reproduced_and_a_second_call_has_nothing_to_do(reproduced, capsys):
    for name in NAMES:
        cells = nbformat.read(reproduced / f"{EXPERIMENTS[name].notebook}.ipynb", 4).cells
        kinds = [output.output_type for cell in cells if cell.cell_type == "code" for output in cell.outputs]
        assert len(kinds) >= 4 and "error" not in kinds, name
    before = {path: path.stat().st_mtime_ns for path in [*reproduced.iterdir(), *paths.runs().glob("*/meta.json")]}
    assert reproduce.main(REPRODUCE) == 0 and "nothing to do" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in [*reproduced.iterdir(), *paths.runs().glob("*/meta.json")]}
    assert before == after and len(after) >= len(all_settings("smoke", [0], NAMES))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PAPER if name not in {EXPERIMENTS[one].notebook for one in NAMES}])
def test_runs_headless(name, reproduced):
    execute(name, seeds=[0])
