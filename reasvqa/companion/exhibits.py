"""A table or figure as its notebook shows it: which runs it rests on, and under which names it is saved; and the
example of Figures 1 and 2."""

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
from reasvqa.companion import display, figures, results, saving, tables
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
from reasvqa.learning import Run, build_examples
from reasvqa.learning.targets import Example
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
        tag: ends the names of what is saved: "_part" if something was left out or added, so that a part never replaces
            the whole; else "".
    """

    scale: str
    seeds: list[int]
    datasets: list[str]
    generators: list[str]
    settings: dict[tuple[str, str], list[TrainConfig]]
    tag: str

    @property
    def plan(self) -> str:
        """How many runs it has: "10 settings, 34 runs"."""
        return f"{len(self.settings)} settings, {sum(map(len, self.settings.values()))} runs"

    @cached_property
    def runs(self) -> dict[tuple[str, str], list[Run]]:
        """By (dataset, row) a run per seed; what is not kept is trained when they are first asked for."""
        return results.train_each(self.settings)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """`results.summary` of the runs, with the columns dataset and row."""
        return results.summary(self.runs).reset_index()

    def on(self, dataset: str) -> Exhibit:
        """The same on one of its data sets."""
        settings = {cell: configs for cell, configs in self.settings.items() if cell[0] == dataset}
        return replace(self, datasets=[dataset], settings=settings)

    def caption(self, title: str) -> str:
        """A caption that says on which data sets our rows stand."""
        return f"{title}. Ours: {', '.join(dict.fromkeys(run.config.dataset for run in tables.every(self.runs)))}"

    def save_table(self, table: pd.DataFrame, name: str, caption: str) -> HTML:
        """Saves a table, see `saving.save_table`, and shows it."""
        saving.save_table(table, f"{name}{self.tag}", self.scale, tables.every(self.runs), caption)
        return tables.show(table, caption)

    def save_figure(self, figure: Figure, name: str, data: pd.DataFrame, caption: str) -> Figure:
        """Saves a figure with its numbers, see `saving.save_figure`, and shows it."""
        saving.save_figure(figure, f"{name}{self.tag}", data, self.scale, tables.every(self.runs), caption)
        return figure


def exhibit(experiment: str, **parameters: Any) -> Exhibit:
    """A table or figure with these parameters of its notebook; called in the first cell, it also sets figures' style.

    Args:
        experiment: a name of `EXPERIMENTS`.
        parameters: scale and, where the notebook has them, seeds, datasets, betas, generators; as papermill hands them
            over.

    Raises:
        ValueError: the first parameter that is not possible, named, with what is.
    """
    given = dict(zip(parameters, checked(**parameters), strict=True))
    what, scale, seeds = EXPERIMENTS[experiment], given["scale"], given.get("seeds", [])
    datasets = given.get("datasets", list(what.datasets))
    chosen: list[tuple[Sequence, Sequence]] = [(datasets, what.datasets)]
    rows, generators = list(what.rows), []
    if "betas" in given:
        rows = [one_of("betas", str(beta), map(str, BETAS)) for beta in sorted(given["betas"])]
    if "generators" in given and rows:  # a part of the simulated ones, which rows are named after
        known = GENERATORS[scale]
        generators = several("generators", given["generators"] or known, known)
        rows = [f"{kind}, {name}" for name in generators for kind in ("Original", "Refined")] + ["STL_QA"]
        chosen.append((generators, known))
    elif "generators" in given:  # Table 4's rows: whoever left a reasoning file
        known = [name_at(scale, name) for name in TABLE4.values()]
        generators = given["generators"] or known
        chosen.append((generators, known))
    if seeds:
        chosen += [(seeds, seeds_at(scale)), (rows, what.rows)]
    settings = settings_of(experiment, scale, seeds, datasets, rows) if seeds else {}
    figures.style()
    return Exhibit(scale, seeds, datasets, generators, settings, saving.part(*chosen))


@dataclass(frozen=True)
class WrongAnswer:
    """A training question that a generator answers wrongly: the example of Figures 1 and 2.

    Attributes:
        config: says whose reasoning it is.
        samples, responses: all training questions, and the generator's responses to them, of `read_reasoning`.
        sample, response, prediction: this question, what the generator wrote, and the option that settles on (index).
    """

    config: TrainConfig
    samples: Samples
    responses: pd.DataFrame
    sample: Sample
    response: str
    prediction: int

    def __str__(self) -> str:
        """ "Interaction_T1_13 of mini-star, generator sim-26b"."""
        return f"{self.sample.id} of {self.config.dataset}, generator {self.config.generator}"

    @property
    def wrong(self) -> pd.DataFrame:
        """All responses that are wrong or name no option."""
        return self.responses[~self.responses["correct"].fillna(False).astype(bool)]

    @cached_property
    def frames(self) -> np.ndarray:
        """Of its clip, uint8 (4, H, W, 3)."""
        return read_frames(self.samples.videos / self.sample.video, 4, self.sample.clip)

    @cached_property
    def example(self) -> Example:
        """What a student learns from."""
        examples = build_examples(self.samples, self.responses, self.config)
        return next(example for example in examples if example.sample.id == self.sample.id)

    @property
    def texts(self) -> pd.DataFrame:
        """The column text, with the rows question, response, refined, answer."""
        texts = {"question": display.plain(self.sample), "response": self.response}
        texts |= {"refined": self.example.reasoning or "", "answer": self.example.target}
        return pd.DataFrame({"text": texts})

    @property
    def pieces(self) -> pd.DataFrame:
        """The response in pieces, in the columns piece and kept (by refinement)."""
        pieces = figures.pieces(self.response, self.sample.answer_text, correct=False)
        return pd.DataFrame(pieces, columns=["piece", "kept"])


def wrong_answer(**parameters: Any) -> WrongAnswer:
    """The example that these parameters of a notebook choose: scale, dataset, generator, question (which of the
    questions that the generator got wrong, from 0); called in the first cell, it also sets figures' style.

    Raises:
        ValueError: the first parameter that is not possible, named, with what is.
    """
    given = dict(zip(parameters, checked(**parameters), strict=True))
    dataset = dataset_name(given["scale"], given["dataset"])
    config = TrainConfig(dataset=dataset, generator=given["generator"]).resolve()
    samples = load(dataset, "train")[: config.questions]
    responses = read_reasoning(paths.reasoning(paths.dataset(dataset), config.generator), samples)
    sample, row = one_wrong(samples, responses, given["question"])
    figures.style()
    return WrongAnswer(config, samples, responses, sample, row["response"], row["prediction"])
