"""Each notebook is really executed, headless, at smoke scale; refuses wrong parameters at once; and is committed clean.

The tables and figures are executed as anybody would, by `reasvqa.companion.reproduce`, which trains their runs as well.
"""

import re
import subprocess
from pathlib import Path

import nbformat
import papermill
import pytest
from conftest import REPRODUCE

from reasvqa import paths
from reasvqa.companion.experiments import EXPERIMENTS, all_settings

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
BY_NAME = {path.stem: path for path in NOTEBOOKS}
PAPER = list(dict.fromkeys(what.notebook for what in EXPERIMENTS.values()))
# What each of the others is executed with: between them every data set, and settings that are not the default.
OTHERS: dict[str, dict] = {
    "00_start_here": {"dataset": "intentqa"},
    "01_generate_reasoning": {},
    "02_refine_reasoning": {},
    "03_train_stl": {},
    "04_train_mtl": {"dataset": "nextqa", "beta": 0.2, "reasoning": "original", "subset": "cr", "seeds": [1]},
    "05_evaluate": {},
    "40_benchmark": {"rounds": 1, "steps": 1, "batch_size": 2},
    "50_your_own_data": {},
    "51_small_real_model": {},
    "90_pretrain_mini": {"student": "mini-llava-ov-small", "retrain": True},
    "91_lavis_parity": {},
}
WIDTH = 95  # letters that JupyterLab shows in a window of 1366 pixels


def solutions(path: Path) -> list[str]:
    """The solutions of a notebook's exercises. They are folded in its last cell, so that nobody pays for them."""
    text = nbformat.read(path, 4).cells[-1].source
    return re.findall(r"<details><summary>Solution</summary>\n\n```python\n(.*?)\n```\n\n</details>", text, re.DOTALL)


def execute(name: str, out: Path, **parameters) -> None:
    """Executes a notebook, and behind it the solutions of its exercises."""
    notebook = nbformat.read(BY_NAME[name], 4)
    notebook.cells += [nbformat.v4.new_code_cell(solution) for solution in solutions(BY_NAME[name])]
    nbformat.write(notebook, out)
    parameters = {"scale": "smoke"} | parameters
    papermill.execute_notebook(out, out, parameters=parameters, progress_bar=False)


def check(path: Path) -> None:
    """An executed notebook has outputs, and no error among them."""
    outputs = [o for cell in nbformat.read(path, 4).cells if cell.cell_type == "code" for o in cell.outputs]
    assert len(outputs) >= 4 and not [o for o in outputs if o.output_type == "error"]


def test_every_notebook_is_executed_by_one_of_these_tests():
    assert set(PAPER) | set(OTHERS) == set(BY_NAME)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_runs_headless(name, tmp_path):
    """The student that is pretrained again, in a few steps only, is a checkpoint that loads like the one that ships."""
    again = {"path": str(tmp_path / "again")} if "retrain" in OTHERS[name] else {}
    execute(name, tmp_path / "out.ipynb", **OTHERS[name], **again)
    check(tmp_path / "out.ipynb")
    if again:
        from reasvqa.students import load_student

        assert load_student(again["path"]).video_token > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER)
def test_is_reproduced(name, reproduced):
    check(reproduced / f"{name}.ipynb")


@pytest.mark.slow
def test_a_second_call_has_nothing_to_do(reproduced):
    kept = {path.name for path in paths.runs().glob("*/meta.json")}
    before = {path: path.stat().st_mtime_ns for path in reproduced.iterdir()}
    done = subprocess.run(REPRODUCE, capture_output=True, text=True)
    assert done.returncode == 0 and "nothing to do" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in reproduced.iterdir()}
    assert kept == {path.name for path in paths.runs().glob("*/meta.json")}
    assert len(list(paths.runs().glob("*/meta.json"))) >= len(all_settings("smoke", [0]))


# --- wrong parameters -------------------------------------------------------------------------------------------------


def code_of(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


PARAMETERS = [(path.stem, name) for path in NOTEBOOKS for name in papermill.inspect_notebook(path)]


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_a_wrong_parameter_is_refused_by_the_first_cell(name, parameter, smoke_star, tmp_path, monkeypatch):
    """A number where text is wanted, text where anything else is: a ValueError that begins with the parameter."""
    parameters, first, *_ = code_of(BY_NAME[name])
    values: dict = {}
    exec(parameters, values)
    text = isinstance(values[parameter], str) or "None" in parameters.split(f"{parameter} = ")[1].splitlines()[0]
    values |= {"scale": "smoke", parameter: -3.5 if text else "wrong!"}
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"^{parameter}="):
        exec(first, values)


@pytest.mark.slow
def test_a_wrong_parameter_fails_at_once_and_says_why(tmp_path):
    """As papermill hands it over: text that is not False."""
    with pytest.raises(papermill.PapermillExecutionError, match="lora='false': expected True or False") as error:
        execute("04_train_mtl", tmp_path / "out.ipynb", lora="false")
    assert error.value.exec_count <= 3


@pytest.mark.parametrize("name", [name for name in BY_NAME if name < "06"])
def test_there_is_something_to_try(name):
    """Two or three exercises, each with a solution that fits the page (they are executed by `test_runs_headless`)."""
    last = nbformat.read(BY_NAME[name], 4).cells[-1]
    found = solutions(BY_NAME[name])
    assert last.cell_type == "markdown" and len(re.findall(r"^\*\*\d\. ", last.source, re.MULTILINE)) == len(found)
    assert 2 <= len(found) <= 3 and last.source.count("<details>") == len(found)
    for solution in found:
        assert max(map(len, solution.splitlines())) <= WIDTH and len(solution.splitlines()) <= 30


# --- as committed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=BY_NAME)
def test_is_committed_clean(path):
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    assert [cell for cell in code if "parameters" in cell.metadata.get("tags", [])] == [code[0]]
    assert max(len(cell.source.splitlines()) for cell in code) <= 30
    assert max(len(line) for cell in code for line in cell.source.splitlines()) <= WIDTH
    for line in code[0].source.splitlines():
        assert "=" in line and "#" in line, f"{line!r} has no comment"
    known = papermill.inspect_notebook(path)  # what papermill understands: an equals sign in a comment confuses it
    assert list(known) == [line.split("=")[0].strip() for line in code[0].source.splitlines()]
    assert not any("\\\\" in cell.source for cell in notebook.cells if cell.cell_type == "markdown"), (
        "a doubled backslash breaks a formula"
    )
