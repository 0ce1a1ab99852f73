"""Train students by Eq. 1 or Eq. 2 (phase 3, LR). A run is kept under its key; an interrupted run continues.

Several runs train side by side, one process per core: two threads make a step of a small student no faster.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from pathlib import Path

import torch
from accelerate import PartialState
from tqdm.auto import tqdm

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import load
from reasvqa.files import locked, swap_in
from reasvqa.learning import records
from reasvqa.learning.features import dtype_of, features_of
from reasvqa.learning.key import run_key, videos_seen_once
from reasvqa.learning.runs import WEIGHTS, DamagedRun, Run, problem_with
from reasvqa.processes import Workers, cores, finish_all, result_of
from reasvqa.students import load_student


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
    root = Path(root)
    path = Path(runs or paths.runs()) / run_key(config, root)
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


def train_all(configs: Sequence[TrainConfig], *, force: bool = False, jobs: int | None = None) -> list[Run]:
    """Return the runs of several settings, in the same order; train the missing ones side by side.

    Args:
        configs: the settings; equal settings are trained once.
        force: train all runs, even if they are kept.
        jobs: processes at a time; default: one per core, or one in all if there is a GPU.

    Raises:
        What `train` raises, or `WorkerLost`, after the other runs have ended; these are kept.
    """
    configs = [config.resolve() for config in configs]
    for dataset in {config.dataset for config in configs}:
        load(dataset, "train")  # a miniature is made on first use, once
    with videos_seen_once():
        missing = [config for config in dict.fromkeys(configs) if force or not kept_run(config)]
    jobs = min(jobs or (1 if torch.cuda.is_available() else cores()), len(missing))
    if jobs > 1:
        prepare_features(missing)
        missing.sort(key=lambda config: -config.epochs * (2 if config.objective == "mtl" else 1))  # longest first
        tasks = {config: (train_quietly, config, force) for config in missing}
        with Workers(jobs, TQDM_DISABLE="1") as workers:
            finished = finish_all(workers.submit, tasks)
            outcomes = list(tqdm(finished, desc="runs", total=len(tasks), unit="run", disable=False))
        for _, outcome in outcomes:
            result_of(outcome)
    elif force:
        for config in missing:
            train(config, force=True)
    return [train(config) for config in configs]


def kept_run(config: TrainConfig, weights: bool = False) -> Run | None:
    """Return the intact run of these settings, or None. Runs that come with the repository are unpacked at first use.
    They have no weights, so they do not count if `weights` is True."""
    run = Run(paths.runs() / run_key(config))
    if not weights and not run.path.exists() and run.path.name in records.names(paths.records()):
        records.unpack(paths.records(), paths.runs())
    with suppress(DamagedRun):  # training it again reports the damage
        return run if run.check().has_weights or not weights else None


def prepare_features(configs: Sequence[TrainConfig]) -> None:
    """Encode the clips of these runs in advance, because runs side by side would wait for each other."""
    for config in {(c.student, c.dataset, c.num_frames, c.precision, c.split, c.blind): c for c in configs}.values():
        if not config.blind:
            student = load_student(config.student, dtype_of(config))
            for split in ("train", config.split):
                features_of(load(config.dataset, split), student, config)


def train_quietly(config: TrainConfig, force: bool = False, threads: int = 1) -> Path:
    """Train in a worker and return the run's folder. Print nothing: messages would mix with those of other workers."""
    torch.set_num_threads(threads)
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        return train(config, force=force).path
