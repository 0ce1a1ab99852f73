"""Things to try: what stands still is the first state, what is chosen is what is shown, and no result is a constant."""

from dataclasses import replace

import ipywidgets
import pandas as pd
import pytest
from IPython.display import HTML

from reasvqa import paths
from reasvqa.companion import results, widgets, words
from reasvqa.companion.experiments import config_of
from reasvqa.evaluation import estimate, signed
from reasvqa.learning import Run, train


@pytest.fixture
def shown(monkeypatch) -> list[dict]:
    """What widgets display."""
    found: list[dict] = []
    monkeypatch.setattr(widgets, "_display", lambda bundle, raw: found.append(bundle))
    return found


def live(bundle: dict) -> tuple[dict[str, ipywidgets.ValueWidget], ipywidgets.HTML]:
    """The controls of a shown widget, by their descriptions, and its page."""
    box = ipywidgets.Widget._all_widgets if hasattr(ipywidgets.Widget, "_all_widgets") else ipywidgets.Widget.widgets
    root = box[bundle["application/vnd.jupyter.widget-view+json"]["model_id"]]
    todo, controls = list(root.children[:-1]), {}
    while todo:
        widget = todo.pop(0)
        todo += getattr(widget, "children", ())
        if hasattr(widget, "value"):
            controls[widget.description] = widget
    return controls, root.children[-1]


def test_a_still_is_the_first_state_and_a_choice_changes_the_page(shown):
    slider = ipywidgets.IntSlider(3, description="n")
    widgets.explore(lambda n: HTML(f"<p>{n * n}</p>"), {"n": slider})
    controls, page = live(shown[0])
    assert shown[0]["text/html"].startswith("<p>9</p>") and page.value == "<p>9</p>"
    controls["n"].value = 5
    assert page.value == "<p>25</p>"


def test_one_of_several_pages_is_picked_by_its_name(shown):
    widgets.pick({"a < b": HTML("<p>A</p>"), "b": HTML("<p>B</p>")}, "page", "b")
    controls, page = live(shown[0])
    assert shown[0]["text/html"] == (  # without a kernel: folded, the chosen one open
        "<details><summary>a &lt; b</summary><p>A</p></details><details open><summary>b</summary><p>B</p></details>"
    )
    assert page.value == "<p>B</p>"
    controls["page"].value = "a < b"
    assert page.value == "<p>A</p>"


@pytest.mark.slow
def test_two_students(smoke_star, monkeypatch):
    configs = {name: config_of(name, "smoke", "star", split="val") for name in ("STL_QA", "MTL_All")}
    assert results.kept_runs(replace(configs["MTL_All"], beta=0.123), [0]) == []
    runs = {name: [train(config)] for name, config in configs.items()}
    assert [run.path for run in results.kept_runs(configs["MTL_All"], [0, 97])] == [runs["MTL_All"][0].path]
    both = {name: kept[0] for name, kept in runs.items()}
    asked = both["MTL_All"].samples()[:2]
    pages = widgets.pages_of(both, asked)
    assert [sample.id in page.data for sample, page in zip(asked, pages, strict=True)] == [True, True]
    assert all("MTL_All writes" in page.data and "STL_QA writes" not in page.data for page in pages)

    # Runs that came without weights are not trained for a picture. What was written is shown; else it says what is
    # missing.
    monkeypatch.setattr(Run, "has_weights", False)
    monkeypatch.setattr(Run, "load_student", lambda _: pytest.fail("trained again"))
    assert [page.data for page in widgets.pages_of(both, asked)] == [page.data for page in pages]
    (runs["MTL_All"][0].path / "written.csv").unlink()
    assert all("without its weights" in page.data for page in widgets.pages_of(both, asked))


# --- sentences --------------------------------------------------------------------------------------------------------

VIDEOS = [str(i) for i in range(200)]


def found(right: int, wrong: int, seeds: int = 1):
    """A difference of two settings on 200 questions: so many won, so many lost."""
    row = [1.0] * right + [-1.0] * wrong + [0.0] * (200 - right - wrong)
    return estimate([row] * seeds, VIDEOS)


@pytest.mark.parametrize(
    ("effect", "words_of"),
    [
        (found(60, 10), "MTL does better than STL_QA"),
        (found(10, 60), "MTL does worse than STL_QA"),
        (found(20, 18), "do not show which is better"),
        (found(0, 0), "alike within 1.5 points"),
    ],
)
def test_what_comes_out_is_what_is_said(effect, words_of):
    said = words.comparison("MTL", "STL_QA", effect, 1.5)
    assert words_of in said and f"MTL - STL_QA: {signed(effect.value)} [" in said
    assert "200 questions about 200 videos" in said
    assert "one seed" in said and "not of the seed" in said
    assert "of the seed" not in words.comparison("MTL", "STL_QA", found(60, 10, 3), 1.5)


def test_one_video_has_no_interval_and_no_nan():
    effect = estimate([[1.0, 0.0, 1.0]], ["v"] * 3)
    said = words.comparison("MTL", "STL_QA", effect, 1.0)
    assert "nan" not in said and "too few videos" in said


def test_the_ledger_says_what_it_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "figures", lambda scale: tmp_path)
    assert "run 30_claims" in words.ledger_says("table5", "mtl-star", "mini")
    line = dict.fromkeys(results.LEDGER, 0.0) | {"claim": "mtl-star", "text": "It helps", "kind": "claim"}
    line |= {"effect": 2.125, "low": -0.5, "high": 4.0, "seeds": 5, "verdict": "undecided"}
    pd.DataFrame([line])[results.LEDGER].to_csv(tmp_path / "claims.csv", index=False)
    assert words.ledger_says("table5", "mtl-star", "mini") == "“It helps”: +2.1 [-0.5, 4.0] points, 5 seeds, undecided"
