"""Phase 1, RG: a generator explains its answer to every training question (paper, section 3.1)."""

from reasvqa.answers import parse_answer
from reasvqa.generation.prompts import CAPTION_PROMPTS, build_prompt
from reasvqa.generation.run import Generator, ReasoningError, Written, generate, read_reasoning, swap_reasoning

__all__ = [
    "CAPTION_PROMPTS",
    "Generator",
    "ReasoningError",
    "Written",
    "build_prompt",
    "generate",
    "parse_answer",
    "read_reasoning",
    "swap_reasoning",
]
