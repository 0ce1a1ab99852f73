"""Installation, lint and types, the README's numbers, the paper's numbers, and safe pages."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from reasvqa.companion import display, paper, saving
from reasvqa.companion.results import interval, saved_ledger
from reasvqa.samples import Sample

ROOT = Path(__file__).parents[1]


def test_ci_runs_the_readmes_test_command():
    command = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.strip().endswith("-m pytest"))
    assert command.strip() in (ROOT / ".ci" / "run").read_text()


def test_results_in_the_readme_are_those_of_the_ledger():
    """Every "`claim`: +1.2 points [0.3, 2.1], verdict" of "What we found", and the count of verdicts."""
    ledger = saved_ledger("mini")
    said = " ".join((ROOT / "README.md").read_text().split("## What we found")[1].split("## Two commands")[0].split())
    verdict = "reproduced|contradicted|no effect|undecided"
    printed = re.findall(rf"`([\w-]+)`: (\S+ \[\S+, \S+\]) points, ({verdict})", said)
    assert len(printed) >= 4 and len(printed) == len(re.findall(r"\] points", said))
    rows = ledger.set_index("claim").to_dict("index")
    for claim, effect, found in printed:
        assert (effect, found) == (interval(rows[claim]), rows[claim]["verdict"]), claim
    counts = ledger[ledger["kind"] == "claim"]["verdict"].value_counts()
    counted = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    assert f"Of the paper's {counts.sum()} claims: {counted}." in said


def test_conda_and_pip_lead_to_the_same_place():
    """environment.yml installs what the README's pip command installs: same constraints, same Python."""
    environment = (ROOT / "environment.yml").read_text()
    assert re.search(r"-c constraints\.txt", environment) and re.search(r"-e \.\[all\]", environment)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floor = project["requires-python"].removeprefix(">=")
    assert f"python={floor}" in environment
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    extras = [name for group, names in project["optional-dependencies"].items() if group != "all" for name in names]
    asked = {re.split(r"[>=<;\[]", name)[0].lower() for name in [*project["dependencies"], *extras]}
    assert asked <= pinned
    assert "torch==2.13.0" in lines


@pytest.mark.parametrize("command", ["ruff check", "ruff format --check"])
def test_lint(command):
    _passes(*command.split())


@pytest.mark.slow
def test_types():
    _passes("basedpyright", "--pythonpath", sys.executable, "--level", "error")


def _passes(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_paper_tables_as_printed():
    table = paper.table(5)
    assert table.loc["MTL_All"].to_dict() == {"NExT-QA": 76.8, "STAR": 73.2, "IntentQA": 77.0, "Avg": 75.7}
    assert paper.table(4).loc["InternVL(26B)", "STAR"] == 69.8
    assert paper.table(9).loc["InternVL (26B)", "Tot"] == 67.0  # the paper contradicts itself


@pytest.mark.parametrize("number", range(1, 11))
def test_paper_numbers_stand_in_the_paper(number, shared):
    """Every value of data/paper is printed in the paper's text (Table 7 prints 5.4k for 5400)."""
    text = (shared.parent / "paper.txt").read_text()
    for value in paper.table(number).stack().dropna():
        printed = f"{value / 1000:g}k" if number == 7 else f"{value:.1f}"
        assert printed in text, printed


def test_text_of_data_sets_is_escaped():
    sample = Sample("<i>", "v.mp4", None, "<script>alert(1)</script>", ("<b>x</b>", "y"), 0, "CW")
    hostile = display.refinement("<img src=x> ###Answer: A"), display.texts(a="<svg onload=1>")
    for page in (display.question(sample), *hostile):
        assert not re.search(r"<(script|img|svg|i>)", page.data)


def test_a_choice_does_not_replace_the_complete_result():
    assert saving.is_complete(([0, 1, 2], (0, 1, 2)), (["star", "nextqa"], ("nextqa", "star")))
    assert not saving.is_complete(([0, 1, 2], (0, 1, 2)), (["star"], ("nextqa", "star")))
    assert not saving.is_complete(([0], (0, 1, 2)))
