"""Rich views for notebooks. All text from data sets and models is escaped."""

import base64
import io
from collections.abc import Container, Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown
from IPython.display import display as show  # several things from one cell, one below the other
from PIL import Image

from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.mini.generator import claims
from reasvqa.mini.world import Story
from reasvqa.refinement import RULES, WORD_RULE, removals
from reasvqa.samples import LETTERS, Sample
from reasvqa.video import read_frames


def frames(pictures: np.ndarray, alt: str = "frames of the clip, in order") -> HTML:
    """Return frames side by side, as one picture in the page. pictures: uint8 (T, H, W, 3)."""
    gap = max(2, pictures.shape[2] // 32)
    row = np.concatenate(np.pad(pictures, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=255), axis=1)
    look = f"width:{150 * len(pictures)}px;max-width:100%"
    return HTML(f"<img src='{as_url(row[:, :-gap])}' alt='{escape(alt, quote=True)}' style='{look}'>")


def clip(samples: Samples, sample: Sample, num_frames: int = 4) -> HTML:
    """Return the frames of a question's clip that generator and student see."""
    pictures = read_frames(samples.videos / sample.video, num_frames, sample.clip)
    return frames(pictures, f"the {num_frames} frames that the student sees of {sample.video}")


def as_url(picture: np.ndarray) -> str:
    """Return a picture, uint8 (H, W, 3), as a data URI."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def question(sample: Sample, chosen: Mapping[str, int | None] | int | None = None) -> HTML:
    """Return a question and its options: the right one is ticked, a wrong choice is crossed.

    Args:
        chosen: who chose which option: by a name its index, or only the index; None or pandas' NA: no option.
    """
    chosen = chosen if isinstance(chosen, Mapping) else {"chosen": chosen}
    rows = ""
    for i, option in enumerate(sample.options):
        who = ", ".join(name for name, choice in chosen.items() if not pd.isna(choice) and choice == i)
        right = i == sample.answer
        mark, colour = ("&#10003;", "#1b7837") if right else ("&#10007;", "#b2182b") if who else ("", "inherit")
        rows += (
            f"<tr style='color:{colour}'><td style='text-align:left'>{mark} {LETTERS[i]}. {escape(option)}</td>"
            f"<td style='text-align:left'>{escape(who or ('right answer' if right else ''))}</td></tr>"
        )
    kind = f"<span style='opacity:.7'>({escape(sample.type)}, {escape(sample.id)})</span>"
    return HTML(f"<div style='margin:.5em 0'><b>{escape(sample.question)}</b> {kind}<table>{rows}</table></div>")


def refinement(
    text: str, answer: str | None = None, correct: bool = True, chosen: str | None = None, rules: Container[str] = RULES
) -> HTML:
    """Return a response with what refinement removes struck out; each colour is a rule, named below and on hovering.

    Args:
        text, answer, correct: as in `reasvqa.refinement.refine`.
        chosen: as there, for strict refinement.
        rules: only what these remove.
    """
    body, used = "", set()
    for piece, rule in pieces(text, answer, correct, chosen, rules):
        body += _coloured(piece, rule, "del") if rule else escape(piece)
        used.add(rule)
    legend = " ".join(_coloured(rule, rule, "span") for rule in RULES if rule in used) or "nothing"
    kind = "CR: the generator was right"
    if not correct:
        kind = f"IR: the generator was wrong, so the rule “{WORD_RULE}” also removes the words of the true answer"
    return HTML(
        "<div style='border-left:3px solid #999;padding:.3em .8em;margin:.5em 0;line-height:1.6;white-space:pre-wrap'>"
        f"{body}</div><div style='opacity:.8;font-size:90%'>{escape(kind)}. Removed by rule: {legend}</div>"
    )


def _coloured(text: str, rule: str, tag: str) -> str:
    look = f"background:{RULES[rule].colour};color:#222222"
    return f"<{tag} title='{escape(rule)}' style='{look}'>{escape(text)}</{tag}>"


def pieces(
    text: str, answer: str | None = None, correct: bool = True, chosen: str | None = None, rules: Container[str] = RULES
) -> list[tuple[str, str]]:
    """Split a response into pieces, each with the rule that removes it or "" if it stays. Arguments of `refinement`."""
    parts, at = [], 0
    for start, end, rule in removals(text, answer, correct, chosen=chosen):
        if rule in rules:
            parts += [(text[at:start], ""), (text[start:end], rule)]
            at = end
    return [*parts, (text[at:], "")]


def texts(**named: str | None) -> HTML:
    """Return named texts, one below the other. An identifier is shown with spaces for its underscores."""
    rows = "".join(
        "<tr><td style='vertical-align:top;opacity:.7;text-align:left;white-space:nowrap'>"
        f"{escape(name.replace('_', ' ') if name.isidentifier() else name)}</td>"
        f"<td style='text-align:left;white-space:pre-wrap'>{escape(str(text)) if text else '<i>none</i>'}</td></tr>"
        for name, text in named.items()
    )
    return HTML(f"<table>{rows}</table>")


def question_text(sample: Sample) -> str:
    """Return the question and its lettered options as text."""
    return "\n".join([sample.question, *(f"{LETTERS[i]}. {option}" for i, option in enumerate(sample.options))])


def say(*sentences: str) -> None:
    """Show sentences that a cell computes as Markdown, a paragraph for each argument."""
    show(Markdown("\n\n".join(sentences)))


def changed_settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings of a run that differ from its scale's preset, by name. config: resolved."""
    preset = TrainConfig(dataset=config.dataset, student=config.student, seed=config.seed).resolve()
    return {name: value for name, value in vars(config).items() if value != getattr(preset, name)}


def settings_sentence(config: TrainConfig) -> str:
    """Return the student, data set, epochs and `changed_settings` of a run as a sentence."""
    changed = ", ".join(f"`{name}` = {value!r}" for name, value in changed_settings(config).items())
    return (
        f"`{config.student}` on `{config.dataset}`, {config.epochs} epoch{'s' if config.epochs > 1 else ''}; "
        f"all settings are the preset's{f' except {changed}' if changed else ''}."
    )


def marked_reasoning(text: str | None, story: Story | None = None, who: str = "the student writes") -> HTML:
    """Return what a student wrote, each sentence marked right (✓), wrong (✗) or not to be judged (–) by its clip.

    story: what happens in the clip; None for real videos: the text is shown without marks.
    """
    if not text or story is None:
        return texts(**{who: text})
    told = claims(text, story)
    right = sum(claim.true is True for claim in told if claim.event is not None)
    marks = {True: "✓", False: "✗", None: "–"}
    marked = "\n".join(f"{marks[claim.true]} {claim.sentence.strip()}." for claim in told)
    return texts(**{f"{who} ({right} of {len(story.seen)} events as they happened)": marked})


def stacked(*views: HTML) -> HTML:
    """Return several views as one, one below the other."""
    return HTML("".join(str(view.data) for view in views))


def folded(view: HTML, summary: str, is_open: bool = False) -> HTML:
    """Return a view that the reader opens by clicking its summary: for long tables."""
    return HTML(f"<details{' open' if is_open else ''}><summary>{escape(summary)}</summary>{view.data}</details>")
