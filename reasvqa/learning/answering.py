"""How a trained student answers: by ranking the options, by comparing letters, or by writing and parsing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from reasvqa.answers import parse_answer
from reasvqa.config import TrainConfig
from reasvqa.learning.features import Features
from reasvqa.learning.targets import ANSWER, answer_text, source_text
from reasvqa.losses import IGNORE, shift_right
from reasvqa.samples import LETTERS, Sample
from reasvqa.students import Student

RANKED = 16  # texts whose options are ranked at once


def pad(rows: Sequence[Sequence[int]], value: int) -> tuple[Tensor, Tensor]:
    """Token ids, long (B, longest), padded on the right with `value`, and their mask, long (B, longest)."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
    return ids, (torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]).long()


def read(
    student: Student, samples: Sequence[Sample], features: Features | None, config: TrainConfig
) -> tuple[Tensor, Tensor]:
    """What `Student.encode` makes of questions and their clips, (B, S, D) and (B, S); without `features` the student is
    blind."""
    texts = [source_text(sample, config.answer_format) for sample in samples]
    ids, mask = pad(student.source_ids(texts, config.max_source_tokens), student.pad)
    device = student.device
    visual = torch.zeros(len(samples), 0, *student.feature_shape) if features is None else features.tensor(samples)
    return student.encode(visual.to(device), ids.to(device), mask.to(device))


@torch.no_grad()
def score_options(
    student: Student, samples: Sequence[Sample], features: Features | None, config: TrainConfig
) -> list[Tensor]:
    """A score for each option of each sample; the largest is the student's answer.

    "text": mean log-likelihood of the option's tokens, all options of the batch decoded at once.
    "letter": logits of the options' letters after one decoder step.
    Students that learned to answer first and to explain afterwards: the same likelihood after the word "Answer:".
    """
    states, mask = read(student, samples, features, config)
    if config.target_order == "answer_first":
        before = student.target_ids([ANSWER])[0][:-1]  # without the end of text
        return _rank(student, states, mask, samples, [before] * len(samples), config.answer_format)
    if config.answer_format == "text":
        return _rank(student, states, mask, samples, [[]] * len(samples), "text")
    rows = torch.arange(len(samples), device=states.device)
    (logits,) = student.decode(states, mask, [(torch.full_like(rows, student.answer_start)[:, None], rows)])
    letters = [ids[0] for ids in student.target_ids(LETTERS)]
    return [logits[i, 0][letters[: len(sample.options)]].float().cpu() for i, sample in enumerate(samples)]


def _rank(
    student: Student,
    states: Tensor,
    mask: Tensor,
    samples: Sequence[Sample],
    before: Sequence[list[int]],
    answer_format: str,
) -> list[Tensor]:
    """Mean log-likelihood of each option's tokens, all options of the batch decoded at once, each after the tokens
    `before` that the sample's student has written already (none: the answer comes first)."""
    counts = [len(sample.options) for sample in samples]
    texts = [
        (" " if before[k] else "") + answer_text(sample, answer_format, i)
        for k, sample in enumerate(samples)
        for i in range(len(sample.options))
    ]
    prefixes = [tokens for tokens, count in zip(before, counts, strict=True) for _ in range(count)]
    options = student.target_ids(texts)
    whole = [prefix + option for prefix, option in zip(prefixes, options, strict=True)]
    counted = [[IGNORE] * len(prefix) + option for prefix, option in zip(prefixes, options, strict=True)]
    inputs = shift_right(pad(whole, IGNORE)[0], student.answer_start, student.pad).to(states.device)
    labels = pad(counted, IGNORE)[0].to(states.device)
    rows = torch.arange(len(samples)).repeat_interleave(torch.tensor(counts)).to(states.device)
    (logits,) = student.decode(states, mask, [(inputs, rows)])
    loss = F.cross_entropy(logits.float().transpose(1, 2), labels, ignore_index=IGNORE, reduction="none")
    scores = -loss.sum(1) / (labels != IGNORE).sum(1)
    return list(scores.cpu().split(counts))


@torch.no_grad()
def predict(
    student: Student, samples: Sequence[Sample], features: Features | None, config: TrainConfig, batch_size: int = 64
) -> tuple[list[int | None], list[str | None]]:
    """The student's answers, as option indices, and what it wrote, if it wrote.

    Students of Eq. 1 with reasoning write first, and answer after it. With letters the answer is parsed from that text,
    and is None where it names no option. With texts, where the options stand nowhere in the input and an answer in free
    words need not be one of them, the options are ranked after the written reasoning. All others score the options, see
    `score_options`.
    """
    student.eval()
    writes = config.objective == "stl" and config.reasoning != "none" and config.target_order == "reasoning_first"
    predictions: list[int | None] = []
    texts: list[str | None] = []
    for at in tqdm(range(0, len(samples), batch_size), desc="answering", unit="batch", leave=False):
        batch = [samples[i] for i in range(at, min(at + batch_size, len(samples)))]
        if not writes:
            predictions += [int(scores.argmax()) for scores in score_options(student, batch, features, config)]
            texts += [None] * len(batch)
            continue
        states, mask = read(student, batch, features, config)
        wrote = student.generate(states, mask, student.answer_start, config.max_new_tokens)
        texts += wrote
        if config.answer_format == "letter":
            predictions += [parse_answer(text, sample.options) for text, sample in zip(wrote, batch, strict=True)]
        else:
            reasoned = [f"{text.rsplit(ANSWER, 1)[0].rstrip()}\n{ANSWER}" for text in wrote]
            before = [ids[:-1] for ids in student.target_ids(reasoned)]  # without the end of text
            chosen: dict[int, int] = {}
            for rows in of_like_length(before):
                asked, written = [batch[i] for i in rows], [before[i] for i in rows]
                scores = _rank(student, states[rows], mask[rows], asked, written, "text")
                chosen |= {i: int(of.argmax()) for i, of in zip(rows, scores, strict=True)}
            predictions += [chosen[i] for i in range(len(batch))]
    return predictions, texts


def of_like_length(texts: Sequence[list[int]]) -> list[list[int]]:
    """The texts' places in groups of at most `RANKED`, none more than half as long again as the shortest of its group:
    one text without end, of which there are always some, would pad all others."""
    groups: list[list[int]] = []
    for i in sorted(range(len(texts)), key=lambda i: len(texts[i])):
        if not groups or len(groups[-1]) == RANKED or len(texts[i]) > 1.5 * len(texts[groups[-1][0]]):
            groups.append([])
        groups[-1].append(i)
    return groups


@torch.no_grad()
def generate_reasoning(
    student: Student, samples: Sequence[Sample], features: Features | None, config: TrainConfig
) -> list[str]:
    """The reasoning an MTL student writes for each sample, greedily."""
    student.eval()
    states, mask = read(student, samples, features, config)
    return student.generate(states, mask, student.reasoning_start, config.max_new_tokens)
