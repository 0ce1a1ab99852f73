"""Tables as the paper has them, its rows beside ours, and their export: CSV, LaTeX (booktabs) and where the numbers came from."""

from __future__ import annotations

import html

import pandas as pd
from IPython.display import HTML

from reasvqa import paper
from reasvqa.learning import Run
from reasvqa.report.results import accuracy_of, summary

PAPER, OURS = "paper, as printed", {"mini": "ours, miniature", "smoke": "ours, smoke test", "paper": "ours, full scale"}
Runs = dict[tuple[str, str], list[Run]]


def by_dataset(runs: Runs, average: bool = True) -> pd.DataFrame:
    """Mean accuracy in percent: rows as in `runs`, a column per data set (by its printed name), and their average."""
    accuracy = summary(runs)["accuracy"].unstack("dataset", sort=False)
    accuracy.index.name = accuracy.columns.name = None
    table = accuracy.rename(columns=paper.PRINTED)
    return table.assign(Avg=table.mean(axis=1)) if average else table


def with_intervals(runs: Runs) -> pd.DataFrame:
    """The same accuracies as text with their 95 % intervals over questions and seeds, "72.8 [69.1, 76.3]", and n."""
    table: dict[str, dict[str, str]] = {}
    for (dataset, row), setting in runs.items():
        found = accuracy_of(setting)
        table.setdefault(row, {})[paper.PRINTED[dataset]] = f"{found} n={found.questions} x {found.seeds} seeds"
    return pd.DataFrame.from_dict(table, orient="index")


def beside(printed: pd.DataFrame, ours: pd.DataFrame, scale: str) -> pd.DataFrame:
    """The paper's rows above ours, each block under a heading that says what it is, on the columns that either has."""
    columns = list(dict.fromkeys([*printed.columns, *ours.columns]))
    return pd.concat(
        {PAPER: printed.reindex(columns=columns), OURS[scale]: ours.reindex(columns=columns)}, names=["source", "row"]
    )


def show(table: pd.DataFrame, caption: str = "") -> HTML:
    """The table for a notebook: one decimal, the paper's block and ours told apart by their background."""
    style = table.style.format(precision=1, na_rep="–", escape="html").set_caption(html.escape(caption))
    for axis in (0, 1):
        style = style.format_index(escape="html", axis=axis)
    if table.index.nlevels > 1:
        style = style.apply(
            lambda row: (
                ["background-color: #f2f2f2" if row.name[0] == PAPER else "background-color: #fdf0e3"] * len(row)
            ),
            axis=1,
        )
    return HTML(style.to_html())
