"""One style, one function per figure. `reasvqa.report.saving` writes them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from reasvqa import paper
from reasvqa.learning import Run

# Okabe and Ito's palette: told apart by colour-blind readers, and in grey by its steps of lightness.
COLOURS = {
    "Blind": "#999999",
    "STL_QA": "#0072B2",
    "STL_CR": "#56B4E9",
    "STL_All": "#CC79A7",
    "MTL_CR": "#E69F00",
    "MTL_All": "#D55E00",
}
COLOURS["MTL"] = COLOURS["MTL_All"]
PAPER_COLOUR = "#222222"


def style() -> None:
    """The look of all figures; called once per notebook."""
    sns.set_theme(context="paper", style="ticks", font_scale=1.15)
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 200,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "pdf.fonttype": 42,
        }
    )


def _done(figure: plt.Figure) -> plt.Figure:
    """Tidies a figure and closes it: a notebook shows what a cell returns, and would show an open figure once more."""
    figure.tight_layout()
    plt.close(figure)
    return figure


def learning_curves(runs: dict[str, list[Run]]) -> plt.Figure:
    """Training losses against epochs, a line a seed: the answer's loss at the left, the reasoning's at the right."""
    figure, axes = plt.subplots(1, 2, figsize=(8.2, 3.0), sharex=True)
    for name, seeds in runs.items():
        for k, run in enumerate(seeds):
            for axis, column in zip(axes, ("answer_loss", "reasoning_loss"), strict=True):
                if column in run.history:
                    label = name if k == 0 else None
                    axis.plot(
                        run.history["epoch"],
                        run.history[column],
                        color=COLOURS.get(name),
                        lw=1.4,
                        alpha=0.9,
                        label=label,
                    )
    for axis, title in zip(axes, ("answer", "reasoning"), strict=True):
        axis.set(xlabel="epoch", ylabel="cross-entropy per token (nats)", title=f"Loss of the {title}", ylim=(0, None))
        if axis.has_data():
            axis.legend(frameon=False)
        else:
            axis.text(0.5, 0.5, "no reasoning is learned", ha="center", va="center", transform=axis.transAxes)
    return _done(figure)


def accuracy_bars(
    table: pd.DataFrame, title: str, chance: float | None = None, paper: pd.Series | None = None
) -> plt.Figure:
    """Accuracy with 95 % intervals, a bar a setting; the paper's values, where it has them, as black diamonds.

    Args:
        table: of `results.summary`.
        chance: accuracy of guessing, in percent: a dotted line.
        paper: accuracy by setting, in percent, as the paper prints it for the data set this one stands for.
    """
    figure, axis = plt.subplots(figsize=(1.0 + 1.15 * len(table), 3.4))
    x = np.arange(len(table))
    error = np.stack([table["accuracy"] - table["low"], table["high"] - table["accuracy"]]).clip(0)
    axis.bar(
        x,
        table["accuracy"],
        0.62,
        color=[COLOURS.get(name, "#56B4E9") for name in table.index],
        yerr=error,
        capsize=3,
        error_kw={"lw": 1.2},
        zorder=2,
    )
    for i, row in enumerate(table.itertuples()):
        axis.text(i, row.high + 1.2, f"{row.accuracy:.1f}", ha="center", va="bottom", fontsize=9)
    if paper is not None:
        known = [(i, paper[name]) for i, name in enumerate(table.index) if name in paper.index]
        if known:
            axis.scatter(
                *zip(*known, strict=True),
                marker="D",
                s=34,
                facecolor="white",
                edgecolor=PAPER_COLOUR,
                zorder=4,
                label="paper (full scale)",
            )
    if chance is not None:
        axis.axhline(chance, color="#555555", ls=":", lw=1.2, zorder=3, label=f"chance ({chance:.0f} %)")
    if paper is not None or chance is not None:
        axis.legend(frameon=False, loc="upper left", fontsize=8, ncol=2)
    seeds, questions = int(table["seeds"].max()), int(table["questions"].max())
    axis.set(ylabel="accuracy (%)", ylim=(0, 112), title=title)
    axis.set_xticks(x, table.index)
    axis.set_yticks(range(0, 101, 20))
    axis.set_xlabel(f"n = {questions} questions, {seeds} seed{'s' if seeds > 1 else ''}; bars: 95 % interval")
    return _done(figure)


def group_bars(table: pd.DataFrame, title: str) -> plt.Figure:
    """Accuracy by question group, settings side by side. table: of `results.by_group`."""
    figure, axis = plt.subplots(figsize=(1.6 + 1.25 * table.shape[1], 3.2))
    long = table.rename_axis("setting").reset_index().melt("setting", var_name="group", value_name="accuracy")
    sns.barplot(
        long,
        x="group",
        y="accuracy",
        hue="setting",
        palette={n: COLOURS.get(n, "#56B4E9") for n in table.index},
        ax=axis,
        width=0.75,
    )
    axis.set(xlabel="question group", ylabel="accuracy (%)", ylim=(0, 100), title=title)
    axis.legend(frameon=False, fontsize=8, ncol=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return _done(figure)


def rule_bars(counts: pd.Series, title: str, n: int) -> plt.Figure:
    """How often each rule of refinement removed something: horizontal bars, most frequent first."""
    counts = counts.sort_values()
    figure, axis = plt.subplots(figsize=(6.6, 0.42 * len(counts) + 1.2))
    axis.barh(counts.index, counts, color=["#D55E00" if "word" in name else "#0072B2" for name in counts.index])
    for i, value in enumerate(counts):
        axis.text(value, i, f" {value}", va="center", fontsize=9)
    axis.set(xlabel=f"removals in {n} responses (blue: sentences, orange: words)", title=title)
    return _done(figure)


def pipeline(pictures: np.ndarray, question: str, response: str, refined: str, answer: str) -> plt.Figure:
    """Figure 1 of the paper, drawn from one real example: generation, refinement, learning.

    Args:
        pictures: uint8 (T, H, W, 3) frames.
        question, response, refined, answer: the example's texts; long ones are cut.
    """
    figure, axis = plt.subplots(figsize=(11, 4.6))
    axis.set(xlim=(0, 110), ylim=(0, 46))
    axis.set_axis_off()

    def box(x, y, w, h, title, text, colour, size=7.6, wrap=38):
        axis.add_patch(
            FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0.4,rounding_size=1", fc=colour, ec="#444444", lw=1)
        )
        axis.text(x + w / 2, y + h - 0.6, title, ha="center", va="top", fontsize=9, weight="bold")
        axis.text(x + 0.6, y + h - 4.2, _wrapped(text, wrap, int((h - 4) / 1.75)), ha="left", va="top", fontsize=size)

    def arrow(a, b):
        axis.add_patch(
            FancyArrowPatch(a, b, arrowstyle="-|>", mutation_scale=13, color="#444444", lw=1.3, connectionstyle="arc3")
        )

    side = 7.6
    for t, picture in enumerate(pictures):
        inset = axis.inset_axes([0.2 + t * (side + 0.3), 36, side, side], transform=axis.transData)
        inset.imshow(picture)
        inset.set_axis_off()
    axis.text(0.3, 44.6, "N = 4 frames of the clip", fontsize=9, weight="bold")
    box(0.6, 17, 30, 16.5, "Question", question, "#F2F2F2", wrap=40)
    box(38, 19, 30, 26, "1. Generation (RG)", response, "#DCEBF7", wrap=38)
    box(76, 19, 32, 26, "2. Refinement (RR)", refined, "#E4F1DE", wrap=40)
    box(
        38,
        1,
        70,
        12.5,
        "3. Learning (LR): Eq. 2 on one reading of video and question",
        f'answer:  alpha x CE( "{answer}" )\nreasoning:  beta x CE( "{refined[:62]} ..." )',
        "#FBE9D7",
        size=8.4,
        wrap=82,
    )
    box(
        0.6,
        1,
        30,
        12.5,
        "Student",
        "frozen ViT + Q-Former, projection and LoRA trained; at test time it only answers",
        "#FBE9D7",
        wrap=38,
    )
    arrow((32.2, 38), (37.2, 38))
    arrow((31.4, 26), (37.2, 26))
    arrow((68.8, 32), (75.2, 32))
    arrow((92, 18.2), (92, 14.4))
    arrow((15.5, 16.2), (15.5, 14.4))
    arrow((37.2, 7.5), (31.6, 7.5))
    plt.close(figure)
    return figure


def _wrapped(text: str, width: int, lines: int) -> str:
    """The text in lines of at most `width` letters, cut after `lines` of them."""
    import textwrap

    rows = [row for paragraph in text.splitlines() for row in textwrap.wrap(paragraph, width) or [""]]
    return "\n".join(rows if len(rows) <= lines else rows[: lines - 1] + [rows[lines - 1][: width - 4] + " ..."])


def frame_page(rows: Sequence[Sequence[np.ndarray]]) -> plt.Figure:
    """A page of frames, a row a story. rows: uint8 (H, W, 3) pictures, equally many in each row."""
    figure, axes = plt.subplots(len(rows), len(rows[0]), figsize=(2.0 * len(rows[0]), 2.0 * len(rows)), squeeze=False)
    for axis, picture in zip(axes.flat, (picture for row in rows for picture in row), strict=True):
        axis.imshow(picture)
        axis.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 1, wspace=0.03, hspace=0.03)
    plt.close(figure)
    return figure


def trial_differences(trials: pd.DataFrame) -> plt.Figure:
    """Each trial's difference to its reference in points, with its 95 % interval. trials: of data/mini/trials_25_epochs.csv.

    Seeing against blind is left out: it is so large that nothing else could be read.
    """
    shown = trials[trials["against"].fillna("Blind") != "Blind"].iloc[::-1]
    figure, axis = plt.subplots(figsize=(7.6, 0.42 * len(shown) + 1.2))
    colours = np.where(
        shown["difference_low"] > 0, "#009E73", np.where(shown["difference_high"] < 0, "#D55E00", "#777777")
    )
    for y, (row, colour) in enumerate(zip(shown.itertuples(), colours, strict=True)):
        axis.plot([row.difference_low, row.difference_high], [y, y], color=colour, lw=2)
        axis.plot(row.difference, y, "o", color=colour, ms=6)
    axis.axvline(0, color="#333333", lw=1)
    axis.set_yticks(range(len(shown)), [f"{row.trial}  vs  {row.against}" for row in shown.itertuples()])
    seeds, questions = int(trials["seeds"].iloc[0]), int(trials["questions"].iloc[0])
    axis.set(
        xlabel=f"difference in accuracy (points), 95 % interval; {questions} validation questions, {seeds} seeds",
        ylim=(-0.7, len(shown) - 0.3),
    )
    return _done(figure)


def beside_paper(ours: pd.DataFrame, printed: pd.DataFrame, title: str) -> plt.Figure:
    """A panel per data set: each row's accuracy with its 95 % interval, the paper's value as an open diamond.

    Args:
        ours: of `results.cells`.
        printed: the paper's table; rows named alike, columns by `paper.PRINTED`.
    """
    datasets, rows = list(ours["dataset"].unique()), list(ours["row"].unique())
    figure, axes = plt.subplots(
        1, len(datasets), figsize=(2.2 + 2.9 * len(datasets), 0.42 * len(rows) + 1.7), sharey=True, squeeze=False
    )
    for axis, dataset in zip(axes[0], datasets, strict=True):
        part = ours[ours["dataset"] == dataset].set_index("row").reindex(rows)
        y = np.arange(len(rows))[::-1]
        axis.hlines(y, part["low"], part["high"], color="#0072B2", lw=2.2, zorder=2)
        axis.plot(part["accuracy"], y, "o", color="#0072B2", ms=6, zorder=3, label="ours, 95 % interval")
        column = paper.PRINTED[dataset] if paper.PRINTED[dataset] in printed else "Tot"
        known = [
            (printed[column][row], y[i]) for i, row in enumerate(rows) if column in printed and row in printed.index
        ]
        if known:
            axis.scatter(
                *zip(*known, strict=True),
                marker="D",
                s=36,
                facecolor="white",
                edgecolor=PAPER_COLOUR,
                lw=1.3,
                zorder=4,
                label="paper (full scale)",
            )
        axis.grid(axis="y", color="#dddddd", lw=0.8)
        axis.set(
            title=paper.PRINTED[dataset],
            xlabel=f"accuracy (%)\nn = {int(part['questions'].max())}, {_span(part['seeds'])}",
            ylim=(-0.6, len(rows) - 0.4),
        )
    axes[0, 0].set_yticks(np.arange(len(rows))[::-1], rows)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="upper center", ncol=2, fontsize=9, bbox_to_anchor=(0.5, 1.0))
    figure.suptitle(title, y=1.07, fontsize=11)
    return _done(figure)


def _span(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low} seed{'s' if low > 1 else ''}" if low == high else f"{low} to {high} seeds"


def curves(
    ours: pd.DataFrame,
    x: Sequence[str],
    lines: dict[str, Sequence[str]],
    stated: dict[str, list[tuple[float, float]]],
    title: str,
    xlabel: str,
) -> plt.Figure:
    """Figures 3 and 4: a panel with what the paper's text states, and a panel per data set of ours.

    Args:
        ours: of `results.cells`.
        x: names of the positions on the horizontal axis.
        lines: by the name of a line its rows, one per position.
        stated: by the name of a line the paper's points on NExT-QA: (position, accuracy).
    """
    datasets = list(ours["dataset"].unique())
    figure, axes = plt.subplots(1, 1 + len(datasets), figsize=(3.6 * (1 + len(datasets)), 3.3))
    styles = dict(zip(lines, (("#D55E00", "o"), ("#0072B2", "s")), strict=False))
    for name, points in stated.items():
        axes[0].plot(
            *zip(*points, strict=True),
            ls=":",
            marker="D",
            mfc="white",
            mew=1.5,
            ms=7,
            color=styles[name][0],
            label=f"{name}, paper",
        )
    axes[0].set(
        title="Paper, NExT-QA: values stated in the text\n(the rest of its figure is a picture)", ylabel="accuracy (%)"
    )
    for axis, dataset in zip(axes[1:], datasets, strict=True):
        part = ours[ours["dataset"] == dataset].set_index("row")
        for k, (name, rows) in enumerate(lines.items()):
            line = part.loc[list(rows)]
            error = np.stack([line["accuracy"] - line["low"], line["high"] - line["accuracy"]]).clip(0)
            colour, marker = styles[name]
            axis.errorbar(
                np.arange(len(x)) + 0.08 * k,
                line["accuracy"],
                yerr=error,
                color=colour,
                marker=marker,
                ms=5,
                lw=1.5,
                capsize=2.5,
                label=name,
            )
        axis.set(
            title=f"Ours, {paper.PRINTED[dataset]}-like\nn = {int(part['questions'].max())}, {_span(part['seeds'])}, 95 % intervals"
        )
    axes[1].set_ylabel("accuracy (%)")
    low, high = min(a.get_ylim()[0] for a in axes[1:]), max(a.get_ylim()[1] for a in axes[1:])
    for axis in axes:
        axis.set_xticks(range(len(x)), x)
        axis.set(xlabel=xlabel, xlim=(-0.4, len(x) - 0.6))
        if axis is not axes[0]:
            axis.set_ylim(low, high)
        if len(lines) > 1 or axis is axes[0]:
            axis.legend(frameon=False, fontsize=8)
    figure.suptitle(title, y=1.03, fontsize=11)
    return _done(figure)


VERDICT_COLOURS = {"reproduced": "#009E73", "not reproduced": "#D55E00", "inconclusive": "#777777"}


def ledger(table: pd.DataFrame, title: str) -> plt.Figure:
    """Every claim's effect in points with its 95 % interval, coloured by verdict; the paper's effect as an open diamond.

    table: of `results.ledger`.
    """
    shown = table.iloc[::-1].reset_index(drop=True)
    figure, axis = plt.subplots(figsize=(9.6, 0.27 * len(shown) + 1.4))
    for y, row in shown.iterrows():
        axis.plot(
            [row["low"], row["high"]], [y, y], color=VERDICT_COLOURS[row["verdict"]], lw=2.2, solid_capstyle="butt"
        )
        axis.plot(row["effect"], y, "o", color=VERDICT_COLOURS[row["verdict"]], ms=5)
    known = shown[shown["paper"].notna()]
    axis.scatter(
        known["paper"].astype(float), known.index, marker="D", s=26, facecolor="white", edgecolor=PAPER_COLOUR, zorder=4
    )
    axis.axvline(0, color="#333333", lw=1)
    axis.axhline(
        shown["control"].sum() - 0.5, color="#333333", lw=0.8, ls=":"
    )  # the paper's claims above, our controls below
    axis.set_yticks(range(len(shown)), [f"{row['text']}  ({row['where']})" for _, row in shown.iterrows()], fontsize=8)
    axis.set(
        xlabel="effect in the claimed direction (points of accuracy;\nlogarithmic beyond 5), 95 % interval",
        ylim=(-0.7, len(shown) - 0.3),
    )
    axis.set_xscale("symlog", linthresh=5)  # a few effects are ten times the others
    ticks = [-50, -10, -5, -2, 0, 2, 5, 10, 50]
    axis.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks], fontsize=8)
    axis.set_title(title, fontsize=11, loc="right")
    axis.grid(axis="y", color="#eeeeee", lw=0.8)
    marks = [plt.Line2D([], [], color=colour, marker="o", lw=2, label=name) for name, colour in VERDICT_COLOURS.items()]
    marks.append(
        plt.Line2D([], [], color=PAPER_COLOUR, marker="D", mfc="white", lw=0, label="the paper's effect (full scale)")
    )
    axis.legend(
        handles=marks,
        frameon=False,
        fontsize=8,
        loc="upper center",
        ncol=4,
        bbox_to_anchor=(0.1, -0.06 - 0.6 / len(shown)),
    )
    return _done(figure)


def strength(ours: pd.DataFrame, baseline: pd.Series, title: str) -> plt.Figure:
    """Student accuracy against the generator's accuracy on the training questions, refined and original reasoning.

    Args:
        ours: columns generator_accuracy, kind, accuracy, low, high, row (the generator's name).
        baseline: accuracy, low, high of the student that learns answers only: a horizontal band.
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.9))
    axis.axhspan(baseline["low"], baseline["high"], color="#bbbbbb", alpha=0.35, lw=0)
    axis.axhline(baseline["accuracy"], color="#555555", ls="--", lw=1.2, label="answers only (STL_QA)")
    for k, (kind, colour, marker) in enumerate((("refined", "#0072B2", "s"), ("original", "#D55E00", "o"))):
        line = ours[ours["kind"] == kind].sort_values("generator_accuracy")
        error = np.stack([line["accuracy"] - line["low"], line["high"] - line["accuracy"]]).clip(0)
        axis.errorbar(
            line["generator_accuracy"] + 0.6 * k,
            line["accuracy"],
            yerr=error,
            color=colour,
            marker=marker,
            ms=5,
            lw=1.5,
            capsize=2.5,
            label=f"{kind} reasoning",
        )
    axis.set(
        xlabel="the generator's accuracy on the training questions (%)", ylabel="student's accuracy (%)", title=title
    )
    axis.legend(frameon=False, fontsize=8)
    return _done(figure)


def dots(values: pd.Series, xlabel: str, limit: float, title: str) -> plt.Figure:
    """Values from zero up on a logarithmic axis, first on top, and the limit they should stay under; hollow: exactly zero."""
    figure, axis = plt.subplots(figsize=(6.5, 0.35 * len(values) + 1.2))
    floor = min([value for value in values if value > 0], default=limit) / 3
    for row, value in enumerate(values):
        axis.plot(
            max(value, floor),
            row,
            "o",
            color=COLOURS["STL_QA"],
            markerfacecolor="none" if value == 0 else COLOURS["STL_QA"],
        )
    if (values == 0).any():
        axis.plot([], [], "o", color=COLOURS["STL_QA"], markerfacecolor="none", label="exactly zero")
    axis.axvline(limit, color=PAPER_COLOUR, linestyle="--", linewidth=1, label=f"limit: {limit:g}")
    axis.set(xscale="log", xlabel=xlabel, title=title, yticks=range(len(values)), yticklabels=values.index)
    axis.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    axis.invert_yaxis()
    return _done(figure)


def recipes(table: pd.DataFrame, title: str) -> plt.Figure:
    """Training throughput by recipe as multiples of the reference recipe, with the range over rounds; the rates as text."""
    figure, axis = plt.subplots(figsize=(6.5, 0.45 * len(table) + 1.2))
    for row, (name, r) in enumerate(table.iterrows()):
        colour = {"reference": "#999999", "ours": COLOURS["MTL_All"]}.get(name, COLOURS["STL_CR"])
        axis.barh(row, r["times_reference"], color=colour, height=0.65)
        axis.plot([r["smallest"], r["largest"]], [row, row], color=PAPER_COLOUR, linewidth=1.5)
        label = f"{r['times_reference']:.1f}x, {r['samples_per_s']:.3g} samples/s"
        axis.text(r["largest"] + 0.02 * table["largest"].max(), row, label, va="center", fontsize="small")
    axis.set(
        yticks=range(len(table)),
        yticklabels=table.index,
        xlabel="training samples per second, as multiples of the reference recipe",
        title=title,
    )
    axis.set_xlim(0, 1.3 * table["largest"].max())
    axis.invert_yaxis()
    return _done(figure)


def growth(table: pd.DataFrame, title: str) -> plt.Figure:
    """Seconds of the frozen half and of training against the number of questions, frames and epochs, a panel each."""
    figure, axes = plt.subplots(1, table["what"].nunique(), figsize=(8.5, 2.9), sharey=True)
    for axis, (what, part) in zip(axes, table.groupby("what", sort=False), strict=True):
        axis.plot(part["value"], part["features_s"], "o-", color=COLOURS["STL_QA"], label="features (once)")
        axis.plot(part["value"], part["training_s"], "s--", color=COLOURS["MTL_All"], label="training")
        axis.set(
            xlabel={"questions": "training questions", "frames": "frames N"}.get(what, what),
            xlim=(0, None),
            xticks=part["value"],
        )
    axes[0].set(
        ylabel="seconds", ylim=(0, 1.08 * table[["features_s", "training_s"]].max().max())
    )  # of all panels: they share it
    axes[0].legend(frameon=False, loc="upper left")
    figure.suptitle(title, y=1.0)
    return _done(figure)


def example(
    pictures: np.ndarray,
    question: str,
    options: Sequence[str],
    truth: int,
    parts: Sequence[tuple[str, bool]],
    title: str,
) -> plt.Figure:
    """Figure 2 of the paper from a real sample: frames, question, and the response with what refinement keeps and removes.

    Args:
        pictures: uint8 (T, H, W, 3) frames.
        truth: index of the right option.
        parts: the response's pieces in order, with whether refinement keeps them.
    """
    import textwrap

    figure = plt.figure(figsize=(10, 3.8))
    for t, picture in enumerate(pictures):
        axis = figure.add_axes((0.01 + t * 0.105, 0.64, 0.1, 0.21))
        axis.imshow(picture)
        axis.set_axis_off()
    left = figure.add_axes((0.01, 0.02, 0.42, 0.58))
    left.set_axis_off()
    left.text(0, 1, textwrap.fill(question, 52), va="top", fontsize=10, weight="bold")
    for i, option in enumerate(options):
        mark = "  (the true answer)" if i == truth else ""
        left.text(
            0,
            0.78 - 0.12 * i,
            f"{'ABCDEFGHIJ'[i]}. {option}{mark}",
            va="top",
            fontsize=9.5,
            color="#009E73" if i == truth else "#222222",
        )
    right = figure.add_axes((0.45, 0.02, 0.54, 0.82))
    right.set(xlim=(0, 74), ylim=(0, 24))  # columns and lines of letters that are all equally wide
    right.set_axis_off()
    column, line = 0, 23.0
    for text, kept in parts:
        for piece in text.split("\n") if "\n" in text else [text]:
            words = piece.split()
            for k, word in enumerate(words):
                if column + len(word) > 72:
                    column, line = 0, line - 1.25
                last = k == len(words) - 1 or column + len(word) + 1 + len(words[k + 1]) > 72
                shown = word if last else word + " "
                style = {"fc": "#E4F1DE" if kept else "#FBE3DA", "ec": "none", "pad": 0.6}
                right.text(
                    column,
                    line,
                    shown,
                    va="baseline",
                    fontsize=8.6,
                    family="monospace",
                    color="#222222" if kept else "#C04000",
                    bbox=style,
                )
                column += len(word) + 1
            if piece is not text and column and words:
                column, line = 0, line - 1.25
    figure.text(0.45, 0.875, "the generator's response: kept (green), removed by refinement (orange)", fontsize=9.5)
    figure.suptitle(title, x=0.01, y=0.98, ha="left", fontsize=11)
    plt.close(figure)
    return figure
