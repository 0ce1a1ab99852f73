"""Each notebook is really executed, headless, at smoke scale; and committed clean."""

from pathlib import Path

import nbformat
import papermill
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_runs_headless(path, tmp_path):
    papermill.execute_notebook(path, tmp_path / path.name, parameters={"scale": "smoke"}, progress_bar=False)
    outputs = [o for cell in nbformat.read(tmp_path / path.name, 4).cells if cell.cell_type == "code" for o in cell.outputs]
    assert len(outputs) >= 5 and not [o for o in outputs if o.output_type == "error"]


@pytest.mark.slow
def test_other_data_sets_and_parameters_run(tmp_path):
    parameters = {"scale": "smoke", "dataset": "nextqa", "beta": 0.2, "reasoning": "original", "subset": "cr", "seeds": [0, 1]}
    path = next(p for p in NOTEBOOKS if p.stem == "04_train_mtl")
    papermill.execute_notebook(path, tmp_path / "out.ipynb", parameters=parameters, progress_bar=False)


@pytest.mark.slow
def test_the_student_can_be_pretrained_again(tmp_path):
    """A few steps only: what comes out is a checkpoint that loads like the one that ships."""
    from reasvqa.learning import load_student

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
        ("05_evaluate", {"first": "BERT"}, "'BERT': choose one of Blind"),
    ],
)
def test_a_wrong_parameter_fails_at_once_and_says_why(name, parameters, message, tmp_path):
    path = next(p for p in NOTEBOOKS if p.stem == name)
    with pytest.raises(papermill.PapermillExecutionError, match=message) as error:
        papermill.execute_notebook(path, tmp_path / "out.ipynb", parameters={"scale": "smoke"} | parameters, progress_bar=False)
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
    assert not any("\\\\" in cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "a doubled backslash breaks a formula"
