"""What the three readers share: a list of samples, and errors that say what to do."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath

import pandas as pd

from reasvqa.samples import Sample


class DataError(ValueError):
    """Something is wrong with a data file. The message names the file, the place in it and the remedy."""


class Samples(Sequence[Sample]):
    """The samples of one split, in file order, and the folder their videos lie in."""

    def __init__(self, samples: Iterable[Sample], videos: Path):
        self._samples = tuple(samples)
        self.videos = videos

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Samples(self._samples[index], self.videos)
        return self._samples[index]

    def __repr__(self) -> str:
        return f"<{len(self)} samples on {len({(s.video, s.clip) for s in self})} clips, videos in {self.videos}>"

    def to_pandas(self) -> pd.DataFrame:
        """One row a sample, with the columns of `Sample`."""
        columns = list(Sample.__dataclass_fields__)
        frame = pd.DataFrame([asdict(sample) for sample in self], columns=columns)
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


def read_text(path: Path) -> str:
    """The file as UTF-8 text (a byte order mark is skipped)."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text (byte {error.start}). Save the file as UTF-8, or download it again."
        ) from error


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file, every value as text, with `columns` present and filled. Row 1 is the first row of data."""
    rows = list(csv.reader(io.StringIO(read_text(path), newline="")))
    if not rows:
        raise DataError(f"{path}: the file is empty. Download it again.")
    header = rows[0]
    missing = [column for column in columns if column not in header]
    if missing:
        raise DataError(
            f"{path}: column {', '.join(missing)} is missing; found {', '.join(header)}. Is this the official file?"
        )
    result = []
    for number, row in enumerate(rows[1:], 1):
        if not row:
            raise DataError(f"{path}, row {number}: the row is empty. Remove it, or download the file again.")
        if len(row) != len(header):
            raise DataError(
                f"{path}, row {number}: {len(row)} values for {len(header)} columns. Quote values that contain commas."
            )
        values = dict(zip(header, row, strict=True))
        for column in columns:
            if not values[column].strip():
                raise DataError(
                    f"{path}, row {number}, column {column}: empty. Fill it in, or download the file again."
                )
        result.append(values)
    return result


def whole_number(text: object, below: int, path: Path, place: str) -> int:
    """`text` as a whole number from 0 to below - 1."""
    try:
        number = int(str(text))
    except ValueError:
        number = -1
    if not 0 <= number < below:
        raise DataError(
            f"{path}, {place}: {text!r} is not a whole number from 0 to {below - 1}. Correct it, or download the file again."
        )
    return number


def safe_path(text: str, path: Path, place: str) -> str:
    """`text` as a relative path that stays inside the video folder."""
    parts = PurePosixPath(text.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or ":" in parts.parts[0] or "\0" in text:
        raise DataError(
            f"{path}, {place}: video {text!r} would lie outside the video folder. Use a name relative to it."
        )
    return str(parts)


def check_unique(samples: Sequence[Sample], path: Path, row: str = "row") -> None:
    """Raises when two samples share an id: their predictions could not be told apart."""
    seen: dict[str, int] = {}
    for number, sample in enumerate(samples, 1):
        if sample.id in seen:
            raise DataError(
                f"{path}, {row} {number}: id {sample.id!r} occurs already in {row} {seen[sample.id]}. Ids must be unique: remove one."
            )
        seen[sample.id] = number
