"""Define the unit of all data sets: one multiple-choice question about one video."""

from dataclasses import dataclass

LETTERS = "ABCDEFGHIJ"

# Official question types -> columns of the paper's Table 1. IntentQA groups the same codes in its own way (Table 2), so
# its loader sets the group.
NEXTQA_GROUPS = {"CW": "Cau", "CH": "Cau", "TN": "Tem", "TP": "Tem", "TC": "Tem", "DC": "Des", "DL": "Des", "DO": "Des"}
STAR_GROUPS = {"Interaction": "Int", "Sequence": "Seq", "Prediction": "Pre", "Feasibility": "Fea"}
GROUPS = NEXTQA_GROUPS | STAR_GROUPS
INTENT_GROUPS = {"CW": "Why", "CH": "How", "TN": "Tem", "TP": "Tem", "TC": "Tem"}


@dataclass(frozen=True)
class Sample:
    """One question about one video. Raise ValueError for too few or too many options, or an answer that is none.

    Attributes:
        id: the key that the official evaluators use: f"{video}_{qid}" (NExT-QA, IntentQA) or the question_id (STAR).
        video: path relative to the data set's video folder, with forward slashes.
        clip: (start, end) in seconds, or None for the whole video.
        question: as the annotation file has it.
        options: 2 to 10 texts, in the file's order.
        answer: index of the right option, or None on an unlabelled split.
        type: the official code: CW CH TN TP TC DC DL DO, or Interaction Sequence Prediction Feasibility.
        group: the column in the paper's tables; it follows from the type unless the data set sets it.
    """

    id: str
    video: str
    clip: tuple[float, float] | None
    question: str
    options: tuple[str, ...]
    answer: int | None
    type: str
    group: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        if not self.group:
            object.__setattr__(self, "group", GROUPS.get(self.type, self.type))
        if not 2 <= len(self.options) <= len(LETTERS):
            raise ValueError(f"sample {self.id!r}: {len(self.options)} options, expected 2 to {len(LETTERS)}")
        if self.answer is not None and not 0 <= self.answer < len(self.options):
            raise ValueError(
                f"sample {self.id!r}: answer {self.answer} is not the index of one of its {len(self.options)} options"
            )

    @property
    def answer_text(self) -> str | None:
        """Return the right option's text, or None on an unlabelled split."""
        return None if self.answer is None else self.options[self.answer]

    @property
    def lettered(self) -> str:
        """Return the options as the prompt lists them: "A. The cup. B. The towel."."""
        return " ".join(f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=False))
