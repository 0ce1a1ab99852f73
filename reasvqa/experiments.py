"""Settings of the experiments, and what notebooks do with many runs: train them, put them side by side, compare them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from reasvqa.datasets import DATA, MINIATURES
from reasvqa.evaluation import Interval, bootstrap, mcnemar, paired_difference, right_or_wrong
from reasvqa.learning import Run, TrainConfig, train

SCALES = (*MINIATURES, "paper")

# The ways of training the paper compares (Table 5), and the student that sees no frames.
SETTINGS: dict[str, dict] = {
    "Blind": {"objective": "stl", "reasoning": "none", "blind": True},
    "STL_QA": {"objective": "stl", "reasoning": "none"},
    "STL_CR": {"objective": "stl", "reasoning": "refined", "subset": "cr"},
    "STL_All": {"objective": "stl", "reasoning": "refined", "subset": "all"},
    "MTL_CR": {"objective": "mtl", "reasoning": "refined", "subset": "cr"},
    "MTL_All": {"objective": "mtl", "reasoning": "refined", "subset": "all"},
}
STUDENT_OF = {"mini": "mini-blip2", "smoke": "mini-blip2", "paper": "blip2-flan-t5-xl"}


def dataset_name(scale: str, dataset: str) -> str:
    """"mini", "star" -> "mini-star"; at paper scale the data set's own name.

    Raises:
        ValueError: unknown scale or data set, with what is possible: a notebook's first cell calls this.
    """
    if scale not in SCALES:
        raise ValueError(f"scale={scale!r}: choose one of {', '.join(SCALES)}")
    if dataset not in ("nextqa", "star", "intentqa"):
        raise ValueError(f"dataset={dataset!r}: choose one of nextqa, star, intentqa (the scale is a parameter of its own)")
    return dataset if scale == "paper" else f"{scale}-{dataset}"


def config_of(setting: str, scale: str, dataset: str, **values) -> TrainConfig:
    """The settings of one of `SETTINGS` on a data set, checked; `values` override fields of `TrainConfig`, None leaves them.

    Raises:
        ValueError: a name or a value is not possible.
    """
    if setting not in SETTINGS:
        raise ValueError(f"{setting!r}: choose one of {', '.join(SETTINGS)}")
    base = TrainConfig(dataset=dataset_name(scale, dataset), student=STUDENT_OF[scale])
    given = {name: value for name, value in values.items() if value is not None}
    config = replace(base, **{**SETTINGS[setting], **given})
    config.resolve()
    return config


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Seeds as whole numbers, at least one, all different."""
    if isinstance(seeds, str) or not isinstance(seeds, Iterable) or not list(seeds) or len(set(seeds)) != len(list(seeds)):
        raise ValueError(f"seeds={seeds!r}: give a list of different whole numbers, for example [0, 1, 2]")
    return [int(seed) for seed in seeds]


def train_seeds(config: TrainConfig, seeds: Sequence[int], **options) -> list[Run]:
    """One run per seed."""
    return [train(replace(config, seed=seed), **options) for seed in seeds]


def find_runs(name: str, scale: str, dataset: str, seeds: Sequence[int]) -> list[Run]:
    """The runs of a setting, trained if they are not kept; or the one kept run whose folder in data/runs has this name.

    Raises:
        ValueError: neither a setting nor a kept run.
    """
    if name not in SETTINGS and (DATA / "runs" / name / "config.json").is_file():
        return [Run(DATA / "runs" / name)]
    return train_seeds(config_of(name, scale, dataset), seeds)


def correct_of(runs: Sequence[Run], group: str | None = None) -> np.ndarray:
    """Right or wrong: bool (runs, questions), of one of the paper's groups or of all questions."""
    tables = [run.predictions for run in runs]
    if group is not None:
        tables = [table[table["group"] == group] for table in tables]
    return right_or_wrong(tables)


def summary(runs: dict[str, list[Run]]) -> pd.DataFrame:
    """A row per setting: mean accuracy over seeds with a 95 % interval (over questions and seeds), spread over seeds, n."""
    rows = {}
    for name, seeds in runs.items():
        interval = bootstrap(correct_of(seeds))
        spread = float(np.std([run.accuracy for run in seeds], ddof=1)) if len(seeds) > 1 else np.nan
        rows[name] = {"accuracy": interval.value, "low": interval.low, "high": interval.high, "sd of seeds": spread,
                      "seeds": len(seeds), "questions": seeds[0].metrics["questions"]}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def by_group(runs: dict[str, list[Run]]) -> pd.DataFrame:
    """Accuracy in percent of each setting, by the paper's groups and in total; the mean over seeds."""
    groups = list(dict.fromkeys(next(iter(runs.values()))[0].predictions["group"]))
    rows = {
        name: {group: 100 * correct_of(seeds, group).mean() for group in groups} | {"Total": 100 * correct_of(seeds).mean()}
        for name, seeds in runs.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def compare(first: Sequence[Run], second: Sequence[Run]) -> tuple[Interval, float | None]:
    """second - first, seed by seed on the same questions: the paired difference in points with its interval, and, for a
    single seed, McNemar's p-value."""
    a, b = correct_of(first), correct_of(second)
    return paired_difference(a, b), mcnemar(a[0], b[0]) if len(a) == 1 else None


def verdict(difference: Interval, expected: int = 1) -> str:
    """"reproduced", "not reproduced" or "inconclusive": does the interval lie on the expected side of zero (+1 above, -1
    below), on the other, or across?"""
    low, high = (difference.low, difference.high) if expected > 0 else (-difference.high, -difference.low)
    if low > 0:
        return "reproduced"
    return "not reproduced" if high < 0 else "inconclusive"
