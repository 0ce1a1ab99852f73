from pathlib import Path

import pytest

from reasvqa.datasets import DATA, load

SHARED = DATA.parents[1] / "shared" / "data"


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
