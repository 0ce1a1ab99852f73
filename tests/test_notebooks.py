"""Each notebook is really executed, headless, at smoke scale; refuses wrong parameters at once; and is committed clean.

`test_tables` executes the notebooks of tables and figures.
"""

import nbformat
import papermill
import pytest
from executed import BY_NAME, NOTEBOOKS, PAPER, code_of, execute

from reasvqa import paths
from reasvqa.generation import read_reasoning
from reasvqa.mini.tiny import write_tiny
from reasvqa.students import load_student

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


def test_every_notebook_is_executed_by_one_of_these_tests():
    assert set(PAPER) | set(OTHERS) == set(BY_NAME)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_runs_headless(name, tmp_path):
    """The student that is pretrained again, in a few steps only, is a checkpoint that loads like the one that ships."""
    again = {"path": str(tmp_path / "again")} if "retrain" in OTHERS[name] else {}
    execute(name, **OTHERS[name], **again)
    if again:
        assert load_student(again["path"]).video_token > 0


@pytest.mark.slow
def test_the_generator_can_be_a_real_model(tmp_path):
    write_tiny("smolvlm", tmp_path / "tiny")
    execute("01_generate_reasoning", generator="transformers", model=str(tmp_path / "tiny"), max_new_tokens=4)
    path = paths.reasoning(paths.dataset("smoke-star"), "tiny")
    assert set(read_reasoning(path)["generator"]) == {"tiny"}
    path.unlink()


# --- wrong parameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_NAME)
def test_a_wrong_parameter_is_refused_by_the_first_cell(name, smoke_star, tmp_path, monkeypatch):
    """A number where text is wanted, text where anything else is: a ValueError that begins with the parameter."""
    parameters, first, *_ = code_of(BY_NAME[name])
    monkeypatch.chdir(tmp_path)
    for parameter in papermill.inspect_notebook(BY_NAME[name]):
        values: dict = {}
        exec(parameters, values)
        text = isinstance(values[parameter], str) or "None" in parameters.split(f"{parameter} = ")[1].splitlines()[0]
        values |= {"scale": "smoke", parameter: -3.5 if text else "wrong!"}
        with pytest.raises(ValueError) as refused:
            exec(first, values)
        assert str(refused.value).startswith(f"{parameter}=")


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
