"""Parameters of notebooks: what papermill hands over is understood, or refused with a sentence that helps."""

import pytest

from reasvqa.companion.exhibits import exhibit
from reasvqa.companion.experiments import EXPERIMENTS, settings_of
from reasvqa.companion.parameters import checked, several


@pytest.mark.parametrize("given", ["[0, 1]", [0, 1], (0, 1)])
def test_seeds_as_papermill_hands_them_over(given):
    assert checked(seeds=given) == ([0, 1],)


@pytest.mark.parametrize("given", ["star", ["star"], '["star"]', "[star]"])
def test_one_data_set_is_a_list_of_one(given):
    assert checked(datasets=given) == (["star"],)


def test_one_weight_is_a_list_of_one_and_whole_numbers_are_numbers():
    assert checked(betas=0) == ([0.0],) and checked(betas="[0, 0.5]") == ([0.0, 0.5],)


def test_values_come_back_in_their_order_and_none_stays_where_there_is_a_default():
    assert checked(scale="smoke", student=None, question=3) == ("smoke", None, 3)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("scale", "large", "choose one of mini, preview, smoke, paper"),
        ("dataset", "mini-star", "choose one of nextqa, star, intentqa"),
        ("datasets", ["star", "star"], "give a list of different things"),
        ("datasets", "[]", "give a list of different things"),
        ("seeds", 0.5, "give a list of different whole numbers"),
        ("force", "false", "True or False is wanted"),
        ("examples", 1.5, "a whole number from 0 on is wanted"),
        ("examples", True, "a whole number from 0 on is wanted"),
        ("betas", ["a"], "give a list of different numbers"),
        ("student", "bert", "choose one of mini-blip2"),
        ("first", "BERT", "choose one of Blind, STL_QA"),
        ("tolerance", 0, "a number above 0 is wanted"),
    ],
)
def test_what_is_refused_is_named_with_what_is_possible(name, value, remedy):
    with pytest.raises(ValueError) as error:
        checked(**{name: value})
    assert str(error.value).startswith(f"{name}={value!r}") and remedy in str(error.value)


def test_an_unknown_thing_among_several_is_named():
    with pytest.raises(ValueError, match="generators='x': choose one of a, b"):
        several("generators", ["a", "x"], ["a", "b"])


# --- what a table or figure makes of them -----------------------------------------------------------------------------

WHOLE = {"scale": "smoke", "seeds": [0, 1, 2]}


def test_a_whole_table_has_the_settings_of_its_experiment():
    table5 = exhibit("table5", **WHOLE, datasets=["star", "nextqa", "intentqa"])
    assert table5.settings == settings_of("table5", "smoke", [0, 1, 2]) and table5.tag == ""
    assert table5.plan == "15 settings, 75 runs" and table5.seeds == [0, 1, 2]
    assert table5.on("star").settings == settings_of("table5", "smoke", [0, 1, 2], ["star"])


def test_weights_and_generators_name_rows():
    figure4 = exhibit("figure4", **WHOLE, datasets="star", betas="[0.5, 0]")
    assert list(figure4.settings) == [("star", "0.0"), ("star", "0.5")] and figure4.tag == "_part"
    strength = exhibit("strength", **WHOLE, generators=["sim-weak"])
    assert [row for _, row in strength.settings] == ["Original, sim-weak", "Refined, sim-weak", "STL_QA"]
    assert strength.tag == "_part" and strength.generators == ["sim-weak"]
    whole = exhibit("strength", **WHOLE, generators=None)
    assert [row for _, row in whole.settings] == list(EXPERIMENTS["strength"].rows) and whole.tag == ""


def test_table_4_has_no_runs_and_whatever_generator_left_a_file():
    table4 = exhibit("table4", scale="smoke", datasets=["star"], generators="mine")
    assert (table4.generators, table4.settings, table4.runs, table4.tag) == (["mine"], {}, {}, "_part")
    assert exhibit("table4", scale="paper", generators=None).generators == ["internvl-4b", "internvl-26b"]


@pytest.mark.parametrize("part", [{"seeds": [0]}, {"seeds": [0, 1, 2, 3]}, {"datasets": ["star"]}])
def test_what_is_not_whole_is_saved_as_a_part(part):
    assert exhibit("figure3", **WHOLE | {"datasets": ["nextqa", "star"]} | part).tag == "_part"


@pytest.mark.parametrize(
    ("experiment", "wrong", "message"),
    [
        ("table1", {"datasets": ["intentqa"]}, "datasets='intentqa': choose one of nextqa, star"),
        ("figure4", {"betas": [0.55]}, "betas='0.55': choose one of 0.0, 0.1"),
        ("strength", {"generators": ["sim-5b"]}, "generators='sim-5b': choose one of sim-chance, sim-weak"),
    ],
)
def test_what_a_table_does_not_have_is_refused(experiment, wrong, message):
    with pytest.raises(ValueError) as error:
        exhibit(experiment, **WHOLE | wrong)
    assert str(error.value).startswith(message)
