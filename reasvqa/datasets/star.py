"""STAR (Wu et al., 2021): STAR_{train,val,test}.json, a list of objects; the test split comes without answers.

An item: {"question_id": "Interaction_T1_13", "question": ..., "video_id": "YSKX3", "start": 12.1, "end": 18.0, "choices":
[{"choice_id": 0, "choice": "The food."}, ...], "answer": "The blanket."} (and programs and graphs, which are not read). The
videos are Charades': videos/YSKX3.mp4.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from reasvqa.datasets.base import DataError, Samples, annotation_file, check_unique, read_text, safe_path, split_name
from reasvqa.samples import Sample

SPLITS = ("train", "val", "test")
TYPES = ("Interaction", "Sequence", "Prediction", "Feasibility")


def load(root: Path, split: str) -> Samples:
    """See `reasvqa.datasets.load`."""
    split_name(split, SPLITS, "STAR")
    path = annotation_file(root, f"STAR_{split}.json", "STAR's annotations belong into this folder.")
    try:
        items = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}). Download it again.") from error
    if not isinstance(items, list):
        raise DataError(f"{path}: expected a list of questions. Is this the official file?")
    labelled = any(isinstance(item, dict) and "answer" in item for item in items)
    samples = [_sample(item, labelled, path, f"item {number}") for number, item in enumerate(items, 1)]
    check_unique(samples, path, "item")
    return Samples(samples, root / "videos")


def _sample(item: dict, labelled: bool, path: Path, place: str) -> Sample:
    if not isinstance(item, dict):
        raise DataError(f"{path}, {place}: expected an object, found {type(item).__name__}. Download the file again.")
    for field in ("question_id", "question", "video_id", "start", "end", "choices", *(["answer"] if labelled else [])):
        if field not in item or item[field] in ("", None):
            raise DataError(f"{path}, {place}: field {field} is missing. Download the file again.")
    type_ = str(item["question_id"]).split("_")[0]
    if type_ not in TYPES:
        raise DataError(
            f"{path}, {place}, field question_id: {item['question_id']!r} does not begin with {', '.join(TYPES)}."
        )
    try:
        start, end = float(item["start"]), float(item["end"])
    except (TypeError, ValueError):
        start = end = math.nan
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
        raise DataError(
            f"{path}, {place}: start {item['start']!r}, end {item['end']!r} are not seconds with 0 <= start < end."
        )
    try:
        choices = sorted(item["choices"], key=lambda choice: choice["choice_id"])
        numbers = [choice["choice_id"] for choice in choices]
        options = tuple(str(choice["choice"]) for choice in choices)
    except (TypeError, KeyError) as error:
        raise DataError(
            f"{path}, {place}, field choices: every choice needs choice_id and choice. Download the file again."
        ) from error
    if numbers != list(range(len(numbers))) or len(numbers) != 4:
        raise DataError(
            f"{path}, {place}, field choices: choice_id {numbers}, expected 0 to 3. Download the file again."
        )
    answer = None
    if labelled:
        if options.count(item["answer"]) != 1:
            raise DataError(
                f"{path}, {place}, field answer: {item['answer']!r} is not exactly one of the choices {list(options)}."
            )
        answer = options.index(item["answer"])
    video = safe_path(f"{item['video_id']}.mp4", path, f"{place}, field video_id")
    return Sample(str(item["question_id"]), video, (start, end), str(item["question"]), options, answer, type_)
