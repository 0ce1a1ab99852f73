"""`python -m reasvqa.companion.reproduce`: its plan, its workers, which may die, and its command line."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pandas as pd
import pytest
import torch
from tqdm import tqdm

from reasvqa import paths
from reasvqa.companion import reproduce
from reasvqa.companion.claims import settings_of_claims
from reasvqa.companion.experiments import EXPERIMENTS, all_settings
from reasvqa.learning import Run, TrainConfig, run_key, train
from reasvqa.learning.many import train_all


def tiny(seed: int, **values) -> TrainConfig:
    return TrainConfig(dataset="smoke-star", reasoning="none", seed=seed, **values).resolve()


def run_all(tasks: dict, make_executor) -> dict[str, str]:
    """What went wrong with each of the tasks."""
    with tqdm(total=len(tasks), disable=True) as bar:
        outcomes = reproduce.run_all(tasks, make_executor, bar)
    assert len(outcomes) == len(tasks)
    return {outcome.name: outcome.error for outcome in outcomes}


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_is_missing():
    plan = reproduce.make_plan("mini", [0, 1, 2], list(EXPERIMENTS))
    wanted = {*all_settings("mini", [0, 1, 2]), *settings_of_claims("mini", [0, 1, 2])}
    assert len(plan.settings) == len(wanted) and sum(plan.uses.values()) > len(plan.settings)
    assert f"{len(plan.settings)} are distinct" in str(plan)


@pytest.mark.parametrize("scale", ["mini", "smoke", "paper"])
def test_every_run_has_a_label_of_its_own(scale):
    settings = all_settings(scale, [0, 1, 2])
    assert len({config.label for config in settings}) == len(settings)


# --- workers ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_failures_are_reported_and_do_not_stop_the_rest(smoke_star):
    """One impossible run beside a possible one, in a process of their own."""
    good, bad = tiny(101, questions=8), tiny(102, student="no-such-student")
    errors = run_all({c.label: (reproduce.train_one, c, 1) for c in (good, bad)}, reproduce.local_executor(1))
    assert errors[good.label] == "" and "no checkpoint at 'no-such-student'" in errors[bad.label]
    assert Run(paths.runs() / run_key(good)).check()


@pytest.mark.slow
def test_runs_side_by_side_are_those_one_after_the_other(smoke_star, tmp_path):
    configs = [tiny(seed, questions=8) for seed in (111, 112, 111)]
    made = train_all(configs, jobs=2)
    assert [run.config for run in made] == configs
    for run, config in zip(made, configs[:2], strict=False):
        alone = train(config, runs=tmp_path)
        assert alone.path.name == run.path.name
        pd.testing.assert_frame_equal(alone.predictions, run.predictions)


def die_once(path: str) -> reproduce.Outcome:
    """The first to come kills its process, as an out-of-memory killer would."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return reproduce.Outcome(path)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_worker_costs_an_attempt(tmp_path):
    tasks = {str(i): (die_once, str(tmp_path / "flag")) for i in range(4)}
    assert not any(run_all(tasks, reproduce.local_executor(1)).values()) and (tmp_path / "flag").exists()


class Dying(Executor):
    """Every worker dies at once."""

    def submit(self, *_, **__):
        future: Future = Future()
        future.set_exception(BrokenProcessPool())
        return future


class Broken(Executor):
    """Refuses, as a pool whose worker has died does while it is handed its tasks."""

    def submit(self, *_, **__):
        raise BrokenProcessPool


def test_a_task_whose_workers_always_die_is_given_up():
    pools = []
    errors = run_all({"always": (print,)}, lambda: pools.append(Dying()) or pools[-1])
    assert errors == {"always": "its worker died 3 times"} and len(pools) == 3


def test_a_pool_that_breaks_while_it_is_handed_its_tasks(tmp_path):
    """The next pools do the work."""
    pools = [Broken(), ThreadPoolExecutor(1), ThreadPoolExecutor(1)]
    (tmp_path / "flag").touch()
    tasks = {str(i): (die_once, str(tmp_path / "flag")) for i in range(2)}
    assert not any(run_all(tasks, lambda: pools.pop(0)).values()) and not pools


class Fragile(Executor):
    """Does each task at once, until one kills the worker and all that wait with it."""

    def __init__(self):
        self.broken = False

    def submit(self, function, *arguments, **_):
        future: Future = Future()
        self.broken |= function is os.kill
        if self.broken:
            future.set_exception(BrokenProcessPool())
        else:
            future.set_result(function(*arguments))
        return future


def test_only_who_kills_its_worker_is_given_up():
    tasks = {str(i): (reproduce.Outcome, str(i)) for i in range(9)}
    tasks["3"] = (os.kill,)
    errors = run_all(tasks, Fragile)
    assert errors == dict.fromkeys(tasks, "") | {"3": "its worker died 3 times"}


# Six tasks on two workers; each says that it begins.
SLEEPERS = """
import sys, time
from tqdm import tqdm
from reasvqa.companion.reproduce import Outcome, local_executor, run_all

def sleep(name):
    print(name, flush=True)
    time.sleep(3)
    return Outcome(name)

if __name__ == "__main__":
    run_all({name: (sleep, name) for name in "abcdef"}, local_executor(2), tqdm(disable=True), 2)
"""


@pytest.mark.slow
def test_one_interrupt_ends_it(tmp_path):
    """As Ctrl-C in a terminal, which all processes hear: nothing new is begun."""
    (tmp_path / "sleepers.py").write_text(SLEEPERS)
    command = [sys.executable, str(tmp_path / "sleepers.py")]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that a shell runs in the background are deaf to Ctrl-C, and so would their children be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    begun = process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    rest, error = process.communicate(timeout=60)
    assert process.returncode and "KeyboardInterrupt" in error and len(begun.split() + rest.split()) <= 2


@pytest.mark.parametrize(("visible", "expected"), [(None, ["0", "1"]), ("5,7", ["5", "7"])])
def test_every_worker_sees_one_gpu(monkeypatch, visible, expected):
    """What a pool does first in each of its processes, done here twice."""
    made = {}
    monkeypatch.setattr(reproduce, "ProcessPoolExecutor", lambda jobs, **options: made.update(options, jobs=jobs))
    monkeypatch.setattr(reproduce, "end_with", lambda parent: made.update(parent=parent))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    reproduce.local_executor(2)()
    seen = []
    for _ in range(made["jobs"]):
        made["initializer"](*made["initargs"])
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert seen == expected and made["parent"] == os.getpid()


@pytest.mark.slow
def test_runs_on_a_dask_cluster(smoke_star, tmp_path):
    """Two real worker processes; one is killed in mid-run. Nothing is lost, and the runs are those of this process."""
    from distributed import Client, LocalCluster

    configs = [tiny(seed, epochs=8) for seed in (201, 202)]
    stores = [Path(f"{paths.runs() / run_key(config)}.partial") for config in configs]
    options = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with LocalCluster(**options, local_directory=str(tmp_path)) as cluster, Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
        assert len(set(pids)) == 2 and os.getpid() not in pids

        killed_in_mid_run: list[bool] = []

        def kill_one() -> None:
            deadline = time.time() + 120
            while time.time() < deadline and not any(list(store.glob("*/*/trainer_state.json")) for store in stores):
                time.sleep(0.01)
            killed_in_mid_run.append(any(store.exists() for store in stores))
            os.kill(pids[0], signal.SIGKILL)

        killer = threading.Thread(target=kill_one)
        killer.start()
        tasks = {c.label: (reproduce.train_one, c, 1) for c in configs}
        errors = run_all(tasks, lambda: client.get_executor(pure=False))
        killer.join()
    assert errors == dict.fromkeys(tasks, "") and killed_in_mid_run == [True]
    again = train(configs[0], runs=tmp_path / "again")
    pd.testing.assert_frame_equal(again.predictions, Run(paths.runs() / again.path.name).predictions)


# --- the command ------------------------------------------------------------------------------------------------------


def command(monkeypatch, arguments: str) -> int | str | None:
    """The exit status of `python -m reasvqa.companion.reproduce`, here in this process."""
    monkeypatch.setattr(sys, "argv", ["reproduce", *arguments.split()])
    try:
        return reproduce.main()
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--scale huge", "invalid choice: 'huge'"),
        ("--only table11", "invalid choice: 'table11'"),
        ("--seeds 1 1", "different whole numbers"),
    ],
)
def test_a_wrong_command_line_says_what_is_possible(arguments, message, monkeypatch, capsys):
    assert command(monkeypatch, arguments) == 2 and message in capsys.readouterr().err


def test_without_official_data_paper_scale_is_planned_and_says_what_is_missing(monkeypatch, capsys):
    arguments = "--scale paper --only table1 --seeds 0"
    assert command(monkeypatch, f"{arguments} --plan") == 0
    planned = capsys.readouterr().out
    assert "4 to train" in planned and "10_table1_nextqa_star" in planned
    assert command(monkeypatch, arguments) == 1
    assert "nextqa/train.csv: no such file" in capsys.readouterr().err
