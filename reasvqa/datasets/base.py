"""What the readers share: a list of samples, files read strictly, and errors that say what to do."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, overload

import pandas as pd

from reasvqa.samples import Sample

# In a value, what separates rows and columns elsewhere (in prose a space follows a comma).
_BREAK, _COMMA = re.compile(r"[\r\n]"), re.compile(r",(?! )")


class DataError(ValueError):
    """Something is wrong with a data file. The message names the file, the place in it and the remedy."""


class Samples(Sequence[Sample]):
    """The samples of one split, in file order, and the folder their videos lie in."""

    def __init__(self, samples: Iterable[Sample], videos: Path):
        self._samples = tuple(samples)
        self.videos = videos

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Samples: ...

    def __getitem__(self, index: int | slice) -> Sample | Samples:
        if isinstance(index, slice):
            return Samples(self._samples[index], self.videos)
        return self._samples[index]

    def __repr__(self) -> str:
        return f"<{len(self)} samples on {len({(s.video, s.clip) for s in self})} clips, videos in {self.videos}>"

    def to_pandas(self) -> pd.DataFrame:
        """One row a sample, with the columns of `Sample`."""
        columns = list(Sample.__dataclass_fields__)
        frame = pd.DataFrame({name: [getattr(sample, name) for sample in self] for name in columns})
        return frame.astype({"answer": "Int64"})

    def select(self, ids: Iterable[str]) -> Samples:
        """The samples with these ids, in file order."""
        wanted = set(ids)
        return Samples([sample for sample in self if sample.id in wanted], self.videos)


def annotation_file(root: Path, name: str, where: str) -> Path:
    """root/name, or a DataError that tells where the file comes from."""
    path = root / name
    if not path.is_file():
        raise DataError(f"{path}: no such file. {where} See data/README.md for where each file comes from.")
    return path


def split_name(split: str, splits: Sequence[str], dataset: str) -> str:
    """The split, checked."""
    if split not in splits:
        raise ValueError(f"split {split!r}: {dataset} has {', '.join(splits)}")
    return split


def shown(value: object) -> str:
    """A value as an error message quotes it: not more than 80 characters of it."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # ValueError: an integer of more digits than Python writes
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text):,} characters)"


def read_text(path: Path) -> str:
    """The file as UTF-8 text (a byte order mark is skipped)."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text (byte {error.start}). Save the file as UTF-8, or download it again."
        ) from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Make the file readable.") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds. An object that has a key twice is an error: one of the two would be lost."""
    try:
        return json.loads(read_text(path), object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}). Download it again.") from error
    except RecursionError as error:
        raise DataError(f"{path}: nested too deeply. Is this the official file?") from error
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{path}: {str(error)[:120]}. Correct it, or download it again.") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice)} occurs twice in an object")
    return found


def read_map(path: Path) -> dict[str, str]:
    """NExT-QA's map_vid_vidorID.json: video id -> path without its ending."""
    folders = read_json(path)
    if not isinstance(folders, dict):
        raise DataError(f"{path}: expected an object that maps video ids to paths. Download it again.")
    for name, folder in folders.items():
        if not isinstance(folder, str) or not folder.strip():
            raise DataError(f"{path}, entry {shown(name)}: {shown(folder)} is not a path. Download the file again.")
    return folders


def read_table(
    path: Path, required: Sequence[str], possible: Sequence[str] | None = None
) -> Iterator[tuple[int, dict]]:
    """The rows of a CSV file with their numbers, every value as text. Row 1 is the first after the header.

    Rows without any value are left out, as spreadsheets leave them at the end.

    Args:
        required: columns that must be there.
        possible: the only other ones that may be; None: any.

    Raises:
        DataError: the file is empty or has nothing but a header, a column is missing, unknown or there twice, a row has
            another number of values than the header, a quote is not closed, or a value is longer than 131,072
            characters.
    """
    # Strict: a quote that is never closed, or goes on after its end, is an error. Otherwise it would swallow rows.
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    header: list[str] = []
    number = -1  # the header counts as row 0
    read = 0
    while True:
        number += 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise DataError(
                f"{path}, row {number} (to line {reader.line_num}): {error}. Most likely a quotation mark is not "
                "closed; double those that stand inside of a value."
            ) from error
        if values is None:
            break
        if number == 0:
            header = [name.strip() for name in values]
            _check_header(path, header, required, possible)
            continue
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(header):
            raise DataError(
                f"{path}, row {number}: {len(values)} values for {len(header)} columns. Quote values that contain "
                "commas."
            )
        for column, value in zip(header, values, strict=True):
            if _BREAK.search(value) and len(_COMMA.findall(value)) >= len(header) - 1:
                raise DataError(
                    f"{path}, row {number}, column {column}: the value holds a part of other rows. A quotation mark is "
                    "one too many or one too few; double those that stand inside of a value."
                )
        read += 1
        yield number, dict(zip(header, values, strict=True))
    if not read:
        what = "a header but no rows" if header else "nothing"
        raise DataError(f"{path}: the file holds {what}. Fill it in, or download it again.")


def _check_header(path: Path, header: list[str], required: Sequence[str], possible: Sequence[str] | None) -> None:
    found = f"Found: {shown(', '.join(header))}"
    for column in required:
        if column not in header:
            raise DataError(f"{path}: column {column!r} is missing. {found}; needed: {', '.join(required)}.")
    for place, column in enumerate(header):
        if column in header[:place]:
            raise DataError(f"{path}: column {shown(column)} is there twice. Remove or rename one.")
        if possible is not None and column not in (*required, *possible):
            raise DataError(
                f"{path}: column {shown(column)} is not known. Needed: {', '.join(required)}; possible: "
                f"{', '.join(possible)}."
            )


def check_filled(path: Path, place: str, row: dict[str, str], columns: Sequence[str]) -> None:
    """Raises when one of these columns is empty in a row."""
    for column in columns:
        if not row[column].strip():
            raise DataError(f"{path}, {place}, column {column}: empty. Fill it in, or download the file again.")


def whole_number(text: str, below: int, path: Path, place: str) -> int:
    """`text` as a whole number from 0 to below - 1."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10 and int(digits) < below):
        raise DataError(
            f"{path}, {place}: {shown(text)} is not a whole number from 0 to {below - 1}. Correct it, or download the "
            "file again."
        )
    return int(digits)


def seconds(value: object, path: Path, place: str) -> float:
    """`value` as a time in a video: finite and not negative."""
    try:
        time = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        time = math.nan
    if not 0 <= time < math.inf:
        raise DataError(f"{path}, {place}: {shown(value)} is not a time in seconds. Correct it.")
    return time


def safe_path(text: str, path: Path, place: str) -> str:
    """`text` as a relative path that stays inside the video folder."""
    parts = PurePosixPath(text.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or ":" in parts.parts[0] or "\0" in text:
        raise DataError(
            f"{path}, {place}: video {shown(text)} would lie outside the video folder. Use a name relative to it."
        )
    if len(text) > 1000 or any(len(part.encode(errors="replace")) > 255 for part in parts.parts):
        raise DataError(f"{path}, {place}: video {shown(text)} is too long for a file's name. Shorten it.")
    return str(parts)


def check_samples(placed: Sequence[tuple[str, Sample]], path: Path) -> list[Sample]:
    """The samples without their places ("row 7"), checked as a whole.

    Raises:
        DataError: two share an id, so that their predictions could not be told apart; or a text cannot be written as
        UTF-8.
    """
    seen: dict[str, str] = {}
    for place, sample in placed:
        if sample.id in seen:
            raise DataError(
                f"{path}, {place}: id {shown(sample.id)} occurs already in {seen[sample.id]}. Ids must be unique: "
                "remove one."
            )
        seen[sample.id] = place
        try:
            "".join((sample.id, sample.video, sample.question, *sample.options)).encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{path}, {place}: {shown(error.object[error.start : error.end])} is half a character (a lone "
                "surrogate). Remove it."
            ) from error
    return [sample for _, sample in placed]


def check_links(samples: Samples) -> None:
    """Raises when a symbolic link leads a video out of the video folder. (The folder itself may be a link.)"""
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
                raise DataError(
                    f"{file}: a link that leads out of the video folder (question {shown(sample.id)}). Put the file "
                    f"there, or make {samples.videos} itself a link to the folder with all videos."
                )
