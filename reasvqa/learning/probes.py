"""Two things to ask of a finished run: does it choose an option, not a place, and does it look at this video?

Its own questions are asked again, changed at random, the same way every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reasvqa.datasets import Samples
from reasvqa.evaluation import Estimate, estimate, paired_difference, right_or_wrong
from reasvqa.learning.answering import answer_table
from reasvqa.learning.features import features_of
from reasvqa.learning.runs import Run
from reasvqa.students import own_device


def stays_when_permuted(runs: Sequence[Run]) -> Estimate:
    """The share of answers (%) that stay when all options change places, over seeds and videos.

    Students that rank the options' texts (`answer_format="text"`) do not see where options stand: theirs all stay.

    Args:
        runs: of one setting, a run a seed.

    Raises:
        ValueError: runs that answered different questions.
    """
    samples = _asked(runs)
    moves, counts = shifts(samples), np.array([len(sample.options) for sample in samples])
    same = []
    for run in runs:
        before = run.predictions["prediction"].to_numpy(dtype=float, na_value=np.nan)
        now = (_answer(run, shifted(samples, moves)) - moves) % counts
        same.append((now == before) | (np.isnan(now) & np.isnan(before)))
    return estimate(np.stack(same), [sample.video for sample in samples])


def with_another_video(runs: Sequence[Run]) -> tuple[Estimate, Estimate]:
    """(accuracy in % with the clip of another question in place of the right one, what that adds to the accuracy with
    the right one, in points), over seeds and the questions' own videos.

    Args:
        runs: of one setting, a run a seed, on a split with labels.

    Raises:
        ValueError: runs that answered different questions; no labels; all questions are about one video.
    """
    samples = _asked(runs)
    labels, videos = [sample.answer for sample in samples], [sample.video for sample in samples]
    if None in labels:
        raise ValueError(f"{runs[0].config.dataset}, {runs[0].config.split}: this split has no labels; ask for another")
    right = right_or_wrong([run.predictions for run in runs])
    other = np.stack([_answer(run, elsewhere(samples)) == np.array(labels) for run in runs])
    return estimate(other, videos), paired_difference(right, other, videos)


def shifts(samples: Samples) -> np.ndarray:
    """How many places each question's options move on, int (questions,): 1 to one less than there are options."""
    rng = np.random.default_rng(0)
    return np.array([int(rng.integers(1, len(sample.options))) for sample in samples])


def shifted(samples: Samples, moves: np.ndarray) -> Samples:
    """The questions with their options moved on, the last ones to the front; `answer` moves along."""
    moved = []
    for sample, by in zip(samples, moves.tolist(), strict=True):
        options = (*sample.options[-by:], *sample.options[:-by])
        answer = None if sample.answer is None else (sample.answer + by) % len(options)
        moved.append(replace(sample, options=options, answer=answer))
    return Samples(moved, samples.videos)


def elsewhere(samples: Samples) -> Samples:
    """The questions, each about the clip of another one, of another video. Every clip is seen as often as before, as
    long as no video has more than half of the questions.

    Raises:
        ValueError: all questions are about one video.
    """
    rng = np.random.default_rng(0)
    names, video, counts = np.unique([sample.video for sample in samples], return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ValueError("all questions are about one video: there is no other to show")
    # In a random order that keeps a video's questions together, everybody gets the clip as far behind as the most
    # questions of a video are many: another video's.
    order = np.argsort(rng.permutation(len(names))[video], kind="stable")
    source = np.empty_like(order)
    source[order] = np.roll(order, counts.max())
    for at in np.flatnonzero(video[source] == video):
        source[at] = rng.choice(np.flatnonzero(video != video[at]))
    shown = [samples[other] for other in source.tolist()]
    changed = [replace(s, video=other.video, clip=other.clip) for s, other in zip(samples, shown, strict=True)]
    return Samples(changed, samples.videos)


def _asked(runs: Sequence[Run]) -> Samples:
    """The questions that the runs answered (not those whose videos could not be read), in their order."""
    ids = [run.predictions["id"].tolist() for run in runs]
    if any(other != ids[0] for other in ids):
        raise ValueError("runs that answered different questions cannot be put side by side; make them anew")
    return runs[0].samples().select(ids[0])


def _answer(run: Run, samples: Samples) -> np.ndarray:
    """What the run's student answers now, float (questions,), NaN where it names no option."""
    student = run.load_student()
    features = None if run.config.blind else features_of(run.samples(), student, run.config)
    table = answer_table(student.without_vision_encoder(own_device()), samples, features, run.config)
    return table["prediction"].to_numpy(dtype=float, na_value=np.nan)
