"""Several processes on one run, over gloo on the CPU: the same loss and the same answers as one process with the same batch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch

from reasvqa.learning import TrainConfig, train
from reasvqa.learning.runs import run_key

SCRIPT = """
import sys
import time
from pathlib import Path
from pathlib import Path
from reasvqa.learning import TrainConfig, train
train(TrainConfig(**eval(sys.argv[2])), runs=Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("student", ["mini-blip2", "mini-llava-ov-small"])
def test_two_processes_are_one(tmp_path, student):
    """16 questions in batches of 8: reasoning on some of them only, so that the processes' shares of target tokens differ."""
    settings = dict(dataset="smoke-star", student=student, subset="cr", questions=16, epochs=2, seed=7)
    one = train(TrainConfig(**settings), runs=tmp_path / "one")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "29513",
        "--no-python",
        sys.executable,
        "-c",
        SCRIPT,
    ]
    result = subprocess.run(
        [*command, str(tmp_path / "two"), repr(settings)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    (path,) = (tmp_path / "two").glob("smoke-star-*/config.json")
    assert path.parent.name == one.path.name, "the number of processes does not make another run"
    two = type(one)(path.parent)
    columns = ["step", "loss", "answer_loss", "reasoning_loss"]
    pd.testing.assert_frame_equal(one.history[columns], two.history[columns], atol=2e-4, rtol=0)
    assert list(one.predictions["id"]) == list(two.predictions["id"])
    assert (one.predictions["prediction"] == two.predictions["prediction"]).mean() > 0.95
    assert '"processes": 2' in (two.path / "meta.json").read_text()
    from safetensors.torch import load_file

    for name, value in load_file(one.path / "weights.safetensors").items():
        torch.testing.assert_close(
            load_file(two.path / "weights.safetensors")[name], value, atol=5e-4, rtol=1e-2, msg=name
        )


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path, monkeypatch):
    from accelerate import PartialState

    from reasvqa.learning.training import _train

    state = PartialState(cpu=True)
    monkeypatch.setattr(state, "num_processes", 3)
    config = TrainConfig(dataset="smoke-star").resolve()
    with pytest.raises(ValueError, match="batch_size=8: 3 processes cannot share it evenly"):
        _train(config, tmp_path, tmp_path / run_key(config, tmp_path), state)


@pytest.mark.slow
def test_two_killed_processes_continue_to_the_same_result(tmp_path):
    """Both are killed after the first checkpoint; the second start ends with the weights of an undisturbed run, bit for bit."""
    settings = dict(dataset="smoke-star", questions=16, epochs=10, seed=3)
    start = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "29514",
        "--no-python",
        sys.executable,
        "-c",
        SCRIPT,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def weights(folder: Path) -> bytes:
        (path,) = folder.glob("smoke-star-*/weights.safetensors")
        return path.read_bytes()

    subprocess.run(
        [*start, str(tmp_path / "a"), repr(settings)], check=True, capture_output=True, timeout=300, env=environment
    )
    process = subprocess.Popen(
        [*start, str(tmp_path / "b"), repr(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    deadline = time.time() + 200
    while (
        not list((tmp_path / "b").glob("*.partial/checkpoints/*/complete"))
        and time.time() < deadline
        and process.poll() is None
    ):
        time.sleep(0.01)
    everybody = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in everybody:
        one.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(everybody, timeout=30)
    assert list((tmp_path / "b").glob("*.partial/checkpoints/*/complete")) and not list(
        (tmp_path / "b").glob("smoke-star-*/weights.safetensors")
    )
    subprocess.run(
        [*start, str(tmp_path / "b"), repr(settings)], check=True, capture_output=True, timeout=300, env=environment
    )
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
