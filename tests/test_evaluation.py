"""Accuracy against the official evaluator's figures and by hand; intervals against theory and simulation."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.anova import anova_lm

from reasvqa.datasets import load
from reasvqa.evaluation import (
    Estimate,
    PredictionError,
    accuracy,
    estimate,
    holm,
    margin_of,
    mcnemar,
    mean_estimate,
    verdict,
)
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
    right = {"CW": 100, "CH": 0, "TN": 100, "DO": 0, "Cau": 50, "Tem": 100, "Des": 0, "Total": 60}
    assert table["accuracy"].to_dict() == right


def test_missing_predictions_count_as_wrong_and_are_reported():
    table = accuracy(predictions(("1", 0), ("3", None)), SAMPLES)
    assert table.loc["Total", ["n", "correct"]].tolist() == [5, 1] and table.attrs["unanswered"] == 4


@pytest.mark.parametrize(
    ("rows", "samples", "message"),
    [
        ([("9", 0)], SAMPLES, "unknown ids, e.g. '9'"),
        ([("1", 0), ("1", 1)], SAMPLES, "more than once, e.g. '1'"),
        ([("1", 0)], [sample("1", None, "CW")], "unlabelled"),
        *(
            (
                [("2", 0), ("1", wrong)],
                SAMPLES,
                f"1 predictions are no options, e.g. .*{wrong}.* for '1'. Count options from 0",
            )
            for wrong in (5, -1, 0.5, "A")
        ),
    ],
)
def test_predictions_that_do_not_fit(rows, samples, message):
    with pytest.raises(PredictionError, match=message):
        accuracy(predictions(*rows), samples)


# --- intervals --------------------------------------------------------------------------------------------------------


def test_independent_questions_and_one_seed_are_a_t_test():
    values = np.random.default_rng(0).normal(0.1, 1, 60)
    ours, theirs = estimate(values, range(60)), stats.ttest_1samp(values, 0)
    assert (ours.low, ours.high) == pytest.approx(tuple(100 * np.array(theirs.confidence_interval())))
    assert (ours.p, ours.df, ours.value) == pytest.approx((theirs.pvalue, 59, 100 * values.mean()))
    assert "(one seed)" in str(ours) and np.isnan(ours.seed_sd)


def test_one_seed_is_clustered_by_video():
    """Against statsmodels' cluster-robust variance of a mean, videos with one to nine questions."""
    rng = np.random.default_rng(1)
    videos = np.repeat(np.arange(40), rng.integers(1, 10, 40))
    values = (rng.random(len(videos)) < 0.6) - (rng.random(40) < 0.3)[videos].astype(float)
    fit = OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": videos})
    ours = estimate(values, [f"{video}.mp4" for video in videos])
    assert ours.se == pytest.approx(100 * fit.bse[0])
    assert (ours.videos, ours.questions, ours.df) == (40, len(videos), 39)


def test_seeds_crossed_with_videos_by_analysis_of_variance():
    """Mean squares from statsmodels' two-way analysis of variance, one value a cell."""
    rng = np.random.default_rng(2)
    values = rng.normal(0.2, 1, (4, 30)) + rng.normal(0, 0.5, (4, 1)) + rng.normal(0, 2, (1, 30))
    cells = pd.DataFrame([(s, v, values[s, v]) for s in range(4) for v in range(30)], columns=["seed", "video", "y"])
    table = anova_lm(OLS.from_formula("y ~ C(seed) + C(video)", cells).fit())
    seeds, videos, rest = (table["sum_sq"] / table["df"])[["C(seed)", "C(video)", "Residual"]]
    ours = estimate(values, range(30))
    assert ours.se == pytest.approx(100 * np.sqrt((seeds + videos - rest) / 120))
    assert 1 / ours.df == pytest.approx((seeds / 3 + (videos - rest) / 29) / (seeds + videos - rest))
    assert ours.seed_sd == pytest.approx(100 * np.std(values.mean(axis=1), ddof=1))


def test_seeds_that_disagree_wholly():
    """Two seeds, all right and all wrong: another seed could be anywhere."""
    interval = estimate(np.stack([np.ones(500), np.zeros(500)]), np.arange(500) // 3)
    assert interval.value == 50 and interval.low < 0 and interval.high > 100


def test_nothing_varies():
    """Contrasts of equal runs are zero but for rounding, which is no effect; and all wrong is surely not right."""
    weights, right = np.array([-0.2, -0.1, 0, 0.1, 0.2]), np.random.default_rng(3).random((3, 90)) < 0.7
    nothing = estimate(sum(weight * right for weight in weights), np.arange(90) // 3)
    assert nothing.p == 1 and nothing.low == pytest.approx(nothing.high) == pytest.approx(0)
    assert estimate(np.ones((3, 90)), np.arange(90) // 3).p == 0


def test_one_video_has_no_interval():
    only = estimate(np.array([[1, 0, 1], [1, 1, 1]]), ["a", "a", "a"])
    assert only.value == pytest.approx(250 / 3) and np.isnan([only.low, only.high, only.p]).all()
    assert verdict(only, 1, only.p) == "undecided"


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_order_and_names_do_not_matter(seed, seeds):
    rng = np.random.default_rng(seed)
    values, videos = rng.random((seeds, 24)) < rng.random((1, 24)), rng.integers(0, 6, 24)
    seeds_order, order, names = rng.permutation(seeds), rng.permutation(24), rng.permutation(6)
    first, second = estimate(values, videos), estimate(values[seeds_order][:, order], names[videos][order])
    for field in ("value", "low", "high", "df", "p", "seed_sd"):
        assert getattr(first, field) == pytest.approx(getattr(second, field), nan_ok=True), field


def test_pairing_removes_what_runs_share():
    rng = np.random.default_rng(0)
    first = rng.random(600) < 0.5
    second = first.copy()
    second[np.flatnonzero(~first)[:30]] = True  # better on 30 questions, never worse
    difference = estimate(second.astype(float) - first, range(600))
    assert difference.value == pytest.approx(5) and difference.low > 3 and difference.high < 7


def test_mean_of_data_sets():
    """Variances of data sets with videos and seeds of their own add."""
    rng = np.random.default_rng(4)
    values = [rng.random((3, 200)) + rng.normal(0, spread, (3, 1)) for spread in (0.1, 0.1, 0.3)]
    alone = [estimate(each, range(200)) for each in values]
    both = mean_estimate([(each, range(200)) for each in values])
    assert both.value == pytest.approx(np.mean([each.value for each in alone]))
    assert both.se == pytest.approx(np.sqrt(sum(each.se**2 for each in alone)) / 3)
    assert both.seed_sd == pytest.approx(np.sqrt(sum(each.seed_sd**2 for each in alone)) / 3)
    assert min(each.df for each in alone) < both.df < sum(each.df for each in alone)
    assert (both.questions, both.videos, both.seeds) == (600, 600, 3)
    with pytest.raises(ValueError, match="2 and 3 seeds"):
        mean_estimate([(values[0], range(200)), (values[1][:2], range(200))])


def test_values_without_videos():
    with pytest.raises(ValueError, match="3 questions need a video each"):
        estimate(np.ones((2, 3)), ["a", "b"])
    with pytest.raises(ValueError, match="no questions"):
        estimate(np.ones((2, 0)), [])


# --- coverage ---------------------------------------------------------------------------------------------------------

# What a seed, a video and both together add to the score behind right and wrong, as standard deviations; that of the
# score's own noise is 1. 0.15 is about 5 points of accuracy.
EFFECTS = {
    "none": (0.0, 0.0, 0.0),
    "seeds": (0.15, 0.0, 0.0),
    "small seeds": (0.04, 0.0, 0.0),
    "videos": (0.0, 0.8, 0.0),
    "both": (0.08, 0.5, 0.0),
    "interaction": (0.08, 0.5, 0.5),
}


def covered(rng, what, effects, seeds, videos, per_video=(3, 3)) -> bool:
    """Does one interval contain the planted value? Right or wrong is whether a score is above zero, so the expected
    accuracy is a normal probability.

    what: "accuracy" of one setting; "difference" of two that share half of every effect's variance; "mean" of that
        over three data sets.
    per_video: fewest and most questions about a video.
    """
    effects, shared = np.array(effects), np.sqrt(0.5)
    total = np.sqrt(1 + (effects**2).sum())
    of = np.repeat(np.arange(videos), rng.integers(*per_video, videos, endpoint=True))
    settings = 1 if what == "accuracy" else 2
    means = np.array([0.2, 0.45])[:settings]
    parts = []
    for _ in range(3 if what == "mean" else 1):

        def draw(which, *shape):
            common, own = rng.normal(0, effects[which], shape), rng.normal(0, effects[which], (settings, *shape))
            return own if settings == 1 else shared * (common + own)

        score = means[:, None, None] + draw(0, seeds, 1) + (draw(1, 1, videos) + draw(2, seeds, videos))[..., of]
        right = score + rng.normal(size=(settings, seeds, len(of))) > 0
        parts.append((right[0] if settings == 1 else right[1].astype(float) - right[0], of))
    found = mean_estimate(parts)
    truth = 100 * np.diff([0, *stats.norm.cdf(means / total)])[-1]
    return found.low <= truth <= found.high


def coverage(repetitions, seed=0, **scenario) -> float:
    rng = np.random.default_rng(seed)
    return float(np.mean([covered(rng, **scenario) for _ in range(repetitions)]))


SCENARIOS = [
    dict(what=what, effects=effects, seeds=seeds, videos=100)
    for what in ("accuracy", "difference")
    for effects in EFFECTS.values()
    for seeds in (3, 5)
] + [
    *(dict(what="mean", effects=EFFECTS[name], seeds=3, videos=100) for name in ("seeds", "both", "interaction")),
    dict(what="difference", effects=EFFECTS["both"], seeds=3, videos=1000),
    dict(what="difference", effects=EFFECTS["videos"], seeds=1, videos=100),
    dict(what="difference", effects=EFFECTS["interaction"], seeds=3, videos=100, per_video=(1, 9)),
]


@pytest.mark.slow
def test_coverage():
    """95 % intervals cover 93 to 97 % in every scenario, give or take three standard errors of the simulation."""
    repetitions = 300
    found = [coverage(repetitions, seed=i, **scenario) for i, scenario in enumerate(SCENARIOS)]
    for share, scenario in zip(found, SCENARIOS, strict=True):
        assert 0.93 - 3 * np.sqrt(0.93 * 0.07 / repetitions) <= share, scenario
        assert share <= 0.97 + 3 * np.sqrt(0.97 * 0.03 / repetitions), scenario
    assert np.mean(found) == pytest.approx(0.953, abs=0.006)  # not all of them at one end


# --- one verdict ------------------------------------------------------------------------------------------------------


def found(value, se, seeds=5, df=1e6, seed_sd=2.0, videos=1000):
    half = stats.t.ppf(0.975, df) * se
    p = 2 * stats.t.sf(abs(value) / se, df)
    return Estimate(value, value - half, value + half, se, df, p, seeds, videos, 3 * videos, seed_sd)


@pytest.mark.parametrize(
    ("value", "se", "margin", "expected"),
    [
        (2.0, 0.5, 1, "reproduced"),
        (-2.0, 0.5, 1, "contradicted"),
        (0.3, 0.4, 1, "no effect"),  # 90 % interval [-0.36, 0.96]
        (0.4, 0.4, 1, "undecided"),  # [-0.26, 1.06]
        (0.4, 0.4, 2, "no effect"),
        (-1.0, 2.0, 1, "undecided"),
    ],
)
def test_verdicts(value, se, margin, expected):
    effect = found(value, se)
    assert verdict(effect, margin, effect.p) == expected
    assert verdict(found(value, se, seeds=1), margin, effect.p) is None
    if expected == "no effect":  # its 95 % interval has to lie within the margin at a second look
        assert (verdict(effect, margin, effect.p, looks=2) == "no effect") == (max(-effect.low, effect.high) < margin)
    assert verdict(effect, margin, 0.2) in ("undecided", "no effect")  # a correction can take a verdict away


@pytest.mark.parametrize(
    ("paper", "expected"),
    [(2.0, "reproduced"), (6.1, "same sign, other size"), (0.6, "same sign, other size"), (np.nan, "reproduced")],
)
def test_an_effect_of_another_size_is_not_reproduced(paper, expected):
    """Within a factor of three of the paper's, where it prints one."""
    effect = found(2.0, 0.5)
    assert verdict(effect, 1.0, effect.p, paper) == expected
    assert verdict(found(-2.0, 0.5), 1.0, effect.p, paper) == "contradicted"


def test_margin_is_a_point_or_half_of_the_papers_effect():
    assert [margin_of(paper) for paper in (None, np.nan, 1.4, -6.2)] == [1, 1, 1, 3.1]


def test_holm_by_hand():
    """0.01 * 3, 0.02 * 2, and 0.03 * 1 is not less than the one before."""
    assert holm([0.03, 0.01, 0.02]).tolist() == pytest.approx([0.04, 0.03, 0.04])


@pytest.mark.parametrize(
    ("df", "claims", "tolerance"), [(4, 1, 0.03), (1000, 1, 0.03), (12, 26, 0.05), (1000, 26, 0.05)]
)
def test_the_detectable_effect_is_found_four_times_in_five(df, claims, tolerance):
    """Against the noncentral t distribution; also at the first of Holm's steps over 26 claims."""
    critical = stats.t.ppf(1 - 0.025 / claims, df)
    power = stats.nct.sf(critical, df, found(0.0, 0.7, df=df).detectable(0.05 / claims) / 0.7)
    assert power == pytest.approx(0.8, abs=tolerance)


def test_mcnemar_by_hand():
    """3 against 9 discordant pairs: 2 * sum_{k<=3} C(12, k) / 2^12 = 598 / 4096."""
    first = np.array([True] * 3 + [False] * 9 + [True] * 20)
    second = np.array([False] * 3 + [True] * 9 + [True] * 20)
    assert mcnemar(first, second) == pytest.approx(598 / 4096)
    assert mcnemar(first, first) == 1.0
    with pytest.raises(ValueError, match="expected True or False for each question"):
        mcnemar(np.array([0, 1, 2]), np.array([1, 2, 3]))
