"""What the student reads and what it is to write: one `Example` a question (paper, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reasvqa.datasets import Samples
from reasvqa.refinement import refine
from reasvqa.samples import LETTERS, Sample

OBJECTIVES = ("stl", "mtl")
REASONINGS = ("refined", "original", "none", "brief_caption", "detailed_caption")
SUBSETS = ("all", "cr")
ANSWER_FORMATS = ("text", "letter")
ANSWER = "Answer:"  # what stands between reasoning and answer in a target of Eq. 1


@dataclass(frozen=True)
class Example:
    """A training question: `source` is read; `target` is written from the answer's start token, and `reasoning`, if there is
    one, from its own."""

    sample: Sample
    source: str
    target: str
    reasoning: str | None = None


def source_text(sample: Sample, answer_format: str) -> str:
    """The text f(v, q) reads after the frames. Options stand in it only where a letter is to be answered."""
    if answer_format == "text":
        return sample.question
    return f"Question: {sample.question} Options: {sample.lettered} Answer with the letter of the correct option."


def answer_text(sample: Sample, answer_format: str, option: int | None = None) -> str:
    """The answer as the student writes it: an option's text, or its letter. Default: the right option."""
    index = sample.answer if option is None else option
    return sample.options[index] if answer_format == "text" else LETTERS[index]


def build_examples(
    samples: Samples,
    reasoning: pd.DataFrame | None,
    *,
    objective: str,
    kind: str,
    subset: str = "all",
    fraction: float = 1.0,
    answer_format: str = "text",
    seed: int = 0,
) -> list[Example]:
    """The training examples of Eq. 1 (STL) or Eq. 2 (MTL).

    STL: one target, the reasoning followed by the answer; questions without a usable reasoning are left out. With
    kind "none" it is the answer alone (STL_QA).
    MTL: every question supervises its answer; those with a usable reasoning supervise it as well. (The paper does not say
    whether MTL_CR drops the answers of the other questions; they are known, so we keep them.)

    Args:
        samples: labelled questions.
        reasoning: a table of `reasvqa.generation.read_reasoning`; may be None with kind "none".
        objective: "stl" or "mtl".
        kind: "refined" or "original" reasoning, "brief_caption", "detailed_caption", or "none".
        subset: "all", or "cr": only reasoning whose answer was right.
        fraction: share of the usable reasoning that is used, drawn by `seed`.
        answer_format: see `answer_text`.

    Raises:
        ValueError: a question is unlabelled, or has no line in the reasoning table.
    """
    unlabelled = [sample.id for sample in samples if sample.answer is None]
    if unlabelled:
        raise ValueError(
            f"{len(unlabelled)} training questions have no answer, e.g. {unlabelled[0]!r}: this split is unlabelled"
        )
    texts = _usable(samples, reasoning, kind, subset, fraction, seed) if kind != "none" else {}
    examples = []
    for sample in samples:
        source, answer, text = (
            source_text(sample, answer_format),
            answer_text(sample, answer_format),
            texts.get(sample.id),
        )
        if objective == "mtl":
            examples.append(Example(sample, source, answer, text))
        elif kind == "none":
            examples.append(Example(sample, source, answer))
        elif text is not None:
            examples.append(Example(sample, source, f"{text}\n{ANSWER} {answer}"))
    return examples


def _usable(
    samples: Samples, reasoning: pd.DataFrame | None, kind: str, subset: str, fraction: float, seed: int
) -> dict[str, str]:
    """Reasoning texts by sample id: refined if wanted, of the subset, a fraction of it, never empty."""
    if reasoning is None:
        raise ValueError(f"{kind} reasoning needs a reasoning table")
    table = reasoning.set_index("id")
    absent = [sample.id for sample in samples if sample.id not in table.index]
    if absent:
        raise ValueError(
            f"{len(absent)} of {len(samples)} training questions have no line in the reasoning file, e.g. {absent[0]!r}. Let the generation run to its end."
        )
    texts = {}
    for sample in samples:
        row = table.loc[sample.id]
        correct = bool(row["correct"]) if pd.notna(row["correct"]) else False
        if subset == "cr" and not correct:
            continue
        text = refine(row["response"], sample.answer_text, correct) if kind == "refined" else row["response"].strip()
        if text:
            texts[sample.id] = text
    keep = round(fraction * len(texts))
    if keep == len(texts):
        return texts
    chosen = np.random.default_rng(seed).permutation(list(texts))[:keep]
    return {id: texts[id] for id in chosen}
