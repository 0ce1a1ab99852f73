"""Your own questions about your own videos: questions.csv beside a folder `videos`.

Columns: video (a file in the folder), question, a0, a1, ... up to a9 (2 to 10 options; leave the rest empty), answer (the right option's
letter, A for a0; empty where it is not known), split (train, val or test). May be there, too: start and end (seconds of a clip), id, type
(any word to group by), and reasoning (an explanation written by hand, used by `written_reasoning`).
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from reasvqa.datasets.base import DataError, Samples, annotation_file, check_unique, read_text, safe_path, split_name
from reasvqa.samples import LETTERS, Sample

SPLITS = ("train", "val", "test")
OPTIONS = tuple(f"a{i}" for i in range(len(LETTERS)))
COLUMNS = ("video", "question", "answer", "split", "a0", "a1")
OPTIONAL = ("start", "end", "id", "type", "reasoning", *OPTIONS[2:])


def load(root: Path, split: str) -> Samples:
    """See `reasvqa.datasets.load`. Without ids a sample's id is its row, as in "row7"; its group is its type, or "All"."""
    split_name(split, SPLITS, "a data set of your own")
    path, rows = _rows(root)
    samples = [
        sample for number, row in rows if (sample := _sample(path, number, row)) and row["split"].strip() == split
    ]
    check_unique([_sample(path, number, row) for number, row in rows], path)
    if not samples:
        raise DataError(f"{path}, column split: no row says {split!r}. Give some questions to it.")
    return Samples(samples, root / "videos")


def written_reasoning(root: Path) -> dict[str, str]:
    """By sample id, what the column `reasoning` says; rows where it is empty are left out."""
    path, rows = _rows(root)
    return {
        _sample(path, number, row).id: row["reasoning"].strip()
        for number, row in rows
        if row.get("reasoning", "").strip()
    }


def _rows(root: Path) -> tuple[Path, list[tuple[int, dict[str, str]]]]:
    """The file and its rows with their numbers; row 1 is the first after the header."""
    path = annotation_file(
        root, "questions.csv", f"It holds a question a row, with the columns {', '.join(COLUMNS)}, ..."
    )
    table = list(csv.reader(io.StringIO(read_text(path), newline="")))
    header = [name.strip() for name in table[0]] if table else []
    missing, unknown = (
        [name for name in COLUMNS if name not in header],
        [name for name in header if name not in COLUMNS + OPTIONAL],
    )
    if missing or unknown:
        problem = f"column {missing[0]!r} is missing" if missing else f"column {unknown[0]!r} is not known"
        raise DataError(f"{path}: {problem}. Needed: {', '.join(COLUMNS)}; possible: {', '.join(OPTIONAL)}.")
    rows = []
    for number, values in enumerate(table[1:], 1):
        if not any(value.strip() for value in values):
            continue  # spreadsheets leave empty rows at the end
        if len(values) != len(header):
            raise DataError(
                f"{path}, row {number}: {len(values)} values for {len(header)} columns. Quote values that contain commas."
            )
        rows.append((number, dict(zip(header, values, strict=True))))
    return path, rows


def _sample(path: Path, number: int, row: dict[str, str]) -> Sample:
    place = f"{path}, row {number}"
    for column in ("video", "question", "split"):
        if not row[column].strip():
            raise DataError(f"{place}, column {column}: empty. Fill it in, or remove the row.")
    if row["split"].strip() not in SPLITS:
        raise DataError(f"{place}, column split: {row['split']!r} is not one of {', '.join(SPLITS)}.")
    texts = [row.get(option, "").strip() for option in OPTIONS]
    count = max((i + 1 for i, text in enumerate(texts) if text), default=0)
    if count < 2 or "" in texts[:count]:
        gap = next((option for option, text in zip(OPTIONS, texts, strict=True) if not text), "a0")
        raise DataError(
            f"{place}, column {gap}: a question needs 2 to {len(OPTIONS)} options, from a0 on without gaps. Fill it in."
        )
    if len({text.casefold() for text in texts[:count]}) < count:
        raise DataError(f"{place}: two options are the same. Make them different, or remove one.")
    letter = row["answer"].strip().upper()
    if letter and letter not in LETTERS[:count]:
        raise DataError(
            f"{place}, column answer: {row['answer']!r} is not a letter from A to {LETTERS[count - 1]}. Give the right option's letter, or leave it empty."
        )
    clip = tuple(_seconds(place, row, column) for column in ("start", "end"))
    if (clip[0] is None) != (clip[1] is None) or (clip[0] is not None and clip[0] >= clip[1]):
        raise DataError(
            f"{place}, columns start and end: {row.get('start')!r}, {row.get('end')!r}. Give both, in seconds, start before end, or none."
        )
    return Sample(
        row.get("id", "").strip() or f"row{number}",
        safe_path(row["video"].strip(), path, f"row {number}, column video"),
        None if clip[0] is None else clip,
        row["question"].strip(),
        tuple(texts[:count]),
        LETTERS.index(letter) if letter else None,
        row.get("type", "").strip() or "All",
    )


def _seconds(place: str, row: dict[str, str], column: str) -> float | None:
    text = row.get(column, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise DataError(f"{place}, column {column}: {text!r} is not a time in seconds.")
    return value
