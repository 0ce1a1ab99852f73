"""Write figures and tables with the numbers behind them and their provenance.

Drawing again from the same runs changes no byte.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

import reasvqa
from reasvqa import paths
from reasvqa.companion.latex import to_latex
from reasvqa.companion.results import values
from reasvqa.files import atomic_path, write_json, write_text
from reasvqa.learning import Run

_SETTINGS = ("student", "epochs", "learning_rate", "batch_size", "lora_rank")


def save_figure(
    figure: Figure,
    name: str,
    data: pd.DataFrame,
    scale: str,
    runs: Sequence[Run] = (),
    caption: str = "",
    own: bool = False,
) -> Path:
    """Write <name>.{pdf,png,csv,json}: picture, numbers and provenance. Return the PNG's path.

    Args:
        own: write to `paths.own_figures`, because the figure shows your own choice of settings, instead of
            `paths.figures`.
    """
    png = (paths.own_figures if own else paths.figures)(scale) / f"{name}.png"
    _save_numbers(png, data, scale, runs, caption, alt=alternative(figure, caption))
    for path, metadata in ((png.with_suffix(".pdf"), {"CreationDate": None}), (png, None)):
        with atomic_path(path) as partial:
            figure.savefig(partial, bbox_inches="tight", metadata=metadata)
    return png


def save_table(
    table: pd.DataFrame, name: str, scale: str, runs: Sequence[Run] = (), caption: str = "", own: bool = False
) -> None:
    """Write <name>.{csv,tex,json}: numbers, a LaTeX table and provenance.

    Args:
        table: numbers, texts and estimates, see `latex.to_latex`.
        own: as in `save_figure`.
    """
    tex = (paths.own_figures if own else paths.figures)(scale) / f"{name}.tex"
    _save_numbers(tex, values(table), scale, runs, caption)
    write_text(tex, to_latex(table, describe(caption, runs), name, scale))


def _save_numbers(path: Path, data: pd.DataFrame, scale: str, runs: Sequence[Run], caption: str, **about: str) -> None:
    """Write numbers (.csv) and provenance (.json) beside a file."""
    record = {
        "caption": describe(caption, runs),
        **about,
        "scale": scale,
        "reasvqa": reasvqa.__version__,
        "runs": sorted({run.path.name for run in runs}),
        "seeds": sorted({run.config.seed for run in runs}),
        "settings": {key: sorted({getattr(run.config, key) for run in runs}) for key in _SETTINGS} if runs else {},
        "versions": runs[0].meta["versions"] if runs else {},
    }
    write_text(path.with_suffix(".csv"), data.to_csv(float_format="%.4f"))
    write_json(path.with_suffix(".json"), record)


def describe(caption: str, runs: Sequence[Run] = ()) -> str:
    """Return a caption with the students, epochs, learning rates, batch sizes, questions and seeds of its runs."""
    if not runs:
        return caption
    configs = [run.config for run in runs]
    epochs, questions = _listed(c.epochs for c in configs), _listed(run.metrics["questions"] for run in runs)
    recipe = f"{epochs} epoch{'' if epochs == '1' else 's'}, learning rate {_listed(c.learning_rate for c in configs)}"
    recipe += f", batch {_listed(c.batch_size for c in configs)}"
    students, seeds = _listed(Path(c.student).name for c in configs), sorted({c.seed for c in configs})
    in_a_row = [[seed for _, seed in row] for _, row in groupby(enumerate(seeds), lambda pair: pair[1] - pair[0])]
    ranges = [f"{row[0]} to {row[-1]}" if len(row) > 1 else str(row[0]) for row in in_a_row]
    words = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(ranges)}"
    return f"{caption} ({students}; {recipe}; n = {questions} questions, {words})"


def _listed(values: Iterable) -> str:
    """Return the different values in order: "4 or 12"."""
    return " or ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in sorted(set(values)))


def alternative(figure: Figure, caption: str) -> str:
    """Return a figure's alternative text: its message, caption, and each panel's title, axis labels and legend."""
    parts = [figure.get_suptitle(), caption]
    for axes in figure.axes:
        legend = axes.get_legend()
        series = ", ".join(text.get_text() for text in legend.get_texts()) if legend else ""
        labels = {"across": axes.get_xlabel(), "up": axes.get_ylabel(), "shown": series}
        words = [axes.get_title() or axes.get_title("left") or axes.get_title("right")]
        words += [f"{name}: {text}" for name, text in labels.items() if text]
        parts.append("; ".join(word for word in words if word))
    sentences = dict.fromkeys(" ".join(sentence.split()).rstrip(".") for sentence in parts)
    return ". ".join(sentence for sentence in sentences if sentence) + "."


def is_complete(*chosen: tuple[Sequence, Sequence]) -> bool:
    """Tell whether in each pair (what was chosen, all there is) nothing was left out or added.

    What is not complete is saved with `own=True`, so that it never replaces a complete result.
    """
    return all(set(some) == set(whole) for some, whole in chosen)
