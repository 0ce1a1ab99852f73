"""Run SmolVLM2 as a student: vision encoder, frozen | connector, SmolLM2 over [video, question | targets]."""

from datetime import timedelta
from typing import Any

from torch import Tensor

from reasvqa.preprocess import Preprocess
from reasvqa.students.packed import PackedStudent

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


class SmolVlmStudent(PackedStudent):
    """A `SmolVLMForConditionalGeneration` that reads a video as its own processor writes it: an introduction with the
    number of frames and the length, then each frame behind its time.

    Frames are labelled as one second apart ("Frame from 00:02:"), the rate at which this family's processor samples.
    The features are the vision encoder's patches; the connector (pixel shuffle and projection) is trained.
    """

    vision_modules = ("model.vision_model",)
    language_name, projection_name = "model.text_model", "model.connector"

    def __init__(self, model: Any, tokenizer: Any, preprocess: Preprocess):
        from transformers.models.smolvlm import processing_smolvlm as own  # its import takes seconds

        super().__init__(model, tokenizer, preprocess)
        self.template = own.DEFAULT_CHAT_TEMPLATE  # transformers takes it for videos, whatever the checkpoint brings
        # The blank belongs to the introduction's first word, and the line breaks behind the video to the question. So
        # each piece has the same ids as in the whole text.
        self.video_mark, self.after_video = " <video>", own.DEFAULT_MEDIA_OUTTRO
        self.introduction, self.before_frame = own.DEFAULT_VIDEO_INTRO, own.FRAME_TIMESTAMP_MESSAGE
        vision = self.model.config.vision_config
        self.feature_shape = (vision.image_size // vision.patch_size) ** 2, vision.hidden_size
        self.video_token = self.model.config.image_token_id

    def vision(self, pixels: Tensor) -> Tensor:
        return self.model.model.vision_model(pixels).last_hidden_state

    def labels(self, frames: int) -> list[str]:
        around = getattr(self.tokenizer, "fake_image_token", "<fake_token_around_image>")
        picture = f"{around}{getattr(self.tokenizer, 'global_image_token', '<global-img>')}"
        length = str(timedelta(seconds=frames))
        introduction = self.introduction.format(frame_count=in_words(frames), video_duration=length)
        starts = [f" {introduction}", *[around] * (frames - 1)]
        times = [self.before_frame.format(timestamp=f"{s // 60:02d}:{s % 60:02d}") for s in range(frames)]
        return [*(f"{start}{time}{picture}" for start, time in zip(starts, times, strict=True)), around]


def in_words(number: int) -> str:
    """Return a number as SmolVLM's processor writes it: 4 is "four", 64 "sixty-four"; from 100 on in digits."""
    if number >= 100:
        return str(number)
    tens, ones = divmod(number, 10)
    return _ONES[number] if number < 20 else _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")
