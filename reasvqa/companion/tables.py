"""Tables in the paper's layout, its rows beside ours, and differences with their intervals."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import HTML

from reasvqa.companion import paper, results
from reasvqa.companion.experiments import our_name
from reasvqa.companion.words import Runs
from reasvqa.evaluation import Estimate, signed
from reasvqa.learning import Run

OURS = {"mini": "ours, miniature", "preview": "ours, miniature (preview)", "smoke": "ours, smoke test"}
OURS |= {"small": "ours, small model", "paper": "ours, full scale"}


def all_runs(settings: Mapping[Any, Sequence[Run]]) -> list[Run]:
    """Return all runs of all settings, in order."""
    return [run for seeds in settings.values() for run in seeds]


def by_dataset(runs: Runs, average: bool = True) -> pd.DataFrame:
    """Return accuracies, an `Estimate` in percent: a row per setting, a column per data set (by its printed name), and
    their average."""
    columns: dict[str, dict[str, Estimate]] = {}
    for (dataset, row), setting in runs.items():
        columns.setdefault(paper.PRINTED[dataset], {})[row] = results.accuracy_of(setting)
    if average:
        for row in dict.fromkeys(row for _, row in runs):
            terms = [[(1, results.outcomes(setting))] for (_, other), setting in runs.items() if other == row]
            columns.setdefault("Avg", {})[row] = results.contrast(terms)
    return pd.DataFrame(columns)


def with_intervals(runs: Runs, scale: str) -> pd.DataFrame:
    """Return the same accuracies with their 95 % intervals, as text: "72.8 [69.1, 76.3], n = 900, 3 seeds"."""

    def text(found: Estimate) -> str:
        seeds = f", {found.seeds} seeds" if found.seeds > 1 else ""  # of a single one the estimate says so itself
        return f"{found}, n = {found.questions}{seeds}"

    return results.our_names(by_dataset(runs, average=False).map(text, na_action="ignore"), scale)


def differences(
    runs: Runs, pairs: Sequence[tuple[str, str]], printed: pd.DataFrame | None = None, scale: str = "mini"
) -> pd.DataFrame:
    """Return differences between settings: a row per pair and data set, on the seeds that both have.

    Args:
        pairs: names of rows, (better, worse).
        printed: the paper's table, for its own differences where it prints them.
    """
    rows = []
    for better, worse in pairs:
        for dataset in dict.fromkeys(d for d, row in runs if row == better and (d, worse) in runs):
            name, theirs = paper.PRINTED[dataset], ""
            if printed is not None and {better, worse} <= set(printed.index):
                cells = printed.get(name, printed.get("Tot"))  # neither, where the paper does not have the data set
                theirs = "" if cells is None else signed(cells[better] - cells[worse])
            row = {"comparison": f"{our_name(better, scale)} - {our_name(worse, scale)}", "data set": name}
            row["ours (points)"] = results.difference(runs[dataset, worse], runs[dataset, better]).points
            rows.append(row | {"paper (points)": theirs})
    table = pd.DataFrame(rows, columns=["comparison", "data set", "ours (points)", "paper (points)"])
    return _without_empty(table.set_index("comparison"))


def differences_by_group(
    settings: dict[str, list[Run]], groups: dict[str, set[str]] | None = None, split: str | None = None
) -> pd.DataFrame:
    """Compare two settings on groups of questions, seed by seed: their accuracies, and second - first.

    Args:
        settings: the two, by their names.
        groups: by name, the ids of its questions; None: the paper's question groups, and all.
        split: another than the runs' own.
    """
    first, second = (results.outcomes(runs, split=split) for runs in settings.values())
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
        rows[name]["difference (points)"] = results.contrast([[(1, b), (-1, a)]]).points
    return pd.DataFrame.from_dict(rows, orient="index")


def readable_ledger(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return a ledger to read: what is claimed and where, the paper's effect and ours in points, p, verdict.

    ledger: of `results.ledger`, or rows of it.
    """
    rows = []
    for row in ledger.to_dict("records"):
        line = {"where": row["where"], "claim": row["text"], "paper (points)": signed(row["paper"])}
        line |= {"ours (points)": results.interval(row), "seeds": f"{row['seeds']:.0f}"}
        line["detectable (points)"] = f"{row['detectable']:.1f}"
        p = row["p_corrected"]
        line["p, corrected"] = "" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{round(p, 4):g}"
        rows.append(line | {"verdict": results.verdict_text(row)})
    return _without_empty(pd.DataFrame(rows).set_index("where"))


def verdicts(experiment: str, scale: str) -> pd.DataFrame:
    """Return what the saved ledger says of a table or figure; see `results.judged`."""
    rows = results.judged(experiment, scale)
    if rows.empty:
        return pd.DataFrame({"ledger": ["there are no verdicts at this scale yet; run 30_claims to make them"]}, [""])
    return readable_ledger(rows).set_axis(rows.index.rename("ledger"))


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    """Drop the paper's column where the paper prints no number, as for controls."""
    return table.drop(columns="paper (points)") if (table["paper (points)"] == "").all() else table


def training_summary(runs: dict[str, list[Run]]) -> pd.DataFrame:
    """Return what the first seed of each setting was trained on, and how long it took."""
    rows = {}
    for name, (run, *_) in runs.items():
        cut, seconds = run.metrics["cut"], run.metrics["seconds"]
        rows[our_name(name, run.config.preset)] = {
            "training questions": run.metrics["train_examples"],
            "with reasoning": run.metrics["with_reasoning"],
            "texts cut": ", ".join(f"{n} {what}" for what, n in cut.items() if n) or "none",
            "trained parameters": run.metrics["trained_parameters"],
            "steps": run.metrics["steps"],
            "training (s)": round(seconds["training"]),
            "answering (s)": round(seconds["answering"]),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def beside(printed: pd.DataFrame, ours: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Stack the paper's rows above ours, each block under a heading that says what it is, on the columns of either."""
    columns = list(dict.fromkeys([*printed.columns, *ours.columns]))
    blocks = {results.PAPER: printed.reindex(columns=columns), OURS[scale]: ours.reindex(columns=columns)}
    return pd.concat(blocks, names=["source", "row"])


def styled(table: pd.DataFrame, caption: str = "", scale: str = "mini") -> HTML:
    """Return the table for a notebook: one decimal, the paper's block and ours told apart by their background, the
    values of estimates."""
    table = results.our_names(results.values(table), scale)
    style = table.style.set_caption(html.escape(caption))
    style.format(precision=1, na_rep="–", escape="html")
    for axis in (0, 1):
        style.format_index(escape="html", axis=axis)
    if table.index.nlevels > 1:
        theirs, ours = ("background-color: #f2f2f2; color: #222222", "background-color: #fdf0e3; color: #222222")
        looks = [theirs if source == results.PAPER else ours for source in table.index.get_level_values(0)]
        style.apply(lambda column: looks, axis=0)
    return HTML(style.to_html())
