"""Measure what a student can read off a clip: probe its frozen features, let it say what happens, and ask it.

Only a miniature knows what happens in each clip, so only its students can be measured in this way.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from reasvqa.learning import Run
from reasvqa.learning.features import Features
from reasvqa.mini.build import read_stories
from reasvqa.mini.generator import DOES, PRESENT
from reasvqa.mini.world import NEW, OBJECTS, ROOMS, VERBS, Event, Story
from reasvqa.samples import Sample

_TOLD = re.compile(rf"{DOES}(?: in the (\w+))?")
RIDGE = 10.0  # regularisation of the probe


def story_of(sample: Sample, root: Path) -> Story | None:
    """Return what happens in a question's clip; None where nobody knows, as `root` is no miniature's folder."""
    return read_stories(root).get(Path(sample.video).stem) if (root / "stories.json").is_file() else None


def told_rightly(texts: Sequence[str], stories: Sequence[Story]) -> dict[str, float]:
    """Return what the texts say of each frame, in percent right.

    Returns:
        "event" (verb and object), "action", "object", "room", and the objects that pretraining named ("named") and
        those whose names are new to the student ("new").
    """
    right: dict[str, list[bool]] = {}
    for text, story in zip(texts, stories, strict=True):
        said = [_TOLD.search(sentence) for sentence in re.findall(r"[^.\n]*[a-z][^.\n]*", text.lower())]
        said = (said + [None] * len(story.seen))[: len(story.seen)]
        for match, event in zip(said, story.seen, strict=True):
            verb, name, room = (PRESENT[match[1]], match[2], match[3]) if match else (None, None, None)
            marks = {"action": verb == event.verb, "object": name == event.object, "room": room == event.room}
            marks["event"] = marks["action"] and marks["object"]
            marks["new" if event.object in NEW else "named"] = marks["object"]
            for what, mark in marks.items():
                right.setdefault(what, []).append(mark)
    return {what: 100 * float(np.mean(marks)) for what, marks in right.items()}


def grounding(run: Run, questions: int | None = None) -> dict[str, float]:
    """Return how much of what a run's student writes about unseen clips is right, see `told_rightly`.

    Args:
        questions: the first so many of the evaluation split; None: all.
    """
    samples, stories = run.samples()[:questions], read_stories(run.root)
    return told_rightly(run.explain(samples), [stories[Path(sample.video).stem] for sample in samples])


def probe(
    train: tuple[Sequence[Sample], Features], test: tuple[Sequence[Sample], Features], stories: Mapping[str, Story]
) -> dict[str, float]:
    """Return how well a linear probe reads each frame's "action", "object" and "room" off frozen features, in percent.

    Ridge regression onto one-hot labels, from a frame's features (Q * E numbers), fitted on the training clips.
    """

    def frames(samples: Sequence[Sample], features: Features) -> tuple[np.ndarray, list[Event]]:
        clips = {sample.video: sample for sample in samples}.values()
        read = [np.asarray(features[sample], np.float64) for sample in clips]
        events = [event for sample in clips for event in stories[Path(sample.video).stem].seen]
        return np.concatenate([clip.reshape(len(clip), -1) for clip in read]), events

    (x, seen), (y, asked) = frames(*train), frames(*test)
    mean, scale = x.mean(0), x.std(0) + 1e-6
    x, y = (np.hstack([(part - mean) / scale, np.ones((len(part), 1))]) for part in (x, y))
    inverse = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T)
    right = {}
    for what, of, names in (("action", "verb", VERBS), ("object", "object", tuple(OBJECTS)), ("room", "room", ROOMS)):
        labels, truth = ([names.index(getattr(event, of)) for event in events] for events in (seen, asked))
        right[what] = 100 * float(np.mean((y @ (inverse @ np.eye(len(names))[labels])).argmax(1) == truth))
    return right
