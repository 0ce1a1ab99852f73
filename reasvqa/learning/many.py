"""Train several runs at once, one process per core: two threads make a step of a small student no faster."""

import os
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path

import torch
from tqdm.auto import tqdm

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import load
from reasvqa.learning import records
from reasvqa.learning.features import dtype_of, features_of
from reasvqa.learning.key import run_key, videos_seen_once
from reasvqa.learning.runs import DamagedRun, Run
from reasvqa.learning.training import train
from reasvqa.processes import Workers, cores, finish_all, result_of
from reasvqa.students import load_student


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
