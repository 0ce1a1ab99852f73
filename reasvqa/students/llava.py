"""LLaVA-OneVision: vision tower, frozen | projector | Qwen2 over [video, question | target | target ...] in one
sequence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerBase

from reasvqa.preprocess import Preprocess
from reasvqa.students.packed import PackedStudent, own_token


class LlavaStudent(PackedStudent):
    """A `LlavaOnevisionForConditionalGeneration`: one decoder reads video and question and writes on.

    Its prompt is the checkpoint's chat template, the video where the template puts it: projected, pooled 2 x 2, a
    newline vector at the end. What the vision tower gives is cached; projector and pooling come after, since the
    projector is trained.
    """

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
        self.answer_start = own_token(tokenizer, "<answer>", "Answer")
        self.reasoning_start = own_token(tokenizer, "<reasoning>", "Reason")

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

    def prompts(self, texts: Sequence[str]) -> list[str]:
        """See `PackedStudent.prompts`. A checkpoint without a chat template (the miniature) has the video in front."""
        video = self.tokenizer.convert_ids_to_tokens(self.video_token)
        if self.tokenizer.chat_template is None:
            return [f"{video}{text}" for text in texts]
        chats = [[{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}] for text in texts]
        template = self.tokenizer.apply_chat_template
        return [template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]

    def visual_tokens(self, features: Tensor) -> Tensor:
        """What Qwen2 reads of the frames: projected and pooled patches and a newline, (B, N * Q / 4 + 1, D), from (B,
        N, Q, E)."""
        if features.shape[1] == 0:  # without frames: no tokens
            return features.new_zeros(len(features), 0, self.model.config.text_config.hidden_size, dtype=self.dtype)
        patches = self.projection(features.to(self.dtype).flatten(0, 1))
        pooled = self.model.model.apply_pooling(patches).reshape(len(features), -1, patches.shape[-1])
        newline = self.model.model.image_newline.to(pooled.dtype).expand(len(features), 1, -1)
        return torch.cat([pooled, newline], dim=1)
