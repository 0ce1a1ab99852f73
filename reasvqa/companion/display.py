"""Rich views for notebooks. All text from data sets and models is escaped."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown
from IPython.display import display as _display
from matplotlib.figure import Figure
from PIL import Image

from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.refinement import RULES, WORD_RULE, removals
from reasvqa.samples import LETTERS, Sample
from reasvqa.video import VideoError, read_frames

if TYPE_CHECKING:
    from reasvqa.mini.grounding import Claim
    from reasvqa.mini.world import Story


def frames(pictures: np.ndarray, titles: Sequence[str] | None = None) -> Figure:
    """Frames side by side. pictures: uint8 (T, H, W, 3)."""
    figure, axes = plt.subplots(1, len(pictures), figsize=(2.3 * len(pictures), 2.5), squeeze=False)
    for t, axis in enumerate(axes[0]):
        axis.imshow(pictures[t])
        axis.set_title(titles[t] if titles else f"frame {t + 1}", fontsize=9)
        axis.set_axis_off()
    figure.tight_layout()
    plt.close(figure)  # the notebook shows what the cell returns; without this it would be shown twice
    return figure


VIDEO_LIMIT = 4 << 20  # bytes of a file that is put into a notebook; NExT-QA's are mostly smaller


def video(path: str | Path, num_frames: int = 4, clip: tuple[float, float] | None = None) -> HTML:
    """A video to play, with the frames that a student sees marked on its timeline.

    The file is put into the page as it is, if it is H.264 in an MP4 or MOV of at most `VIDEO_LIMIT` bytes: nothing is
    fetched and nothing encoded anew. Of any other file its frames are shown as stills, with the reason.

    Args:
        path, num_frames, clip: as in `reasvqa.video.read_frames`; the clip is shaded, and playing starts there.

    Raises:
        VideoError: the file cannot be read.
    """
    path = Path(path)
    pictures = read_frames(path, num_frames, clip)  # a file that brings the decoder down is refused here
    codec, length = _codec_and_length(path)
    start, end = clip if clip is not None else (0.0, length)
    end = min(end, length)
    times = [start + (t + 0.5) * (end - start) / num_frames for t in range(num_frames)]
    reason = ""
    if codec != "h264" or path.suffix.lower() not in (".mp4", ".m4v", ".mov"):
        reason = f"{path.suffix[1:] or 'file'} with {codec}, which not every browser plays"
    elif path.stat().st_size > VIDEO_LIMIT:
        reason = f"{path.stat().st_size >> 20} MB, too large for a page"
    said = f"{path.name}, {length:.1f} s; frames at {', '.join(f'{t:.1f}' for t in times)} s"
    if reason:
        strip = np.concatenate(list(pictures), axis=1)
        body = f"<img src='{as_url(strip)}' alt='{escape(said, quote=True)}' style='width:100%'>"
    else:
        data = base64.b64encode(path.read_bytes()).decode()
        source = f"data:video/mp4;base64,{data}#t={start:g},{end:g}"
        body = (
            f"<video controls muted playsinline preload='auto' aria-label='{escape(said, quote=True)}' "
            f"style='width:100%;display:block' src='{source}'></video>"
        )
    marks = "".join(
        f"<div style='position:absolute;left:{100 * time / length:.2f}%;top:0;height:14px;"
        f"border-left:2px solid #D55E00'></div>"
        f"<div style='position:absolute;left:{100 * time / length:.2f}%;top:14px;transform:translateX(-50%);"
        f"white-space:nowrap'>{t + 1}</div>"
        for t, time in enumerate(times)
    )
    bar = (
        "<div style='position:relative;height:32px;font-size:11px;color:inherit'>"
        "<div style='position:absolute;left:0;right:0;top:4px;height:6px;background:#cccccc'></div>"
        f"<div style='position:absolute;left:{100 * start / length:.2f}%;width:{100 * (end - start) / length:.2f}%;"
        f"top:4px;height:6px;background:#56B4E9'></div>{marks}</div>"
    )
    tail = (
        f"Shown as stills: {reason}."
        if reason
        else "Orange: what generator and student see; blue: the clip asked about."
    )
    note = f"<div style='font-size:11px;opacity:.75'>{escape(said)}. {escape(tail)}</div>"
    width = 128 * num_frames if reason else 320
    return HTML(f"<div style='width:{width}px;max-width:100%'>{body}{bar}{note}</div>")


def _codec_and_length(path: Path) -> tuple[str, float]:
    """The codec's name and the seconds that a video's frames last, from its first frame on."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise VideoError(f"{path}: no video stream")
            base = float(stream.time_base or 0)
            times = sorted(packet.pts * base for packet in container.demux(stream) if packet.pts is not None)
            name = stream.codec_context.name
    except (FFmpegError, OSError) as error:
        raise VideoError(f"{path}: {error}") from error
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    return name, times[-1] - times[0] + step


def as_url(picture: np.ndarray) -> str:
    """A picture, uint8 (H, W, 3), as a data URI."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def clip(samples: Samples, sample: Sample, num_frames: int = 4) -> Figure:
    """The frames of a question's clip that generator and student see."""
    return frames(read_frames(samples.videos / sample.video, num_frames, sample.clip))


def question(sample: Sample, prediction: int | None = None, note: str = "") -> HTML:
    """A question with its lettered options; the right one is ticked, a wrong prediction is crossed.

    A prediction may be None or pandas' NA: a response that names no option.
    """
    prediction = None if prediction is pd.NA else prediction
    rows = []
    for i, option in enumerate(sample.options):
        mark = "&#10003;" if i == sample.answer else "&#10007;" if i == prediction else "&nbsp;"
        style = "color:#1b7837;font-weight:600" if i == sample.answer else "color:#b2182b" if i == prediction else ""
        rows.append(f"<div style='{style}'>{mark} {LETTERS[i]}. {escape(option)}</div>")
    head = (
        f"<b>{escape(sample.question)}</b> <span style='opacity:.7'>({escape(sample.type)}, {escape(sample.id)})</span>"
    )
    tail = f"<div style='opacity:.8;margin-top:.3em'>{note}</div>" if note else ""
    return HTML(f"<div style='margin:.5em 0'>{head}{''.join(rows)}{tail}</div>")


def ranking(sample: Sample, scores: Sequence[float]) -> pd.DataFrame:
    """The options by their scores, mean log-likelihoods of their tokens (nats), best first."""
    column = "mean log-likelihood (nats a token)"
    table = pd.DataFrame({"option": sample.options, column: scores}, list(LETTERS[: len(scores)]))
    return table.sort_values(column, ascending=False).round(2)


def refinement(
    text: str,
    answer: str | None = None,
    correct: bool = True,
    chosen: str | None = None,
    rules: Collection[str] = RULES,
) -> HTML:
    """A response with what refinement removes struck out; each colour is a rule, named below and on hovering.

    Args:
        text, answer, correct: as in `reasvqa.refinement.refine`.
        chosen: as there, for strict refinement.
        rules: only what these remove.
    """
    found = [removal for removal in removals(text, answer, correct, chosen=chosen) if removal.rule in rules]
    present = {removal.rule for removal in found}
    colours = {name: rule.colour for name, rule in RULES.items() if name in present}
    parts, at = [], 0
    for removal in found:
        parts.append(escape(text[at : removal.start]))
        gone = escape(text[removal.start : removal.end])
        look = f"background:{colours[removal.rule]};color:#222222"
        parts.append(f"<del title='{escape(removal.rule)}' style='{look}'>{gone}</del>")
        at = removal.end
    parts.append(escape(text[at:]))
    legend = " ".join(
        f"<span style='background:{colour};color:#222222;padding:0 .4em'>{escape(rule)}</span>"
        for rule, colour in colours.items()
    )
    kind = (
        "CR: the generator was right"
        if correct
        else f"IR: the generator was wrong, so the words of the true answer go too ({WORD_RULE})"
    )
    body = "".join(parts).replace("\n", "<br>")
    return HTML(
        f"<div style='border-left:3px solid #999;padding:.3em .8em;margin:.5em 0;line-height:1.6'>{body}</div>"
        f"<div style='opacity:.8;font-size:90%'>{escape(kind)}. Removed by rule: {legend or 'nothing'}</div>"
    )


def texts(**pieces: str | None) -> HTML:
    """Named texts, one below the other."""
    rows = "".join(
        "<tr><td style='vertical-align:top;opacity:.7;text-align:left;white-space:nowrap'>"
        f"{escape(name.replace('_', ' '))}</td>"
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


def changed(config: TrainConfig) -> dict[str, Any]:
    """The settings of a run that differ from its scale's preset, by name. There are thirty; most never change."""
    config = config.resolve()
    preset = asdict(TrainConfig(dataset=config.dataset, student=config.student, seed=config.seed).resolve())
    return {name: value for name, value in asdict(config).items() if value != preset[name]}


def unusual(config: TrainConfig) -> str:
    """The same as a sentence."""
    config = config.resolve()
    different = [f"`{name}` = {value!r}" for name, value in changed(config).items()]
    settings = f"`{config.student}` on `{config.dataset}`, {config.epochs} epoch{'s' if config.epochs > 1 else ''}"
    return f"{settings}; all settings are the preset's" + (f" but {', '.join(different)}." if different else ".")


def say(*sentences: str) -> None:
    """Prose that a cell computes: Markdown, a paragraph for each argument; nothing where there is none."""
    if not sentences:
        return
    _display(Markdown("\n\n".join(sentences)))


def p_value(p: float) -> str:
    """ "p = 0.034", or "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def oddities(response: str, refined: str, story: Story | None = None) -> list[str]:
    """What is odd about a response and what refinement leaves of it: an answer before its reasons, sentences that lost
    words, and sentences that stay although false.

    story: what happens in the clip, which only a miniature knows; without it nothing is said about truth.
    """
    sentences = [line.strip() for line in re.split(r"(?<=[.!?])\s+", refined) if re.search("[a-z]", line)]
    cut = [sentence for sentence in sentences if sentence not in response]
    found = []
    if re.match(r"\W*answer\W", response, re.IGNORECASE):
        found.append(
            "It names its answer before it gives a reason: what follows explains a choice, and did not lead to it."
        )
    if cut:
        found.append(
            f"{len(cut)} of its {len(sentences)} sentences lost a word of the true answer, and their grammar with it: "
            f"“{escape(cut[0])}” The student learns to write this."
        )
    if story is not None:
        from reasvqa.mini.grounding import claims

        true = [claim.sentence for claim in claims(response, story) if claim.true and claim.sentence not in refined]
        if cut and true:
            found.append(
                f"What was cut so was true: “{escape(true[0])}.” No rule can know; the words of the true answer go "
                "wherever they stand, the evidence for it among them."
            )
        false = [claim for claim in claims(refined, story) if claim.true is False]
        if false:
            found.append(
                f"{len(false)} of its {len(sentences)} sentences say what the video does not show, and stay, because "
                f"no rule knows the video: “{escape(false[0].sentence)}.”{escape(_instead(false[0]))}"
            )
    return found


def _instead(claim: Claim) -> str:
    """What happens where a sentence tells something else, in as much detail as the sentence has."""
    event = claim.event
    if event is None:
        return ""
    words = f"they {event.verb} the {event.object}"
    words += f" in the {event.room}" if " in the " in claim.sentence else ""
    words += " near the " + " and the ".join(name for _, name in event.idle) if " near " in claim.sentence else ""
    return f" (in truth {words})"


def said(text: str | None, story: Story | None = None, who: str = "the student writes") -> HTML:
    """What a student wrote, each sentence marked right (✓) or wrong (✗) by what happens in its clip.

    story: without one (data that are no miniature's) it is plain text.
    """
    if not text or story is None:
        return texts(**{who: text})
    from reasvqa.mini.grounding import claims

    rows, told = [], claims(text, story)
    for claim in told:
        mark, look, word = _MARKS[claim.true]
        instead = _instead(claim) if claim.true is False else ""
        rows.append(
            f"<div><span style='{look}' title='{word}'>{mark}</span> {escape(claim.sentence)}."
            f"<span style='opacity:.7'>{escape(instead)}</span></div>"
        )
    events = [claim for claim in told if claim.event is not None]
    right = sum(claim.true is True for claim in events)
    head = f"{escape(who)}: {right} of {len(story.seen)} events as they happened"
    legend = "✓ so it happens; ✗ it does not; – cannot be judged"
    legend = f"<div style='opacity:.7;font-size:90%'>{legend}</div>"
    return HTML(f"<div style='margin:.4em 0'><b>{head}</b>{''.join(rows)}{legend}</div>")


_RIGHT, _WRONG = "color:#1b7837;font-weight:600", "color:#b2182b;font-weight:600"
_MARKS = {True: ("✓", _RIGHT, "right"), False: ("✗", _WRONG, "wrong"), None: ("–", "opacity:.7", "cannot be judged")}


def choices(sample: Sample, chosen: Mapping[str, int | None]) -> HTML:
    """A question and its options with who chose which: by a student's name the index of its option."""
    rows = []
    for i, option in enumerate(sample.options):
        right = i == sample.answer
        who = ", ".join(name for name, choice in chosen.items() if choice is not pd.NA and choice == i)
        mark = f"{'✓' if right else '✗'} {who}" if who else "✓ right answer" if right else ""
        look = _RIGHT if right else _WRONG if who else ""
        rows.append(
            f"<tr style='{look}'><td style='text-align:left'>{LETTERS[i]}. {escape(option)}</td>"
            f"<td style='text-align:left'>{escape(mark)}</td></tr>"
        )
    head = (
        f"<b>{escape(sample.question)}</b> <span style='opacity:.7'>({escape(sample.type)}, {escape(sample.id)})</span>"
    )
    return HTML(f"<div style='margin:.4em 0'>{head}<table>{''.join(rows)}</table></div>")


def strip(samples: Samples, sample: Sample, num_frames: int = 4) -> HTML:
    """The frames of a question's clip side by side, as one picture in the page."""
    pictures = read_frames(samples.videos / sample.video, num_frames, sample.clip)
    gap = np.full((pictures.shape[1], max(2, pictures.shape[2] // 32), 3), 255, np.uint8)
    row = np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)
    said = f"the {num_frames} frames that the student sees of {sample.video}"
    look = f"width:{140 * num_frames}px;max-width:100%"
    return HTML(f"<img src='{as_url(row)}' alt='{escape(said, quote=True)}' style='{look}'>")


def below(*views: HTML) -> HTML:
    """Several views as one, one below the other."""
    return HTML("".join(str(view.data) for view in views))
