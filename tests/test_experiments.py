"""The lists of settings, the claims drawn from them, the tables, and reproducing it all."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from reasvqa import paper, paths, reproduce
from reasvqa.learning import Run, TrainConfig
from reasvqa.paper.claims import CLAIMS, Claim
from reasvqa.paper.experiments import EXPERIMENTS, all_settings, settings_of
from reasvqa.report import results, saving, tables

# --- settings ---------------------------------------------------------------------------------------------------------


def test_equal_settings_are_one_run():
    """The paper's own identities: beta = 0 is STL_QA, beta = 0.5 with all refined reasoning is MTL_All, and so on."""
    of = {name: settings_of(name, "mini", [0]) for name in EXPERIMENTS}
    assert (
        of["figure4"]["star", "0.0"]
        == of["table5"]["star", "STL_QA"]
        == of["table8"]["star", "w/o. Reasoning"]
        == of["table9"]["star", "QA only"]
    )
    assert (
        of["figure4"]["star", "0.5"]
        == of["table5"]["star", "MTL_All"]
        == of["figure3"]["star", "Refined, All"]
        == of["table8"]["star", "ReasVQA (3B)"]
    )
    assert of["table5"]["nextqa", "MTL_CR"] == of["figure3"]["nextqa", "Refined, CR"]
    assert (
        of["table1"]["nextqa", "ReasVQA"]
        == of["table3"]["nextqa", "BLIP-FlanT5(3B) w. ReasVQA"]
        == of["table6"]["nextqa", "BLIP-FlanT5 (w. ReasVQA)"]
    )
    assert of["strength"]["star", "Refined, sim-26b"] == of["table9"]["star", "w. Reasoning"]
    assert of["table10"]["nextqa", "Refined, All"] != of["table5"]["nextqa", "MTL_All"]  # another generator
    once = all_settings("mini", [0])
    assert len(once) == len(set(once)) < sum(len(settings) for settings in of.values())


def test_the_papers_settings_at_paper_scale():

    for (_, row), (config,) in settings_of("table3", "paper", [0]).items():
        assert (config.learning_rate, config.batch_size, config.epochs, config.num_frames) == (3e-5, 8, 10, 4)
        assert (
            config.student
            == {
                "BLIP-FlanT5(3B)": "blip2-flan-t5-xl",
                "LLaVA-OV(0.5B)": "llava-ov-0.5b",
                "LLaVA-OV(7B)": "llava-ov-7b",
            }[row.split(" ")[0]]
        )
    assert settings_of("table10", "paper", [0])["nextqa", "Refined, All"][0].generator == "internvl-4b"
    assert all("sim-" not in row for _, row in settings_of("strength", "paper", [0]))


def test_deciding_rows_get_five_seeds():
    settings = settings_of("table5", "mini", [0, 1, 2])
    assert [c.seed for c in settings["star", "MTL_All"]] == [0, 1, 2, 3, 4] and [
        c.seed for c in settings["star", "MTL_CR"]
    ] == [0, 1, 2]
    assert len(settings_of("table5", "smoke", [7])["star", "MTL_All"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table5", "large", [0]), "scale: 'large' is not among mini, smoke, paper"),
        (("table55", "mini", [0]), "experiment: 'table55' is not among table1"),
        (("figure4", "mini", [0, 0]), "give a list of different whole numbers"),
        (("figure4", "mini", [0], ["intentqa"]), "datasets: 'intentqa' is not among nextqa, star"),
        (("figure4", "mini", [0], None, ["0.55"]), "rows: '0.55' is not among 0.0, 0.1"),
    ],
)
def test_wrong_names_say_what_is_possible(arguments, message):
    with pytest.raises(ValueError, match=message):
        settings_of(*arguments)


def test_every_notebook_of_the_paper_is_there():
    names = {path.stem for path in (paths.notebooks()).glob("*.ipynb")}
    assert {what.notebook for what in EXPERIMENTS.values()} <= names
    assert {name for name in names if 10 <= int(name[:2]) < 40} == {what.notebook for what in EXPERIMENTS.values()}


# --- claims -----------------------------------------------------------------------------------------------------------


def test_claims_name_rows_that_exist_and_numbers_that_are_printed():
    for claim in CLAIMS:
        for name in claim.weights:
            experiment, row = name.split("/", 1)
            assert experiment == "table4" or set(claim.datasets) <= {
                d for d, r in settings_of(experiment, "mini", [0]) if r == row
            }, name
        for place in claim.printed or {}:
            assert np.isfinite(results._printed(*place))
        assert abs(sum(claim.weights.values())) < 1e-9, "a contrast sums to zero, or the effect depends on the level"
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)


def test_the_papers_effects_from_its_own_tables():
    """By hand from the printed tables."""
    effects = {c.id: sum(w * results._printed(*place) for place, w in c.printed.items()) for c in CLAIMS if c.printed}
    assert effects["mtl"] == pytest.approx((76.8 + 73.2 + 77.0 - 75.4 - 71.0 - 73.3) / 3)
    assert effects["stl-all"] == pytest.approx((75.4 + 71.0 + 73.3 - 73.3 - 70.6 - 70.8) / 3)
    assert effects["lora"] == pytest.approx(74.5 - 68.3) and effects["captions"] == pytest.approx(73.2 - 71.7)
    assert effects["refined-4b"] == pytest.approx(
        ((75.9 + 76.2 + 76.5 + 76.3 + 76.3 + 76.4) - (75.0 + 75.9 + 75.5 + 75.0 + 75.7 + 75.7)) / 6
    )


def fake_outcomes(monkeypatch, right: dict[str, float], seeds=3, questions=2000):
    """Students that answer at random with the given chances, instead of runs."""
    rng = np.random.default_rng(0)

    def correct(name, dataset, split, scale, _):
        return (rng.random((seeds, questions)) < right[name]).astype(float)

    monkeypatch.setattr(results, "_correct", correct)


def test_a_contrast_finds_what_is_there(monkeypatch):
    claim = Claim("x", "", "", {"t/a": 1, "t/b": -0.5, "t/c": -0.5}, datasets=("star", "nextqa"))
    fake_outcomes(monkeypatch, {"t/a": 0.7, "t/b": 0.6, "t/c": 0.4})
    result = results.test(claim, "mini", [0, 1, 2])
    assert result["low"] < 20 < result["high"] and result["high"] - result["low"] < 6 and result["p"] < 1e-6
    assert (result["seeds"], result["questions"]) == (3, 4000)
    fake_outcomes(monkeypatch, {"t/a": 0.5, "t/b": 0.5, "t/c": 0.5})
    result = results.test(claim, "mini", [0, 1, 2])
    assert result["low"] < 0 < result["high"]


def test_verdicts_are_corrected_for_many_claims(monkeypatch):
    """Holm by hand: of p = 0.01, 0.02, 0.04 with three claims, 0.03, 0.04, 0.04 remain; a control keeps its own."""
    made = [Claim(name, "", "", {}, control=name == "d") for name in "abcd"]
    values = {"a": (2.0, 0.01), "b": (-2.0, 0.02), "c": (1.0, 0.04), "d": (1.0, 0.04)}
    monkeypatch.setattr(results, "CLAIMS", made)
    monkeypatch.setattr(
        results,
        "test",
        lambda claim, *_: {
            "claim": claim.id,
            "effect": values[claim.id][0],
            "p": values[claim.id][1],
            "control": claim.beyond,
        },
    )
    table = results.ledger("mini", [0]).set_index("claim")
    assert table["p_corrected"].tolist() == pytest.approx([0.03, 0.04, 0.04, 0.04])
    assert table["verdict"].tolist() == ["reproduced", "not reproduced", "reproduced", "reproduced"]
    assert results.ledger("mini", [0], level=0.035)["verdict"].tolist() == ["reproduced", *["inconclusive"] * 3]


# --- the paper's numbers ----------------------------------------------------------------------------------------------


def test_what_the_paper_prints_and_what_follows():
    """The contradictions that were found by reading, found again by computing."""
    checks = paper.checks()
    odd = checks[~checks["agrees"]]
    found = " | ".join(odd["where"] + ": " + odd["what"])
    for known in (
        "Tables 3 and 5: BLIP-FlanT5, answers only, NExT-QA",
        "Tables 3 and 5: BLIP-FlanT5, answers only, IntentQA",
        "Tables 4 and 9: InternVL(26B) on STAR",
        "STAR: gain over the best other FlanT5-3B model",
        "Table 6: Temporal[ATP]",
        "STAR: ViLA has 3 of 5 values of SeViLA",
        "more substantial impact",
        "3.2% improvement",
    ):
        assert known in found, known
    assert len(odd) == 14 and checks[checks["kind"] == "average"]["agrees"].all()
    assert not set(odd["kind"]) & {"average"}


# --- tables -----------------------------------------------------------------------------------------------------------


def test_tables_are_exported_for_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr("reasvqa.figures.FIGURES", tmp_path)
    ours = pd.DataFrame({"NExT-QA": [50.123], "Avg": [50.0]}, index=["MTL_All"])
    whole = tables.beside(paper.table(5), ours, "mini")
    saving.save_table(whole, "t", "mini", caption="100 % of it")
    text = (tmp_path / "t.tex").read_text()
    assert (
        r"\toprule" in text
        and r"MTL\_All & 76.8 & 73.2 & 77.0 & 75.7" in text
        and r"MTL\_All & 50.1 & -- & -- & 50.0" in text
        and r"100 \% of it" in text
    )
    assert (
        pd.read_csv(tmp_path / "t.csv").shape == (6, 6)
        and json.loads((tmp_path / "t.json").read_text())["scale"] == "mini"
    )
    assert whole.index.get_level_values("source").unique().tolist() == ["paper, as printed", "ours, miniature"]
    assert "<script" not in tables.show(whole.rename(index={"MTL_All": "<script>"})).data


# --- reproduce --------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_is_missing(tmp_path, monkeypatch):
    plan = reproduce.make_plan("mini", [0, 1, 2], list(EXPERIMENTS))
    assert plan.distinct == len(all_settings("mini", [0, 1, 2])) and sum(plan.uses.values()) > plan.distinct
    assert f"{plan.distinct} are distinct" in str(plan)


@pytest.mark.parametrize("scale", ["mini", "smoke", "paper"])
def test_every_run_has_a_label_of_its_own(scale):
    settings = all_settings(scale, [0, 1, 2])
    assert len({reproduce.label(config) for config in settings}) == len(settings)


def tiny(seed: int) -> TrainConfig:
    return TrainConfig(dataset="smoke-star", objective="stl", reasoning="none", seed=seed).resolve()


@pytest.mark.slow
def test_failures_are_reported_and_do_not_stop_the_rest(capsys):
    """One impossible run among three; a second call has nothing to do but the failed one."""
    from tqdm import tqdm

    good, bad = tiny(101), replace(tiny(102), student="no-such-student")
    tasks = {reproduce.label(c): (reproduce.train_one, c, 1) for c in (good, bad)}
    with tqdm(total=2, disable=True) as bar:
        outcomes = reproduce.run_all(tasks, reproduce.local_executor(1), bar)
    errors = {outcome.name: outcome.error for outcome in outcomes}
    assert errors[reproduce.label(good)] == "" and "no checkpoint at 'no-such-student'" in errors[reproduce.label(bad)]
    assert max(o.memory for o in outcomes) > 100


def die_once(path: str, seconds: float) -> reproduce.Outcome:
    """The first to come kills its process, as an out-of-memory killer would."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        time.sleep(seconds)
        return reproduce.Outcome(path)
    os.kill(os.getpid(), signal.SIGKILL)


def die(path: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_costs_an_attempt(tmp_path):
    from tqdm import tqdm

    tasks = {str(i): (die_once, str(tmp_path / "flag"), 0.01) for i in range(4)}
    with tqdm(total=4, disable=True) as bar:
        outcomes = reproduce.run_all(tasks, reproduce.local_executor(1), bar)
    assert len(outcomes) == 4 and not any(o.error for o in outcomes)
    with tqdm(total=1, disable=True) as bar:
        (outcome,) = reproduce.run_all({"always": (die, "x")}, reproduce.local_executor(1), bar)
    assert outcome.error == "its worker died 3 times"


def test_a_pool_that_breaks_while_it_is_handed_its_tasks(tmp_path):
    """The first pool refuses, as one whose worker has died does; the next pool does the work."""
    from concurrent.futures import Executor, ThreadPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    from tqdm import tqdm

    class Broken(Executor):
        def submit(self, *_, **__):
            raise BrokenProcessPool

    pools = [Broken(), ThreadPoolExecutor(1)]
    (tmp_path / "flag").touch()
    tasks = {str(i): (die_once, str(tmp_path / "flag"), 0.0) for i in range(2)}
    with tqdm(total=2, disable=True) as bar:
        outcomes = reproduce.run_all(tasks, lambda: pools.pop(0), bar)
    assert len(outcomes) == 2 and not any(o.error for o in outcomes) and not pools


@pytest.mark.slow
def test_runs_on_a_dask_cluster(tmp_path):
    """Two real worker processes; one is killed in mid-run. Nothing is lost, and the runs are those of this process."""
    from distributed import Client, LocalCluster
    from tqdm import tqdm

    from reasvqa.learning import train

    configs = [replace(tiny(seed), epochs=12) for seed in (201, 202, 203)]
    for config in configs:  # as if never trained
        path = paths.runs() / reproduce.run_key(config, paths.dataset(config.dataset))
        subprocess.run(["rm", "-rf", path, f"{path}.partial"], check=True)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        pids = client.run(os.getpid)
        assert len(set(pids.values())) == 2 and os.getpid() not in pids.values()
        tasks = {reproduce.label(c): (reproduce.train_one, c, 1) for c in configs}
        killer = subprocess.Popen(
            [sys.executable, "-c", f"import time, os; time.sleep(9); os.kill({next(iter(pids.values()))}, 9)"]
        )
        with tqdm(total=3, disable=True) as bar:
            outcomes = reproduce.run_all(tasks, lambda: client.get_executor(pure=False), bar)
        killer.wait()
    assert sorted(o.name for o in outcomes) == sorted(tasks) and not any(o.error for o in outcomes)
    again = train(configs[0], runs=tmp_path)
    kept = Run(paths.runs() / again.path.name)
    pd.testing.assert_frame_equal(again.predictions, kept.predictions)


def test_a_wrong_command_line_says_what_is_possible():
    cases = {
        "--scale huge": "invalid choice: 'huge'",
        "--only table11": "invalid choice: 'table11'",
        "--seeds 1 1": "different whole numbers",
    }
    for arguments, message in cases.items():
        wrong = subprocess.run(
            [sys.executable, "-m", "reasvqa.reproduce", *arguments.split()], capture_output=True, text=True
        )
        assert wrong.returncode == 2 and message in wrong.stderr


def test_other_splits_are_answered_once_and_kept(monkeypatch):
    from reasvqa.learning import train

    run = train(tiny(0))
    first = run.predictions_on("val")
    assert (
        set(first["id"]) == {s.id for s in experiments_samples("val")} and (run.path / "predictions-val.csv").exists()
    )
    monkeypatch.setattr(Run, "load_student", lambda self: pytest.fail("answered a second time"))
    pd.testing.assert_frame_equal(first, run.predictions_on("val"))
    pd.testing.assert_frame_equal(run.predictions, run.predictions_on("test"))


def experiments_samples(split):
    from reasvqa.datasets import load

    return load("smoke-star", split)


def seen_gpu(_: int) -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(("visible", "expected"), [(None, {"0", "1"}), ("5,7", {"5", "7"})])
def test_every_worker_sees_one_gpu(monkeypatch, visible, expected):
    from reasvqa.reproduce import local_executor

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with local_executor(2)() as pool:
        assert set(pool.map(seen_gpu, range(4))) <= expected


@pytest.mark.skipif((paths.dataset("nextqa")).exists(), reason="the official data are here")
def test_without_official_data_paper_scale_is_planned_and_says_what_is_missing():
    command = [sys.executable, "-m", "reasvqa.reproduce", "--scale", "paper", "--only", "table1", "--seeds", "0"]
    planned = subprocess.run([*command, "--plan"], capture_output=True, text=True)
    assert planned.returncode == 0 and "4 to train" in planned.stdout and "10_table1_nextqa_star" in planned.stdout
    tried = subprocess.run(command, capture_output=True, text=True)
    assert (
        tried.returncode == 1 and "nextqa/train.csv: no such file" in tried.stderr and "Traceback" not in tried.stderr
    )
