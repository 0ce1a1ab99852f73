"""What the student reads and what it is to write: one `Example` a question (paper, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.generation.controls import key_words, shuffled_words, swapped
from reasvqa.refinement import refine
from reasvqa.samples import LETTERS, Sample

ANSWER = "Answer:"  # what stands between reasoning and answer in a target of Eq. 1
_refined = lru_cache(maxsize=1 << 18)(refine)  # runs share most of their texts


@dataclass(frozen=True)
class Example:
    """A training question: `source` is read; `target` is written from the answer's start token, and `reasoning`, if
    there is one, from its own. `ending` is the end of `target` that stays when a long target is cut: the answer."""

    sample: Sample
    source: str
    target: str
    reasoning: str | None = None
    ending: str = ""


def source_text(sample: Sample, answer_format: str) -> str:
    """The text f(v, q) reads after the frames. Options stand in it only where a letter is to be answered."""
    if answer_format == "text":
        return sample.question
    return f"Question: {sample.question} Options: {sample.lettered} Answer with the letter of the correct option."


def answer_text(sample: Sample, answer_format: str, option: int | None = None) -> str:
    """The answer as the student writes it: an option's text, or its letter. Default: the right option."""
    index = sample.answer if option is None else option
    assert index is not None, f"sample {sample.id!r} is unlabelled"
    return sample.options[index] if answer_format == "text" else LETTERS[index]


def build_examples(samples: Samples, responses: pd.DataFrame | None, config: TrainConfig) -> list[Example]:
    """The training examples of Eq. 1 (STL) or Eq. 2 (MTL).

    STL: one target, the reasoning followed by the answer; questions without a usable reasoning are left out. With
    reasoning "none" it is the answer alone (STL_QA).
    MTL: every question supervises its answer; those with a usable reasoning supervise it as well. (The paper does not
    say whether MTL_CR drops the answers of the other questions; they are known, so we keep them.)

    Args:
        samples: labelled questions.
        responses: the generator's, of `reasvqa.generation.read_reasoning`; may be None with reasoning "none".
        config: resolved settings; objective, reasoning, refinement, control, subset, fraction, target_order,
            answer_format and seed (of the fraction that is drawn) count here.

    Raises:
        ValueError: a question is unlabelled, or has no line among the responses.
    """
    unlabelled = [sample.id for sample in samples if sample.answer is None]
    if unlabelled:
        raise ValueError(
            f"{len(unlabelled)} training questions have no answer, e.g. {unlabelled[0]!r}: this split is unlabelled"
        )
    texts = {} if config.reasoning == "none" else _usable(samples, responses, config)
    examples = []
    for sample in samples:
        source = source_text(sample, config.answer_format)
        answer, text = answer_text(sample, config.answer_format), texts.get(sample.id)
        if config.objective == "mtl":
            examples.append(Example(sample, source, answer, text, ending=answer))
        elif config.reasoning == "none":
            examples.append(Example(sample, source, answer, ending=answer))
        elif text is not None and config.target_order == "answer_first":
            examples.append(Example(sample, source, f"{ANSWER} {answer}\n{text}"))
        elif text is not None:
            ending = f"\n{ANSWER} {answer}"
            examples.append(Example(sample, source, text + ending, ending=ending))
    return examples


def _usable(samples: Samples, responses: pd.DataFrame | None, config: TrainConfig) -> dict[str, str]:
    """Reasoning by sample id: of the subset, a fraction of it, refined or changed as `config` says, never empty."""
    if responses is None:
        raise ValueError(f"reasoning={config.reasoning!r} needs a generator's responses")
    ids = set(responses["id"])
    absent = [sample.id for sample in samples if sample.id not in ids]
    if absent:
        raise ValueError(
            f"{len(absent)} of {len(samples)} training questions have no line in the reasoning file, "
            f"e.g. {absent[0]!r}. Let the generation run to its end."
        )
    if config.control == "other_videos":
        responses = swapped(responses, samples)
    columns = zip(responses["id"], responses["response"], responses["prediction"], responses["correct"], strict=True)
    rows = {id: (response, prediction, correct) for id, response, prediction, correct in columns}
    texts = {}
    for sample in samples:
        response, prediction, correct = rows[sample.id]
        correct = bool(correct) if not pd.isna(correct) else False
        if config.subset == "cr" and not correct:
            continue
        text = _text(sample, response, None if pd.isna(prediction) else int(prediction), correct, config)
        if text:
            texts[sample.id] = text
    keep = round(config.fraction * len(texts))
    if keep == len(texts):
        return texts
    chosen = np.random.default_rng(config.seed).permutation(list(texts))[:keep]
    return {id: texts[id] for id in chosen}


def _text(sample: Sample, response: str, prediction: int | None, correct: bool, config: TrainConfig) -> str:
    text = response.strip()
    if config.reasoning == "refined":
        if config.refinement == "strict" and prediction is not None:
            text = _refined(response, sample.answer_text, correct, chosen=sample.options[prediction])
        else:
            text = _refined(response, sample.answer_text, correct)
    if config.control == "shuffled_words":
        return shuffled_words(text, sample.id)
    return key_words(text) if config.control == "key_words" else text
