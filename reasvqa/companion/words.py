"""Sentences that state results: everything in them is computed, whatever comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from reasvqa.companion import paper
from reasvqa.companion.experiments import our_name
from reasvqa.companion.results import contrast, judged, outcomes
from reasvqa.companion.scales import OFFICIAL_SCALES
from reasvqa.datasets import Samples
from reasvqa.evaluation import Estimate, signed
from reasvqa.learning import Run
from reasvqa.refinement import refine


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
    where = f"on {effect.questions} questions about {effect.videos} videos, {seeds_text(effect.seeds)}"
    if math.isnan(effect.low):
        return f"{better} - {worse}: {signed(effect.value)} points {where}; too few videos for an interval."
    text = f"{better} - {worse}: {signed(effect.value)} points, 95 % interval {signed(effect.low)} to "
    text += f"{signed(effect.high)}, {where}."
    if effect.low > 0 or effect.high < 0:
        than = "better" if effect.low > 0 else "worse"
        chance = "questions and seeds" if effect.seeds > 1 else "questions"
        text += f" {better} does {than} than {worse}, by more than the choice of {chance} explains."
    elif effect.equivalent(margin):
        text += f" The two are alike within {margin:.1f} points."
    else:
        text += " The interval includes zero, so these runs do not tell the two apart. Four times in five they would "
        text += f"have shown an effect of {effect.detectable():.1f} points."
    if effect.seeds == 1:
        text += " The interval covers other questions, but not other seeds."
    return text


def _against(effect: Estimate) -> str:
    if effect.low > 0 or effect.high < 0:
        return "beats" if effect.low > 0 else "loses to"
    return "cannot be told from"


def finding(
    runs: Mapping[tuple[str, str], Sequence[Run]],
    better: str,
    worse: str,
    scale: str,
    printed: pd.DataFrame | None = None,
) -> str:
    """Return a figure's title: how two settings compare, on average over data sets, in our runs and in the paper.

    Args:
        runs: by (dataset, row); `better` and `worse` are rows.
        printed: the paper's table; None: the paper prints no numbers for the two.
    """
    datasets = list(dict.fromkeys(dataset for dataset, row in runs if row == better and (dataset, worse) in runs))
    effect = contrast([[(1, outcomes(runs[d, better])), (-1, outcomes(runs[d, worse]))] for d in datasets])
    text = f"{our_name(better, scale)} {_against(effect)} {our_name(worse, scale)}: {effect.points} points"
    if printed is None or not {better, worse} <= set(printed.index):
        return text
    columns = [paper.PRINTED[dataset] for dataset in datasets if paper.PRINTED[dataset] in printed] or ["Tot"]
    means = printed[columns].mean(axis=1).to_dict()
    return f"{text}; the paper {signed(means[better] - means[worse])}"


def trend(
    runs: Mapping[tuple[str, str], Sequence[Run]], rows: Sequence[str], positions: Sequence[float] | None = None
) -> Estimate:
    """Return how far the accuracy of `rows`, in order, rises along a straight line, in points over its whole range.

    Args:
        runs: by (dataset, row).
        positions: of the rows on the line; None: equally spaced.
    """
    x = np.asarray(positions if positions is not None else range(len(rows)), dtype=float)
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum() * (x.max() - x.min())
    datasets = dict.fromkeys(dataset for dataset, _ in runs)
    terms = [[(w, outcomes(runs[d, row])) for w, row in zip(weights, rows, strict=True)] for d in datasets]
    return contrast(terms)


def rises(effect: Estimate) -> str:
    """Return "rises", "falls" or "neither rises nor falls", for a slope of `trend`."""
    return "rises" if effect.low > 0 else "falls" if effect.high < 0 else "neither rises nor falls"


def words_left(samples: Samples, responses: pd.DataFrame) -> str:
    """Return how much of a generator's responses refinement leaves. responses: of `read_reasoning`."""
    rows = responses.set_index("id").loc[[sample.id for sample in samples]]
    correct = rows["correct"].fillna(False).astype(bool)
    shares = [
        len(refine(text, sample.answer_text, right).split()) / max(len(text.split()), 1)
        for sample, text, right in zip(samples, rows["response"], correct, strict=True)
    ]
    return (
        f"Over {len(shares)} responses {100 * sum(shares) / len(shares):.0f} % of the words remain on average; "
        f"{shares.count(0)} of the responses are empty afterwards."
    )


def ledger_says(experiment: str, claim: str, scale: str) -> str:
    """Return what the saved ledger says of a claim, in a sentence; or that there is no ledger yet."""
    table = judged(experiment, scale)
    if claim not in table.index:
        return "not known at this scale: run 30_claims to make the ledger"
    row = table.loc[claim].to_dict()
    verdict = "no verdict from one seed" if pd.isna(row["verdict"]) else row["verdict"]
    verdict += " (tuned to hold, so no evidence)" if row["kind"] == "set" else ""
    return f"{str(row['text']).strip('. ')}: {row['ours']} points, {seeds_text(int(row['seeds']))}, {verdict}"


def missed_gate(comparison: str, scale: str) -> list[str]:
    """Return a paragraph if a comparison misses its gate on the miniature: by how much, and what follows; else nothing.

    comparison: names the gate, see `mini.gates`.
    """
    from reasvqa.mini.gates import shipped

    gates = shipped()
    found = gates[(gates["what"] == comparison) & ~gates["passed"].astype(bool)]
    if scale in OFFICIAL_SCALES or found.empty:
        return []
    values = ", ".join(f"{row['value']:.1f} ({row['dataset']})" for row in found.to_dict("records"))
    low, high = found["low"].iloc[0], found["high"].iloc[0]
    bound = f"at most {high:g}" if pd.isna(low) else f"{low:g} to {high:g}"
    return [
        f"**The miniature misses a gate here.** {comparison}, in points on validation questions: {values}. The bound, "
        f"set to resemble the paper, is {bound}. So this comparison is no evidence about the paper "
        "([90_pretrain_mini](90_pretrain_mini.ipynb) lists all gates)."
    ]
