"""Does a student's reasoning come from the video? Only a miniature can be asked: it knows what happens in each clip."""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path

from reasvqa.learning import Run
from reasvqa.mini.build import read_stories
from reasvqa.mini.world import gerund, present


def grounding(run: Run, questions: int | None = None) -> float:
    """Is what the student writes true of the video? Percent of the clips' events (verb and object) that stand in the right
    place of the reasoning it writes for the first `questions` of the evaluation split (None: all)."""
    samples, stories = run.samples()[:questions], read_stories(run.root)
    right = total = 0
    for sample, text in zip(samples, run.explain(samples), strict=True):
        events = stories[Path(sample.video).stem].seen
        sentences = [
            re.sub(r"[^a-z ]", " ", sentence).split()
            for sentence in text.lower().split(".")
            if re.search("[a-z]", sentence)
        ]
        for event, words in zip_longest(events, sentences[: len(events)], fillvalue=[]):
            right += event.object in words and bool({present(event.verb), gerund(event.verb)} & set(words))
        total += len(events)
    return 100 * right / total
