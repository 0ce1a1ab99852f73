"""Sentences that state results: everything in them is computed, whatever comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from reasvqa import paths
from reasvqa.companion import paper
from reasvqa.companion.claims import claims
from reasvqa.companion.experiments import TABLE4, name_at
from reasvqa.companion.results import interval, judged, values
from reasvqa.companion.scales import OFFICIAL_SCALES
from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.evaluation import Estimate, seeds_needed, signed
from reasvqa.learning import Run
from reasvqa.refinement import refine


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
        return f"{better} - {worse}: {signed(effect.value)} points {where}; too few videos for an interval."
    said = f"{better} - {worse}: {signed(effect.value)} points, 95 % interval {signed(effect.low)} to"
    said += f" {signed(effect.high)}, "
    said += f"{where}."
    if effect.low > 0 or effect.high < 0:
        than = "better" if effect.low > 0 else "worse"
        chance = "questions and seeds" if effect.seeds > 1 else "questions"
        said += f" {better} does {than} than {worse}, by more than the choice of {chance} explains."
    elif effect.equivalent(margin):
        said += f" The two are alike within {margin:.1f} points."
    else:
        said += " The interval has zero in it, so this does not tell the two apart;"
        said += f" an effect of {effect.detectable():.1f} points would have been seen four times in five, a smaller one"
        said += " less often."
    if effect.seeds == 1:
        said += " The interval knows what other questions would do, and nothing of other seeds."
    return said


def seeds_wanted(effect: Estimate, size: float) -> str:
    """How many seeds would find an effect of `size` points, if it varies from seed to seed as it usually does."""
    from reasvqa.mini.gates import usual_spread

    spread = usual_spread()
    needed = seeds_needed(effect, size, seed_sd=spread)
    enough = "no number of seeds is" if needed is None else f"about {needed} seeds are"
    return (
        f"To see an effect of {size:.1f} points on these questions, if it varies by {spread:.1f} from seed to seed, as "
        f"it does on the miniature's validation questions, {enough} enough."
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
    return "" if scale in OFFICIAL_SCALES else "; ours are simulated, their error rates were set"


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
    same: dict[frozenset, list[str]] = {}
    for claim in claims():
        if claim.id in set(ours["claim"]):
            same.setdefault(claim.comparison, []).append(claim.text.strip(". "))
    twice = "; ".join(" = ".join(f"“{text}”" for text in texts) for texts in same.values() if len(texts) > 1)
    said = [
        f"Of the paper's {len(ours)} claims: {counts or 'one seed gives no verdict'}.",
        f"Not counted, as they served to set up the miniature: {given or 'none'}.",
    ]
    return [*said, f"The same comparison, claimed in two places: {twice}."] if twice else said


# What is asked when claims come out contradicted or without effect: the control that answers it, the question, which
# claims it is about, and what each verdict of the control says. Written before any effect on a test split was seen.
_REASONS = {
    "error-free": (
        "Is it the errors in the reasoning?",
        "mtl mtl-nextqa mtl-star mtl-intentqa mtl-cr backbone-1 backbone-2 backbone-3 atp-hard reasoning beta-half "
        "beta-rise all-cr refined refined-mean trend plateau refined-4b original-all-4b refined-all-4b",
        {
            "reproduced": "Yes, in part: from reasoning without any error the student learns more.",
            "no effect": "No: from reasoning without any error the student learns no more. Errors cost nothing here, "
            "so refinement has nothing to bring back.",
            "contradicted": "No: from reasoning without any error the student learns even less.",
        },
    ),
    "content": (
        "Does it matter what is said about the video?",
        "mtl mtl-nextqa mtl-star mtl-intentqa backbone-1 reasoning beta-half brief detailed captions trend",
        {
            "reproduced": "Yes: reasoning about other videos is worse, so what it says is used; a second task costs.",
            "no effect": "No: reasoning about other videos does as well, so what it says does not reach the answers.",
            "contradicted": "No: reasoning about other videos does even better.",
        },
    ),
    "perfect": (
        "Does the generator matter at all?",
        "stronger",
        {
            "reproduced": "Yes, from one end to the other; these two are too close to each other.",
            "no effect": "No: the student of one that makes no error is as good as that of one that guesses.",
            "contradicted": "Not as it should: from one that makes no error the student learns less than from one that "
            "guesses.",
        },
    ),
}


def why(ledger: pd.DataFrame) -> list[str]:
    """A paragraph for each question that claims without effect, or contradicted ones, raise: the claims, and what a
    control says, with its number. ledger: of `results.ledger`."""
    rows = ledger.set_index("claim")
    said = []
    for control, (question, about, answers) in _REASONS.items():
        asked = rows.loc[[name for name in about.split() if name in rows.index]]
        asked = asked[asked["verdict"].isin(["contradicted", "no effect"])]
        if asked.empty or control not in rows.index:
            continue
        raised = "; ".join(
            f"{row['where']}, “{row['text'].strip('. ')}” ({signed(row['effect'])} points, {row['verdict']})"
            for row in asked.to_dict("records")
        )
        (found,) = rows.loc[[control]].to_dict("records")
        said.append(
            f"**{question}** {answers.get(found['verdict'], 'These runs do not tell.')} “{found['text'].strip('. ')}”: "
            f"{interval(found)} points, {found['verdict']}. This is asked because of: {raised}."
        )
    return said or ["No claim came out contradicted or without effect."]


def answers_learned(runs: Mapping[tuple[str, str], Sequence[Run]]) -> str:
    """What the answer's loss ended at, by beta: is it learned where it has little weight? runs: of Figure 4."""
    ends: dict[str, list[float]] = {}
    for (_, beta), seeds in runs.items():
        ends.setdefault(beta, []).extend(
            run.history["answer_loss" if "answer_loss" in run.history else "loss"].iloc[-1] for run in seeds
        )
    told = ", ".join(
        f"{sum(x) / len(x):.2f} at {beta}" for beta, x in sorted(ends.items(), key=lambda end: float(end[0]))
    )
    return (
        f"**Does the answer suffer where its weight is small?** Its training loss ended at (nats a token, by beta): "
        f"{told}. (AdamW's steps do not depend on the size of the loss but on its direction: with a small weight the "
        "answer has little say in it.)"
    )


def known(experiment: str, claim: str, scale: str) -> str:
    """What the ledger, as 30_claims last saved it, says of a claim, in a sentence; or that it is not there."""
    table = judged(experiment, scale)
    if claim not in table.index:
        return "not known at this scale: the ledger (30_claims) has not been made"
    row = table.loc[claim].to_dict()
    verdict = "no verdict from one seed" if pd.isna(row["verdict"]) else row["verdict"]
    verdict += " (set: no evidence)" if row["kind"] == "set" else ""
    return f"{str(row['text']).strip('. ')}: {row['ours']} points, {seeds_of(int(row['seeds']))}, {verdict}"


def missed(what: str, scale: str) -> list[str]:
    """Of a miniature: that a comparison misses its gate, by how much, and what follows; else nothing.

    what: names the gate, see `mini.gates`.
    """
    from reasvqa.mini.gates import shipped

    found = shipped().query("what == @what and not passed")
    if scale in OFFICIAL_SCALES or found.empty:
        return []
    values = ", ".join(f"{row['value']:.1f} ({row['dataset']})" for row in found.to_dict("records"))
    low, high = found["low"].iloc[0], found["high"].iloc[0]
    bound = f"at most {high:g}" if pd.isna(low) else f"{low:g} to {high:g}"
    return [
        f"**The miniature misses a gate here.** {what}, in points on validation questions: {values}; the bound, set so "
        f"that it resembles the paper's, is {bound}. So what it shows of this is no evidence about the paper "
        "([90_pretrain_mini](90_pretrain_mini.ipynb) has all gates)."
    ]


def trained_longer(dataset: str, scale: str) -> str:
    """What half as many epochs more bring on a data set of the miniature, from its gates."""
    from reasvqa.mini.gates import shipped

    found = shipped()
    found = found[found["dataset"].str.endswith(f"-{dataset}") & (found["gate"] == "converged")]
    if scale in OFFICIAL_SCALES or found.empty:
        return "not known at this scale"
    told = ", ".join(f"{row['what'].split(':')[0]} {signed(row['value'])}" for row in found.to_dict("records"))
    return f"{told} points on validation questions, three seeds"


# What a curious reader would change in 04, with the experiment and the claim that say what then happens.
_NEXT = (
    ("beta=0.1", "Does a little reasoning do?", "figure4", "little"),
    ("beta=0.9", "Can it be too much?", "figure4", "beta-fall"),
    ("dataset='{other}'", "Is it the same elsewhere?", "table5", "mtl-{other}"),
    ("reasoning='original'", "What is refinement worth?", "figure3", "refined"),
    ("generator='{weaker}'", "And with a weaker generator?", "table10", "stronger"),
)


def next_steps(dataset: str, scale: str) -> pd.DataFrame:
    """What to change next in the main experiment, by parameter, why, and what is known of it from the ledger.

    dataset: "nextqa", "star" or "intentqa"; another one is proposed.
    """
    names = {"other": "star" if dataset == "nextqa" else "nextqa", "weaker": name_at(scale, TABLE4["InternVL(4B)"])}
    rows = {
        change.format(**names): {"question": why, "what is known": known(table, claim.format(**names), scale)}
        for change, why, table, claim in _NEXT
    }
    rows["epochs=15"] = {"question": "Are ten epochs enough?", "what is known": trained_longer(dataset, scale)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("change")
