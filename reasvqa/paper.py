"""The paper's numbers, read from data/paper/*.csv, the only place where they stand."""

from __future__ import annotations

import pandas as pd

from reasvqa.datasets import DATA

NUMBERS = DATA / "paper"


def table(number: int) -> pd.DataFrame:
    """Table `number` of the paper as printed: accuracies in percent (Table 7: counts), rows and columns in print order."""
    return _read(f"table{number:02d}")


def figure(number: int) -> pd.DataFrame:
    """The values of Figure 3 or 4 that the text states; the figures themselves are images, and nothing is read off them."""
    return _read(f"figure{number:02d}")


def _read(name: str) -> pd.DataFrame:
    cells = pd.read_csv(NUMBERS / f"{name}.csv", dtype={"row": str, "column": str})
    wide = cells.pivot(index="row", columns="column", values="value")
    wide = wide.loc[cells["row"].unique(), cells["column"].unique()]
    wide.index.name = wide.columns.name = None
    return wide


# The data sets' names as the paper's tables print them.
PRINTED = {"nextqa": "NExT-QA", "star": "STAR", "intentqa": "IntentQA"}
