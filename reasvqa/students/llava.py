"""Run LLaVA-OneVision as a student: vision tower, frozen | projector | Qwen2 over [video, question | targets]."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reasvqa.preprocess import Preprocess
from reasvqa.students.packed import PackedStudent


class LlavaStudent(PackedStudent):
    """A `LlavaOnevisionForConditionalGeneration` that projects the video, pools it 2 x 2 and ends it with a newline.

    The features are the vision tower's patches, since the projector, which precedes the pooling, is trained.
    """

    vision_modules = ("model.vision_tower",)

    def __init__(self, model: Any, tokenizer: Any, preprocess: Preprocess):
        super().__init__(model, tokenizer, preprocess)
        config = self.model.config
        vision, layers = config.vision_config, config.vision_feature_layer
        self.layers = [layers] if isinstance(layers, int) else list(layers)
        self.feature_shape = (vision.image_size // vision.patch_size) ** 2, vision.hidden_size * len(self.layers)
        self.video_token = config.video_token_index

    def write_processing(self, folder: Path) -> None:
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
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def vision(self, pixels: Tensor) -> Tensor:
        hidden = self.model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        patches = torch.cat([hidden[layer] for layer in self.layers], dim=-1)
        return patches[:, 1:] if self.model.config.vision_feature_select_strategy == "default" else patches

    def visual_tokens(self, features: Tensor) -> Tensor:
        """See `PackedStudent.visual_tokens`. V is N * Q / 4 + 1: pooled patches and the newline."""
        patches = self.projection(features.to(self.dtype).flatten(0, 1))
        pooled = self.model.model.apply_pooling(patches).reshape(len(features), -1, patches.shape[-1])
        newline = self.model.model.image_newline.to(pooled.dtype).expand(len(features), 1, -1)
        return torch.cat([pooled, newline], dim=1)
