"""LLaVA-OneVision: vision tower, frozen | projector | Qwen2 over [video, question | target | target ...] in one
sequence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerBase

from reasvqa.preprocess import Preprocess
from reasvqa.students.base import Student, Targets, in_own_precision


class LlavaStudent(Student):
    """A `LlavaOnevisionForConditionalGeneration`: one decoder reads video and question and writes on.

    Its prompt is the checkpoint's chat template, the video where the template puts it: projected, pooled 2 x 2, a
    newline vector at the end. What the vision tower gives is cached; projector and pooling come after, since the
    projector is trained.
    """

    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    vision_modules = ("model.vision_tower",)

    def __init__(
        self, model: LlavaOnevisionForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, preprocess: Preprocess
    ):
        super().__init__(model, tokenizer, preprocess)
        config = self.model.config
        vision, layers = config.vision_config, config.vision_feature_layer
        self.layers = [layers] if isinstance(layers, int) else list(layers)
        self.feature_shape = (vision.image_size // vision.patch_size) ** 2, vision.hidden_size * len(self.layers)
        self.video_token: int = config.video_token_index
        self.answer_start = _token(tokenizer, "<answer>", "Answer")
        self.reasoning_start = _token(tokenizer, "<reasoning>", "Reason")

    @property
    def language_model(self) -> Any:
        return self.model.model.language_model

    @property
    def projection(self) -> nn.Module:
        return self.model.model.multi_modal_projector

    def write_processing(self, folder: Path) -> None:
        """See `Student.write_processing`."""
        chat = (
            "{% for m in messages %}{% for c in m['content'] %}"
            "{% if c['type'] == 'text' %}{{ c['text'] }}{% else %}<{{ c['type'] }}>{% endif %}"
            "{% endfor %}{% endfor %}"
        )
        processor = {
            "processor_class": "LlavaOnevisionProcessor",
            "num_image_tokens": self.feature_shape[0],
            "vision_feature_select_strategy": self.model.config.vision_feature_select_strategy,
        }
        size, mean, std = self.preprocess.size, self.preprocess.mean, self.preprocess.std
        video = {"size": {"height": size, "width": size}, "image_mean": mean, "image_std": std}
        files = {
            "processor_config.json": processor,
            "video_preprocessor_config.json": {"video_processor_type": "LlavaOnevisionVideoProcessor"} | video,
            "chat_template.json": {"chat_template": chat},
        }
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content, indent=2) + "\n")

    def vision(self, pixels: Tensor) -> Tensor:
        """The vision tower's patches, see `Student.vision`."""
        hidden = self.model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        patches = torch.cat([hidden[layer] for layer in self.layers], dim=-1)
        return patches[:, 1:] if self.model.config.vision_feature_select_strategy == "default" else patches

    def source_ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """The chat template's ids with one video token; a text that is too long is cut before it goes into the
        template."""
        plain = self.tokenizer(list(texts), add_special_tokens=False).input_ids if texts else []
        cut = [
            self.tokenizer.decode(ids[:max_length]) if len(ids) > max_length else text
            for text, ids in zip(texts, plain, strict=True)
        ]
        video = self.tokenizer.convert_ids_to_tokens(self.video_token)
        if self.tokenizer.chat_template is None:
            return [self.tokenizer(f"{video}{text}").input_ids for text in cut]
        chats = [[{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}] for text in cut]
        template = self.tokenizer.apply_chat_template
        rendered = [template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
        return self.tokenizer(rendered, add_special_tokens=False).input_ids if rendered else []

    def target_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """See `Student.target_ids`."""
        ids = self.tokenizer(list(texts), add_special_tokens=False).input_ids if texts else []
        return [row + [self.tokenizer.eos_token_id] for row in ids]

    @in_own_precision
    def encode(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings of the prompt with the video in its place; Qwen2 reads them together with the targets, in
        `decode`.

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

    def visual_tokens(self, features: Tensor) -> Tensor:
        """What Qwen2 reads of the frames: projected and pooled patches and a newline, (B, N * Q / 4 + 1, D), from (B,
        N, Q, E)."""
        if features.shape[1] == 0:  # without frames: no tokens
            return features.new_zeros(len(features), 0, self.model.config.text_config.hidden_size, dtype=self.dtype)
        patches = self.projection(features.to(self.dtype).flatten(0, 1))
        pooled = self.model.model.apply_pooling(patches).reshape(len(features), -1, patches.shape[-1])
        newline = self.model.model.image_newline.to(pooled.dtype).expand(len(features), 1, -1)
        return torch.cat([pooled, newline], dim=1)

    @in_own_precision
    def decode(self, states: Tensor, mask: Tensor, targets: Sequence[Targets]) -> list[Tensor]:
        """All targets in one pass: each row of what was read is followed by its targets, one after the other; each
        target sees the reading and itself, and its positions go on from the reading's end. So the reading is computed
        once, and the result is the same as that of a pass per target."""
        blocks, places, at = [states], [], states.shape[1]
        lengths = mask.sum(1, keepdim=True)
        positions, segments = [(mask.cumsum(1) - 1).clamp(min=0)], [mask - 1]  # segment 0: the reading; -1: its padding
        for ids, rows in targets:
            # A target's slot: how many targets of this group its row has before it.
            slots = (torch.tril(rows[:, None] == rows[None, :], -1)).sum(1)
            count, width = int(slots.max()) + 1, ids.shape[1]
            block = ids.new_zeros(len(states), count, width)
            block[rows, slots] = ids
            blocks.append(self.model.get_input_embeddings()(block.flatten(1)).to(states.dtype))
            place = lengths[:, None] + torch.arange(width, device=ids.device)
            positions.append(place.expand(-1, count, -1).flatten(1))
            number = len(segments) * 1000 + torch.arange(count, device=ids.device).repeat_interleave(width)
            segments.append(number.expand(len(states), -1))
            places.append((rows, at + slots * width, width))
            at += count * width
        segment = torch.cat(segments, dim=1)
        sees = torch.tril((segment[:, None, :] == 0) | (segment[:, None, :] == segment[:, :, None]))
        bias = states.new_zeros(sees.shape).masked_fill(~sees, torch.finfo(states.dtype).min)
        hidden = self.language_model(
            inputs_embeds=torch.cat(blocks, dim=1),
            attention_mask=bias[:, None],
            position_ids=torch.cat(positions, dim=1),
            use_cache=False,
        ).last_hidden_state
        return [
            self.model.lm_head(hidden[rows[:, None], start[:, None] + torch.arange(width, device=rows.device)])
            for rows, start, width in places
        ]

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


def _token(tokenizer: PreTrainedTokenizerBase, *words: str) -> int:
    """The id of the first of `words` that is one token of the vocabulary."""
    vocabulary = tokenizer.get_vocab()
    return next(vocabulary[word] for word in words if word in vocabulary)
