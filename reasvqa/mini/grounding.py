"""Does a student's reasoning come from the video? Only a miniature can be asked: it knows what happens in each clip."""

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
    """Is what the student writes true of the video? Percent of the clips' events (verb and object) that stand in the
    right place of the reasoning it writes for the first `questions` of the evaluation split (None: all)."""
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
    """A sentence; is it true of the clip (None: it claims nothing that can be judged); the event it should tell, if it
    tells one."""

    sentence: str
    true: bool | None
    event: Event | None


def claims(text: str, story: Story) -> list[Claim]:
    """The sentences of a reasoning, each judged against its clip by `generator.judge`.

    Events are told in order. A sentence that lost words ("They lift the.") cannot be judged, but keeps its place: those
    behind it are held against their own frames.
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
        if event and true is None:  # "they lift the chair near the and the cup": what was done can be judged
            ((_, true),) = judge(sentence.partition(" near ")[0], rest)
        found.append(Claim(said, None if tells and event is None else true, event))
    return found


def story_of(sample: Sample, root: Path) -> Story | None:
    """What happens in a question's clip; None where nobody knows: `root` is no miniature's folder."""
    return read_stories(root).get(Path(sample.video).stem) if (root / "stories.json").is_file() else None
