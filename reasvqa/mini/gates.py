"""Can the miniature tell? The gates of data/mini/PROTOCOL.md, one function each, over runs on validation data.

An instrument is judged before it is read: on validation splits, over seeds, before any claim is looked at. `measure`
trains what the gates need on one data set and applies all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import load
from reasvqa.learning import Run, train
from reasvqa.learning.answering import predict
from reasvqa.learning.features import features_of
from reasvqa.mini.build import SIZES, SimulatedGenerator, build
from reasvqa.mini.generator import STRENGTHS
from reasvqa.mini.grounding import grounding
from reasvqa.mini.questions import NUM_OPTIONS
from reasvqa.students import load_student

ROOM = 4  # times as many questions must still teach something


def shipped() -> pd.DataFrame:
    """What the gates of the miniature that ships were found to be: dataset and the fields of `Measured`."""
    return pd.read_csv(paths.SHIPPED / "mini" / "gates.csv")


def usual_spread() -> float:
    """How far MTL_All - STL_QA varies from seed to seed on one data set of the miniature: the standard deviation in
    points, of the runs that its gates were measured on (five seeds on three data sets, data/mini/tried.csv)."""
    tried = pd.read_csv(paths.SHIPPED / "mini" / "tried.csv")
    gates = tried[tried["remark"].fillna("").str.startswith("gates") & (tried["epochs"] == 10)]
    of_each = gates[gates["questions"] == 480].pivot_table(
        index=["dataset", "seed"], columns="setting", values="accuracy"
    )
    gains = (of_each["MTL_All"] - of_each["STL_QA"]).dropna()
    return float(gains.groupby(level="dataset").var().mean() ** 0.5)


@dataclass(frozen=True)
class Measured:
    """A number (percent or percentage points) and the bounds it has to keep."""

    gate: str
    what: str
    value: float
    low: float = -np.inf
    high: float = np.inf

    @property
    def passed(self) -> bool:
        return self.low <= self.value <= self.high


def _mean(runs: Sequence[Run]) -> float:
    return float(np.mean([run.accuracy for run in runs]))


def takes_off(runs: Sequence[Run]) -> list[Measured]:
    """Every seed learns: the spread over seeds, and how far the worst one lies below the mean. For STL_QA and for
    MTL_All."""
    values = [run.accuracy for run in runs]
    return [
        Measured("takes off", f"{runs[0].name}: sd over seeds", float(np.std(values, ddof=1)), high=2),
        Measured("takes off", f"{runs[0].name}: worst seed below the mean", _mean(runs) - min(values), high=5),
    ]


def converged(runs: Sequence[Run], longer: Sequence[Run]) -> list[Measured]:
    """Half as many epochs more change little. For STL_QA and for MTL_All."""
    change = _mean(longer) - _mean(runs[: len(longer)])
    return [Measured("converged", f"{runs[0].name}: change with 1.5 times the epochs", change, -1.5, 1.5)]


def room(stl_qa: Sequence[Run], more: Sequence[Run]) -> list[Measured]:
    """Answers alone teach most, not all: there is something left that more questions would teach."""
    gain = _mean(more) - _mean(stl_qa[: len(more)])
    return [
        Measured("room", "STL_QA", _mean(stl_qa), 55, 80),
        Measured("room", f"STL_QA: gain with {ROOM} times as many questions", gain, low=6),
    ]


def zero_shot(accuracy: float, stl_qa: Sequence[Run], options: int) -> list[Measured]:
    """The pretrained student is of use, and fine-tuning of more."""
    return [Measured("zero-shot", "before fine-tuning", accuracy, 100 / options + 5, _mean(stl_qa) - 10)]


def blind(runs: Sequence[Run], options: int) -> list[Measured]:
    """The wording gives nothing away."""
    return [Measured("blind", "Blind", _mean(runs), 100 / options - 3, 100 / options + 3)]


def reads_the_video(told_right: Sequence[float]) -> list[Measured]:
    """Percent of the events of unseen clips that students tell rightly after MTL, a number a run (see `grounding`)."""
    return [Measured("reads the video", "events told rightly", float(np.mean(told_right)), low=60)]


def parts(
    stl_qa: Sequence[Run], mtl: Sequence[Run], stl_cr: Sequence[Run], without_lora: Sequence[Run]
) -> list[Measured]:
    """The parts matter about as much as in the paper (-6.2 and +0.3 points). What this sets is no evidence for a
    claim."""
    loss = _mean(mtl[: len(without_lora)]) - _mean(without_lora)
    gap = _mean(stl_cr) - _mean(stl_qa[: len(stl_cr)])
    return [
        Measured("parts", "MTL_All: loss without LoRA", loss, high=20),
        Measured("parts", "STL_CR - STL_QA", gap, -15, 15),
    ]


def generator(diagnosis: pd.DataFrame, right: float) -> list[Measured]:
    """As often right as Table 4 says, and mostly wrong in what it concludes. `diagnosis`:
    `SimulatedGenerator.diagnose`."""
    wrong = diagnosis[diagnosis["cause"] != "right answer"]
    false = 100 * wrong["sentences_false"].sum() / wrong["sentences"].sum()
    share = 100 * float((diagnosis["cause"] == "right answer").mean())
    return [
        Measured("generator", "right answers", share, right - 4, right + 4),
        Measured("generator", "wrong answers: sentences before the conclusion that are false", float(false), high=25),
    ]


# --- measuring --------------------------------------------------------------------------------------------------------


def zero_shot_accuracy(config: TrainConfig) -> float:
    """Percent right of the student before fine-tuning, on the split that `config` names."""
    config = replace(config, objective="stl", reasoning="none").resolve()
    samples, student = load(config.dataset, config.split), load_student(config.student)
    features = features_of(samples, student, config)
    predictions, _ = predict(student.without_vision_encoder(torch.device("cpu")), samples, features, config)
    return 100 * float(np.mean([a == s.answer for a, s in zip(predictions, samples, strict=True)]))


def measure(dataset: str, seeds: Sequence[int], few: Sequence[int], split: str = "val", **values) -> pd.DataFrame:
    """All gates on one miniature data set: a row per `Measured`, with `passed`. Trains what is not kept.

    Args:
        dataset: "mini-star", ...; or a smoke data set, where only the mechanics mean anything.
        seeds: of STL_QA and MTL_All.
        few: of everything else; a part of `seeds`.
        values: fields of `TrainConfig` that differ from the defaults.
    """
    base = TrainConfig(dataset=dataset, split=split, **values)
    qa = replace(base, objective="stl", reasoning="none")

    def runs(config: TrainConfig, over: Sequence[int] = few, root: Path | None = None) -> list[Run]:
        return [train(replace(config, seed=seed), root=root) for seed in over]

    longer = {"epochs": round(1.5 * base.resolve().epochs)}
    stl_qa, mtl = runs(qa, seeds), runs(base, seeds)
    sizes = SIZES[dataset]
    more = paths.data() / "gates" / dataset
    build(dataset, more, sizes={"train": ROOM * sizes["train"], "val": sizes["val"], "test": 1})
    options = NUM_OPTIONS["mini-" + dataset.split("-", 1)[1]]
    measured = [
        *takes_off(stl_qa),
        *takes_off(mtl),
        *converged(stl_qa, runs(replace(qa, **longer))),
        *converged(mtl, runs(replace(base, **longer))),
        *room(stl_qa, runs(qa, root=more)),
        *zero_shot(zero_shot_accuracy(base), stl_qa, options),
        *blind(runs(replace(qa, blind=True)), options),
        *reads_the_video([grounding(run) for run in mtl[: len(few)]]),
        *parts(stl_qa, mtl, runs(replace(base, objective="stl", subset="cr")), runs(replace(base, lora=False))),
    ]
    train_samples = load(dataset, "train")
    for name, right in (("sim-4b", 60), ("sim-26b", 70)):
        diagnosis = SimulatedGenerator(paths.dataset(dataset), STRENGTHS[name]).diagnose(train_samples)
        measured += [replace(m, what=f"{name}: {m.what}") for m in generator(diagnosis, right)]
    table = pd.DataFrame([vars(m) | {"passed": m.passed} for m in measured])
    table.insert(0, "dataset", dataset)
    return table
