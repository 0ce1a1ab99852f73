"""Tables in the paper's layout, its rows beside ours, and differences with their intervals."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import HTML

from reasvqa.companion import paper
from reasvqa.companion.experiments import our_name
from reasvqa.companion.results import (
    PAPER,
    accuracy_of,
    contrast,
    difference,
    interval,
    judged,
    our_names,
    outcomes,
    values,
)
from reasvqa.evaluation import Estimate, signed
from reasvqa.learning import Run

OURS = {
    "mini": "ours, miniature",
    "preview": "ours, miniature (preview)",
    "smoke": "ours, smoke test",
    "small": "ours, small model",
    "paper": "ours, full scale",
}
Runs = dict[tuple[str, str], list[Run]]


def all_runs(*settings: Mapping[Any, Sequence[Run]]) -> list[Run]:
    """Return all runs of all settings, in order."""
    return [run for by_key in settings for seeds in by_key.values() for run in seeds]


def by_dataset(runs: Runs, average: bool = True) -> pd.DataFrame:
    """Return accuracies, an `Estimate` in percent: a row per setting, a column per data set (by its printed name), and
    their average."""
    columns: dict[str, dict[str, Estimate]] = {}
    for (dataset, row), setting in runs.items():
        columns.setdefault(paper.PRINTED[dataset], {})[row] = accuracy_of(setting)
    if average:
        for row in dict.fromkeys(row for _, row in runs):
            terms = [[(1, outcomes(setting))] for (_, other), setting in runs.items() if other == row]
            columns.setdefault("Avg", {})[row] = contrast(terms)
    return pd.DataFrame(columns)


def with_intervals(runs: Runs, scale: str) -> pd.DataFrame:
    """Return the same accuracies with their 95 % intervals, as text: "72.8 [69.1, 76.3], n = 900, 3 seeds"."""

    def text(found: Estimate) -> str:
        seeds = f", {found.seeds} seeds" if found.seeds > 1 else ""  # of a single one the estimate says so itself
        return f"{found}, n = {found.questions}{seeds}"

    return our_names(by_dataset(runs, average=False).map(text, na_action="ignore"), scale)


def differences(
    runs: Runs, pairs: Sequence[tuple[str, str]], printed: pd.DataFrame | None = None, scale: str = "mini"
) -> pd.DataFrame:
    """Return differences between settings: a row per pair and data set, on the seeds that both have.

    Args:
        runs: of `results.runs_of`.
        pairs: names of rows, (better, worse).
        printed: the paper's table, for its own differences where it prints them.
    """
    rows = []
    for better, worse in pairs:
        for dataset in dict.fromkeys(d for d, row in runs if row == better and (d, worse) in runs):
            name = paper.PRINTED[dataset]
            row = {"comparison": f"{our_name(better, scale)} - {our_name(worse, scale)}", "data set": name}
            row["ours (points)"] = difference(runs[dataset, worse], runs[dataset, better]).points
            rows.append(row | {"paper (points)": _printed_difference(printed, better, worse, name)})
    table = pd.DataFrame(rows, columns=["comparison", "data set", "ours (points)", "paper (points)"])
    return _without_empty(table.set_index("comparison"))


def _printed_difference(table: pd.DataFrame | None, better: str, worse: str, column: str) -> str:
    """Return the paper's difference, "+2.4", or nothing where it prints none."""
    if table is None or better not in table.index or worse not in table.index:
        return ""
    column = column if column in table else "Tot"
    if column not in table:  # a data set that the paper does not have
        return ""
    cells = table.to_dict()[column]
    return signed(cells[better] - cells[worse])


def differences_by_group(
    settings: dict[str, list[Run]], groups: dict[str, set[str]] | None = None, split: str | None = None
) -> pd.DataFrame:
    """Compare two settings on groups of questions, seed by seed: their accuracies, and second - first.

    Args:
        settings: the two, by their names.
        groups: by name, the ids of its questions; None: the paper's question groups, and all.
        split: another than the runs' own.
    """
    first, second = (outcomes(runs, split=split) for runs in settings.values())
    if groups is None:
        run = next(iter(settings.values()))[0]
        asked = run.predictions_on(split or run.config.split)
        groups = {str(group): set(rows["id"]) for group, rows in asked.groupby("group", sort=False)}
        groups["all"] = set(asked["id"])
    rows: dict[str, dict[str, object]] = {}
    for name, ids in groups.items():
        a, b = (right.loc[right.index.get_level_values("id").isin(set(ids))] for right in (first, second))
        rows[name] = {"questions": len(a)}
        for setting, right in zip(settings, (a, b), strict=True):
            rows[name][f"{setting} (%)"] = f"{100 * right.to_numpy().mean():.1f}"
        rows[name]["difference (points)"] = contrast([[(1, b), (-1, a)]]).points
    return pd.DataFrame.from_dict(rows, orient="index")


def readable_ledger(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return a ledger to read: what is claimed and where, the paper's effect and ours in points, p, verdict.

    ledger: of `results.ledger`, or rows of it.
    """
    rows = []
    for row in ledger.to_dict("records"):
        line = {"where": row["where"], "claim": row["text"], "paper (points)": signed(row["paper"])}
        line |= {"ours (points)": interval(row), "detectable (points)": f"{row['detectable']:.1f}"}
        p = row["p_corrected"]
        line["p, corrected"] = "" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
        rows.append(line | {"verdict": _verdict(row)})
    return _without_empty(pd.DataFrame(rows).set_index("where"))


def verdicts(experiment: str, scale: str) -> pd.DataFrame:
    """Return what the saved ledger says of a table or figure; see `results.judged`."""
    rows = {}
    for name, row in judged(experiment, scale).to_dict("index").items():
        rows[name] = {"claim": row["text"], "paper (points)": signed(row["paper"])}
        rows[name] |= {"ours (points)": row["ours"], "seeds": f"{row['seeds']:.0f}", "verdict": _verdict(row)}
    if not rows:
        return pd.DataFrame({"ledger": ["no verdicts at this scale yet; run 30_claims to make them"]}, [""])
    return _without_empty(pd.DataFrame.from_dict(rows, orient="index").rename_axis("ledger"))


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    """Drop the paper's column where the paper prints no number, as for controls."""
    return table.drop(columns="paper (points)") if (table["paper (points)"] == "").all() else table


def _verdict(row: dict) -> str:
    """Return a ledger row's verdict; for a single seed, which has none, how many seeds would give one."""
    if row["kind"] == "set":
        return f"{'none' if pd.isna(row['verdict']) else row['verdict']} (set: no evidence)"
    if not pd.isna(row["verdict"]):
        return row["verdict"]
    seeds = row.get("seeds_wanted")
    return "none: one seed" + ("" if seeds is None or pd.isna(seeds) else f" (about {seeds:.0f} would do)")


def accuracies(summary: pd.DataFrame, scale: str = "mini") -> pd.DataFrame:
    """Return a table of `results.summary` to read: rounded, with units, without a spread where there is one seed."""
    table = pd.DataFrame(
        {
            "accuracy (%)": summary["accuracy"].map("{:.1f}".format),
            "95 % interval": summary["low"].map("{:.1f} to ".format) + summary["high"].map("{:.1f}".format),
            "sd of seeds (points)": summary["sd of seeds"].map("{:.1f}".format, na_action="ignore"),
            "seeds": summary["seeds"],
            "questions": summary["questions"],
        }
    )
    return our_names(table.dropna(axis="columns", how="all").fillna(""), scale)


def training_summary(runs: dict[str, list[Run]]) -> pd.DataFrame:
    """Return what the first seed of each setting was trained on, and how long it took."""
    rows = {}
    for name, seeds in runs.items():
        metrics, seconds = seeds[0].metrics, seeds[0].metrics["seconds"]
        rows[our_name(name, seeds[0].config.preset)] = {
            "training questions": metrics["train_examples"],
            "with reasoning": metrics["with_reasoning"],
            "texts cut": ", ".join(f"{n} {what}" for what, n in metrics["cut"].items() if n) or "none",
            "trained parameters": f"{metrics['trained_parameters']:,}",
            "steps": metrics["steps"],
            "training (s)": f"{seconds['training']:.0f}",
            "answering (s)": f"{seconds['answering']:.0f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def gates(measured: pd.DataFrame) -> pd.DataFrame:
    """Return the miniature's gates to read: a row per gate, a column per data set, "65.0 (55 to 80)" or "..., missed".

    measured: of `reasvqa.mini.gates.measure`.
    """

    def cell(row: dict) -> str:
        low, high = (
            None if pd.isna(row[end]) or abs(row[end]) == float("inf") else row[end] for end in ("low", "high")
        )
        bound = f"{low:g} to {high:g}" if low is not None and high is not None else ""
        bound = bound or (f"at least {low:g}" if low is not None else f"at most {high:g}")
        return f"{row['value']:.1f} ({bound}){'' if row['passed'] else ', missed'}"

    texts = measured.assign(text=[cell(row) for row in measured.to_dict("records")])
    table = texts.pivot(index=["gate", "what"], columns="dataset", values="text")
    return table.reindex(list(dict.fromkeys(zip(texts["gate"], texts["what"], strict=True)))).rename_axis(columns=None)


def beside(printed: pd.DataFrame, ours: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Stack the paper's rows above ours, each block under a heading that says what it is, on the columns of either."""
    columns = list(dict.fromkeys([*printed.columns, *ours.columns]))
    return pd.concat(
        {PAPER: printed.reindex(columns=columns), OURS[scale]: ours.reindex(columns=columns)}, names=["source", "row"]
    )


def styled(table: pd.DataFrame, caption: str = "", scale: str = "mini") -> HTML:
    """Return the table for a notebook: one decimal, the paper's block and ours told apart by their background, the
    values of estimates."""
    table = our_names(values(table), scale)
    style = table.style.set_caption(html.escape(caption))
    style.format(precision=1, na_rep="–", escape="html")
    for axis in (0, 1):
        style.format_index(escape="html", axis=axis)
    if table.index.nlevels > 1:
        theirs, ours = ("background-color: #f2f2f2; color: #222222", "background-color: #fdf0e3; color: #222222")
        looks = [theirs if source == PAPER else ours for source in table.index.get_level_values(0)]
        style.apply(lambda column: looks, axis=0)
    return HTML(style.to_html())
