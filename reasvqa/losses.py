"""The paper's two losses (section 3.3), on torch alone, so that every environment computes them by the same lines.

Eq. 1   L_st = CE(f(v, q), reasoning + answer)
Eq. 2   L_mt = alpha * CE(f(v, q), answer) + beta * CE(f(v, q), reasoning),   alpha = 1 - beta
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100  # a label that is not learned: padding


def shift_right(labels: Tensor, start: int, pad: int) -> Tensor:
    """Decoder inputs, long (B, T), for labels, long (B, T): the start token, then all but the last label; padding for
    -100."""
    shifted = torch.cat([labels.new_full((len(labels), 1), start), labels[:, :-1]], dim=1)
    return shifted.masked_fill(shifted == IGNORE, pad)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """CE of the equations: the mean over a target's tokens, float32 scalar; logits (B, T, V), labels long (B, T), -100
    left out."""
    return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE)


def multi_task(answer_loss: Tensor, reasoning_loss: Tensor | None, beta: float) -> Tensor:
    """Eq. 2. A batch without any reasoning (None) leaves the answer its weight."""
    alpha = 1 - beta
    return alpha * answer_loss if reasoning_loss is None else alpha * answer_loss + beta * reasoning_loss
