import os
import shutil
import tempfile
from pathlib import Path

# A data root of the tests' own, before anything of the library asks for one; kernels and other processes inherit it.
_ROOT = tempfile.mkdtemp(prefix="reasvqa-tests-")
os.environ["REASVQA_DATA"] = _ROOT

import pytest

from reasvqa import paths
from reasvqa.datasets import load

SHARED = paths.CHECKOUT.parent / "shared" / "data"


def pytest_sessionfinish(session, exitstatus):
    shutil.rmtree(_ROOT, ignore_errors=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real annotations, predictions and clips, where they lie beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the real data (../shared/data) is not here")
    return SHARED


@pytest.fixture(scope="session")
def smoke_star():
    """A handful of the miniature's questions, with their videos: (train, test) samples."""
    return load("smoke-star", "train"), load("smoke-star", "test")


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    """A folder with one good video and several that cannot be read."""
    import numpy as np

    from reasvqa.mini.render import write_video
    from reasvqa.mini.world import make_story

    folder = tmp_path_factory.mktemp("videos")
    write_video(make_story(np.random.default_rng(0), "good", before=1, after=1), folder / "good.mp4")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_bytes(b"this is not a video\n" * 200)
    whole = (folder / "good.mp4").read_bytes()
    (folder / "torn.mp4").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture
def assert_same_loss_and_gradients():
    """(student, losses): each loss, with its own graph, has the same value and the same gradient in every trained parameter."""
    import torch

    def check(student, losses) -> None:
        found = []
        for loss in losses:
            student.zero_grad()
            loss.backward()
            found.append(
                {"loss": loss.detach()}
                | {name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None}
            )
        for other in found[1:]:
            assert other.keys() == found[0].keys() and len(other) > 40
            for name, value in other.items():
                torch.testing.assert_close(value, found[0][name], atol=1e-5, rtol=1e-4, msg=name)

    return check
