"""SmolVLM2: vision encoder, frozen | pixel shuffle and projection, SmolLM2 over [video, question | target | target ...]
in one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, SmolVLMForConditionalGeneration
from transformers.models.smolvlm.processing_smolvlm import (
    DEFAULT_CHAT_TEMPLATE,
    DEFAULT_MEDIA_OUTTRO,
    DEFAULT_VIDEO_INTRO,
    FRAME_TIMESTAMP_MESSAGE,
)

from reasvqa.preprocess import Preprocess
from reasvqa.students.packed import PackedStudent, own_token

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_ONES += ["seventeen", "eighteen", "nineteen"]
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


class SmolVlmStudent(PackedStudent):
    """A `SmolVLMForConditionalGeneration`, read as its own processor writes a video: how many frames of how long a
    video, then each frame after its time.

    A student is not told when its frames were taken, only in which order. So they are labelled as one second apart
    ("Frame from 00:02:"), the rate at which this family's own processor samples.

    What the vision encoder gives is cached. Pixel shuffle and projection are one module, the connector, which is
    trained.
    """

    vision_modules = ("model.vision_model",)

    def __init__(
        self, model: SmolVLMForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, preprocess: Preprocess
    ):
        super().__init__(model, tokenizer, preprocess)
        config = self.model.config
        vision = config.vision_config
        self.feature_shape = (vision.image_size // vision.patch_size) ** 2, vision.hidden_size
        self.video_token: int = config.image_token_id
        around = getattr(tokenizer, "fake_image_token", "<fake_token_around_image>")
        self.before = f"{around}{getattr(tokenizer, 'global_image_token', '<global-img>')}"
        self.after = around
        self.answer_start = own_token(tokenizer, "Answer")
        self.reasoning_start = own_token(tokenizer, "Reason", "Because")

    @property
    def language_model(self) -> Any:
        return self.model.model.text_model

    @property
    def projection(self) -> nn.Module:
        return self.model.model.connector

    def vision(self, pixels: Tensor) -> Tensor:
        """The vision encoder's patches, see `Student.vision`."""
        return self.model.model.vision_model(pixels).last_hidden_state

    def prompts(self, texts: Sequence[str]) -> list[str]:
        """See `PackedStudent.prompts`. The template is the one that transformers takes for videos, whatever the
        checkpoint brings. The blank before the video belongs to the first word of its introduction, the line breaks
        after it to the question: so each part has the ids that it has in the whole text."""
        video = self.tokenizer.convert_ids_to_tokens(self.video_token)
        rendered = []
        for text in texts:
            chat = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}]
            prompt = self.tokenizer.apply_chat_template(
                chat, chat_template=DEFAULT_CHAT_TEMPLATE, tokenize=False, add_generation_prompt=True
            )
            rendered.append(prompt.replace(" <video>", f"{video}{DEFAULT_MEDIA_OUTTRO}", 1))
        return rendered

    def visual_tokens(self, features: Tensor) -> Tensor:
        """What SmolLM2 reads of the frames, (B, V, D), see `PackedStudent.visual_tokens`."""
        batch, frames = features.shape[:2]
        if frames == 0:
            return features.new_zeros(batch, 0, self.model.config.text_config.hidden_size, dtype=self.dtype)
        seen = self.projection(features.to(self.dtype).flatten(0, 1)).unflatten(0, (batch, frames)).to(self.dtype)
        length = str(timedelta(seconds=frames))
        parts, before = [], " " + DEFAULT_VIDEO_INTRO.format(frame_count=in_words(frames), video_duration=length)
        for second in range(frames):
            time = f"{second // 60:02d}:{second % 60:02d}"
            label = self.words(f"{before}{FRAME_TIMESTAMP_MESSAGE.format(timestamp=time)}{self.before}")
            parts += [label.expand(batch, -1, -1), seen[:, second]]
            before = self.after
        return torch.cat([*parts, self.words(self.after).expand(batch, -1, -1)], dim=1)


def in_words(number: int) -> str:
    """A number of frames as SmolVLM's processor writes it: 4 -> "four", 64 -> "sixty-four"; above 99 in digits."""
    if number < len(_ONES):
        return _ONES[number]
    if number > 99:
        return str(number)
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")
