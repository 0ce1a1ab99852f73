"""Runs without their weights, in one file: what is unpacked is what was packed, and nothing else is taken for it."""

import io
import json
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from reasvqa import paths
from reasvqa.companion.claims import settings_of_claims
from reasvqa.companion.experiments import SEEDS, all_settings
from reasvqa.config import TrainConfig
from reasvqa.learning import Run, records, train, train_all
from reasvqa.learning.runs import WeightsLeftOut, meta_text
from reasvqa.learning.training import kept_run

QUICK = TrainConfig(dataset="smoke-star", reasoning="none", blind=True, questions=8).resolve()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> list[Run]:
    """Two runs, one of which has also answered other questions, and explained some."""
    store = tmp_path_factory.mktemp("trained")
    runs = [train(replace(QUICK, seed=seed), runs=store) for seed in (0, 1)]
    runs[0].predictions_on("val")
    runs[0].explain(runs[0].samples()[:2])
    return runs


@pytest.fixture
def archive(trained, tmp_path) -> Path:
    records.pack(trained, tmp_path / "figures" / "runs.tar.xz")
    return tmp_path / "figures" / "runs.tar.xz"


def test_what_is_unpacked_is_what_was_packed(trained, archive, tmp_path):
    store = tmp_path / "store"
    assert records.unpack(archive, store) == sorted(run.path.name for run in trained) == sorted(records.names(archive))
    for run in trained:
        came = Run(store / run.path.name).check()
        assert run.has_weights and not came.has_weights and not (came.path / "weights.safetensors").exists()
        assert (came.config, came.metrics, came.accuracy) == (run.config, run.metrics, run.accuracy)
        pd.testing.assert_frame_equal(came.predictions, run.predictions)
        pd.testing.assert_frame_equal(came.history, run.history)
        assert came.meta["versions"] == run.meta["versions"]
        assert came.meta["left_out"] == run.meta["files"]["weights.safetensors"]
    came, run = Run(store / trained[0].path.name), trained[0]
    pd.testing.assert_frame_equal(came.predictions_on("val"), run.predictions_on("val"))
    assert came.explain(run.samples()[:2]) == run.explain(run.samples()[:2]) and not came.has_weights
    assert [path.name for path in store.iterdir() if path.name.startswith(".")] == []


def test_packing_again_changes_no_byte(trained, archive, tmp_path):
    """Whether the runs still have their weights or not, and in whatever order."""
    before = archive.read_bytes()
    records.unpack(archive, tmp_path / "store")
    for runs in (trained[::-1], [Run(tmp_path / "store" / run.path.name) for run in trained]):
        records.pack(runs, archive)
        assert archive.read_bytes() == before


def test_a_run_that_is_there_stays_as_it_is(trained, archive, tmp_path):
    own = Path(shutil.copytree(trained[0].path, tmp_path / "store" / trained[0].path.name))
    assert records.unpack(archive, tmp_path / "store") == [trained[1].path.name]
    assert Run(own).check().has_weights


@pytest.mark.slow
def test_its_student_is_had_by_training_again(trained, archive, tmp_path, capsys):
    """It is the same, bit for bit, or a warning says that it differs. Nothing is trained unasked."""
    store = tmp_path / "store"
    records.unpack(archive, store)
    came = Run(store / trained[0].path.name)
    assert train(came.config, runs=store) == came and not came.has_weights
    for ask in (Run.load_student, lambda run: run.predictions_on("train"), lambda run: run.explain(run.samples())):
        with pytest.raises(WeightsLeftOut, match=rf"{came.path.name} came .*train\(run.config, force=True\)"):
            ask(came)
    again = train(came.config, runs=store, force=True)
    assert again.has_weights and again.load_student() and "differ" not in capsys.readouterr().err
    assert (again.path / "weights.safetensors").read_bytes() == (trained[0].path / "weights.safetensors").read_bytes()

    other = Run(store / trained[1].path.name)
    (other.path / "meta.json").write_text(meta_text(other.meta | {"left_out": "0" * 64}))
    train(other.config, runs=store, force=True)
    assert f"{other.path.name}: " in (warning := capsys.readouterr().err) and "weights differ" in warning


def test_a_damaged_archive_is_named(archive, tmp_path):
    content = archive.read_bytes()
    for bad in (content[: len(content) // 2], b"", b"no archive" * 100):
        archive.write_bytes(bad)
        for look in (records.names, lambda file: records.unpack(file, tmp_path / "store")):
            with pytest.raises(ValueError, match=r"runs\.tar\.xz: cannot be .*take it from the repository again"):
                look(archive)
    assert list((tmp_path / "store").iterdir()) == []
    archive.unlink()
    assert records.names(archive) == frozenset()


def test_nothing_is_written_elsewhere(tmp_path):
    with tarfile.open(tmp_path / "bad.tar.xz", "w:xz") as bad:
        member = tarfile.TarInfo("../outside")
        member.size = 4
        bad.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(ValueError, match="cannot be read"):
        records.unpack(tmp_path / "bad.tar.xz", tmp_path / "store" / "runs")
    assert not (tmp_path / "store" / "outside").exists()


@pytest.mark.slow
def test_what_comes_with_the_repository_is_not_trained(trained, archive, tmp_path, smoke_star, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "smoke-star").symlink_to(paths.dataset("smoke-star"))
    monkeypatch.setenv("REASVQA_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(paths, "records", lambda: archive)
    both = [replace(QUICK, seed=seed) for seed in (0, 1)]
    assert [kept_run(config, weights=True) for config in both] == [None, None]
    assert [run.accuracy for run in train_all(both)] == [run.accuracy for run in trained]
    assert not any(kept_run(config).has_weights for config in both)
    assert kept_run(replace(QUICK, learning_rate=2e-3)) is None  # another setting is another run
    assert train(both[0], force=True) == kept_run(both[0], weights=True)
    archive.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="take it from the repository again"):
        kept_run(replace(QUICK, seed=2))


# --- what ships -------------------------------------------------------------------------------------------------------


def test_the_runs_behind_the_figures_come_with_them():
    """Every run that a committed table or figure names; what somebody saved beside them is theirs."""
    folder = paths.figures("mini")
    try:
        listed = subprocess.run(["git", "ls-files", "*.json"], cwd=folder, capture_output=True, text=True)
    except OSError:
        pytest.skip("no git here")
    saved = [folder / name for name in listed.stdout.splitlines() if "/" not in name]
    if listed.returncode or not saved:
        pytest.skip("no checkout of git")
    for file in saved:
        missing = set(json.loads(file.read_text())["runs"]) - records.names(paths.records())
        assert not missing, f"{file.name} is of runs that are not in {paths.records().name}"


def test_what_comes_is_of_the_ledger():
    """Runs of the settings that the tables and figures have now, and no others."""
    if not paths.records().exists():
        pytest.skip("no run has come with the repository yet")
    settings = {config.label for config in [*all_settings("mini", SEEDS), *settings_of_claims("mini", SEEDS)]}
    with tarfile.open(paths.records()) as archive:
        configs = [member for member in archive if member.name.endswith("/config.json")]
        found = [TrainConfig(**json.load(archive.extractfile(member))).label for member in configs]
    assert len(found) == len(set(found)) == len(records.names(paths.records())) and set(found) <= settings
