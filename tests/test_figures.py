"""Figures of results, from made-up numbers: they fit a page, can be read, and say that they show the miniature."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from reasvqa.companion import figures, paper


def accuracies(rows, datasets) -> pd.DataFrame:
    """Made-up rows of `results.summary`."""
    value = np.linspace(50, 80, len(rows) * len(datasets))
    table = pd.DataFrame([(dataset, row) for dataset in datasets for row in rows], columns=["dataset", "row"])
    return table.assign(accuracy=value, low=value - 3, high=value + 3, seeds=3, questions=900)


def ledger() -> pd.DataFrame:
    row = {
        "text": "Learning from refined reasoning beats learning from answers alone",
        "where": "Section 4.3, Figure 3",
    }
    row |= {"kind": "claim", "paper": 2.4, "effect": 1.0, "low": -1.0, "high": 3.0, "margin": 1.2}
    row |= {"inner_low": -0.7, "inner_high": 2.7}
    verdicts = ["reproduced", "contradicted", "no effect", "undecided", None] * 5
    rows = [row | {"verdict": verdict} for verdict in verdicts]
    return pd.DataFrame([*rows, row | {"kind": "control", "paper": np.nan, "verdict": "undecided"}])


MESSAGE = (
    "Reasoning, all of it and refined, is not told apart from answers only: +0.1 [-1.0, 1.2] points; the paper +2.4"
)


@pytest.fixture(scope="module")
def drawn() -> dict[str, figures.plt.Figure]:
    figures.style()
    every, two = ["nextqa", "star", "intentqa"], ["nextqa", "star"]
    blind = accuracies(["Blind", "STL_QA", "MTL_All"], ["star"])
    table3, table8 = paper.table(3), paper.table(8)
    lines = {kind: [f"{kind}, {amount}" for amount in "abcde"] for kind in ("Original", "Refined")}
    rows, betas = lines["Original"] + lines["Refined"], [f"{k / 10}" for k in range(10)]
    stated: figures.Stated = {"Original": [(0, 75.3), (3, 76.2)], "Refined": [(4, 76.8)]}
    peak: figures.Stated = {"MTL": [(0, 75.4), (8, 77.0), (9, 75.9)]}
    return {
        "table3": figures.beside_paper(accuracies(list(table3.index), every), table3, MESSAGE, "mini"),
        "table8": figures.beside_paper(accuracies(list(table8.index), ["star"]), table8, MESSAGE, "mini"),
        "figure3": figures.curves(accuracies(rows, two), list("abcde"), lines, stated, MESSAGE, "amount", "mini"),
        "unstated": figures.curves(accuracies(betas, two), betas, {"MTL": betas}, {}, MESSAGE, "beta", "mini"),
        "figure4": figures.curves(accuracies(betas, two), betas, {"MTL": betas}, peak, MESSAGE, "beta", "mini"),
        "blind": figures.beside_paper(blind, paper.table(5), "MTL on mini-star", "mini"),
        "ledger": figures.ledger(ledger(), "Claims of the paper", "mini"),
    }


def test_each_fits_a_page_and_can_be_read_there(drawn):
    for name, figure in drawn.items():
        width, height = figure.get_size_inches()
        assert width <= 7.2 and height <= 9.7, name  # inches: what a page of A4 or letter has for text
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        assert texts and min(text.get_fontsize() for text in texts) >= 7, name


def test_every_panel_of_ours_says_that_it_is_the_miniature(drawn):
    titles = [axis.get_title() or axis.get_title("right") for figure in drawn.values() for axis in figure.axes]
    assert all("miniature" in title or title.startswith("Paper") for title in titles), titles


def test_labels_do_not_touch(drawn):
    for name, figure in drawn.items():
        renderer = FigureCanvasAgg(figure).get_renderer()
        for labels in (labels for axis in figure.axes for labels in (axis.get_xticklabels(), axis.get_yticklabels())):
            boxes = [label.get_window_extent(renderer) for label in labels if label.get_text() and label.get_visible()]
            apart = [a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0 for a, b in pairwise(boxes)]
            assert all(apart), (name, [label.get_text() for label in labels])


@pytest.mark.parametrize("name", ["table3", "table8", "figure3", "figure4"])
def test_panels_span_equally_many_points_and_clip_nothing(name, drawn):
    horizontal = name.startswith("table")
    spans = set()
    for axis in drawn[name].axes:
        low, high = axis.get_xlim() if horizontal else axis.get_ylim()
        spans.add(round(high - low, 6))
        for line in axis.lines:
            values = np.asarray(line.get_xdata() if horizontal else line.get_ydata(), dtype=float)
            assert ((values > low) & (values < high)).all()
    assert len(spans) == 1


def test_at_paper_scale_nothing_is_called_a_miniature():
    figure = figures.beside_paper(accuracies(["STL_QA"], ["star"]), paper.table(5), "Table 5", "paper")
    assert not any("miniature" in text.get_text() for text in figure.findobj(Text))
