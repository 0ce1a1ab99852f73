"""Things to try: what stands still is the first state, what is chosen is what is shown, and no result is a constant."""

import re
from dataclasses import replace

import ipywidgets
import pandas as pd
import pytest
from IPython.display import HTML

from reasvqa import paths
from reasvqa.companion import results, widgets, words
from reasvqa.companion.experiments import config_of
from reasvqa.evaluation import estimate, signed
from reasvqa.generation import read_reasoning
from reasvqa.learning import Run, train
from reasvqa.refinement import RESTATED_RULE, RULES
from reasvqa.samples import Sample


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


SAMPLE = Sample("q1", "v.mp4", None, "Which ?", ("The cup.", "The <i>towel</i>."), 0, "Interaction")
TEXT = "They lift the cup. Therefore, the answer is B."


def test_a_rule_that_is_off_leaves_what_it_would_remove():
    on = widgets.refined(SAMPLE, TEXT, 1, [rule for rule in RULES if rule != RESTATED_RULE]).data
    assert "letter" not in on.split("What remains tells: ")[1] and on.count("<del") == 2
    off = widgets.refined(SAMPLE, TEXT, 1, ["ground-truth word"]).data
    assert "letter" in off.split("What remains tells: ")[1] and off.count("<del") == 1
    assert "Switched off: " in off and "<i>towel" not in off


def test_pick_a_question_and_switch_rules(shown, smoke_star):
    samples, _ = smoke_star
    responses = read_reasoning(paths.reasoning(paths.dataset("smoke-star"), "sim-26b"), samples)
    widgets.refinement(samples, responses)
    controls, page = live(shown[0])
    assert set(controls) == {"question", *RULES} and not controls[RESTATED_RULE].value
    wrong = responses.set_index("id")["correct"].fillna(False)
    assert not wrong[controls["question"].value]  # it begins with a wrong one
    for rule in RULES:
        controls[rule].value = False
    assert "<del" not in page.value and "<del" in shown[0]["text/html"]
    before = page.value
    controls["question"].value = samples[1].id
    assert page.value != before


@pytest.mark.slow
def test_two_students_and_beta(shown, smoke_star, monkeypatch):
    configs = {name: config_of(name, "smoke", "star", split="val") for name in ("STL_QA", "MTL_All")}
    assert results.kept_runs(replace(configs["MTL_All"], beta=0.123), [0]) == []
    runs = {name: [train(config)] for name, config in configs.items()}
    assert [run.path for run in results.kept_runs(configs["MTL_All"], [0, 97])] == [runs["MTL_All"][0].path]
    pages = widgets.compared({name: kept[0] for name, kept in runs.items()}, clips=2)
    answers = [run.predictions.set_index("id") for (run,) in runs.values()]
    right = [table["prediction"] == table["answer"] for table in answers]
    counts = {
        "MTL_All right, STL_QA wrong": (~right[0] & right[1]).sum(),
        "STL_QA right, MTL_All wrong": (right[0] & ~right[1]).sum(),
        "both wrong": (~right[0] & ~right[1]).sum(),
        "both right": (right[0] & right[1]).sum(),
    }
    assert {kind: count for kind, (count, _) in pages.items()} == {kind: n for kind, n in counts.items() if n}
    assert all(len(views) == min(count, 2) for count, views in pages.values())
    widgets.students(pages)
    controls, page = live(shown[0])
    last = list(pages)[-1]
    controls["show"].value = last
    assert page.value == pages[last][1][0].data
    controls["clip"].value = 2
    assert page.value == pages[last][1][-1].data

    widgets.weights({0.5: runs["MTL_All"], 0.0: runs["STL_QA"]})
    controls, page = live(shown[1])
    assert f"{runs['MTL_All'][0].accuracy:.1f} %" in page.value
    controls["beta"].value = 0.0
    text = re.sub("src='[^']*'", "", page.value)  # without pictures
    assert f"answers only (STL_QA): {runs['STL_QA'][0].accuracy:.1f} %" in text and "nan" not in text
    assert "writes no reasoning" in page.value

    # Runs that came without weights are not trained for a picture. What was written is shown; else it says what is
    # missing.
    monkeypatch.setattr(Run, "has_weights", False)
    monkeypatch.setattr(Run, "load_student", lambda _: pytest.fail("trained again"))
    assert widgets.compared({name: kept[0] for name, kept in runs.items()}, clips=2).keys() == pages.keys()
    widgets.weights({0.5: runs["MTL_All"]})
    assert "without its weights" not in shown[2]["text/html"]
    (runs["MTL_All"][0].path / "written.csv").unlink()
    widgets.weights({0.5: runs["MTL_All"]})
    assert "without its weights" in shown[3]["text/html"]


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
        (found(20, 18), "do not tell the two apart"),
        (found(0, 0), "alike within 1.5 points"),
    ],
)
def test_what_comes_out_is_what_is_said(effect, words_of):
    said = words.comparison("MTL", "STL_QA", effect, 1.5)
    assert words_of in said and f"MTL - STL_QA: {signed(effect.value)} points, " in said
    assert "200 questions about 200 videos" in said
    assert "one seed" in said and "not other seeds" in said
    assert "other seeds" not in words.comparison("MTL", "STL_QA", found(60, 10, 3), 1.5)


def test_one_video_has_no_interval_and_no_nan():
    effect = estimate([[1.0, 0.0, 1.0]], ["v"] * 3)
    said = words.comparison("MTL", "STL_QA", effect, 1.0)
    assert "nan" not in said and "too few videos" in said


def test_the_ledger_says_what_it_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "figures", lambda scale: tmp_path)
    assert "run 30_claims" in words.ledger_says("table5", "mtl-star", "mini")
    line = dict.fromkeys(results.LEDGER, 0.0) | {"claim": "mtl-star", "text": "... on STAR", "kind": "claim"}
    line |= {"effect": 2.125, "low": -0.5, "high": 4.0, "seeds": 5, "verdict": "undecided"}
    pd.DataFrame([line])[results.LEDGER].to_csv(tmp_path / "claims.csv", index=False)
    assert words.ledger_says("table5", "mtl-star", "mini") == "on STAR: +2.1 [-0.5, 4.0] points, 5 seeds, undecided"


def test_a_missed_gate_is_reported_with_its_numbers():
    """By the gates that ship, and of a miniature only."""
    (said,) = words.missed_gate("STL_CR - STL_QA", "mini")
    gates = pd.read_csv(paths.SHIPPED / "mini" / "gates.csv").query("what == 'STL_CR - STL_QA'")
    assert all(f"{value:.1f} ({name})" in said for value, name in zip(gates["value"], gates["dataset"], strict=True))
    assert "-15 to 15" in said and "at most 20" in words.missed_gate("MTL_All: loss without LoRA", "smoke")[0]
    assert words.missed_gate("STL_CR - STL_QA", "paper") == words.missed_gate("Blind", "mini") == []
