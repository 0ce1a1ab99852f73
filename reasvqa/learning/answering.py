"""Get a trained student's answers: rank the options, compare letters, or parse the text that it writes."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from reasvqa.answers import parse_answer
from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.learning.features import Features
from reasvqa.learning.targets import ANSWER, answer_text, source_text
from reasvqa.losses import IGNORE, option_scores, shift_right
from reasvqa.samples import LETTERS, Sample
from reasvqa.students import Student

# Memory bounds of answering; neither changes an answer.
QUESTIONS_PER_BATCH = 64  # read at once
WRITTEN_PER_BATCH = 16  # reasonings after which options are ranked at once


def pad(rows: Sequence[Sequence[int]], value: int) -> tuple[Tensor, Tensor]:
    """Pad rows of token ids on the right with `value`; return ids and mask, both long (B, longest)."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
    return ids, (torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]).long()


def encode_questions(
    student: Student, samples: Sequence[Sample], features: Features, config: TrainConfig
) -> tuple[Tensor, Tensor]:
    """Encode questions with their clips; return the states (B, S, D) and mask (B, S) of `Student.encode`."""
    texts = [source_text(sample, config.answer_format) for sample in samples]
    ids, mask = pad(student.source_ids(texts, config.max_source_tokens), student.pad)
    device = student.device
    return student.encode(features.tensor(samples).to(device), ids.to(device), mask.to(device))


@torch.no_grad()
def score_options(student: Student, samples: Sequence[Sample], features: Features, config: TrainConfig) -> list[Tensor]:
    """Return the options' scores of each sample, float (options,); the largest is the student's answer.

    "text", "choice": the mean log-likelihood of the option's tokens. "letter": the logits of the options' letters after
    one decoder step. A student that learned to answer first is scored by likelihood, after the word "Answer:".
    """
    states, mask = encode_questions(student, samples, features, config)
    before = student.target_ids([ANSWER])[0][:-1] if config.target_order == "answer_first" else []  # without its end
    if before or config.answer_format != "letter":
        return _rank(student, states, mask, samples, [before] * len(samples), config)
    rows = torch.arange(len(samples), device=states.device)
    (logits,) = student.decode(states, mask, [(torch.full_like(rows, student.answer_start)[:, None], rows)])
    letters = [ids[0] for ids in student.target_ids(LETTERS)]
    return [logits[i, 0][letters[: len(sample.options)]].float().cpu() for i, sample in enumerate(samples)]


def _rank(
    student: Student, states: Tensor, mask: Tensor, asked: Sequence[Sample], prior: list[list[int]], config: TrainConfig
) -> list[Tensor]:
    """Return for each sample the mean log-likelihoods of its options' tokens, float (options,), from one decoder pass.
    prior: for each sample, the tokens that precede its options; [] where the answer comes first."""
    counts = [len(sample.options) for sample in asked]
    rows = [k for k, count in enumerate(counts) for _ in range(count)]
    texts = [answer_text(sample, config.answer_format, i) for sample in asked for i in range(len(sample.options))]
    options = student.target_ids([" " + text if prior[k] else text for k, text in zip(rows, texts, strict=True)])
    whole = [prior[k] + option for k, option in zip(rows, options, strict=True)]
    counted = [[IGNORE] * len(prior[k]) + option for k, option in zip(rows, options, strict=True)]
    inputs = shift_right(pad(whole, IGNORE)[0], student.answer_start, student.pad).to(states.device)
    labels = pad(counted, IGNORE)[0].to(states.device)
    (logits,) = student.decode(states, mask, [(inputs, torch.tensor(rows, device=states.device))])
    return list(option_scores(logits, labels).cpu().split(counts))


@torch.no_grad()
def predict(
    student: Student, samples: Sequence[Sample], features: Features, config: TrainConfig
) -> tuple[list[int | None], list[str | None]]:
    """Return the student's answers as option indices, and the texts it wrote (None where it writes none).

    Students of Eq. 1 with reasoning write it first. If answers are letters, the answer is parsed from this text, and is
    None where the text names no option. Otherwise the input lacks the options, so they are ranked after the written
    reasoning. All other students score the options, see `score_options`.
    """
    student.eval()
    writes = config.objective == "stl" and config.reasoning != "none" and config.target_order == "reasoning_first"
    predictions: list[int | None] = []
    texts: list[str | None] = []
    for at in tqdm(range(0, len(samples), QUESTIONS_PER_BATCH), desc="answering", unit="batch", leave=False):
        batch = [samples[i] for i in range(at, min(at + QUESTIONS_PER_BATCH, len(samples)))]
        if not writes:
            predictions += [int(scores.argmax()) for scores in score_options(student, batch, features, config)]
            texts += [None] * len(batch)
            continue
        states, mask = encode_questions(student, batch, features, config)
        wrote = student.generate(states, mask, student.answer_start, config.max_new_tokens)
        texts += wrote
        if config.answer_format == "letter":
            predictions += [parse_answer(text, sample.options) for text, sample in zip(wrote, batch, strict=True)]
        else:
            reasoned = [f"{text.rsplit(ANSWER, 1)[0].rstrip()}\n{ANSWER}" for text in wrote]
            before = [ids[:-1] for ids in student.target_ids(reasoned)]  # without the end-of-text token
            chosen: dict[int, int] = {}
            for rows in group_by_length(before):
                asked, written = [batch[i] for i in rows], [before[i] for i in rows]
                scores = _rank(student, states[rows], mask[rows], asked, written, config)
                chosen |= {i: int(of.argmax()) for i, of in zip(rows, scores, strict=True)}
            predictions += [chosen[i] for i in range(len(batch))]
    return predictions, texts


def group_by_length(texts: Sequence[list[int]]) -> list[list[int]]:
    """Group indices of texts, at most `WRITTEN_PER_BATCH` each, so that no text is over 1.5 times its group's shortest.

    Some students write until the token limit, and one such text would pad all others of its batch.
    """
    groups: list[list[int]] = []
    for i in sorted(range(len(texts)), key=lambda i: len(texts[i])):
        if not groups or len(groups[-1]) == WRITTEN_PER_BATCH or len(texts[i]) > 1.5 * len(texts[groups[-1][0]]):
            groups.append([])
        groups[-1].append(i)
    return groups


def answer_table(student: Student, samples: Samples, features: Features, config: TrainConfig) -> pd.DataFrame:
    """Return the student's answers, a row per question: id, prediction (Int64, NA: none), answer, type, group, text."""
    predictions, texts = predict(student, samples, features, config)
    table = pd.DataFrame(samples.to_pandas(), columns=["id", "answer", "type", "group"])
    table.insert(1, "prediction", pd.Series(predictions, dtype="Int64"))
    table["text"] = texts
    return table


@torch.no_grad()
def generate_reasoning(
    student: Student, samples: Sequence[Sample], features: Features, config: TrainConfig
) -> list[str]:
    """Return the reasoning that an MTL student writes for each sample, decoded greedily."""
    student.eval()
    states, mask = encode_questions(student, samples, features, config)
    return student.generate(states, mask, student.reasoning_start, config.max_new_tokens)
