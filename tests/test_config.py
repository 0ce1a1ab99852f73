"""Settings: what a type or a range forbids is said by name; what means the same is the same."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasvqa.config import PRESETS, TrainConfig, check_seeds

CONFIG = TrainConfig(dataset="smoke-star")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lora": "false"}, "lora='false': expected True or False, got text (papermill: -p lora False)"),
        ({"blind": 1}, "blind=1: expected True or False, got int"),
        ({"epochs": 1.5}, "epochs=1.5: expected an integer, got float"),
        ({"epochs": True}, "epochs=True: expected an integer, got bool"),
        ({"epochs": -1}, "epochs=-1: must be greater than 0"),
        ({"seed": "0"}, "seed='0': expected an integer, got text"),
        ({"seed": -1}, "seed=-1: must be greater than or equal to 0"),
        ({"beta": "abc"}, "beta='abc': expected a number, got text"),
        ({"beta": True}, "beta=True: expected a number, got bool"),
        ({"beta": 1.0}, "beta=1.0: must be less than 1"),
        ({"beta": float("nan")}, "beta=nan: expected a finite number, got float"),
        ({"learning_rate": float("inf")}, "learning_rate=inf: expected a finite number"),
        ({"learning_rate": 0}, "learning_rate=0: must be greater than 0"),
        ({"fraction": 0.0}, "fraction=0.0: must be greater than 0"),
        ({"warmup": 1.0}, "warmup=1.0: must be less than 1"),
        ({"lora_alpha": "x"}, "lora_alpha='x': expected a number, got text"),
        ({"questions": 0}, "questions=0: must be greater than 0"),
        ({"split": 3}, "split=3: expected text, got int"),
        ({"dataset": "nextQA"}, "dataset='nextQA': choose one of nextqa, star"),
        ({"objective": "rl"}, "objective='rl': choose one of stl, mtl"),
        ({"control": "swapped"}, "control='swapped': choose one of none, other_videos"),
    ],
)
def test_a_wrong_setting_is_named_with_what_came_and_what_is_possible(values, message):
    with pytest.raises(ValueError) as error:
        replace(CONFIG, **values).resolve()
    assert str(error.value).startswith(message)


KINDS = {name: type(value) for name, value in vars(CONFIG.resolve()).items()}
KINDS |= {"questions": (int, type(None)), "lora_alpha": (int, float)}
ODD = st.sampled_from([None, True, False, "x" * 10_000, 10**400, [0]]) | st.builds(dict)
ANYTHING = st.text(max_size=5) | st.floats() | st.integers(-3, 3) | ODD


@given(st.sampled_from([field.name for field in fields(TrainConfig) if field.name != "dataset"]), ANYTHING)
def test_a_setting_is_understood_or_refused_by_name(name, value):
    """Nothing passes half understood: either every field is of its type and resolving again changes nothing, or the
    message begins with the setting."""
    try:
        config = replace(CONFIG, **{name: value}).resolve()
    except ValueError as error:
        assert str(error).startswith(f"{name}=") and len(str(error)) < 600
        return
    for field, held in vars(config).items():
        assert isinstance(held, KINDS[field]) and isinstance(held, bool) == (KINDS[field] is bool), field
    assert config.resolve() == config


def test_numbers_of_numpy_are_plain_numbers():
    config = replace(CONFIG, beta=np.float32(0.25), epochs=np.int64(3)).resolve()
    assert (type(config.beta), type(config.epochs), config.beta, config.epochs) == (float, int, 0.25, 3)


def test_settings_that_mean_the_same_are_the_same():
    qa = replace(CONFIG, objective="stl", reasoning="none").resolve()
    for values in (
        {"beta": 0.0},
        {"beta": 0},
        {"reasoning": "none", "subset": "cr", "fraction": 0.5, "control": "shuffled_words"},
        {"reasoning": "none", "generator": "sim-4b"},
        {"objective": "stl", "reasoning": "none", "beta": 0.9, "target_order": "answer_first"},
    ):
        assert replace(CONFIG, **values).resolve() == qa, values
    mtl = CONFIG.resolve()
    assert mtl != qa != replace(CONFIG, objective="stl").resolve() != mtl
    assert replace(CONFIG, target_order="answer_first").resolve() == mtl  # of a single target only
    stl = replace(CONFIG, objective="stl")
    assert replace(stl, target_order="answer_first").resolve() != stl.resolve() == replace(stl, beta=0.9).resolve()
    original = replace(CONFIG, reasoning="original")
    assert replace(original, refinement="strict").resolve() == original.resolve()  # nothing is refined
    without = replace(CONFIG, lora=False)
    assert replace(without, lora_rank=64, lora_dropout=0.1).resolve() == without.resolve()
    preset = dict(PRESETS["smoke"])
    assert replace(CONFIG, **preset).resolve() == mtl  # a preset written out


def test_lora_alpha_follows():
    assert replace(CONFIG, lora_rank=6).resolve().lora_alpha == 12
    assert replace(CONFIG, lora_rank=6, lora_alpha=3).resolve().lora_alpha == 3


def test_paper_settings_are_the_papers():
    config = TrainConfig(dataset="nextqa", student="blip2-flan-t5-xl").resolve()
    assert (config.learning_rate, config.batch_size, config.epochs) == (3e-5, 8, 10)
    assert (config.num_frames, config.lora, config.preset) == (4, True, "paper")


@pytest.mark.parametrize("given", [[0, 1], (0, 1), range(2), np.arange(2), "[0, 1]", "0,1"])
def test_seeds_are_understood(given):
    found = check_seeds(given)
    assert found == [0, 1] and all(type(seed) is int for seed in found)
    assert check_seeds("7") == check_seeds(np.int64(7)) == check_seeds("[7]") == [7]


@pytest.mark.parametrize("given", [[], "", "[]", [0, 0], "[1, 1]", [-1], [1.5], "[a]", True, [True], None, "1.5", 0.0])
def test_what_is_no_list_of_seeds_is_refused(given):
    with pytest.raises(ValueError, match=r"seeds=.*(give a list of different values|expected an integer|must be)"):
        check_seeds(given)
