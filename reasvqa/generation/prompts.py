"""Build the prompts of phase 1 (paper, appendix A.3)."""

from reasvqa.samples import Sample
from reasvqa.validation import one_of

# The paper's (appendix A.3), word by word.
REASONING_PROMPT = (
    "These frames are uniformly sampled from a video. Given a question about the video, you should choose "
    "the correct answer option from a list of possible answers based on the video content and respond "
    "with the option in the format '###Answer: A'. You should also provide a detailed reasoning process "
    "explaining why the chosen answer is correct. Cite specific details from the video frames to support "
    "your answer. Explain each step of the reasoning to ensure that the answer is logical and reliable. "
    "###Question: {question}, ###Hints: {options}."
)
# Ours, for the comparison with captions (Table 9), whose prompts the paper does not print.
CAPTION_PROMPTS = {
    "brief_caption": "These frames are uniformly sampled from a video. Describe the video in one short sentence.",
    "detailed_caption": (
        "These frames are uniformly sampled from a video. Describe in detail what happens in the video, in order."
    ),
}


def build_prompt(sample: Sample, kind: str = "reasoning") -> str:
    """Return the text that the generator gets together with the frames.

    kind: "reasoning" (appendix A.3), or "brief_caption" or "detailed_caption", which do not depend on the question.
    Raise ValueError for any other kind.
    """
    prompts = {"reasoning": REASONING_PROMPT} | CAPTION_PROMPTS
    return prompts[one_of("kind", kind, prompts)].format(question=sample.question, options=sample.lettered.rstrip("."))
