"""Build the texts that the student reads and has to write: one `Example` per question (paper, section 3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.files import file_state
from reasvqa.generation import read_reasoning
from reasvqa.refinement import RULES, refine
from reasvqa.samples import LETTERS, Sample

ANSWER = "Answer:"  # separates reasoning and answer in a target of Eq. 1


@dataclass(frozen=True)
class Example:
    """A training question.

    Attributes:
        source: the text that the student reads.
        target: the text that it writes from the answer's start token.
        reasoning: the text that it writes from the reasoning's start token; None: this question has none.
        ending: the end of `target`, the answer, which stays when a long target is cut.
    """

    sample: Sample
    source: str
    target: str
    reasoning: str | None = None
    ending: str = ""


def source_text(sample: Sample, answer_format: str) -> str:
    """Return the text that f(v, q) reads after the frames. It lists the options only if the answer is a letter."""
    if answer_format == "letter":
        return f"Question: {sample.question} Options: {sample.lettered} Answer with the letter of the correct option."
    return sample.question


def answer_text(sample: Sample, answer_format: str, option: int | None = None) -> str:
    """Return an option (default: the right one) as the student writes it: its text or its letter."""
    index = sample.answer if option is None else option
    assert index is not None, f"sample {sample.id!r} has no label"
    return LETTERS[index] if answer_format == "letter" else sample.options[index]


def responses_of(config: TrainConfig, root: Path, samples: Samples) -> pd.DataFrame | None:
    """Return the generator's responses to these questions of the data set in `root`; None if the run uses none.

    Raises:
        ReasoningError: the file is missing, damaged, or about other questions.
    """
    if not config.generator:
        return None
    path = paths.reasoning(root, config.generator, config.kind)
    return _responses(path, samples, config.kind, file_state(path))


@lru_cache(maxsize=64)
def _responses(path: Path, samples: Samples, kind: str, _state: object) -> pd.DataFrame:
    return read_reasoning(path, samples, kind)


def build_examples(samples: Samples, responses: pd.DataFrame | None, config: TrainConfig) -> list[Example]:
    """Build the training examples of Eq. 1 (STL) or Eq. 2 (MTL).

    STL: the single target is the reasoning followed by the answer; questions without a usable reasoning are left out.
    With reasoning "none" the target is the answer. MTL: every question teaches its answer, and its reasoning if usable.
    (The paper does not say whether MTL_CR drops the answers of the other questions.)

    Args:
        responses: the generator's, from `reasvqa.generation.read_reasoning`; None with reasoning "none".
        config: resolved settings; the seed counts only if a fraction is drawn.

    Raises:
        ValueError: a question has no label or no response, or no reasoning is left.
    """
    if unlabelled := [sample.id for sample in samples if sample.answer is None]:
        found = f"{len(unlabelled)} training questions have no answer, e.g. {unlabelled[0]!r}"
        raise ValueError(f"{found}; use a labelled split")
    texts = {} if config.reasoning == "none" else _usable(samples, responses, config)
    if config.reasoning != "none" and not texts:
        raise ValueError("no question has reasoning to learn from: raise questions or fraction, or use subset='all'")
    examples = []
    for sample in samples:
        source = source_text(sample, config.answer_format)
        answer, text = answer_text(sample, config.answer_format), texts.get(sample.id)
        if config.objective == "mtl" or config.reasoning == "none":
            examples.append(Example(sample, source, answer, text, ending=answer))
        elif text is not None and config.target_order == "answer_first":
            examples.append(Example(sample, source, f"{ANSWER} {answer}\n{text}"))
        elif text is not None:
            ending = f"\n{ANSWER} {answer}"
            examples.append(Example(sample, source, text + ending, ending=ending))
    return examples


def _usable(samples: Samples, responses: pd.DataFrame | None, config: TrainConfig) -> dict[str, str]:
    """Return the usable reasoning by sample id, selected and changed as `config` says; no text is empty."""
    if responses is None:
        raise ValueError(f"reasoning={config.reasoning!r} needs a generator's responses")
    ids = set(responses["id"])
    if absent := [sample.id for sample in samples if sample.id not in ids]:
        found = f"{len(absent)} of {len(samples)} training questions have no line in the reasoning file"
        raise ValueError(f"{found}, e.g. {absent[0]!r}. Finish generating the reasoning.")
    if config.control == "other_videos":
        responses = swapped(responses, samples)
    rows: dict[str, Any] = {str(row.id): row for row in responses.itertuples()}
    texts = {}
    for sample in samples:
        row = rows[sample.id]
        correct = not pd.isna(row.correct) and bool(row.correct)
        prediction = None if pd.isna(row.prediction) else int(row.prediction)
        if correct or config.subset != "cr":
            texts[sample.id] = _text(sample, row.response, prediction, correct, config)
    texts = {id: text for id, text in texts.items() if text}
    keep = round(config.fraction * len(texts))
    if keep == len(texts):
        return texts
    chosen = np.random.default_rng(config.seed).permutation(list(texts))[:keep]
    return {id: texts[id] for id in chosen}


@lru_cache(maxsize=1 << 18)  # most runs share their texts
def _refined(response: str, answer: str | None, correct: bool, chosen: str | None, _rules: object) -> str:
    return refine(response, answer, correct, chosen=chosen)


def _text(sample: Sample, response: str, prediction: int | None, correct: bool, config: TrainConfig) -> str:
    text = response.strip()
    if config.reasoning == "refined":
        chosen = None if config.refinement != "strict" or prediction is None else sample.options[prediction]
        text = _refined(response, sample.answer_text, correct, chosen, tuple(RULES.values()))
    return shuffled_words(text, sample.id) if config.control == "shuffled_words" else text


# --- controls: reasoning from which one property is removed (`TrainConfig.control`) -----------------------------------


def swapped(responses: pd.DataFrame, samples: Sequence[Sample]) -> pd.DataFrame:
    """Give each question the response to another question of its type and correctness. The result is deterministic.

    The other question is about another video, unless one video has more than half of these questions. Words, style,
    length and correctness stay; only the link to the video is lost. `responses`: a row for each of `samples`, see
    `read_reasoning`; empty responses, where the generator gave no answer, stay in their place.
    """
    table = responses.set_index("id").loc[[sample.id for sample in samples]].reset_index()
    keys = pd.DataFrame([(sample.type, sample.video) for sample in samples], columns=["type", "video"])
    keys["correct"] = table["correct"].fillna(False).to_numpy(dtype=bool)
    keys["answered"] = (table["response"] != "").to_numpy(dtype=bool)
    rng, source = np.random.default_rng(0), np.arange(len(samples))
    for _, group in keys.groupby(["type", "correct", "answered"]):
        # In a random order that keeps a video's questions together, roll by the largest number of questions about one
        # video, so that no question gets a response about its own video.
        videos, counts = np.unique(group["video"], return_inverse=True, return_counts=True)[1:]
        order = group.index.to_numpy()[np.lexsort([rng.random(len(group)), rng.permutation(len(counts))[videos]])]
        source[order] = np.roll(order, max(1, min(counts.max(), len(order) // 2)))
    return table.assign(response=table["response"].to_numpy()[source])


def shuffled_words(text: str, id: str) -> str:
    """Return the words of a text in a random order that depends only on the sample's id."""
    words = text.split()
    return " ".join(words[i] for i in np.random.default_rng(list(id.encode())).permutation(len(words)))
