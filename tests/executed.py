"""Execute a notebook in this process, as its kernel would."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from reasvqa.companion.experiments import EXPERIMENTS
from reasvqa.learning import training

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
BY_NAME = {path.stem: path for path in NOTEBOOKS}
PAPER = list(dict.fromkeys(what.notebook for what in EXPERIMENTS.values()))  # of its tables and figures


def code_of(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def solutions(path: Path) -> list[str]:
    """The solutions of a notebook's exercises. They are folded in its last cell, so that nobody pays for them."""
    text = nbformat.read(path, 4).cells[-1].source
    return re.findall(r"<details><summary>Solution</summary>\n\n```python\n(.*?)\n```\n\n</details>", text, re.DOTALL)


@contextmanager
def shell() -> Iterator[InteractiveShell]:
    """A kernel's shell in this process, which has imported everything, and where runs are trained one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "cores", lambda: 1)
        patch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        patch.setattr(InteractiveShell, "enable_gui", lambda *_: None)  # there is none
        made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
        made.enable_matplotlib("inline")
        yield made
        plt.close("all")
        plt.switch_backend("agg")
        InteractiveShell.clear_instance()


def execute(name: str, **parameters) -> None:
    """Execute a notebook at smoke scale, and behind it the solutions of its exercises."""
    first, *others = code_of(BY_NAME[name])
    values = 0  # that cells end with; `capture_output` keeps only what is displayed
    with shell() as kernel, capture_output() as shown:
        kernel.run_cell(first).raise_error()
        kernel.push({"scale": "smoke"} | parameters)
        for source in (*others, *solutions(BY_NAME[name])):
            done = kernel.run_cell(source)
            done.raise_error()
            values += done.result is not None
    assert len(shown.outputs) + values >= 4
