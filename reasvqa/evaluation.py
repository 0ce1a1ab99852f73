"""Compute accuracy as the official evaluators do, intervals over seeds and videos, and verdicts on claims."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import special

from reasvqa.samples import Sample


class PredictionError(ValueError):
    """Predictions that do not fit the samples."""


def accuracy(predictions: pd.DataFrame, samples: Iterable[Sample]) -> pd.DataFrame:
    """Compute accuracy by official type, by the paper's group and in total.

    Args:
        predictions: columns id, prediction (0-based, or NA).
        samples: the questions. A question without a prediction counts as wrong.

    Returns:
        A table indexed by type (TP counts as TN, as in the official evaluator), then group, then "Total"; columns n
        (int), correct (int), accuracy (percent). Its `attrs["unanswered"]` is the number of samples without a
        prediction.

    Raises:
        PredictionError: a column is missing, an id is unknown or occurs twice, a prediction is no option's index, or
            samples have no labels.
    """
    if missing := sorted({"id", "prediction"} - set(predictions.columns)):
        found = ", ".join(map(str, predictions.columns))
        raise PredictionError(f"predictions lack the column {', '.join(missing)}; found {found}")
    samples = list(samples)
    if unlabelled := [sample.id for sample in samples if sample.answer is None]:
        found = f"{len(unlabelled)} samples have no answer (e.g. {unlabelled[0]!r})"
        raise PredictionError(f"{found}: this split is unlabelled, evaluate on another")
    given = predictions[["id", "prediction"]].astype({"id": str})
    doubled = given["id"][given["id"].duplicated()]
    if len(doubled):
        found = f"{len(doubled)} ids are predicted more than once, e.g. {doubled.iloc[0]!r}"
        raise PredictionError(f"{found}; keep one prediction each")
    if unknown := sorted(set(given["id"]) - {sample.id for sample in samples}):
        raise PredictionError(
            f"{len(unknown)} predictions are for unknown ids, e.g. {unknown[0]!r}. Give those of this data set and "
            "split, and read ids as text: pd.read_csv(..., dtype={'id': str})"
        )
    table = pd.DataFrame(map(vars, samples), columns=["id", "options", "answer", "type", "group"])
    table = table.merge(given, on="id", how="left")
    numbers, count = pd.to_numeric(table["prediction"], errors="coerce"), table["options"].map(len)
    wrong = table[table["prediction"].notna() & ~((numbers % 1 == 0) & (numbers >= 0) & (numbers < count))]
    if len(wrong):
        id, prediction = wrong[["id", "prediction"]].iloc[0]
        found = f"{len(wrong)} predictions are no options, e.g. {prediction!r} for {id!r}"
        raise PredictionError(f"{found}. Count options from 0; NA stands for no answer")
    table["prediction"] = numbers.astype("Int64")
    table["correct"] = (table["prediction"] == table["answer"]).fillna(False).astype(bool)
    previous = (table["type"] == "TP") & (table["group"] == "Tem")
    table.loc[previous, "type"] = "TN"  # NExT-QA's evaluator counts "previous" questions as "next" ones (eval_mc.py)
    grouped = (table.groupby(column, sort=False)["correct"] for column in ("type", "group"))
    parts: list[Any] = [correct.agg(n="size", correct="sum") for correct in grouped]
    parts.append(pd.DataFrame({"n": [len(table)], "correct": [int(table["correct"].sum())]}, index=["Total"]))
    result = pd.concat(parts)
    result = result[~result.index.duplicated()]
    result["accuracy"] = 100 * result["correct"] / result["n"].where(result["n"] > 0)
    result.attrs["unanswered"] = int(table["prediction"].isna().sum())
    return result


Verdict = Literal["reproduced", "same sign, other size", "contradicted", "no effect", "undecided"]
SIZE = 3.0  # within this factor, an effect counts as large as the paper's
LEVEL, POWER = 0.05, 0.8  # of every test; intervals are 95 % intervals


def plain(value: float) -> str:
    """Return the number with one decimal: "2.4", "-0.3", "0.0", never "-0.0". Noise below 1e-6 does not count."""
    return f"{round(round(float(value), 6), 1) + 0.0:.1f}"


def signed(points: float) -> str:
    """Return points with one decimal and a sign: "+2.4", "-0.3", "0.0"; NaN is empty."""
    return "" if math.isnan(points) else f"{'+' if float(plain(points)) > 0 else ''}{plain(points)}"


@dataclass(frozen=True)
class Estimate:
    """A mean over questions and seeds (an accuracy, a difference, a contrast), in percent or percentage points.

    Attributes:
        value, low, high: the mean and its two-sided 95 % interval, whose ends are NaN for one video.
        se, df: standard error, and degrees of freedom of its t distribution.
        p: two-sided p-value of the mean being zero.
        seeds, videos, questions: their numbers; videos and questions are summed over data sets. With one seed, the
            interval covers other questions, not other seeds.
        seed_sd: standard deviation of the mean between seeds (several data sets: with one seed from each); NaN for one
            seed.
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
        """Return the estimate as text, with a sign: "+2.4 [0.1, 4.7]"."""
        return f"{signed(self.value)} {self._span}"

    @property
    def _span(self) -> str:
        return f"[{plain(self.low)}, {plain(self.high)}]{' (one seed)' if self.seeds == 1 else ''}"

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def interval(self, level: float) -> tuple[float, float]:
        """Return the ends of the two-sided interval of a level such as 0.9."""
        half = float(special.stdtrit(self.df, (1 + level) / 2)) * self.se
        return self.value - half, self.value + half

    def equivalent(self, margin: float, looks: int = 1) -> bool:
        """Tell by two one-sided tests whether the mean lies within `margin` points of zero: with one look at the data,
        whether the 90 % interval does; with two looks, whether the 95 % interval does."""
        low, high = self.interval(1 - 2 * LEVEL / looks)
        return -margin < low and high < margin

    def detectable(self, level: float = LEVEL) -> float:
        """Return the smallest true mean that a two-sided test at this level finds four times in five."""
        return float(special.stdtrit(self.df, 1 - level / 2) + special.stdtrit(self.df, POWER)) * self.se


def estimate(outcomes: np.ndarray, videos: Sequence | np.ndarray) -> Estimate:
    """Return the mean outcome with an interval over seeds and videos, two crossed random factors.

    Questions about one video are a cluster. With S seeds and V videos, the mean's variance is estimated as
    (MS_seeds + MS_videos - MS_rest) / (SV), from the mean squares of the two-way table, where MS_videos - MS_rest is at
    least zero: the two-way clustered variance of Cameron, Gelbach and Miller (2011); see also Owen and Eckles
    (arXiv:1106.2125) and Miller (arXiv:2411.00640). Unequal numbers of questions enter by linearisation.

    The t interval has 1/df = r/(S - 1) + (1 - r)/(V - 1), where r is the seeds' share of the variance (Satterthwaite's
    rule squares the shares, but r is estimated from few seeds). With three seeds it covers 94 to 96.5 %, with two only
    90 %, so take three (`tests/test_evaluation.py` simulates it). With one seed, it covers only the choice of videos.

    Args:
        outcomes: bool or float, (seeds, questions) or (questions,): right or wrong, or a weighted sum of the outcomes
            of several settings with the same seeds and questions.
        videos: (questions,): the video of each question.

    Raises:
        ValueError: no outcomes, or not one video per question.
    """
    return mean_estimate([(outcomes, videos)])


def mean_estimate(parts: Sequence[tuple[np.ndarray, Sequence | np.ndarray]]) -> Estimate:
    """Return the unweighted mean of several data sets' mean outcomes, with its interval.

    The data sets share neither videos nor seeds, so their variances add. Satterthwaite's rule gives the degrees of
    freedom of the seeds' share. `parts` holds the arguments of `estimate` for each data set. Raise ValueError as
    `estimate` does, or if data sets have different numbers of seeds.
    """
    tables = [(np.atleast_2d(np.asarray(outcomes, dtype=float)), np.asarray(videos)) for outcomes, videos in parts]
    for outcomes, videos in tables:
        if outcomes.size == 0:
            raise ValueError("no questions to average over")
        if videos.shape != (outcomes.shape[1],):
            raise ValueError(f"{outcomes.shape[1]} questions need a video each; the videos have shape {videos.shape}")
    seeds, *others = sorted({len(outcomes) for outcomes, _ in tables})
    if others:
        found = " and ".join(map(str, (seeds, *others)))
        raise ValueError(f"data sets with {found} seeds cannot be averaged: keep the seeds that all of them have")
    of_seeds = np.array([100 * outcomes.mean(axis=1) for outcomes, _ in tables])  # (data sets, seeds)
    clusters = [_of_videos(100 * outcomes, videos) for outcomes, videos in tables]
    # For each source of chance: its part of the mean's variance, and its degrees of freedom.
    sources: list[tuple[float, float]] = [(variance / len(tables) ** 2, count - 1) for variance, count in clusters]
    spread = np.nan
    if seeds > 1:
        spreads = of_seeds.var(axis=1, ddof=1) / len(tables) ** 2
        spread = float(spreads.sum())
        alike = spread**2 / float((spreads**2).sum()) if spread > 0 else 1.0  # 1 to the number of data sets
        sources.append((spread / seeds, alike * (seeds - 1)))
    variance = sum(part for part, _ in sources)
    inverse = sum(part / free for part, free in sources if part > 0)
    df = variance / inverse if inverse > 0 else np.nan
    value, se = float(of_seeds.mean()), float(np.sqrt(variance))
    if se > 1e-9:
        p = 2 * float(special.stdtr(df, -abs(value) / se))
    else:  # nothing varies except by rounding, or (NaN) there is only one video
        df, p = float(min(free for _, free in sources)), np.nan if np.isnan(se) else float(abs(value) < 1e-9)
    half = float(special.stdtrit(df, 1 - LEVEL / 2)) * se if df > 0 else np.nan
    count = sum(outcomes.shape[1] for outcomes, _ in tables)
    videos = sum(count for _, count in clusters)
    return Estimate(value, value - half, value + half, se, df, p, seeds, videos, count, float(np.sqrt(spread)))


def _of_videos(outcomes: np.ndarray, videos: np.ndarray) -> tuple[float, int]:
    """Return the part of the mean's variance that more seeds would not remove (NaN for one video), and the number of
    videos."""
    seeds, questions = outcomes.shape
    names, cluster = np.unique(videos, return_inverse=True)
    count = len(names)
    if count == 1:
        return np.nan, count
    # A video's contribution to its seed's mean, scaled so that the mean over videos equals that over questions.
    residuals = outcomes - outcomes.mean(axis=1, keepdims=True)
    cells = np.stack([np.bincount(cluster, row, count) for row in residuals]) * (count / questions)
    means = cells.mean(axis=0)
    between = (means**2).sum() / (count - 1)
    if seeds > 1:
        within = ((cells - means) ** 2).sum() / ((count - 1) * (seeds - 1))
        between = max(between - within / seeds, 0.0)
    return float(between / count), count


def verdict(
    effect: Estimate, margin: float, p_corrected: float, paper: float | None = None, looks: int = 1
) -> Verdict | None:
    """Judge the claim that `effect` is above zero. Every notebook and the ledger use this rule.

    `p_corrected` below 5 % finds an effect: "contradicted" below zero; above zero "reproduced", or "same sign, other
    size" if it is not within a factor `SIZE` of the paper's. Otherwise "no effect" if the 90 % interval lies within
    the margin on both sides of zero, or else "undecided". "No effect" is not corrected for the number of claims: a
    claim whose effect equals the margin gets this verdict at most once in twenty.

    Args:
        effect: in points.
        margin: the smallest effect that matters, in points, set in advance; see `margin_of`.
        p_corrected: the effect's p, corrected for the claims judged together (`holm`) and for the looks.
        paper: the paper's effect, in points; None or NaN: not printed, so the sign decides.
        looks: how often the runs were looked at; see `Estimate.equivalent`.

    Returns:
        None for one seed, because another seed may contradict it.
    """
    if effect.seeds == 1:
        return None
    if p_corrected >= LEVEL or np.isnan(p_corrected):
        return "no effect" if effect.equivalent(margin, looks) else "undecided"
    if effect.value < 0:
        return "contradicted"
    alike = paper is None or np.isnan(paper) or paper / SIZE <= effect.value <= paper * SIZE
    return "reproduced" if alike else "same sign, other size"


def margin_of(paper: float | None) -> float:
    """Return the smallest effect that matters, in points: 1, or half the paper's if larger (None, NaN: not printed)."""
    return 1.0 if paper is None or np.isnan(paper) else max(1.0, abs(paper) / 2)


def holm(p: Sequence[float] | np.ndarray | pd.Series) -> np.ndarray:
    """Return Holm's corrected p-values of a family of tests, float (tests,). NaN stays and does not count."""
    corrected = np.array(p, dtype=float)
    tested = ~np.isnan(corrected)
    if tested.any():
        from statsmodels.stats.multitest import multipletests  # as below, its import takes seconds

        corrected[tested] = multipletests(corrected[tested], method="holm")[1]
    return corrected


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Return the exact two-sided p of McNemar's test of two runs, bool (questions,): which answers are right. Raise
    ValueError for other values or unequal shapes."""
    first, second = np.asarray(first), np.asarray(second)
    if not first.dtype == second.dtype == bool:
        raise ValueError("expected True or False for each question; see `right_or_wrong`")
    if first.shape != second.shape:
        raise ValueError(f"runs on different questions cannot be paired: {first.shape} and {second.shape}")
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    if only_first + only_second == 0:
        return 1.0
    from scipy import stats

    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def right_or_wrong(predictions: Sequence[pd.DataFrame]) -> np.ndarray:
    """Tell which predictions (with id, prediction, answer) are right: bool (runs, questions), in the first run's order.

    Raises:
        ValueError: the runs answered different questions.
    """
    ids = predictions[0]["id"]
    for table in predictions[1:]:
        if len(table) != len(ids) or not table["id"].isin(ids).all():
            raise ValueError(
                f"runs on {len(ids)} and {len(table)} different questions cannot be compared; repeat the run whose "
                "data set has changed"
            )
    aligned = [table.set_index("id").loc[ids] for table in predictions]
    return np.stack([(table["prediction"] == table["answer"]).fillna(False).to_numpy(dtype=bool) for table in aligned])
