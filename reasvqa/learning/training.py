"""Train a student by Eq. 1 or Eq. 2 (phase 3, LR). A run is kept under its key; an interrupted run continues."""

import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import PartialState

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import load
from reasvqa.files import locked, swap_in
from reasvqa.learning.key import run_key
from reasvqa.learning.runs import WEIGHTS, Run, problem_with


class Diverged(RuntimeError):
    """A loss or weight that became NaN or infinite. The message names the step and what to change."""


def train(config: TrainConfig, *, force: bool = False, runs: Path | None = None, root: Path | None = None) -> Run:
    """Train a student as `config` says, evaluate it, keep the run and return it; a kept run is only returned.

    Processes started by `torchrun` or `accelerate launch` share each batch and the evaluation, one GPU each.

    Args:
        config: the settings.
        force: train even if the run is kept; the new run replaces it when it is finished. A damaged run is always
            remade.
        runs: the run store; default: the data root's.
        root: the data set's folder; default: the one of its name under the data root, where a miniature is made on
            first use.

    Raises:
        ValueError: a setting is out of range.
        DataError, ReasoningError, MissingVideos, Diverged: see their docstrings.
    """
    config = config.resolve()
    if root is None:
        load(config.dataset, "train")  # makes a missing miniature
        root = paths.dataset(config.dataset)
    path = (runs or paths.runs()) / run_key(config, root)
    state = PartialState(cpu=not torch.cuda.is_available())
    if state.num_processes == 1 and not force and not problem_with(path):
        return Run(path)  # without a lock: the store may be read-only
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(f"{path}.partial")
    with locked(Path(f"{path}.lock")) if state.is_main_process else nullcontext():
        if state.is_main_process:
            damage = problem_with(path) if path.exists() else None
            if damage:
                print(damage)
            if force or damage:
                shutil.rmtree(partial, ignore_errors=True)
            elif not path.exists() and not problem_with(partial):
                swap_in(partial, path)  # the process was killed just before this step
        state.wait_for_everyone()  # so that all see the same store
        if force or problem_with(path):
            from reasvqa.learning.trainer import fit  # with it come transformers' models, in about 8 seconds

            try:
                fit(config, root, partial, state)
            except Diverged:
                shutil.rmtree(partial, ignore_errors=True)  # its checkpoints would diverge again
                raise
            if state.is_main_process:
                before = None if problem_with(path) else Run(path).meta.get("left_out")
                swap_in(partial, path)
                if before and before != Run(path).meta["files"][WEIGHTS]:  # standard output is discarded in workers
                    warning = "the weights differ from those of the run that came with the repository"
                    print(f"{path.name}: {warning} (another processor?)", file=sys.stderr)
            state.wait_for_everyone()
    return Run(path)
