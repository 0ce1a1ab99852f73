"""Two questions to a finished run, against students whose answers are known and a second computation."""

from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from reasvqa.companion import probes
from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.learning import train
from reasvqa.learning.answering import score_options
from reasvqa.learning.features import features_of
from reasvqa.samples import Sample


def questions(videos: list[str], options: int = 3) -> Samples:
    rows = [
        Sample(
            f"q{i}", video, (i, i + 1), f"question {i}?", tuple(f"{i}{k}" for k in range(options)), i % options, "CW"
        )
        for i, video in enumerate(videos)
    ]
    return Samples(rows, Path("videos"))


@given(st.lists(st.sampled_from("abcde"), min_size=2, max_size=40))
def test_another_video_is_another_and_none_is_made_up(names):
    samples = questions(names)
    if len(set(names)) == 1:
        with pytest.raises(ValueError, match="one video"):
            probes.with_other_clips(samples)
        return
    other = probes.with_other_clips(samples)
    clips = {(s.video, s.clip) for s in samples}
    for before, after in zip(samples, other, strict=True):
        assert after.video != before.video and (after.video, after.clip) in clips
        assert replace(after, video=before.video, clip=before.clip) == before
    if 2 * max(names.count(name) for name in set(names)) <= len(names):
        assert sorted((s.video, s.clip) for s in other) == sorted(clips)


@given(st.integers(2, 6), st.integers(1, 20))
def test_every_option_changes_its_place_and_the_answer_goes_along(options, count):
    samples = questions(["v"] * count, options)
    for before, after in zip(samples, probes.rotated(samples, probes.rotations(samples)), strict=True):
        assert sorted(after.options) == sorted(before.options)
        assert all(a != b for a, b in zip(before.options, after.options, strict=True))
        assert after.answer_text == before.answer_text


class Stub:
    """A run whose student answers by a rule: (sample) -> option."""

    def __init__(self, samples: Samples, rule, seed: int = 0):
        self.config, self.rule, self._samples = TrainConfig(seed=seed), rule, samples
        self.predictions = self.answer(samples)

    def samples(self) -> Samples:
        return self._samples

    def answer(self, samples: Samples) -> pd.DataFrame:
        chosen = pd.array([self.rule(sample) for sample in samples], dtype="Int64")
        return samples.to_pandas()[["id", "answer"]].assign(prediction=chosen)


def test_by_hand():
    samples = questions(["a", "a", "b", "b"])
    text = Stub(samples, lambda s: s.options.index(min(s.options)))  # always the same text: "i0"
    letter = Stub(samples, lambda s: 0)  # always the first place
    silent = Stub(samples, lambda s: None)
    assert probes.stays_when_permuted([text]).value == 100
    assert probes.stays_when_permuted([letter]).value == 0
    assert probes.stays_when_permuted([silent]).value == 100
    half = Stub(samples, lambda s: s.options.index(min(s.options)) if s.video == "a" else 0)
    found = probes.stays_when_permuted([half])
    assert (found.value, found.videos, found.questions, found.seeds) == (50, 2, 4, 1)
    # Two videos with 100 and 0 %: mean 50, standard error 50, and t with one degree of freedom.
    assert found.se == pytest.approx(50) and found.high == pytest.approx(50 + 12.7062 * 50, rel=1e-4)
    # Right answers: 0, 1, 2, 0. One that looks knows the answer by its own video only.
    sees = Stub(samples, lambda s: s.answer if s.video == {0: "a", 1: "a", 2: "b", 3: "b"}[int(s.id[1])] else 2)
    accuracy, change = probes.with_another_video([sees])
    assert (accuracy.value, change.value) == (25, -75)  # without its video right in the third question only
    accuracy, change = probes.with_another_video([Stub(samples, lambda s: s.answer), Stub(samples, lambda s: 0, 1)])
    assert (accuracy.value, change.value, change.seeds) == (75, 0, 2)  # neither looks


def test_other_questions_or_no_labels_are_refused():
    samples = questions(["a", "b", "c"])
    runs = [Stub(samples, lambda s: 0), Stub(samples[:2], lambda s: 0)]
    for probe in (probes.stays_when_permuted, probes.with_another_video):
        with pytest.raises(ValueError, match="different questions"):
            probe(runs)
    unlabelled = Samples([replace(s, answer=None) for s in samples], samples.videos)
    with pytest.raises(ValueError, match="no labels"):
        probes.with_another_video([Stub(unlabelled, lambda s: 0)])


@pytest.mark.slow
def test_a_real_student(tmp_path):
    """Texts are ranked without a place: all stay. Letters, and the other video, against scores computed here."""
    made = {}
    for answer_format in ("text", "letter"):
        config = TrainConfig(
            dataset="smoke-star", questions=16, learning_rate=1e-4, answer_format=answer_format
        ).resolve()
        made[answer_format] = train(config, runs=tmp_path)
    assert probes.stays_when_permuted([made["text"]]).value == 100
    run = made["letter"]
    samples, student = run.samples(), run.load_student()
    features = features_of(samples, student, run.config)
    moves = probes.rotations(samples)
    assert set(moves.tolist()) == {1, 2, 3}
    stays, right = [], []
    for sample, by, other in zip(samples, moves, probes.with_other_clips(samples), strict=True):
        options = [sample.options[(k - by) % 4] for k in range(4)]
        before, after = (
            options_[int(score_options(student, [replace(sample, options=options_)], features, run.config)[0].argmax())]
            for options_ in (sample.options, tuple(options))
        )
        stays.append(before == after)
        right.append(int(score_options(student, [other], features, run.config)[0].argmax()) == sample.answer)
    assert probes.stays_when_permuted([run]).value == pytest.approx(100 * np.mean(stays))
    accuracy, change = probes.with_another_video([run])
    assert accuracy.value == pytest.approx(100 * np.mean(right))
    assert change.value == pytest.approx(100 * np.mean(right) - run.accuracy) != 0
