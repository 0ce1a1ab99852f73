"""Sentences that state results: everything in them is computed, whatever comes out."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from reasvqa.companion import paper
from reasvqa.companion.experiments import our_name
from reasvqa.companion.results import contrast, interval, judged, outcomes, verdict_text
from reasvqa.datasets import Samples
from reasvqa.evaluation import Estimate, plain, signed
from reasvqa.learning import Run

Runs = Mapping[tuple[str, str], Sequence[Run]]  # by (dataset, row) a run per seed


def questions_and_clips(samples: Samples) -> str:
    """Return for example "960 questions about 320 clips"."""
    return f"{len(samples)} questions about {len({(s.video, s.clip) for s in samples})} clips"


def seeds_text(*counts: float) -> str:
    """Return "one seed", "3 seeds" or "3 to 5 seeds"."""
    low, high = int(min(counts)), int(max(counts))
    if low < high:
        return f"{low} to {high} seeds"
    return "one seed" if low == 1 else f"{low} seeds"


def comparison(better: str, worse: str, effect: Estimate, margin: float) -> str:
    """Return whether runs tell two settings apart: the difference, its interval, and what follows.

    Args:
        better, worse: the settings' names; `effect` is better - worse, in points.
        margin: the smallest effect that matters, in points.
    """
    found = f"these runs do not show which is better (they can detect {effect.detectable():.1f} points or more)"
    if effect.low > 0 or effect.high < 0:
        found = f"{better} does {'better' if effect.low > 0 else 'worse'} than {worse}"
    elif effect.equivalent(margin):
        found = f"the two are alike within {margin:.1f} points"
    elif math.isnan(effect.low):
        found = "there are too few videos for an interval"
    span = "" if math.isnan(effect.low) else f" [{plain(effect.low)}, {plain(effect.high)}]"
    where = f"{effect.questions} questions about {effect.videos} videos, {seeds_text(effect.seeds)}"
    text = f"{better} - {worse}: {signed(effect.value)}{span} points on {where}: {found}."
    return text if effect.seeds > 1 else f"{text} The interval reflects the choice of questions, but not of the seed."


def finding(runs: Runs, better: str, worse: str, scale: str, printed: pd.DataFrame) -> str:
    """Return a figure's title: how two settings compare, on average over data sets, in our runs and in the paper.
    better, worse: names of rows, also of the paper's table `printed`."""
    datasets = list(dict.fromkeys(dataset for dataset, row in runs if row == better and (dataset, worse) in runs))
    effect = contrast([[(1, outcomes(runs[d, better])), (-1, outcomes(runs[d, worse]))] for d in datasets])
    verb = "beats" if effect.low > 0 else "loses to" if effect.high < 0 else "cannot be distinguished from"
    columns = [paper.PRINTED[dataset] for dataset in datasets if paper.PRINTED[dataset] in printed] or ["Tot"]
    means = printed[columns].mean(axis=1).to_dict()
    text = f"{our_name(better, scale)} {verb} {our_name(worse, scale)}: {effect.points} points"
    return f"{text}; the paper {signed(means[better] - means[worse])}"


def trend(runs: Runs, rows: Sequence[str], positions: Sequence[float] | None = None) -> Estimate:
    """Return how far the accuracy of `rows`, in order, rises along a straight line, in points over its whole range.
    positions: of the rows on the line; None: equally spaced."""
    x = np.asarray(positions if positions is not None else range(len(rows)), dtype=float)
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum() * (x.max() - x.min())
    datasets = dict.fromkeys(dataset for dataset, _ in runs)
    terms = [[(w, outcomes(runs[d, row])) for w, row in zip(weights, rows, strict=True)] for d in datasets]
    return contrast(terms)


def rises(effect: Estimate) -> str:
    """Return "rises", "falls" or "does not clearly rise or fall", for a slope of `trend`."""
    return "rises" if effect.low > 0 else "falls" if effect.high < 0 else "does not clearly rise or fall"


def ledger_says(experiment: str, claim: str, scale: str) -> str:
    """Return what the saved ledger says of a claim, in a sentence; or that there is no ledger yet."""
    table = judged(experiment, scale)
    if claim not in table.index:
        return "there is no ledger at this scale yet; run 30_claims to make it"
    row = table.loc[claim].to_dict()
    return f"“{row['text']}”: {interval(row)} points, {seeds_text(row['seeds'])}, {verdict_text(row)}"
