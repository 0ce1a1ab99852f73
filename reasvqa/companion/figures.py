"""One style, one function per figure. `reasvqa.companion.saving` writes them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from reasvqa.companion import paper
from reasvqa.companion.scales import OFFICIAL_SCALES
from reasvqa.companion.words import seeds_of
from reasvqa.evaluation import Estimate
from reasvqa.learning import Run
from reasvqa.refinement import RULES, refine, removals
from reasvqa.samples import LETTERS, Sample

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
    """The look of all figures, and of tables, whose texts are shown whole; called once per notebook.

    No figure is wider than a page's text (7.2 inches) and no letter smaller than 7 points: they are printed as drawn.
    """
    sns.set_theme(context="paper", style="ticks", font_scale=0.88)
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 200,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "pdf.fonttype": 42,
            "text.parse_math": False,  # a dollar in a question is a dollar
        }
    )
    pd.set_option("display.max_colwidth", None)


def titled(title: str, scale: str) -> str:
    """The title of a panel of ours: below paper scale it says that this is the miniature, or a small model."""
    if scale in OFFICIAL_SCALES:
        return title if scale == "paper" else f"{title} (small model)"
    return f"{title} (miniature{', preview' if scale == 'preview' else ''})"


def _done(figure: Figure) -> Figure:
    """Tidies a figure and closes it: a notebook shows what a cell returns, and would show an open figure once more."""
    figure.tight_layout()
    plt.close(figure)
    return figure


def learning_curves(runs: dict[str, list[Run]]) -> Figure:
    """Training losses against epochs, a line a seed: the answer's loss at the left, the reasoning's at the right."""
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.6), sharex=True)
    scale = next(iter(runs.values()))[0].config.preset
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
        title = titled(f"Loss of the {title}", scale)
        axis.set(xlabel="epoch", ylabel="cross-entropy per token (nats)", title=title, ylim=(0, None))
        if axis.has_data():
            axis.legend(frameon=False)
        else:
            axis.text(0.5, 0.5, "no reasoning is learned", ha="center", va="center", transform=axis.transAxes)
    return _done(figure)


def accuracy_bars(
    table: pd.DataFrame, title: str, scale: str, chance: float | None = None, paper: pd.Series | None = None
) -> Figure:
    """Accuracy with 95 % intervals, a bar a setting; the paper's values, where it has them, as black diamonds.

    Args:
        table: of `results.summary`.
        chance: accuracy of guessing, in percent: a dotted line.
        paper: accuracy by setting, in percent, as the paper prints it for the data set this one stands for.
    """
    figure, axis = plt.subplots(figsize=(max(3.6, 0.9 + 0.95 * len(table)), 2.9))
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
    for i, value in enumerate(table["accuracy"]):
        axis.text(i, 2, f"{value:.1f}", ha="center", va="bottom", fontsize=8, color="white", weight="bold")
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
    seeds, questions = max(table["seeds"]), max(table["questions"])
    axis.set(ylabel="accuracy (%)", ylim=(0, 112), title=titled(title, scale))
    axis.set_xticks(x, table.index)
    axis.set_yticks(range(0, 101, 20))
    axis.set_xlabel(f"n = {questions} questions, {seeds_of(seeds)}; bars: 95 % interval")
    return _done(figure)


def group_bars(table: pd.DataFrame, title: str, scale: str) -> Figure:
    """Accuracy by question group, settings side by side. table: of `results.by_group`."""
    figure, axis = plt.subplots(figsize=(min(7.2, 1.4 + 0.95 * table.shape[1]), 2.7))
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
    axis.set(xlabel="question group", ylabel="accuracy (%)", ylim=(0, 100), title=titled(title, scale))
    axis.legend(frameon=False, fontsize=8, ncol=3, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return _done(figure)


def rule_bars(counts: pd.Series, title: str, n: int) -> Figure:
    """How often each rule of refinement removed something: horizontal bars, most frequent first."""
    counts = counts.sort_values()
    figure, axis = plt.subplots(figsize=(6.4, 0.3 * len(counts) + 0.9))
    colours = [RULES[str(rule)].colour for rule in counts.index]
    axis.barh(counts.index, counts, color=colours, edgecolor="#444444", linewidth=0.6)
    for i, value in enumerate(counts):
        axis.text(value, i, f" {value}", va="center", fontsize=8)
    axis.set(xlabel=f"removals in {n} responses", title=title)
    return _done(figure)


Pieces = list[tuple[str, bool]]  # of a text, in order, with whether refinement keeps them
REMOVED_COLOUR = "#C04000"


def pieces(response: str, answer: str | None, correct: bool) -> Pieces:
    """A response in pieces, each kept or removed by refinement; arguments of `reasvqa.refinement.refine`."""
    parts: Pieces = []
    at = 0
    for removal in removals(response, answer, correct):
        if removal.start >= at:
            parts += [(response[at : removal.start], True), (response[removal.start : removal.end], False)]
            at = removal.end
    return [(text, kept) for text, kept in [*parts, (response[at:], True)] if text.strip()]


def _shortened(parts: Pieces, letters: int) -> Pieces:
    """At most about so many letters: long kept pieces lose their middles, so that what is removed stays in sight."""
    parts = list(parts)
    over = sum(len(text) for text, _ in parts) - letters
    for k in sorted((k for k, (_, kept) in enumerate(parts) if kept), key=lambda k: -len(parts[k][0])):
        text = parts[k][0]
        cut = min(over, len(text) - 80)
        if cut > 0:
            half = (len(text) - cut) // 2
            parts[k] = (f"{text[:half].rsplit(' ', 1)[0]} ... {text[-half:].split(' ', 1)[-1]}", True)
            over -= cut
    return parts


_MEASURE = RendererAgg(1, 1, 720)  # at this resolution words are as wide as in the PDF


def _width(text: str, size: float) -> float:
    """Of a text in inches."""
    return _MEASURE.get_text_width_height_descent(text, FontProperties(size=size), False)[0] / 720


class _Block:
    """Text in pieces, set in lines of at most `width` inches; removed pieces are struck out. `height`: in inches."""

    def __init__(self, parts: Pieces, width: float, size: float = 7.5):
        self.size, self.line = size, 1.4 * size / 72
        self.words: list[tuple[float, int, str, bool]] = []  # x, line, word, kept
        x, row = 0.0, 0
        for text, kept in parts:
            for token in re.findall(r"\n+|\S+|[^\S\n]+", text):
                if token.isspace():
                    x, row = (
                        (0.0, row + 1)
                        if "\n" in token and x
                        else (x + (_width("n n", size) - _width("nn", size)) * (x > 0), row)
                    )
                    continue
                if x + _width(token, size) > width:
                    x, row = 0.0, row + (x > 0)
                self.words.append((x, row, token, kept))
                x += _width(token, size)
        self.height = self.line * (self.words[-1][1] + 1 if self.words else 0)

    def draw(self, axis: Axes, left: float, top: float) -> None:
        """On an axis that is measured in inches."""
        for x, row, word, kept in self.words:
            y = top - self.line * (row + 0.75)
            axis.text(left + x, y, word, fontsize=self.size, color="#222222" if kept else REMOVED_COLOUR)
            if not kept:
                ends = [left + x, left + x + _width(word, self.size)]
                axis.plot(ends, [y + 0.035] * 2, color=REMOVED_COLOUR, lw=0.7)


def _page(height: float, title: str, scale: str) -> tuple[Figure, Axes]:
    """A figure as wide as a page's text, with one axis over all of it that is measured in inches."""
    figure = plt.figure(figsize=(7.2, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, 7.2), ylim=(0, height))
    axis.set_axis_off()
    axis.text(0.05, height - 0.08, titled(title, scale), fontsize=9, va="top")
    return figure, axis


def _strip(axis: Axes, pictures: np.ndarray, left: float, bottom: float, width: float) -> None:
    """Pictures side by side, square cells from (left, bottom) on."""
    side = width / len(pictures)
    for t, picture in enumerate(pictures):
        cell = axis.inset_axes((left + t * side, bottom, side - 0.03, side - 0.03), transform=axis.transData)
        cell.imshow(picture)
        cell.set_axis_off()


def pipeline(pictures: np.ndarray, sample: Sample, response: str, correct: bool, title: str, scale: str) -> Figure:
    """Figure 1 of the paper, drawn from one real example: generation, refinement, learning.

    Args:
        pictures: uint8 (T, H, W, 3) frames.
        response: the generator's; a long one loses its middle, and what is removed of it is struck out.
        correct: did the generator get it right?
    """
    refined = refine(response, sample.answer_text, correct)
    asked = "\n".join([sample.question, *(f"{LETTERS[i]}. {option}" for i, option in enumerate(sample.options))])
    question = _Block([(asked, True)], 1.9)
    told = _Block(_shortened(pieces(response, sample.answer_text, correct), 700), 2.35)
    left = _Block(_shortened([(refined, True)], 560), 1.85)
    start = " ".join(refined.split())[:100]
    targets = f'answer:  \u03b1 CE("{sample.answer_text}")\nreasoning:  \u03b2 CE("{start} ...")'
    learned = _Block([(targets, True)], 4.65)
    student = _Block([("vision encoder frozen, projection and LoRA trained; at test time it only answers", True)], 1.9)
    low = max(learned.height, student.height) + 0.32
    high = max(told.height + 0.32, left.height + 0.32, question.height + 1.1)
    floor = low + 0.4  # where the upper boxes stand
    figure, axis = _page(floor + high + 0.4, title, scale)

    def box(x: float, y: float, w: float, h: float, name: str, text: _Block, colour: str) -> None:
        axis.add_patch(FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0.02", fc=colour, ec="#444444", lw=0.8))
        axis.text(x + w / 2, y + h - 0.03, name, ha="center", va="top", fontsize=8.5, weight="bold")
        text.draw(axis, x + 0.05, y + h - 0.24)

    def arrow(a: tuple[float, float], b: tuple[float, float]) -> None:
        axis.add_patch(FancyArrowPatch(a, b, arrowstyle="-|>", mutation_scale=11, color="#444444", lw=1.2))

    top = floor + high
    axis.text(0.05, top, f"N = {len(pictures)} frames of the clip", fontsize=8, weight="bold", va="top")
    _strip(axis, pictures, 0.05, top - 0.2 - 2.0 / len(pictures), 2.0)
    box(0.05, floor, 2.0, high - 0.32 - 2.0 / len(pictures), "Question", question, "#F2F2F2")
    box(2.4, floor, 2.45, high, "1. Generation (RG)", told, "#DCEBF7")
    box(5.2, floor, 1.95, high, "2. Refinement (RR)", left, "#E4F1DE")
    box(2.4, 0.05, 4.75, low, "3. Learning (LR): Eq. 2, \u03b1 = 1 - \u03b2", learned, "#FBE9D7")
    box(0.05, 0.05, 2.0, low, "Student", student, "#FBE9D7")
    arrow((2.08, top - 0.45), (2.37, top - 0.45))
    arrow((2.08, floor + 0.5), (2.37, floor + 0.5))
    arrow((4.88, floor + high / 2), (5.17, floor + high / 2))
    arrow((6.2, floor - 0.03), (6.2, low + 0.08))
    arrow((1.05, floor - 0.03), (1.05, low + 0.08))
    arrow((2.37, 0.05 + low / 2), (2.08, 0.05 + low / 2))
    plt.close(figure)
    return figure


def example(pictures: np.ndarray, sample: Sample, prediction: int, response: str, title: str, scale: str) -> Figure:
    """Figure 2 of the paper from a real sample: frames, question, and what refinement keeps of the response.

    Args:
        pictures: uint8 (T, H, W, 3) frames.
        prediction: index of the option that the generator chose.
    """
    parts = pieces(response, sample.answer_text, prediction == sample.answer)
    told = _Block(_shortened(parts, 1800), 4.1, 8.5)
    question = _Block([(sample.question, True)], 2.7, 8.5)
    marks = {sample.answer: ("\u2713 true", "#00795A"), prediction: ("\u2717 chosen", REMOVED_COLOUR)}
    options = []
    for i, option in enumerate(sample.options):
        mark, colour = marks.get(i, ("", "#222222"))
        options.append((textwrap.fill(f"{LETTERS[i]}. {option}  {mark}".rstrip(), 42), colour))
    height = question.height + 0.1 + sum(0.2 + 0.16 * text.count("\n") for text, _ in options)
    below = 0.3 + max(told.height, height)
    side = min(7.1 / len(pictures), 1.77)
    figure, axis = _page(0.4 + side + below, title, scale)
    _strip(axis, pictures, 0.05, below + 0.08, side * len(pictures))
    axis.text(0.05, below, "the question", fontsize=8, color="#555555", va="top")
    question.draw(axis, 0.05, below - 0.17)
    y = below - 0.25 - question.height
    for text, colour in options:
        axis.text(0.05, y, text, fontsize=8.5, va="top", color=colour)
        y -= 0.2 + 0.16 * text.count("\n")
    head = "the generator's response; refinement removes what is struck out"
    axis.text(3.0, below, head, fontsize=8, color="#555555", va="top")
    told.draw(axis, 3.0, below - 0.17)
    plt.close(figure)
    return figure


def frame_page(rows: Sequence[Sequence[np.ndarray]]) -> Figure:
    """A page of frames, a row a story. rows: uint8 (H, W, 3) pictures, equally many in each row."""
    figure, axes = plt.subplots(len(rows), len(rows[0]), figsize=(1.75 * len(rows[0]), 1.75 * len(rows)), squeeze=False)
    for axis, picture in zip(axes.flat, (picture for row in rows for picture in row), strict=True):
        axis.imshow(picture)
        axis.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 1, wspace=0.03, hspace=0.03)
    plt.close(figure)
    return figure


def world_key() -> Figure:
    """What is what in the miniature's drawings: the poses of its verbs, and people, rooms and things by their names."""
    from reasvqa.mini.render import CELL, draw_frame
    from reasvqa.mini.world import BOARD, OBJECTS, PEOPLE, ROOMS, VERBS, Event, gerund

    def cell(number: int, event: Event, person: str = "man") -> np.ndarray:
        row, column = divmod(number, BOARD)
        frame = draw_frame(event, person, phase=0)
        return frame[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]

    rows = [
        [(gerund(verb), cell(5, Event(verb, "box", "hall", 5, ()))) for verb in VERBS],
        [(person, cell(5, Event("push", "box", "hall", 5, ()), person)) for person in PEOPLE],
        [(room, cell(0, Event("open", "box", room, 5, ()))) for room in ROOMS],
    ]
    things = [(name, cell(0, Event("open", "box", "hall", 5, ((0, name),)))) for name in OBJECTS]
    rows += [things[:8], things[8:]]
    names = ["verbs", "people", "rooms", "things", ""]
    figure, axes = plt.subplots(len(rows), 8, figsize=(7.2, 1.02 * len(rows) + 0.4))
    for name, line, pictures in zip(names, axes, rows, strict=True):
        for axis in line:
            axis.set_axis_off()
        line[0].text(-0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center", weight="bold", fontsize=9)
        for axis, (word, picture) in zip(line, pictures, strict=False):
            axis.imshow(picture)
            axis.set_title(word, fontsize=9, pad=3)
    figure.suptitle("Key to the miniature's drawings", fontsize=10)
    return _done(figure)


def trial_differences(trials: pd.DataFrame) -> Figure:
    """Each trial's difference to its reference in points, with its 95 % interval.

    trials: of data/mini/trials_25_epochs.csv. Seeing against blind is left
    out: it is so large that nothing else could be read.
    """
    shown = trials[trials["against"].fillna("Blind") != "Blind"].iloc[::-1]
    figure, axis = plt.subplots(figsize=(7.2, 0.3 * len(shown) + 0.9))
    colours = np.where(
        shown["difference_low"] > 0, "#009E73", np.where(shown["difference_high"] < 0, "#D55E00", "#777777")
    )
    y = np.arange(len(shown))
    axis.hlines(y, shown["difference_low"], shown["difference_high"], color=colours, lw=2)
    axis.scatter(shown["difference"], y, color=colours, s=36, zorder=3)
    axis.axvline(0, color="#333333", lw=1)
    axis.set_yticks(y, [f"{trial}  vs  {against}" for trial, against in shown[["trial", "against"]].to_numpy()])
    seeds, questions = int(trials["seeds"].iloc[0]), int(trials["questions"].iloc[0])
    axis.set(
        xlabel=f"difference in accuracy (points), 95 % interval; {questions} validation questions, {seeds} seeds",
        ylim=(-0.7, len(shown) - 0.3),
    )
    axis.set_title(titled("Trials on mini-star, first protocol", "mini"))
    return _done(figure)


def beside_paper(ours: pd.DataFrame, printed: pd.DataFrame, title: str, scale: str) -> Figure:
    """A panel per data set: each row's accuracy with its 95 % interval, the paper's value as an open diamond.

    Args:
        ours: of `results.summary`, with the index as columns dataset and row.
        printed: the paper's table; rows named alike, columns by `paper.PRINTED`.
    """
    datasets, rows = list(ours["dataset"].unique()), list(ours["row"].unique())
    size = (max(5.0, 1.5 + 1.9 * len(datasets)), 0.3 * len(rows) + 1.6)
    figure, axes = plt.subplots(1, len(datasets), figsize=size, sharey=True, squeeze=False)
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
            title=titled(paper.PRINTED[dataset], scale),
            xlabel=f"accuracy (%)\nn = {max(part['questions']):.0f}, {seeds_of(*part['seeds'])}",
            ylim=(-0.6, len(rows) - 0.4),
        )
    axes[0, 0].set_yticks(np.arange(len(rows))[::-1], rows)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    height = size[1]
    figure.legend(handles, labels, frameon=False, loc="center", ncol=2, bbox_to_anchor=(0.5, 1 - 0.36 / height))
    figure.text(0.5, 1 - 0.05 / height, title, ha="center", va="top", fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.45 / height))
    plt.close(figure)
    return figure


Stated = dict[str, list[tuple[float, float]]]  # by the name of a line the paper's points: (position, accuracy)


def curves(
    ours: pd.DataFrame,
    x: Sequence[str],
    lines: Mapping[str, Sequence[str]],
    stated: Stated,
    title: str,
    xlabel: str,
    scale: str,
) -> Figure:
    """Figures 3 and 4: a panel with what the paper's text states, and a panel per data set of ours.

    Args:
        ours: of `results.summary`, with the index as columns dataset and row.
        x: names of the positions on the horizontal axis.
        lines: by the name of a line its rows, one per position.
        stated: the paper's points on NExT-QA.
    """
    datasets = list(ours["dataset"].unique())
    figure, axes = plt.subplots(1, 1 + len(datasets), figsize=(max(7.2, 2.4 * (1 + len(datasets))), 2.9))
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
    axes[0].set(title="Paper, NExT-QA: stated in the text", xlabel=xlabel, ylabel="accuracy (%)")
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
        support = f"n = {max(part['questions']):.0f}, {seeds_of(*part['seeds'])}, 95 % intervals"
        axis.set(title=titled(f"Ours, {paper.PRINTED[dataset]}", scale), xlabel=f"{xlabel}\n{support}")
    axes[1].set_ylabel("accuracy (%)")
    low, high = min(a.get_ylim()[0] for a in axes[1:]), max(a.get_ylim()[1] for a in axes[1:])
    for axis in axes:
        step = 2 if len(x) > 6 else 1  # labels must not touch
        axis.set_xticks(range(len(x)), [name if k % step == 0 else "" for k, name in enumerate(x)])
        axis.set(xlim=(-0.4, len(x) - 0.6))
        if axis is not axes[0]:
            axis.set_ylim(low, high)
    figure.suptitle(title, fontsize=9)
    (theirs, their_names), (handles, names) = (axis.get_legend_handles_labels() for axis in axes[:2])
    marks = [*theirs, *handles], [*their_names, *names]
    figure.legend(*marks, frameon=False, ncol=4, loc="upper center", bbox_to_anchor=(0.5, 0.0))
    return _done(figure)


def figure3(ours: pd.DataFrame, scale: str) -> Figure:
    """Figure 3: accuracy against the amount of reasoning. ours: of `results.summary`, with its index as columns."""
    amounts = list(dict.fromkeys(row.split(", ")[1] for row in ours["row"]))
    lines = {kind: [f"{kind}, {amount}" for amount in amounts] for kind in ("Original", "Refined")}
    start, end = (paper.figure(3)[f"NExT-QA {where}"] for where in ("start", "end"))
    stated: Stated = {
        "Original": [(amounts.index("25% CR"), start["Original"]), (amounts.index("CR"), end["Original"])]
    }
    stated["Refined"] = [(amounts.index("All"), end["Refined"])]
    names = [amount.replace(" ", "\n") for amount in amounts]
    return curves(ours, names, lines, stated, "Figure 3: amount of reasoning (beta = 0.5)", "reasoning used", scale)


def figure4(ours: pd.DataFrame, scale: str) -> Figure:
    """Figure 4: accuracy against beta. The paper's text says that it rises steadily up to beta = 0.8, so its peak
    stands there. ours: of `results.summary`, with its index as columns."""
    rows, points = list(ours["row"].unique()), paper.figure(4)["NExT-QA"]
    known = {"0.0": points["0"], "0.8": points["peak (0.5 to 0.8)"], "0.9": points["0.9"]}
    stated: Stated = {"MTL": [(rows.index(row), value) for row, value in known.items() if row in rows]}
    names = [row if float(row) else "0\nSTL_QA" for row in rows]
    return curves(ours, names, {"MTL": rows}, stated, "Figure 4: weight of the reasoning", "beta", scale)


VERDICT_COLOURS = {"reproduced": "#009E73", "contradicted": "#D55E00", "no effect": "#0072B2", "undecided": "#777777"}
NO_VERDICT = "#bbbbbb"  # of a single seed, or of a claim that served to set up the miniature


def ledger(table: pd.DataFrame, title: str, scale: str) -> Figure:
    """Every claim's effect in points with its 95 % interval, coloured by verdict; thick, the one that has to lie in the
    margin for "no effect": 90 %, at a second look 95 %. The paper's effect is an open diamond.

    table: of `results.ledger`.
    """
    shown = table.iloc[::-1].reset_index(drop=True)
    texts = [textwrap.fill(text, 70) for text in shown["text"]]
    heights = np.array([1.4 if "\n" in text else 1.0 for text in texts])  # two lines take more room than one
    places = np.cumsum(heights) - heights / 2
    figure, axis = plt.subplots(figsize=(7.2, 0.185 * heights.sum() + 1.1))  # 41 claims and a caption fit a page
    for y, row in zip(places, shown.to_dict("records"), strict=True):
        judged = row["kind"] != "set" and not pd.isna(row["verdict"])
        colour = VERDICT_COLOURS[row["verdict"]] if judged else NO_VERDICT
        axis.plot([-row["margin"], row["margin"]], [y, y], color="#e4e4e4", lw=8, solid_capstyle="butt", zorder=0)
        axis.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.1, solid_capstyle="butt")
        axis.plot([row["inner_low"], row["inner_high"]], [y, y], color=colour, lw=3, solid_capstyle="butt")
        axis.plot(row["effect"], y, "o", color=colour, ms=5)
    known = shown[shown["paper"].notna()]
    papers = known["paper"].astype(float)
    axis.scatter(papers, places[known.index], marker="D", s=26, facecolor="white", edgecolor=PAPER_COLOUR, zorder=4)
    axis.axvline(0, color="#333333", lw=1)
    axis.axhline(
        heights[shown["kind"] == "control"].sum(), color="#333333", lw=0.8, ls=":"
    )  # the paper's claims above, our controls below
    axis.set_yticks(places, texts, fontsize=7, linespacing=0.9)
    for y, kind, where in zip(places, shown["kind"], shown["where"], strict=True):
        axis.annotate(
            "our control" if kind == "control" else where,
            (1.01, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
            color="#555555",
        )
    axis.set(
        xlabel="effect in the claimed direction\n(points; logarithmic beyond 5); thin: 95 %, thick: 90 % interval",
        ylim=(-0.2, heights.sum() + 0.2),
    )
    axis.set_xscale("symlog", linthresh=5)  # a few effects are ten times the others
    ticks = [-50, -10, -4, -2, 0, 2, 4, 10, 50]
    axis.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks], fontsize=7)
    axis.set_title(titled(title, scale), fontsize=9, loc="right")
    axis.grid(axis="y", color="#eeeeee", lw=0.8)
    colours = VERDICT_COLOURS | {"set, or one seed: no evidence": NO_VERDICT}
    marks = [Line2D([], [], color=colour, marker="o", lw=2, label=name) for name, colour in colours.items()]
    marks.append(
        Line2D([], [], color=PAPER_COLOUR, marker="D", mfc="white", lw=0, label="the paper's effect (full scale)")
    )
    marks.append(Line2D([], [], color="#dddddd", lw=8, solid_capstyle="butt", label="margin: too small to matter"))
    axis.legend(
        handles=marks,
        frameon=False,
        fontsize=8,
        loc="upper center",
        ncol=3,
        bbox_to_anchor=(0.1, -0.06 - 0.6 / len(shown)),
    )
    return _done(figure)


def strength(ours: pd.DataFrame, baseline: Estimate, title: str, scale: str) -> Figure:
    """Student accuracy against the generator's accuracy on the training questions, refined and original reasoning.

    Args:
        ours: of `results.by_strength`.
        baseline: accuracy of the student that learns answers only: a horizontal band.
    """
    figure, axis = plt.subplots(figsize=(5.4, 3.3))
    axis.axhspan(baseline.low, baseline.high, color="#bbbbbb", alpha=0.35, lw=0)
    axis.axhline(baseline.value, color="#555555", ls="--", lw=1.2, label="answers only (STL_QA)")
    for k, (kind, colour, marker) in enumerate((("refined", "#0072B2", "s"), ("original", "#D55E00", "o"))):
        line = ours.sort_values("generator_accuracy").query("kind == @kind")
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
        xlabel="the generator's accuracy on the training questions (%)",
        ylabel="student's accuracy (%)",
        title=titled(title, scale),
    )
    axis.legend(frameon=False, fontsize=8)
    return _done(figure)


def dots(values: pd.Series, xlabel: str, limit: float, title: str) -> Figure:
    """Values from zero up on a logarithmic axis, first on top, and the limit to stay under; hollow: exactly zero."""
    figure, axis = plt.subplots(figsize=(5.6, 0.26 * len(values) + 0.9))
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


def recipes(table: pd.DataFrame, title: str) -> Figure:
    """How many times as fast as the reference recipe each trains, median and range over rounds.

    A ratio is taken within a round, where both met the same machine. Rates are not shown beside it: their medians come
    from different rounds, and need not divide to it.
    """
    figure, axis = plt.subplots(figsize=(6.4, 0.34 * len(table) + 0.9))
    for row, (name, r) in enumerate(table.iterrows()):
        colour = {"reference": "#999999", "ours": COLOURS["MTL_All"]}.get(str(name), COLOURS["STL_CR"])
        axis.barh(row, r["times_reference"], color=colour, height=0.65)
        axis.plot([r["smallest"], r["largest"]], [row, row], color=PAPER_COLOUR, linewidth=1.5)
        at = r["largest"] + 0.02 * table["largest"].max()
        axis.text(at, row, f"{r['times_reference']:.1f} times", va="center", fontsize="small")
    axis.set(
        yticks=range(len(table)),
        yticklabels=table.index,
        xlabel="times as fast as the reference recipe (median and range of rounds)",
        title=title,
    )
    axis.set_xlim(0, 1.2 * max(table["largest"]))
    axis.invert_yaxis()
    return _done(figure)


def growth(table: pd.DataFrame, title: str) -> Figure:
    """Seconds of the frozen half and of training against the number of questions, frames and epochs, a panel each."""
    figure, axes = plt.subplots(1, len(set(table["what"])), figsize=(7.2, 2.5), sharey=True)
    for axis, (what, part) in zip(axes, table.groupby("what", sort=False), strict=True):
        axis.plot(part["value"], part["features_s"], "o-", color=COLOURS["STL_QA"], label="features (once)")
        axis.plot(part["value"], part["training_s"], "s--", color=COLOURS["MTL_All"], label="training")
        axis.set(
            xlabel={"questions": "training questions", "frames": "frames N"}.get(str(what), str(what)),
            xlim=(0, None),
            xticks=part["value"],
        )
    axes[0].set(
        ylabel="seconds", ylim=(0, 1.08 * table[["features_s", "training_s"]].max().max())
    )  # of all panels: they share it
    axes[0].legend(frameon=False, loc="upper left")
    figure.suptitle(title, y=1.0)
    return _done(figure)
