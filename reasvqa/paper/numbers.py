"""The paper's numbers, read from data/paper/*.csv, the only place where they stand."""

from __future__ import annotations

import pandas as pd

from reasvqa import paths


def table(number: int) -> pd.DataFrame:
    """Table `number` of the paper as printed: accuracies in percent (Table 7: counts), rows and columns in print
    order."""
    return _read(f"table{number:02d}")


def figure(number: int) -> pd.DataFrame:
    """The values of Figure 3 or 4 that the text states; the figures themselves are images, and nothing is read off
    them."""
    return _read(f"figure{number:02d}")


def _read(name: str) -> pd.DataFrame:
    cells = pd.read_csv(paths.PAPER_NUMBERS / f"{name}.csv", dtype={"row": str, "column": str})
    wide = cells.pivot(index="row", columns="column", values="value")
    wide = wide.loc[cells["row"].unique(), cells["column"].unique()]
    wide.index.name = wide.columns.name = None
    return wide


# The data sets' names as the paper's tables print them.
PRINTED = {"nextqa": "NExT-QA", "star": "STAR", "intentqa": "IntentQA"}


def checks(tolerance: float = 0.051) -> pd.DataFrame:
    """The paper's printed numbers against each other.

    Averages of Tables 3 to 5, totals of Tables 1, 2, 6, 8 and 9, and rows of Table 1 are checked as such; gains, orders
    and settings that are printed twice stand in data/paper/stated.csv, with the cells from which they would follow.

    Args:
        tolerance: how far a recomputed number may be off and still agree, in points.

    Returns:
        A row per check: kind, where, what, stated, recomputed (points; for a repeated row, how many values), agrees.
    """
    rows: list[tuple] = []
    for number in (3, 4, 5):
        for name, line in table(number).iterrows():
            mean = line[["NExT-QA", "STAR", "IntentQA"]].mean()
            rows.append(
                (
                    "average",
                    f"Table {number}",
                    f"average of {name}",
                    line["Avg"],
                    mean,
                    abs(line["Avg"] - mean) <= tolerance,
                )
            )
    for number, prefixes in ((1, ("NExT-QA ", "STAR ")), (2, ("",)), (6, ("",)), (8, ("",)), (9, ("",))):
        for prefix in prefixes:
            columns = [column for column in table(number) if column.startswith(prefix)]
            for name, line in table(number)[columns].dropna().iterrows():
                total, parts = line[f"{prefix}Tot"], line.drop(f"{prefix}Tot")
                nearest = min(max(total, parts.min()), parts.max())
                rows.append(
                    (
                        "total between its parts",
                        f"Table {number}",
                        f"{prefix}{name}",
                        total,
                        nearest,
                        abs(total - nearest) <= tolerance,
                    )
                )
    star = table(1).filter(like="STAR ").dropna()
    for i, first in enumerate(star.index):
        for second in star.index[i + 1 :]:
            equal = int((star.loc[first] == star.loc[second]).sum())
            if equal >= 3:
                rows.append(
                    (
                        "row repeats another",
                        "Table 1",
                        f"STAR: {second} has {equal} of {star.shape[1]} values of {first}",
                        float("nan"),
                        equal,
                        False,
                    )
                )
    for line in pd.read_csv(paths.PAPER_NUMBERS / "stated.csv").itertuples():
        value = 0.0
        for term in line.terms.split(";"):
            weight, place = term.split("*", 1)
            source, row, column = place.split("|")
            value += float(weight) * float(table(int(source.removeprefix("table"))).loc[row, column])
        agrees = value > 1e-9 if line.kind == "order" else abs(line.stated - value) <= tolerance
        rows.append((line.kind, line.where, line.what, line.stated, value, agrees))
    return pd.DataFrame(rows, columns=["kind", "where", "what", "stated", "recomputed", "agrees"])
