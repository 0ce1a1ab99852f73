"""Things to try in a notebook: a view that changes with what is chosen. Nothing here trains a student.

Where no kernel answers (a headless copy, the book) the view of the first choice stands as a still, in the same output:
the output has the widget and, for whoever cannot show widgets, that view as HTML.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from html import escape

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from IPython.display import display as _display
from PIL import Image

from reasvqa.companion import display, figures, results
from reasvqa.companion.words import seeds_of
from reasvqa.datasets import Samples
from reasvqa.learning import Run
from reasvqa.mini.grounding import story_of
from reasvqa.refinement import RESTATED_RULE, RULES, leaks, removals
from reasvqa.samples import Sample

QUESTIONS = 40  # to pick from: a list of a thousand is no choice
CLIPS = 8  # of each kind to compare two students on; each needs what the student writes about it


def explore(
    view: Callable[..., HTML],
    controls: Mapping[str, ipywidgets.ValueWidget],
    above: ipywidgets.Widget | None = None,
) -> None:
    """Shows controls and, below them, `view` of their values, drawn again whenever one of them changes.

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
    note = "<div style='opacity:.7;font-size:90%'>A still. In a running notebook there is a choice.</div>"
    bundle = dict(box._repr_mimebundle_() or {})
    _display(bundle | {"text/html": page.value + note}, raw=True)


def _picker(label: str, options: Sequence | Mapping, value: object = None, wide: bool = True) -> ipywidgets.Dropdown:
    first = next(iter(options.values() if isinstance(options, Mapping) else options))
    return ipywidgets.Dropdown(
        options=list(options.items()) if isinstance(options, Mapping) else list(options),
        value=first if value is None else value,
        description=label,
        style={"description_width": "initial"},
        layout={"width": "min(46em, 98%)" if wide else "24em"},
    )


# --- refinement -------------------------------------------------------------------------------------------------------


def refinement(samples: Samples, responses: pd.DataFrame) -> None:
    """Pick a question, and switch the rules of refinement on and off.

    Args:
        samples: training questions.
        responses: what a generator wrote about them, of `read_reasoning`.
    """
    rows = responses.reset_index().set_index("id")
    asked = {s.id: (s, str(rows["response"][s.id]), _option(rows["prediction"][s.id])) for s in samples[:QUESTIONS]}
    names = {
        f"{'CR' if chosen == sample.answer else 'IR'}, {sample.question} ({id})": id
        for id, (sample, _, chosen) in asked.items()
    }
    wrong = [id for name, id in names.items() if name.startswith("IR")]

    def view(question: str, **on: bool) -> HTML:
        sample, text, chosen = asked[question]
        rules = [rule for rule in RULES if on[rule]]
        return refined(sample, text, chosen, rules)

    question = _picker("question", names, wrong[0] if wrong else None)
    switches = {
        rule: ipywidgets.Checkbox(rule != RESTATED_RULE, description=rule, indent=False, layout={"width": "12em"})
        for rule in RULES
    }
    grid = ipywidgets.HBox(list(switches.values()), layout={"flex_flow": "row wrap"})
    explore(view, {"question": question, **switches}, ipywidgets.VBox([question, grid]))


def refined(sample: Sample, text: str, chosen: int | None, rules: Sequence[str]) -> HTML:
    """One response under some of the rules: what goes, and what the rest still tells of the answer.

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
    tells = [_TOLD[what] for what, there in found.items() if there]
    off = [rule for rule in RULES if rule not in rules and rule != RESTATED_RULE]
    note = f"What remains tells: {', '.join(tells) or 'nothing of the answer'}."
    note += f" Switched off: {', '.join(off)}." if off else ""
    return display.below(
        display.choices(sample, {"the generator": chosen}),
        display.refinement(text, sample.answer_text, correct, option, rules),
        HTML(f"<div style='margin:.4em 0'>{escape(note)}</div>"),
    )


_TOLD = {  # of `refinement.leaks`
    "letter": "a letter as the answer",
    "option text": "the chosen option in full",
    "true option's words": "words of the true option",
    "wrongly chosen option's words": "words of the wrongly chosen option",
}


def _option(choice: object) -> int | None:
    return None if pd.isna(choice) else int(choice)  # type: ignore[arg-type, call-overload]


# --- two students -----------------------------------------------------------------------------------------------------


def students(pages: Mapping[str, tuple[int, Sequence[HTML]]]) -> None:
    """Two students beside each other on the same clips, by who is right. pages: of `compared`."""
    kinds = {f"{kind} ({len(views)} of {count})": kind for kind, (count, views) in pages.items()}
    kind = _picker("show", kinds, wide=False)
    most = max(len(views) for _, views in pages.values())
    place = ipywidgets.BoundedIntText(value=1, min=1, max=most, description="clip", layout={"width": "12em"})

    def view(kind: str, place: int) -> HTML:
        views = pages[kind][1]
        return views[min(place, len(views)) - 1]

    explore(view, {"kind": kind, "place": place}, ipywidgets.HBox([kind, place]))


def compared(runs: Mapping[str, Run], clips: int = CLIPS) -> dict[str, tuple[int, list[HTML]]]:
    """Two students on the same clips, by who is right, those kinds first on which they differ: on how many questions,
    and views of the first `clips` of them.

    Args:
        runs: the two by their names; what an MTL student writes is shown (of a run without weights, if it is kept), and
            judged by what happens in the clip where that is known.
        clips: of each kind, at most.

    Raises:
        ValueError: the two were asked different questions.
    """
    (first, one), (second, other) = runs.items()
    answers = {name: run.predictions.set_index("id")["prediction"] for name, run in runs.items()}
    right = {name: results.outcomes([run]).iloc[:, 0].droplevel("video") == 1 for name, run in runs.items()}
    if set(right[first].index) != set(right[second].index):
        raise ValueError(f"{first} and {second} answered different questions and cannot be compared")
    kinds = {
        f"{second} right, {first} wrong": right[second] & ~right[first],
        f"{first} right, {second} wrong": right[first] & ~right[second],
        "both wrong": ~right[first] & ~right[second],
        "both right": right[first] & right[second],
    }
    asked = other.samples()
    chosen = {kind: asked.select(these.index[these][:clips]) for kind, these in kinds.items()}
    shown = asked.select(sample.id for samples in chosen.values() for sample in samples)
    written = {
        name: dict(zip((sample.id for sample in shown), _written(run, shown), strict=True))
        for name, run in ((first, one), (second, other))
        if run.config.objective == "mtl"
    }
    return {
        kind: (
            int(kinds[kind].sum()),
            [
                display.below(
                    display.strip(asked, sample, other.config.num_frames),
                    display.choices(sample, {name: _option(given[sample.id]) for name, given in answers.items()}),
                    *(
                        display.said(texts[sample.id], story_of(sample, other.root), f"{name} writes")
                        for name, texts in written.items()
                        if texts[sample.id] is not None
                    ),
                )
                for sample in samples
            ],
        )
        for kind, samples in chosen.items()
        if len(samples)
    }


def _written(run: Run, shown: Samples) -> list[str] | list[str | None]:
    """The reasoning that a run's student writes for some of the questions it was asked; of a run that came without
    weights, as far as that came along."""
    return run.explain(shown) if run.has_weights else run.written(shown)


# --- beta -------------------------------------------------------------------------------------------------------------


def weights(runs: Mapping[float, Sequence[Run]], chosen: float | None = None, questions: int = 2) -> None:
    """Drag beta, and see the accuracy and what a student says that was trained with it.

    Args:
        runs: by beta, runs of one setting on the same questions, a run a seed; of the first the texts are shown.
        chosen: the beta to begin with; None: the largest.
        questions: how many of them to show, the first.
    """
    runs = dict(sorted(runs.items()))
    table = results.summary(runs)
    some = next(iter(runs.values()))[0]
    shown = some.samples()[:questions]
    pages = {beta: _said_by(setting[0], shown) for beta, setting in runs.items()}

    def view(beta: float) -> HTML:
        row = table.loc[beta].to_dict()
        words = f"beta = {beta:g}{'' if beta else ', which is STL_QA'}: {row['accuracy']:.1f} %"
        words += (
            f" [{row['low']:.1f}, {row['high']:.1f}], {seeds_of(row['seeds'])}, n = {row['questions']:.0f} questions"
        )
        words += f" of {some.config.dataset} ({some.config.split})"
        return display.below(HTML(f"<div><b>{escape(words)}</b></div>"), _curve(table, beta), pages[beta])

    options = {f"{beta:g}" if beta else "0 (STL_QA)": beta for beta in runs}
    slider = ipywidgets.SelectionSlider(
        options=list(options.items()),
        value=list(runs)[-1] if chosen is None else chosen,
        description="beta",
        layout={"width": "28em"},
    )
    explore(view, {"beta": slider})


def _curve(table: pd.DataFrame, beta: float) -> HTML:
    """Accuracy against beta, of `results.summary`, the chosen one filled."""
    figure, axis = plt.subplots(figsize=(4.6, 2.1))
    error = np.stack([table["accuracy"] - table["low"], table["high"] - table["accuracy"]]).clip(0)
    look = {"color": figures.COLOURS["MTL"], "lw": 1.2, "capsize": 2.5, "marker": "o", "mfc": "white", "ms": 6}
    axis.errorbar(table.index, table["accuracy"], yerr=error, **look)
    axis.plot([beta], [table["accuracy"][beta]], "o", color=figures.COLOURS["MTL"], ms=9, zorder=5)
    axis.set(xlabel="beta, weight of the reasoning", ylabel="accuracy (%)", xlim=(-0.05, 0.95))
    figure.tight_layout()
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    plt.close(figure)
    picture = np.asarray(Image.open(data).convert("RGB"))
    said = f"accuracy against beta; {table['accuracy'][beta]:.1f} % at {beta:g}"
    return HTML(f"<img src='{display.as_url(picture)}' alt='{said}' style='max-width:100%'>")


def _said_by(run: Run, shown: Samples) -> HTML:
    """Frames, the run's answer and what its student writes, for some questions."""
    answers = run.predictions.set_index("id")["prediction"]
    writes = run.config.objective == "mtl"
    texts = _written(run, shown) if writes else [None] * len(shown)
    views = []
    for sample, text in zip(shown, texts, strict=True):
        views += [display.strip(shown, sample, run.config.num_frames)]
        views += [display.choices(sample, {"the student": _option(answers[sample.id])})]
        silent = _LEFT_OUT if writes else _SILENT
        views += [display.said(text, story_of(sample, run.root))] if text is not None else [silent]
    return display.below(*views)


_LEFT_OUT = HTML(
    "<div style='opacity:.7'>The run came with the repository, without its weights; "
    "<code>train(run.config, force=True)</code> trains its student again, and then it can be seen what it writes.</div>"
)
_SILENT = HTML("<div style='opacity:.7'>It learned answers only and writes no reasoning.</div>")
