"""The prompts of phase 1."""

from __future__ import annotations

from reasvqa.samples import Sample
from reasvqa.validation import one_of

# Prompts whose responses name an option. "reasoning" is the paper's (appendix A.3), word by word. "tagged" is ours, for
# models that are trained to put their thoughts and their answer into tags.
REASONING_PROMPTS = {
    "reasoning": (
        "These frames are uniformly sampled from a video. Given a question about the video, you should choose "
        "the correct answer option from a list of possible answers based on the video content and respond "
        "with the option in the format '###Answer: A'. You should also provide a detailed reasoning process "
        "explaining why the chosen answer is correct. Cite specific details from the video frames to support "
        "your answer. Explain each step of the reasoning to ensure that the answer is logical and reliable. "
        "###Question: {question}, ###Hints: {options}."
    ),
    "tagged": (
        "These frames are uniformly sampled from a video. Given a question about the video, choose the "
        "correct option from a list of possible answers based on the video content. First reason step by step "
        "inside <think> and </think>: cite specific details from the video frames and explain each step. Then "
        "give only the letter of the option you choose inside <answer> and </answer>, for example "
        "<answer>A</answer>. ###Question: {question}, ###Hints: {options}."
    ),
}
# Ours, for the comparison with captions (Table 9), whose prompts the paper does not print.
CAPTION_PROMPTS = {
    "brief_caption": "These frames are uniformly sampled from a video. Describe the video in one short sentence.",
    "detailed_caption": (
        "These frames are uniformly sampled from a video. Describe in detail what happens in the video, in order."
    ),
}


def build_prompt(sample: Sample, kind: str = "reasoning") -> str:
    """Return the text that the generator gets together with the frames.

    kind: "reasoning" (appendix A.3); "tagged", the same task for reasoning models, with <think> and <answer>; or
    "brief_caption" or "detailed_caption", which do not depend on the question. Another one raises ValueError.
    """
    prompts = REASONING_PROMPTS | CAPTION_PROMPTS
    return prompts[one_of("kind", kind, prompts)].format(question=sample.question, options=sample.lettered.rstrip("."))
