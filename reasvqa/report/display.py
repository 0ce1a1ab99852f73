"""Rich views for notebooks. All text from data sets and models is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from IPython.display import display as _display

from reasvqa.refinement import WORD_RULE, removals
from reasvqa.samples import LETTERS, Sample

_RULE_COLOURS = ("#fde0c5", "#d4e6f7", "#e3daf1", "#d8ecd4", "#f7d9e3", "#ececec", "#fff3b0")


def frames(pictures: np.ndarray, titles: Sequence[str] | None = None) -> plt.Figure:
    """Frames side by side. pictures: uint8 (T, H, W, 3)."""
    figure, axes = plt.subplots(1, len(pictures), figsize=(2.3 * len(pictures), 2.5), squeeze=False)
    for t, axis in enumerate(axes[0]):
        axis.imshow(pictures[t])
        axis.set_title(titles[t] if titles else f"frame {t + 1}", fontsize=9)
        axis.set_axis_off()
    figure.tight_layout()
    plt.close(figure)  # the notebook shows what the cell returns; without this it would be shown twice
    return figure


def question(sample: Sample, prediction: int | None = None, note: str = "") -> HTML:
    """A question with its lettered options; the right one is ticked, a wrong prediction is crossed. A prediction may be None or
    pandas' NA: a response that names no option."""
    prediction = None if pd.isna(prediction) else prediction
    rows = []
    for i, option in enumerate(sample.options):
        mark = "&#10003;" if i == sample.answer else "&#10007;" if i == prediction else "&nbsp;"
        style = "color:#1b7837;font-weight:600" if i == sample.answer else "color:#b2182b" if i == prediction else ""
        rows.append(f"<div style='{style}'>{mark} {LETTERS[i]}. {escape(option)}</div>")
    head = (
        f"<b>{escape(sample.question)}</b> <span style='color:#666'>({escape(sample.type)}, {escape(sample.id)})</span>"
    )
    tail = f"<div style='color:#444;margin-top:.3em'>{note}</div>" if note else ""
    return HTML(f"<div style='margin:.5em 0'>{head}{''.join(rows)}{tail}</div>")


def refinement(text: str, answer: str | None = None, correct: bool = True) -> HTML:
    """A response with what refinement removes struck out; each colour is a rule, named below and on hovering."""
    found = removals(text, answer, correct)
    colours = {
        rule: _RULE_COLOURS[i % len(_RULE_COLOURS)]
        for i, rule in enumerate(dict.fromkeys(removal.rule for removal in found))
    }
    parts, at = [], 0
    for removal in found:
        parts.append(escape(text[at : removal.start]))
        gone = escape(text[removal.start : removal.end])
        parts.append(f"<del title='{escape(removal.rule)}' style='background:{colours[removal.rule]}'>{gone}</del>")
        at = removal.end
    parts.append(escape(text[at:]))
    legend = " ".join(
        f"<span style='background:{colour};padding:0 .4em'>{escape(rule)}</span>" for rule, colour in colours.items()
    )
    kind = (
        "CR: the generator was right"
        if correct
        else f"IR: the generator was wrong, so the words of the true answer go too ({WORD_RULE})"
    )
    body = "".join(parts).replace("\n", "<br>")
    return HTML(
        f"<div style='border-left:3px solid #999;padding:.3em .8em;margin:.5em 0;line-height:1.6'>{body}</div>"
        f"<div style='color:#444;font-size:90%'>{escape(kind)}. Removed by rule: {legend or 'nothing'}</div>"
    )


def texts(**pieces: str | None) -> HTML:
    """Named texts, one below the other."""
    rows = "".join(
        f"<tr><td style='vertical-align:top;color:#666;text-align:left;white-space:nowrap'>{escape(name.replace('_', ' '))}</td>"
        f"<td style='text-align:left;white-space:pre-wrap'>{escape(str(text)) if text else '<i>none</i>'}</td></tr>"
        for name, text in pieces.items()
    )
    return HTML(f"<table>{rows}</table>")


def plain(sample: Sample) -> str:
    """The question and its lettered options as text."""
    return "\n".join([sample.question, *(f"{LETTERS[i]}. {option}" for i, option in enumerate(sample.options))])


def show(*things) -> None:
    """Shows several things from one cell, one below the other."""
    for thing in things:
        _display(thing)
