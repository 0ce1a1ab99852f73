"""Rich views for notebooks. All text from data sets and models is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown
from IPython.display import display as _display
from PIL import Image

from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.refinement import RULES, WORD_RULE, removals
from reasvqa.samples import LETTERS, Sample
from reasvqa.video import VideoError, read_frames

if TYPE_CHECKING:
    from reasvqa.mini.grounding import Claim
    from reasvqa.mini.world import Story


def frames(pictures: np.ndarray, alt: str = "frames of the clip, in order") -> HTML:
    """Return frames side by side, as one picture in the page. pictures: uint8 (T, H, W, 3)."""
    gap = np.full((pictures.shape[1], max(2, pictures.shape[2] // 32), 3), 255, np.uint8)
    row = np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)
    look = f"width:{150 * len(pictures)}px;max-width:100%"
    return HTML(f"<img src='{as_url(row)}' alt='{escape(alt, quote=True)}' style='{look}'>")


def clip(samples: Samples, sample: Sample, num_frames: int = 4) -> HTML:
    """Return the frames of a question's clip that generator and student see."""
    pictures = read_frames(samples.videos / sample.video, num_frames, sample.clip)
    return frames(pictures, f"the {num_frames} frames that the student sees of {sample.video}")


VIDEO_LIMIT = 4 << 20  # bytes of a file that is put into a notebook; NExT-QA's are mostly smaller


def video(path: str | Path, num_frames: int = 4, clip: tuple[float, float] | None = None) -> HTML:
    """Return a video to play, with the frames that a student sees marked on its timeline.

    An H.264 file in an MP4 or MOV of at most `VIDEO_LIMIT` bytes is put into the page as it is: nothing is fetched and
    nothing encoded anew. Of any other file its frames are shown as stills, with the reason.

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
    text = f"{path.name}, {length:.1f} s; frames at {', '.join(f'{t:.1f}' for t in times)} s"
    alt = escape(text, quote=True)
    if reason:
        body = f"<img src='{as_url(np.concatenate(list(pictures), axis=1))}' alt='{alt}' style='width:100%'>"
        legend = f"Shown as stills: {reason}."
    else:
        data = base64.b64encode(path.read_bytes()).decode()
        body = (
            f"<video controls muted playsinline preload='auto' aria-label='{alt}' style='width:100%;display:block' "
            f"src='data:video/mp4;base64,{data}#t={start:g},{end:g}'></video>"
        )
        legend = "Orange: the frames that generator and student see; blue: the clip asked about."
    left = f"left:{100 * start / length:.2f}%;width:{100 * (end - start) / length:.2f}%"
    bar = f"<div style='position:absolute;{left};top:4px;height:6px;background:#56B4E9'></div>"
    for time in times:
        bar += f"<div style='position:absolute;left:{100 * time / length:.2f}%;top:0;height:14px;{_MARK}'></div>"
    return HTML(
        f"<div style='width:{128 * num_frames if reason else 320}px;max-width:100%;font-size:11px'>{body}"
        "<div style='position:relative;height:18px'><div style='position:absolute;left:0;right:0;top:4px;height:6px;"
        f"background:#cccccc'></div>{bar}</div><div style='opacity:.75'>{escape(f'{text}. {legend}')}</div></div>"
    )


_MARK = "border-left:2px solid #D55E00"


def _codec_and_length(path: Path) -> tuple[str, float]:
    """Return the codec's name and the seconds that a video's frames last, from its first frame on."""
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
    rows = []
    for i, option in enumerate(sample.options):
        who = ", ".join(name for name, choice in chosen.items() if not pd.isna(choice) and choice == i)
        right = i == sample.answer
        mark = "&#10003;" if right else "&#10007;" if who else ""
        look = _RIGHT if right else _WRONG if who else ""
        rows.append(
            f"<tr style='{look}'><td style='text-align:left'>{mark} {LETTERS[i]}. {escape(option)}</td>"
            f"<td style='text-align:left'>{escape(who or ('right answer' if right else ''))}</td></tr>"
        )
    kind = f"<span style='opacity:.7'>({escape(sample.type)}, {escape(sample.id)})</span>"
    head = f"<b>{escape(sample.question)}</b> {kind}"
    return HTML(f"<div style='margin:.5em 0'>{head}<table>{''.join(rows)}</table></div>")


def refinement(
    text: str,
    answer: str | None = None,
    correct: bool = True,
    chosen: str | None = None,
    rules: Collection[str] = RULES,
) -> HTML:
    """Return a response with what refinement removes struck out; each colour is a rule, named below and on hovering.

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
        else f"IR: the generator was wrong, so the words of the true answer are removed too ({WORD_RULE})"
    )
    body = "".join(parts).replace("\n", "<br>")
    return HTML(
        f"<div style='border-left:3px solid #999;padding:.3em .8em;margin:.5em 0;line-height:1.6'>{body}</div>"
        f"<div style='opacity:.8;font-size:90%'>{escape(kind)}. Removed by rule: {legend or 'nothing'}</div>"
    )


def texts(**pieces: str | None) -> HTML:
    """Return named texts, one below the other."""
    rows = "".join(
        "<tr><td style='vertical-align:top;opacity:.7;text-align:left;white-space:nowrap'>"
        f"{escape(name.replace('_', ' '))}</td>"
        f"<td style='text-align:left;white-space:pre-wrap'>{escape(str(text)) if text else '<i>none</i>'}</td></tr>"
        for name, text in pieces.items()
    )
    return HTML(f"<table>{rows}</table>")


def question_text(sample: Sample) -> str:
    """Return the question and its lettered options as text."""
    return "\n".join([sample.question, *(f"{LETTERS[i]}. {option}" for i, option in enumerate(sample.options))])


def show(*things) -> None:
    """Show several things from one cell, one below the other."""
    for thing in things:
        _display(thing)


def changed_settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings of a run that differ from its scale's preset, by name."""
    config = config.resolve()
    preset = asdict(TrainConfig(dataset=config.dataset, student=config.student, seed=config.seed).resolve())
    return {name: value for name, value in asdict(config).items() if value != preset[name]}


def settings_sentence(config: TrainConfig) -> str:
    """Return the student, data set, epochs and `changed_settings` of a run as a sentence."""
    config = config.resolve()
    different = [f"`{name}` = {value!r}" for name, value in changed_settings(config).items()]
    settings = f"`{config.student}` on `{config.dataset}`, {config.epochs} epoch{'s' if config.epochs > 1 else ''}"
    return f"{settings}; all settings are the preset's" + (f" but {', '.join(different)}." if different else ".")


def say(*sentences: str) -> None:
    """Show sentences that a cell computes as Markdown, a paragraph for each argument."""
    if sentences:
        _display(Markdown("\n\n".join(sentences)))


def _instead(claim: Claim) -> str:
    """Return what happens where a sentence tells something else, in as much detail as the sentence has."""
    event = claim.event
    if event is None:
        return ""
    words = f"they {event.verb} the {event.object}"
    words += f" in the {event.room}" if " in the " in claim.sentence else ""
    words += " near the " + " and the ".join(name for _, name in event.idle) if " near " in claim.sentence else ""
    return f" (in truth {words})"


def marked_reasoning(text: str | None, story: Story | None = None, who: str = "the student writes") -> HTML:
    """Return what a student wrote, each sentence marked right (✓) or wrong (✗) by what happens in its clip.

    story: None for real videos, whose events nobody knows: the text is shown without marks.
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


def stacked(*views: HTML) -> HTML:
    """Return several views as one, one below the other."""
    return HTML("".join(str(view.data) for view in views))


def folded(view: HTML, summary: str) -> HTML:
    """Return a view that the reader opens by clicking its summary: for long tables."""
    return HTML(f"<details><summary>{escape(summary)}</summary>{view.data}</details>")
