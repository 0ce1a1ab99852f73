"""Sentences that state results: everything in them is computed, whatever comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from reasvqa import paper, paths
from reasvqa.config import REAL, TrainConfig
from reasvqa.datasets import Samples
from reasvqa.evaluation import Estimate, seeds_needed
from reasvqa.refinement import refine
from reasvqa.report.results import judged, values


def about(samples: Samples) -> str:
    """ "960 questions about 320 clips"."""
    return f"{len(samples)} questions about {len({(s.video, s.clip) for s in samples})} clips"


def seeds_of(*counts: float) -> str:
    """ "one seed", "3 seeds", "3 to 5 seeds"."""
    low, high = int(min(counts)), int(max(counts))
    if low < high:
        return f"{low} to {high} seeds"
    return "one seed" if low == 1 else f"{low} seeds"


def told_apart(better: str, worse: str, effect: Estimate, margin: float) -> str:
    """Do these runs tell two settings apart? The difference, its interval, and what follows.

    Args:
        better, worse: the settings' names; `effect` is better - worse, in points.
        margin: the smallest effect that matters, in points.
    """
    where = f"on {effect.questions} questions about {effect.videos} videos, {seeds_of(effect.seeds)}"
    if math.isnan(effect.low):
        return f"{better} - {worse}: {effect.value:+.1f} points {where}; too few videos for an interval."
    said = f"{better} - {worse}: {effect.value:+.1f} points, 95 % interval {effect.low:+.1f} to {effect.high:+.1f}, "
    said += f"{where}."
    if effect.low > 0 or effect.high < 0:
        than = "better" if effect.low > 0 else "worse"
        said += f" {better} does {than} than {worse}, by more than the choice of questions explains."
    elif effect.equivalent(margin):
        said += f" The two are alike within {margin:.1f} points."
    else:
        said += " The interval has zero in it, so this does not tell the two apart;"
        said += f" an effect below {effect.detectable:.1f} points would probably not have been seen."
    if effect.seeds == 1:
        said += " The interval knows what other questions would do, and nothing of other seeds."
    return said


def seeds_wanted(effect: Estimate, size: float, spread: float) -> str:
    """How many seeds would find an effect of `size` points, if it varies by `spread` points from seed to seed."""
    needed = seeds_needed(effect, size, seed_sd=spread)
    enough = "no number of seeds is" if needed is None else f"about {needed} seeds are"
    return (
        f"To see an effect of {size:.1f} points on these questions, if it varies by {spread:g} from seed to seed, "
        f"{enough} enough."
    )


def remains(samples: Samples, responses: pd.DataFrame) -> str:
    """How much of a generator's responses refinement leaves. responses: of `read_reasoning`."""
    told = responses.set_index("id").loc[[sample.id for sample in samples]]
    shares = [
        len(refine(text, sample.answer_text, right).split()) / max(len(text.split()), 1)
        for sample, text, right in zip(
            samples, told["response"], told["correct"].fillna(False).astype(bool), strict=True
        )
    ]
    return (
        f"Over {len(shares)} responses {100 * sum(shares) / len(shares):.0f} % of the words remain on average; "
        f"{shares.count(0)} of the responses are empty afterwards."
    )


def sentences_left(samples: Samples, wrong: pd.DataFrame) -> str:
    """How many sentences refinement leaves of wrong responses. wrong: rows of `read_reasoning`."""
    answers = {sample.id: sample.answer_text for sample in samples}
    left = [refine(text, answers[id], False) for id, text in zip(wrong["id"], wrong["response"], strict=True)]
    sentences = pd.Series(left).str.count(r"[.!?](?:\s|$)")
    return f"{sentences.mean():.1f} sentences of a wrong response remain, the mean of {len(wrong)}."


def events_true(samples: Samples, wrong: pd.DataFrame, config: TrainConfig) -> str:
    """How much of what a simulated generator tells in wrong responses is true, by what its videos show.

    Args:
        wrong: rows of `read_reasoning`.
        config: names data set and generator.
    """
    from reasvqa.mini.build import SimulatedGenerator
    from reasvqa.mini.generator import STRENGTHS

    generator = SimulatedGenerator(paths.dataset(config.dataset), STRENGTHS[config.generator])
    found = generator.diagnose(samples.select(wrong["id"]))
    true = 100 - 100 * found["events_wrong"].sum() / found["events"].sum()
    return f"Of the events that they describe, {true:.0f} % are described as they happened."


def simulated(scale: str) -> str:
    """For a caption: that our generators are simulated, where they are."""
    return "" if scale in REAL else "; ours are simulated, their error rates were set"


def generators(ours: pd.DataFrame) -> list[str]:
    """A sentence per data set: accuracy of the generators, ours and the paper's. ours: of `tables.by_generator`."""
    said = []
    for column in ours.columns.drop("Avg"):
        right, theirs = values(ours)[column], paper.table(4)[column]
        listed, printed = (", ".join(f"{row} {x:.1f} %" for row, x in some.items()) for some in (right, theirs))
        said.append(
            f"{column}: {listed}; the paper {printed}. {100 - right.max():.0f} % of the better one's reasoning ends in"
            " a wrong answer or none."
        )
    return said


def sizes(present: pd.DataFrame, names: Mapping[str, str]) -> list[str]:
    """A sentence per data set that is there: its size, and the paper's.

    Args:
        present: of `tables.totals`.
        names: by a name of ours ("mini-star") the data set it stands for ("star").
    """
    said, theirs, ours = [], paper.table(7).loc["#questions"].to_dict(), present.to_dict("index")
    for name, dataset in names.items():
        if name not in ours:
            continue
        row, printed = ours[name], theirs[paper.PRINTED[dataset]]
        said.append(
            f"{name}: {row['questions']:,.0f} questions on {row['videos']:,.0f} videos; the paper prints"
            f" {printed:,.0f} questions, {printed / row['questions']:.1f} times as many."
        )
    return said


def tally(ledger: pd.DataFrame) -> list[str]:
    """How many of the paper's claims have which verdict, and which were not counted. ledger: of `results.ledger`."""
    ours = ledger[ledger["kind"] == "claim"]
    counts = ", ".join(f"{n} {verdict}" for verdict, n in ours["verdict"].value_counts().items())
    given = ", ".join(ledger.loc[ledger["kind"] == "set", "text"])
    return [
        f"Of the paper's {len(ours)} claims: {counts or 'one seed gives no verdict'}.",
        f"Not counted, as they served to set up the miniature: {given or 'none'}.",
    ]


def known(experiment: str, claim: str, scale: str) -> str:
    """What the ledger, as 30_claims last saved it, says of a claim, in a sentence; or that it is not there."""
    table = judged(experiment, scale)
    if claim not in table.index:
        return "not known at this scale: the ledger (30_claims) has not been made"
    row = table.loc[claim].to_dict()
    verdict = "no verdict from one seed" if pd.isna(row["verdict"]) else row["verdict"]
    return f"{str(row['text']).strip('. ')}: {row['ours']} points, {seeds_of(int(row['seeds']))}, {verdict}"


# What a curious reader would change in 04, with the experiment and the claim that say what then happens.
_NEXT = (
    ("beta=0.1", "Does a little reasoning do?", "figure4", "little"),
    ("beta=0.9", "Can it be too much?", "figure4", "beta-fall"),
    ("epochs=20", "Is it only more computing?", "controls", "compute"),
    ("dataset='{other}'", "Is it the same elsewhere?", "table5", "mtl-{other}"),
    ("reasoning='original'", "What is refinement worth?", "figure3", "refined"),
    ("generator='sim-4b'", "And with a weaker generator?", "table10", "stronger"),
)


def next_steps(dataset: str, scale: str) -> pd.DataFrame:
    """What to change next in the main experiment, by parameter, why, and what is known of it from the ledger.

    dataset: "nextqa", "star" or "intentqa"; another one is proposed.
    """
    other = "star" if dataset == "nextqa" else "nextqa"
    rows = {
        change.format(other=other): {"question": why, "what is known": known(table, claim.format(other=other), scale)}
        for change, why, table, claim in _NEXT
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("change")
