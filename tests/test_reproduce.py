"""`reasvqa reproduce`: its plan, when notebooks are stale, its workers and its command line."""

import ast
import os
import signal
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from tqdm import tqdm

from reasvqa import paths
from reasvqa.companion import reproduce
from reasvqa.companion.claims import settings_of_claims
from reasvqa.companion.experiments import EXPERIMENTS, all_settings
from reasvqa.learning import Run, TrainConfig, run_key, train
from reasvqa.learning.training import train_all, train_quietly


def tiny(seed: int, **values) -> TrainConfig:
    return TrainConfig(dataset="smoke-star", reasoning="none", seed=seed, **values).resolve()


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_is_missing():
    plan = reproduce.make_plan("mini", [0, 1, 2], list(EXPERIMENTS))
    wanted = {*all_settings("mini", [0, 1, 2]), *settings_of_claims("mini", [0, 1, 2])}
    assert len(plan.settings) == len(wanted) and sum(plan.uses.values()) > len(plan.settings)
    assert f"{len(plan.settings)} are distinct; 0 are kept, 0 to train\n{len(wanted)} need videos" in str(plan)


@pytest.mark.parametrize("scale", ["mini", "smoke", "paper"])
def test_every_run_has_a_label_of_its_own(scale):
    settings = all_settings(scale, [0, 1, 2])
    assert len({config.label for config in settings}) == len(settings)


# --- stale notebooks --------------------------------------------------------------------------------------------------


def test_comments_docstrings_and_layout_do_not_count(tmp_path):
    code = 'def f(x):\n    """Add."""\n    return x + 1\n'
    same = "# new\n\ndef f( x ):\n    return (x + 1)  # one\n"
    dumps = []
    for name, text in (("a", code), ("b", same), ("c", code.replace("1", "2"))):
        (tmp_path / f"{name}.py").write_text(text)
        dumps.append(reproduce._code_without_comments(tmp_path / f"{name}.py"))
    assert dumps[0] == dumps[1] != dumps[2] and ast.parse(same)


# --- workers ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_runs_side_by_side_are_those_one_after_the_other(smoke_star, tmp_path):
    configs = [tiny(seed, questions=8) for seed in (111, 112, 111)]
    made = train_all(configs, jobs=2)
    assert [run.config for run in made] == configs
    for run, config in zip(made, configs[:2], strict=False):
        single = train(config, runs=tmp_path)
        assert single.path.name == run.path.name
        pd.testing.assert_frame_equal(single.predictions, run.predictions)


def test_workers_see_a_gpu_each(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    seen = []
    for _ in range(3):
        reproduce.take_gpu(["5", "7", "5"], str(tmp_path))
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert seen == ["5", "7", "5"]


@pytest.mark.slow
def test_runs_on_a_dask_cluster(smoke_star, tmp_path):
    """One of two workers is killed in mid-run, and one run is impossible: the other runs are those of this process."""
    from distributed import Client, LocalCluster

    configs = [tiny(seed, epochs=5) for seed in (201, 202)]
    bad = tiny(102, student="no-such-student")
    stores = [Path(f"{paths.runs() / run_key(config)}.partial") for config in configs]
    options = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with LocalCluster(**options, local_directory=str(tmp_path)) as cluster, Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
        assert len(set(pids)) == 2 and os.getpid() not in pids
        killed_in_mid_run: list[bool] = []

        def kill_one() -> None:
            deadline = time.time() + 600
            while time.time() < deadline and not any(list(store.glob("*/*/trainer_state.json")) for store in stores):
                time.sleep(0.01)
            killed_in_mid_run.append(any(store.exists() for store in stores))
            os.kill(pids[0], signal.SIGKILL)

        killer = threading.Thread(target=kill_one)
        killer.start()
        tasks = {c.label: (train_quietly, c) for c in (*configs, bad)}
        with tqdm(total=len(tasks), disable=True) as bar:
            errors = reproduce.run_all(tasks, client.get_executor(pure=False).submit, bar)
        killer.join()
    assert len(errors) == 3 and "no checkpoint at 'no-such-student'" in errors.pop(bad.label)
    assert errors == {config.label: "" for config in configs} and killed_in_mid_run == [True]
    again = train(configs[0], runs=tmp_path / "again")
    pd.testing.assert_frame_equal(again.predictions, Run(paths.runs() / again.path.name).predictions)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--scale huge", "invalid choice: 'huge'"),
        ("--only table11", "invalid choice: 'table11'"),
        ("--seeds 1 1", "different values"),
    ],
)
def test_a_wrong_command_line_says_what_is_possible(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        reproduce.main(arguments.split())
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_without_official_data_paper_scale_is_planned_and_says_what_is_missing(capsys):
    arguments = "--scale paper --only table1 --seeds 0"
    assert reproduce.main([*arguments.split(), "--plan"]) == 0
    planned = capsys.readouterr().out
    assert "4 to train" in planned and "10_table1_nextqa_star" in planned
    assert reproduce.main(arguments.split()) == 1
    assert "nextqa/train.csv: no such file" in capsys.readouterr().err
