"""What students with one decoder share: video, question and all targets stand in one sequence, in one pass.

    [prompt up to the video | video | rest of the prompt | target | target | ...]

A target sees what was read and itself, and its positions go on from the end of the reading. That needs a language model
whose layers are all attention and whose positions are plain numbers; `reasvqa.students.why_not` says of which it is
not so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from reasvqa.students.base import Student, Targets, in_own_precision, pack


class PackedStudent(Student):
    """A student of one decoder. A family says what its prompt is (`prompts`) and what its decoder reads of the frames
    (`visual_tokens`).

    Attributes:
        video_token: id of the token that stands for the whole video in `source_ids`; `encode` puts the frames there.
    """

    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    video_token: int

    @property
    def language_model(self) -> Any:
        return self.model.model.language_model

    @property
    def projection(self) -> nn.Module:
        return self.model.model.multi_modal_projector

    def prompts(self, texts: Sequence[str]) -> list[str]:
        """What is read, as the family's chat template has it, with the video token's text once, where the frames
        go."""
        raise NotImplementedError

    def visual_tokens(self, features: Tensor) -> Tensor:
        """What the decoder reads of the frames, with the family's labels: (B, V, D) from (B, N, Q, E); V is 0 without
        frames."""
        raise NotImplementedError

    def words(self, text: str) -> Tensor:
        """The embeddings of a text, special tokens as such, (1, L, D)."""
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        return self.model.get_input_embeddings()(ids.to(self.device)).to(self.dtype)

    def source_ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """The chat template's ids with one video token; a text that is too long is cut before it goes into the
        template. Special tokens come from the template, or from the tokenizer where there is none."""
        plain = self.tokenizer(list(texts), add_special_tokens=False).input_ids if texts else []
        cut = [
            self.tokenizer.decode(ids[:max_length]) if len(ids) > max_length else text
            for text, ids in zip(texts, plain, strict=True)
        ]
        bare = self.tokenizer.chat_template is None
        return self.tokenizer(self.prompts(cut), add_special_tokens=bare).input_ids if cut else []

    def target_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """See `Student.target_ids`."""
        ids = self.tokenizer(list(texts), add_special_tokens=False).input_ids if texts else []
        return [row + [self.tokenizer.eos_token_id] for row in ids]

    @in_own_precision
    def encode(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings of the prompt with the video in its place; the decoder reads them together with the targets,
        in `decode`.

        Raises:
            ValueError: the video token does not stand at the same place of every prompt.
        """
        text = self.model.get_input_embeddings()(input_ids).to(self.dtype)
        at = (input_ids == self.video_token).int().argmax(1)
        if not bool((input_ids[torch.arange(len(at)), at] == self.video_token).all()) or len(at.unique()) != 1:
            raise ValueError("the video's token must stand once, and at the same place, in every prompt")
        at, visual = int(at[0]), self.visual_tokens(features)
        embeds = torch.cat([text[:, :at], visual, text[:, at + 1 :]], dim=1)
        ones = attention_mask.new_ones(visual.shape[:2])
        return embeds, torch.cat([attention_mask[:, :at], ones, attention_mask[:, at + 1 :]], dim=1)

    @in_own_precision
    def decode(self, states: Tensor, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        """All targets in one pass: each row of what was read is followed by its targets, one after the other; each
        target sees the reading and itself, and its positions go on from the reading's end. So the reading is computed
        once, and the result is the same as that of a pass per target."""
        packed = pack(targets, len(states))
        words = self.model.get_input_embeddings()(packed.ids).to(states.dtype)
        positions = [(mask.cumsum(1) - 1).clamp(min=0), mask.sum(1, keepdim=True) + packed.within]
        # 0: what was read; -1: its padding.
        segment = torch.cat([mask - 1, packed.owner.expand(len(states), -1)], dim=1)
        sees = torch.tril((segment[:, None, :] == 0) | (segment[:, None, :] == segment[:, :, None]))
        bias = states.new_zeros(sees.shape).masked_fill(~sees, torch.finfo(states.dtype).min)
        hidden = self.language_model(
            inputs_embeds=torch.cat([states, words], dim=1),
            attention_mask=bias[:, None],
            position_ids=torch.cat(positions, dim=1),
            use_cache=False,
        ).last_hidden_state
        return [self.model.lm_head(of_group) for of_group in packed.unpack(hidden[:, states.shape[1] :])]

    @torch.no_grad()
    @in_own_precision
    def generate(self, states: Tensor, mask: Tensor, start: int, max_new_tokens: int = 128) -> list[str]:
        """See `Student.generate`. Padding moves to the left, as generation wants it."""
        starts = torch.full((len(states), 1), start, device=states.device)
        first = self.model.get_input_embeddings()(starts).to(states.dtype)
        order = mask.argsort(dim=1, stable=True)  # zeros, the padding, first
        states = torch.cat([states.gather(1, order[..., None].expand_as(states)), first], dim=1)
        mask = F.pad(mask.gather(1, order), (0, 1), value=1)
        tokens = self.model.generate(
            inputs_embeds=states,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=self.pad,
            eos_token_id=self.tokenizer.eos_token_id,
        )
        return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def own_token(tokenizer: PreTrainedTokenizerBase, *words: str) -> int:
    """The id of the first of `words` that is one token of the vocabulary; if none is, of the last one's first token."""
    vocabulary = tokenizer.get_vocab()
    first: Any = tokenizer(words[-1], add_special_tokens=False).input_ids[0]
    return next((vocabulary[word] for word in words if word in vocabulary), first)
