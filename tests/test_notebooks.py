"""Each notebook is really executed, headless, at smoke scale; and committed clean."""

import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

from reasvqa import paths

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]


PAPER = [
    name for name in NAMES if 10 <= int(name[:2]) < 40
]  # the tables and figures: `reasvqa.reproduce` executes them
REPRODUCE = [sys.executable, "-m", "reasvqa.reproduce", "--scale", "smoke", "--seeds", "0"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path.stem not in PAPER], ids=[name for name in NAMES if name not in PAPER]
)
def test_runs_headless(path, tmp_path):
    papermill.execute_notebook(path, tmp_path / path.name, parameters={"scale": "smoke"}, progress_bar=False)
    check(tmp_path / path.name)


@pytest.fixture(scope="session")
def reproduced() -> Path:
    """The whole paper at smoke scale, one seed: every run, every notebook, as anybody would start it."""
    done = subprocess.run(REPRODUCE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return paths.reproduced("smoke")


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER)
def test_is_reproduced(name, reproduced):
    check(reproduced / f"{name}.ipynb")


@pytest.mark.slow
def test_a_second_call_has_nothing_to_do(reproduced):
    before = {path: path.stat().st_mtime_ns for path in reproduced.iterdir()}
    done = subprocess.run(REPRODUCE, capture_output=True, text=True)
    assert done.returncode == 0 and "nothing to do" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in reproduced.iterdir()}


def check(path: Path) -> None:
    """An executed notebook has outputs, and no error among them."""
    outputs = [o for cell in nbformat.read(path, 4).cells if cell.cell_type == "code" for o in cell.outputs]
    assert len(outputs) >= 5 and not [o for o in outputs if o.output_type == "error"]


@pytest.mark.slow
def test_other_data_sets_and_parameters_run(tmp_path):
    parameters = {
        "scale": "smoke",
        "dataset": "nextqa",
        "beta": 0.2,
        "reasoning": "original",
        "subset": "cr",
        "seeds": [0, 1],
    }
    path = next(p for p in NOTEBOOKS if p.stem == "04_train_mtl")
    papermill.execute_notebook(path, tmp_path / "out.ipynb", parameters=parameters, progress_bar=False)


@pytest.mark.slow
def test_the_student_can_be_pretrained_again(tmp_path):
    """A few steps only: what comes out is a checkpoint that loads like the one that ships."""
    from reasvqa.students import load_student

    path = next(p for p in NOTEBOOKS if p.stem == "90_pretrain_mini")
    parameters = {"scale": "smoke", "retrain": True, "path": str(tmp_path / "again"), "student": "mini-llava-ov-small"}
    papermill.execute_notebook(path, tmp_path / "out.ipynb", parameters=parameters, progress_bar=False)
    assert load_student(str(tmp_path / "again")).video_token > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("04_train_mtl", {"beta": 1.5}, "beta=1.5: the weight of the reasoning must be at least 0 and below 1"),
        ("04_train_mtl", {"scale": "large"}, "scale='large': choose one of mini, smoke, paper"),
        ("23_figure4_beta", {"betas": [0.0, 0.55]}, "rows: '0.55' is not among 0.0, 0.1"),
        ("05_evaluate", {"first": "BERT"}, "'BERT': choose one of Blind"),
    ],
)
def test_a_wrong_parameter_fails_at_once_and_says_why(name, parameters, message, tmp_path):
    path = next(p for p in NOTEBOOKS if p.stem == name)
    with pytest.raises(papermill.PapermillExecutionError, match=message) as error:
        papermill.execute_notebook(
            path, tmp_path / "out.ipynb", parameters={"scale": "smoke"} | parameters, progress_bar=False
        )
    assert error.value.exec_count <= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_is_committed_clean(path):
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert [cell for cell in code if "parameters" in cell.metadata.get("tags", [])] == [code[0]]
    assert max(len(cell.source.splitlines()) for cell in code) <= 30
    for line in code[0].source.splitlines():
        assert "=" in line and "#" in line, f"{line!r} has no comment"
    known = papermill.inspect_notebook(path)  # what papermill understands: an equals sign in a comment confuses it
    assert list(known) == [line.split("=")[0].strip() for line in code[0].source.splitlines()]
    assert not any("\\\\" in cell.source for cell in notebook.cells if cell.cell_type == "markdown"), (
        "a doubled backslash breaks a formula"
    )
