"""Several runs at once, a process a core: a step of a small student is no faster on two threads than on one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm.auto import tqdm

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import load
from reasvqa.learning import records
from reasvqa.learning.features import dtype_of, features_of
from reasvqa.learning.key import run_key
from reasvqa.learning.runs import Run
from reasvqa.learning.store import DamagedRun
from reasvqa.learning.training import train
from reasvqa.processes import cores, end_with, ended
from reasvqa.students import load_student


def train_all(configs: Sequence[TrainConfig], *, force: bool = False, jobs: int | None = None) -> list[Run]:
    """The runs of several settings, in their order; those that are not kept are trained side by side.

    Args:
        configs: the settings; equal ones are trained once.
        force: train even what is kept.
        jobs: processes at a time; default: one per core, or one in all where there is a GPU.

    Raises:
        What `train` raises, after the other runs have ended; they are kept.
    """
    configs = [config.resolve() for config in configs]
    for dataset in {config.dataset for config in configs}:
        load(dataset, "train")  # a miniature is made on first use, once
    missing = [config for config in dict.fromkeys(configs) if force or not kept_run(config)]
    jobs = min(jobs or (1 if torch.cuda.is_available() else cores()), len(missing))
    if jobs > 1:
        prepare_features(missing)
        pool = ProcessPoolExecutor(jobs, get_context("spawn"), end_with, (os.getpid(),))
        with quiet_bars(), ended(pool) as executor:
            futures = [executor.submit(train_quietly, config, force) for config in missing]
            for _ in tqdm(as_completed(futures), desc="runs", total=len(futures), unit="run", disable=False):
                pass
        for future in futures:
            future.result()
    else:
        for config in missing:
            train(config, force=force)
    return [train(config) for config in configs]


def kept_run(config: TrainConfig, weights: bool = False) -> Run | None:
    """The run if it is there, with all of its files as they were written. Those that come with the repository are put
    into the store when one of them is first asked for; with `weights` they do not count."""
    path = paths.runs() / run_key(config)
    if not weights and not path.exists() and path.name in records.names(paths.records()):
        records.unpack(paths.records(), paths.runs())
    try:
        return Run(path) if path.exists() and (Run(path).check().has_weights or not weights) else None
    except DamagedRun:
        return None  # it is made again, which says what was wrong


def prepare_features(configs: Sequence[TrainConfig]) -> None:
    """What the frozen vision encoders of these runs make of their clips, once, before runs wait for each other."""
    seen = [config for config in configs if not config.blind]
    for config in {(c.student, c.dataset, c.num_frames, c.precision, c.split): c for c in seen}.values():
        student = load_student(config.student, dtype_of(config))
        for split in ("train", config.split):
            features_of(load(config.dataset, split), student, config)


def train_quietly(config: TrainConfig, force: bool = False, threads: int = 1) -> Path:
    """`train` in a worker: its messages would write over those of the others. Returns the run's folder."""
    torch.set_num_threads(threads)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        return train(config, force=force).path


@contextlib.contextmanager
def quiet_bars() -> Iterator[None]:
    """Processes started inside show no progress bars."""
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("TQDM_DISABLE") if before is None else os.environ.update(TQDM_DISABLE=before)
