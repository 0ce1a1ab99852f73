"""Check whether a student's reasoning is true of the video. Only a miniature knows what happens in each clip."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from reasvqa.learning import Run
from reasvqa.mini.build import read_stories
from reasvqa.mini.generator import judge
from reasvqa.mini.world import VERBS, Event, Story
from reasvqa.samples import Sample


def grounding(run: Run, questions: int | None = None) -> float:
    """Return the percentage of events (verb and object) that a run's student tells rightly and in the right place.

    Args:
        questions: it explains the first so many of the evaluation split; None: all.
    """
    samples, stories = run.samples()[:questions], read_stories(run.root)
    right = total = 0
    for sample, text in zip(samples, run.explain(samples), strict=True):
        story = stories[Path(sample.video).stem]
        for claim in claims(text, story):
            told = re.search(rf"they ({'|'.join(VERBS)}) the (\w+)", claim.sentence.lower())
            if told and claim.event:
                right += told.groups() == (claim.event.verb, claim.event.object)
        total += len(story.seen)
    return 100 * right / total


class Claim(NamedTuple):
    """A sentence of a reasoning.

    Attributes:
        true: whether it is true of the clip; None: it claims nothing that can be judged.
        event: the event that it should tell; None: it tells none.
    """

    sentence: str
    true: bool | None
    event: Event | None


def claims(text: str, story: Story) -> list[Claim]:
    """Judge each sentence of a reasoning against its clip, see `generator.judge`.

    Events are told in order. A sentence that lost words ("They lift the.") cannot be judged but keeps its place, so
    those behind it are compared with their own frames.
    """
    found, told = [], 0
    for sentence in re.findall(r"[^.\n]*[a-z][^.\n]*", text):
        words = re.sub(r"^\W*\d*\W*", "", sentence.lower())
        event, rest = None, story
        tells = re.search(r"\bthey\b", words) and not re.match(r"they never|(?:after|before) the", words)
        if tells and told < len(story.seen):
            event, rest = story.seen[told], replace(story, first=story.first + told)
        told += bool(tells)
        ((said, true),) = judge(sentence, rest)
        if event and true is None:  # "they lift the chair near the and the cup": the action can still be judged
            ((_, true),) = judge(sentence.partition(" near ")[0], rest)
        found.append(Claim(said, None if tells and event is None else true, event))
    return found


def story_of(sample: Sample, root: Path) -> Story | None:
    """Return what happens in a question's clip; None if `root` is not a miniature's folder."""
    return read_stories(root).get(Path(sample.video).stem) if (root / "stories.json").is_file() else None
