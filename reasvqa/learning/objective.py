"""The losses of a batch, on one reading of video and question.

Video and question are read once; answer and reasoning are decoded from it, from two start tokens and unseen by each
other. Each CE is a mean over its own target tokens, so beta weighs the tasks alike whatever their lengths and however
many samples of a batch have a reasoning. Where several processes share a batch, it is the mean over all of their
tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reasvqa.losses import IGNORE, cross_entropy, multi_task, shift_right
from reasvqa.students import Student


class Objective(nn.Module):
    """Student plus loss, in the form `transformers.Trainer` trains: forward returns a dict with "loss"."""

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
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            features: float (B, N, Q, E) visual features.
            input_ids, attention_mask: long (B, L) source text.
            labels: long (B, T) answer tokens, padded with -100 (in STL, of reasoning and answer).
            reasoning_labels: long (R, T') reasoning tokens of the R <= B samples that have one, padded with -100.
            reasoning_rows: long (R,) which samples these are.

        Returns:
            "loss", "answer_loss" and, when beta > 0 and there is reasoning, "reasoning_loss": scalars.
        """
        states, mask = self.student.encode(features, input_ids, attention_mask)
        targets = [(labels, self.student.answer_start, torch.arange(len(labels), device=labels.device))]
        if self.beta > 0 and reasoning_labels is not None and reasoning_rows is not None:
            targets.append((reasoning_labels, self.student.reasoning_start, reasoning_rows))
        losses = target_losses(self.student, states, mask, targets)
        if torch.distributed.is_initialized():
            losses = _shared(losses, targets)
        answer_loss, reasoning_loss = losses if len(losses) == 2 and self.beta > 0 else (losses[0], None)
        result = {"loss": multi_task(answer_loss, reasoning_loss, self.beta), "answer_loss": answer_loss.detach()}
        return result if reasoning_loss is None else result | {"reasoning_loss": reasoning_loss.detach()}


def _shared(losses: list[Tensor], targets: Sequence[tuple[Tensor, int, Tensor]]) -> list[Tensor]:
    """This process's means over its tokens, weighted so that their mean over processes is the mean over all tokens.

    Processes average their gradients; one with more target tokens, or the only one with a reasoning, must count for
    more.
    """
    tokens = [(labels != IGNORE).sum() for labels, _, _ in targets]
    if len(tokens) == 1:  # no reasoning here
        tokens.append(torch.zeros_like(tokens[0]))
    own = torch.stack(tokens).float()
    counts = own.clone()
    torch.distributed.all_reduce(counts)
    weights = own * torch.distributed.get_world_size() / counts.clamp(min=1)
    shared = [loss * weight for loss, weight in zip(losses, weights, strict=False)]
    if len(shared) == 1 and counts[1] > 0:  # the reasoning of this batch is elsewhere
        shared.append(torch.zeros_like(shared[0]))
    return shared


def target_losses(
    student: Student, states: Tensor, mask: Tensor, targets: Sequence[tuple[Tensor, int, Tensor]]
) -> list[Tensor]:
    """Mean cross-entropy over each target's tokens, all decoded after one reading.

    Args:
        states, mask: of `Student.encode`.
        targets: for each task its labels, long (M, T) padded with -100, its start token, and the rows, long (M,), they
            belong to.

    Returns:
        A scalar in float32 for each task.
    """
    inputs = [(shift_right(labels, start, student.pad), rows) for labels, start, rows in targets]
    logits = student.decode(states, mask, inputs)
    return [cross_entropy(z, labels) for z, (labels, _, _) in zip(logits, targets, strict=True)]
