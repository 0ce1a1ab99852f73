"""The feature cache: precision, room on the disk, interruptions, damage, and nobody looks when all is there."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from reasvqa.datasets import Samples
from reasvqa.learning import TrainConfig, train
from reasvqa.learning.features import NoRoom, build_features, feature_bytes
from reasvqa.students import load_student

STUDENTS = ("mini-blip2", "mini-llava-ov-small")


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDENTS)
def test_bfloat16_features_are_the_float32_ones_rounded(name, smoke_star, tmp_path):
    samples = smoke_star[0][:9]
    exact, half = (
        build_features(samples, load_student(name, dtype), name, 4, tmp_path)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert (exact.array.dtype, half.array.dtype) == (np.float32, np.uint16)
    a, b = exact.tensor(list(samples)), half.tensor(list(samples))
    assert b.dtype == torch.bfloat16 and a.shape == b.shape
    assert torch.nn.functional.cosine_similarity(a.flatten(1), b.float().flatten(1)).min() > 0.999
    clips = len({(s.video, s.clip) for s in samples})
    assert half.array.nbytes == feature_bytes(clips, 4, load_student(name).feature_shape, torch.bfloat16)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDENTS)
def test_training_in_bfloat16(name, tmp_path):
    """Frozen weights in bfloat16, trained ones in float32, losses near float32's; with recomputed activations."""
    settings = dict(dataset="smoke-star", student=name, questions=16, epochs=2)
    exact = train(TrainConfig(**settings), runs=tmp_path)
    half = train(TrainConfig(**settings, precision="bf16", gradient_checkpointing=True), runs=tmp_path)
    assert half.path != exact.path
    assert np.allclose(half.history["answer_loss"], exact.history["answer_loss"], atol=0.1)
    student = half.load_student()
    dtypes = {(parameter.requires_grad, parameter.dtype) for parameter in student.language_model.parameters()}
    assert (
        (True, torch.float32) in dtypes and (False, torch.bfloat16) in dtypes and (True, torch.bfloat16) not in dtypes
    )


def test_cached_features_are_not_computed_again(smoke_star, tmp_path):
    samples, student = smoke_star[0][:9], load_student("mini-blip2")
    first = build_features(samples, student, "mini-blip2", 4, tmp_path)
    student.encode_frames = lambda *_: pytest.fail("all features were there")
    again = build_features(samples, student, "mini-blip2", 4, tmp_path)
    assert np.array_equal(first.array, again.array)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["features.npy", "valid.npy"])
def test_features_cut_short_are_made_again(name, smoke_star, tmp_path):
    """numpy would fill them with zeros, and nobody would know."""
    samples = smoke_star[0]
    whole = np.array(build_features(samples, load_student("mini-blip2"), "mini-blip2", 4, tmp_path).array)
    (path,) = tmp_path.rglob(name)
    path.write_bytes(path.read_bytes()[:-100])
    again = build_features(samples, load_student("mini-blip2"), "mini-blip2", 4, tmp_path)
    assert np.array_equal(again.array, whole) and np.abs(whole).sum(axis=(1, 2, 3)).all()


def test_a_video_that_is_replaced_is_looked_at_again(smoke_star, tmp_path):
    """By another of the same size: a shorter one and an empty box to fill it up."""
    folder = Path(shutil.copytree(smoke_star[0].videos, tmp_path / "videos"))
    samples = Samples(smoke_star[0], folder)

    def build():
        return build_features(samples, load_student("mini-blip2"), "mini-blip2", 4, tmp_path / "features")

    before = np.array(build().array)
    used = sorted({folder / sample.video for sample in samples}, key=lambda path: path.stat().st_size)
    size, other = used[-1].stat().st_size, used[0].read_bytes()
    fill = size - len(other)
    used[-1].write_bytes(other + fill.to_bytes(4, "big") + b"free" + bytes(fill - 8))
    assert used[-1].stat().st_size == size
    again = build()
    changed = {clip[0] for clip, row in again.rows.items() if not np.array_equal(again.array[row], before[row])}
    assert changed == {used[-1].name} and not again.missing


@pytest.mark.slow
def test_an_interrupted_build_goes_on(smoke_star, tmp_path):
    """Killed in the second block: the first is kept, and all ends as without the interruption."""
    samples, student, calls = smoke_star[0], load_student("mini-blip2"), []
    whole, encode_frames = build_features(samples, student, "mini-blip2", 4, tmp_path / "a"), student.encode_frames
    assert len(whole.rows) > 8

    def interrupted(clips):
        calls.append(len(clips))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode_frames(clips)

    student.encode_frames = interrupted
    with pytest.raises(KeyboardInterrupt):
        build_features(samples, student, "mini-blip2", 4, tmp_path / "b")
    again = build_features(samples, student, "mini-blip2", 4, tmp_path / "b")
    assert sum(calls) == len(whole.rows) + calls[1] and np.array_equal(whole.array, again.array)


def test_features_that_do_not_fit_are_refused_before_anything_is_computed(smoke_star, tmp_path):
    message = r"clips x 1000000000 frames x 4 x 96 in float32\) need .* GB, but only .* are free .*Free some space"
    with pytest.raises(NoRoom, match=message):
        build_features(smoke_star[0], load_student("mini-blip2"), "mini-blip2", 10**9, tmp_path)
