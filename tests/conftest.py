"""A data root of the tests' own, for this process and all that it starts; and a look, at the end, at what was left.

The suite runs in two processes (pytest-xdist), each with a data root; the miniature's smoke data are made once.
"""

import contextlib
import gc
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

# Before anything of the library is imported.
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER is None:
    os.environ["REASVQA_TESTS"] = tempfile.mkdtemp(prefix="reasvqa-tests-")
BASE = Path(os.environ["REASVQA_TESTS"])
ROOT = BASE / (WORKER or "alone")
for _name in ("smoke-star", "smoke-nextqa", "smoke-intentqa"):
    (BASE / "made" / _name).mkdir(parents=True, exist_ok=True)
    ROOT.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):  # where links are not allowed, each process makes its own
        (ROOT / _name).symlink_to(BASE / "made" / _name)
os.environ |= {
    "REASVQA_DATA": str(ROOT),
    "IPYTHONDIR": str(BASE / "ipython"),
    "JUPYTER_RUNTIME_DIR": str(BASE / "jupyter"),
    "HF_HUB_OFFLINE": "1",  # a mistyped name must not wait for a network
    "OMP_NUM_THREADS": "1",  # a process a core
}

import hypothesis
import psutil
import pytest

from reasvqa.datasets import load

hypothesis.settings.register_profile("suite", max_examples=50, deadline=None)
hypothesis.settings.load_profile("suite")

CHECKOUT = Path(__file__).parents[1]
SHARED = CHECKOUT.parent / "shared" / "data"


def changes() -> str | None:
    """What git has to say about the checkout; None where there is no git."""
    try:
        done = subprocess.run(["git", "status", "--porcelain"], cwd=CHECKOUT, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def orphans() -> list[psutil.Process]:
    """Processes that a test started, and that have outlived their parents."""
    own = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in own and process.environ().get("REASVQA_TESTS") == str(BASE):
                found.append(process)
        except psutil.Error:
            pass
    return found


# The files that take longest, in this order: a process runs a whole file (pytest-xdist, loadfile).
LONGEST = tuple(f"test_{name}" for name in "tables notebooks distributed reproduce mini generators runs".split())


def pytest_collection_modifyitems(items):
    """Start with the files that take longest."""
    items.sort(key=lambda item: (*LONGEST, item.path.stem).index(item.path.stem))


def pytest_collection_finish():
    """Let the garbage collector, which the trainer calls in every run, pass over all that was imported."""
    gc.collect()
    gc.freeze()


def pytest_sessionstart(session):
    session.config.changes = changes()


def pytest_sessionfinish(session, exitstatus):
    """The suite fails if it changed the checkout or left a process."""
    if WORKER is not None:
        return
    deadline = time.time() + 20
    while (left := orphans()) and time.time() < deadline:
        time.sleep(0.5)
    problems = [f"a process was left: {' '.join(process.cmdline())[:200]}" for process in left if process.is_running()]
    if changes() != session.config.changes:
        problems.append(f"the checkout has changed; git status says\n{changes()}")
    for process in left:
        process.kill()
    shutil.rmtree(BASE, ignore_errors=True)
    if problems:
        print("\n" + "\n".join(problems))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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
    """(student, losses): each loss, with its own graph, has the same value and gradient in every trained parameter."""
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
