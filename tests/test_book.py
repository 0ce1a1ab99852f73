"""Notebooks with stored outputs: how they are executed, when they are stale, and the site that is built from them."""

import re
import subprocess
import sys
from pathlib import Path

import browser
import nbformat
import pandas as pd
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from reasvqa import paths
from reasvqa.__main__ import COMMANDS, main
from reasvqa.companion import book

NOTEBOOKS = {path.stem: nbformat.read(path, 4) for path in sorted(paths.notebooks().glob("*.ipynb"))}
KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
CELLS = [
    "word = 'one'  # a word",
    "import warnings; from tqdm import tqdm; from reasvqa import paths\nprint(word, paths.runs())\n"
    "for _ in tqdm(range(3), mininterval=0): pass\nwarnings.warn('texts are cut')",
    "import ipywidgets\nfrom IPython.display import HTML, display\nbox = ipywidgets.Checkbox()\n"
    "display(box)\ndisplay(box._repr_mimebundle_() | {'text/html': '<p>its first state</p>'}, raw=True)",
    "import matplotlib.pyplot as plt\nplt.plot([0, 1]);",
    "HTML('<table><tr>' + '<td>a wide table</td>' * 60 + '</tr></table>')",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A checkout with one notebook, executed in place."""
    folder = tmp_path_factory.mktemp("root")
    for name in ("README.md", "data/README.md", "notebooks/teaching.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("# Read me")
    cells = [new_markdown_cell("# Title\n\nA formula: $\\alpha + \\beta$\n\n## Part")]
    cells += [new_code_cell(source) for source in CELLS]
    cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), folder / "notebooks" / "00_short.ipynb")
    book.execute(folder / "notebooks" / "00_short.ipynb")
    return folder


@pytest.mark.slow
def test_outputs_are_stored_clean_until_a_cell_or_the_data_change(root, monkeypatch):
    executed = nbformat.read(root / "notebooks" / "00_short.ipynb", 4)
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.source for cell in code] == CELLS and executed.metadata.keys() == {"kernelspec", "reasvqa"}
    assert [cell.metadata.keys() for cell in code] == [{"tags"}] + [set()] * 4
    printed, warned = (output.text for output in code[1].outputs)
    assert printed == "one data/runs" and warned == "UserWarning: texts are cut"
    (widget,) = (output.data for output in code[2].outputs)
    assert widget["text/html"] == "<p>its first state</p>" and not any("widget" in kind for kind in widget)
    assert [output.output_type for output in code[3].outputs] == ["display_data"]

    assert not book.is_stale(executed)
    monkeypatch.setattr(paths, "SHIPPED", paths.SHIPPED / "another")
    assert book.is_stale(executed)
    monkeypatch.undo()
    code[1].source += "  # a comment"
    assert book.is_stale(executed)


def test_styled_tables_have_the_same_names_in_every_execution():
    frame, texts = pd.DataFrame({"a": [1, 2]}), set()
    for _ in range(2):
        both = "".join(one.style.highlight_max().to_html() for one in (frame, frame + 1))
        output = new_output("display_data", {"text/html": both, "text/plain": repr(frame.style)})
        assert book._clean(output, 1)
        texts.add(output.data["text/html"])
        assert output.data["text/plain"] == "<pandas.io.formats.style.Styler object>"
    (text,) = texts
    names = set(re.findall('<table id="(.*?)"', text))
    assert len(names) == 2 and all(f"#{name}_row1_col0 {{" in text for name in names)


@pytest.mark.slow
def test_a_failed_cell_changes_nothing(root, tmp_path):
    path = tmp_path / "fails.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")], metadata=KERNEL), path)
    before = path.read_bytes()
    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        book.execute(path)
    assert path.read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="needs chromium")
def test_the_site_in_a_browser(root, tmp_path):
    """Offline, at the widths of a phone and a laptop: contents, search, formulas, dark mode, wide tables."""
    site = book.build(root, tmp_path / "site").parent
    with browser.chromium(tmp_path / "chromium") as tab:
        for page in (site / "index.html", site / "notebooks" / "00_short.html"):
            tab.open(page)
            for width in (390, 1366):
                tab.resize(width)
                assert tab.value("document.documentElement.scrollWidth") == width
            assert tab.complaints == [] and {url.split(":")[0] for url in tab.requests} <= {"file", "data"}
            assert tab.value("[...document.images].every(image => image.naturalWidth > 0)")
            assert tab.value("[...document.querySelectorAll('nav a')].some(a => a.textContent.includes('Title'))")
        tab.wait("document.querySelectorAll('mjx-container').length === 1")
        assert "its first state" in tab.value("document.body.textContent")
        tab.open(page, dark=True)
        assert tab.value("document.documentElement.dataset.theme") == "dark"
        tab.open(site / "search.html", query="?q=formula")
        tab.wait("document.querySelectorAll('#search-results li').length > 0")
        assert tab.complaints == []


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "thesis.pdf").touch()
    with pytest.raises(ValueError, match="something else than a book"):
        book.build(tmp_path, tmp_path)
    assert (tmp_path / "thesis.pdf").exists()


# --- as committed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_outputs_are_up_to_date(name):
    if "reasvqa" not in NOTEBOOKS[name].metadata:
        pytest.skip(f"not executed yet: reasvqa book --execute {name}")
    assert not book.is_stale(NOTEBOOKS[name]), f"reasvqa book --execute {name} executes it again"


def test_the_notebooks_are_small_and_name_no_machine():
    texts = [path.read_text(encoding="utf-8") for path in paths.notebooks().glob("*.ipynb")]
    assert sum(len(text.encode()) for text in texts) <= 12 << 20
    assert not any(word in text for text in texts for word in ("papermill_", "ipykernel_", "widget-view", "/home/"))


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_of_its_own(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith(f"usage: reasvqa {command}")


@pytest.mark.slow
def test_the_list_of_commands_is_there_at_once():
    code = "import sys\nfrom reasvqa.__main__ import main\n"
    code += "try: main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and all(command in done.stdout for command in COMMANDS)


def test_an_unknown_notebook_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["book", "--execute", "99_none"])
    assert "no notebook 99_none; choose from 00_start_here" in capsys.readouterr().err
