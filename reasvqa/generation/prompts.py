"""The prompts of phase 1 (paper, appendix A.3)."""

from __future__ import annotations

from reasvqa.samples import Sample

_REASONING = (
    "These frames are uniformly sampled from a video. Given a question about the video, you should choose the correct answer "
    "option from a list of possible answers based on the video content and respond with the option in the format '###Answer: A'. "
    "You should also provide a detailed reasoning process explaining why the chosen answer is correct. Cite specific details "
    "from the video frames to support your answer. Explain each step of the reasoning to ensure that the answer is logical and "
    "reliable. ###Question: {question}, ###Hints: {options}."
)
# Table 9 compares with captions; the paper does not print their prompts. These are ours.
CAPTION_PROMPTS = {
    "brief_caption": "These frames are uniformly sampled from a video. Describe the video in one short sentence.",
    "detailed_caption": "These frames are uniformly sampled from a video. Describe in detail what happens in the video, in order.",
}


def build_prompt(sample: Sample, kind: str = "reasoning") -> str:
    """The text that goes to the generator together with the frames.

    Args:
        sample: the question; its options are lettered.
        kind: "reasoning" (appendix A.3), or "brief_caption" or "detailed_caption", which do not depend on the question.
    """
    if kind == "reasoning":
        return _REASONING.format(question=sample.question, options=sample.lettered.rstrip("."))
    return CAPTION_PROMPTS[kind]
