"""A run's key: it changes with all that determines the run and with nothing else, and asking for it changes nothing."""

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest

from reasvqa import paths
from reasvqa.companion.experiments import all_settings
from reasvqa.config import TrainConfig
from reasvqa.datasets import DataError, load
from reasvqa.generation import ReasoningError
from reasvqa.learning import key, run_key
from reasvqa.students import STUDENTS

CONFIG = TrainConfig(dataset="smoke-star")
STL = replace(CONFIG, objective="stl")


@pytest.fixture
def root(smoke_star, tmp_path) -> Path:
    """A data set of one's own."""
    return Path(shutil.copytree(paths.dataset("smoke-star"), tmp_path / "smoke-star"))


def snapshot(folder: Path) -> dict:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


# --- it only reads ----------------------------------------------------------------------------------------------------


def test_asking_changes_nothing(root):
    before = snapshot(root.parent), snapshot(paths.data())
    for values in ({}, {"beta": 0.0}, {"control": "other_videos"}, {"reasoning": "brief_caption"}, {"fraction": 0.5}):
        run_key(replace(CONFIG, **values), root)
        run_key(replace(CONFIG, **values))
    assert (snapshot(root.parent), snapshot(paths.data())) == before


def test_nothing_is_made_for_a_miniature_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("REASVQA_DATA", str(tmp_path))
    for root in (None, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=r"STAR_train\.json: no such file"):
            run_key(CONFIG, root)
    assert list(tmp_path.iterdir()) == []


def test_missing_responses_are_told(root):
    paths.reasoning(root, "sim-26b").unlink()
    with pytest.raises(ReasoningError, match="no such file"):
        run_key(CONFIG, root)
    assert run_key(replace(CONFIG, beta=0.0), root)  # STL_QA does not need them


# --- settings ---------------------------------------------------------------------------------------------------------

# Every setting with another value, and the settings among which it matters.
OTHER: dict[str, tuple[object, TrainConfig]] = {
    "dataset": ("smoke-intentqa", CONFIG),
    "student": ("mini-llava-ov-small", CONFIG),
    "objective": ("stl", CONFIG),
    "reasoning": ("original", CONFIG),
    "refinement": ("strict", CONFIG),
    "subset": ("cr", CONFIG),
    "fraction": (0.5, CONFIG),
    "control": ("other_videos", CONFIG),
    "target_order": ("answer_first", STL),
    "beta": (0.4, CONFIG),
    "seed": (1, CONFIG),
    "blind": (True, CONFIG),
    "num_frames": (3, CONFIG),
    "questions": (30, CONFIG),
    "generator": ("sim-4b", CONFIG),
    "answer_format": ("letter", CONFIG),
    "split": ("val", CONFIG),
    "epochs": (2, CONFIG),
    "batch_size": (4, CONFIG),
    "learning_rate": (3e-3, CONFIG),
    "schedule": ("linear", CONFIG),
    "warmup": (0.1, CONFIG),
    "weight_decay": (0.02, CONFIG),
    "max_grad_norm": (0.5, CONFIG),
    "lora": (False, CONFIG),
    "lora_rank": (8, CONFIG),
    "lora_alpha": (4, CONFIG),
    "lora_dropout": (0.1, CONFIG),
    "max_source_tokens": (99, CONFIG),
    "max_target_tokens": (99, CONFIG),
    "max_new_tokens": (99, CONFIG),
    "precision": ("bf16", CONFIG),
    "gradient_checkpointing": (True, CONFIG),
    "skip_missing": (True, CONFIG),
}


def test_every_setting_is_looked_at():
    assert set(OTHER) == {field.name for field in fields(TrainConfig)}


@pytest.mark.parametrize("name", OTHER)
def test_every_setting_is_part_of_the_key(name, smoke_star):
    value, config = OTHER[name]
    if name == "dataset":
        load(value, "train")
    assert run_key(replace(config, **{name: value})) != run_key(config)


def test_settings_that_mean_the_same_have_one_key(smoke_star):
    qa = replace(CONFIG, objective="stl", reasoning="none")
    assert (
        len({run_key(replace(CONFIG, beta=0)), run_key(replace(CONFIG, reasoning="none", subset="cr")), run_key(qa)})
        == 1
    )
    assert run_key(CONFIG) == run_key(CONFIG.resolve()) == run_key(replace(CONFIG, generator="sim-26b", epochs=1))
    assert run_key(STL) == run_key(replace(STL, beta=0.3)) != run_key(CONFIG)


# --- content ----------------------------------------------------------------------------------------------------------


def change_json(name: str, change):
    def changed(root: Path) -> None:
        rows = json.loads((root / name).read_text())
        change(rows)
        (root / name).write_text(json.dumps(rows))

    return changed


def other_case(text: str) -> str:
    """Another text of the same length."""
    return text[:-2] + text[-2].swapcase() + text[-1]


def another_question(rows):
    rows[3]["question"] = other_case(rows[3]["question"])


def another_option(rows):
    option = next(o for o in rows[3]["choices"] if o["choice"] != rows[3]["answer"])
    option["choice"] = other_case(option["choice"])


def another_answer(rows):
    rows[3]["answer"] = next(o["choice"] for o in rows[3]["choices"] if o["choice"] != rows[3]["answer"])


def another_clip(rows):
    rows[3]["end"] = float(rows[3]["end"]) - 0.25


def another_order(rows):
    rows[3], rows[4] = rows[4], rows[3]


def another_video(root: Path) -> None:
    """Of the same size."""
    video = root / "videos" / sorted(s.video for s in load("smoke-star", "train", root))[0]
    content = bytearray(video.read_bytes())
    content[len(content) // 2] ^= 255
    video.write_bytes(content)


def another_response(root: Path) -> None:
    """A letter of one response, inside a sentence that stays."""
    path = paths.reasoning(root, "sim-26b")
    lines = path.read_text().splitlines(keepends=True)
    row = json.loads(lines[0])
    row["response"] = "Somebody walks through the room. " + row["response"]  # what describes is learned
    assert json.dumps(row, ensure_ascii=False) + "\n" != lines[0]
    path.write_text("".join([json.dumps(row, ensure_ascii=False) + "\n", *lines[1:]]))


CHANGES = {
    "training question": change_json("STAR_train.json", another_question),
    "right answer": change_json("STAR_train.json", another_answer),
    "order of questions": change_json("STAR_train.json", another_order),
    "test question": change_json("STAR_test.json", another_question),
    "test option": change_json("STAR_test.json", another_option),
    "test answer": change_json("STAR_test.json", another_answer),
    "test clip": change_json("STAR_test.json", another_clip),
    "video": another_video,
    "response": another_response,
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_taught_and_asked_is_part_of_the_key(what, root):
    before = run_key(CONFIG, root), run_key(replace(CONFIG, beta=0.0), root)
    CHANGES[what](root)
    after = run_key(CONFIG, root), run_key(replace(CONFIG, beta=0.0), root)
    assert after[0] != before[0]
    assert (after[1] == before[1]) == (what == "response")  # STL_QA reads no responses


def test_what_a_run_does_not_touch_is_no_part_of_its_key(root):
    """Another split, another generator; and, with letters or texts, only what is read."""
    before = run_key(CONFIG, root), run_key(replace(CONFIG, blind=True), root)
    change_json("STAR_val.json", another_question)(root)
    paths.reasoning(root, "sim-4b").unlink()
    assert run_key(CONFIG, root) == before[0]
    another_video(root)
    assert run_key(replace(CONFIG, blind=True), root) == before[1]


def test_the_place_of_the_data_is_no_part_of_the_key(root):
    assert run_key(CONFIG, root) == run_key(CONFIG)


def test_the_student_is_part_of_the_key(root, tmp_path):
    """100 kB of zeros in its weights, another tokenizer; the files keep their sizes."""
    folder = Path(shutil.copytree(STUDENTS["mini-blip2"], tmp_path / "student"))
    config, keys = replace(CONFIG, student=str(folder)), set()
    keys.add(run_key(config, root))
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(1_000_000)
        file.write(bytes(100_000))
    keys.add(run_key(config, root))
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace("person", "pers0n", 1))
    keys.add(run_key(config, root))
    assert len(keys) == 3


# --- many -------------------------------------------------------------------------------------------------------------


def test_many_keys_cost_little(smoke_star):
    """All runs of the paper with three seeds: each list of examples is built once, and asking again builds none."""
    for kind in ("nextqa", "intentqa"):
        load(f"smoke-{kind}", "train")
    key._examples_digest.cache_clear()
    configs = all_settings("smoke", [0, 1, 2])
    keys = {run_key(config) for config in configs}
    built = key._examples_digest.cache_info().misses
    assert len(keys) == len(configs) > 300 and built < len(configs) / 3
    assert {run_key(config) for config in configs} == keys and key._examples_digest.cache_info().misses == built
