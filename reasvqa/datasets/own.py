"""Your own questions about your own videos: questions.csv beside a folder `videos`.

Columns: video (a file in the folder), question, a0, a1, ... up to a9 (2 to 10 options; leave the rest empty), answer
(the right option's letter, A for a0; empty where it is not known), split (train, val or test). May be there, too: start
and end (seconds of a clip), id, type (any word to group by), and reasoning (an explanation written by hand, used by
`written_reasoning`).

Without an id of your own, a question's id is made of what it asks: the video's name and a hash of video, clip, question
and options. So rows may be added, sorted or moved to another split, and labels corrected, and each response stays with
its question; a question that is asked otherwise is a new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from reasvqa.datasets.base import (
    DataError,
    Samples,
    annotation_file,
    check_filled,
    check_samples,
    read_table,
    safe_path,
    seconds,
    shown,
    split_name,
)
from reasvqa.samples import LETTERS, Sample

SPLITS = ("train", "val", "test")
OPTIONS = tuple(f"a{i}" for i in range(len(LETTERS)))
COLUMNS = ("video", "question", "answer", "split", "a0", "a1")
OPTIONAL = ("start", "end", "id", "type", "reasoning", *OPTIONS[2:])


def load(root: Path, split: str) -> Samples:
    """See `reasvqa.datasets.load`. All rows are checked, those of other splits too. A sample's group is its type, or
    "All"."""
    split_name(split, SPLITS, "a data set of your own")
    path = _file(root)
    rows = list(_rows(path))
    check_samples([(place, sample) for place, _, sample in rows], path)
    samples = [sample for _, row, sample in rows if row["split"].strip() == split]
    if not samples:
        raise DataError(f"{path}, column split: no row says {split!r}. Give some questions to it.")
    return Samples(samples, root / "videos")


def written_reasoning(root: Path) -> dict[str, str]:
    """By sample id, what the column `reasoning` says; rows where it is empty are left out."""
    return {sample.id: text for _, row, sample in _rows(_file(root)) if (text := row.get("reasoning", "").strip())}


def _file(root: Path) -> Path:
    return annotation_file(
        root, "questions.csv", f"It holds a question a row, with the columns {', '.join(COLUMNS)}, ..."
    )


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str], Sample]]:
    """Each row's place ("row 7"; row 1 is the first after the header), its values and the sample they make."""
    for number, row in read_table(path, COLUMNS, OPTIONAL):
        place = f"row {number}"
        yield place, row, _sample(path, place, row)


def _sample(path: Path, place: str, row: dict[str, str]) -> Sample:
    check_filled(path, place, row, ("video", "question", "split"))
    if row["split"].strip() not in SPLITS:
        raise DataError(f"{path}, {place}, column split: {shown(row['split'])} is not one of {', '.join(SPLITS)}.")
    texts = [row.get(option, "").strip() for option in OPTIONS]
    count = max((i + 1 for i, text in enumerate(texts) if text), default=0)
    if count < 2 or "" in texts[:count]:
        gap = next((option for option, text in zip(OPTIONS, texts, strict=True) if not text), "a0")
        raise DataError(
            f"{path}, {place}, column {gap}: a question needs 2 to {len(OPTIONS)} options, from a0 on without gaps. "
            "Fill it in."
        )
    options = tuple(texts[:count])
    if len({text.casefold() for text in options}) < count:
        raise DataError(f"{path}, {place}: two options are the same. Make them different, or remove one.")
    letter = row["answer"].strip().upper()
    if letter and letter not in tuple(LETTERS[:count]):
        raise DataError(
            f"{path}, {place}, column answer: {shown(row['answer'])} is not a letter from A to {LETTERS[count - 1]}. "
            "Give the right option's letter, or leave it empty."
        )
    video = safe_path(row["video"].strip(), path, f"{place}, column video")
    clip = _clip(path, place, row)
    question = row["question"].strip()
    return Sample(
        row.get("id", "").strip() or _id(video, clip, question, options),
        video,
        clip,
        question,
        options,
        LETTERS.index(letter) if letter else None,
        row.get("type", "").strip() or "All",
    )


def _clip(path: Path, place: str, row: dict[str, str]) -> tuple[float, float] | None:
    times = [row.get(column, "").strip() for column in ("start", "end")]
    if times == ["", ""]:
        return None
    if all(times):
        start, end = (
            seconds(text, path, f"{place}, column {column}")
            for column, text in zip(("start", "end"), times, strict=True)
        )
        if start < end:
            return start, end
    raise DataError(
        f"{path}, {place}, columns start and end: {shown(times[0])}, {shown(times[1])}. Give both, in seconds, start "
        "before end, or none."
    )


def _id(video: str, clip: tuple[float, float] | None, question: str, options: tuple[str, ...]) -> str:
    """Twelve digits, so that even 100,000 questions on one video will not meet."""
    content = json.dumps([video, clip, question, options]).encode()
    return f"{PurePosixPath(video).stem}_{hashlib.sha256(content).hexdigest()[:12]}"
