"""Let a generator explain its answer to every training question: phase 1, RG (paper, section 3.1)."""

from reasvqa.answers import parse_answer
from reasvqa.generation.prompts import CAPTION_PROMPTS, build_prompt
from reasvqa.generation.reasoning import ReasoningError, read_reasoning
from reasvqa.generation.run import GenerationError, Generator, UnansweredError, Written, generate

__all__ = ["CAPTION_PROMPTS", "GenerationError", "Generator", "ReasoningError", "UnansweredError", "Written"]
__all__ += ["build_prompt", "generate", "parse_answer", "read_reasoning"]
