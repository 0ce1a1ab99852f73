"""Views that change with what you choose. Nothing here trains a student.

Where no kernel answers (a headless copy, the book) the view of the first choice is shown as a still: the same output
holds the widget and, for whoever cannot show widgets, that view as HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ipywidgets
from IPython.display import HTML
from IPython.display import display as _display

from reasvqa.companion import display
from reasvqa.datasets import Samples
from reasvqa.learning import Run
from reasvqa.mini.grounding import story_of


def explore(view: Callable[..., HTML], controls: Mapping[str, ipywidgets.ValueWidget]) -> None:
    """Show controls and, below them, `view` of their values, drawn again whenever one of them changes.

    Args:
        view: takes the controls' values by their names.
        controls: by name; the values they have now give the still.
    """
    page = ipywidgets.HTML()

    def draw(_change: object = None) -> None:
        page.value = str(view(**{name: control.value for name, control in controls.items()}).data)

    draw()
    for control in controls.values():
        control.observe(draw, "value")
    box = ipywidgets.VBox([*controls.values(), page])
    note = "<div style='opacity:.7;font-size:90%'>A still. In a running notebook you can choose.</div>"
    bundle = dict(box._repr_mimebundle_() or {})
    _display(bundle | {"text/html": page.value + note}, raw=True)


def pick(pages: Mapping[str, HTML], label: str, first: str | None = None) -> None:
    """Let the reader pick one of several views by its name. first: the one to begin with; None: the first."""
    names = list(pages)
    look = {"style": {"description_width": "initial"}, "layout": {"width": "min(46em, 98%)"}}
    picker = ipywidgets.Dropdown(options=names, value=first or names[0], description=label, **look)
    explore(lambda name: pages[name], {"name": picker})


def pages_of(runs: Mapping[str, Run], shown: Samples) -> list[HTML]:
    """Return a view of each question: its frames, what the students choose, and what those of MTL write.

    Of a run without weights, what was kept of its texts is shown.
    """
    answers = {name: run.predictions.set_index("id")["prediction"] for name, run in runs.items()}
    written = {
        name: run.explain(shown) if run.has_weights else run.written(shown)
        for name, run in runs.items()
        if run.config.objective == "mtl"
    }
    last, pages = list(runs.values())[-1], []
    for i, sample in enumerate(shown):
        views = [display.clip(shown, sample, last.config.num_frames)]
        views += [display.question(sample, {name: given[sample.id] for name, given in answers.items()})]
        for name, texts in written.items():
            text = texts[i] or "(This run came without its weights; train(run.config, force=True) retrains it.)"
            story = story_of(sample, last.root) if texts[i] else None
            views += [display.marked_reasoning(text, story, f"{name} writes")]
        pages.append(display.stacked(*views))
    return pages
