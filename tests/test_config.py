"""Settings: what a type or a range forbids is said by name; what means the same is the same."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasvqa.config import CHOICES, PRESETS, TrainConfig, check_seeds

CONFIG = TrainConfig(dataset="smoke-star")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lora": "false"}, r"lora='false': True or False is wanted, not text .*-p lora False"),
        ({"blind": 1}, r"blind=1: True or False is wanted, not int 1"),
        ({"epochs": 1.5}, r"epochs=1.5: a whole number is wanted, not float 1.5"),
        ({"epochs": True}, r"epochs=True: a whole number is wanted, not bool True"),
        ({"epochs": -1}, r"epochs=-1: must be positive"),
        ({"num_frames": 2.5}, r"num_frames=2.5: a whole number is wanted"),
        ({"seed": "0"}, r"seed='0': a whole number is wanted, not text"),
        ({"seed": -1}, r"seed=-1: at least 0"),
        ({"beta": "abc"}, r"beta='abc': a number is wanted, not text"),
        ({"beta": True}, r"beta=True: a number is wanted, not bool"),
        ({"beta": 1.0}, r"beta=1.0: the weight of the reasoning must be at least 0 and below 1"),
        ({"beta": -0.1}, r"beta=-0.1: the weight of the reasoning"),
        ({"beta": float("nan")}, r"beta=nan: a number is wanted, not float nan"),
        ({"learning_rate": float("inf")}, r"learning_rate=inf: a number is wanted"),
        ({"learning_rate": 0}, r"learning_rate=0: must be positive"),
        ({"fraction": 0.0}, r"fraction=0.0: a share above 0 and at most 1"),
        ({"warmup": 1.0}, r"warmup=1.0: a share of at least 0 and below 1"),
        ({"questions": 0}, r"questions=0: must be positive"),
        ({"split": 3}, r"split=3: text is wanted, not int 3"),
        ({"objective": "rl"}, r"objective='rl': choose one of stl, mtl"),
        ({"reasoning": "long"}, r"reasoning='long': choose one of refined, original, none"),
        ({"schedule": "step"}, r"schedule='step': choose one of cosine, linear"),
        ({"control": "swapped"}, r"control='swapped': choose one of none, other_videos"),
    ],
)
def test_a_wrong_setting_is_named_with_what_came_and_what_is_possible(values, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **values).resolve()


ANYTHING = st.one_of(
    st.text(max_size=5),
    st.floats(),
    st.booleans(),
    st.none(),
    st.integers(-3, 3),
    st.sampled_from(["x" * 10_000, 10**400]),
    st.just([0]),
    st.just({}),
)


@given(st.sampled_from([field.name for field in fields(TrainConfig) if field.name != "dataset"]), ANYTHING)
def test_a_setting_is_understood_or_refused_by_name(name, value):
    """Nothing passes half understood: either every field is of its type and resolving again changes nothing, or the
    message begins with the setting."""
    try:
        config = replace(CONFIG, **{name: value}).resolve()
    except ValueError as error:
        assert str(error).startswith(f"{name}=") and len(str(error)) < 600
        return
    kinds = {"int": int, "float": (int, float), "bool": bool, "str": str, "int | None": (int, type(None))}
    for field in fields(config):
        held = getattr(config, field.name)
        assert isinstance(held, kinds[field.type]), field.name
        assert field.type == "bool" or not isinstance(held, bool), field.name
    assert config.resolve() == config


def test_numbers_of_numpy_are_plain_numbers():
    config = replace(CONFIG, beta=np.float32(0.25), epochs=np.int64(3)).resolve()
    assert (type(config.beta), type(config.epochs)) == (float, int) and config == replace(
        CONFIG, beta=0.25, epochs=3
    ).resolve()


def test_settings_that_mean_the_same_are_the_same():
    qa = replace(CONFIG, objective="stl", reasoning="none").resolve()
    for values in (
        {"beta": 0.0},
        {"beta": 0},
        {"reasoning": "none", "subset": "cr", "fraction": 0.5, "control": "key_words"},
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


def test_alpha_and_lora_alpha_follow():
    assert replace(CONFIG, beta=0.3).alpha == pytest.approx(0.7)
    assert replace(CONFIG, lora_rank=6).resolve().lora_alpha == 12
    assert replace(CONFIG, lora_rank=6, lora_alpha=3).resolve().lora_alpha == 3


def test_paper_settings_are_the_papers():
    config = TrainConfig(dataset="nextqa", student="blip2-flan-t5-xl").resolve()
    assert (config.learning_rate, config.batch_size, config.epochs) == (3e-5, 8, 10)
    assert (config.num_frames, config.lora, config.scale) == (4, True, "paper")


def test_every_scale_presets_the_same_settings():
    names = {field.name for field in fields(TrainConfig)}
    for preset in PRESETS.values():
        assert preset.keys() == PRESETS["paper"].keys() <= names
        assert all(preset[name] in allowed for name, allowed in CHOICES.items() if name in preset)


@pytest.mark.parametrize(
    ("given", "seeds"),
    [
        ([0, 1, 2], [0, 1, 2]),
        ((3,), [3]),
        (0, [0]),
        (np.int64(4), [4]),
        ("[0]", [0]),
        ("[0, 1]", [0, 1]),
        ("2,5", [2, 5]),
        ("7", [7]),
        (range(2), [0, 1]),
    ],
)
def test_seeds_are_understood(given, seeds):
    found = check_seeds(given)
    assert found == seeds and all(type(seed) is int for seed in found)


@pytest.mark.parametrize("given", [[], "", "[]", [0, 0], "[1, 1]", [-1], [1.5], "[a]", True, [True], None, "1.5", 0.0])
def test_seeds_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match=r"seeds=.*give a list of different whole numbers, for example \[0, 1, 2\]"):
        check_seeds(given)
