"""Provide what all readers share: a list of samples, strict reading of files, and errors that name the remedy."""

import csv
import io
import json
import math
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from reasvqa.samples import Sample
from reasvqa.validation import shortened

Choices = Mapping[str, Collection[str]]  # by column, the values that it may have
MAX_PATH, MAX_NAME = 1000, 255  # of a video: characters in all, bytes in a folder's or file's name


class DataError(ValueError):
    """A fault in a data file. The message names the file, the place in it and the remedy."""


class Samples(Sequence[Sample]):
    """The samples of one split, in file order, and the folder of their videos."""

    def __init__(self, samples: Iterable[Sample], videos: Path):
        self._samples = tuple(samples)
        self.videos = videos

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int | slice) -> Any:  # a Sample, or the Samples of a slice
        return Samples(self._samples[index], self.videos) if isinstance(index, slice) else self._samples[index]

    def __repr__(self) -> str:
        return f"<{len(self)} samples on {len({(s.video, s.clip) for s in self})} clips, videos in {self.videos}>"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per sample, with the columns of `Sample`; answer is Int64."""
        return pd.DataFrame(map(vars, self), columns=list(Sample.__dataclass_fields__)).astype({"answer": "Int64"})

    def select(self, ids: Iterable[str]) -> "Samples":
        """Return the samples with these ids, in file order."""
        wanted = set(ids)
        return Samples([sample for sample in self if sample.id in wanted], self.videos)


def annotation_file(root: Path, name: str, purpose: str) -> Path:
    """Return root/name. If the file is missing, raise a DataError that says where it comes from."""
    path = root / name
    if not path.is_file():
        raise DataError(f"{path}: no such file. {purpose} See data/README.md for where each file comes from.")
    return path


def read_text(path: Path) -> str:
    """Read a file as UTF-8, without its byte order mark; raise DataError if that fails."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        at = f"not UTF-8 text (byte {error.start})"
        raise DataError(f"{path}: {at}. Save the file as UTF-8, or download it again.") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Make the file readable.") from error


def read_json(path: Path) -> Any:
    """Read a JSON file. Raise DataError if it is not valid, or if an object has a key twice: a value would be lost."""
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}). Download it again.") from error
    except RecursionError as error:
        raise DataError(f"{path}: nested too deeply. Is this the official file?") from error
    except ValueError as error:
        raise DataError(f"{path}: {str(error)[:120]}. Correct it, or download it again.") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise ValueError(f"the key {shortened(twice)} occurs twice in an object")
    return found


def read_map(path: Path) -> dict[str, str]:
    """Read NExT-QA's map_vid_vidorID.json, video id -> path without its ending, or raise DataError."""
    folders = read_json(path)
    if not isinstance(folders, dict):
        raise DataError(f"{path}: expected an object that maps video ids to paths. Download it again.")
    for name, folder in folders.items():
        if not isinstance(folder, str) or not folder.strip():
            problem = f"{shortened(folder)} is not a path"
            raise DataError(f"{path}, entry {shortened(name)}: {problem}. Download the file again.")
    return folders


def read_table(
    path: Path, required: Sequence[str], choices: Choices, possible: Sequence[str] | None = None
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the place ("row 7"; row 1 follows the header) and the values, as text, of each row of a CSV file.

    Rows without any value and columns without a name or value, which spreadsheets leave at the end, are skipped.

    Args:
        required: columns that must be there.
        choices: by column, the values that it may have.
        possible: the only other columns that may be there; None: any.

    Raises:
        DataError: the file has no rows; a column is missing, unknown or duplicate; a row has too few or too many
            values, or one that is not among the choices; quotation marks do not match.
    """
    # Strict: otherwise an unclosed quotation mark, or text after a closing one, would swallow rows.
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    header, number, count = [], -1, 0
    try:
        for number, values in enumerate(reader):
            if number == 0:
                header = [name.strip() for name in values]
                while header and not header[-1]:
                    header.pop()
                _check_header(path, header, required, possible)
            elif any(value.strip() for value in values):
                count += 1
                yield f"row {number}", _checked_row(f"{path}, row {number}", values, header, choices)
    except csv.Error as error:
        raise DataError(
            f"{path}, row {number + 1} (to line {reader.line_num}): {error}. Most likely a quotation mark is not "
            "closed. Double each quotation mark inside a value."
        ) from error
    if not count:
        what = "a header but no rows" if header else "nothing"
        raise DataError(f"{path}: the file holds {what}. Fill it in, or download it again.")


def _checked_row(where: str, values: list[str], header: list[str], choices: Choices) -> dict[str, str]:
    if not any(values[len(header) :]):
        values = values[: len(header)]
    if len(values) != len(header):
        found = f"{len(values)} values for {len(header)} columns"
        raise DataError(f"{where}: {found}. Quote values that contain commas.")
    for at, column in enumerate(header):
        if _holds_rows(values, at, header, choices):
            raise DataError(
                f"{where}, column {column}: the value holds a part of other rows. There is one quotation mark too many "
                "or too few. Double each quotation mark inside a value."
            )
    row = dict(zip(header, values, strict=True))
    for column, allowed in choices.items():
        if row[column].strip() not in allowed:
            found = f"{shortened(row[column])} is not one of {', '.join(allowed)}"
            raise DataError(f"{where}, column {column}: {found}. Correct it.")
    return row


def _holds_rows(values: list[str], at: int, header: list[str], choices: Choices) -> bool:
    """Tell whether stray quotation marks joined several rows in one value: its first and its last line, together with
    the values around them, are then rows of this file."""
    first, *others = re.split(r"\r\n|\n|\r", values[at])
    if not others:
        return False
    rows = [values[:at] + next(csv.reader([first]), []), next(csv.reader([others[-1]]), []) + values[at + 1 :]]
    return all(
        len(row) == len(header) and all(row[header.index(name)].strip() in of for name, of in choices.items())
        for row in rows
    )


def _check_header(path: Path, header: list[str], required: Sequence[str], possible: Sequence[str] | None) -> None:
    for column in required:
        if column not in header:
            found = f"Found: {shortened(', '.join(header))}; needed: {', '.join(required)}."
            if other := re.search(f"{column}\\s*([;|\t])|([;|\t])\\s*{column}", ",".join(header)):
                found += f" Save the file with commas between the values, not {other[1] or other[2]!r}."
            raise DataError(f"{path}: column {column!r} is missing. {found}")
    for place, column in enumerate(header):
        if column in header[:place]:
            raise DataError(f"{path}: column {shortened(column)} occurs twice. Remove or rename one.")
        if possible is not None and column not in (*required, *possible):
            others = f"Needed: {', '.join(required)}; possible: {', '.join(possible)}."
            raise DataError(f"{path}: column {shortened(column)} is not known. {others}")


def check_filled(where: str, row: dict[str, str], columns: Sequence[str]) -> None:
    """Raise DataError if one of these columns is empty in a row."""
    for column in columns:
        if not row[column].strip():
            raise DataError(f"{where}, column {column}: empty. Fill it in, or download the file again.")


def integer(text: str, below: int, where: str) -> int:
    """Read `text` as an integer from 0 to below - 1, or raise DataError."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10 and int(digits) < below):
        problem = f"expected an integer from 0 to {below - 1}, got {shortened(text)}"
        raise DataError(f"{where}: {problem}. Correct it, or download the file again.")
    return int(digits)


def seconds(value: object, where: str) -> float:
    """Read `value` as a time in a video, finite and not negative, or raise DataError."""
    try:
        time = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        time = math.nan
    if not 0 <= time < math.inf:
        raise DataError(f"{where}: {shortened(value)} is not a time in seconds. Correct it.")
    return time


def safe_path(text: str, where: str) -> str:
    """Return `text` as a relative path inside the video folder, or raise DataError."""
    video = PurePosixPath(text.replace("\\", "/"))
    elsewhere = ":" in text if os.name == "nt" else re.match(r"[A-Za-z]:/", str(video))  # C:/videos/x.mp4
    if video.is_absolute() or ".." in video.parts or not video.parts or elsewhere or "\0" in text:
        problem = f"video {shortened(text)} is outside the video folder"
        raise DataError(f"{where}: {problem}. Use a path relative to this folder.")
    if len(text) > MAX_PATH or any(len(part.encode(errors="replace")) > MAX_NAME for part in video.parts):
        raise DataError(f"{where}: video {shortened(text)} is too long for a file name. Shorten it.")
    return str(video)


def check_samples(placed: Sequence[tuple[str, Sample]], path: Path) -> list[Sample]:
    """Return the samples without their places. Raise DataError if two share an id, or a text is not valid Unicode."""
    seen: dict[str, str] = {}
    for place, sample in placed:
        if (first := seen.setdefault(sample.id, place)) != place:
            problem = f"id {shortened(sample.id)} occurs already in {first}"
            raise DataError(f"{path}, {place}: {problem}. Ids must be unique: remove one.")
        try:
            "".join((sample.id, sample.video, sample.question, *sample.options)).encode()
        except UnicodeEncodeError as error:
            half = shortened(error.object[error.start : error.end])
            raise DataError(f"{path}, {place}: {half} is half a character (a lone surrogate). Remove it.") from error
    return [sample for _, sample in placed]


def check_links(samples: Samples) -> None:
    """Raise DataError if a symbolic link leads out of the video folder; the folder itself may be a link."""
    checked: set[PurePosixPath] = set()
    inside = samples.videos.resolve()
    for sample in samples:
        parts = PurePosixPath(sample.video)
        for part in (parts, *parts.parents[:-1]):
            if part in checked:
                break
            checked.add(part)
            file = samples.videos / part
            if file.is_symlink() and not file.resolve().is_relative_to(inside):
                remedy = f"Put the file there, or make {samples.videos} itself a link to the folder with all videos."
                problem = f"a link that leads out of the video folder (question {shortened(sample.id)})"
                raise DataError(f"{file}: {problem}. {remedy}")
