"""Compute a batch's losses from one pass over video and question (paper, section 3.3, Eqs. 1 and 2).

Answer and reasoning are decoded from one reading, each from its own start token and without seeing the other. Each CE
is a mean over its own target tokens in all processes that share the batch. So beta means the same, whatever the length
of the texts and the number of samples with reasoning.
"""

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
        """Return the losses of a batch, float32 scalars: "loss", "answer_loss" and, if beta > 0 and there is reasoning,
        "reasoning_loss".

        Args:
            features, input_ids, attention_mask: see `Student.encode`.
            labels: answer tokens (in STL: reasoning and answer), long (B, T), padded with -100; with `answers`, the
                tokens of all options of the batch, long (O, T).
            reasoning_labels, reasoning_rows: reasoning tokens of R samples of the batch, long (R, T'), padded with
                -100, and the indices of these samples, long (R,).
            option_rows: the sample that each option belongs to, long (O,), ascending.
            answers: the index of each sample's right option, long (B,), if the answer is learned as a choice.
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
    """Weight this process's losses so that their mean over processes is the mean over all `counted` tokens or choices.
    Processes average their gradients, so a process with more target tokens must count for more."""
    own = F.pad(torch.stack(counted).float(), (0, 2 - len(counted)))  # 0 where this process has no reasoning
    counts = own.clone()
    torch.distributed.all_reduce(counts)
    weights = own * torch.distributed.get_world_size() / counts.clamp(min=1)
    weighted = [loss * weight for loss, weight in zip(losses, weights, strict=False)]
    if len(weighted) == 1 and counts[1] > 0:  # only other processes have reasoning in this batch
        weighted.append(torch.zeros_like(weighted[0]))
    return weighted


def target_losses(
    student: Student,
    states: Tensor,
    mask: Tensor,
    targets: Sequence[tuple[Tensor, int, Tensor]],
    answers: Tensor | None = None,
) -> list[Tensor]:
    """Return for each task the mean cross-entropy over its target tokens, a float32 scalar. One reading serves all.

    Args:
        targets: for each task the labels, long (M, T) padded with -100, the start token, and the batch rows, long (M,).
        answers: long (B,), the index of the option to be chosen, if the first task's targets are options.
    """
    inputs = [(shift_right(labels, start, student.pad), rows) for labels, start, rows in targets]
    logits = student.decode(states, mask, inputs)
    losses = [cross_entropy(z, labels) for z, (labels, _, _) in zip(logits, targets, strict=True)]
    if answers is not None:
        labels, _, rows = targets[0]
        losses[0] = choice(option_scores(logits[0], labels), rows, answers)
    return losses
