"""The paper's numbers, read from data/paper/*.csv, the only place that holds them."""

from functools import cache

import pandas as pd

from reasvqa import paths


def table(number: int) -> pd.DataFrame:
    """Return a table of the paper as printed: accuracies in percent (Table 7: counts), rows and columns in order."""
    return _read(f"table{number:02d}").copy()


def figure(number: int) -> pd.DataFrame:
    """Return the values of Figure 3 or 4 that the text states; the figures are images, and nothing is read off them."""
    return _read(f"figure{number:02d}").copy()


def cell(place: str) -> float:
    """Return a printed number by its place, "table5|MTL_All|NExT-QA".

    Raises:
        ValueError: the paper prints no number there.
    """
    try:
        source, row, column = place.split("|")
        return float(_read(f"table{int(source.removeprefix('table')):02d}")[column].astype(float)[row])
    except (ValueError, KeyError, FileNotFoundError):
        raise ValueError(
            f"{place!r}: the paper prints no number there; give table|row|column as in data/paper"
        ) from None


@cache
def _read(name: str) -> pd.DataFrame:
    cells = pd.read_csv(paths.PAPER_NUMBERS / f"{name}.csv", dtype={"row": str, "column": str})
    wide = cells.pivot(index="row", columns="column", values="value")
    wide = wide.reindex(index=cells["row"].unique(), columns=cells["column"].unique())
    return wide.rename_axis(index=None, columns=None)


class _Printed(dict[str, str]):
    def __missing__(self, dataset: str) -> str:
        return dataset


# The data sets' names as the paper's tables print them; any other data set keeps its own.
PRINTED = _Printed(nextqa="NExT-QA", star="STAR", intentqa="IntentQA")


def column(number: int, dataset: str) -> pd.Series:
    """Return a data set's column of a printed table; of a data set that the paper does not have, all are NaN."""
    return table(number).get(PRINTED[dataset], pd.Series(float("nan"), table(number).index))
