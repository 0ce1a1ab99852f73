"""Accuracy against the official evaluator's figures and hand-worked examples; intervals against theory."""

import json

import numpy as np
import pandas as pd
import pytest

from reasvqa.datasets import load
from reasvqa.evaluation import PredictionError, accuracy, bootstrap, mcnemar, paired_difference
from reasvqa.samples import Sample


def sample(id, answer, type):
    return Sample(id, "v.mp4", None, "q", ("a", "b", "c", "d", "e"), answer, type)


SAMPLES = [sample("1", 0, "CW"), sample("2", 1, "CH"), sample("3", 2, "TN"), sample("4", 3, "TP"), sample("5", 4, "DO")]


def predictions(*rows):
    return pd.DataFrame(rows, columns=["id", "prediction"])


def test_official_nextqa_evaluator(shared):
    """HGA's predictions as published with the evaluator, and what it prints for them."""
    samples = load("nextqa", "val", shared / "nextqa")
    published = json.loads((shared / "nextqa" / "HGA-bert-ft-h256-val-example.json").read_text())
    table = accuracy(predictions(*((id, row["prediction"]) for id, row in published.items())), samples)
    assert table.loc[["Total", "Cau", "Tem", "Des"], "accuracy"].round(2).tolist() == [49.74, 46.26, 50.74, 59.33]
    assert table.loc["TN", "n"] == 895 + 54  # "previous" counts as "next"


def test_by_hand():
    table = accuracy(predictions(("1", 0), ("2", 0), ("3", 2), ("4", 3), ("5", 0)), SAMPLES)
    assert table["n"].to_dict() == {"CW": 1, "CH": 1, "TN": 2, "DO": 1, "Cau": 2, "Tem": 2, "Des": 1, "Total": 5}
    assert table["accuracy"].to_dict() == {
        "CW": 100,
        "CH": 0,
        "TN": 100,
        "DO": 0,
        "Cau": 50,
        "Tem": 100,
        "Des": 0,
        "Total": 60,
    }


def test_missing_predictions_count_as_wrong_and_are_reported():
    table = accuracy(predictions(("1", 0), ("3", None)), SAMPLES)
    assert table.loc["Total", ["n", "correct"]].tolist() == [5, 1] and table.attrs["unanswered"] == 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [([("9", 0)], "unknown ids, e.g. '9'"), ([("1", 0), ("1", 1)], "more than once, e.g. '1'")],
)
def test_predictions_that_do_not_fit(rows, message):
    with pytest.raises(PredictionError, match=message):
        accuracy(predictions(*rows), SAMPLES)


def test_unlabelled_split():
    with pytest.raises(PredictionError, match="unlabelled"):
        accuracy(predictions(("1", 0)), [sample("1", None, "CW")])


def test_bootstrap_matches_the_normal_approximation():
    correct = np.arange(1000) < 700
    interval = bootstrap(correct)
    half = 196 * np.sqrt(0.7 * 0.3 / 1000)
    assert interval.value == pytest.approx(70)
    assert interval.low == pytest.approx(70 - half, abs=0.4) and interval.high == pytest.approx(70 + half, abs=0.4)


def test_seeds_widen_the_interval():
    """Two seeds that disagree wholly: the interval has to say that another seed could be anywhere between."""
    interval = bootstrap(np.stack([np.ones(500), np.zeros(500)]))
    assert interval.low < 5 and interval.high > 95


def test_pairing_removes_what_runs_share():
    rng = np.random.default_rng(0)
    first = rng.random(600) < 0.5
    second = first.copy()
    second[np.flatnonzero(~first)[:30]] = True  # better on 30 questions, never worse
    difference = paired_difference(first, second)
    assert difference.value == pytest.approx(5) and difference.low > 3 and difference.high < 7


def test_mcnemar_by_hand():
    """3 against 9 discordant pairs: 2 * sum_{k<=3} C(12, k) / 2^12 = 598 / 4096."""
    first = np.array([True] * 3 + [False] * 9 + [True] * 20)
    second = np.array([False] * 3 + [True] * 9 + [True] * 20)
    assert mcnemar(first, second) == pytest.approx(598 / 4096)
    assert mcnemar(first, first) == 1.0
