"""The paper's numbers, read from data/paper/*.csv, the only place that holds them."""

from __future__ import annotations

from functools import cache
from itertools import combinations

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


def checks(tolerance: float = 0.051) -> pd.DataFrame:
    """Check the paper's printed numbers against each other.

    Averages of Tables 3 to 5, totals of Tables 1, 2, 6, 8 and 9, and rows of Table 1 are checked as such; gains, orders
    and settings that are printed twice are listed in data/paper/stated.csv, with the cells from which they follow.

    Args:
        tolerance: how far a recomputed number may be off and still agree, in points.

    Returns:
        A row per check: kind, where, what, stated, recomputed (points; for a repeated row, how many values), agrees.
    """
    rows: list[tuple] = []
    for number in (3, 4, 5):
        for name, line in table(number).iterrows():
            mean = line[list(PRINTED.values())].mean()
            rows.append(("average", f"Table {number}", f"average of {name}", line["Avg"], mean))
    for number, prefixes in ((1, ("NExT-QA ", "STAR ")), (2, ("",)), (6, ("",)), (8, ("",)), (9, ("",))):
        for prefix in prefixes:
            columns = [column for column in table(number) if str(column).startswith(prefix)]
            for name, line in table(number)[columns].dropna().iterrows():
                total, parts = line[f"{prefix}Tot"], line.drop(f"{prefix}Tot")
                nearest = min(max(total, parts.min()), parts.max())
                rows.append(("total between its parts", f"Table {number}", f"{prefix}{name}", total, nearest))
    star = table(1).filter(like="STAR ").dropna()
    for first, second in combinations(star.index, 2):
        if (equal := int((star.loc[first] == star.loc[second]).sum())) >= 3:
            what = f"STAR: {second} has {equal} of {star.shape[1]} values of {first}"
            rows.append(("row repeats another", "Table 1", what, float("nan"), equal))
    columns = ["kind", "where", "what", "stated", "recomputed"]
    stated = pd.read_csv(paths.PAPER_NUMBERS / "stated.csv")
    for *row, terms in stated[[*columns[:4], "terms"]].itertuples(index=False):
        weighted = (term.split("*", 1) for term in terms.split(";"))
        rows.append((*row, sum(float(weight) * cell(place) for weight, place in weighted)))
    found = pd.DataFrame(rows, columns=columns)
    agrees = (found["stated"] - found["recomputed"]).abs() <= tolerance
    return found.assign(agrees=agrees.where(found["kind"] != "order", found["recomputed"] > 1e-9))
