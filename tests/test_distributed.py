"""Several processes on one run, over gloo on the CPU: the same loss and the same answers as one process has."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
from safetensors.torch import load_file

from reasvqa import paths
from reasvqa.learning import Run, TrainConfig, train

SCRIPT = """
import sys
from pathlib import Path
from reasvqa.learning import TrainConfig, train
for settings in eval(sys.argv[2]):
    train(TrainConfig(**settings), runs=Path(sys.argv[1]))
"""
# 16 questions in batches of 8: reasoning on some of them only, so that the processes' shares of target tokens differ.
SETTINGS = dict(dataset="smoke-star", subset="cr", questions=16, epochs=4, seed=7)
DECODER_ONLY = SETTINGS | {"student": "mini-llava-ov-small", "epochs": 2}


def start(store: Path, *settings: dict) -> subprocess.Popen:
    """The runs in two processes, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    command = [*launch, "--no-python", sys.executable, "-c", SCRIPT, str(store), repr(settings)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen, store: Path) -> list[Run]:
    """The runs that are made, by name."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    return [Run(path.parent) for path in sorted(store.glob("smoke-star-*/meta.json"))]


def assert_two_are_one(one: Run, two: Run) -> None:
    assert two.path.name == one.path.name, "the number of processes does not make another run"
    columns = ["step", "loss", "answer_loss", "reasoning_loss"]
    pd.testing.assert_frame_equal(one.history[columns], two.history[columns], atol=2e-4, rtol=0)
    assert list(one.predictions["id"]) == list(two.predictions["id"])
    assert (one.predictions["prediction"] == two.predictions["prediction"]).mean() > 0.95
    assert (one.meta["processes"], two.meta["processes"]) == (1, 2)
    weights = [load_file(run.file("weights.safetensors")) for run in (one, two)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=5e-4, rtol=1e-2, msg=name)


@pytest.mark.slow
def test_two_processes_are_one_and_continue_after_a_kill(smoke_star, tmp_path):
    """Both are killed after the first checkpoint; the next start ends with the undisturbed weights, bit for bit."""
    two, decoder_only = finish(start(tmp_path / "two", SETTINGS, DECODER_ONLY), tmp_path / "two")
    assert_two_are_one(train(TrainConfig(**SETTINGS), runs=tmp_path / "one"), two)
    assert_two_are_one(train(TrainConfig(**DECODER_ONLY), runs=tmp_path / "one"), decoder_only)
    process = start(store := tmp_path / "killed", SETTINGS)
    deadline = time.time() + 200
    while not checkpoints(store) and time.time() < deadline and process.poll() is None:
        time.sleep(0.01)
    everybody = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in everybody:
        one.send_signal(signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(everybody, timeout=30)
    assert checkpoints(store) and not list(store.glob("smoke-star-*/meta.json"))
    (again,) = finish(start(store, SETTINGS), store)
    assert again.file("weights.safetensors").read_bytes() == two.file("weights.safetensors").read_bytes()


def checkpoints(store: Path) -> list[Path]:
    return list(store.glob("*.partial/checkpoints/*/trainer_state.json"))


def test_a_batch_that_cannot_be_shared_is_refused(smoke_star, tmp_path, monkeypatch):
    from accelerate import PartialState

    from reasvqa.learning.trainer import fit

    state = PartialState(cpu=True)
    monkeypatch.setattr(state, "num_processes", 3)
    config = TrainConfig(dataset="smoke-star").resolve()
    with pytest.raises(ValueError, match="batch_size=8: 3 processes cannot divide it evenly"):
        fit(config, paths.dataset("smoke-star"), tmp_path / "run", state)
