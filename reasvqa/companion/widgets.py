"""Views that change with what you choose. Nothing here trains a student.

Where no kernel answers (a headless copy, the book) the view of the first choice is shown as a still: the same output
holds the widget and, for whoever cannot show widgets, that view as HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

import ipywidgets
import pandas as pd
from IPython.display import HTML
from IPython.display import display as _display

from reasvqa.companion import display, results
from reasvqa.companion.words import seeds_text
from reasvqa.datasets import Samples
from reasvqa.learning import Run
from reasvqa.mini.grounding import story_of
from reasvqa.refinement import RESTATED_RULE, RULES, leaks, removals
from reasvqa.samples import Sample

QUESTIONS = 40  # to pick from: nobody scrolls through a thousand
CLIPS = 8  # of each kind to compare two students on; each needs what the student writes about it


def explore(
    view: Callable[..., HTML],
    controls: Mapping[str, ipywidgets.ValueWidget],
    above: ipywidgets.Widget | None = None,
) -> None:
    """Show controls and, below them, `view` of their values, drawn again whenever one of them changes.

    Args:
        view: takes the controls' values by their names.
        controls: by name; the values they have now give the still.
        above: the controls as they are to be laid out; None: one below the other.
    """
    page = ipywidgets.HTML()

    def draw(_change: object = None) -> None:
        page.value = str(view(**{name: control.value for name, control in controls.items()}).data)

    draw()
    for control in controls.values():
        control.observe(draw, "value")
    box = ipywidgets.VBox([above or ipywidgets.VBox(list(controls.values())), page])
    note = "<div style='opacity:.7;font-size:90%'>A still. In a running notebook you can choose.</div>"
    bundle = dict(box._repr_mimebundle_() or {})
    _display(bundle | {"text/html": page.value + note}, raw=True)


def _picker(label: str, options: Mapping[str, str], value: str | None = None) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(
        options=list(options.items()),
        value=value or next(iter(options.values())),
        description=label,
        style={"description_width": "initial"},
        layout={"width": "min(46em, 98%)"},
    )


def _option(choice: object) -> int | None:
    return None if pd.isna(choice) else int(choice)  # type: ignore[arg-type, call-overload]


# --- refinement -------------------------------------------------------------------------------------------------------


def refinement(samples: Samples, responses: pd.DataFrame) -> None:
    """Let the reader pick a question and switch the rules of refinement on and off.

    Args:
        samples: training questions.
        responses: what a generator wrote about them, of `read_reasoning`.
    """
    rows = responses.reset_index().set_index("id")
    asked = {s.id: (s, str(rows["response"][s.id]), _option(rows["prediction"][s.id])) for s in samples[:QUESTIONS]}
    wrong = [id for id, (sample, _, chosen) in asked.items() if chosen != sample.answer]
    names = {f"{'IR' if id in wrong else 'CR'}, {asked[id][0].question} ({id})": id for id in asked}
    switches = {
        rule: ipywidgets.Checkbox(rule != RESTATED_RULE, description=rule, indent=False, layout={"width": "12em"})
        for rule in RULES
    }

    def view(question: str, **on: bool) -> HTML:
        return refined(*asked[question], rules=[rule for rule in RULES if on[rule]])

    question = _picker("question", names, wrong[0] if wrong else None)
    grid = ipywidgets.HBox(list(switches.values()), layout={"flex_flow": "row wrap"})
    explore(view, {"question": question, **switches}, ipywidgets.VBox([question, grid]))


def refined(sample: Sample, text: str, chosen: int | None, rules: Sequence[str]) -> HTML:
    """Return a view of one response under some of the rules: what is removed, and what the rest tells of the answer.

    Args:
        sample, text, chosen: the question, the response, and the index of the option that it chose.
        rules: of `RULES`; "restated option" is that of strict refinement.
    """
    correct = chosen == sample.answer
    option = sample.options[chosen] if chosen is not None and RESTATED_RULE in rules else None
    kept, at = [], 0
    for removal in removals(text, sample.answer_text, correct, chosen=option):
        if removal.rule in rules:
            kept.append(text[at : removal.start])
            at = removal.end
    assert sample.answer is not None
    found = leaks("".join([*kept, text[at:]]), sample.options, sample.answer, chosen)
    off = [rule for rule in RULES if rule not in rules and rule != RESTATED_RULE]
    note = f"What remains tells: {', '.join(_TELLS[leak] for leak in found if found[leak]) or 'nothing of the answer'}."
    note += f" Switched off: {', '.join(off)}." if off else ""
    return display.stacked(
        display.question(sample, {"the generator": chosen}),
        display.refinement(text, sample.answer_text, correct, option, rules),
        HTML(f"<div style='margin:.4em 0'>{escape(note)}</div>"),
    )


_TELLS = {  # of `refinement.leaks`
    "letter": "a letter as the answer",
    "option text": "the chosen option in full",
    "true option's words": "words of the true option",
    "wrongly chosen option's words": "words of the wrongly chosen option",
}


# --- two students -----------------------------------------------------------------------------------------------------


def students(pages: Mapping[str, tuple[int, Sequence[HTML]]]) -> None:
    """Show two students beside each other on the same clips, by who is right. pages: of `compared`."""
    kind = _picker("show", {f"{kind} ({len(views)} of {count})": kind for kind, (count, views) in pages.items()})
    most = max(len(views) for _, views in pages.values())
    place = ipywidgets.BoundedIntText(value=1, min=1, max=most, description="clip", layout={"width": "12em"})

    def view(kind: str, place: int) -> HTML:
        views = pages[kind][1]
        return views[min(place, len(views)) - 1]

    explore(view, {"kind": kind, "place": place}, ipywidgets.HBox([kind, place]))


def compared(runs: Mapping[str, Run], clips: int = CLIPS) -> dict[str, tuple[int, list[HTML]]]:
    """Return, by who of two students is right, on how many questions, and views of the first `clips` of them.

    Kinds on which the two differ come first.

    Args:
        runs: the two by their names; what an MTL student writes is shown (of a run without weights, if it is kept), and
            judged by what happens in the clip where that is known.

    Raises:
        ValueError: the two were asked different questions.
    """
    (first, one), (second, other) = runs.items()
    answers = {name: run.predictions.set_index("id")["prediction"] for name, run in runs.items()}
    a, b = (results.outcomes([run]).iloc[:, 0].droplevel("video") == 1 for run in (one, other))
    if set(a.index) != set(b.index):
        raise ValueError(f"{first} and {second} answered different questions and cannot be compared")
    kinds = {
        f"{second} right, {first} wrong": b & ~a,
        f"{first} right, {second} wrong": a & ~b,
        "both wrong": ~a & ~b,
        "both right": a & b,
    }
    asked = other.samples()
    chosen = {kind: asked.select(these.index[these][:clips]) for kind, these in kinds.items()}
    shown = asked.select(sample.id for samples in chosen.values() for sample in samples)
    written = {
        name: dict(zip((sample.id for sample in shown), _written(run, shown), strict=True))
        for name, run in runs.items()
        if run.config.objective == "mtl"
    }

    def page(sample: Sample) -> HTML:
        views = [display.clip(asked, sample, other.config.num_frames)]
        views += [display.question(sample, {name: _option(given[sample.id]) for name, given in answers.items()})]
        for name, texts in written.items():
            if texts[sample.id] is not None:
                views += [display.marked_reasoning(texts[sample.id], story_of(sample, other.root), f"{name} writes")]
        return display.stacked(*views)

    return {kind: (int(kinds[kind].sum()), list(map(page, some))) for kind, some in chosen.items() if len(some)}


def _written(run: Run, shown: Samples) -> list[str] | list[str | None]:
    """Return the reasoning that a run's student writes about some of its questions; of a run without weights, what was
    kept of it."""
    return run.explain(shown) if run.has_weights else run.written(shown)


# --- beta -------------------------------------------------------------------------------------------------------------


def weights(runs: Mapping[float, Sequence[Run]], chosen: float | None = None, questions: int = 2) -> None:
    """Let the reader drag beta, and see the accuracy and what a student writes that was trained with it.

    Args:
        runs: by beta, runs of one setting on the same questions, a run a seed; the first one's texts are shown.
        chosen: the beta to begin with; None: the largest.
        questions: how many of them to show, the first.
    """
    runs = dict(sorted(runs.items()))
    table = results.summary(runs)
    config = next(iter(runs.values()))[0].config
    shown = next(iter(runs.values()))[0].samples()[:questions]
    pages = {beta: _page_of(setting[0], shown) for beta, setting in runs.items()}

    def view(beta: float) -> HTML:
        row = table.loc[beta].to_dict()
        text = f"beta = {beta:g}{'' if beta else ', answers only (STL_QA)'}: {row['accuracy']:.1f} % "
        text += f"[{row['low']:.1f}, {row['high']:.1f}], {seeds_text(row['seeds'])}, "
        text += f"n = {row['questions']:.0f} questions of {config.dataset} ({config.split})"
        return display.stacked(HTML(f"<div><b>{escape(text)}</b></div>"), pages[beta])

    options = [(f"{beta:g}" if beta else "0 (answers only)", beta) for beta in runs]
    value = list(runs)[-1] if chosen is None else chosen
    slider = ipywidgets.SelectionSlider(options=options, value=value, description="beta", layout={"width": "28em"})
    explore(view, {"beta": slider})


def _page_of(run: Run, shown: Samples) -> HTML:
    """Return frames, the run's answer and what its student writes, for some questions."""
    answers = run.predictions.set_index("id")["prediction"]
    writes = run.config.objective == "mtl"
    views = []
    for sample, text in zip(shown, _written(run, shown) if writes else [None] * len(shown), strict=True):
        views += [display.clip(shown, sample, run.config.num_frames)]
        views += [display.question(sample, {"the student": _option(answers[sample.id])})]
        missing = _WITHOUT_WEIGHTS if writes else _WRITES_NOTHING
        views += [missing if text is None else display.marked_reasoning(text, story_of(sample, run.root))]
    return display.stacked(*views)


_WITHOUT_WEIGHTS = HTML(
    "<div style='opacity:.7'>This run came with the repository, without its weights. To see what its student writes, "
    "retrain it with <code>train(run.config, force=True)</code>.</div>"
)
_WRITES_NOTHING = HTML("<div style='opacity:.7'>This student learned answers only and writes no reasoning.</div>")
