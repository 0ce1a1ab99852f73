"""How a trained student answers: by ranking the options, by comparing letters, or by writing and parsing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from reasvqa.answers import parse_answer
from reasvqa.learning.features import Features, stack
from reasvqa.learning.objective import IGNORE, shift_right
from reasvqa.learning.students import Student
from reasvqa.learning.targets import answer_text, source_text
from reasvqa.samples import LETTERS, Sample


def tokenize(student: Student, texts: Sequence[str], max_length: int = 512) -> tuple[Tensor, Tensor]:
    """input_ids and attention_mask, long (B, L), padded on the right to the longest text."""
    batch = student.tokenizer(list(texts), padding=True, truncation=True, max_length=max_length, padding_side="right", return_tensors="pt")
    return batch.input_ids, batch.attention_mask


def read(student: Student, samples: Sequence[Sample], features: Features | None, answer_format: str) -> tuple[Tensor, Tensor]:
    """The encoder's states (B, S, D) and mask (B, S) for questions and their clips; without `features` the student is blind."""
    ids, mask = tokenize(student, [source_text(sample, answer_format) for sample in samples])
    device = student.model.device
    if features is None:
        visual = torch.zeros(len(samples), 0, 1, student.model.config.qformer_config.hidden_size)
    else:
        visual = torch.from_numpy(stack(features, samples))
    return student.encode(visual.to(device), ids.to(device), mask.to(device))


@torch.no_grad()
def score_options(student: Student, samples: Sequence[Sample], features: Features | None, answer_format: str) -> list[Tensor]:
    """A score for each option of each sample; the largest is the student's answer.

    "text": mean log-likelihood of the option's tokens, all options of the batch in one decoder pass.
    "letter": logits of the options' letters after one decoder step.
    """
    states, mask = read(student, samples, features, answer_format)
    counts = [len(sample.options) for sample in samples]
    if answer_format == "letter":
        start = torch.full((len(samples), 1), student.answer_start, device=states.device)
        logits = student.decode(states, mask, start)[:, 0].float()
        letters = [_letter_token(student, letter) for letter in LETTERS]
        return [row[letters[:count]].cpu() for row, count in zip(logits, counts, strict=True)]
    texts = [answer_text(sample, answer_format, i) for sample in samples for i in range(len(sample.options))]
    ids, attention = tokenize(student, texts)
    labels = ids.masked_fill(attention == 0, IGNORE).to(states.device)
    repeats = torch.tensor(counts, device=states.device)
    logits = student.decode(
        states.repeat_interleave(repeats, 0), mask.repeat_interleave(repeats, 0), shift_right(labels, student.answer_start, student.tokenizer.pad_token_id)
    )
    loss = F.cross_entropy(logits.float().transpose(1, 2), labels, ignore_index=IGNORE, reduction="none")
    scores = -loss.sum(1) / (labels != IGNORE).sum(1)
    return list(scores.cpu().split(counts))


def _letter_token(student: Student, letter: str) -> int:
    """The first token of a letter's target: what the first decoder step predicts."""
    return student.tokenizer(letter).input_ids[0]


def predict(
    student: Student, samples: Sequence[Sample], features: Features | None, answer_format: str, written: bool = False, batch_size: int = 64
) -> tuple[list[int | None], list[str | None]]:
    """The student's answers, as option indices, and what it wrote, if it wrote.

    Args:
        written: True for students of Eq. 1 with reasoning: the answer is parsed from the text they generate, and is None
            where it names no option. False: options are scored, see `score_options`.
    """
    student.eval()
    predictions: list[int | None] = []
    texts: list[str | None] = []
    for at in tqdm(range(0, len(samples), batch_size), desc="answering", unit="batch", leave=False):
        batch = [samples[i] for i in range(at, min(at + batch_size, len(samples)))]
        if written:
            with torch.no_grad():
                states, mask = read(student, batch, features, answer_format)
            wrote = student.write(states, mask, student.answer_start)
            texts += wrote
            predictions += [parse_answer(text, sample.options) for text, sample in zip(wrote, batch, strict=True)]
        else:
            predictions += [int(scores.argmax()) for scores in score_options(student, batch, features, answer_format)]
            texts += [None] * len(batch)
    return predictions, texts


@torch.no_grad()
def write_reasoning(student: Student, samples: Sequence[Sample], features: Features | None, answer_format: str) -> list[str]:
    """The reasoning an MTL student writes for each sample, greedily."""
    student.eval()
    states, mask = read(student, samples, features, answer_format)
    return student.write(states, mask, student.reasoning_start)
