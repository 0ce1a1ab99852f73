"""The paper's two losses (section 3.3). They need only torch, so LAVIS's environment uses the same code.

Eq. 1   L_st = CE(f(v, q), reasoning + answer)
Eq. 2   L_mt = alpha * CE(f(v, q), answer) + beta * CE(f(v, q), reasoning),   alpha = 1 - beta
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100  # the label of padding, which no loss counts


def shift_right(labels: Tensor, start: int, pad: int) -> Tensor:
    """Return decoder inputs, long (B, T), for labels, long (B, T): the start token, then all labels but the last.

    -100 becomes `pad`.
    """
    shifted = torch.cat([labels.new_full((len(labels), 1), start), labels[:, :-1]], dim=1)
    return shifted.masked_fill(shifted == IGNORE, pad)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the equations' CE, a float32 scalar: the mean over all target tokens.

    Args:
        logits: (B, T, V).
        labels: long (B, T); -100 does not count.
    """
    return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE)


def multi_task(answer_loss: Tensor, reasoning_loss: Tensor | None, beta: float) -> Tensor:
    """Return Eq. 2. In a batch without reasoning (None) the answer keeps its weight alpha."""
    alpha = 1 - beta
    return alpha * answer_loss if reasoning_loss is None else alpha * answer_loss + beta * reasoning_loss
