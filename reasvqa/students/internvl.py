"""Run InternVL3 as a student: vision tower and shuffle, frozen | projector | Qwen2 over [video, question | targets]."""

import math
from typing import Any

from torch import Tensor

from reasvqa.preprocess import Preprocess
from reasvqa.students.packed import PackedStudent


class InternVlStudent(PackedStudent):
    """An `InternVLForConditionalGeneration` that reads a video as its own processor writes it: "Frame1: " and a frame.

    The features come after the pixel shuffle, which has no weights and precedes the projector, the first trained
    module.
    """

    vision_modules = ("model.vision_tower",)

    def __init__(self, model: Any, tokenizer: Any, preprocess: Preprocess):
        super().__init__(model, tokenizer, preprocess)
        config = self.model.config
        vision, shuffled = config.vision_config, round(1 / config.downsample_ratio) ** 2
        patches = math.prod(size // patch for size, patch in zip(vision.image_size, vision.patch_size, strict=True))
        self.feature_shape = patches // shuffled, vision.hidden_size * shuffled
        self.video_token = config.image_token_id

    def vision(self, pixels: Tensor) -> Tensor:
        """See `Student.vision`. A feature joins 2 x 2 of the vision tower's patches."""
        config = self.model.config
        seen = self.model.model.vision_tower(pixels, output_hidden_states=config.vision_feature_layer != -1)
        last = config.vision_feature_layer == -1
        patches = seen.last_hidden_state if last else seen.hidden_states[config.vision_feature_layer]
        if config.vision_feature_select_strategy == "default":
            patches = patches[:, 1:]
        side = math.isqrt(patches.shape[1])
        return self.model.model.pixel_shuffle(patches.unflatten(1, (side, side)), config.downsample_ratio).flatten(1, 2)

    def labels(self, frames: int) -> list[str]:
        before = getattr(self.tokenizer, "start_image_token", "<img>")
        after = getattr(self.tokenizer, "end_image_token", "</img>")
        ends = ["", *[f"{after}\n"] * (frames - 1)]
        return [*(f"{end}Frame{number}: {before}" for number, end in enumerate(ends, 1)), after]
