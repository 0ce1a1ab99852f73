"""Define the settings of a run: their defaults, types and ranges, and which settings mean the same.

A setting left at None takes its value from the preset that the data set names (`reasvqa.registry`).
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, get_type_hints

from pydantic import Field, FiniteFloat, TypeAdapter

from reasvqa.registry import DATASETS, PRESETS
from reasvqa.validation import among, list_of, one_of, validated

# Appendix A.2 of the paper. What it leaves open is as in the code of SeViLA, on which the paper's baseline builds.
_PAPER: dict[str, Any] = {"student": "blip2-flan-t5-xl", "generator": "internvl-26b", "questions": None, "split": "val"}
_PAPER |= {"epochs": 10, "batch_size": 8, "learning_rate": 3e-5, "schedule": "cosine", "warmup": 0.05}
_PAPER |= {"weight_decay": 0.01, "max_grad_norm": 1.0, "lora_rank": 8, "lora_alpha": 16, "lora_dropout": 0.0}
_PAPER |= {"max_source_tokens": 512, "max_target_tokens": 256, "max_new_tokens": 256}
_PAPER |= {"answer_format": "letter", "precision": "bf16"}
PRESETS["paper"] = _PAPER
# A published model that fits a laptop or one small GPU, trained on a part of the official data.
PRESETS["small"] = _PAPER | {"student": "smolvlm2-256m", "generator": "InternVL3-2B-hf", "questions": 2000}
FROM_PRESET: Any = None  # the default of a setting that presets have

CHOICES: dict[str, tuple[str, ...]] = {
    "objective": ("stl", "mtl"),
    "reasoning": ("refined", "original", "none", "brief_caption", "detailed_caption"),
    "refinement": ("paper", "strict"),
    "subset": ("all", "cr"),
    "control": ("none", "other_videos", "shuffled_words"),
    "target_order": ("reasoning_first", "answer_first"),
    "answer_format": ("choice", "text", "letter"),
    "schedule": ("cosine", "linear", "constant_with_warmup"),
    "precision": ("fp32", "bf16"),
}
_OF_REASONING = ("reasoning", "refinement", "subset", "fraction", "control", "target_order", "beta", "generator")

Count = Annotated[int, Field(gt=0, lt=2**63)]
Index = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
BelowOne = Annotated[FiniteFloat, Field(ge=0, lt=1)]
Share = Annotated[FiniteFloat, Field(gt=0, le=1)]


@dataclass(frozen=True)
class TrainConfig:
    """All settings that determine a run.

    Attributes:
        dataset: a name for `reasvqa.datasets.load`.
        student: a name, folder or hub id for `reasvqa.students.load_student`.
        objective: "stl" (Eq. 1) or "mtl" (Eq. 2).
        reasoning: what the student learns besides the answer: "refined" or "original" reasoning, "brief_caption",
            "detailed_caption", or "none".
        refinement: "paper" (appendix A.4), or "strict": also remove sentences that restate the chosen option.
        subset: "all" reasoning, or "cr": only that of correct responses.
        fraction: share of the usable reasoning that is used, 0 < fraction <= 1.
        control: "none", or what replaces the reasoning, to test what it contributes: the reasoning of "other_videos",
            or its own "shuffled_words".
        target_order: order of Eq. 1's single target: "reasoning_first" (the paper) or "answer_first".
        beta: weight of the reasoning's loss in Eq. 2, 0 <= beta < 1; alpha = 1 - beta. 0 is STL_QA.
        seed: of everything random in a run.
        blind: show the student no frames, to measure what the questions alone give away.
        num_frames: N, frames per clip.
        questions: number of training questions, counted from the first (more than there are: all); None: the preset's.
        generator: whose responses the student learns from, those in <dataset>/reasoning/<generator>.jsonl.
        answer_format: "letter", as in the paper; "choice": choose among the options' texts by their likelihood; the
            loss is the cross-entropy of this choice; "text": learn to write the right text, choose in the same way.
        split: the split that the trained student is evaluated on.
        epochs, batch_size: passes over the training questions; questions per step.
        learning_rate, weight_decay: of AdamW.
        schedule: of the learning rate, by its name in transformers.
        warmup: share of the steps in which the learning rate rises, 0 <= warmup < 1.
        max_grad_norm: clip gradients to this norm; 0: do not.
        lora: train LoRA weights of the language model besides the projection.
        lora_rank, lora_alpha, lora_dropout: the rank r; the numerator of the factor lora_alpha / r (default 2 r if you
            give only r); the dropout on LoRA's input.
        max_source_tokens: limit of question and options, in training and answering.
        max_target_tokens: limit of a target. A longer one loses reasoning, never the answer; `Run.metrics` counts cuts.
        max_new_tokens: limit of the texts that a student writes.
        precision: "fp32", or "bf16": frozen weights and features in bfloat16, autocast for the rest, trained weights in
            float32.
        gradient_checkpointing: recompute the language model's activations: less memory, more time.
        skip_missing: leave out questions whose videos cannot be read, instead of stopping.
    """

    dataset: str = "mini-star"
    student: str = FROM_PRESET
    objective: str = "mtl"
    reasoning: str = "refined"
    refinement: str = "paper"
    subset: str = "all"
    fraction: Share = 1.0
    control: str = "none"
    target_order: str = "reasoning_first"
    beta: BelowOne = 0.5
    seed: Index = 0
    blind: bool = False
    num_frames: Count = 4
    questions: Count | None = FROM_PRESET
    generator: str = FROM_PRESET
    answer_format: str = FROM_PRESET
    split: str = FROM_PRESET
    epochs: Count = FROM_PRESET
    batch_size: Count = FROM_PRESET
    learning_rate: Positive = FROM_PRESET
    schedule: str = FROM_PRESET
    warmup: BelowOne = FROM_PRESET
    weight_decay: NotNegative = FROM_PRESET
    max_grad_norm: NotNegative = FROM_PRESET
    lora: bool = True
    lora_rank: Count = FROM_PRESET
    lora_alpha: Annotated[FiniteFloat | int, Field(gt=0)] = FROM_PRESET  # keys of kept runs have 32, not 32.0
    lora_dropout: BelowOne = FROM_PRESET
    max_source_tokens: Count = FROM_PRESET
    max_target_tokens: Count = FROM_PRESET
    max_new_tokens: Count = FROM_PRESET
    precision: str = FROM_PRESET
    gradient_checkpointing: bool = False
    skip_missing: bool = False

    @property
    def preset(self) -> str:
        """Return the name of the data set's preset, which fills settings left at None. ValueError: no such data set."""
        return DATASETS[one_of("dataset", self.dataset, DATASETS)].preset

    @property
    def kind(self) -> str:
        """Return which of a generator's files the run uses: "reasoning", "brief_caption" or "detailed_caption"."""
        return self.reasoning if self.reasoning.endswith("caption") else "reasoning"

    @property
    def label(self) -> str:
        """Return a line that no other run has: data set, student, and every setting that differs from its default."""
        config = self.resolve()
        default = TrainConfig(dataset=config.dataset, student=config.student).resolve()
        values = {name: value for name, value in vars(config).items() if value != getattr(default, name)}
        how = "STL_QA" if values.get("reasoning") == "none" else "MTL" if "objective" not in values else "STL"
        if how == "STL_QA":
            values = {name: value for name, value in values.items() if name not in _OF_REASONING}
        values.pop("objective", None)
        shown = [f"{name}={f'{value:g}' if isinstance(value, float) else value}" for name, value in values.items()]
        return " ".join([config.dataset, config.student.rpartition("/")[2], how, *shown])

    def resolve(self) -> "TrainConfig":
        """Return checked and complete settings, equal for runs that mean the same: MTL with beta 0 or without reasoning
        is STL_QA, and a setting that a run does not use gets its default. Raise ValueError for a value of the wrong
        type or out of range; the message names the setting and the remedy."""
        preset = PRESETS[self.preset]
        values = {name: preset.get(name) if value is None else value for name, value in vars(self).items()}
        config = TrainConfig(**{name: validated(name, kind, values[name]) for name, kind in _KINDS.items()})
        if self.lora_rank is not None and self.lora_alpha is None:
            config = replace(config, lora_alpha=2 * config.lora_rank)
        if config.reasoning == "none" or (config.objective == "mtl" and config.beta == 0):
            config = replace(config, objective="stl", reasoning="none", target_order="reasoning_first")
            config = replace(config, generator="", subset="all", fraction=1.0, control="none")
        other = {"beta": 0.0} if config.objective == "stl" else {"target_order": "reasoning_first"}
        config = replace(config, **other)
        if config.reasoning != "refined":
            config = replace(config, refinement="paper")
        if not config.lora:
            config = replace(config, **{name: preset[name] for name in ("lora_rank", "lora_alpha", "lora_dropout")})
        return config


_HINTS = get_type_hints(TrainConfig, include_extras=True)
_KINDS = {name: TypeAdapter(among(CHOICES[name]) if name in CHOICES else hint) for name, hint in _HINTS.items()}


def check_seeds(seeds: Any) -> list[int]:
    """Return seeds as a list of different integers from 0 on; raise ValueError otherwise, see `validation.list_of`."""
    return validated("seeds", TypeAdapter(list_of(Index)), seeds)
