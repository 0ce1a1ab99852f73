"""The miniature's research record: does learning from imperfect reasoning beat learning from answers alone, and why?

Each trial changes one thing. All are measured on the *validation* split of mini-star; the test split is for the notebooks.
`run_trials` trains what is missing and writes data/mini/trials.csv, which notebook 90 shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from reasvqa.datasets import DATA, load
from reasvqa.evaluation import bootstrap, paired_difference
from reasvqa.experiments import config_of, correct_of, train_seeds
from reasvqa.learning import Run
from reasvqa.mini.build import read_stories, reasoning_file
from reasvqa.mini.world import gerund, present

TRIALS_CSV = DATA / "mini" / "trials.csv"


@dataclass(frozen=True)
class Trial:
    """A setting of `experiments.SETTINGS` with changed values, and the question it answers. `against` names the trial it is
    compared with, on the same questions and seeds."""

    name: str
    question: str
    setting: str
    against: str = ""
    values: dict = field(default_factory=dict)


def _mtl(name: str, question: str, against: str = "STL_QA", **values) -> Trial:
    return Trial(name, question, "MTL_All", against, values)


TRIALS = (
    Trial("Blind", "What does the wording give away?", "Blind"),
    Trial("STL_QA", "What do answers alone teach?", "STL_QA", "Blind"),
    _mtl("MTL beta 0.1", "Does a little weight on reasoning help?", beta=0.1),
    _mtl("MTL beta 0.5", "Does reasoning help at the paper's weight?"),
    _mtl("MTL beta 0.9", "Does too much weight on reasoning hurt?", beta=0.9),
    _mtl("MTL 0.5 original", "Does refinement matter? (original reasoning)", "MTL beta 0.5", reasoning="original"),
    _mtl("MTL 0.5 error-free", "How much do the generator's errors cost?", "MTL beta 0.5", generator="sim-perfect"),
    _mtl("MTL 0.1 swapped", "Is it the content? (reasoning of other videos, same style and words)", "MTL beta 0.1", beta=0.1, generator="sim-26b-swapped"),
    _mtl("MTL 0.1 original", "Does refinement matter? (original reasoning)", "MTL beta 0.1", beta=0.1, reasoning="original"),
    _mtl("MTL 0.1 error-free", "How much do the generator's errors cost?", "MTL beta 0.1", beta=0.1, generator="sim-perfect"),
    Trial("STL_QA, 3 x epochs", "Is it only more training?", "STL_QA", "STL_QA", {"epochs": 75}),
    Trial("STL_QA, half", "With half the questions, as many steps: what do answers alone teach?", "STL_QA", "STL_QA", {"questions": 120, "epochs": 50}),
    _mtl("MTL 0.1, half", "With half the questions, does reasoning help more?", "STL_QA, half", beta=0.1, questions=120, epochs=50),
)


def write_swapped(root: Path, generator: str = "sim-26b") -> Path:
    """A control: every question gets the response to another question of its type, about another video.

    Words, style, length and correctness stay as they are; only the tie to the video is cut.
    """
    path = reasoning_file(root, f"{generator}-swapped")
    samples = load(root.name, "train")
    rows = {row["id"]: row for row in map(json.loads, reasoning_file(root, generator).read_text().splitlines())}
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for kind in dict.fromkeys((s.type, bool(rows[s.id]["correct"])) for s in samples):
            group = [s for s in samples if (s.type, bool(rows[s.id]["correct"])) == kind]
            order = rng.permutation(len(group))
            # Turning a random order by half its length gives everybody somebody else, three questions a video notwithstanding.
            other = {group[i].id: group[j].id for i, j in zip(order, np.roll(order, max(1, len(group) // 2)), strict=True)}
            for sample in group:
                file.write(json.dumps(rows[sample.id] | {"generator": path.stem, "response": rows[other[sample.id]]["response"]}) + "\n")
    return path


def run_trials(seeds: Sequence[int] = (0, 1, 2), trials: Sequence[Trial] = TRIALS, dataset: str = "star", split: str = "val") -> pd.DataFrame:
    """Trains what is missing and returns a row per trial: accuracy with interval, difference to its reference, seconds."""
    write_swapped_if_missing(DATA / f"mini-{dataset}")
    correct, rows = {}, []
    for trial in trials:
        runs = train_seeds(config_of(trial.setting, "mini", dataset, split=split, **trial.values), seeds)
        correct[trial.name] = correct_of(runs)
        level = bootstrap(correct[trial.name])
        difference = paired_difference(correct[trial.against], correct[trial.name]) if trial.against else None
        final = runs[0].history.iloc[-1]
        told = float(np.mean([grounding(run) for run in runs])) if runs[0].config.objective == "mtl" else None
        rows.append(
            {"trial": trial.name, "question": trial.question, "accuracy": level.value, "low": level.low, "high": level.high,
             "against": trial.against, "difference": difference.value if difference else None,
             "difference_low": difference.low if difference else None, "difference_high": difference.high if difference else None,
             "answer_loss_at_end": final.get("answer_loss"), "reasoning_loss_at_end": final.get("reasoning_loss"), "told_right": told,
             "training_s": float(np.mean([run.metrics["seconds"]["training"] for run in runs])), "seeds": len(seeds), "questions": correct[trial.name].shape[1]}
        )  # fmt: skip
    return pd.DataFrame(rows)


def grounding(run: Run) -> float:
    """Is what the student writes true of the video? Percent of the clips' events (verb and object) that stand in the right
    place of the reasoning it writes for the evaluation split's questions."""
    root = DATA / run.config.dataset
    samples, stories = load(run.config.dataset, run.config.split), read_stories(root)
    right = total = 0
    for sample, text in zip(samples, run.explain(samples), strict=True):
        events = stories[Path(sample.video).stem].seen
        sentences = [re.sub(r"[^a-z ]", " ", sentence).split() for sentence in text.lower().split(".") if re.search("[a-z]", sentence)]
        for event, words in zip_longest(events, sentences[: len(events)], fillvalue=[]):
            right += event.object in words and bool({present(event.verb), gerund(event.verb)} & set(words))
        total += len(events)
    return 100 * right / total


def write_swapped_if_missing(root: Path) -> None:
    """See `write_swapped`."""
    load(root.name, "train")  # made on first use
    if not reasoning_file(root, "sim-26b-swapped").exists():
        write_swapped(root)


if __name__ == "__main__":
    run_trials().to_csv(TRIALS_CSV, index=False, float_format="%.3f")
