"""What every student family gives: a frozen vision encoder whose output can be cached, and a trained half that reads
once and decodes any number of targets (paper, sections 4.1 and 4.2).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from reasvqa.preprocess import Preprocess

# Decoder inputs and the rows of the batch they belong to: long (M, T), start token first, padded on the right; long
# (M,).
Targets = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Packed:
    """All targets of a batch, those of one row one after the other, so that one pass decodes them.

    Attributes:
        ids: long (B, W) tokens, 0 where a row has no target.
        owner: long (W,) which target of its row a place belongs to, from 1.
        within: long (W,) a place's position in its target, from 0.
        spans: for each group of targets its rows, long (M,), the place where each target begins, long (M,), and T.
    """

    ids: Tensor
    owner: Tensor
    within: Tensor
    spans: list[tuple[Tensor, Tensor, int]]

    def unpack(self, values: Tensor) -> list[Tensor]:
        """What was computed for each place, (B, W, D), by groups of targets, each (M, T, D)."""
        return [
            values[rows[:, None], first[:, None] + torch.arange(width, device=rows.device)]
            for rows, first, width in self.spans
        ]


def pack(targets: Sequence[Targets], batch: int) -> Packed:
    """Groups of targets of a batch of so many rows in one row each. A row may have any number of each group."""
    blocks, owners, places, spans, at, before = [], [], [], [], 0, 1
    for ids, rows in targets:
        # A target's slot: how many targets of this group its row has before it.
        slots = torch.tril(rows[:, None] == rows[None, :], -1).sum(1)
        count, width = int(slots.max()) + 1, ids.shape[1]
        block = ids.new_zeros(batch, count, width)
        block[rows, slots] = ids
        blocks.append(block.flatten(1))
        owners.append((before + torch.arange(count, device=ids.device)).repeat_interleave(width))
        places.append(torch.arange(width, device=ids.device).repeat(count))
        spans.append((rows, at + slots * width, width))
        at, before = at + count * width, before + count
    return Packed(torch.cat(blocks, dim=1), torch.cat(owners), torch.cat(places), spans)


def in_own_precision(method: Callable) -> Callable:
    """A student loaded in bfloat16 computes in it, though its trained weights are in float32."""

    @wraps(method)
    def wrapped(self, *args, **kwargs):
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            return method(self, *args, **kwargs)

    return wrapped


class Student(nn.Module):
    """What all families share: a model of transformers, its tokenizer and its preprocessing.

    Shapes: B samples, N frames, Q features a frame, E their width, L text tokens, S what is read in all, D the language
    model's width, M targets, T target tokens, V the vocabulary.

    Attributes:
        feature_shape: (Q, E).
        answer_start, reasoning_start: ids of the tokens from which an answer and a reasoning are written. They differ,
            or the two would compete for the first step.
        language_model: where LoRA goes, into the linear layers named `lora_targets`.
        projection: the module that is trained whole.
        vision_modules: names of the model's modules that make up the frozen half.
    """

    lora_targets: tuple[str, ...]
    vision_modules: tuple[str, ...]
    feature_shape: tuple[int, int]
    answer_start: int
    reasoning_start: int
    # Their attributes have no types in transformers.
    model: Any
    tokenizer: Any
    language_model: Any
    projection: nn.Module

    def __init__(self, model: transformers.PreTrainedModel, tokenizer: PreTrainedTokenizerBase, preprocess: Preprocess):
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.preprocess = preprocess

    @property
    def dtype(self) -> torch.dtype:
        """Of the frozen weights."""
        return self.language_model.get_input_embeddings().weight.dtype

    @property
    def device(self) -> torch.device:
        """Where video and question are read."""
        return self.language_model.get_input_embeddings().weight.device

    @property
    def pad(self) -> int:
        """Id of the token that texts are padded with."""
        return self.tokenizer.pad_token_id

    @torch.no_grad()
    def encode_frames(self, clips: Sequence[np.ndarray]) -> Tensor:
        """The frozen half: B clips of uint8 (N, H, W, 3) frames -> features (B, N, Q, E)."""
        pixels = torch.cat([self.preprocess(frames) for frames in clips])
        place = next(self.model.get_submodule(self.vision_modules[0]).parameters())
        features = self.vision(pixels.to(place.device, self.dtype))
        return features.to(self.dtype).unflatten(0, (len(clips), -1))

    def move_vision_encoder(self, device: torch.device) -> None:
        """The frozen half to a device."""
        for name in self.vision_modules:
            self.model.get_submodule(name).to(device)

    def without_vision_encoder(self, device: torch.device) -> Student:
        """Forgets the frozen half, of which the features are all that is needed, and moves the rest to a device."""
        for name in self.vision_modules:
            parent, _, child = name.rpartition(".")
            setattr(self.model.get_submodule(parent), child, None)
        return self.to(device)

    def vision(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (T, 3, H, W) -> features (T, Q, E), with gradients."""
        raise NotImplementedError

    def encode(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Reads video and text once: features (B, N, Q, E), input_ids and attention_mask (B, L).

        Returns what was read (B, S, D) and its mask (B, S). All targets are decoded from them.
        """
        raise NotImplementedError

    def decode(self, states: Tensor, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        """Logits (M, T, V) for each group of targets, each target after its own row of what was read."""
        raise NotImplementedError

    def generate(self, states: Tensor, mask: Tensor, start: int, max_new_tokens: int = 128) -> list[str]:
        """Greedy text for each sample read, from the given start token."""
        raise NotImplementedError

    def source_ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Token ids of what is read, as the family wants its prompts; of a longer text the first `max_length`
        tokens."""
        return self.tokenizer(list(texts), truncation=True, max_length=max_length).input_ids if texts else []

    def too_long(self, texts: Sequence[str], max_length: int) -> int:
        """How many texts `source_ids` would cut."""
        return sum(len(ids) > max_length for ids in self.tokenizer(list(texts)).input_ids) if texts else 0

    def target_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of what is to be written, with the end-of-text token."""
        return self.tokenizer(list(texts)).input_ids if texts else []

    def write_processing(self, folder: Path) -> None:
        """Writes what a processor of transformers reads beside the tokenizer, for a checkpoint that comes without (the
        miniatures)."""


def own_device() -> torch.device:
    """The GPU of this process (of several started by torchrun each has its own), or the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
