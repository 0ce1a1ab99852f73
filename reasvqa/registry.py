"""Tables of names: data sets, students, and presets of settings.

    DATASETS["mine"] = Dataset(read=my_reader)       # load("mine", "val"), TrainConfig(dataset="mine"), the notebooks
    STUDENTS["mine"] = "a folder or a hub id"        # TrainConfig(student="mine")

The packages in `reasvqa.PLUG_INS` add their rows when a table is first read.
"""

import importlib
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import reasvqa

Row = TypeVar("Row")


class Table(MutableMapping[str, Row], Generic[Row]):
    """A dict that imports `reasvqa.PLUG_INS` before it is first read."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def _complete(self) -> dict[str, Row]:
        for name in reasvqa.PLUG_INS:
            importlib.import_module(name)
        return self._rows

    def __getitem__(self, name: str) -> Row:
        return self._complete()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._complete())

    def __len__(self) -> int:
        return len(self._complete())

    def __setitem__(self, name: str, row: Row) -> None:
        self._rows[name] = row

    def __delitem__(self, name: str) -> None:
        del self._rows[name]


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        read: reads a split of the data set in a folder, (folder, split) -> `reasvqa.datasets.Samples`.
        preset: the row of `PRESETS` that its runs take their defaults from.
        make: makes the files where there are none, (name, folder, split) -> None; without it they are downloaded.
        folder: the folder under the data root; None: the data set's name.
        shuffled: training questions come in a random order, the same for everybody; the first n are a random sample.
    """

    read: Callable[[Path, str], Any]
    preset: str = "paper"
    make: Callable[[str, Path, str], None] | None = None
    folder: str | None = None
    shuffled: bool = False


DATASETS: Table[Dataset] = Table()
STUDENTS: Table[str] = Table()  # a folder or a hub id by its short name
PRESETS: Table[dict[str, Any]] = Table()  # values of `TrainConfig` by its fields' names
