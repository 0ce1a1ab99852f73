"""Compute the paper's two losses (section 3.3), with torch alone, so that LAVIS's environment uses the same code.

Eq. 1   L_st = CE(f(v, q), reasoning + answer)
Eq. 2   L_mt = alpha * CE(f(v, q), answer) + beta * CE(f(v, q), reasoning),   alpha = 1 - beta

The paper's answer is a letter, so CE(answer) is the cross-entropy of a choice among the options. A student that is too
small to connect letters with options makes this choice by the options' texts: `option_scores` and `choice`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

IGNORE = -100  # the label of padding, which counts in no loss
SHARPNESS = 4.0  # factor of the scores in `choice`, because mean log-likelihoods of short texts lie close together


def shift_right(labels: Tensor, start: int, pad: int) -> Tensor:
    """Return decoder inputs, long (B, T), for labels, long (B, T): the start token, then all labels but the last, with
    `pad` in place of -100."""
    shifted = torch.cat([labels.new_full((len(labels), 1), start), labels[:, :-1]], dim=1)
    return shifted.masked_fill(shifted == IGNORE, pad)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the CE of Eqs. 1 and 2, a float32 scalar: the mean over all target tokens except -100. logits: (B, T, V);
    labels: long (B, T)."""
    return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE)


def option_scores(logits: Tensor, labels: Tensor) -> Tensor:
    """Return each option's mean log-likelihood per token, float32 (O,). logits: (O, T, V); labels: long (O, T)."""
    loss = F.cross_entropy(logits.float().transpose(1, 2), labels, ignore_index=IGNORE, reduction="none")
    return -loss.sum(1) / (labels != IGNORE).sum(1)


def choice(scores: Tensor, rows: Tensor, answers: Tensor) -> Tensor:
    """Return the cross-entropy of choosing the right options, a float32 scalar. scores: of all options of the batch,
    float (O,); rows: the sample of each option, long (O,), ascending; answers: the right indices, long (B,)."""
    options = (SHARPNESS * scores).split(torch.bincount(rows).tolist())
    return F.cross_entropy(pad_sequence(list(options), batch_first=True, padding_value=-torch.inf), answers)


def multi_task(answer_loss: Tensor, reasoning_loss: Tensor | None, beta: float) -> Tensor:
    """Return Eq. 2, a scalar. In a batch without reasoning (None), the answer keeps its weight alpha."""
    alpha = 1 - beta
    return alpha * answer_loss if reasoning_loss is None else alpha * answer_loss + beta * reasoning_loss
