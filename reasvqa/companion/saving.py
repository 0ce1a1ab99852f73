"""Write figures and tables with the numbers behind them and their provenance.

Drawing again from the same runs changes no byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import publish_display_data
from matplotlib.figure import Figure

import reasvqa
from reasvqa import paths
from reasvqa.companion.latex import to_latex
from reasvqa.companion.results import values
from reasvqa.learning import Run

# A notebook cell lists what it saved among its outputs under this type, which no viewer shows; the book reads it.
SAVED = "application/vnd.reasvqa.saved+json"
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
    folder = paths.own_figures(scale) if own else paths.figures(scale)
    _write(
        folder / f"{name}.pdf", lambda path: figure.savefig(path, bbox_inches="tight", metadata={"CreationDate": None})
    )
    _write(folder / f"{name}.csv", lambda path: data.to_csv(path, float_format="%.4f"))
    origin = provenance(caption, scale, runs, alternative(figure, caption))
    _write(folder / f"{name}.json", lambda path: path.write_text(origin, encoding="utf-8"))
    _tell_notebook(name)
    return _write(folder / f"{name}.png", lambda path: figure.savefig(path, bbox_inches="tight"))


def save_table(
    table: pd.DataFrame, name: str, scale: str, runs: Sequence[Run] = (), caption: str = "", own: bool = False
) -> Path:
    """Write <name>.{csv,tex,json}: numbers, a LaTeX table and provenance. Return the path of the LaTeX file.

    Args:
        table: numbers, texts and estimates, see `latex.to_latex`.
        own: as in `save_figure`.
    """
    folder = paths.own_figures(scale) if own else paths.figures(scale)
    _write(folder / f"{name}.csv", lambda path: values(table).to_csv(path, float_format="%.4f"))
    _write(folder / f"{name}.json", lambda path: path.write_text(provenance(caption, scale, runs), encoding="utf-8"))
    _tell_notebook(name)
    latex = to_latex(table, describe(caption, runs), name, scale)
    return _write(folder / f"{name}.tex", lambda path: path.write_text(latex, encoding="utf-8"))


def _tell_notebook(name: str) -> None:
    """Record in the running notebook cell what it saved."""
    if get_ipython() is not None:
        publish_display_data({SAVED: {"name": name}})


def _write(path: Path, writer: Callable[[Path], object]) -> Path:
    """Write a file whole or not at all: a full disk leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        writer(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def describe(caption: str, runs: Sequence[Run] = ()) -> str:
    """Return a caption with the students, epochs, learning rates, batch sizes, questions and seeds of its runs."""
    if not runs:
        return caption
    configs = [run.config for run in runs]
    epochs = _listed(c.epochs for c in configs)
    recipe = (
        f"{epochs} epoch{'' if epochs == '1' else 's'}, learning rate {_listed(c.learning_rate for c in configs)}, "
        f"batch {_listed(c.batch_size for c in configs)}"
    )
    seeds = _seed_ranges({c.seed for c in configs})
    questions = _listed(run.metrics["questions"] for run in runs)
    students = _listed(Path(c.student).name for c in configs)
    return f"{caption} ({students}; {recipe}; n = {questions} questions, {seeds})"


def _seed_ranges(seeds: Iterable[int]) -> str:
    """Return seeds in words: "seed 7", "seeds 0 to 4, 1000 to 1004"."""
    ranges: list[list[int]] = []
    for seed in sorted(seeds):
        if ranges and seed == ranges[-1][-1] + 1:
            ranges[-1].append(seed)
        else:
            ranges.append([seed])
    words = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in ranges]
    return f"seed{'' if sum(map(len, ranges)) == 1 else 's'} {', '.join(words)}"


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


def provenance(caption: str, scale: str, runs: Sequence[Run] = (), alt: str = "") -> str:
    """Return as JSON where numbers came from: caption, alternative text, scale, runs, settings and versions."""
    record = {
        "caption": describe(caption, runs),
        **({"alt": alt} if alt else {}),
        "scale": scale,
        "reasvqa": reasvqa.__version__,
        "runs": sorted({run.path.name for run in runs}),
        "seeds": sorted({run.config.seed for run in runs}),
        "settings": {name: sorted({getattr(run.config, name) for run in runs}) for name in _SETTINGS} if runs else {},
        "versions": runs[0].meta["versions"] if runs else {},
    }
    return json.dumps(record, indent=1) + "\n"


def is_complete(*chosen: tuple[Sequence, Sequence]) -> bool:
    """Tell whether in each pair (what was chosen, all there is) nothing was left out or added.

    What is not complete is saved with `own=True`, so that it never replaces a complete result.
    """
    return all(set(some) == set(whole) for some, whole in chosen)
