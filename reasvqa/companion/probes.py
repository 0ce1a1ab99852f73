"""Two probes of a finished run: does it choose an option or a position, and does it look at the video?

The student answers its evaluation questions again, changed at random, always in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from reasvqa.datasets import Samples
from reasvqa.evaluation import Estimate, estimate, right_or_wrong
from reasvqa.learning import Run


def stays_when_permuted(runs: Sequence[Run]) -> Estimate:
    """Return the share of answers (%) that stay when all options change position, over seeds and videos.

    Students that rank the options' texts (`answer_format="text"`) do not see positions, so all their answers stay.

    Args:
        runs: the runs of one setting, one per seed.

    Raises:
        ValueError: the runs answered different questions.
    """
    samples = _asked(runs)
    moves, counts = rotations(samples), np.array([len(sample.options) for sample in samples])
    same = []
    for run in runs:
        before = _chosen(run.predictions)
        now = (_chosen(run.answer(rotated(samples, moves))) - moves) % counts
        same.append((now == before) | (np.isnan(now) & np.isnan(before)))
    return estimate(np.stack(same), [sample.video for sample in samples])


def with_another_video(runs: Sequence[Run]) -> tuple[Estimate, Estimate]:
    """Return the accuracy (%) with another video's clip, and its difference to that with the right one (points),
    over seeds and the questions' own videos.

    Args:
        runs: the runs of one setting, one per seed, on a split with labels.

    Raises:
        ValueError: the runs answered different questions, there are no labels, or there is only one video.
    """
    samples = _asked(runs)
    labels, videos = [sample.answer for sample in samples], [sample.video for sample in samples]
    if None in labels:
        raise ValueError(f"{runs[0].config.dataset}, {runs[0].config.split}: this split has no labels; use another one")
    right = right_or_wrong([run.predictions for run in runs])
    other = np.stack([_chosen(run.answer(with_other_clips(samples))) == np.array(labels) for run in runs])
    return estimate(other, videos), estimate(other.astype(float) - right, videos)


def rotations(samples: Samples) -> np.ndarray:
    """Draw by how many positions to rotate each question's options, int (questions,): at least 1, less than all."""
    rng = np.random.default_rng(0)
    return np.array([int(rng.integers(1, len(sample.options))) for sample in samples])


def rotated(samples: Samples, moves: np.ndarray) -> Samples:
    """Rotate the options of each question, the last ones to the front, and its answer with them."""
    moved = []
    for sample, by in zip(samples, moves.tolist(), strict=True):
        options = (*sample.options[-by:], *sample.options[:-by])
        answer = None if sample.answer is None else (sample.answer + by) % len(options)
        moved.append(replace(sample, options=options, answer=answer))
    return Samples(moved, samples.videos)


def with_other_clips(samples: Samples) -> Samples:
    """Give each question the clip of a question about another video.

    Every clip is shown as often as before, as long as no video has more than half of the questions.

    Raises:
        ValueError: all questions are about one video.
    """
    rng = np.random.default_rng(0)
    names, video, counts = np.unique([sample.video for sample in samples], return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ValueError("all questions are about one video: there is no other to show")
    # Random order, a video's questions together. Rolled by the largest number of questions of a video, no question
    # meets its own video.
    order = np.argsort(rng.permutation(len(names))[video], kind="stable")
    source = np.empty_like(order)
    source[order] = np.roll(order, counts.max())
    for at in np.flatnonzero(video[source] == video):
        source[at] = rng.choice(np.flatnonzero(video != video[at]))
    shown = [samples[other] for other in source.tolist()]
    changed = [replace(s, video=other.video, clip=other.clip) for s, other in zip(samples, shown, strict=True)]
    return Samples(changed, samples.videos)


def _asked(runs: Sequence[Run]) -> Samples:
    """Return the questions that the runs answered (unreadable videos are left out), in their order."""
    ids = [run.predictions["id"].tolist() for run in runs]
    if any(other != ids[0] for other in ids):
        raise ValueError("the runs answered different questions and cannot be compared; train them again")
    return runs[0].samples().select(ids[0])


def _chosen(predictions: pd.DataFrame) -> np.ndarray:
    """Return the options that a student chose, float (questions,), NaN where it names none."""
    return predictions["prediction"].to_numpy(dtype=float, na_value=np.nan)
