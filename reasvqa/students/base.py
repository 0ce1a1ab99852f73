"""Define what all student families share: a frozen vision encoder whose output is cached, and a trained half that
reads once and decodes any number of targets (paper, sections 4.1 and 4.2)."""

import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reasvqa.preprocess import Preprocess

# Decoder inputs, long (M, T), start token first, padded on the right; and their rows of the batch, long (M,).
Targets = tuple[Tensor, Tensor]


class Packed:
    """All targets of a batch for one decoder pass. The targets of a row, any number of each group, follow one another.

    Attributes:
        ids: long (B, W) tokens, 0 where a row has no target.
        owner: long (W,), the number of the target that a place belongs to, from 1.
        within: long (W,), a place's position in its target, from 0.
        indices: for each group of targets the rows of its tokens, long (M, 1), and their places, long (M, T).
    """

    def __init__(self, targets: Sequence[Targets], batch: int):
        owners, positions, self.indices, at, before = [], [], [], 0, 1
        for ids, rows in targets:
            slots = torch.tril(rows[:, None] == rows[None, :], -1).sum(1)  # how many targets of this group precede it
            count, width = int(slots.max()) + 1, ids.shape[1]
            position = torch.arange(width, device=ids.device)
            owners.append((before + torch.arange(count, device=ids.device)).repeat_interleave(width))
            positions.append(position.repeat(count))
            self.indices.append((rows[:, None], at + slots[:, None] * width + position))
            at, before = at + count * width, before + count
        self.owner, self.within = torch.cat(owners), torch.cat(positions)
        self.ids = self.owner.new_zeros(batch, at)
        for (ids, _), index in zip(targets, self.indices, strict=True):
            self.ids[index] = ids

    def unpack(self, values: Tensor) -> list[Tensor]:
        """Split the values of all places, (B, W, D), into those of each group of targets, (M, T, D)."""
        return [values[index] for index in self.indices]


def in_own_precision(method: Callable) -> Callable:
    """Make a method compute in bfloat16 if the student was loaded in it, although trained weights are in float32."""

    @wraps(method)
    def wrapped(self, *args, **kwargs):
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            return method(self, *args, **kwargs)

    return wrapped


class Student(nn.Module):
    """A model of transformers with its tokenizer and preprocessing.

    Shapes: B samples, N frames, Q features per frame, E their width, L text tokens, S positions read in all, D the
    language model's width, M targets, T target tokens, V the vocabulary.

    Attributes:
        feature_shape: (Q, E).
        answer_start, reasoning_start: ids of the start tokens of answers and reasonings. They differ.
        vision_modules: names of the model's modules that make up the frozen half.
        language_name: name of its language model, which gets LoRA in the linear layers named `lora_targets`.
        projection_name: name of the module that is trained as a whole.
    """

    lora_targets: tuple[str, ...]
    vision_modules: tuple[str, ...]
    language_name: str
    projection_name: str
    feature_shape: tuple[int, int]
    answer_start: int
    reasoning_start: int

    def __init__(self, model: Any, tokenizer: Any, preprocess: Preprocess):
        super().__init__()
        self.model: Any = model
        self.tokenizer: Any = tokenizer
        self.preprocess = preprocess

    @property
    def language_model(self) -> Any:
        return self.model.get_submodule(self.language_name)

    @property
    def projection(self) -> nn.Module:
        return self.model.get_submodule(self.projection_name)

    @property
    def dtype(self) -> torch.dtype:
        """Return the frozen weights' dtype."""
        return self.language_model.get_input_embeddings().weight.dtype

    @property
    def device(self) -> torch.device:
        return self.language_model.get_input_embeddings().weight.device

    @property
    def pad(self) -> int:
        return self.tokenizer.pad_token_id

    @torch.no_grad()
    def encode_frames(self, clips: Sequence[np.ndarray]) -> Tensor:
        """Return the features (B, N, Q, E) that the frozen half computes from B clips of frames, uint8 (N, H, W, 3)."""
        pixels = torch.cat([self.preprocess(frames) for frames in clips])
        place = next(self.model.get_submodule(self.vision_modules[0]).parameters())
        features = self.vision(pixels.to(place.device, self.dtype))
        return features.to(self.dtype).unflatten(0, (len(clips), -1))

    def move_vision_encoder(self, device: torch.device) -> None:
        """Move the frozen half to a device."""
        for name in self.vision_modules:
            self.model.get_submodule(name).to(device)

    def without_vision_encoder(self, device: torch.device) -> "Student":
        """Drop the frozen half, whose features are cached, and move the rest to a device."""
        for name in self.vision_modules:
            parent, _, child = name.rpartition(".")
            setattr(self.model.get_submodule(parent), child, None)
        return self.to(device)

    def vision(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels (T, 3, H, W) as features (T, Q, E), with gradients."""
        raise NotImplementedError

    def encode(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Read video and text once: features (B, N, Q, E), input_ids and attention_mask long (B, L). Return the states
        of what was read, (B, S, D), and their mask, long (B, S)."""
        raise NotImplementedError

    def decode(self, states: Tensor, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        """Return the logits (M, T, V) of each group of targets. A target sees its own row's reading and itself."""
        raise NotImplementedError

    def generate(self, states: Tensor, mask: Tensor, start: int, max_new_tokens: int = 128) -> list[str]:
        """Return a text for each sample, written greedily from the start token `start`."""
        raise NotImplementedError

    def written_by(self, model: Any, max_new_tokens: int, **inputs: Any) -> list[str]:
        """Return the texts that `model` (the whole one or its language model) writes greedily, for `generate`."""
        tokens = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1)
        return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    def words(self, text: str) -> Tensor:
        """Return the embeddings of a text and the special tokens in it, (1, L, D)."""
        ids = torch.tensor([self.tokenizer(text, add_special_tokens=False).input_ids], dtype=torch.long)
        return self.language_model.get_input_embeddings()(ids.to(self.device)).to(self.dtype)

    def source_ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Return the token ids of prompts in the family's form. Texts are cut after `max_length` tokens."""
        return self.tokenizer(list(texts), truncation=True, max_length=max_length).input_ids if texts else []

    def too_long(self, texts: Sequence[str], max_length: int) -> int:
        """Count the texts that `source_ids` would cut."""
        return sum(len(ids) > max_length for ids in self.tokenizer(list(texts)).input_ids) if texts else 0

    def target_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of targets, with the end-of-text token."""
        return self.tokenizer(list(texts)).input_ids if texts else []

    def write_processing(self, folder: Path) -> None:
        """Write the processor's files beside the tokenizer, for checkpoints that have none (the miniature's)."""


def own_device() -> torch.device:
    """Return this process's GPU, by torchrun's LOCAL_RANK, or the CPU if there is no GPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
