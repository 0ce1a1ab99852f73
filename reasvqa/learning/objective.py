"""Compute a batch's losses from one pass over video and question.

Answer and reasoning are decoded from one reading, each from its own start token and without seeing the other. Each CE
is a mean over its own target tokens, of all processes that share the batch, so beta keeps its meaning whatever the
texts' lengths and however many samples have a reasoning.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasvqa.losses import IGNORE, choice, cross_entropy, multi_task, option_scores, shift_right
from reasvqa.students import Student


class Objective(nn.Module):
    """Add the loss to a student, as `transformers.Trainer` expects it: forward returns a dict with "loss"."""

    def __init__(self, student: Student, beta: float):
        super().__init__()
        self.student = student
        self.beta = beta

    def forward(
        self,
        features: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        reasoning_labels: Tensor | None = None,
        reasoning_rows: Tensor | None = None,
        option_rows: Tensor | None = None,
        answers: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the losses of a batch: "loss", "answer_loss" and, when beta > 0 and there is reasoning,
        "reasoning_loss": scalars.

        Args:
            features, input_ids, attention_mask: see `Student.encode`.
            labels: long (B, T) answer tokens, padded with -100 (in STL: reasoning and answer); or, with `answers`, long
                (O, T) the tokens of all options of the batch.
            reasoning_labels, reasoning_rows: long (R, T') reasoning tokens, padded with -100, of R samples of the
                batch, and these samples' indices, long (R,).
            option_rows: long (O,) the sample that each option belongs to, ascending.
            answers: long (B,) the index of each sample's right option: the answer is learned as a choice.
        """
        states, mask = self.student.encode(features, input_ids, attention_mask)
        rows = torch.arange(len(labels), device=labels.device) if option_rows is None else option_rows
        targets = [(labels, self.student.answer_start, rows)]
        if self.beta > 0 and reasoning_labels is not None and reasoning_rows is not None:
            targets.append((reasoning_labels, self.student.reasoning_start, reasoning_rows))
        losses = target_losses(self.student, states, mask, targets, answers)
        if torch.distributed.is_initialized():
            counts = [(of != IGNORE).sum() for of, _, _ in targets]
            if answers is not None:
                counts[0].fill_(len(answers))
            losses = _weight_by_counts(losses, counts)
        answer_loss, reasoning_loss = losses if len(losses) == 2 else (losses[0], None)
        result = {"loss": multi_task(answer_loss, reasoning_loss, self.beta), "answer_loss": answer_loss.detach()}
        return result if reasoning_loss is None else result | {"reasoning_loss": reasoning_loss.detach()}


def _weight_by_counts(losses: list[Tensor], counted: list[Tensor]) -> list[Tensor]:
    """Weight this process's means over `counted` tokens (or choices) so that the mean over processes is over all:
    they average their gradients, so one with more target tokens must count for more."""
    own = F.pad(torch.stack(counted).float(), (0, 2 - len(counted)))  # 0 where this process has no reasoning
    counts = own.clone()
    torch.distributed.all_reduce(counts)
    weights = own * torch.distributed.get_world_size() / counts.clamp(min=1)
    weighted = [loss * weight for loss, weight in zip(losses, weights, strict=False)]
    if len(weighted) == 1 and counts[1] > 0:  # another process has the reasoning of this batch
        weighted.append(torch.zeros_like(weighted[0]))
    return weighted


def target_losses(
    student: Student,
    states: Tensor,
    mask: Tensor,
    targets: Sequence[tuple[Tensor, int, Tensor]],
    answers: Tensor | None = None,
) -> list[Tensor]:
    """Return the mean cross-entropy over each target's tokens, a float32 scalar a task, all decoded after one reading.

    Args:
        targets: for each task the labels, long (M, T) padded with -100, the start token, and the batch rows, long (M,).
        answers: long (B,), the index of the option to be chosen, where the first task's targets are options.
    """
    inputs = [(shift_right(labels, start, student.pad), rows) for labels, start, rows in targets]
    logits = student.decode(states, mask, inputs)
    losses = [cross_entropy(z, labels) for z, (labels, _, _) in zip(logits, targets, strict=True)]
    if answers is not None:
        labels, _, rows = targets[0]
        losses[0] = choice(option_scores(logits[0], labels), rows, answers)
    return losses
