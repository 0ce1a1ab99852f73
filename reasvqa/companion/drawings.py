"""Figures 1 and 2, drawn from a question that a generator answered wrongly; removed text is struck out."""

import re
import textwrap
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from reasvqa.companion import display
from reasvqa.companion.figures import panel_title
from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.refinement import refine
from reasvqa.samples import LETTERS, Sample

Pieces = list[tuple[str, bool]]  # of a text, in order, each with whether refinement keeps it
REMOVED_COLOUR, TEXT_COLOUR = "#C04000", "#222222"


def pieces(response: str, answer: str | None, correct: bool = False) -> Pieces:
    """Split a response into the pieces that refinement keeps and removes; arguments of `reasvqa.refinement.refine`."""
    return [(text, not rule) for text, rule in display.pieces(response, answer, correct) if text.strip()]


@dataclass(frozen=True)
class WrongAnswer:
    """A training question that a generator answers wrongly: the example of Figures 1 and 2."""

    config: TrainConfig  # names data set and generator
    samples: Samples  # all training questions
    responses: pd.DataFrame  # to all of them, see `read_reasoning`
    sample: Sample
    response: str
    prediction: int  # index of the option that the response chooses
    frames: np.ndarray  # of the clip, uint8 (N, H, W, 3)

    def __str__(self) -> str:
        """Return for example "Interaction_T1_13 of mini-star, generator sim-26b"."""
        return f"{self.sample.id} of {self.config.dataset}, generator {self.config.generator}"

    @property
    def pieces(self) -> pd.DataFrame:
        """The response in pieces, in the columns piece and kept (by refinement)."""
        return pd.DataFrame(pieces(self.response, self.sample.answer_text), columns=["piece", "kept"])

    @property
    def message(self) -> str:
        """How much of the response refinement keeps: a figure's title."""
        words = self.pieces["piece"].str.count(r"\S+")
        kept = words[self.pieces["kept"]].sum()
        return f"The generator's answer is wrong; refinement keeps {kept} of the {words.sum()} words"


def shortened_pieces(parts: Pieces, letters: int) -> Pieces:
    """Shorten a text to about `letters`: long kept pieces lose their middles, removed pieces stay in sight."""
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
    """Return a text's width in inches."""
    return _MEASURE.get_text_width_height_descent(text, FontProperties(size=size), False)[0] / 720


class _Block:
    """Text in pieces, set in lines of at most `width` inches; `height` and `draw` are in inches, too."""

    def __init__(self, parts: Pieces, width: float, size: float = 7.5):
        self.size, self.line = size, 1.4 * size / 72
        self.words: list[tuple[float, int, str, bool]] = []  # x, line, word, kept
        space = _width("n n", size) - _width("nn", size)
        x, row = 0.0, 0
        for text, kept in parts:
            for token in re.findall(r"\n+|\S+|[^\S\n]+", text):
                if token.isspace():
                    x, row = (0.0, row + 1) if "\n" in token and x else (x + space * (x > 0), row)
                    continue
                if x + _width(token, size) > width:
                    x, row = 0.0, row + (x > 0)
                self.words.append((x, row, token, kept))
                x += _width(token, size)
        self.height = self.line * (self.words[-1][1] + 1 if self.words else 0)

    def draw(self, axis: Axes, left: float, top: float) -> None:
        for x, row, word, kept in self.words:
            y = top - self.line * (row + 0.75)
            axis.text(left + x, y, word, fontsize=self.size, color=TEXT_COLOUR if kept else REMOVED_COLOUR)
            if not kept:
                ends = [left + x, left + x + _width(word, self.size)]
                axis.plot(ends, [y + 0.035] * 2, color=REMOVED_COLOUR, lw=0.7)


def _page(height: float, title: str, scale: str) -> tuple[Figure, Axes]:
    """Return a figure as wide as a page's text, with one axis over all of it that is measured in inches."""
    figure = plt.figure(figsize=(7.2, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, 7.2), ylim=(0, height))
    axis.set_axis_off()
    axis.text(0.05, height - 0.08, panel_title(title, scale), fontsize=9, va="top")
    plt.close(figure)
    return figure, axis


def _strip(axis: Axes, pictures: np.ndarray, left: float, bottom: float, side: float) -> None:
    for t, picture in enumerate(pictures):
        cell = axis.inset_axes((left + t * side, bottom, side - 0.03, side - 0.03), transform=axis.transData)
        cell.imshow(picture)
        cell.set_axis_off()


def pipeline(example: WrongAnswer, scale: str) -> Figure:
    """Draw Figure 1 from one real example: generation, refinement, learning. What refinement removes is struck out."""
    sample, response, pictures = example.sample, example.response, example.frames
    refined = refine(response, sample.answer_text, correct=False)
    question = _Block([(display.question_text(sample), True)], 2.4)
    written = _Block(shortened_pieces(pieces(response, sample.answer_text), 1200), 3.6, 8)
    kept = _Block(shortened_pieces([(refined, True)], 900), 2.75, 8)
    start = " ".join(refined.split())[:100]
    targets = f'answer:  \u03b1 CE("{sample.answer_text}")\nreasoning:  \u03b2 CE("{start} ...")'
    learned = _Block([(targets, True)], 4.65)
    student = _Block([("reads frames and question; vision encoder frozen, projection and LoRA trained", True)], 1.9)
    side = min(4.4 / len(pictures), 1.2)
    low = max(learned.height, student.height) + 0.32
    middle = max(written.height, kept.height) + 0.36
    high = max(question.height + 0.36, side + 0.2)
    figure, axis = _page(low + middle + high + 1.05, example.message, scale)

    def box(x: float, y: float, w: float, h: float, name: str, text: _Block, colour: str) -> None:
        axis.add_patch(FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0.02", fc=colour, ec="#444444", lw=0.8))
        axis.text(x + w / 2, y + h - 0.03, name, ha="center", va="top", fontsize=8.5, weight="bold")
        text.draw(axis, x + 0.05, y + h - 0.24)

    def arrow(a: tuple[float, float], b: tuple[float, float]) -> None:
        axis.add_patch(FancyArrowPatch(a, b, arrowstyle="-|>", mutation_scale=11, color="#444444", lw=1.2))

    second, first = low + 0.37, low + middle + 0.69  # where the second and the first row stand
    axis.text(0.05, first + high, f"N = {len(pictures)} frames of the clip", fontsize=8, weight="bold", va="top")
    _strip(axis, pictures, 0.05, first + high - 0.2 - side, side)
    box(4.7, first, 2.45, high, "Question", question, "#F2F2F2")
    box(0.05, second, 3.7, middle, "1. Generation (RG)", written, "#DCEBF7")
    box(4.3, second, 2.85, middle, "2. Refinement (RR)", kept, "#E4F1DE")
    box(2.4, 0.05, 4.75, low, "3. Learning (LR): Eq. 2, \u03b1 = 1 - \u03b2", learned, "#FBE9D7")
    box(0.05, 0.05, 2.0, low, "Student", student, "#FBE9D7")
    arrow((1.9, first + high - 0.2 - side), (1.9, second + middle + 0.03))
    arrow((4.9, first - 0.03), (3.5, second + middle + 0.05))
    arrow((3.78, second + middle / 2), (4.27, second + middle / 2))
    arrow((5.7, second - 0.03), (5.7, low + 0.08))
    arrow((2.37, 0.05 + low / 2), (2.08, 0.05 + low / 2))
    return figure


def example(example: WrongAnswer, scale: str) -> Figure:
    """Draw Figure 2 from one real example: frames, question, and what refinement keeps of the response."""
    sample, pictures, prediction = example.sample, example.frames, example.prediction
    parts = pieces(example.response, sample.answer_text)
    written = _Block(shortened_pieces(parts, 1800), 4.1, 8.5)
    question = _Block([(sample.question, True)], 2.7, 8.5)
    marks = {sample.answer: ("\u2713 true", "#00795A"), prediction: ("\u2717 chosen", REMOVED_COLOUR)}
    marked = [(f"{LETTERS[i]}. {option}", *marks.get(i, ("", TEXT_COLOUR))) for i, option in enumerate(sample.options)]
    options = [(textwrap.fill(f"{text}  {mark}".rstrip(), 42), colour) for text, mark, colour in marked]
    height = question.height + 0.1 + sum(0.2 + 0.16 * text.count("\n") for text, _ in options)
    below = 0.3 + max(written.height, height)
    side = min(7.1 / len(pictures), 1.77)
    figure, axis = _page(0.4 + side + below, example.message, scale)
    _strip(axis, pictures, 0.05, below + 0.08, side)
    heading: dict[str, Any] = {"fontsize": 8, "color": "#555555", "va": "top"}
    axis.text(0.05, below, "the question", **heading)
    question.draw(axis, 0.05, below - 0.17)
    y = below - 0.25 - question.height
    for text, colour in options:
        axis.text(0.05, y, text, fontsize=8.5, va="top", color=colour)
        y -= 0.2 + 0.16 * text.count("\n")
    axis.text(3.0, below, "the generator's response; refinement removes what is struck out", **heading)
    written.draw(axis, 3.0, below - 0.17)
    return figure
