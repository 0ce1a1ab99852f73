"""InternVL3: vision tower and pixel shuffle, frozen | projector | Qwen2 over [video, question | target | target ...] in
one sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import InternVLForConditionalGeneration, PreTrainedTokenizerBase

from reasvqa.preprocess import Preprocess
from reasvqa.students.packed import PackedStudent, own_token


class InternVlStudent(PackedStudent):
    """An `InternVLForConditionalGeneration`, read as its own processor writes a video: each frame after its number
    ("Frame1: ").

    What the vision tower gives is cached after the pixel shuffle, which has no weights and comes before the projector,
    the first module that is trained.
    """

    vision_modules = ("model.vision_tower",)

    def __init__(
        self, model: InternVLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, preprocess: Preprocess
    ):
        super().__init__(model, tokenizer, preprocess)
        config = self.model.config
        vision, shuffled = config.vision_config, round(1 / config.downsample_ratio) ** 2
        patches = math.prod(size // patch for size, patch in zip(vision.image_size, vision.patch_size, strict=True))
        self.feature_shape = patches // shuffled, vision.hidden_size * shuffled
        self.video_token: int = config.image_token_id
        self.before = getattr(tokenizer, "start_image_token", "<img>")
        self.after = getattr(tokenizer, "end_image_token", "</img>")
        self.answer_start = own_token(tokenizer, "Answer")
        self.reasoning_start = own_token(tokenizer, "Reason")

    def vision(self, pixels: Tensor) -> Tensor:
        """The vision tower's patches, 2 x 2 of them in one, see `Student.vision`."""
        config = self.model.config
        seen = self.model.model.vision_tower(pixels, output_hidden_states=config.vision_feature_layer != -1)
        last = config.vision_feature_layer == -1
        patches = seen.last_hidden_state if last else seen.hidden_states[config.vision_feature_layer]
        if config.vision_feature_select_strategy == "default":
            patches = patches[:, 1:]
        side = math.isqrt(patches.shape[1])
        return self.model.model.pixel_shuffle(patches.unflatten(1, (side, side)), config.downsample_ratio).flatten(1, 2)

    def prompts(self, texts: Sequence[str]) -> list[str]:
        """See `PackedStudent.prompts`."""
        video = self.tokenizer.convert_ids_to_tokens(self.video_token)
        chats = [[{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}] for text in texts]
        template = self.tokenizer.apply_chat_template
        rendered = [template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
        return [prompt.replace("<video>", video, 1) for prompt in rendered]

    def visual_tokens(self, features: Tensor) -> Tensor:
        """What Qwen2 reads of the frames, (B, V, D), see `PackedStudent.visual_tokens`."""
        batch, frames = features.shape[:2]
        if frames == 0:
            return features.new_zeros(batch, 0, self.model.config.text_config.hidden_size, dtype=self.dtype)
        seen = self.projection(features.to(self.dtype))
        parts, before = [], ""
        for frame in range(frames):
            label = self.words(f"{before}Frame{frame + 1}: {self.before}")
            parts += [label.expand(batch, -1, -1), seen[:, frame].to(self.dtype)]
            before = f"{self.after}\n"
        return torch.cat([*parts, self.words(self.after).expand(batch, -1, -1)], dim=1)
