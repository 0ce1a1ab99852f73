"""A run's key: it changes with all that determines the run and with nothing else, and asking for it changes nothing."""

import json
import shutil
from dataclasses import fields, replace
from json import dumps
from pathlib import Path

import pytest

from reasvqa import paths
from reasvqa.config import CHOICES, TrainConfig
from reasvqa.datasets import DataError, load
from reasvqa.generation import ReasoningError
from reasvqa.learning import key, run_key
from reasvqa.learning.key import videos_seen_once
from reasvqa.refinement import RULES, Rule
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

SETTINGS = [field.name for field in fields(TrainConfig)]
OTHER = {
    "dataset": "smoke-intentqa",
    "student": "mini-llava-ov-small",
    "generator": "sim-4b",
    "split": "val",
    "questions": 30,
    "lora_dropout": 0.1,
    "warmup": 0.1,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_part_of_the_key(name, smoke_star):
    config = (STL if name == "target_order" else CONFIG).resolve()
    value = getattr(config, name)
    if name in OTHER:
        value = OTHER[name]
    elif name in CHOICES:
        value = next(choice for choice in CHOICES[name] if choice not in (value, "none"))
    elif isinstance(value, bool):
        value = not value
    else:
        value = value + 1 if isinstance(value, int) else value / 2
    if name == "dataset":
        load(value, "train")
    assert run_key(replace(config, **{name: value})) != run_key(config)


# --- content ----------------------------------------------------------------------------------------------------------


def change(root: Path, file: str, field: str, value) -> None:
    """Give the fourth question of a file another value: (question) -> value."""
    rows = json.loads((root / file).read_text())
    rows[3][field] = value(rows[3])
    (root / file).write_text(json.dumps(rows))


def other_question(row):
    """Of the same length."""
    return row["question"].swapcase()


def other_answer(row):
    return next(option["choice"] for option in row["choices"] if option["choice"] != row["answer"])


def other_options(row):
    """The right one stays."""
    return [o if o["choice"] == row["answer"] else o | {"choice": o["choice"].swapcase()} for o in row["choices"]]


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
    "training question": ("STAR_train.json", "question", other_question),
    "right answer": ("STAR_train.json", "answer", other_answer),
    "test question": ("STAR_test.json", "question", other_question),
    "test options": ("STAR_test.json", "choices", other_options),
    "test answer": ("STAR_test.json", "answer", other_answer),
    "test clip": ("STAR_test.json", "end", lambda row: float(row["end"]) - 0.25),
    "video": another_video,
    "response": another_response,
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_taught_and_asked_is_part_of_the_key(what, root):
    configs = CONFIG, replace(CONFIG, beta=0.0)
    before = [run_key(config, root) for config in configs]
    changed = CHANGES[what]
    changed(root) if callable(changed) else change(root, *changed)
    after = [run_key(config, root) for config in configs]
    assert after[0] != before[0]
    assert (after[1] == before[1]) == (what == "response")  # STL_QA reads no responses


def test_what_a_run_does_not_touch_is_no_part_of_its_key(root):
    """Another split, another generator; and, with letters or texts, only what is read."""
    before = run_key(CONFIG, root), run_key(replace(CONFIG, blind=True), root)
    change(root, "STAR_val.json", "question", other_question)
    paths.reasoning(root, "sim-4b").unlink()
    assert run_key(CONFIG, root) == before[0]
    another_video(root)
    assert run_key(replace(CONFIG, blind=True), root) == before[1]


def test_the_place_of_the_data_is_no_part_of_the_key(root):
    assert run_key(CONFIG, root) == run_key(CONFIG)


def test_a_later_setting_leaves_the_keys_of_earlier_runs(root, monkeypatch):
    """At the value that they all had. The key without this setting is that of before there was one."""
    other = replace(CONFIG, skip_missing=True)
    before, with_other = run_key(CONFIG, root), run_key(other, root)
    monkeypatch.setattr(TrainConfig.__dataclass_fields__["skip_missing"], "metadata", {"before": False})
    hashed = []
    monkeypatch.setattr(
        key.json, "dumps", lambda content, **options: hashed.append(content) or dumps(content, **options)
    )
    assert run_key(CONFIG, root) != before and "skip_missing" not in hashed[-1][0]
    assert run_key(other, root) == with_other and hashed[-1][0]["skip_missing"] is True


def test_a_new_refinement_rule_counts_at_once(root, monkeypatch):
    before = run_key(CONFIG, root)
    monkeypatch.setitem(RULES, "the", Rule("the", "sentences with an article", "#123456", r"\bthe\b"))
    assert run_key(CONFIG, root) != before


def test_the_student_is_part_of_the_key(root, tmp_path):
    """100 kB of zeros in its weights; the file keeps its size."""
    folder = Path(shutil.copytree(STUDENTS["mini-blip2"], tmp_path / "student"))
    config = replace(CONFIG, student=str(folder))
    before = run_key(config, root)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(1_000_000)
        file.write(bytes(100_000))
    assert run_key(config, root) != before


def test_a_plan_looks_at_videos_once_and_later_keys_see_what_has_changed(root):
    with videos_seen_once():
        before = run_key(CONFIG, root)
        another_video(root)
        assert run_key(CONFIG, root) == before
    assert run_key(CONFIG, root) != before
