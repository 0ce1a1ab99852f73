"""One style, and the pictures of results that several notebooks draw. `saving` writes them to files.

A figure's title is its message: a sentence that the caller computes from the runs (`words.finding`).
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reasvqa.companion import paper
from reasvqa.companion.experiments import our_name
from reasvqa.companion.scales import OFFICIAL_SCALES
from reasvqa.companion.words import seeds_text
from reasvqa.learning import Run

# Okabe and Ito's palette: told apart by colour-blind readers, and in grey by its steps of lightness.
COLOURS = {"Blind": "#999999", "STL_QA": "#0072B2", "STL_CR": "#56B4E9", "STL_All": "#CC79A7", "MTL_CR": "#E69F00"}
COLOURS |= dict.fromkeys(("MTL", "MTL_All"), "#D55E00")
PAPER_COLOUR, OUR_COLOUR = "#222222", "#0072B2"
VERDICT_COLOURS = {"reproduced": "#009E73", "same sign, other size": "#56B4E9", "contradicted": "#D55E00"}
VERDICT_COLOURS |= {"no effect": "#0072B2", "undecided": "#777777"}
NO_VERDICT = "#bbbbbb"  # of a single seed, or of a claim that served to set up the miniature


def style() -> None:
    """Set the look of all figures, and of tables, whose texts are shown whole; called once per notebook.

    No figure is wider than a page's text (7.2 inches) and no letter smaller than 7 points: they are printed as drawn.
    """
    look = {"figure.dpi": 110, "savefig.dpi": 200, "axes.spines.top": False, "axes.spines.right": False}
    look |= {"pdf.fonttype": 42, "text.parse_math": False}  # a dollar in a question is a dollar
    sns.set_theme(context="paper", style="ticks", font_scale=0.88, rc=look)
    pd.set_option("display.max_colwidth", None)


def panel_title(title: str, scale: str) -> str:
    """Return the title of a panel of ours, marked as the miniature or a small model below paper scale."""
    if scale in OFFICIAL_SCALES:
        return title if scale == "paper" else f"{title} (small model)"
    return f"{title} (miniature{', preview' if scale == 'preview' else ''})"


def finished(figure: Figure, message: str = "") -> Figure:
    """Tidy and close a figure, under a message: a notebook shows what a cell returns, and an open figure once more."""
    if message:
        figure.suptitle("\n".join(textwrap.fill(line, 95) for line in message.splitlines()), fontsize=9)
    figure.tight_layout()
    plt.close(figure)
    return figure


def _spread(table: pd.DataFrame) -> np.ndarray:
    """Return the distances (2, n) from accuracies to the ends of their intervals, for matplotlib."""
    return np.stack([table["accuracy"] - table["low"], table["high"] - table["accuracy"]]).clip(0)


def _support(table: pd.DataFrame) -> str:
    return f"n = {max(table['questions']):.0f}, {seeds_text(*table['seeds'])}"


def learning_curves(runs: dict[str, list[Run]]) -> Figure:
    """Draw losses against epochs, a line a seed, in a panel for each target that some student learns. Dashed: the
    answer's loss on validation questions, of runs that are evaluated on these.

    Single-task students have one target, whatever it holds; its loss is that of the answer where they learn no
    reasoning.
    """
    titles = {"answer_loss": "Loss of the answer", "reasoning_loss": "Loss of the reasoning"}
    kept = [column for column in titles if any(column in seeds[0].history for seeds in runs.values())]
    if "reasoning_loss" not in kept:
        titles["answer_loss"] = "Loss of the single target"
    figure, axes = plt.subplots(1, len(kept), figsize=(3.6 * len(kept), 2.6), squeeze=False)
    for axis, column in zip(axes[0], kept, strict=True):
        for name, seeds in runs.items():
            for k, run in enumerate(seeds if column in seeds[0].history else []):
                label = None if k else our_name(name, run.config.preset)
                (line,) = axis.plot("epoch", column, data=run.history, color=COLOURS.get(name), label=label)
                if column == "answer_loss" and "validation_loss" in run.history:
                    label = label and f"{label}, validation"
                    axis.plot("epoch", "validation_loss", "--", data=run.history, color=line.get_color(), label=label)
        title = panel_title(titles[column], next(iter(runs.values()))[0].config.preset)
        axis.set(xlabel="epoch", ylabel="cross-entropy (nats)", title=title, ylim=(0, None))
        axis.legend(frameon=False)
    return finished(figure)


def _diamonds(axis: Axes, x: Any, y: Any, label: str = "", **look) -> None:
    """Draw values of the paper."""
    look = {"mfc": "white", "mec": PAPER_COLOUR, "mew": 1.3, "ms": 6, "ls": "", "zorder": 4, "clip_on": False} | look
    axis.plot(x, y, "D", label=label, **look)


def _equal_spans(ranges: Mapping[Axes, tuple[float, float]], limits: str) -> None:
    """Give each axis the limits around its (lowest, highest) value, all of the widest one's span and a margin."""
    span = max(1.15 * max(high - low for low, high in ranges.values()), 2.0)
    for axis, (low, high) in ranges.items():
        axis.set(**{limits: ((low + high - span) / 2, (low + high + span) / 2)})


def beside_paper(ours: pd.DataFrame, printed: pd.DataFrame, message: str, scale: str) -> Figure:
    """Draw accuracies, a column of panels per data set: the paper's above, ours with 95 % intervals below.

    All panels span equally many points: shapes can be compared, levels cannot.

    Args:
        ours: of `results.summary`, with the index as columns dataset and row.
        printed: the paper's table; rows named alike, columns by `paper.PRINTED`.
    """
    datasets, rows = list(ours["dataset"].unique()), list(ours["row"].unique())
    theirs = [row for row in rows if row in printed.index]
    blocks = ([theirs] if theirs else []) + [rows]
    width, height = max(5.2, 1.7 + 1.85 * len(datasets)), 0.23 * sum(map(len, blocks)) + 0.75 * len(blocks) + 0.5
    shape: dict[str, Any] = {"figsize": (min(7.2, width), height), "sharey": "row", "squeeze": False}
    shape["height_ratios"] = [len(block) + 0.6 for block in blocks]
    figure, axes = plt.subplots(len(blocks), len(datasets), **shape)
    ranges = {}
    for k, dataset in enumerate(datasets):
        name = paper.PRINTED[dataset]
        if theirs:
            values = printed.loc[theirs, name if name in printed else "Tot"]
            _diamonds(axes[0, k], values, np.arange(len(theirs)))
            axes[0, k].set_title(f"Paper, {name}")
            ranges[axes[0, k]] = values.min(), values.max()
        table = ours[ours["dataset"] == dataset].set_index("row").reindex(rows)
        axis = axes[-1, k]
        look = {"fmt": "o", "color": OUR_COLOUR, "lw": 2, "ms": 5}
        axis.errorbar(table["accuracy"], np.arange(len(rows)), xerr=_spread(table), **look)
        axis.set(title=panel_title(f"Ours, {name}", scale), xlabel=f"accuracy (%)\n{_support(table)}\n95 % intervals")
        ranges[axis] = table["low"].min(), table["high"].max()
    for line, block in zip(axes, blocks, strict=True):
        names = [row if block is theirs and block is not rows else our_name(row, scale) for row in block]
        line[0].set_yticks(np.arange(len(block)), names)
        line[0].set_ylim(len(block) - 0.5, -0.6)
        for axis in line:
            axis.grid(axis="y", color="#dddddd", lw=0.8)
    _equal_spans(ranges, "xlim")
    return finished(figure, message)


Stated = dict[str, list[tuple[float, float]]]  # by the name of a line the paper's points: (position, accuracy)


def curves(
    ours: pd.DataFrame,
    x: Sequence[str],
    lines: Mapping[str, Sequence[str]],
    stated: Stated,
    message: str,
    xlabel: str,
    scale: str,
) -> Figure:
    """Draw accuracies along a line, as in Figures 3 and 4: a panel with what the paper's text states, and one of ours
    per data set; all span equally many points.

    Args:
        ours: of `results.summary`, with the index as columns dataset and row.
        x: names of the positions on the horizontal axis.
        lines: by the name of a line its rows, one per position.
        stated: the paper's points on NExT-QA.
    """
    datasets = list(ours["dataset"].unique())
    figure, axes = plt.subplots(1, 1 + len(datasets), figsize=(min(7.2, 2.4 * (1 + len(datasets))), 3.1))
    looks = dict(zip(lines, (("#D55E00", "o"), ("#0072B2", "s")), strict=False))
    for name, points in stated.items():
        colour = looks[name][0]
        x_stated, y_stated = [x for x, _ in points], [y for _, y in points]
        _diamonds(axes[0], x_stated, y_stated, label=f"{name}, paper", mec=colour, color=colour, ls=":")
    axes[0].set(title="Paper, NExT-QA (its text)", xlabel=xlabel, ylabel="accuracy (%)")
    values = [value for points in stated.values() for _, value in points] or [0.0]
    ranges = {axes[0]: (min(values), max(values))}
    for axis, dataset in zip(axes[1:], datasets, strict=True):
        table = ours[ours["dataset"] == dataset].set_index("row")
        for k, (name, rows) in enumerate(lines.items()):
            line, (colour, marker) = table.loc[list(rows)], looks[name]
            look = {"color": colour, "marker": marker, "ms": 5, "lw": 1.5, "capsize": 2.5, "label": name}
            axis.errorbar(np.arange(len(x)) + 0.08 * k, line["accuracy"], yerr=_spread(line), **look)
        title = panel_title(f"Ours, {paper.PRINTED[dataset]}", scale)
        axis.set(title=title, xlabel=f"{xlabel}\n{_support(table)}, 95 % intervals")
        ranges[axis] = table["low"].min(), table["high"].max()
    _equal_spans(ranges, "ylim")
    for axis in axes:
        step = 2 if len(x) > 6 else 1  # labels must not touch
        axis.set_xticks(range(len(x)), [name if k % step == 0 else "" for k, name in enumerate(x)])
        axis.set_xlim(-0.4, len(x) - 0.6)
    (theirs, their_names), (handles, names) = (axis.get_legend_handles_labels() for axis in axes[:2])
    marks = [*theirs, *handles], [*their_names, *names]
    figure.legend(*marks, frameon=False, ncol=4, loc="upper center", bbox_to_anchor=(0.5, 0.0))
    return finished(figure, message)


def ledger(table: pd.DataFrame, message: str, scale: str) -> Figure:
    """Draw claims' effects in points with their 95 % intervals, coloured by verdict and grouped by place in the paper.

    Thick is the interval that has to lie in the margin for "no effect". At most 26 rows fit a page.

    Args:
        table: of `results.ledger`, or rows of it.
    """
    shown = table.reset_index(drop=True)
    texts = [textwrap.fill(text, 62) for text in shown["text"]]
    heights = np.array([1.5 if "\n" in text else 1.0 for text in texts])  # two lines take more room than one
    places = np.cumsum(heights) - heights / 2
    figure, axis = plt.subplots(figsize=(7.2, 0.2 * heights.sum() + 1.6))
    before, verdicts = None, shown["verdict"].where(shown["kind"] != "set")
    for y, top, row, verdict in zip(places, places - heights / 2, shown.to_dict("records"), verdicts, strict=True):
        colour = VERDICT_COLOURS.get(verdict, NO_VERDICT)
        axis.plot([-row["margin"], row["margin"]], [y, y], color="#e4e4e4", lw=8, solid_capstyle="butt", zorder=0)
        axis.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.1, solid_capstyle="butt")
        axis.plot([row["inner_low"], row["inner_high"]], [y, y], color=colour, lw=3, solid_capstyle="butt")
        axis.plot(row["effect"], y, "o", color=colour, ms=5, clip_on=False)
        if row["where"] != before:
            look = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 7, "color": "#555555"}
            kinds = {"control": "our control", "prediction": "prediction"}
            axis.annotate(kinds.get(row["kind"]) or row["where"], (1.01, y), **look)
            axis.axhline(top, color="#bbbbbb", lw=0.6)
        before = row["where"]
    printed = shown[shown["paper"].notna()]
    _diamonds(axis, printed["paper"].astype(float), places[printed.index], ms=5)
    axis.axvline(0, color="#333333", lw=1)
    axis.set_yticks(places, texts, fontsize=7, linespacing=0.9)
    axis.set_xscale("symlog", linthresh=5)  # a few effects are ten times the others
    largest = max(4.0, float(np.nanmax(shown[["low", "high", "paper", "margin"]].abs().to_numpy())))
    axis.set(ylim=(heights.sum() + 0.2, -0.2), xlim=(-1.3 * largest, 1.3 * largest))
    ticks = [tick for tick in (-50, -10, -4, -2, 0, 2, 4, 10, 50) if abs(tick) <= largest]
    axis.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks], fontsize=7)
    axis.set_xticks([], minor=True)
    note = "thin: 95 % interval; thick: the interval that must lie within the margin for “no effect”"
    axis.set_xlabel(f"effect in the claimed direction (points; logarithmic beyond 5)\n{note}")
    axis.set_title(panel_title(message, scale), fontsize=9, loc="right")
    colours = {name: colour for name, colour in VERDICT_COLOURS.items() if name in set(verdicts)}
    if verdicts.isna().any():
        colours["no evidence: tuned to hold, or one seed"] = NO_VERDICT
    marks = [Line2D([], [], color=colour, marker="o", lw=2, label=name) for name, colour in colours.items()]
    if len(printed):
        look = {"color": PAPER_COLOUR, "marker": "D", "mfc": "white", "lw": 0}
        marks.append(Line2D([], [], label="the paper's effect (full scale)", **look))
    marks.append(Line2D([], [], color="#dddddd", lw=8, solid_capstyle="butt", label="margin: too small to matter"))
    figure.legend(handles=marks, frameon=False, fontsize=8, loc="upper center", ncol=3, bbox_to_anchor=(0.5, 0.0))
    return finished(figure)
