"""STAR (Wu et al., 2021): STAR_{train,val,test}.json, a list of objects; the test split comes without answers.

An item: {"question_id": "Interaction_T1_13", "question": ..., "video_id": "YSKX3", "start": 12.1, "end": 18.0,
"choices": [{"choice_id": 0, "choice": "The food."}, ...], "answer": "The blanket."} (and programs and graphs, which are
not read). The videos are Charades': videos/YSKX3.mp4.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from reasvqa.datasets.base import (
    DataError,
    Samples,
    annotation_file,
    check_samples,
    read_json,
    safe_path,
    seconds,
    shown,
    split_name,
)
from reasvqa.samples import Sample

SPLITS = ("train", "val", "test")
TYPES = ("Interaction", "Sequence", "Prediction", "Feasibility")


def load(root: Path, split: str) -> Samples:
    """See `reasvqa.datasets.load`. Warn of questions that offer a text twice.

    The answer is given as a text, so where it stands twice, the first option counts as right and the second as wrong.
    """
    split_name(split, SPLITS, "STAR")
    path = annotation_file(root, f"STAR_{split}.json", "STAR's annotations belong into this folder.")
    items = read_json(path)
    if not isinstance(items, list):
        raise DataError(f"{path}: expected a list of questions. Is this the official file?")
    if not items:
        raise DataError(f"{path}: the file holds no questions. Download it again.")
    labelled = any(isinstance(item, dict) and "answer" in item for item in items)
    places = [f"item {number}" for number in range(1, len(items) + 1)]
    placed = [(place, _sample(item, labelled, path, place)) for place, item in zip(places, items, strict=True)]
    samples = check_samples(placed, path)
    twice = [(place, s) for place, s in placed if len(set(s.options)) < len(s.options)]
    if twice:
        answers = sum(s.options.count(s.answer_text) > 1 for _, s in twice if s.answer_text is not None)
        warnings.warn(
            f"{path}: {len(twice)} of {len(samples)} questions offer the same text twice (the first: {twice[0][0]}); "
            f"in {answers} of them it is the answer, and the first of the two counts as right",
            stacklevel=3,
        )
    return Samples(samples, root / "videos")


def _sample(item: Any, labelled: bool, path: Path, place: str) -> Sample:
    if not isinstance(item, dict):
        raise DataError(f"{path}, {place}: expected an object, got {type(item).__name__}. Download the file again.")
    texts = ("question_id", "question", "video_id", *(["answer"] if labelled else []))
    for field in (*texts, "start", "end", "choices"):
        if item.get(field) in ("", None):
            raise DataError(f"{path}, {place}: field {field} is missing. Download the file again.")
    for field in texts:
        if not isinstance(item[field], str):
            found = f"{path}, {place}, field {field}: {shown(item[field])}"
            raise DataError(f"{found} is not a text. Download the file again.")
    kind = item["question_id"].split("_")[0]
    if kind not in TYPES:
        found = f"{path}, {place}, field question_id: {shown(item['question_id'])}"
        raise DataError(f"{found} does not begin with {', '.join(TYPES)}. Download the file again.")
    start, end = (seconds(item[field], path, f"{place}, field {field}") for field in ("start", "end"))
    if start >= end:
        raise DataError(f"{path}, {place}: start {start}, end {end}: the clip ends before it starts. Correct it.")
    options, answer = _options(item["choices"], path, place), None
    if labelled:
        if item["answer"] not in options:
            found = f"{path}, {place}, field answer: {shown(item['answer'])}"
            raise DataError(f"{found} is not one of the choices {shown(list(options))}.")
        answer = options.index(item["answer"])
    video = safe_path(f"{item['video_id']}.mp4", path, f"{place}, field video_id")
    return Sample(item["question_id"], video, (start, end), item["question"], options, answer, kind)


def _options(choices: Any, path: Path, place: str) -> tuple[str, ...]:
    """Return the four texts, in the order of their choice_id."""
    try:
        texts = {choice["choice_id"]: choice["choice"] for choice in choices}
        if len(choices) == 4 and all(isinstance(texts[i], str) and texts[i].strip() for i in range(4)):
            return tuple(texts[i] for i in range(4))
    except (TypeError, KeyError):
        pass
    found = f"{path}, {place}, field choices"
    raise DataError(f"{found}: expected four, with choice_id 0 to 3 and the text as choice. Download the file again.")
