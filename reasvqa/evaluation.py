"""Accuracy as the benchmarks' official evaluators compute it, with intervals and paired tests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

from reasvqa.samples import Sample

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
            f"predictions lack the column {', '.join(sorted(missing))}; "
            f"found {', '.join(map(str, predictions.columns))}"
        )
    samples = list(samples)
    unlabelled = [sample.id for sample in samples if sample.answer is None]
    if unlabelled:
        raise PredictionError(
            f"{len(unlabelled)} samples have no answer (e.g. {unlabelled[0]!r}): "
            "this split is unlabelled, evaluate on another"
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
            f"{len(unknown)} predictions are for unknown ids, e.g. {unknown[0]!r}. Give those of this data set and "
            "split, and read ids as text: pd.read_csv(..., dtype={'id': str})"
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
        A table indexed by type (TP counts as TN, as the official evaluators do), then group, then "Total"; columns n
        (int), correct (int), accuracy (percent). Its `attrs["unanswered"]` is the number of samples without a
        prediction, which count as wrong.

    Raises:
        PredictionError: see `correctness`.
    """
    table = correctness(predictions, samples)
    previous = (table["type"] == "TP") & (table["group"] == "Tem")
    table.loc[previous, "type"] = "TN"  # NExT-QA's evaluator counts "previous" questions as "next" ones (eval_mc.py)
    parts = [table.groupby(column, sort=False)["correct"].agg(["size", "sum"]) for column in ("type", "group")]
    parts.append(pd.DataFrame({"size": [len(table)], "sum": [int(table["correct"].sum())]}, index=[TOTAL]))
    result = pd.concat(parts).rename(columns={"size": "n", "sum": "correct"})
    result = result[~result.index.duplicated()]
    result["accuracy"] = 100 * result["correct"] / result["n"].where(result["n"] > 0)
    result.index.name = None
    result.attrs["unanswered"] = int((~table["answered"]).sum())
    return result


Verdict = Literal["reproduced", "contradicted", "no effect", "undecided"]
LEVEL, POWER = 0.05, 0.8  # of every test; 95 % intervals


def plain(value: float) -> str:
    """ "2.4", "-0.3", "0.0" and never "-0.0"."""
    return f"{round(float(value), 1) + 0.0:.1f}"


def signed(points: float) -> str:
    """ "+2.4", "-0.3", "0.0"; nothing where there is no number."""
    return "" if math.isnan(points) else f"{'+' if round(float(points), 1) > 0 else ''}{plain(points)}"


@dataclass(frozen=True)
class Estimate:
    """A mean over questions and seeds (an accuracy, a difference, a contrast), in percent or percentage points.

    Attributes:
        value, low, high: the mean and its two-sided 95 % interval; the ends are NaN where all questions are about one
            video.
        se, df: standard error, and degrees of freedom of its t distribution.
        p: two-sided, of the mean being zero.
        seeds, videos, questions: over how many of each; videos and questions are summed over data sets. With one seed
            the interval says what other questions would do, and nothing of other seeds.
        seed_sd: standard deviation of the mean over the choice of a seed (for several data sets, of one for each);
            NaN for one seed.
    """

    value: float
    low: float
    high: float
    se: float
    df: float
    p: float
    seeds: int
    videos: int
    questions: int
    seed_sd: float

    def __str__(self) -> str:
        return f"{plain(self.value)} {self._span}"

    @property
    def points(self) -> str:
        """A difference as text, with its sign: "+2.4 [0.1, 4.7]"."""
        return f"{signed(self.value)} {self._span}"

    @property
    def _span(self) -> str:
        return f"[{plain(self.low)}, {plain(self.high)}]{' (one seed)' if self.seeds == 1 else ''}"

    @property
    def half_width(self) -> float:
        """Of the 95 % interval."""
        return (self.high - self.low) / 2

    def interval(self, level: float) -> tuple[float, float]:
        """The ends of the two-sided interval of this level, e.g. 0.9."""
        half = float(special.stdtrit(self.df, (1 + level) / 2)) * self.se
        return self.value - half, self.value + half

    def equivalent(self, margin: float, looks: int = 1) -> bool:
        """Two one-sided tests (TOST): is the mean surely within `margin` points of zero? So if the 90 % interval is;
        at the second of two looks, the 95 % interval."""
        low, high = self.interval(1 - 2 * LEVEL / looks)
        return -margin < low and high < margin

    def detectable(self, level: float = LEVEL) -> float:
        """The smallest true mean that a two-sided test at this level finds four times in five, with this standard
        error. Of many tests that are corrected together each one's level is lower."""
        return float(special.stdtrit(self.df, 1 - level / 2) + special.stdtrit(self.df, POWER)) * self.se


def estimate(outcomes: np.ndarray, videos: Sequence | np.ndarray) -> Estimate:
    """The mean outcome with an interval over seeds and videos, both taken as drawn at random and crossed.

    Questions about one video are a cluster. With S seeds, V videos and effects of seed, of video and of both together,
    the mean's variance is a/S + b/V + c/(SV). Its moment estimate is (MS_seeds + MS_videos - MS_rest) / (SV), from the
    mean squares of the two-way table, with the videos' part, MS_videos - MS_rest, not below zero. It counts what both
    sources share once, as the two-way clustered variance of Cameron, Gelbach and Miller (2011) does; see also Owen and
    Eckles (arXiv:1106.2125) and Miller (arXiv:2411.00640). Unequal numbers of questions enter by linearisation.

    The interval is a t interval with 1/df = r/(S - 1) + (1 - r)/(V - 1), where r is the seeds' share of the variance.
    Satterthwaite's rule has squares there. But r is itself known from few seeds only, and that rule covers 92 % in the
    worst case of three seeds; this one covers 94 to 96.5 %, five seeds 95 to 96 % (two seeds: 90 %, so take three).
    With one seed it is the variance between videos, with V - 1. The simulation: `python tests/test_evaluation.py`.

    Args:
        outcomes: bool or float, (seeds, questions) or (questions,): right or wrong; for a difference of settings that
            share seeds and questions, the difference of that; for a contrast, the weighted sum.
        videos: (questions,): the video that each question is about.

    Raises:
        ValueError: no outcomes, or not one video for each question.
    """
    return mean_estimate([(outcomes, videos)])


def mean_estimate(parts: Sequence[tuple[np.ndarray, Sequence | np.ndarray]]) -> Estimate:
    """The plain mean of several data sets' mean outcomes, with its interval.

    The data sets share neither videos nor seeds (`reasvqa.companion.experiments.SEED_BLOCKS`), so that their variances
    add. The seeds' parts, known from equally few seeds each, are pooled with Satterthwaite's degrees of freedom.

    Args:
        parts: for each data set the arguments of `estimate`, with equally many seeds.

    Raises:
        ValueError: as `estimate`; data sets with different numbers of seeds.
    """
    tables = [(np.atleast_2d(np.asarray(outcomes, dtype=float)), np.asarray(videos)) for outcomes, videos in parts]
    for outcomes, videos in tables:
        if outcomes.size == 0:
            raise ValueError("no questions to average over")
        if videos.shape != (outcomes.shape[1],):
            raise ValueError(
                f"{outcomes.shape[1]} questions need a video each; the videos have the shape {videos.shape}"
            )
    counts = sorted({len(outcomes) for outcomes, _ in tables})
    if len(counts) > 1:
        raise ValueError(
            f"data sets with {' and '.join(map(str, counts))} seeds cannot be averaged: "
            "keep the seeds that all of them have"
        )
    seeds = counts[0]
    of_seeds = np.array([100 * outcomes.mean(axis=1) for outcomes, _ in tables])  # (data sets, seeds)
    clusters = [_of_videos(100 * outcomes, videos) for outcomes, videos in tables]
    # The sources of chance: each one's part of the mean's variance, with its degrees of freedom.
    sources: list[tuple[float, float]] = [(variance / len(tables) ** 2, count - 1) for variance, count in clusters]
    spread = np.nan
    if seeds > 1:
        spreads = of_seeds.var(axis=1, ddof=1) / len(tables) ** 2
        spread = float(spreads.sum())
        alike = spread**2 / float((spreads**2).sum()) if spread > 0 else 1.0  # 1 to the number of data sets
        sources.append((spread / seeds, alike * (seeds - 1)))
    variance = sum(part for part, _ in sources)
    value, se = float(of_seeds.mean()), float(np.sqrt(variance))
    if se > 1e-9:
        df = variance / sum(part / free for part, free in sources if part > 0)
        p = 2 * float(special.stdtr(df, -abs(value) / se))
    else:  # nothing varies but by rounding, or (NaN) there is one video only
        df, p = float(min(free for _, free in sources)), np.nan if np.isnan(se) else float(abs(value) < 1e-9)
    half = float(special.stdtrit(df, 1 - LEVEL / 2)) * se if df > 0 else np.nan
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        se=se,
        df=df,
        p=p,
        seeds=seeds,
        videos=sum(count for _, count in clusters),
        questions=sum(outcomes.shape[1] for outcomes, _ in tables),
        seed_sd=float(np.sqrt(spread)),
    )


def _of_videos(outcomes: np.ndarray, videos: np.ndarray) -> tuple[float, int]:
    """The part of the mean's variance that more seeds would not take away, and the number of videos.

    With one seed, it is the whole variance between videos. NaN for one video.
    """
    seeds, questions = outcomes.shape
    names, cluster = np.unique(videos, return_inverse=True)
    count = len(names)
    if count == 1:
        return np.nan, count
    # What a video adds to its seed's mean, scaled so that the plain mean over videos is that of the questions.
    residuals = outcomes - outcomes.mean(axis=1, keepdims=True)
    cells = np.stack([np.bincount(cluster, row, count) for row in residuals]) * (count / questions)
    means = cells.mean(axis=0)
    between = (means**2).sum() / (count - 1)
    if seeds > 1:
        within = ((cells - means) ** 2).sum() / ((count - 1) * (seeds - 1))
        between = max(between - within / seeds, 0.0)
    return float(between / count), count


def paired_difference(first: np.ndarray, second: np.ndarray, videos: Sequence | np.ndarray) -> Estimate:
    """second - first in percentage points, on the same questions and seeds; see `estimate`.

    Raises:
        ValueError: different questions or seeds.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f"runs on different questions or seeds cannot be paired: {first.shape} and {second.shape}")
    return estimate(second - first, videos)


def verdict(effect: Estimate, margin: float, p_corrected: float, looks: int = 1) -> Verdict | None:
    """What the runs say of the claim that `effect` is above zero. One rule, for every notebook and the ledger.

    "reproduced" or "contradicted": `p_corrected` is below 5 % and the effect above or below zero. Otherwise "no
    effect", if the 90 % interval lies within the margin on both sides of zero, or else "undecided". "No effect" is not
    corrected for the number of claims: a claim whose effect is as large as the margin is said to have none at most once
    in twenty.

    Args:
        effect: in points.
        margin: the smallest effect that matters, in points, set beforehand; see `margin_of`.
        p_corrected: the effect's p, corrected for the looks that were taken and the claims that are judged together
            (`holm`); for one alone, its own.
        looks: how often the claim was looked at, with more seeds each time.

    Returns:
        None for a single seed: another one may say the contrary. See `seeds_needed`.
    """
    if effect.seeds == 1:
        return None
    if p_corrected < LEVEL:
        return "reproduced" if effect.value > 0 else "contradicted"
    return "no effect" if effect.equivalent(margin, looks) else "undecided"


def margin_of(paper: float | None) -> float:
    """The smallest effect that matters: 1 point, or half of the paper's if larger (points; None, NaN: not printed)."""
    return 1.0 if paper is None or np.isnan(paper) else max(1.0, abs(paper) / 2)


def holm(p: Sequence[float] | np.ndarray | pd.Series) -> np.ndarray:
    """Holm's corrected p-values of a family of tests, float (tests,). What has none (NaN) is no member."""
    corrected = np.array(p, dtype=float)
    tested = ~np.isnan(corrected)
    if tested.any():
        corrected[tested] = multipletests(corrected[tested], method="holm")[1]
    return corrected


def seeds_needed(effect: Estimate, size: float, seed_sd: float | None = None) -> int | None:
    """How many seeds would find a true effect of `size` points at 5 % four times in five, on as many questions.

    Args:
        effect: what was measured.
        size: of the effect to be found, in points, of either sign.
        seed_sd: standard deviation of the effect over seeds, in points; None: as measured, which one seed cannot tell.

    Returns:
        At least 2. None, if a thousand seeds are not enough: then the questions are too few.

    Raises:
        ValueError: one seed and no `seed_sd`.
    """
    spread = effect.seed_sd if seed_sd is None else seed_sd
    if np.isnan(spread):
        raise ValueError("one seed does not tell how far seeds differ: give seed_sd, in points")
    # What more seeds do not take away. One seed cannot tell its chance from the videos', and all counts as theirs.
    fixed = effect.se**2 if effect.seeds == 1 else max(effect.se**2 - effect.seed_sd**2 / effect.seeds, 0.0)
    for seeds in range(2, 1001):
        parts = (spread**2 / seeds, seeds - 1), (fixed, effect.videos - 1)
        variance = sum(part for part, _ in parts)
        if variance == 0:
            return seeds
        df = variance / sum(part / free for part, free in parts if part > 0)
        if (special.stdtrit(df, 1 - LEVEL / 2) + special.stdtrit(df, POWER)) * np.sqrt(variance) <= abs(size):
            return seeds
    return None


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
    """Runs' predictions (columns id, prediction, answer) as one bool array (runs, questions), in the first one's order.

    Raises:
        ValueError: runs that answered different questions.
    """
    ids = predictions[0]["id"]
    for table in predictions[1:]:
        if len(table) != len(ids) or not table["id"].isin(ids).all():
            raise ValueError(
                f"runs on {len(ids)} and {len(table)} questions that are not the same cannot be put side by side; "
                "make the run anew whose data set has changed"
            )
    aligned = [table.set_index("id").loc[ids] for table in predictions]
    return np.stack([(table["prediction"] == table["answer"]).fillna(False).to_numpy(dtype=bool) for table in aligned])
