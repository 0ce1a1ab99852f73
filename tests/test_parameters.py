"""Parameters of notebooks: what papermill hands over is understood, or refused with a sentence that helps."""

import pytest

from reasvqa.report.parameters import checked, several


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
