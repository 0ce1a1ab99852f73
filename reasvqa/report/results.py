"""Many runs side by side: the one way to aggregate them, to compare settings, and to judge a claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from reasvqa import paper, paths
from reasvqa.config import TrainConfig
from reasvqa.evaluation import Interval, bootstrap, bootstrap_means, mcnemar, paired_difference, right_or_wrong
from reasvqa.generation import read_reasoning
from reasvqa.learning import Run, train
from reasvqa.paper.claims import CLAIMS, Claim
from reasvqa.paper.experiments import SETTINGS, config_of, dataset_name, name_at, settings_of


def runs_of(experiment: str, scale: str, seeds: Sequence[int], **which) -> dict[tuple[str, str], list[Run]]:
    """The finished runs of a table or figure, by (dataset, row); what is not kept is trained. Arguments of `settings_of`."""
    return {
        cell: [train(config) for config in configs]
        for cell, configs in settings_of(experiment, scale, seeds, **which).items()
    }


def cells(runs: dict[tuple[str, str], list[Run]]) -> pd.DataFrame:
    """A row per (dataset, row): accuracy in percent with its 95 % interval over questions and seeds, seeds, questions."""
    rows = []
    for (dataset, row), seeds in runs.items():
        interval = bootstrap(correct_of(seeds))
        rows.append(
            {
                "dataset": dataset,
                "row": row,
                "accuracy": interval.value,
                "low": interval.low,
                "high": interval.high,
                "seeds": len(seeds),
                "questions": seeds[0].metrics["questions"],
            }
        )
    return pd.DataFrame(rows)


def train_seeds(config: TrainConfig, seeds: Sequence[int], **options) -> list[Run]:
    """One run per seed."""
    return [train(replace(config, seed=seed), **options) for seed in seeds]


def find_runs(name: str, scale: str, dataset: str, seeds: Sequence[int]) -> list[Run]:
    """The runs of a setting, trained if they are not kept; or the one kept run whose folder in data/runs has this name.

    Raises:
        ValueError: neither a setting nor a kept run.
    """
    if name not in SETTINGS and (paths.runs() / name / "meta.json").is_file():
        return [Run(paths.runs() / name)]
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
        rows[name] = {
            "accuracy": interval.value,
            "low": interval.low,
            "high": interval.high,
            "sd of seeds": spread,
            "seeds": len(seeds),
            "questions": seeds[0].metrics["questions"],
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def by_group(runs: dict[str, list[Run]], split: str | None = None) -> pd.DataFrame:
    """Accuracy in percent of each setting on one data set, the mean over seeds: a column for each of the paper's question groups
    (Tem, Cau, ...) and "Tot"; on the runs' own split or another."""
    rows = {}
    for name, seeds in runs.items():
        tables = [run.predictions_on(split or run.config.split) for run in seeds]
        right = pd.DataFrame({"group": tables[0]["group"], "right": 100 * right_or_wrong(tables).mean(0)})
        rows[name] = {**right.groupby("group", sort=False)["right"].mean(), "Tot": right["right"].mean()}
    return pd.DataFrame.from_dict(rows, orient="index")


def common_seeds(first: Sequence[Run], second: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """The runs of two settings with the seeds that both have, in the same order: deciding rows have more seeds than others."""
    seeds = [run.config.seed for run in first if run.config.seed in {other.config.seed for other in second}]
    return tuple([next(run for run in runs if run.config.seed == seed) for seed in seeds] for runs in (first, second))


def compare(first: Sequence[Run], second: Sequence[Run]) -> tuple[Interval, float | None]:
    """second - first, seed by seed on the same questions: the paired difference in points with its interval, and, for a
    single seed, McNemar's p-value."""
    a, b = correct_of(first), correct_of(second)
    return paired_difference(a, b), mcnemar(a[0], b[0]) if len(a) == 1 else None


def verdict(difference: Interval, expected: int = 1) -> str:
    """ "reproduced", "not reproduced" or "inconclusive": does the interval lie on the expected side of zero (+1 above, -1
    below), on the other, or across?"""
    low, high = (difference.low, difference.high) if expected > 0 else (-difference.high, -difference.low)
    if low > 0:
        return "reproduced"
    return "not reproduced" if high < 0 else "inconclusive"


# --- claims ---


def outcomes(claim: Claim, scale: str, seeds: Sequence[int]) -> list[np.ndarray]:
    """For each data set the claim's weighted sum of right and wrong answers: float (seeds, questions). Its mean is the effect.

    Rows are paired question by question and seed by seed, on the seeds they have in common.
    """
    values = []
    for dataset in claim.datasets:
        rows = [(weight, _correct(name, dataset, claim.split, scale, seeds)) for name, weight in claim.weights.items()]
        common = min(len(correct) for _, correct in rows)
        values.append(sum(weight * correct[:common] for weight, correct in rows))
    return values


def _correct(name: str, dataset: str, split: str | None, scale: str, seeds: Sequence[int]) -> np.ndarray:
    """Right or wrong, float (seeds, questions), of a row "experiment/row" on a data set."""
    experiment, row = name.split("/", 1)
    if experiment == "table4":  # the generators' own answers to the training questions; they have no seeds
        generator = name_at(scale, {"InternVL(4B)": "internvl-4b", "InternVL(26B)": "internvl-26b"}[row])
        table = read_reasoning(paths.reasoning(paths.dataset(dataset_name(scale, dataset)), generator))
        return table.sort_values("id")["correct"].to_numpy(dtype=float)[None]
    runs = runs_of(experiment, scale, seeds, datasets=[dataset], rows=[row])[dataset, row]
    return right_or_wrong([run.predictions_on(split or run.config.split) for run in runs]).astype(float)


def test(claim: Claim, scale: str, seeds: Sequence[int]) -> dict:
    """Effect in percentage points with its 95 % bootstrap interval, two-sided p-value, seeds, questions, the paper's effect.

    p comes from the effect over the bootstrap's standard error, by the normal distribution. With three seeds the spread
    between seeds is itself known only roughly.
    """
    values = outcomes(claim, scale, seeds)
    draws = np.mean([bootstrap_means(v, seed=i) for i, v in enumerate(values)], axis=0)
    effect = float(np.mean([v.mean() for v in values]))
    low, high = np.quantile(draws, [0.025, 0.975])
    p = 2 * stats.norm.sf(abs(effect) / draws.std()) if draws.std() > 0 else 1.0
    printed = sum(weight * _printed(*place) for place, weight in claim.printed.items()) if claim.printed else None
    return {
        "claim": claim.id,
        "where": claim.where,
        "text": claim.text,
        "paper": printed,
        "effect": 100 * effect,
        "low": 100 * low,
        "high": 100 * high,
        "p": p,
        "seeds": min(len(v) for v in values),
        "questions": sum(v.shape[1] for v in values),
        "control": claim.control,
    }


def _printed(table: str, row: str, column: str) -> float:
    return float(paper.table(int(table.removeprefix("table"))).loc[row, column])


def ledger(scale: str, seeds: Sequence[int], level: float = 0.05) -> pd.DataFrame:
    """Every claim with its effect, interval, p-value after Holm's correction over all claims of the paper, and verdict.

    verdict: "reproduced" if the effect has the claimed sign and its corrected p is below `level`; "not reproduced" if it has the
    other sign and so; else "inconclusive". Controls are judged by their own p.
    """
    table = pd.DataFrame([test(claim, scale, seeds) for claim in CLAIMS])
    table["p_corrected"] = table["p"]
    ours = ~table["control"]
    table.loc[ours, "p_corrected"] = multipletests(table.loc[ours, "p"], method="holm")[1]
    sure = table["p_corrected"] < level
    table["verdict"] = np.select(
        [sure & (table["effect"] > 0), sure & (table["effect"] < 0)], ["reproduced", "not reproduced"], "inconclusive"
    )
    return table


def interval(row: pd.Series) -> str:
    """A ledger row's effect as text: "+2.1 [0.3, 3.9]"."""
    return f"{'+' if row['effect'] >= 0 else ''}{Interval(row['effect'], row['low'], row['high'])}"
