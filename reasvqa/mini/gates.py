"""Judge the miniature as an instrument: the gates of data/mini/PROTOCOL.md, measured on validation splits.

An instrument is judged before it is read. `measure` trains what the gates need on one data set and compares each number
with its bounds. No gate looks at the effect of imperfect reasoning.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from reasvqa.mini.render import DEFAULT_LOOK, LOOKS
from reasvqa.students import load_student

MORE_QUESTIONS = 4  # times as many questions must still teach something
RIGHT_ANSWERS = {"sim-4b": 60, "sim-26b": 69}  # percent, about the paper's Table 4


def measured(gate: str, what: str, value: float, low: float = -np.inf, high: float = np.inf) -> dict:
    """Return a row of the gates: a number (percent or percentage points) and the bounds that it has to keep."""
    return {"gate": gate, "what": what, "value": value, "low": low, "high": high, "passed": low <= value <= high}


def mean_accuracy(runs: Sequence[Run]) -> float:
    """Return the mean accuracy of runs, in percent."""
    return float(np.mean([run.accuracy for run in runs]))


def before_training(dataset: str, student: str = "mini-blip2", questions: int | None = None) -> dict[str, float]:
    """Return what a probe reads, the pretrained student says, and it answers, on validation clips, in percent.

    Args:
        questions: the student explains the first so many; None: all.

    Returns:
        "probe: action", "probe: object", "probe: room" (see `grounding.probe`); "say: ...", what it tells when it is
        asked the benchmark's questions (see `grounding.told_rightly`); "answer", its zero-shot accuracy.
    """
    config = TrainConfig(dataset=dataset, student=student, split="val", objective="stl", reasoning="none").resolve()
    train_samples, asked = load(dataset, "train"), load(dataset, "val")
    model = load_student(student)
    train_features, features = (features_of(samples, model, config) for samples in (train_samples, asked))
    stories = read_stories(paths.dataset(dataset))
    answers, _ = predict(model, asked, features, config)
    right = 100 * float(np.mean([a == sample.answer for a, sample in zip(answers, asked, strict=True)]))
    texts = generate_reasoning(model, asked[:questions], features, config)
    said = told_rightly(texts, [stories[Path(sample.video).stem] for sample in asked[:questions]])
    read = probe((train_samples, train_features), (asked, features), stories)
    return {f"probe: {k}": v for k, v in read.items()} | {f"say: {k}": v for k, v in said.items()} | {"answer": right}


def at_look(dataset: str, look: str) -> str:
    """Return the name of a miniature data set with pictures of this look."""
    return dataset if look == DEFAULT_LOOK else f"{dataset}-{look}"


def dial(dataset: str = "mini-nextqa") -> pd.DataFrame:
    """Return `before_training` at each look of `LOOKS`, a row a look, from clear pictures to the furthest."""
    rows = {look: before_training(at_look(dataset, look), questions=300) for look in LOOKS}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("look")


def _generator(dataset: str) -> Iterator[dict]:
    """Yield how often generators are right, compared with Table 4, and how much of a wrong response is false."""
    questions = load(dataset, "train")
    for name, right in RIGHT_ANSWERS.items():
        table = SimulatedGenerator(paths.dataset(dataset), STRENGTHS[name]).diagnose(questions)
        wrong = table[table["cause"] != "right answer"]
        share = 100 * float((table["cause"] == "right answer").mean())
        false = 100 * float(wrong["sentences_false"].sum() / wrong["sentences"].sum())
        yield measured("generator", f"{name}: right answers", share, right - 4, right + 4)
        yield measured("generator", f"{name}: wrong answers, false sentences", false, high=25)


def _start(dataset: str, student: str, chance: float) -> Iterator[dict]:
    """Yield what the student reads, says and answers before training, on the benchmark's and on clear pictures."""
    start, clear = before_training(dataset, student), before_training(f"{dataset}-clear", student)
    for what in ("action", "object", "room"):
        yield measured("probe", f"{what}, read off frozen features", start[f"probe: {what}"], 90)
    yield measured("gap", "events told before training", start["say: event"], high=40)
    for key, what in (("action", "action"), ("named", "named objects"), ("room", "room")):
        yield measured("both tasks", f"{what}, told when asked, clear pictures", clear[f"say: {key}"], 95)
    yield measured("zero-shot", "before training", start["answer"], chance + 5)


def measure(dataset: str, seeds: Sequence[int], few: Sequence[int], **values) -> pd.DataFrame:
    """Return the gates of one miniature data set; train the runs that are missing.

    Args:
        dataset: "mini-star", ...; of a smoke data set only the mechanics mean anything.
        seeds: of answers only (STL_QA) and error-free reasoning.
        few: of everything else; the first of `seeds`.
        values: fields of `TrainConfig` that differ from the defaults.

    Returns:
        A row for each number: "dataset", "gate", "what", "value", "low", "high" and "passed".
    """
    base = TrainConfig(dataset=dataset, split="val", **values)
    answers_only = replace(base, objective="stl", reasoning="none")
    error_free = replace(base, generator="sim-perfect")
    scale, kind = dataset.split("-")
    chance = 100 / NUM_OPTIONS[f"mini-{kind}"]

    def runs(config: TrainConfig, over: Sequence[int] = few, root: Path | None = None) -> list[Run]:
        return [train(replace(config, seed=seed), root=root) for seed in over]

    more = paths.data() / "gates" / dataset
    for split in ("train", "val"):
        build(dataset, more, split, sizes=SIZES[scale] | {"train": MORE_QUESTIONS * SIZES[scale]["train"], "test": 1})
    many = {"questions": MORE_QUESTIONS * len(load(dataset, "train")[: base.resolve().questions])}
    longer = {"epochs": round(1.5 * base.resolve().epochs)}
    configs = {"answers only": answers_only, "error-free": error_free}
    qa, free = (runs(config, seeds) for config in configs.values())
    told = pd.DataFrame([grounding(run) for run in free[: len(few)]]).mean()
    rows = [*_start(dataset, base.resolve().student, chance)]
    least = max(80, *(row["value"] for row in rows if row["gate"] == "gap"))
    rows.append(measured("reads the video", "events told after error-free reasoning", float(told["event"]), least))
    rows.append(measured("reads the video", "objects with new names", float(told["new"])))
    gain = mean_accuracy(free) - mean_accuracy(qa)
    rows.append(measured("positive control", "error-free reasoning - answers only", gain, 3))
    for (name, config), group in zip(configs.items(), (qa, free), strict=True):
        spread = float(np.std([run.accuracy for run in group], ddof=1))
        rows.append(measured("takes off", f"{name}: sd over seeds", spread, high=2))
        lowest = mean_accuracy(group) - min(run.accuracy for run in group)
        rows.append(measured("takes off", f"{name}: worst seed below the mean", lowest, high=5))
        change = mean_accuracy(runs(replace(config, **longer))) - mean_accuracy(group[: len(few)])
        rows.append(measured("converged", f"{name}: change with 1.5 times the epochs", change, -1.5, 1.5))
    rows.append(measured("headroom", "answers only", mean_accuracy(qa), 55, 80))
    change = mean_accuracy(runs(replace(answers_only, **many), root=more)) - mean_accuracy(qa[: len(few)])
    rows.append(measured("headroom", f"answers only: gain from {MORE_QUESTIONS} times the questions", change, 6))
    blind = mean_accuracy(runs(replace(answers_only, blind=True)))
    rows.append(measured("blind", "sees no frames", blind, chance - 3, chance + 3))
    return pd.DataFrame([{"dataset": dataset} | row for row in (*rows, *_generator(dataset))])
