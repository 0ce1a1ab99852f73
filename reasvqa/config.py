"""Every setting of a run, and what the scales have in its place. There is no other knob.

A setting left at None takes the value of its scale's preset. `TrainConfig.resolve` fills in, checks types, then ranges,
and makes settings that mean the same the same, so that equal runs have equal settings.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from types import UnionType
from typing import Any, get_args, get_type_hints

# Presets: one flat table a scale. "paper" is appendix A.2 of the paper; what it leaves open is as in SeViLA's code, on
# which its baseline stands. The values of "mini" were looked at on validation splits (notebooks/90_pretrain_mini.ipynb
# keeps the record).
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "generator": "internvl-26b",
        "answer_format": "letter",
        "split": "val",
        "epochs": 10,
        "batch_size": 8,
        "learning_rate": 3e-5,
        "schedule": "cosine",
        "warmup": 0.05,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "lora_rank": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
        "max_source_tokens": 512,
        "max_target_tokens": 256,
        "max_new_tokens": 256,
        "precision": "bf16",
        "questions": None,
    },
    "mini": {
        "generator": "sim-26b",
        "answer_format": "text",
        "split": "test",
        "epochs": 10,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "warmup": 0.05,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "lora_rank": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.0,
        "max_source_tokens": 256,
        "max_target_tokens": 256,
        "max_new_tokens": 256,
        "precision": "fp32",
        "questions": None,
    },
}
# A real model on official data, of which it learns from a part: for a laptop, or one small GPU. Otherwise the paper's
# settings; the generator is one that fits the same GPU.
PRESETS["small"] = PRESETS["paper"] | {"generator": "InternVL3-2B-hf", "questions": 2000}
PRESETS["smoke"] = PRESETS["mini"] | {"epochs": 1, "lora_rank": 4, "lora_alpha": 8}

FROM_PRESET: Any = None  # a setting that is not given

SCALES = ("mini", "preview", "smoke", "paper", "small")
# A preview asks the miniature's students the validation questions: the test split stays closed until the ledger is run.
PREVIEW: dict[str, Any] = {"split": "val"}
MINIATURES = ("mini", "smoke")  # scales whose data sets are made, not downloaded
REAL = ("small", "paper")  # scales of official data and published models
DRAWN = "small"  # the scale whose training questions come in an order that is drawn once
BENCHMARKS = ("nextqa", "star", "intentqa")
CHOICES: dict[str, tuple[str, ...]] = {
    "objective": ("stl", "mtl"),
    "reasoning": ("refined", "original", "none", "brief_caption", "detailed_caption"),
    "refinement": ("paper", "strict"),
    "subset": ("all", "cr"),
    "control": ("none", "other_videos", "shuffled_words", "key_words"),
    "target_order": ("reasoning_first", "answer_first"),
    "answer_format": ("text", "letter"),
    "schedule": ("cosine", "linear", "constant_with_warmup"),
    "precision": ("fp32", "bf16"),
}


_OF_REASONING = ("reasoning", "refinement", "subset", "fraction", "control", "target_order", "beta", "generator")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a run. Fields left at None take the scale's value, see `PRESETS`.

    Attributes:
        dataset: a name for `reasvqa.datasets.load`.
        student: a name or path for `reasvqa.students.load_student`.
        objective: "stl" (Eq. 1) or "mtl" (Eq. 2).
        reasoning: what is learned beside the answer: "refined" or "original" reasoning, "brief_caption",
            "detailed_caption", "none".
        refinement: "paper" (appendix A.4), or "strict": also without sentences that restate the chosen option in words.
        subset: "all" reasoning, or "cr": only that of right answers.
        fraction: share of the usable reasoning that is used, 0 < fraction <= 1.
        control: "none", or what is done to the reasoning to see what it is good for: that of "other_videos", its
            "shuffled_words", its "key_words" only.
        target_order: of Eq. 1's single target: "reasoning_first" (the paper) or "answer_first".
        beta: weight of the reasoning's loss in Eq. 2, 0 <= beta < 1; alpha = 1 - beta. 0 is STL_QA.
        seed: of everything that is random in a run.
        blind: the student sees no frames: what the questions alone give away.
        num_frames: N.
        questions: train on the first so many questions only; None: the scale's number, which is all but at the scale
            "small". There the order is drawn, once for everybody (`reasvqa.datasets.load`), so that the first 500 are a
            random sample of the official ones, and are among the first 2,000; a large number means all.
        generator: whose responses: names <dataset>/reasoning/<generator>.jsonl.
        answer_format: "letter" or "text", see `reasvqa.learning.answering`.
        split: what the trained student is evaluated on.
        epochs, batch_size, learning_rate: of AdamW.
        schedule: of the learning rate, by transformers' name.
        warmup: share of the steps in which it rises, 0 <= warmup < 1.
        weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to this norm; 0: not at all.
        lora: train LoRA weights of the language model beside the projection?
        lora_rank, lora_alpha, lora_dropout: r; the weights' factor is lora_alpha / r; dropout before them.
        max_source_tokens: of question and options, in training and in answering.
        max_target_tokens: of a target. Of a longer one the reasoning is cut, never the answer; cuts are counted.
        max_new_tokens: how much a student may write when it is asked to.
        precision: "fp32"; or "bf16": frozen weights and features in bfloat16, autocast for the rest, trained weights in
            float32.
        gradient_checkpointing: compute activations of the language model twice instead of keeping them: less memory,
            more time.
        skip_missing: go on without questions whose videos cannot be read?
    """

    dataset: str = "mini-star"
    student: str = "mini-blip2"
    objective: str = "mtl"
    reasoning: str = "refined"
    refinement: str = "paper"
    subset: str = "all"
    fraction: float = 1.0
    control: str = "none"
    target_order: str = "reasoning_first"
    beta: float = 0.5
    seed: int = 0
    blind: bool = False
    num_frames: int = 4
    questions: int | None = None
    generator: str = FROM_PRESET
    answer_format: str = FROM_PRESET
    split: str = FROM_PRESET
    epochs: int = FROM_PRESET
    batch_size: int = FROM_PRESET
    learning_rate: float = FROM_PRESET
    schedule: str = FROM_PRESET
    warmup: float = FROM_PRESET
    weight_decay: float = FROM_PRESET
    max_grad_norm: float = FROM_PRESET
    lora: bool = True
    lora_rank: int = FROM_PRESET
    lora_alpha: float = FROM_PRESET
    lora_dropout: float = FROM_PRESET
    max_source_tokens: int = FROM_PRESET
    max_target_tokens: int = FROM_PRESET
    max_new_tokens: int = FROM_PRESET
    precision: str = FROM_PRESET
    gradient_checkpointing: bool = False
    skip_missing: bool = False

    @property
    def alpha(self) -> float:
        """Weight of the answer's loss in Eq. 2."""
        return 1 - self.beta

    @property
    def scale(self) -> str:
        """ "mini", "smoke", "small" or "paper", by the data set."""
        prefix = self.dataset.split("-")[0]
        return prefix if prefix in (*MINIATURES, DRAWN) else "paper"

    @property
    def kind(self) -> str:
        """Which of a generator's files is learned from: "reasoning", "brief_caption" or "detailed_caption"."""
        return self.reasoning if self.reasoning.endswith("caption") else "reasoning"

    @property
    def label(self) -> str:
        """The settings in a line, no two runs' alike: data set, student, and what differs from the defaults."""
        plain = TrainConfig(dataset=self.dataset, student=self.student).resolve()
        values = {name: value for name, value in _values(self.resolve()).items() if value != getattr(plain, name)}
        how = "STL_QA" if values.get("reasoning") == "none" else "MTL" if "objective" not in values else "STL"
        if how == "STL_QA":
            values = {name: value for name, value in values.items() if name not in _OF_REASONING}
        values.pop("objective", None)
        shown = [
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
        ]
        return " ".join([self.dataset, self.student.rpartition("/")[2], how, *shown])

    def resolve(self) -> TrainConfig:
        """All values in place, checked, and settings that mean the same made the same: MTL with beta 0 or without
        reasoning is STL_QA, and what a run does not use does not distinguish it.

        Raises: ValueError: a value is of the wrong type or out of range; the message says which, what came and what is
            possible.
        """
        check_types(self)
        preset = PRESETS[self.scale]
        absent = {name: preset[name] for name in preset if getattr(self, name) is None}
        if self.lora_rank is not None and self.lora_alpha is None:
            absent["lora_alpha"] = 2 * self.lora_rank
        config = replace(self, **{name: _plain(value) for name, value in _values(replace(self, **absent)).items()})
        _check_ranges(config)
        if config.objective == "mtl" and (config.beta == 0 or config.reasoning == "none"):
            config = replace(config, objective="stl", reasoning="none")
        if config.objective == "stl":
            config = replace(config, beta=0.0)
        if config.objective == "mtl" or config.reasoning == "none":
            config = replace(config, target_order="reasoning_first")
        if config.reasoning != "refined":
            config = replace(config, refinement="paper")
        if config.reasoning == "none":
            config = replace(config, generator="", subset="all", fraction=1.0, control="none")
        if not config.lora:
            config = replace(config, **{name: preset[name] for name in ("lora_rank", "lora_alpha", "lora_dropout")})
        return config


def folder_of(dataset: str) -> str:
    """The folder under the data root that a data set's files lie in: of the small scale's, the official one's."""
    return dataset.removeprefix(f"{DRAWN}-")


def check_types(settings: Any) -> None:
    """Every field of a dataclass against its annotation; whole numbers count as floats, true and false never as
    numbers.

    Raises:
        ValueError: the first field that is of another type.
    """
    hints = get_type_hints(type(settings))
    for name, value in _values(settings).items():
        kinds = get_args(hints[name]) if isinstance(hints[name], UnionType) else (hints[name],)
        if value is None and (type(None) in kinds or name in PRESETS["paper"]):
            continue
        kind = next(kind for kind in kinds if kind is not type(None))
        if not _is_a(value, kind):
            wanted = {str: "text", bool: "True or False", int: "a whole number", float: "a number"}[kind]
            hint = ""
            if isinstance(value, str) and kind is bool:
                hint = f" (papermill: -p {name} True or -p {name} False, with a capital letter)"
            raise ValueError(f"{name}={shortened(value)}: {wanted} is wanted, not {_kind_of(value)}{hint}")


def _is_a(value: object, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, numbers.Real) and _is_finite(value)
    if kind is int:
        return isinstance(value, numbers.Integral) and abs(int(value)) < 2**63
    return isinstance(value, kind)


def _kind_of(value: object) -> str:
    return "text" if isinstance(value, str) else f"{type(value).__name__} {shortened(value)}"


def shortened(value: object) -> str:
    """A value for a message: what came may be as long as a file."""
    try:
        text = repr(value)
    except ValueError:  # Python prints no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 100 else f"{text[:80]}... ({len(text)} characters)"


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's."""
    return value.item() if hasattr(value, "item") else value


def _values(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in fields(settings)}


def _check_ranges(config: TrainConfig) -> None:
    for name, allowed in CHOICES.items():
        one_of(name, getattr(config, name), allowed)
    if not 0 <= config.beta < 1:
        raise ValueError(
            f"beta={config.beta}: the weight of the reasoning must be at least 0 and below 1 (alpha = 1 - beta)"
        )
    if not 0 < config.fraction <= 1:
        raise ValueError(f"fraction={config.fraction}: a share above 0 and at most 1")
    positive = ["epochs", "batch_size", "num_frames", "learning_rate", "lora_rank", "lora_alpha"]
    positive += ["max_source_tokens", "max_target_tokens", "max_new_tokens"]
    for name in positive + (["questions"] if config.questions is not None else []):
        if getattr(config, name) <= 0:
            raise ValueError(f"{name}={shortened(getattr(config, name))}: must be positive")
    for name in ("warmup", "lora_dropout"):
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"{name}={getattr(config, name)}: a share of at least 0 and below 1")
    for name in ("weight_decay", "max_grad_norm", "seed"):
        if getattr(config, name) < 0:
            raise ValueError(f"{name}={shortened(getattr(config, name))}: at least 0")


def one_of(parameter: str, value: Any, known: Iterable[str]) -> str:
    """`value`, if it is among `known`.

    Raises:
        ValueError: it is not; the message lists what is.
    """
    known = list(known)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{parameter}={shortened(value)}: choose one of {', '.join(known)}")
    return value


def check_seeds(seeds: int | str | Sequence[int]) -> list[int]:
    """Seeds as different whole numbers of at least 0. One number, and the text that papermill makes of a list ("[0,
    1]"), are understood.

    Raises:
        ValueError: anything else.
    """
    if isinstance(seeds, str):
        parts = seeds.strip().removeprefix("[").removesuffix("]").split(",")
        found = [int(part) if part.strip().isdecimal() else -1 for part in parts]
    else:
        found = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    whole = all(_is_a(seed, int) and seed >= 0 for seed in found)
    if not whole or not found or len(set(found)) != len(found):
        raise ValueError(f"seeds={seeds!r}: give a list of different whole numbers, for example [0, 1, 2]")
    return [int(seed) for seed in found]
