"""The run store: what is kept is what was written, or is named and made again; nothing is lost by a kill."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from reasvqa import files, paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples, load
from reasvqa.learning import DamagedRun, Diverged, Run, train, trainer, training
from reasvqa.learning.answering import predict
from reasvqa.learning.features import build_features
from reasvqa.learning.runs import RESULT

CONFIG = TrainConfig(dataset="smoke-star").resolve()
# Small and quick where only the store is looked at.
QUICK = replace(CONFIG, reasoning="none", blind=True, questions=8).resolve()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    """A run, never touched."""
    return train(QUICK, runs=tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(trained, tmp_path) -> Run:
    """Its copy in a store of one's own, `tmp_path`."""
    return Run(Path(shutil.copytree(trained.path, tmp_path / trained.path.name)))


@pytest.fixture
def trainings(trained, monkeypatch) -> list[Path]:
    """Training gives the same run at once; the folders it was asked for."""
    asked: list[Path] = []

    def copied(config, root, folder, state):
        asked.append(folder)
        shutil.copytree(trained.path, folder, dirs_exist_ok=True)

    monkeypatch.setattr(trainer, "fit", copied)
    return asked


# --- a run ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_same_seed_same_predictions(tmp_path):
    """Bit for bit, weights included; another seed differs."""
    runs = [train(replace(CONFIG, seed=seed), runs=tmp_path / str(k)) for k, seed in enumerate((0, 0, 1))]
    weights = [(run.path / "weights.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1] != weights[2]
    pd.testing.assert_frame_equal(runs[0].predictions, runs[1].predictions)


def test_a_run_is_kept_and_read_back(tmp_path, smoke_star):
    run = train(CONFIG, runs=tmp_path)
    written = (run.path / "weights.safetensors").stat().st_mtime_ns
    again = train(CONFIG, runs=tmp_path)
    assert again.path == run.path and (again.path / "weights.safetensors").stat().st_mtime_ns == written
    assert again.config == CONFIG and again.check() == again
    assert list(run.predictions.columns) == ["id", "prediction", "answer", "type", "group", "text"]
    assert run.accuracy == pytest.approx(100 * (run.predictions["prediction"] == run.predictions["answer"]).mean())
    assert {"step", "loss", "answer_loss", "reasoning_loss"} <= set(run.history.columns)
    # The kept student answers as it did, and writes.
    features = build_features(smoke_star[1], run.load_student(), "mini-blip2", 4, paths.features())
    predictions, _ = predict(run.load_student(), smoke_star[1], features, run.config)
    assert predictions == run.predictions["prediction"].tolist()
    assert len(run.explain(smoke_star[1][:2])) == 2


@pytest.mark.slow
def test_stl_students_write_and_are_parsed(tmp_path):
    run = train(replace(CONFIG, objective="stl"), runs=tmp_path)
    assert run.predictions["text"].str.len().gt(0).all()


@pytest.mark.slow
def test_a_run_remembers_where_its_data_lay(smoke_star, tmp_path, monkeypatch):
    """What is asked of it later is about the data it learned from, wherever data of that name lie, too."""
    load("smoke-star", "val")  # makes its videos
    root = Path(shutil.copytree(paths.dataset("smoke-star"), tmp_path / "mine"))
    own = json.loads((root / "STAR_val.json").read_text())
    (root / "STAR_val.json").write_text(json.dumps(own[:5]))
    run = train(replace(CONFIG, questions=8), root=root, runs=tmp_path / "runs")
    monkeypatch.setenv("REASVQA_DATA", str(tmp_path / "elsewhere"))
    assert run.root == root and run.samples().videos == root / "videos"
    assert run.predictions_on("val")["id"].tolist() == [row["question_id"] for row in own[:5]]
    assert len(run.explain(run.samples("val")[:2])) == 2
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {"features"}


@pytest.mark.slow
def test_an_unlabelled_split_can_be_answered(smoke_star, tmp_path):
    """As the official test split of STAR is."""
    root = Path(shutil.copytree(paths.dataset("smoke-star"), tmp_path / "mine"))
    rows = json.loads((root / "STAR_test.json").read_text())
    (root / "STAR_test.json").write_text(json.dumps([{k: v for k, v in row.items() if k != "answer"} for row in rows]))
    run = train(QUICK, root=root, runs=tmp_path / "runs")
    assert run.accuracy is None and len(run.predictions) == len(rows)
    assert run.predictions["answer"].isna().all() and run.predictions["prediction"].notna().all()


def make_read_only(monkeypatch) -> None:
    """Refuse locks and new files, as a read-only file system does (the tests may run as root, whom no mode stops)."""

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    for name in ("FileLock", "atomic_path"):
        monkeypatch.setattr(files, name, refuse)


@pytest.mark.slow
def test_a_read_only_store_answers(run, smoke_star, tmp_path, monkeypatch):
    val = run.predictions_on("val")
    make_read_only(monkeypatch)
    kept = train(QUICK, runs=tmp_path)
    assert kept.path == run.path
    pd.testing.assert_frame_equal(kept.predictions_on("val"), val)
    assert len(kept.predictions_on("train")) == len(smoke_star[0]) and not list(kept.path.glob("predictions-train*"))
    assert len(kept.explain(smoke_star[1][:2])) == 2 and kept.written(smoke_star[1][:2]) == [None, None]


def test_other_splits_are_answered_once_and_kept(run):
    first = run.predictions_on("val")
    assert set(first["id"]) == {s.id for s in load("smoke-star", "val")}
    (kept,) = run.path.glob("predictions-val-*.csv")
    weights = (run.path / "weights.safetensors").rename(run.path / "away")  # nobody can answer
    pd.testing.assert_frame_equal(run.predictions_on("val"), first)
    weights.rename(run.path / "weights.safetensors")
    kept.write_text(kept.read_text().replace("1", "2"))  # damaged: answered again
    pd.testing.assert_frame_equal(Run(run.path).predictions_on("val"), first)


@pytest.mark.slow
def test_a_split_that_has_changed_is_answered_again(smoke_star, tmp_path):
    """Its own questions and answers are the run's key; those of another split stand in the name of what is kept."""
    root = Path(shutil.copytree(paths.dataset("smoke-star"), tmp_path / "mine"))
    run = train(QUICK, root=root, runs=tmp_path / "runs")
    first = run.predictions_on("val")
    rows = json.loads((root / "STAR_val.json").read_text())
    moved = [
        row | {"answer": next(o["choice"] for o in row["choices"] if o["choice"] != row["answer"])} for row in rows
    ]
    (root / "STAR_val.json").write_text(json.dumps(moved))
    again = run.predictions_on("val")
    assert (again["id"] == first["id"]).all() and (again["answer"] != first["answer"]).all()
    assert (again["prediction"] == first["prediction"]).all() and len(list(run.path.glob("predictions-val-*"))) == 2


@pytest.mark.slow
def test_what_was_written_is_kept(run, smoke_star):
    """By all that is asked: the same question with other options is another one."""
    asked = smoke_star[1][:3]
    first = run.explain(asked[:2])
    turned = replace(asked[0], options=asked[0].options[::-1], answer=None)
    weights = (run.path / "weights.safetensors").rename(run.path / "away")  # nobody can write
    assert run.explain(asked[:2]) == Run(run.path).explain(asked[:2]) == first
    assert run.explain(asked[1:2]) == first[1:] and run.explain(asked[:0]) == []
    assert run.written(Samples([asked[2], asked[0], turned], asked.videos)) == [None, first[0], None]
    weights.rename(run.path / "weights.safetensors")
    assert run.explain(asked) == [*first, *run.explain(asked[2:])] and run.check()
    (run.path / "written.csv").write_text("asked,text\n")  # damaged: asked again
    assert run.written(asked) == [None] * 3 and run.explain(asked[:2]) == first


# --- damage -----------------------------------------------------------------------------------------------------------


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


READS = {
    "config.json": lambda run: run.config,
    "metrics.json": lambda run: run.accuracy,
    "predictions.csv": lambda run: run.predictions,
    "history.csv": lambda run: run.history,
    "weights.safetensors": lambda run: run.load_student(),
    "meta.json": lambda run: run.predictions,
}


def test_every_file_of_a_run_is_damaged_in_turn(trained):
    assert {path.name for path in trained.path.iterdir()} == set(READS) == {*RESULT, "meta.json"}


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, flipped) for name in READS]
    + [(name, damage) for name in ("predictions.csv", "meta.json") for damage in (cut, emptied, Path.unlink)],
)
def test_a_damaged_file_is_named_and_the_run_is_made_again(name, damage, run, trained, trainings, tmp_path, capsys):
    damage(run.path / name)
    for look in (READS[name], Run.check):
        with pytest.raises(DamagedRun, match=rf"{name}: (is missing|cannot be read|has changed).*to remake it"):
            look(Run(run.path))
    again = train(QUICK, runs=tmp_path)
    assert len(trainings) == 1 and f"{name}: " in capsys.readouterr().out
    assert again.check().path == run.path and not list(tmp_path.glob("*.partial")) + list(tmp_path.glob("*.old"))
    train(QUICK, runs=tmp_path)
    assert len(trainings) == 1


@pytest.mark.slow
def test_what_is_made_again_is_what_it_was(run, trained, tmp_path):
    flipped(run.path / "weights.safetensors")
    again = train(QUICK, runs=tmp_path)
    assert (again.path / "weights.safetensors").read_bytes() == (trained.path / "weights.safetensors").read_bytes()
    pd.testing.assert_frame_equal(again.predictions, trained.predictions)


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"files": 3}', '{"files": {}, "sha256": 3}'])
def test_a_meta_file_with_other_content_is_damage(text, run):
    (run.path / "meta.json").write_text(text)
    with pytest.raises(DamagedRun, match=r"meta\.json: (cannot be read|has changed)"):
        Run(run.path).check()


# --- interruptions ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_force_keeps_the_old_run_until_the_new_one_is_whole(run, trained, tmp_path, monkeypatch):
    """Broken off between the end and the exchange."""
    before = (run.path / "meta.json").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(training, "swap_in", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(QUICK, runs=tmp_path, force=True)
    assert Run(run.path).check() and (run.path / "meta.json").read_bytes() == before
    again = train(QUICK, runs=tmp_path, force=True)
    assert (again.path / "meta.json").read_bytes() != before and again.check()
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == [run.path.name]
    pd.testing.assert_frame_equal(again.predictions, trained.predictions)


def test_a_run_that_only_lacks_its_name_is_not_trained_again(run, trained, trainings, tmp_path):
    """Killed after the last file and before the folder is renamed."""
    run.path.rename(f"{run.path}.partial")
    assert train(QUICK, runs=tmp_path).check() == run and not trainings
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_divergence_is_an_error_and_keeps_nothing(tmp_path):
    for _ in range(2):  # asked again, it diverges again
        with pytest.raises(
            Diverged,
            match=r"(step \d+: training has diverged|NaN or infinite after the last step).*learning rate below",
        ):
            train(replace(CONFIG, learning_rate=1e5, epochs=4, warmup=0.0, questions=16), runs=tmp_path)
        assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


STEPS = replace(CONFIG, questions=8, epochs=4)  # a step an epoch, a checkpoint a step


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Run:
    return train(STEPS, runs=tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def broken_off(undisturbed, tmp_path_factory) -> Path:
    """A store whose run was interrupted after the checkpoint of its third step."""
    store = tmp_path_factory.mktemp("broken-off")

    def interrupt(self, args, state, control, **_):
        if state.global_step == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trainer._Progress, "on_save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(STEPS, runs=store)
    return store


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, Path.unlink, None])
def test_a_half_written_checkpoint_is_left_for_the_one_before(damage, broken_off, undisturbed, tmp_path):
    """trainer_state.json is written last, so a kill leaves it whole, in part, or not at all."""
    store = Path(shutil.copytree(broken_off, tmp_path / "store"))
    (newest,) = store.glob("*.partial/checkpoints/checkpoint-3")
    if damage:
        damage(newest / "trainer_state.json")
    begins_at = trainer._last_checkpoint(newest.parent)
    assert begins_at == str(newest.with_name("checkpoint-2") if damage else newest)
    assert same(train(STEPS, runs=store), undisturbed)


def same(one: Run, other: Run) -> bool:
    """Weights bit for bit, predictions, and every logged step."""
    pd.testing.assert_frame_equal(one.predictions, other.predictions)
    pd.testing.assert_frame_equal(one.history, other.history)
    weights = [(run.path / "weights.safetensors").read_bytes() for run in (one, other)]
    return weights[0] == weights[1] and not (one.path / "checkpoints").exists()


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_result(tmp_path):
    """The process is killed after its first checkpoint; what follows ends with the weights of an undisturbed run."""
    settings = dict(dataset="smoke-star", epochs=6)
    undisturbed = train(TrainConfig(**settings), runs=tmp_path / "a")
    code = (
        "from reasvqa.learning import *; from pathlib import Path; "
        f"train(TrainConfig(**{settings!r}), runs=Path({str(tmp_path / 'b')!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "b" / f"{undisturbed.path.name}.partial" / "checkpoints"
    deadline = time.time() + 600
    while not list(checkpoints.glob("*/trainer_state.json")) and time.time() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "b" / undisturbed.path.name).exists()  # it was killed before it ended
    assert list(checkpoints.glob("*/trainer_state.json"))
    assert same(train(TrainConfig(**settings), runs=tmp_path / "b"), undisturbed)


@pytest.mark.slow
def test_the_seconds_of_an_interrupted_run_are_added_up(broken_off, tmp_path):
    store = Path(shutil.copytree(broken_off, tmp_path / "store"))
    (state,) = store.glob("*.partial/checkpoints/checkpoint-3/trainer_state.json")
    content = json.loads(state.read_text())
    content["log_history"][-1]["seconds"] += 1000
    state.write_text(json.dumps(content))
    assert 1000 < train(STEPS, runs=store).metrics["seconds"]["training"] < 1100
