"""Views that change with what you choose. Where no kernel answers (a headless copy, the book), a still of the first, or
folded views to open. Nothing here trains a student."""

from collections.abc import Callable, Mapping

import ipywidgets
from IPython.display import HTML
from IPython.display import display as _display

from reasvqa.companion import display
from reasvqa.datasets import Samples
from reasvqa.learning import Run
from reasvqa.mini.grounding import story_of

FOLDED = 6  # views that `pick` leaves for readers without a kernel: each has its own pictures


def explore(view: Callable[..., HTML], controls: Mapping[str, ipywidgets.ValueWidget], still: str = "") -> None:
    """Show controls and, below them, `view` of their values by name, drawn again whenever one of them changes.

    Args:
        still: what a reader without a kernel sees; "": the view of the values that the controls have now.
    """
    page = ipywidgets.HTML()

    def draw(_change: object = None) -> None:
        page.value = str(view(**{name: control.value for name, control in controls.items()}).data)

    draw()
    for control in controls.values():
        control.observe(draw, "value")
    box = ipywidgets.VBox([*controls.values(), page])
    note = "<div style='opacity:.7;font-size:90%'>This view is static; run the notebook to choose.</div>"
    bundle = dict(box._repr_mimebundle_() or {})
    _display(bundle | {"text/html": still or page.value + note}, raw=True)


def pick(pages: Mapping[str, HTML], label: str, first: str | None = None) -> None:
    """Let the reader pick one of several views by its name. first: the one to begin with; None: the first."""
    names, first = list(pages), first or next(iter(pages))
    look = {"style": {"description_width": "initial"}, "layout": {"width": "min(46em, 98%)"}}
    picker = ipywidgets.Dropdown(options=names, value=first, description=label, **look)
    shown = sorted({*names[: FOLDED - 1], first}, key=names.index)
    still = display.stacked(*(display.folded(pages[name], name, name == first) for name in shown))
    explore(lambda name: pages[name], {"name": picker}, str(still.data))


def pages_of(runs: Mapping[str, Run], shown: Samples) -> list[HTML]:
    """Return a view of each question: its frames, what the students choose, and what those of MTL write (without
    weights: what was kept of it)."""
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
