"""Run students that are one decoder: video, question and all targets stand in one sequence and take one pass.

    [prompt up to the video | video | rest of the prompt | target | target | ...]

Each target sees the reading and itself, at positions that continue from the reading's end. So the language model must
consist of attention layers with one-dimensional positions; `reasvqa.students.why_not` says why others cannot be used.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reasvqa.preprocess import Preprocess
from reasvqa.students.base import Packed, Student, Targets, in_own_precision


class PackedStudent(Student):
    """A student of one decoder.

    Attributes:
        video_token: id of the token that stands for the whole video in `source_ids`; `encode` puts the frames there.
        template: the chat template; None: the tokenizer's.
        video_mark: text that the template writes for a video; the video token's text takes its place.
        after_video: text that follows the video token.
    """

    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    language_name, projection_name = "model.language_model", "model.multi_modal_projector"
    video_token: int
    template: str | None = None
    video_mark, after_video = "<video>", ""

    def __init__(self, model: Any, tokenizer: Any, preprocess: Preprocess):
        super().__init__(model, tokenizer, preprocess)
        self.answer_start = own_token(tokenizer, "<answer>", "Answer")
        self.reasoning_start = own_token(tokenizer, "<reasoning>", "Reason", "Because")

    def labels(self, frames: int) -> list[str]:
        """Return the texts before each frame and after the last one: `frames` + 1 of them."""
        raise NotImplementedError

    def visual_tokens(self, features: Tensor) -> Tensor:
        """Return what the decoder reads of features (B, N, Q, E): projected, between the family's labels, (B, V, D)."""
        batch, frames = features.shape[:2]
        seen = self.projection(features.to(self.dtype).flatten(0, 1)).unflatten(0, (batch, frames)).to(self.dtype)
        labels = [self.words(label).expand(batch, -1, -1) for label in self.labels(frames)]
        parts = [part for pair in zip(labels, seen.unbind(1), strict=False) for part in pair]
        return torch.cat([*parts, labels[-1]], dim=1)

    def source_ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Return the ids of texts, cut to `max_length` tokens, in the chat template, with the video token once.

        Without a template (the miniature), the video comes first and the tokenizer adds its special tokens.
        """
        plain = self.tokenizer(list(texts), add_special_tokens=False).input_ids if texts else []
        cut = [
            self.tokenizer.decode(ids[:max_length]) if len(ids) > max_length else text
            for text, ids in zip(texts, plain, strict=True)
        ]
        video = self.tokenizer.convert_ids_to_tokens(self.video_token)
        template = self.template or self.tokenizer.chat_template
        prompts = [f"{video}{text}" for text in cut]
        if template is not None:
            chats = [[{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}] for text in cut]
            options = {"chat_template": template, "tokenize": False, "add_generation_prompt": True}
            rendered = [self.tokenizer.apply_chat_template(chat, **options) for chat in chats]
            prompts = [prompt.replace(self.video_mark, video + self.after_video, 1) for prompt in rendered]
        return self.tokenizer(prompts, add_special_tokens=template is None).input_ids if prompts else []

    def target_ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids = self.tokenizer(list(texts), add_special_tokens=False).input_ids if texts else []
        return [row + [self.tokenizer.eos_token_id] for row in ids]

    @in_own_precision
    def encode(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prompts' embeddings with the videos in their place; `decode` reads them together with the targets.
        Raise ValueError if the place is not the same in every prompt."""
        text = self.model.get_input_embeddings()(input_ids).to(self.dtype)
        at = (input_ids == self.video_token).int().argmax(1)
        if not bool((input_ids[torch.arange(len(at)), at] == self.video_token).all()) or len(at.unique()) != 1:
            raise ValueError("the video's token must stand once, and at the same place, in every prompt")
        at = int(at[0])
        visual = self.visual_tokens(features) if features.shape[1] else text[:, :0]  # a blind student reads no label
        embeds = torch.cat([text[:, :at], visual, text[:, at + 1 :]], dim=1)
        ones = attention_mask.new_ones(visual.shape[:2])
        return embeds, torch.cat([attention_mask[:, :at], ones, attention_mask[:, at + 1 :]], dim=1)

    @in_own_precision
    def decode(self, states: Tensor, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        """See `Student.decode`. One pass reads the prompts and all targets; the logits equal those of a pass each."""
        packed = Packed(targets, len(states))
        words = self.model.get_input_embeddings()(packed.ids).to(states.dtype)
        positions = [(mask.cumsum(1) - 1).clamp(min=0), mask.sum(1, keepdim=True) + packed.within]
        # 0: the reading; -1: its padding; from 1: the targets.
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
        """See `Student.generate`. Padding moves to the left, where `generate` of transformers expects it."""
        starts = torch.full((len(states), 1), start, device=states.device)
        first = self.model.get_input_embeddings()(starts).to(states.dtype)
        order = mask.argsort(dim=1, stable=True)  # padding, which is 0, comes first
        states = torch.cat([states.gather(1, order[..., None].expand_as(states)), first], dim=1)
        mask = F.pad(mask.gather(1, order), (0, 1), value=1)
        ends = {"pad_token_id": self.pad, "eos_token_id": self.tokenizer.eos_token_id}
        return self.written_by(self.model, max_new_tokens, inputs_embeds=states, attention_mask=mask, **ends)


def own_token(tokenizer: Any, *words: str) -> int:
    """Return the id of the first of `words` that is one token, or of the first token of the last word."""
    vocabulary = tokenizer.get_vocab()
    fallback = tokenizer(words[-1], add_special_tokens=False).input_ids[0]
    return next((vocabulary[word] for word in words if word in vocabulary), fallback)
