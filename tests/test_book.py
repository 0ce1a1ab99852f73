"""The book: what reaches a page, whether it is still the book of these notebooks, and how a browser shows it."""

import io
import re
import sys
import warnings
from html import escape, unescape
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import browser
import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import papermill
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from tqdm import tqdm

from reasvqa import paths
from reasvqa.companion import book, saving
from reasvqa.companion.book import binding, pages
from reasvqa.companion.book.__main__ import main
from reasvqa.companion.book.cleaning import clean, finish, is_bare, plain_warnings, without_bars
from reasvqa.companion.experiments import EXPERIMENTS
from reasvqa.companion.reproduce import Outcome

NOTEBOOKS = {path.stem: path for path in sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))}
needs_browser = pytest.mark.skipif(browser.CHROMIUM is None, reason="no chromium here to look at the pages with")


# --- what reaches a page ----------------------------------------------------------------------------------------------

HOSTILE = [
    "<script>document.title = 'hacked'</script>",
    "<img src=x onerror=\"document.title = 'hacked'\">",
    "<svg onload=\"document.title = 'hacked'\"></svg>",
    "<a href=\"javascript:document.title = 'hacked'\">x</a>",
    "<a href=\"data:text/html,<script>document.title = 'hacked'</script>\">x</a>",
    '<img src="https://example.org/a.png">',
    '<video src="https://example.org/a.mp4" autoplay></video>',
    '<div style="background:url(https://example.org/a.png)">x</div>',
    '<div style="background:u\\72l(https://example.org/a.png)">x</div>',
    "<style>@import 'https://example.org/a.css'; body { display: none } #T_1, main { display: none }</style>",
    "<style>#T_1 { background: url(https://example.org/a.png) }</style>",
    '<iframe src="https://example.org"></iframe><object data="https://example.org"></object>',
    '<link rel="stylesheet" href="https://example.org/a.css"><base href="https://example.org">',
    '<form action="https://example.org"><input autofocus onfocus="document.title = 1"></form>',
    '<div style="position:fixed;left:0;top:0;width:100%;height:100%">x</div>',
    '<h1>Not a heading of ours</h1><main id="main">nor a landmark</main>',
    "<math><mtext><table><mglyph><style><img src=x onerror=\"document.title = 'hacked'\">",
]


@pytest.mark.parametrize("html", HOSTILE)
def test_what_is_unsafe_does_not_reach_a_page(html):
    soup = BeautifulSoup(clean(html), "html.parser")
    names = {element.name for element in soup.find_all(True)}
    assert not names & set("script iframe object link base form input svg h1 main math meta embed".split())
    attributes = {name: value for element in soup.find_all(True) for name, value in element.attrs.items()}
    assert not [name for name in attributes if name.startswith("on") or name == "autofocus"]
    assert not any("example.org" in str(value) or "hacked" in str(value) for value in attributes.values())
    assert not re.search(r"url|example|import|display|fixed", "".join(s.text for s in soup.find_all("style")))
    assert "fixed" not in str(attributes.get("style", ""))


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_text_of_models_arrives_as_it_is(text):
    assert BeautifulSoup(clean(f"<p>{escape(text)}</p>"), "html.parser").get_text() == text


def test_tables_keep_their_looks_and_clips_are_kept():
    styled = "<style>#T_1_row0_col0, #T_1_row1_col0 { background-color: #f2f2f2; }</style>"
    styled += "<table id='T_1'><tr><td id='T_1_row0_col0' class='data'>1</td></tr></table>"
    assert "background-color: #f2f2f2" in clean(styled) and 'id="T_1_row0_col0"' in clean(styled)
    clip = "<video controls muted src='data:video/mp4;base64,AAAA#t=0,3' style='width:100%'></video>"
    found = BeautifulSoup(clean(clip), "html.parser").video
    assert found and found["src"] == "data:video/mp4;base64,AAAA#t=0,3" and found.has_attr("controls")


def test_warnings_are_without_their_place():
    caught = io.StringIO()
    caught.write(warnings.formatwarning("texts are cut", UserWarning, "/home/me/a.py", 3, "cut(text)"))
    caught.write(warnings.formatwarning("old name", FutureWarning, "/home/me/b.py", 4, "old()"))
    assert plain_warnings("before\n" + caught.getvalue() + "after") == "before\nUserWarning: texts are cut\nafter"


def test_progress_bars_do_not_stay():
    terminal = io.StringIO()
    terminal.write("before\n")
    for _ in tqdm(range(3), file=terminal, mininterval=0, desc="runs"):
        pass
    for _ in tqdm(iter(range(3)), file=terminal, mininterval=0, desc="clips", unit="clip"):
        pass
    terminal.write("a warning: 5 % of 3 questions [at 12:30]\n")
    assert without_bars(terminal.getvalue()) == "before\na warning: 5 % of 3 questions [at 12:30]"
    assert is_bare("<Figure size 700x300 with 2 Axes>") and is_bare("interactive(children=(Dropdown(), Output()))")
    assert not is_bare("72.8 [69.1, 76.3]") and not is_bare("['a', 'b']")


def made(cell, tmp_path: Path, *more) -> BeautifulSoup:
    """A page of a notebook with a cell, as the book has it."""
    cells = [new_markdown_cell("# Title\n\n**You will learn** nothing."), cell, *more]
    page = pages.prepare("99_x", new_notebook(cells=cells), tmp_path)
    arguments = dict(parts={}, style="", scale_label="x", before=None, after=None, source="x", digest="", settings="")
    html = pages.render(pages.exporter(), page, ["99_x", "30_claims"], "smoke", tmp_path, **arguments)
    return BeautifulSoup(html, "html.parser")


def test_formulas_are_formulas(tmp_path):
    cell = new_markdown_cell("Where $\\alpha = 1 - \\beta$:\n\n$$\\mathcal{L}_{mt} = \\alpha \\, \\hat r$$\n")
    page = made(cell, tmp_path)
    assert [math.get("display") for math in page.find_all("math")] == ["inline", "block"]
    assert "$" not in page.article.get_text() and "\\" not in page.article.get_text()
    assert "ℒ" in page.get_text() and "β" in page.get_text()


@pytest.mark.parametrize("formula", ["a^", "\\undefined{x}"])
def test_a_formula_that_is_none_says_where_it_stands(formula, tmp_path):
    with pytest.raises(book.BookError, match=r"99_x: the formula .*(a\^|undefined)"):
        made(new_markdown_cell(f"$${formula}$$"), tmp_path)


def test_a_dollar_in_an_output_is_a_dollar(tmp_path):
    said = new_output("display_data", {"text/markdown": "between $5 and $6 **or** <script>more</script>"})
    page = made(new_code_cell("1", outputs=[said]), tmp_path)
    assert "between $5 and $6 or" in page.article.get_text() and not page.find("math") and not page.find("script")


def test_names_of_notebooks_lead_to_their_pages(tmp_path):
    html = (
        "<h1>30_claims</h1><p>30_claims, <code>30_claims</code> and <a href='30_claims.ipynb#What-we-found'>it</a>. "
        "<code>papermill notebooks/30_claims.ipynb out</code> <a href='../data/README.md'>d</a></p><pre>30_claims</pre>"
    )
    found, _ = finish(html, ["30_claims"], tmp_path / "notebooks", tmp_path / "figures" / "book")
    links = [(a["href"], a.text) for a in BeautifulSoup(found, "html.parser").find_all("a")]
    page = "30_claims.html"
    expected = [
        (page, "30_claims"),
        (page, "30_claims"),
        (f"{page}#What-we-found", "it"),
        ("../../data/README.md", "d"),
    ]
    assert links == expected


def test_tables_can_be_read_by_ear(tmp_path):
    """A frame with a named index of two levels: one row of headings, each with its scope; words left, numbers right."""
    index = pd.MultiIndex.from_tuples([("paper", "MTL"), ("paper", "STL"), ("ours", "MTL")], names=["source", "row"])
    frame = pd.DataFrame({"STAR": ["73.2", "", "+1.0 [0.1, 2.0]"], "verdict": ["reproduced", "", "undecided"]}, index)
    for html in (frame.to_html(), clean(frame.style.to_html())):
        table = BeautifulSoup(finish(html, ["x"], tmp_path, tmp_path)[0], "html.parser").table
        assert table
        head, *body = table.find_all("tr")
        assert [cell.text for cell in head.find_all("th")] == ["source", "row", "STAR", "verdict"]
        assert {cell["scope"] for cell in head.find_all("th")} == {"col"}
        assert [[cell["scope"] for cell in row.find_all("th")] for row in body] == [
            ["rowgroup", "row"],
            ["row"],
            ["row"] * 2,
        ]
        words = [cell.text for cell in table.select("td.words, thead .words")]
        assert words == ["source", "row", "verdict", "reproduced", "", "undecided"]


def test_code_folds_and_every_picture_has_words(tmp_path):
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    picture = new_output("display_data", {"image/png": pixel, "text/plain": "<Figure size 1x1 with 1 Axes>"})
    cell = new_code_cell("x = 1\n" * 40, outputs=[picture])
    page = made(new_markdown_cell("First this.\n\nThe four frames, [in order](x.ipynb):"), tmp_path, cell)
    fold = page.select_one("details.code")
    assert fold and not fold.has_attr("open") and fold.summary.text == "Code, 40 lines"
    assert [img["alt"] for img in page.find_all("img")] == ["Picture: The four frames, in order"]
    assert "Figure size" not in page.article.get_text()


def test_a_figure_is_told_in_words():
    figure, (left, right) = plt.subplots(1, 2)
    left.set(title="NExT-QA\n(miniature)", xlabel="beta", ylabel="accuracy (%)")
    right.plot([0, 1], label="MTL")
    right.legend()
    plt.close(figure)
    told = saving.alternative(figure, "Figure 4: accuracy against beta")
    assert told == ("Figure 4: accuracy against beta. NExT-QA (miniature); across: beta; up: accuracy (%). shown: MTL.")


def test_no_page_says_where_things_lie_on_a_machine(tmp_path):
    said = new_output(
        "stream", name="stdout", text=f"{paths.dataset('smoke-star') / 'videos'} {paths.CHECKOUT}/reasvqa"
    )
    shown = new_output("execute_result", {"text/html": f"<p>{paths.runs()}</p>"})
    text = made(new_code_cell("x", outputs=[said, shown]), tmp_path).article.get_text()
    assert "data/smoke-star/videos ./reasvqa" in text and "data/runs" in text
    assert str(paths.data()) not in text and str(paths.CHECKOUT) not in text


def test_a_failed_cell_makes_no_page(tmp_path):
    failed = new_output("error", ename="ValueError", evalue="no", traceback=[])
    with pytest.raises(book.BookError, match="a cell has failed"):
        made(new_code_cell("x", outputs=[failed]), tmp_path)


def test_a_widget_gives_way_to_its_still(tmp_path):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1", "version_major": 2, "version_minor": 0}}
    alone = new_output("display_data", view | {"text/plain": "Dropdown(options=('a', 'b'), value='a')"})
    still = new_output("display_data", {"text/html": "<p>as it stands at first</p>"})
    page = made(new_code_cell("x", outputs=[alone, still]), tmp_path)
    assert "as it stands at first" in page.article.get_text() and "Dropdown" not in page.article.get_text()


# --- the book of the smoke test, as a browser shows it ----------------------------------------------------------------


@pytest.fixture(scope="session")
def copies(reproduced, tmp_path_factory) -> dict[str, Path]:
    """Executed copies of the tables' and figures' notebooks and of the first one; the others are taken as they are."""
    start = tmp_path_factory.mktemp("executed") / "00_start_here.ipynb"
    papermill.execute_notebook(NOTEBOOKS[start.stem], start, {"scale": "smoke"}, progress_bar=False)
    executed = {what.notebook: reproduced / f"{what.notebook}.ipynb" for what in EXPERIMENTS.values()}
    return NOTEBOOKS | executed | {start.stem: start}


@pytest.fixture(scope="session")
def bound(copies) -> Path:
    """The book's folder."""
    return book.write(copies, "smoke", seeds=[0]).parent


@pytest.fixture(scope="session")
def soups(bound) -> dict[str, BeautifulSoup]:
    return {p.stem: BeautifulSoup(p.read_text(encoding="utf-8"), "html.parser") for p in sorted(bound.glob("*.html"))}


@pytest.mark.slow
def test_the_book_has_a_page_for_each_notebook_and_is_in_step(bound):
    assert {path.stem for path in bound.iterdir()} >= NOTEBOOKS.keys() | {"index", "paper_scale"}
    assert book.out_of_step("smoke", bound, [0]) == []


@pytest.mark.slow
def test_the_book_written_again_is_the_same(bound, copies, tmp_path):
    before = {path.name: path.read_bytes() for path in bound.iterdir()}
    (bound / "99_gone.html").touch()
    assert book.write(copies, "smoke", seeds=[0]).parent == bound
    assert {path.name: path.read_bytes() for path in bound.iterdir()} == before
    assert not [path for path in bound.parent.iterdir() if path.name.startswith(".")]


def test_a_book_stays_when_a_new_one_fails(tmp_path, monkeypatch):
    one, folder = {"32_paper_numbers": NOTEBOOKS["32_paper_numbers"]}, tmp_path / "figures" / "book"
    book.write(one, "smoke", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(binding, "LIMIT", 1000)
    with pytest.raises(book.BookError, match=r"the book takes .* is the largest page"):
        book.write({}, "smoke", folder)
    monkeypatch.undo()

    def full(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="full"):
        book.write({}, "smoke", folder)
    monkeypatch.undo()
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, to: full() if ".new" in self.name else rename(self, to))
    with pytest.raises(OSError, match="full"):
        book.write({}, "smoke", folder)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["book"]
    (folder / "thesis.pdf").touch()
    with pytest.raises(book.BookError, match="holds other things than pages"):
        book.write({}, "smoke", folder)
    book.write({}, "smoke", tmp_path / "other")
    assert {path.name for path in (tmp_path / "other").iterdir()} == {"index.html", "paper_scale.html", "teaching.html"}


@pytest.mark.slow
def test_the_book_notices_what_has_changed(bound, copies, tmp_path, monkeypatch):
    """A notebook's text, a run, a setting, a figure that is gone, a notebook that is new."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    for name, path in NOTEBOOKS.items():
        (notebooks / f"{name}.ipynb").write_bytes(path.read_bytes())
    changed = nbformat.read(notebooks / "17_table8_components.ipynb", 4)
    changed.cells[-1].source += " More."
    nbformat.write(changed, notebooks / "17_table8_components.ipynb")
    (notebooks / "98_new.ipynb").write_bytes(NOTEBOOKS["00_start_here"].read_bytes())
    figures = tmp_path / "figures"
    figures.mkdir()
    for path in paths.figures("smoke").glob("*.json"):
        (figures / path.name).write_text(path.read_text())
    table5 = figures / "table5_part.json"
    table5.write_text(table5.read_text().replace("-s0-", "-s9-"))
    (figures / "figure1.json").unlink()
    monkeypatch.setattr(paths, "notebooks", lambda: notebooks)
    monkeypatch.setattr(paths, "figures", lambda _: figures)
    assert book.out_of_step("smoke", bound, [0]) == [
        "98_new: has no page",
        "14_table5_stl_vs_mtl: table5_part is of other runs",
        "17_table8_components: the notebook has changed",
        "20_figure1_overview: figure1 is gone",
    ]
    other = book.out_of_step("smoke", bound, [1])
    assert "23_figure4_beta: the settings of its runs, or their students, have changed" in other


@pytest.mark.slow
def test_the_book_shows_where_everything_comes_from(bound, soups):
    """Below each figure and table: its files, as they lie there, and what it was made of."""
    origins = {block["data-saved"]: block for soup in soups.values() for block in soup.select(".origin")}
    saved = {path.stem for path in paths.figures("smoke").glob("*.json")}
    assert {"table5_part", "figure4_part", "figure1", "claims_part", "figure1_pipeline"} <= origins.keys() <= saved
    for name, block in origins.items():
        files = {(bound / a["href"]).resolve() for a in block.select(".files a")}
        assert files == {path.resolve() for path in paths.figures("smoke").glob(f"{name}.*")}
    said = " ".join(origins["table5_part"].get_text(" ").split())
    assert "python -m reasvqa.companion.reproduce --only table5 --scale smoke --seeds 0" in said
    assert (
        "Seeds 0, 1000, 2000" in said and "batch size 8" in said and "smoke-star-mini-blip2-mtl-refined-s1000-" in said
    )
    first = " ".join(origins["figure1_pipeline"].get_text(" ").split())
    assert "papermill notebooks/00_start_here.ipynb out.ipynb -p scale smoke" in first
    index = " ".join(soups["index"].get_text(" ").split())
    assert (
        "claims: one seed gives no verdict" in index and "Learning from refined reasoning beats learning from" in index
    )
    again = soups["10_table1_nextqa_star"].select_one("footer code")
    assert again and again.text == "python -m reasvqa.companion.reproduce --only table1 --scale smoke --seeds 0"
    both = [box.find_previous("table").caption.text for box in soups["10_table1_nextqa_star"].select(".origin")]
    assert ["NExT-QA" in both[0], "STAR" in both[1]] == [True, True]  # each below its table


@pytest.mark.slow
def test_the_book_can_be_found_ones_way_in(soups):
    """Landmarks, a heading's place, words for pictures, headings of tables; nothing that only a live notebook shows."""
    for name, soup in soups.items():
        assert soup.html["lang"] == "en" and soup.title.text and len(soup.find_all("main")) == 1, name
        assert {nav["aria-label"] for nav in soup.find_all("nav")} == {"Contents", "Previous and next page"}
        assert soup.body.find("a")["href"] == "#main"
        levels = [int(h.name[1]) for h in soup.find_all(re.compile("^h[1-6]$"))]
        assert levels[0] == 1 and levels.count(1) == 1, f"{name}: {levels}"
        assert all(b - a <= 1 for a, b in pairwise(levels)), f"{name}: {levels}"
        pictures = soup.select("article img")
        assert all(picture.has_attr("alt") for picture in pictures), name
        assert all(picture["alt"].strip() for picture in pictures if not picture.find_parent("ul", "gallery")), name
        assert all(table.find_parent("div", "scroll") for table in soup.find_all("table")), name
        assert all(heading.get("scope") for heading in soup.find_all("th")), name
        text = soup.article.get_text()
        assert not re.search(r"\d%\||it/s|<Figure|Box\(children|\$\$|\\mathcal", text), name
        order = [a["href"] for a in soup.select("nav.contents a") if not a["href"].startswith("#")]
        assert order == ["index.html", *(f"{other}.html" for other in sorted(soups.keys() - {"index"}))]
        turned = {a["rel"][0]: a["href"] for a in soup.select("nav.turn a")}
        at = order.index(f"{name}.html")
        expected = {"prev": order[at - 1]} if at else {}
        assert turned == expected | ({"next": order[at + 1]} if at + 1 < len(order) else {})


@pytest.mark.slow
def test_the_books_links_lead_somewhere(bound, soups):
    ids = {name: {element["id"] for element in soup.find_all(id=True)} for name, soup in soups.items()}
    for name, soup in soups.items():
        assert len(ids[name]) == len(soup.find_all(id=True)), f"{name}: an id twice"
        for link in soup.find_all(["a", "link"], href=True):
            address = urlsplit(unescape(link["href"]))
            if address.scheme:
                assert address.scheme in ("https", "http", "data") and link["href"] != "data:", link
                continue
            target = (bound / unquote(address.path)).resolve() if address.path else bound / f"{name}.html"
            assert target.exists(), f"{name}: {link['href']}"
            if address.fragment and target.suffix == ".html":
                assert unquote(address.fragment) in ids[target.stem], f"{name}: {link['href']}"


@pytest.fixture(scope="session")
def tab(tmp_path_factory):
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@needs_browser
@pytest.mark.slow
def test_the_book_in_a_browser(bound, tab):
    """No complaint, nothing fetched from anywhere, no page wider than its window with all unfolded, every picture
    there."""
    for page in sorted(bound.glob("*.html")):
        visit = tab.open(page)
        tab.value("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in (390, 1366):
            tab.resize(width)
            assert tab.value("[innerWidth, document.documentElement.scrollWidth]") == [width, width], page.name
        assert tab.value("[...document.images].every(i => i.complete && i.naturalWidth > 0)"), page.name
        assert [url for url in visit.requests if not url.startswith("data:")] == [page.as_uri()]
        assert visit.complaints == [], page.name


@needs_browser
@pytest.mark.slow
def test_the_book_is_dark_and_light_and_has_a_clip_and_a_keyboard(bound, tab):
    lightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, b) => a + +b, 0) / 3"
    for dark in (False, True):
        tab.open(bound / "00_start_here.html", dark=dark)
        assert (tab.value(lightness) < 60) == dark
    assert tab.value("document.querySelectorAll('video[controls]').length") == 1
    assert tab.value("document.querySelector('video').error") is None
    for key in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=key, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert tab.value("document.activeElement.className") == "skip"


@needs_browser
@pytest.mark.slow
def test_a_browser_agrees_that_nothing_unsafe_is_left(tab, tmp_path):
    cell = new_code_cell("x", outputs=[new_output("display_data", {"text/html": html}) for html in HOSTILE])
    (tmp_path / "page.html").write_text(str(made(cell, tmp_path)))
    visit = tab.open(tmp_path / "page.html")
    assert tab.value("document.title").startswith("Title") and visit.complaints == []
    assert [url for url in visit.requests if not url.startswith(("file:", "data:"))] == []


# --- the committed book, and the command ------------------------------------------------------------------------------


def test_the_committed_book_is_in_step():
    folder = paths.book("mini")
    if not (folder / "index.html").is_file():
        pytest.skip("figures/book is not committed yet: python -m reasvqa.companion.book makes it")
    assert book.out_of_step("mini") == [], "python -m reasvqa.companion.book makes it anew"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= binding.LIMIT


def command(monkeypatch, arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["book", *arguments.split()])
    try:
        return main()
    except SystemExit as end:
        return end.code


def test_a_wrong_command_line_says_what_is_possible(monkeypatch, capsys):
    assert command(monkeypatch, "--scale huge") == 2 and "invalid choice: 'huge'" in capsys.readouterr().err


def test_no_book_of_notebooks_that_failed(monkeypatch, capsys, tmp_path):
    """The notebooks that no table or figure belongs to are executed one at a time."""
    executed = []

    def execute_all(notebooks, scale, seeds, jobs):
        executed.append((list(notebooks), scale, seeds, jobs))
        return [Outcome("00_start_here", error="no"), Outcome("01_generate_reasoning")]

    where = "reasvqa.companion.book.__main__"
    monkeypatch.setattr(f"{where}.reproduce", lambda *_: [])
    monkeypatch.setattr(f"{where}.stale", lambda names, *_: names)
    monkeypatch.setattr(f"{where}.execute_all", execute_all)
    assert command(monkeypatch, f"--scale smoke --seeds 0 --output {tmp_path / 'book'}") == 1
    assert "no book" in capsys.readouterr().err and not (tmp_path / "book").exists()
    ((notebooks, *rest),) = executed
    assert rest == ["smoke", [0], 1] and not {what.notebook for what in EXPERIMENTS.values()} & set(notebooks)
    assert set(notebooks) | {what.notebook for what in EXPERIMENTS.values()} == NOTEBOOKS.keys()
