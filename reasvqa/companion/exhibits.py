"""A table or figure as its notebook shows it, and the example of Figures 1 and 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from reasvqa import paths
from reasvqa.companion import drawings, figures, results, saving, tables
from reasvqa.companion.experiments import (
    BETAS,
    EXPERIMENTS,
    GENERATORS,
    TABLE4,
    dataset_name,
    name_at,
    seeds_at,
    settings_of,
)
from reasvqa.companion.parameters import checked, one_wrong, several
from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples, load
from reasvqa.generation import read_reasoning
from reasvqa.learning import Run
from reasvqa.samples import Sample
from reasvqa.validation import one_of
from reasvqa.video import read_frames


@dataclass(frozen=True)
class Exhibit:
    """A table or figure with a notebook's choice of seeds, data sets and rows.

    Attributes:
        scale: one of `SCALES`.
        seeds: empty where nothing is trained.
        datasets: "nextqa", "star", "intentqa".
        generators: by their names at this scale; empty where they are no choice.
        settings: by (dataset, row) a `TrainConfig` per seed.
        own: something was left out or added, so that what is saved goes to `paths.own_figures`.
    """

    scale: str
    seeds: list[int]
    datasets: list[str]
    generators: list[str]
    settings: dict[tuple[str, str], list[TrainConfig]]
    own: bool

    @property
    def plan(self) -> str:
        """How many runs it has: "10 settings, 34 runs"."""
        return f"{len(self.settings)} settings, {sum(map(len, self.settings.values()))} runs"

    @cached_property
    def runs(self) -> dict[tuple[str, str], list[Run]]:
        """By (dataset, row) a run per seed; missing runs are trained when they are first asked for."""
        return results.train_each(self.settings)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """`results.summary` of the runs, with the columns dataset and row."""
        return results.summary(self.runs).reset_index()

    def on(self, dataset: str) -> Exhibit:
        """Return the same on one of its data sets."""
        settings = {cell: configs for cell, configs in self.settings.items() if cell[0] == dataset}
        return replace(self, datasets=[dataset], settings=settings)

    def caption(self, title: str) -> str:
        """Return a caption that names the data sets of our rows."""
        names = dict.fromkeys(run.config.dataset for run in tables.all_runs(self.runs))
        return f"{title}. Ours: {', '.join(names)}"

    def save_table(self, table: pd.DataFrame, name: str, caption: str) -> HTML:
        """Save a table, see `saving.save_table`, and return a view of it."""
        saving.save_table(table, name, self.scale, tables.all_runs(self.runs), caption, self.own)
        return tables.styled(table, caption, self.scale)

    def save_figure(self, figure: Figure, name: str, data: pd.DataFrame, caption: str) -> Figure:
        """Save a figure with its numbers, see `saving.save_figure`, and return it."""
        saving.save_figure(figure, name, data, self.scale, tables.all_runs(self.runs), caption, self.own)
        return figure


def exhibit(experiment: str, **parameters: Any) -> Exhibit:
    """Return a table or figure with the parameters of its notebook; also set the figures' style.

    Args:
        experiment: a name of `EXPERIMENTS`.
        parameters: scale and, where the notebook has them, seeds, datasets, betas, generators; as papermill hands them
            over.

    Raises:
        ValueError: a parameter is not possible; the message names the first one, and what is possible.
    """
    given = dict(zip(parameters, checked(**parameters), strict=True))
    what, scale, seeds = EXPERIMENTS[experiment], given["scale"], given.get("seeds", [])
    datasets = given.get("datasets", list(what.datasets))
    chosen: list[tuple[Sequence, Sequence]] = [(datasets, what.datasets)]
    rows, generators = list(what.rows), []
    if "betas" in given:
        rows = [one_of("betas", str(beta), map(str, BETAS)) for beta in sorted(given["betas"])]
    if "generators" in given and rows:  # some of the simulated ones, which rows are named after
        possible = GENERATORS[scale]
        generators = several("generators", given["generators"] or possible, possible)
        rows = [f"{kind}, {name}" for name in generators for kind in ("Original", "Refined")] + ["STL_QA"]
        chosen.append((generators, possible))
    elif "generators" in given:  # Table 4's rows: whoever left a reasoning file
        usual = [name_at(scale, name) for name in TABLE4.values()]
        generators = given["generators"] or usual
        chosen.append((generators, usual))
    if seeds:
        chosen += [(seeds, seeds_at(scale)), (rows, what.rows)]
    settings = settings_of(experiment, scale, seeds, datasets, rows) if seeds else {}
    figures.style()
    return Exhibit(scale, seeds, datasets, generators, settings, not saving.is_complete(*chosen))


@dataclass(frozen=True)
class WrongAnswer:
    """A training question that a generator answers wrongly: the example of Figures 1 and 2.

    Attributes:
        config: names data set and generator.
        samples, responses: all training questions, and the generator's responses to them, of `read_reasoning`.
        sample, response, prediction: this question, what the generator wrote, and the option it chose (index).
    """

    config: TrainConfig
    samples: Samples
    responses: pd.DataFrame
    sample: Sample
    response: str
    prediction: int

    def __str__(self) -> str:
        """Return for example "Interaction_T1_13 of mini-star, generator sim-26b"."""
        return f"{self.sample.id} of {self.config.dataset}, generator {self.config.generator}"

    @cached_property
    def frames(self) -> np.ndarray:
        """The four frames of its clip, uint8 (4, H, W, 3)."""
        return read_frames(self.samples.videos / self.sample.video, 4, self.sample.clip)

    @property
    def pieces(self) -> pd.DataFrame:
        """The response in pieces, in the columns piece and kept (by refinement)."""
        parts = drawings.pieces(self.response, self.sample.answer_text, correct=False)
        return pd.DataFrame(parts, columns=["piece", "kept"])

    @property
    def message(self) -> str:
        """How much of the response refinement keeps: a figure's title."""
        kept, removed = (
            sum(len(text.split()) for text, keeps in self.pieces.itertuples(index=False) if keeps == which)
            for which in (True, False)
        )
        return f"The generator's answer is wrong; refinement keeps {kept} of its {kept + removed} words"


def wrong_answer(**parameters: Any) -> WrongAnswer:
    """Return the example that these parameters of a notebook choose; also set the figures' style.

    Args:
        parameters: scale, dataset, generator, and question: the place among those that the generator got wrong.

    Raises:
        ValueError: a parameter is not possible; the message names the first one, and what is possible.
    """
    given = dict(zip(parameters, checked(**parameters), strict=True))
    dataset = dataset_name(given["scale"], given["dataset"])
    config = TrainConfig(dataset=dataset, generator=given["generator"]).resolve()
    samples = load(dataset, "train")[: config.questions]
    responses = read_reasoning(paths.reasoning(paths.dataset(dataset), config.generator), samples)
    sample, row = one_wrong(samples, responses, given["question"])
    figures.style()
    return WrongAnswer(config, samples, responses, sample, row["response"], row["prediction"])
