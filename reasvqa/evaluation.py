"""Accuracy as the benchmarks' official evaluators compute it, with intervals and paired tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from reasvqa.samples import Sample

# NExT-QA's evaluator counts "previous" questions as "next" ones (eval_mc.py).
_COUNTS_AS = {"TP": "TN"}
TOTAL = "Total"


class PredictionError(ValueError):
    """Predictions that do not fit the samples."""


def correctness(predictions: pd.DataFrame, samples: Iterable[Sample]) -> pd.DataFrame:
    """One row per labelled sample: id, prediction (Int64), answer, type, group, answered, correct (bool).

    Args:
        predictions: columns id, prediction (0-based, or NA).
        samples: the questions asked. A sample without a prediction counts as wrong, with `answered` False.

    Raises:
        PredictionError: a prediction for an unknown id, or two for one id, or samples without labels.
    """
    missing = {"id", "prediction"} - set(predictions.columns)
    if missing:
        raise PredictionError(
            f"predictions lack the column {', '.join(sorted(missing))}; found {', '.join(map(str, predictions.columns))}"
        )
    samples = list(samples)
    unlabelled = [sample.id for sample in samples if sample.answer is None]
    if unlabelled:
        raise PredictionError(
            f"{len(unlabelled)} samples have no answer (e.g. {unlabelled[0]!r}): this split is unlabelled, evaluate on another"
        )
    given = predictions[["id", "prediction"]].astype({"id": str})
    doubled = given["id"][given["id"].duplicated()]
    if len(doubled):
        raise PredictionError(
            f"{len(doubled)} ids are predicted more than once, e.g. {doubled.iloc[0]!r}; keep one prediction each"
        )
    unknown = sorted(set(given["id"]) - {sample.id for sample in samples})
    if unknown:
        raise PredictionError(
            f"{len(unknown)} predictions are for unknown ids, e.g. {unknown[0]!r}; are they for another data set or split?"
        )
    table = pd.DataFrame(
        [(sample.id, sample.answer, sample.type, sample.group) for sample in samples],
        columns=["id", "answer", "type", "group"],
    ).merge(given, on="id", how="left")
    table["prediction"] = pd.to_numeric(table["prediction"]).astype("Int64")
    table["answered"] = table["prediction"].notna()
    table["correct"] = (table["prediction"] == table["answer"]).fillna(False).astype(bool)
    return table


def accuracy(predictions: pd.DataFrame, samples: Iterable[Sample]) -> pd.DataFrame:
    """Accuracy by official type, by the paper's group and in total.

    Returns:
        A table indexed by type (TP counts as TN, as the official evaluators do), then group, then "Total"; columns n (int),
        correct (int), accuracy (percent). Its `attrs["unanswered"]` is the number of samples without a prediction, which
        count as wrong.

    Raises:
        PredictionError: see `correctness`.
    """
    table = correctness(predictions, samples)
    table["type"] = table["type"].replace(_COUNTS_AS)
    parts = [table.groupby(column, sort=False)["correct"].agg(["size", "sum"]) for column in ("type", "group")]
    parts.append(pd.DataFrame({"size": [len(table)], "sum": [int(table["correct"].sum())]}, index=[TOTAL]))
    result = pd.concat(parts).rename(columns={"size": "n", "sum": "correct"})
    result = result[~result.index.duplicated()]
    result["accuracy"] = 100 * result["correct"] / result["n"].where(result["n"] > 0)
    result.index.name = None
    result.attrs["unanswered"] = int((~table["answered"]).sum())
    return result


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its interval, in percent or percentage points."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1f} [{self.low:.1f}, {self.high:.1f}]"


def bootstrap_means(correct: np.ndarray, draws: int = 4000, seed: int = 0) -> np.ndarray:
    """Bootstrap draws of the mean of `correct`, float (draws,).

    Args:
        correct: bool or float array (questions,) or (seeds, questions). Resampling draws questions, and seeds as well when
            there are several, so that the draws spread with both sources of chance.
    """
    values = np.atleast_2d(np.asarray(correct, dtype=float))
    if values.size == 0:
        raise ValueError("no questions to average over")
    rng = np.random.default_rng(seed)
    seeds, questions = values.shape
    # How often each seed and each question is drawn; the mean over what was drawn is then a weighted mean.
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    of_questions = rng.multinomial(questions, np.full(questions, 1 / questions), size=draws) / questions
    return np.einsum("dq,dq->d", of_seeds @ values, of_questions)


def bootstrap(correct: np.ndarray, level: float = 0.95, **options) -> Interval:
    """The mean of `correct` in percent, with a percentile bootstrap interval; arguments of `bootstrap_means`."""
    means = bootstrap_means(correct, **options)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(100 * float(np.mean(correct)), 100 * float(low), 100 * float(high))


def paired_difference(first: np.ndarray, second: np.ndarray, **options) -> Interval:
    """second - first in percentage points, on the same questions (and seeds), with a bootstrap interval; see `bootstrap`."""
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f"runs on different questions or seeds cannot be paired: {first.shape} and {second.shape}")
    return bootstrap(second - first, **options)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Exact two-sided p-value of McNemar's test: do two runs err on the same questions equally often?

    Args:
        first, second: bool arrays (questions,), right or wrong.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if first.shape != second.shape:
        raise ValueError(f"runs on different questions cannot be paired: {first.shape} and {second.shape}")
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def right_or_wrong(predictions: Sequence[pd.DataFrame]) -> np.ndarray:
    """Runs' prediction tables (columns id, prediction, answer) as one bool array (runs, questions), aligned by id."""
    ids = predictions[0]["id"]
    aligned = [table.set_index("id").loc[ids] for table in predictions]
    return np.stack([(table["prediction"] == table["answer"]).fillna(False).to_numpy(dtype=bool) for table in aligned])
