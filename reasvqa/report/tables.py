"""Tables as the paper has them, its rows beside ours, and their export: CSV, LaTeX (booktabs) and where the numbers came from."""

from __future__ import annotations

import html

import pandas as pd
from IPython.display import HTML

from reasvqa import paper
from reasvqa.evaluation import bootstrap
from reasvqa.learning import Run
from reasvqa.report.results import correct_of

PAPER, OURS = "paper, as printed", {"mini": "ours, miniature", "smoke": "ours, smoke test", "paper": "ours, full scale"}
Runs = dict[tuple[str, str], list[Run]]


def by_dataset(runs: Runs, average: bool = True) -> pd.DataFrame:
    """Mean accuracy in percent: rows as in `runs`, a column per data set (by its printed name), and their average."""
    table = pd.DataFrame(
        {
            paper.PRINTED[d]: {
                row: 100 * correct_of(seeds).mean() for (other, row), seeds in runs.items() if other == d
            }
            for d in dict.fromkeys(d for d, _ in runs)
        }
    )
    return table.assign(Avg=table.mean(axis=1)) if average else table


def with_intervals(runs: Runs) -> pd.DataFrame:
    """The same accuracies as text with their 95 % intervals over questions and seeds, "72.8 [69.1, 76.3]", and n."""
    table: dict[str, dict[str, str]] = {}
    for (dataset, row), seeds in runs.items():
        table.setdefault(row, {})[paper.PRINTED[dataset]] = (
            f"{bootstrap(correct_of(seeds))} n={len(seeds[0].predictions)} x {len(seeds)} seeds"
        )
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
