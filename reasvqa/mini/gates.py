"""Judge the miniature as an instrument: the gates of data/mini/PROTOCOL.md, measured on validation splits.

An instrument is judged before it is read. `measure` trains what the gates need on one data set, over seeds, and compares
each number with its bounds. No gate looks at the effect of imperfect reasoning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import load
from reasvqa.learning import Run, train
from reasvqa.learning.answering import generate_reasoning, predict
from reasvqa.learning.features import features_of
from reasvqa.mini.build import SIZES, SimulatedGenerator, build, read_stories
from reasvqa.mini.generator import STRENGTHS
from reasvqa.mini.grounding import grounding, probe, told_rightly
from reasvqa.mini.questions import NUM_OPTIONS
from reasvqa.mini.render import LOOKS
from reasvqa.students import load_student

MORE_QUESTIONS = 4  # times as many questions must still teach something
RIGHT_ANSWERS = {"sim-4b": 60, "sim-26b": 69}  # percent, about the paper's Table 4


@dataclass(frozen=True)
class Measured:
    """A number (percent or percentage points) and the bounds that it has to keep."""

    gate: str
    what: str
    value: float
    low: float = -np.inf
    high: float = np.inf

    @property
    def passed(self) -> bool:
        return self.low <= self.value <= self.high


def shipped() -> pd.DataFrame:
    """Return the gates of the miniature that ships: dataset and the fields of `Measured`."""
    return pd.read_csv(paths.SHIPPED / "mini" / "gates.csv")


def accuracy(runs: Sequence[Run]) -> float:
    return float(np.mean([run.accuracy for run in runs]))


def before_training(dataset: str, student: str = "mini-blip2", root: Path | None = None) -> dict[str, float]:
    """Return what a probe reads, the pretrained student says, and it answers, on a data set's validation clips (%).

    Returns:
        "probe: action", "probe: object", "probe: room" (see `grounding.probe`); "say: ..." what it narrates when it is
        asked the benchmark's questions (see `grounding.told_rightly`); "answer": its zero-shot accuracy.
    """
    config = TrainConfig(dataset=dataset, student=student, split="val", objective="stl", reasoning="none").resolve()
    root = root or paths.dataset(dataset)
    samples = {
        split: load(dataset, split, None if root == paths.dataset(dataset) else root) for split in ("train", "val")
    }
    samples["train"] = samples["train"][: config.questions]
    model = load_student(student)
    features = {split: features_of(questions, model, config) for split, questions in samples.items()}
    stories = read_stories(root)
    asked = samples["val"]
    texts = generate_reasoning(model, asked, features["val"], config)
    said = told_rightly(texts, [stories[Path(sample.video).stem] for sample in asked])
    answers, _ = predict(model, asked, features["val"], config)
    right = 100 * float(np.mean([a == sample.answer for a, sample in zip(answers, asked, strict=True)]))
    read = probe((samples["train"], features["train"]), (asked, features["val"]), stories)
    return {f"probe: {k}": v for k, v in read.items()} | {f"say: {k}": v for k, v in said.items()} | {"answer": right}


def dial(kind: str, student: str = "mini-blip2") -> pd.DataFrame:
    """Return `before_training` at each look of `LOOKS`, a row a look, from clear pictures to the furthest."""
    rows = {look: before_training(f"mini-{kind}-{look}", student) for look in LOOKS}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("look")


def generator_gates(dataset: str) -> list[Measured]:
    """Generators are right about as often as Table 4 says, and mostly wrong in what they conclude."""
    found = []
    questions = load(dataset, "train")
    for name, right in RIGHT_ANSWERS.items():
        table = SimulatedGenerator(paths.dataset(dataset), STRENGTHS[name]).diagnose(questions)
        wrong = table[table["cause"] != "right answer"]
        share = 100 * float((table["cause"] == "right answer").mean())
        false = 100 * float(wrong["sentences_false"].sum() / wrong["sentences"].sum())
        found.append(Measured("generator", f"{name}: right answers", share, right - 4, right + 4))
        found.append(Measured("generator", f"{name}: wrong answers, false sentences", false, high=25))
    return found


def measure(dataset: str, seeds: Sequence[int], few: Sequence[int], **values) -> pd.DataFrame:
    """Return the gates of one miniature data set, a row per `Measured`, with `passed`. Trains the runs that are missing.

    Args:
        dataset: "mini-star", ...; of a smoke data set only the mechanics mean anything.
        seeds: of answers only (STL_QA), error-free reasoning, and both at the clear look.
        few: of everything else, a part of `seeds`.
        values: fields of `TrainConfig` that differ from the defaults.
    """
    base = TrainConfig(dataset=dataset, split="val", **values)
    only_answers = replace(base, objective="stl", reasoning="none")
    faultless = replace(base, generator="sim-perfect")
    scale, kind = dataset.split("-")
    options = NUM_OPTIONS[f"mini-{kind}"]

    def runs(config: TrainConfig, over: Sequence[int] = few, root: Path | None = None) -> list[Run]:
        return [train(replace(config, seed=seed), root=root) for seed in over]

    qa, free, clear = runs(only_answers, seeds), runs(faultless, seeds), before_training(f"{dataset}-clear")
    start = before_training(dataset)
    longer = {"epochs": round(1.5 * base.resolve().epochs)}
    more = paths.data() / "gates" / dataset
    sizes = SIZES[scale] | {"train": MORE_QUESTIONS * SIZES[scale]["train"], "test": 1}
    for split in ("train", "val"):
        build(dataset, more, split, sizes=sizes)
    told = [grounding(run) for run in free[: len(few)]]
    events, new = (float(np.mean([each[what] for each in told])) for what in ("event", "new"))
    measured = [
        *(Measured("probe", f"{what}, read off frozen features", start[f"probe: {what}"], 90) for what in ("action", "object", "room")),
        Measured("gap", "events told before training, benchmark's pictures", start["say: event"], high=40),
        *(Measured("both tasks", f"{what}, told when asked (clear pictures)", clear[f"say: {what}"], 95) for what in ("action", "named", "room")),
        Measured("reads the video", "events told after error-free reasoning", events, max(80, start["say: event"])),
        Measured("reads the video", "objects with new names", new),
        Measured("positive control", "error-free reasoning - answers only", accuracy(free) - accuracy(qa), 3),
        *(
            Measured("takes off", f"{name}: {what}", value, high=bound)
            for name, group in (("answers only", qa), ("error-free", free))
            for what, value, bound in (
                ("sd over seeds", float(np.std([run.accuracy for run in group], ddof=1)), 2),
                ("worst seed below the mean", accuracy(group) - min(run.accuracy for run in group), 5),
            )
        ),
        *(
            Measured("converged", f"{name}: 1.5 times the epochs", accuracy(runs(replace(config, **longer))) - accuracy(group[: len(few)]), -1.5, 1.5)
            for name, config, group in (("answers only", only_answers, qa), ("error-free", faultless, free))
        ),
        Measured("room", "answers only", accuracy(qa), 55, 80),
        Measured("room", f"answers only: {MORE_QUESTIONS} times as many questions", accuracy(runs(only_answers, few, more)) - accuracy(qa[: len(few)]), 6),
        Measured("zero-shot", "before training", start["answer"], 100 / options + 5, accuracy(qa) - 10),
        Measured("blind", "sees no frames", accuracy(runs(replace(only_answers, blind=True))), 100 / options - 3, 100 / options + 3),
        *generator_gates(dataset),
    ]  # fmt: skip
    table = pd.DataFrame([vars(m) | {"passed": m.passed} for m in measured])
    table.insert(0, "dataset", dataset)
    return table
