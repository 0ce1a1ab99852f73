"""The claims as rows of data, the one aggregator of runs, and the ledger, against hand-worked numbers."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reasvqa import paths
from reasvqa.companion import results
from reasvqa.companion.claims import Claim, Term, claims
from reasvqa.companion.experiments import BETAS, EXPERIMENTS, settings_of
from reasvqa.companion.paper import PRINTED, cell
from reasvqa.evaluation import Estimate, estimate
from reasvqa.samples import Sample

OF = {claim.id: claim for claim in claims()}


# --- claims -----------------------------------------------------------------------------------------------------------


def test_every_term_is_a_row_that_is_trained_and_every_place_is_printed():
    trained = {name: settings_of(name, "mini", [0]) for name in EXPERIMENTS}
    for claim in claims():
        for term in claim.terms:
            for dataset in claim.datasets:
                if term.experiment != "table4" and term.row not in EXPERIMENTS[term.experiment].official:
                    assert (dataset, term.row) in trained[term.experiment]
                if term.printed:
                    assert np.isfinite(cell(term.printed.format(dataset=PRINTED[dataset])))
    kinds = pd.Series([claim.kind for claim in claims()])
    assert kinds.isin(["claim", "set", "repeated"]).sum() == 31 + 1  # of the paper, and our positive control
    given = {claim.id for claim in claims() if claim.kind == "set"}
    assert given == {"stl-cr", "stl-all", "mtl-stl", "generators", "lora", "reasoning-lora", "positive"}


def comparison(claim: Claim) -> frozenset:
    """The runs that a claim compares, whatever the table: the paper claims some comparisons twice."""
    return frozenset(
        (dataset, claim.split, term.weight, config)
        for dataset in claim.datasets
        for term in claim.terms
        if term.experiment != "table4"
        for configs in settings_of(term.experiment, "mini", [0], [dataset], [term.row]).values()
        for config in configs
    )


def test_a_comparison_counts_once():
    counted = [comparison(claim) for claim in claims() if claim.kind == "claim"]
    assert len(set(counted)) == len(counted)
    for claim in claims():
        if claim.kind == "repeated":
            assert counted.count(comparison(claim)) == 1


def test_the_papers_effects_by_hand():
    """From Tables 3, 4, 5, 8, 9 and 10, as printed."""
    by_hand = {
        "mtl": (76.8 + 73.2 + 77.0 - 75.4 - 71.0 - 73.3) / 3,
        "mtl-nextqa": 76.8 - 75.4,
        "mtl-star": 73.2 - 71.0,
        "mtl-intentqa": 77.0 - 73.3,
        "mtl-cr": (76.2 + 72.9 + 76.1 - 75.4 - 71.0 - 73.3) / 3,
        "all-cr": (76.8 + 73.2 + 77.0 - 76.2 - 72.9 - 76.1) / 3,
        "stl-cr": 74.2 - 75.4,
        "stl-all": 75.4 - 73.3,
        "mtl-stl": (76.8 + 76.2 - 73.3 - 74.2) / 2,
        "backbone-1": (77.0 + 74.5 + 77.0 - 74.5 - 71.0 - 73.0) / 3,
        "backbone-2": (65.8 + 61.5 + 63.2 - 64.2 - 60.0 - 58.9) / 3,
        "backbone-3": (78.9 + 68.2 + 77.6 - 77.5 - 66.2 - 74.1) / 3,
        "generators": (67.0 + 69.8 + 69.0 - 59.8 - 60.3 - 61.9) / 3,
        "reasoning": 74.5 - 71.0,
        "lora": 74.5 - 68.3,
        "reasoning-lora": 68.3 - 71.0,
        "brief": 71.0 - 70.7,
        "detailed": 71.7 - 71.0,
        "captions": 73.2 - 71.7,
        "refined-4b": (76.5 + 76.4 - 75.5 - 75.7) / 2,
        "original-all-4b": (75.9 + 75.7 - 75.5 - 75.7) / 2,
        "refined-all-4b": (76.5 + 76.4 - 76.2 - 76.3) / 2,
        "stronger": (76.8 + 77.0 - 76.5 - 76.4) / 2,
    }
    by_hand["second"] = by_hand["mtl"]
    printed = {claim.id: claim.paper for claim in claims() if claim.paper is not None}
    assert printed == pytest.approx(by_hand)
    assert OF["mtl-intentqa"].margin == pytest.approx(3.7 / 2) and OF["all-cr"].margin == 1


def value(claim, accuracies):
    """A contrast's value, its rows' accuracies given by name."""
    return sum(term.weight * accuracies[term.row] for term in claim.terms)


def test_contrasts_on_accuracies_made_up_for_them():
    amounts = ("25% CR", "50% CR", "75% CR", "CR", "All")
    rising = {f"Refined, {amount}": 60 + 1.5 * i for i, amount in enumerate(amounts)}
    flat = {f"Original, {amount}": 61.0 for amount in amounts}
    assert value(OF["trend"], rising | flat) == pytest.approx(6)  # from 60 to 66
    assert value(OF["plateau"], rising | flat) == pytest.approx(6)
    assert value(OF["refined-mean"], rising | flat) == pytest.approx((60 + 64.5 + 66) / 3 - 61)
    assert value(OF["refined"], rising | flat) == pytest.approx(66 - 61)
    curve = {f"{beta:.1f}": 70 + 0.25 * min(10 * beta, 8) for beta in BETAS}  # to 0.8, then level
    assert value(OF["beta-rise"], curve) == pytest.approx(1.75)  # 0.25 points a tenth, seven of them
    assert value(OF["beta-half"], curve) == pytest.approx(1.25)
    assert value(OF["little"], curve) == pytest.approx(0.25)
    curve["0.9"] = 69.0
    assert value(OF["beta-fall"], curve) == pytest.approx(70 + 0.25 * (5 + 7) / 2 - 69)


CLAIMS, TERMS, FIRST = "claims.csv", "claims_terms.csv", "mtl,table5,STL_QA"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            CLAIMS,
            ",claim,nextqa star,",
            ",hope,nextqa star,",
            "line 22, column kind='hope': choose one of claim, repeated, set",
        ),
        (CLAIMS, ",claim,star,", ",claim,STAR,", "column datasets='STAR': choose one of nextqa, star, intentqa"),
        (CLAIMS, "mtl-nextqa,", "mtl,", "line 3, column claim: 'mtl' occurs a second time"),
        (CLAIMS, "mtl-nextqa,", "mtl-next,", "the weights of 'mtl-next' in claims_terms.csv must be there"),
        (TERMS, f"{FIRST},-1,", f"{FIRST},-2,", "sum to zero"),
        (TERMS, f"{FIRST},-1,", f"{FIRST},one,", "line 3, column weight: expected a number"),
        (TERMS, FIRST, "mtl,table5,STLQA", "column row='STLQA': choose one of STL_QA"),
        (TERMS, FIRST, "mtl,table55,STL_QA", "column experiment='table55': choose one of table1"),
        (TERMS, FIRST, "new,table5,STL_QA", "sum to zero"),
    ],
)
def test_claims_that_cannot_be(tmp_path, file, old, new, message):
    for name in (CLAIMS, TERMS):
        shutil.copy(paths.PAPER_NUMBERS / name, tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        claims(tmp_path)


def test_one_seed_on_two_data_sets_is_refused():
    """What a seed does to both would count as two seeds' chance."""
    table = pd.DataFrame(np.eye(2), pd.MultiIndex.from_tuples([("a", "v"), ("b", "w")], names=["id", "video"]), [0, 1])
    with pytest.raises(ValueError, match=r"the same seed on two data sets: \[0, 1\]; \[0, 1\]"):
        results.contrast([[(1, table)], [(1, table)]])
    assert results.contrast([[(1, table)], [(1, table.set_axis([5, 6], axis=1))]]).value == 50


# --- aggregation ------------------------------------------------------------------------------------------------------


def run(seed, right, ids="abcdef", groups="TTCCDD", dataset="made-up"):
    """A run that answered option 1 where it should have, else option 0; two questions a video."""
    predictions = pd.DataFrame({"id": list(ids), "prediction": [int(ok) for ok in right], "answer": 1})
    predictions["prediction"] = predictions["prediction"].astype("Int64")
    predictions["group"] = list(groups)
    samples = [Sample(id, f"{i // 2}.mp4", None, "q", ("a", "b"), 1, "CW") for i, id in enumerate(sorted(ids))]
    config = SimpleNamespace(seed=seed, split="test", dataset=dataset)
    return SimpleNamespace(config=config, predictions_on=lambda split: predictions, samples=lambda split: samples)


def test_accuracy_over_seeds_and_by_group():
    runs = [run(0, [1, 0, 1, 1, 0, 0]), run(1, [1, 1, 1, 1, 0, 1])]
    found = results.accuracy_of(runs)
    assert found.value == pytest.approx(100 * (3 / 6 + 5 / 6) / 2)
    assert (found.seeds, found.questions, found.videos) == (2, 6, 3)
    assert found == estimate(np.array([[1, 0, 1, 1, 0, 0], [1, 1, 1, 1, 0, 1]]), [0, 0, 1, 1, 2, 2])
    table = results.values(results.by_group({"ours": runs}))
    assert table.loc["ours"].to_dict() == pytest.approx({"T": 75, "C": 100, "D": 25, "Tot": 200 / 3})
    estimates = results.by_group({("star", "ours"): runs})
    assert estimates.loc["ours", "Tot"] == found and estimates.loc["ours", "T"].questions == 2
    estimates.loc["theirs"] = {"T": 50.0, "Tot": 60.0}
    numbers = results.values(estimates)
    assert numbers.dtypes.unique().tolist() == [np.float64] and numbers.loc["theirs"].isna().tolist().count(True) == 2
    assert results.values(table) is table
    rows = results.summary({("star", "MTL_All"): runs, ("star", "STL_QA"): runs[:1]}).reset_index()
    assert rows[["dataset", "row", "seeds"]].values.tolist() == [["star", "MTL_All", 2], ["star", "STL_QA", 1]]
    assert rows["sd of seeds"].tolist() == pytest.approx([100 * np.std([3 / 6, 5 / 6], ddof=1), np.nan], nan_ok=True)


def test_differences_are_paired_by_seed_and_question():
    """Other order of questions, other order of seeds, one seed more: the same pairs."""
    first = [run(0, [1, 0, 1, 1, 0, 0]), run(1, [1, 1, 1, 1, 0, 1])]
    second = [run(2, [0, 0, 0, 0, 0, 0]), run(1, [1, 1, 1, 1, 1, 1], "fedcba"), run(0, [0, 0, 1, 1, 1, 1], "fedcba")]
    found = results.difference(first, second)
    # second, in the order abcdef: seed 0 right on a, b, c, d; seed 1 on all
    by_hand = np.array([[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]])
    assert found == estimate(by_hand, [0, 0, 1, 1, 2, 2])
    assert found.value == pytest.approx(100 / 6) and found.seeds == 2


def test_what_cannot_be_paired():
    first = [run(0, [1, 0, 1, 1, 0, 0])]
    with pytest.raises(ValueError, match="different questions"):
        results.difference(first, [run(0, [1, 0, 1, 1, 0, 0], "abcdeg")])
    with pytest.raises(ValueError, match="different questions cannot be compared"):
        results.accuracy_of([*first, run(1, [1, 0, 1, 1, 0], "abcde", "TTCCD")])
    with pytest.raises(ValueError, match="no seed is common"):
        results.difference(first, [run(3, [1, 0, 1, 1, 0, 0])])
    unlabelled = run(0, [1, 0, 1, 1, 0, 0])
    unlabelled.predictions_on("test")["answer"] = None
    with pytest.raises(ValueError, match="made-up, test: this split has no labels"):
        results.accuracy_of([unlabelled])


# --- the ledger -------------------------------------------------------------------------------------------------------

CHANCES = {"up": 0.7, "down": 0.5, "same": 0.6, "control": 0.7}  # of a right answer; answers only: 0.6


def effects(seeds: int = 3, **p: float) -> list[tuple[Claim, Estimate]]:
    """Made-up claims with the effects of students that answer at random with the given chances; `p` replaces theirs."""
    rng = np.random.default_rng(2)
    videos = np.arange(3000) // 3
    easy = rng.random(3000)  # what the settings share

    def right(chance: float) -> np.ndarray:
        lucky = rng.random((seeds, 3000)) < 0.1  # one answer in ten is a matter of luck
        return np.where(lucky, rng.random((seeds, 3000)) < 0.5, easy < chance).astype(float)

    answers_only, made = right(0.6), []
    for id, chance in CHANCES.items():
        kind = "control" if id == "control" else "claim"
        terms = (Term("table5", id, 1, ""), Term("table5", "STL_QA", -1, ""))
        effect = estimate(right(chance) - answers_only, videos)
        made.append((Claim(id, "", id, kind, terms, ("star",)), replace(effect, p=p.get(id, effect.p))))
    return made


def test_the_ledger_finds_what_is_there():
    table = results.judge(effects()).set_index("claim", drop=False)
    assert list(table.columns) == results.LEDGER + results.STATISTICS
    assert (table["inner_low"] > table["low"]).all() and (table["inner_high"] < table["high"]).all()
    # Only "same" is not found among the claims: it is judged at its own level.
    alone = table.loc["same", "se"] * sum(stats.t.ppf(level, table.loc["same", "df"]) for level in (0.975, 0.8))
    assert table.loc["same", "detectable"] == pytest.approx(alone)
    verdicts = {"up": "reproduced", "down": "contradicted", "same": "no effect", "control": "reproduced"}
    assert table["verdict"].to_dict() == verdicts
    assert table["effect"].to_dict() == pytest.approx({"up": 9, "down": -9, "same": 0, "control": 9}, abs=2)
    assert (table["margin"] == 1).all() and (table["seeds"] == 3).all() and (table["questions"] == 3000).all()


def test_controls_are_a_family_of_their_own():
    """Holm by hand: of p = 0.01, 0.02, 0.04 in three claims 0.03, 0.04, 0.04 remain; a control keeps its own."""
    table = results.judge(effects(up=0.01, down=0.02, same=0.04, control=0.04))
    assert table["p_corrected"].tolist() == pytest.approx([0.03, 0.04, 0.04, 0.04])


@pytest.mark.slow
def test_a_second_look_counts_each_p_twice():
    """By hand: 0.005, 0.01, 0.04 become 0.01, 0.02, 0.08, and after Holm 0.03, 0.04, 0.08; a control keeps its own."""
    once, twice = (results.judge(effects(up=0.005, down=0.01, same=0.04, control=0.04), k) for k in ({}, {"claim": 2}))
    assert twice["p_corrected"].tolist() == pytest.approx([0.03, 0.04, 0.08, 0.04])
    assert twice["inner_low"].tolist()[:3] == pytest.approx(once["low"].tolist()[:3])  # a 95 % interval
    assert twice["inner_low"].tolist()[3] == once["inner_low"].tolist()[3]


def test_one_seed_gets_no_verdict():
    table = results.judge(effects(seeds=1))
    assert table["verdict"].isna().all() and (table["seeds"] == 1).all() and table["p_corrected"].isna().all()


def test_notebooks_read_their_verdict_in_the_ledger(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "figures", lambda scale: tmp_path)
    assert results.judged("table5", "mini").empty
    ids = ["mtl", "mtl-cr", "brief", "little"]
    table = results.judge(effects()).assign(claim=ids)
    table[results.LEDGER].to_csv(tmp_path / "claims.csv", index=False, float_format="%.4f")
    read = results.judged("table5", "mini")
    assert read["verdict"].tolist() == table["verdict"].tolist()[:2]
    assert results.interval(dict(read.loc["mtl"])) == results.interval(dict(table.iloc[0]))
    assert results.judged("table10", "mini").empty
