"""Read STAR (Wu et al., 2021): STAR_{train,val,test}.json, a list of objects; the test split has no answers.

An item: {"question_id": "Interaction_T1_13", "question": ..., "video_id": "YSKX3", "start": 12.1, "end": 18.0,
"choices": [{"choice_id": 0, "choice": "The food."}, ...], "answer": "The blanket."}; programs and graphs stay unread.
The videos are Charades': videos/YSKX3.mp4.
"""

import warnings
from pathlib import Path
from typing import Any

from reasvqa.datasets import base
from reasvqa.samples import STAR_GROUPS, Sample
from reasvqa.validation import one_of, shortened


def load(root: Path, split: str) -> base.Samples:
    """See `reasvqa.datasets.load`. Warn about questions that offer the same text twice.

    Answers are given as texts; if the answer's text occurs twice, its first option counts as right.
    """
    one_of("split", split, ("train", "val", "test"))
    path = base.annotation_file(root, f"STAR_{split}.json", "Put STAR's annotation files into this folder.")
    items = base.read_json(path)
    if not isinstance(items, list):
        raise base.DataError(f"{path}: expected a list of questions. Is this the official file?")
    if not items:
        raise base.DataError(f"{path}: the file holds no questions. Download it again.")
    labelled = any(isinstance(item, dict) and "answer" in item for item in items)
    placed = [(f"item {n}", _sample(item, labelled, f"{path}, item {n}")) for n, item in enumerate(items, 1)]
    samples = base.check_samples(placed, path)
    twice = [(place, s) for place, s in placed if len(set(s.options)) < len(s.options)]
    if twice:
        answers = sum(s.options.count(s.answer_text) > 1 for _, s in twice if s.answer_text is not None)
        warnings.warn(
            f"{path}: {len(twice)} of {len(samples)} questions have two equal options (the first: {twice[0][0]}). "
            f"In {answers} of them this option is the answer; the first of the two counts as right",
            stacklevel=3,
        )
    return base.Samples(samples, root / "videos")


def _wrong(where: str, problem: str) -> base.DataError:
    return base.DataError(f"{where}{problem}. Download the file again.")


def _sample(item: Any, labelled: bool, where: str) -> Sample:
    if not isinstance(item, dict):
        raise _wrong(where, f": expected an object, got {type(item).__name__}")
    texts = ("question_id", "question", "video_id", *(["answer"] if labelled else []))
    for field in (*texts, "start", "end", "choices"):
        if item.get(field) in ("", None):
            raise _wrong(where, f": field {field} is missing")
    for field in texts:
        if not isinstance(item[field], str):
            raise _wrong(where, f", field {field}: {shortened(item[field])} is not a text")
    kind = item["question_id"].split("_")[0]
    if kind not in STAR_GROUPS:
        problem = f"{shortened(item['question_id'])} does not begin with {', '.join(STAR_GROUPS)}"
        raise _wrong(where, f", field question_id: {problem}")
    start, end = (base.seconds(item[field], f"{where}, field {field}") for field in ("start", "end"))
    if start >= end:
        raise _wrong(where, f": start {start}, end {end}: the clip ends before it starts")
    options = _options(item["choices"], where)
    if labelled and item["answer"] not in options:
        problem = f"{shortened(item['answer'])} is not one of the choices {shortened(list(options))}"
        raise _wrong(where, f", field answer: {problem}")
    answer = options.index(item["answer"]) if labelled else None
    video = base.safe_path(f"{item['video_id']}.mp4", f"{where}, field video_id")
    return Sample(item["question_id"], video, (start, end), item["question"], options, answer, kind)


def _options(choices: Any, where: str) -> tuple[str, ...]:
    """Return the four texts, in the order of their choice_id, or raise DataError."""
    try:
        texts = {choice["choice_id"]: choice["choice"] for choice in choices}
        if len(choices) == 4 and all(isinstance(texts[i], str) and texts[i].strip() for i in range(4)):
            return tuple(texts[i] for i in range(4))
    except (TypeError, KeyError):
        pass
    raise _wrong(where, ", field choices: expected four, with choice_id 0 to 3 and the text as choice")
