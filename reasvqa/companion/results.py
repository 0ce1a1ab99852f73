"""Many runs side by side: the one way to aggregate them, to compare settings, and to judge the paper's claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from reasvqa import paths
from reasvqa.companion.claims import Claim, Term, claims, second_look, settings_of_claims
from reasvqa.companion.experiments import SETTINGS, TABLE4, config_of, dataset_name, name_at, settings_of
from reasvqa.companion.scales import OFFICIAL_SCALES
from reasvqa.config import TrainConfig
from reasvqa.datasets import load
from reasvqa.evaluation import (
    LEVEL,
    Estimate,
    estimate,
    holm,
    mean_estimate,
    plain,
    right_or_wrong,
    seeds_needed,
    signed,
    verdict,
)
from reasvqa.generation import read_reasoning
from reasvqa.learning import Run, train_all
from reasvqa.learning.many import kept_run

Key = TypeVar("Key")

# --- runs -------------------------------------------------------------------------------------------------------------


def runs_of(experiment: str, scale: str, seeds: Sequence[int], **which) -> dict[tuple[str, str], list[Run]]:
    """The runs of a table or figure, by (dataset, row); what is not kept is trained. Arguments of `settings_of`."""
    return train_each(settings_of(experiment, scale, seeds, **which))


def train_settings(
    configs: Mapping[str, TrainConfig], seeds: Sequence[int], *, force: bool = False
) -> dict[str, list[Run]]:
    """By the setting's name a run per seed; all that are missing are trained side by side."""
    wanted = {name: [replace(config, seed=seed) for seed in seeds] for name, config in configs.items()}
    return train_each(wanted, force=force)


def train_each(settings: Mapping[Key, Sequence[TrainConfig]], *, force: bool = False) -> dict[Key, list[Run]]:
    """The runs of several settings, by their keys; all that are missing are trained side by side."""
    runs = iter(train_all([config for configs in settings.values() for config in configs], force=force))
    return {key: [next(runs) for _ in configs] for key, configs in settings.items()}


def find_runs(name: str, scale: str, dataset: str, split: str, seeds: Sequence[int]) -> list[Run]:
    """The runs of a setting, trained if they are not kept; or the one kept run whose folder in data/runs has this name.

    Raises:
        ValueError: neither a setting nor a kept run.
    """
    if name not in SETTINGS and (paths.runs() / name / "meta.json").is_file():
        return [Run(paths.runs() / name)]
    return train_settings({name: config_of(name, scale, dataset, split=split)}, seeds)[name]


def kept(config: TrainConfig, seeds: Iterable[int]) -> list[Run]:
    """The runs of a setting that are kept, of these seeds; nothing is trained."""
    configs = [replace(config, seed=seed).resolve() for seed in seeds]
    return [run for config in configs if (run := kept_run(config))]


# --- aggregation ------------------------------------------------------------------------------------------------------


def outcomes(runs: Sequence[Run], group: str | None = None, split: str | None = None) -> pd.DataFrame:
    """Right (1.0) or wrong (0.0): a row per question, by id and video, a column per run, by its seed.

    Args:
        runs: of one setting on one data set.
        group: only questions of this group of the paper's (Tem, Cau, ...).
        split: None: the runs' own.

    Raises:
        ValueError: runs on different questions, or a split without labels.
    """
    split = split or runs[0].config.split
    tables = [run.predictions_on(split) for run in runs]
    if group is not None:
        tables = [table[table["group"] == group] for table in tables]
    if tables[0]["answer"].isna().any():
        raise ValueError(f"{runs[0].config.dataset}, {split}: this split has no labels; ask for another")
    video = {sample.id: sample.video for sample in runs[0].samples(split)}
    ids = tables[0]["id"]
    index = pd.MultiIndex.from_arrays([ids, ids.map(video)], names=["id", "video"])
    return pd.DataFrame(right_or_wrong(tables).T.astype(float), index, [run.config.seed for run in runs])


def contrast(weighted: Sequence[Sequence[tuple[float, pd.DataFrame]]]) -> Estimate:
    """A weighted sum of accuracies in points, paired question by question and seed by seed; the mean over data sets.

    Args:
        weighted: for each data set, weights with `outcomes`. Of a data set's seeds, those are used that all of its
            terms have.

    Raises:
        ValueError: no common seed, the same seed on two data sets (what it does to both would count as two), or
            different questions.
    """
    used: list[list] = []
    for terms in weighted:
        first, *others = (list(table.columns) for _, table in terms)
        used.append([seed for seed in first if all(seed in other for other in others)])
        if not used[-1]:
            raise ValueError(f"no seed is common to all settings: {'; '.join(map(str, [first, *others]))}")
    everywhere = [seed for seeds in used for seed in seeds]
    if len(set(everywhere)) < len(everywhere) and max(map(len, used)) > 1:
        raise ValueError(f"the same seed on two data sets: {'; '.join(map(str, used))}; give each seeds of its own")
    sums = []
    for terms, seeds in zip(weighted, used, strict=True):
        total = sum(weight * table[seeds] for weight, table in terms)
        assert isinstance(total, pd.DataFrame)
        if total.isna().any(axis=None):  # pandas aligns by question
            raise ValueError(
                "settings that answered different questions cannot be compared "
                f"({', '.join(str(len(table)) for _, table in terms)} questions); make the runs of one of them anew"
            )
        sums.append(total)
    return mean_estimate([(table.to_numpy().T, table.index.get_level_values("video")) for table in sums])


def accuracy_of(runs: Sequence[Run], group: str | None = None, split: str | None = None) -> Estimate:
    """Accuracy of a setting in percent over its seeds, with its interval; arguments of `outcomes`."""
    return contrast([[(1, outcomes(runs, group, split))]])


def difference(
    first: Sequence[Run], second: Sequence[Run], group: str | None = None, split: str | None = None
) -> Estimate:
    """second - first in points, paired on the questions and the seeds that both have; other arguments of `outcomes`."""
    return contrast([[(1, outcomes(second, group, split)), (-1, outcomes(first, group, split))]])


def summary(runs: Mapping[Any, Sequence[Run]]) -> pd.DataFrame:
    """A row per setting, by its key: accuracy in percent, low, high (95 %), sd of seeds (points), seeds, questions.

    Keys (dataset, row), as `runs_of` has them, become two levels of the index with these names.
    """
    rows = []
    for setting in runs.values():
        found = accuracy_of(setting)
        rows.append((found.value, found.low, found.high, found.seed_sd, found.seeds, found.questions))
    table = pd.DataFrame(rows, columns=["accuracy", "low", "high", "sd of seeds", "seeds", "questions"])
    keys = list(runs)
    pairs = all(isinstance(key, tuple) for key in keys)
    table.index = pd.MultiIndex.from_tuples(keys, names=["dataset", "row"]) if pairs else pd.Index(keys)
    return table


def by_group(runs: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """Accuracy in percent of each setting on one data set: a column for each of the paper's question groups (Tem, Cau,
    ...) and "Tot"."""
    return values(estimates_by_group(runs))


def estimates_by_group(runs: Mapping[Any, Sequence[Run]], split: str | None = None) -> pd.DataFrame:
    """The table of `by_group` with an `Estimate` in each cell; on the runs' own split or another.

    runs: by a row's name, or, of one data set, by (dataset, row).
    """
    rows = {}
    for key, setting in runs.items():
        groups = setting[0].predictions_on(split or setting[0].config.split)["group"].unique()
        found = {group: accuracy_of(setting, group, split) for group in groups}
        rows[key[1] if isinstance(key, tuple) else key] = found | {"Tot": accuracy_of(setting, None, split)}
    return pd.DataFrame.from_dict(rows, orient="index")


def values(table: pd.DataFrame) -> pd.DataFrame:
    """A table with the estimates in it as numbers, their values; other cells, and a table without any, stay."""
    if not any(isinstance(cell, Estimate) for cell in table.to_numpy().flat):
        return table
    return table.map(lambda cell: cell.value if isinstance(cell, Estimate) else cell).infer_objects()


def atp_hard(scale: str) -> dict[str, set[str]]:
    """The ids of NExT-QA's validation questions in two parts: ATP-hard, and the others."""
    nextqa = dataset_name(scale, "nextqa")
    hard, asked = ({sample.id for sample in load(nextqa, split)} for split in ("atp-hard", "val"))
    return {"ATP-hard": hard, "the other validation questions": asked - hard}


# --- generators -------------------------------------------------------------------------------------------------------


def answered(dataset: str, generator: str) -> pd.DataFrame:
    """What a generator makes of the training questions: a row each, id, video, group, prediction, correct (0.0 or
    1.0; a response that names no option is not correct).

    Args:
        dataset: a name for `reasvqa.datasets.load`.
        generator: names the reasoning file.
    """
    samples = load(dataset, "train")[: TrainConfig(dataset=dataset).resolve().questions]
    told = read_reasoning(paths.reasoning(paths.dataset(dataset), generator), samples)
    table = samples.to_pandas()[["id", "video", "group"]].merge(told[["id", "prediction", "correct"]], on="id")
    return table.assign(correct=table["correct"].fillna(False).astype(float))


def generator_accuracy(scale: str, dataset: str, generator: str) -> Estimate:
    """How often a generator answers the training questions rightly, in percent."""
    return _right(answered(dataset_name(scale, dataset), generator))


def _right(table: pd.DataFrame) -> Estimate:
    return estimate(table["correct"].to_numpy(), table["video"].to_numpy())


def generator_by_group(config: TrainConfig) -> dict[str, float]:
    """How often the generator that a run learns from answers rightly: by the paper's question groups, and "Tot"."""
    table = answered(config.dataset, config.generator)
    right = 100 * table.groupby("group")["correct"].mean()
    return {**right, "Tot": 100 * table["correct"].mean()}


def by_strength(runs: Mapping[tuple[str, str], Sequence[Run]], accuracy: pd.Series) -> pd.DataFrame:
    """`summary` of the rows that are named after generators ("Refined, sim-4b"), by row, with the columns kind,
    generator and generator_accuracy. accuracy: of the generators, in percent."""
    cells = summary({row: setting for (_, row), setting in runs.items() if ", " in row}).rename_axis("row")
    cells[["kind", "generator"]] = [row.lower().split(", ") for row in cells.index]
    return cells.assign(generator_accuracy=cells["generator"].map(accuracy))


def generators(scale: str, datasets: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """How often generators answer the training questions rightly, in the form of `summary` (keys: dataset, generator),
    and how many of their responses name no option, in percent: "no option"."""
    rows = {}
    for dataset in datasets:
        for name in names:
            table = answered(dataset_name(scale, dataset), name)
            found = _right(table)
            rows[dataset, name] = (found.value, found.low, found.high, found.seed_sd, 1, found.questions)
            rows[dataset, name] += (100 * table["prediction"].isna().mean(),)
    columns = ["accuracy", "low", "high", "sd of seeds", "seeds", "questions", "no option"]
    index = pd.MultiIndex.from_tuples(list(rows), names=["dataset", "row"])
    return pd.DataFrame(list(rows.values()), index, columns)


def causes(scale: str, datasets: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """Where simulated generators err: by (data set, generator), percent of the responses with each cause of
    `SimulatedGenerator.diagnose`. Generators that are no simulation are left out: nobody knows."""
    from reasvqa.mini.build import SimulatedGenerator
    from reasvqa.mini.generator import STRENGTHS

    shares = {}
    for dataset in datasets:
        for name in [name for name in names if name in STRENGTHS]:
            root = paths.dataset(dataset_name(scale, dataset))
            found = SimulatedGenerator(root, STRENGTHS[name]).diagnose(load(root.name, "train"))
            shares[dataset, name] = 100 * found["cause"].value_counts(normalize=True)
    if not shares:
        return pd.DataFrame()
    return pd.DataFrame(shares).T.fillna(0.0).rename_axis(["data set", "generator"])


# --- claims -----------------------------------------------------------------------------------------------------------


def effect_of(claim: Claim, scale: str, seeds: Sequence[int], *, second_look: bool = False) -> Estimate:
    """A claim's contrast on our runs; what is not kept is trained. second_look: on ten seeds."""
    return contrast(
        [
            [(term.weight, _outcomes(term, dataset, claim.split, scale, seeds, second_look)) for term in claim.terms]
            for dataset in claim.datasets
        ]
    )


def _outcomes(
    term: Term, dataset: str, split: str | None, scale: str, seeds: Sequence[int], second_look: bool
) -> pd.DataFrame:
    if term.experiment != "table4":
        which = {"datasets": [dataset], "rows": [term.row], "second_look": second_look}
        runs = runs_of(term.experiment, scale, seeds, **which)
        return outcomes(runs[dataset, term.row], split=split)
    # The generators' own answers to the training questions: there is one file, not a run per seed.
    table = answered(dataset_name(scale, dataset), name_at(scale, TABLE4[term.row]))
    index = pd.MultiIndex.from_arrays([table["id"], table["video"]], names=["id", "video"])
    return pd.DataFrame({0: table["correct"].to_numpy()}, index)


# The columns of the ledger: those of figures/claims.csv, and what its verdicts were computed from.
LEDGER = "claim where text kind paper effect low high margin detectable p_corrected seeds questions verdict".split()
STATISTICS = ["se", "df", "p", "looks", "inner_low", "inner_high", "seeds_wanted"]


def ledger(scale: str, seeds: Sequence[int]) -> pd.DataFrame:
    """Every claim, a row each, with the verdict of our runs.

    Claims that were undecided when the miniature was first looked at have twice the seeds, and pay for the second look
    (`reasvqa.companion.claims.second_look`, `evaluation.verdict`); the others keep what the first said. Claims that need a
    simulated generator are left out at paper scale, where there is none.

    Returns:
        Columns `LEDGER` and `STATISTICS`.
        kind: "claim" of the paper; "set", if it served to set up the miniature, so that its verdict is no evidence;
        "control" of ours. paper, effect, low, high (95 %), margin, se: points. df: of the effect's t distribution. p:
        two-sided. looks: 2 for a claim that was looked at again. p_corrected: times the looks, and after Holm over the
        claims of a kind. detectable: the effect (points) that would have been found four times in five at the level
        which Holm's correction left to those that were not. inner_low, inner_high: the interval that has to lie within
        the margin for "no effect". verdict: of `evaluation.verdict`. Of a single seed verdict and p_corrected are
        missing; seeds_wanted is how many would find an effect as large as the margin.
    """
    from reasvqa.mini.gates import usual_spread

    train_all(settings_of_claims(scale, seeds))  # all that are missing side by side
    again = second_look(scale, seeds)
    found = [
        (claim, effect_of(claim, scale, seeds, second_look=claim.id in again))
        for claim in claims()
        if _possible(claim, scale)
    ]
    table = pd.DataFrame(
        [
            {
                "claim": claim.id,
                "where": claim.where,
                "text": claim.text,
                "kind": claim.kind,
                "paper": claim.paper,
                "effect": effect.value,
                "low": effect.low,
                "high": effect.high,
                "margin": claim.margin,
                "seeds": effect.seeds,
                "questions": effect.questions,
                "se": effect.se,
                "df": effect.df,
                "p": effect.p,
                "looks": 1 + (claim.id in again),
            }
            for claim, effect in found
        ]
    )
    table["paper"] = table["paper"].astype(float)
    raised = (table["p"] * table["looks"]).clip(upper=1.0).where(table["seeds"] > 1)
    table["p_corrected"] = raised.groupby(table["kind"]).transform(holm)
    tested = raised.notna() if raised.notna().any() else table["p"].notna()
    left = (tested & ~(table["p_corrected"] < LEVEL)).groupby(table["kind"]).transform("sum").clip(lower=1)
    rows = list(zip(found, table["p_corrected"], table["looks"], left, strict=True))
    table["detectable"] = [effect.detectable(LEVEL / n / looks) for (_, effect), _, looks, n in rows]
    table["verdict"] = [verdict(effect, claim.margin, p, looks) for (claim, effect), p, looks, _ in rows]
    inner = [effect.interval(1 - 2 * LEVEL / looks) for (_, effect), _, looks, _ in rows]
    table[["inner_low", "inner_high"]] = np.array(inner)
    one_seed = scale not in OFFICIAL_SCALES and (table["seeds"] == 1).all()
    table["seeds_wanted"] = [
        seeds_needed(effect, claim.margin, usual_spread() * _weight(claim)) if one_seed else None
        for (claim, effect), *_ in rows
    ]
    table["seeds_wanted"] = table["seeds_wanted"].astype(float)
    if again:  # Holm's correction of the new p could change the verdicts of claims that were not looked at again
        first = pd.read_csv(paths.FIRST_LOOK).set_index("claim")
        old = ~table["claim"].isin(again) & table["claim"].isin(first.index)
        for column in ("p_corrected", "detectable", "verdict"):
            table.loc[old, column] = table.loc[old, "claim"].map(first[column])
    return table[LEDGER + STATISTICS]


def _weight(claim: Claim) -> float:
    """How far a claim's effect varies from seed to seed, in multiples of a plain difference on one data set."""
    return (sum(term.weight**2 for term in claim.terms) / 2 / len(claim.datasets)) ** 0.5


def _possible(claim: Claim, scale: str) -> bool:
    return all(
        term.experiment == "table4" or settings_of(term.experiment, scale, [0], claim.datasets, [term.row])
        for term in claim.terms
    )


def interval(row: Mapping[Any, Any]) -> str:
    """A ledger row's effect as text: "+2.1 [0.3, 3.9]"."""
    return f"{signed(row['effect'])} [{plain(row['low'])}, {plain(row['high'])}]"


def saved_ledger(scale: str, name: str = "claims") -> pd.DataFrame:
    """The ledger as 30_claims last saved it, under this name; empty before."""
    path = paths.figures(scale) / f"{name}.csv"
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=LEDGER)
    if list(table.columns) != LEDGER:  # an older project's
        table = pd.DataFrame(columns=LEDGER)
    return table


def judged(experiment: str, scale: str) -> pd.DataFrame:
    """What the ledger, as 30_claims last saved it, says of a table or figure: its lines about it.

    A claim has one verdict, corrected for all claims that are judged together, and it stands there; a notebook about
    one table cannot give another.

    Returns:
        By claim: text, kind, paper, ours, seeds, verdict; empty before 30_claims has saved a ledger at this scale.
    """
    table = saved_ledger(scale)
    about = {claim.id for claim in claims() if any(term.experiment == experiment for term in claim.terms)}
    table = table[table["claim"].isin(about)].set_index("claim")
    table["ours"] = [interval(row) for row in table.to_dict("records")]
    return table[["text", "kind", "paper", "ours", "seeds", "verdict"]]
