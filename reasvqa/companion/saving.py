"""Writes figures and tables with the numbers behind them and where they came from. Drawing again from the same runs
changes no byte."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import publish_display_data
from matplotlib.figure import Figure

import reasvqa
from reasvqa import paths
from reasvqa.companion.latex import to_latex
from reasvqa.companion.results import values
from reasvqa.learning import Run

# What a notebook's cell saved stands among its outputs under this type, which no viewer shows; the book reads it.
SAVED = "application/vnd.reasvqa.saved+json"
_SETTINGS = ("student", "epochs", "learning_rate", "batch_size", "lora_rank")


def save_figure(
    figure: Figure, name: str, data: pd.DataFrame, scale: str, runs: Sequence[Run] = (), caption: str = ""
) -> Path:
    """Writes <name>.{pdf,png,csv,json} to `reasvqa.paths.figures(scale)`: picture, numbers, provenance. Returns the
    PNG's path. name: without an ending; what stands before a slash is a folder of its own."""
    _write(name, scale, ".pdf", lambda path: figure.savefig(path, bbox_inches="tight", metadata={"CreationDate": None}))
    _write(name, scale, ".csv", lambda path: data.to_csv(path, float_format="%.4f"))
    origin = provenance(caption, scale, runs, alternative(figure, caption))
    _write(name, scale, ".json", lambda path: path.write_text(origin, encoding="utf-8"))
    _tell_notebook(name)
    return _write(name, scale, ".png", lambda path: figure.savefig(path, bbox_inches="tight"))


def save_table(table: pd.DataFrame, name: str, scale: str, runs: Sequence[Run] = (), caption: str = "") -> Path:
    """Writes <name>.{csv,tex,json}: numbers, a booktabs table to paste, provenance. Returns the path of the LaTeX
    file. table: numbers, texts and estimates, see `latex.to_latex`."""
    _write(name, scale, ".csv", lambda path: values(table).to_csv(path, float_format="%.4f"))
    _write(name, scale, ".json", lambda path: path.write_text(provenance(caption, scale, runs), encoding="utf-8"))
    _tell_notebook(name)
    latex = to_latex(table, describe(caption, runs), name)
    return _write(name, scale, ".tex", lambda path: path.write_text(latex, encoding="utf-8"))


def _tell_notebook(name: str) -> None:
    """Leaves in a notebook's cell what it saved."""
    if get_ipython() is not None:
        publish_display_data({SAVED: {"name": name}})


def _write(name: str, scale: str, ending: str, writer: Callable[[Path], object]) -> Path:
    """A file that appears whole or not at all: a full disk leaves the old one."""
    path = paths.figures(scale) / f"{name}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        writer(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def describe(caption: str, runs: Sequence[Run] = ()) -> str:
    """A caption with what its runs have in common or range over: students, epochs, learning rate, batch, questions,
    seeds."""
    if not runs:
        return caption
    configs = [run.config for run in runs]
    epochs = _several(c.epochs for c in configs)
    recipe = (
        f"{epochs} epoch{'' if epochs == '1' else 's'}, learning rate {_several(c.learning_rate for c in configs)}, "
        f"batch {_several(c.batch_size for c in configs)}"
    )
    seeds = _ranges({c.seed for c in configs})
    questions = _several(run.metrics["questions"] for run in runs)
    students = _several(Path(c.student).name for c in configs)
    return f"{caption} ({students}; {recipe}; n = {questions} questions, {seeds})"


def _ranges(seeds: Iterable[int]) -> str:
    """Seeds in words: "seed 7", "seeds 0 to 4, 1000 to 1004"."""
    ranges: list[list[int]] = []
    for seed in sorted(seeds):
        if ranges and seed == ranges[-1][-1] + 1:
            ranges[-1].append(seed)
        else:
            ranges.append([seed])
    words = [str(each[0]) if len(each) == 1 else f"{each[0]} to {each[-1]}" for each in ranges]
    return f"seed{'' if sum(map(len, ranges)) == 1 else 's'} {', '.join(words)}"


def _several(values: Iterable) -> str:
    """Different values in order: "4 or 12"."""
    return " or ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in sorted(set(values)))


def alternative(figure: Figure, caption: str) -> str:
    """What a figure shows, in words, for those who do not see it: its caption, and what stands in its panels."""
    said = [caption]
    for axes in figure.axes:
        words = [axes.get_title() or axes.get_title("left")]
        words += [
            f"{side}: {label}" for side, label in (("across", axes.get_xlabel()), ("up", axes.get_ylabel())) if label
        ]
        legend = axes.get_legend()
        series = ", ".join(text.get_text() for text in legend.get_texts()) if legend else ""
        words += [f"shown: {series}"] if series else []
        said.append("; ".join(word for word in words if word))
    sentences = dict.fromkeys(" ".join(sentence.split()).rstrip(".") for sentence in said)
    return ". ".join(sentence for sentence in sentences if sentence) + "."


def provenance(caption: str, scale: str, runs: Sequence[Run] = (), alt: str = "") -> str:
    """Where numbers came from, as JSON: caption, a figure's alternative text, scale, the runs with their settings,
    versions."""
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


def seeds_tag(seeds: Sequence[int]) -> str:
    """For the name of a figure, so that one of a single seed does not replace one of several: [0, 1, 2] ->
    "seeds0-1-2"."""
    return "seeds" + "-".join(map(str, seeds))


def settings_tag(changed: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """For the name of a figure, so that one of other settings does not replace it: {"beta": 0.2, "lora": False}, [0] ->
    "beta-0.2_lora-False_seeds0".

    changed: of `display.changed`.
    """
    named = [f"{name}-{Path(str(value)).name}" for name, value in changed.items()]
    return "_".join([*(re.sub(r"[^\w.-]", "-", name) for name in named), seeds_tag(seeds)])


def part(*chosen: tuple[Sequence, Sequence]) -> str:
    """For the name of a table or figure: "_part" if of any pair (what was chosen, all there is) something was left out
    or added, so that a part never replaces the whole; else ""."""
    return "" if all(set(some) == set(whole) for some, whole in chosen) else "_part"
