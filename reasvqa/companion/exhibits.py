"""A table or figure as its notebook shows it, and the example of Figures 1 and 2."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from reasvqa import paths
from reasvqa.companion import drawings, experiments, figures, results, saving, tables
from reasvqa.companion.parameters import checked
from reasvqa.config import TrainConfig
from reasvqa.datasets import load
from reasvqa.generation import read_reasoning
from reasvqa.learning import Run
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

    def on(self, dataset: str) -> "Exhibit":
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
    one_of("experiment", experiment, experiments.EXPERIMENTS)
    given = dict(zip(parameters, checked(**parameters), strict=True))
    what, scale, seeds = experiments.EXPERIMENTS[experiment], given["scale"], given.get("seeds", [])
    datasets = given.get("datasets", list(what.datasets))
    chosen: list[tuple[Sequence, Sequence]] = [(datasets, what.datasets)]
    rows = usual_rows = experiments.rows_at(experiment, scale)
    generators = []
    if given.get("betas") is not None:
        rows = [one_of("betas", str(beta), map(str, experiments.BETAS)) for beta in sorted(given["betas"])]
    if "generators" in given and rows:  # some of the simulated ones, which rows are named after
        possible = experiments.GENERATORS
        generators = [one_of("generators", name, possible) for name in given["generators"] or possible]
        rows = [f"Refined, {name}" for name in generators] + ["STL_QA"]
    elif "generators" in given:  # Table 4's rows: whoever left a reasoning file
        usual = [experiments.name_at(scale, name) for name in experiments.TABLE4.values()]
        generators = given["generators"] or usual
        chosen.append((generators, usual))
    if seeds:
        chosen += [(seeds, experiments.seeds_at(scale)), (rows, usual_rows)]
    settings = experiments.settings_of(experiment, scale, seeds, datasets, rows) if seeds else {}
    figures.style()
    return Exhibit(scale, seeds, datasets, generators, settings, not saving.is_complete(*chosen))


def wrong_answer(**parameters: Any) -> drawings.WrongAnswer:
    """Return the example that these parameters of a notebook choose; also set the figures' style.

    Responses that name no option do not count: they show no wrong conclusion.

    Args:
        parameters: scale, dataset, generator, and question: the place among those that the generator got wrong.

    Raises:
        ValueError: a parameter is not possible; the message names the first one, and what is possible.
    """
    scale, dataset, generator, question = checked(**parameters)
    config = TrainConfig(dataset=experiments.dataset_name(scale, dataset), generator=generator).resolve()
    samples = load(config.dataset, "train")[: config.questions]
    responses = read_reasoning(paths.reasoning(paths.dataset(config.dataset), config.generator), samples)
    wrongly = responses["prediction"].notna() & ~responses["correct"].fillna(True).astype(bool)
    rows = responses[wrongly].set_index("id")
    wrong = samples.select(rows.index)
    if question >= len(wrong):
        raise ValueError(f"question={question}: the generator answered {len(wrong)} wrongly; choose below {len(wrong)}")
    sample = wrong[question]
    row = rows.loc[sample.id].to_dict()
    frames = read_frames(samples.videos / sample.video, config.num_frames, sample.clip)
    figures.style()
    return drawings.WrongAnswer(config, samples, responses, sample, row["response"], row["prediction"], frames)
