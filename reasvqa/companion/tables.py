"""Tables as the paper has them, its rows beside ours, and differences with their intervals."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import HTML

from reasvqa.companion import paper
from reasvqa.companion.experiments import TABLE4, name_at
from reasvqa.companion.probes import stays_when_permuted, with_another_video
from reasvqa.companion.results import (
    accuracy_of,
    contrast,
    difference,
    generator_accuracy,
    interval,
    judged,
    outcomes,
    values,
)
from reasvqa.companion.words import seeds_of
from reasvqa.datasets import DataError, load
from reasvqa.evaluation import Estimate, signed
from reasvqa.learning import Run

PAPER, OURS = (
    "paper, as printed",
    {
        "mini": "ours, miniature",
        "preview": "ours, miniature (preview)",
        "smoke": "ours, smoke test",
        "small": "ours, small model",
        "paper": "ours, full scale",
    },
)
Runs = dict[tuple[str, str], list[Run]]


def every(*runs: Mapping[Any, Sequence[Run]]) -> list[Run]:
    """All runs of all settings, in order; of several tables or figures one after the other."""
    return [run for settings in runs for seeds in settings.values() for run in seeds]


def by_dataset(runs: Runs, average: bool = True) -> pd.DataFrame:
    """Accuracy, an `Estimate` in percent: rows as in `runs`, a column per data set (by its printed name), and their
    average."""
    columns: dict[str, dict[str, Estimate]] = {}
    for (dataset, row), setting in runs.items():
        columns.setdefault(paper.PRINTED[dataset], {})[row] = accuracy_of(setting)
    if average:
        for row in dict.fromkeys(row for _, row in runs):
            terms = [[(1, outcomes(setting))] for (_, other), setting in runs.items() if other == row]
            columns.setdefault("Avg", {})[row] = contrast(terms)
    return pd.DataFrame(columns)


def with_intervals(runs: Runs) -> pd.DataFrame:
    """The same accuracies with their 95 % intervals, as text: "72.8 [69.1, 76.3], n = 900, 3 seeds"."""

    def text(found: Estimate) -> str:
        seeds = f", {found.seeds} seeds" if found.seeds > 1 else ""  # of a single one the estimate says so itself
        return f"{found}, n = {found.questions}{seeds}"

    return by_dataset(runs, average=False).map(text, na_action="ignore")


def by_amount(runs: Runs) -> pd.DataFrame:
    """Table 10's layout, an `Estimate` in percent: a row for the kind of reasoning, columns for data set and amount, in
    the paper's order."""
    rows: dict[str, dict[str, Estimate]] = {}
    for (dataset, row), setting in runs.items():
        kind, amount = row.split(", ")
        rows.setdefault(kind, {})[f"{paper.PRINTED[dataset]} {amount}"] = accuracy_of(setting)
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table[[column for column in paper.table(10) if column in table]]


def by_generator(scale: str, datasets: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """Table 4's layout: a generator's accuracy on the training questions, an `Estimate` in percent, in a column per
    data set, and their average, a number."""
    table = pd.DataFrame(
        {
            paper.PRINTED[dataset]: {name: generator_accuracy(scale, dataset, name) for name in names}
            for dataset in datasets
        }
    )
    return table.assign(Avg=values(table).mean(axis=1))


def printed_generators(scale: str) -> pd.DataFrame:
    """Table 4 as printed, its rows by what stands for the paper's generators at a scale."""
    return paper.table(4).rename(lambda row: name_at(scale, TABLE4[row]))


def printed_on(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Of a printed table with several data sets side by side, "NExT-QA Tem", one data set's columns, "Tem"."""
    part = table.filter(like=paper.PRINTED[dataset])
    return part.rename(columns=lambda column: column.removeprefix(paper.PRINTED[dataset]).strip())


def by_row(printed: pd.DataFrame) -> pd.DataFrame:
    """Table 10 as printed, in the order of our rows: a row for kind and amount, a column for a data set."""
    long = printed.rename_axis("kind").melt(var_name="column", ignore_index=False).reset_index()
    long[["set", "amount"]] = long["column"].str.split(" ", n=1, expand=True)
    return long.assign(row=long["kind"] + ", " + long["amount"]).pivot(index="row", columns="set", values="value")


def support(runs: dict) -> str:
    """What accuracies rest on, for a figure's title: "n = 900 questions, 3 to 5 seeds, 95 % intervals"."""
    seeds = seeds_of(*map(len, runs.values()))
    questions = " or ".join(map(str, sorted({run.metrics["questions"] for run in every(runs)})))
    return f"n = {questions} questions, {seeds}, 95 % intervals"


def differences(runs: Runs, pairs: Sequence[tuple[str, str]], printed: pd.DataFrame | None = None) -> pd.DataFrame:
    """What a setting brings against another: a row per pair and data set, on the seeds that both have.

    Args:
        runs: of `results.runs_of`.
        pairs: names of rows, (better, worse).
        printed: the paper's table, for its own differences where it prints them.
    """
    rows = []
    for better, worse in pairs:
        for dataset in dict.fromkeys(d for d, row in runs if row == better and (d, worse) in runs):
            ours = difference(runs[dataset, worse], runs[dataset, better])
            row = {
                "comparison": f"{better} - {worse}",
                "data set": paper.PRINTED[dataset],
                "ours (points)": ours.points,
            }
            rows.append(row | {"paper (points)": _printed(printed, better, worse, paper.PRINTED[dataset])})
    table = pd.DataFrame(rows, columns=["comparison", "data set", "ours (points)", "paper (points)"])
    table = table.set_index("comparison")
    return table if any(table["paper (points)"]) else table.drop(columns="paper (points)")


def _printed(table: pd.DataFrame | None, better: str, worse: str, column: str) -> str:
    """The paper's difference, "+2.4", or nothing where it prints none."""
    if table is None or better not in table.index or worse not in table.index:
        return ""
    column = column if column in table else "Tot"
    if column not in table:  # a data set that the paper does not have
        return ""
    cells = table.to_dict()[column]
    return signed(cells[better] - cells[worse])


def gain(runs: Runs) -> pd.DataFrame:
    """The `differences` of Tables 1 and 2: ReasVQA against the same student without reasoning. The paper's is that of
    its Table 5."""
    printed = paper.table(5).rename({"MTL_All": "ReasVQA", "STL_QA": "STL_QA (baseline)"})
    return differences(runs, [("ReasVQA", "STL_QA (baseline)")], printed)


def gain_by_group(runs: Runs, dataset: str) -> pd.DataFrame:
    """The `changes` of Tables 1 and 2 on one of their data sets: ReasVQA and the same student without reasoning."""
    both = {"STL_QA": runs[dataset, "STL_QA (baseline)"], "ReasVQA": runs[dataset, "ReasVQA"]}
    return changes(both).rename_axis(paper.PRINTED[dataset])


def changes(
    settings: dict[str, list[Run]], parts: dict[str, set[str]] | None = None, split: str | None = None
) -> pd.DataFrame:
    """Two settings on parts of the questions, seed by seed on the same ones: their accuracies and second - first.

    Args:
        settings: the two, by their names.
        parts: by its name the ids of a part's questions; None: the paper's question groups, and all.
        split: another than the runs' own.
    """
    first, second = (outcomes(runs, split=split) for runs in settings.values())
    if parts is None:
        run = next(iter(settings.values()))[0]
        asked = run.predictions_on(split or run.config.split)
        parts = {str(group): set(rows["id"]) for group, rows in asked.groupby("group", sort=False)}
        parts["all"] = set(asked["id"])
    rows: dict[str, dict[str, object]] = {}
    for name, ids in parts.items():
        a, b = (right.loc[right.index.get_level_values("id").isin(set(ids))] for right in (first, second))
        rows[name] = {"questions": len(a)}
        for setting, right in zip(settings, (a, b), strict=True):
            rows[name][f"{setting} (%)"] = f"{100 * right.to_numpy().mean():.1f}"
        rows[name]["difference (points)"] = contrast([[(1, b), (-1, a)]]).points
    return pd.DataFrame.from_dict(rows, orient="index")


def probes(runs: Sequence[Run]) -> pd.DataFrame:
    """Are answers the same when options change places, and worse when the video is another one? Of a setting's runs."""
    stays = stays_when_permuted(runs)
    other, change = with_another_video(runs)
    rows = {
        "the answer stays when the options change places (%)": {"found": str(stays)},
        "accuracy with another video (%)": {"found": str(other), "than with the right one (points)": str(change)},
    }
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def claims(ledger: pd.DataFrame) -> pd.DataFrame:
    """A ledger to read: what is claimed and where, the paper's effect (if it has any) and ours in points, p, verdict.

    ledger: of `results.ledger`, or rows of it.
    """
    rows = []
    for row in ledger.to_dict("records"):
        lines = {"where": row["where"], "claim": row["text"], "paper (points)": signed(row["paper"])}
        lines |= {"ours (points)": interval(row), "detectable (points)": f"{row['detectable']:.1f}"}
        p = row["p_corrected"]
        lines["p, corrected"] = "" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
        rows.append(lines | {"verdict": _verdict(row)})
    return _without_empty(pd.DataFrame(rows).set_index("where"))


def verdicts(experiment: str, scale: str, claim: str | None = None) -> pd.DataFrame:
    """What the ledger, as 30_claims last saved it, says of a table or figure, or of one claim; see `results.judged`."""
    rows = {}
    for name, row in judged(experiment, scale).to_dict("index").items():
        if claim in (None, name):
            rows[name] = {"claim": row["text"], "paper (points)": signed(row["paper"])}
            rows[name] |= {"ours (points)": row["ours"], "seeds": f"{row['seeds']:.0f}", "verdict": _verdict(row)}
    if not rows:
        return pd.DataFrame({"ledger": ["says nothing at this scale; 30_claims makes it"]}, [""])
    return _without_empty(pd.DataFrame.from_dict(rows, orient="index").rename_axis("ledger"))


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    """Without the paper's column where it printed no number, as of controls."""
    return table.drop(columns="paper (points)") if (table["paper (points)"] == "").all() else table


def _verdict(row: dict) -> str:
    """A ledger row's verdict; of a single seed, which has none, how many would find an effect as large as the
    margin."""
    if row["kind"] == "set":
        return f"{'none' if pd.isna(row['verdict']) else row['verdict']} (set: no evidence)"
    if not pd.isna(row["verdict"]):
        return row["verdict"]
    seeds = row.get("seeds_wanted")
    return "none: one seed" + ("" if seeds is None or pd.isna(seeds) else f" (about {seeds:.0f} would do)")


def accuracies(summary: pd.DataFrame) -> pd.DataFrame:
    """A table of `results.summary` to read: rounded, with units, without a spread where there is one seed."""
    spread = ["" if pd.isna(sd) else f"{sd:.1f}" for sd in summary["sd of seeds"]]
    table = {
        "accuracy (%)": summary["accuracy"].map("{:.1f}".format),
        "95 % interval": [
            f"{low:.1f} to {high:.1f}" for low, high in zip(summary["low"], summary["high"], strict=True)
        ],
        "sd of seeds (points)": spread,
        "seeds": summary["seeds"],
        "questions": summary["questions"],
    }
    return pd.DataFrame(table).drop(columns=[] if any(spread) else "sd of seeds (points)")


def generators(summary: pd.DataFrame) -> pd.DataFrame:
    """A table of `results.generators` to read."""
    table = accuracies(summary).drop(columns="seeds")
    return table.assign(**{"names no option (%)": summary["no option"].map("{:.1f}".format)})


def sizes(names: Sequence[str]) -> pd.DataFrame:
    """What is in the annotation files that are there: a row per data set and split; "absent" where there is none."""
    rows: list[dict[str, object]] = []
    for name in names:
        for split in ("train", "val", "test"):
            row: dict[str, object] = {"data set": name, "split": split}
            try:
                samples = load(name, split)
            except DataError:
                rows.append(row | {"questions": "absent"})
                continue
            row |= {"questions": len(samples), "videos": len({s.video for s in samples})}
            row |= {"clips": len({(s.video, s.clip) for s in samples}), "options": len(samples[0].options)}
            rows.append(row | {"labelled": sum(s.answer is not None for s in samples)})
    return pd.DataFrame(rows).set_index(["data set", "split"])


def totals(counts: pd.DataFrame) -> pd.DataFrame:
    """Videos and questions of each data set that is there, over its splits. counts: of `sizes`."""
    present = counts[counts["questions"] != "absent"].groupby("data set", sort=False)
    return present[["videos", "questions"]].sum().astype(float)


def types(names: Sequence[str]) -> pd.DataFrame:
    """Percent of the training questions (or validation questions, where only they are there) in each group, a column a
    data set."""
    shares = {}
    for name in names:
        for split in ("train", "val"):
            try:
                groups = pd.Series([sample.group for sample in load(name, split)])
            except DataError:
                continue
            shares[f"{name}, {split}"] = 100 * groups.value_counts(normalize=True)
            break
    return pd.DataFrame(shares)


def written(runs: Runs, rows: Sequence[str]) -> HTML:
    """What single-task students write: how long it is, how often it gets to an answer, and the first text."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for (dataset, row), setting in runs.items():
        if row in rows:
            texts = [str(text) for run in setting for text in run.predictions["text"]]
            line = {"words": f"{sum(len(text.split()) for text in texts) / len(texts):.1f}"}
            line["with an answer (%)"] = f"{100 * sum('Answer:' in text for text in texts) / len(texts):.1f}"
            lines[row, dataset] = line | {"example": texts[0]}
    style = pd.DataFrame.from_dict(lines, orient="index").style.format(escape="html")
    looks = {"text-align": "left", "white-space": "pre-wrap"}
    return HTML(style.set_properties(subset=["example"], **looks).to_html())


def chosen_beta(runs: Runs) -> pd.DataFrame:
    """The beta that is best on each data set's validation questions, and what it brings on the test questions, against
    the smallest.

    runs: of Figure 4; of each data set the seeds that all of its rows have are used.
    """
    reference = min((row for _, row in runs), key=float)
    asked = "test" if runs and every(runs)[0].config.split != "val" else "the same questions, so too good"
    lines = {}
    for dataset in dict.fromkeys(dataset for dataset, _ in runs):
        rows = {row: setting for (where, row), setting in runs.items() if where == dataset}
        fewest = min(map(len, rows.values()))  # deciding rows have more
        rows = {row: setting[:fewest] for row, setting in rows.items()}
        there = {row: accuracy_of(setting, split="val").value for row, setting in rows.items()}
        best = max(there, key=lambda row: there[row])
        line = {"chosen on validation": _beta(best), "there (%)": f"{there[best]:.1f}"}
        line[f"{asked}; against {reference} (points)"] = difference(rows[reference], rows[best]).points
        lines[paper.PRINTED[dataset]] = line
    return pd.DataFrame.from_dict(lines, orient="index")


def _beta(row: str) -> str:
    return row if float(row) else f"{row} (STL_QA)"


def grounding(runs: Runs) -> pd.DataFrame:
    """What multi-task students write about test videos of the miniature: percent of the events told rightly, verb and
    object, in their place; a row per setting, a column per data set. Of each setting the first seed, 300 questions."""
    from reasvqa.mini.grounding import grounding as told_rightly

    told = {cell: told_rightly(setting[0], questions=300) for cell, setting in runs.items() if "MTL" in cell[1]}
    return pd.Series(told).unstack(0).round(1)


# The settings of "controls" that say what reasoning teaches, and what it would without errors.
_TAUGHT = {"STL_QA": "STL_QA", "MTL_All": "MTL_All", "error-free": "MTL, error-free reasoning"}


def by_wording(runs: Runs) -> pd.DataFrame:
    """Accuracy (%) in each wording of the miniature's questions: a row per data set and wording, see
    `mini.wordings.by_wording`. runs: of the controls."""
    from reasvqa.mini.wordings import by_wording as of_one

    found = {
        paper.PRINTED[dataset]: of_one({name: runs[dataset, row] for name, row in _TAUGHT.items()})
        for dataset in dict.fromkeys(dataset for dataset, _ in runs)
    }
    return pd.concat(found, names=["data set", "wording"])


def what_is_left(runs: Runs) -> pd.DataFrame:
    """Questions in wordings that students knew before fine-tuning, and in new ones: what answers alone reach (%), and
    what reasoning adds (points, with 95 % intervals, the mean over data sets). runs: of the controls."""
    from reasvqa.mini.wordings import PRETRAINED, wording

    parts: dict[bool, list[dict[str, pd.DataFrame]]] = {True: [], False: []}  # by data set and setting, `outcomes`
    for dataset in dict.fromkeys(dataset for dataset, _ in runs):
        right = {name: outcomes(runs[dataset, row]) for name, row in _TAUGHT.items()}
        run = runs[dataset, _TAUGHT["STL_QA"]][0]
        known = {sample.id: wording(sample.question, run.config.dataset) in PRETRAINED for sample in run.samples()}
        for part, tables in parts.items():
            ids = [id for id, knows in known.items() if knows == part]
            tables.append({name: table[table.index.isin(ids, level="id")] for name, table in right.items()})
    rows: dict[str, dict[str, object]] = {}
    for name, part in (("known before fine-tuning", True), ("new", False)):
        alone = contrast([[(1, each["STL_QA"])] for each in parts[part]])
        rows[name] = {"questions": alone.questions, "STL_QA (%)": str(alone)}
        for setting in list(_TAUGHT)[1:]:
            effect = contrast([[(1, each[setting]), (-1, each["STL_QA"])] for each in parts[part]])
            rows[name][f"{setting} - STL_QA (points)"] = effect.points
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("the question's wording")


def trials(record: pd.DataFrame) -> pd.DataFrame:
    """The record of data/mini/trials_25_epochs.csv to read: accuracies and differences with their 95 % intervals."""
    rows = {}
    for row in record.to_dict("records"):
        line = {"accuracy (%)": f"{row['accuracy']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"}
        compared = not pd.isna(row["against"])
        span = f"{row['difference']:+.1f} [{row['difference_low']:.1f}, {row['difference_high']:.1f}]"
        line |= {"against": row["against"] if compared else "", "difference (points)": span if compared else ""}
        numbers = {"told right (%)": ("told_right", 0), "training (s)": ("training_s", 0)}
        numbers |= {f"{what}'s loss (nats)": (f"{what}_loss_at_end", 3) for what in ("answer", "reasoning")}
        for name, (column, digits) in numbers.items():
            line[name] = "" if pd.isna(row[column]) else f"{row[column]:.{digits}f}"
        rows[row["trial"]] = line
    return pd.DataFrame.from_dict(rows, orient="index")


def trained(runs: dict[str, list[Run]]) -> pd.DataFrame:
    """What the first seed of each setting was trained on, and how long it took."""
    rows = {}
    for name, seeds in runs.items():
        metrics, seconds = seeds[0].metrics, seeds[0].metrics["seconds"]
        rows[name] = {
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
    """The miniature's gates to read: a row per gate, a column per data set, "65.0 (55 to 80)", with "missed" where it
    is. measured: of `reasvqa.mini.gates.measure`, or several."""

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
    """The paper's rows above ours, each block under a heading that says what it is, on the columns that either has."""
    columns = list(dict.fromkeys([*printed.columns, *ours.columns]))
    return pd.concat(
        {PAPER: printed.reindex(columns=columns), OURS[scale]: ours.reindex(columns=columns)}, names=["source", "row"]
    )


def show(table: pd.DataFrame, caption: str = "") -> HTML:
    """The table for a notebook: one decimal, the paper's block and ours told apart by their background. Of estimates
    their values are shown."""
    style = values(table).style.set_caption(html.escape(caption))
    style.format(precision=1, na_rep="–", escape="html")
    for axis in (0, 1):
        style.format_index(escape="html", axis=axis)
    if table.index.nlevels > 1:
        theirs, ours = ("background-color: #f2f2f2; color: #222222", "background-color: #fdf0e3; color: #222222")
        looks = [theirs if source == PAPER else ours for source in table.index.get_level_values(0)]
        style.apply(lambda column: looks, axis=0)
    return HTML(style.to_html())
