"""Parameters of notebooks: what papermill hands over is understood, or refused with a sentence that helps."""

import pytest

from reasvqa.companion.exhibits import exhibit
from reasvqa.companion.experiments import EXPERIMENTS, settings_of
from reasvqa.companion.parameters import checked


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("seeds", "[0, 1]", [0, 1]),
        ("datasets", "star", ["star"]),
        ("datasets", '["star"]', ["star"]),
        ("datasets", "[star, nextqa]", ["star", "nextqa"]),
        ("betas", 0, [0.0]),
        ("betas", "[0, 0.5]", [0.0, 0.5]),
        ("student", None, None),
    ],
)
def test_what_papermill_hands_over_is_understood(name, given, value):
    assert checked(scale="smoke", **{name: given}) == ("smoke", value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("scale", "large", "scale='large': choose one of mini, preview, smoke, paper"),
        ("dataset", "mine", "dataset='mine': choose one of nextqa, star, intentqa"),
        ("datasets", ["star", "star"], "datasets=['star', 'star']: give a list of different values"),
        ("datasets", "[star, x]", "datasets='x': choose one of nextqa, star, intentqa"),
        ("force", "false", "force='false': expected True or False, got text (papermill: -p force False)"),
        ("examples", True, "examples=True: expected an integer, got bool"),
        ("betas", ["a"], "betas='a': expected a number, got text"),
        ("student", "bert", "student='bert': choose one of "),
        ("first", "BERT", "first='BERT': choose one of Blind, STL_QA"),
        ("tolerance", 0, "tolerance=0: must be greater than 0"),
    ],
)
def test_what_is_refused_is_named_with_what_is_possible(name, value, message):
    with pytest.raises(ValueError) as error:
        checked(**{name: value})
    assert str(error.value).startswith(message)


# --- what a table or figure makes of them -----------------------------------------------------------------------------

WHOLE = {"scale": "smoke", "seeds": [0, 1, 2]}


def test_a_whole_table_has_the_settings_of_its_experiment():
    table5 = exhibit("table5", **WHOLE, datasets=["star", "nextqa", "intentqa"])
    assert table5.settings == settings_of("table5", "smoke", [0, 1, 2]) and not table5.own
    assert table5.plan == "15 settings, 90 runs" and table5.seeds == [0, 1, 2]
    assert table5.on("star").settings == settings_of("table5", "smoke", [0, 1, 2], ["star"])


def test_weights_and_generators_name_rows():
    figure4 = exhibit("figure4", **WHOLE, datasets="star", betas="[0.5, 0]")
    assert list(figure4.settings) == [("star", "0.0"), ("star", "0.5")] and figure4.own
    with pytest.raises(ValueError, match=r"^betas='0.55': choose one of 0.0, 0.1"):
        exhibit("figure4", **WHOLE, betas=[0.55])
    strength = exhibit("strength", **WHOLE, generators=["sim-weak"])
    assert [row for _, row in strength.settings] == ["Refined, sim-weak", "STL_QA"]
    assert strength.own and strength.generators == ["sim-weak"]
    whole = exhibit("strength", **WHOLE, generators=None)
    assert [row for _, row in whole.settings] == list(EXPERIMENTS["strength"].rows) and not whole.own


def test_table_4_has_no_runs_and_whatever_generator_left_a_file():
    table4 = exhibit("table4", scale="smoke", datasets=["star"], generators="mine")
    assert (table4.generators, table4.settings, table4.runs, table4.own) == (["mine"], {}, {}, True)
    assert exhibit("table4", scale="paper", generators=None).generators == ["internvl-4b", "internvl-26b"]


@pytest.mark.parametrize("part", [{"seeds": [0]}, {"seeds": [0, 1, 2, 3]}, {"datasets": ["star"]}])
def test_your_own_choice_never_replaces_the_complete_result(part):
    assert exhibit("figure3", **WHOLE | {"datasets": ["nextqa", "star"]} | part).own
