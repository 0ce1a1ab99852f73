"""Aggregate runs, compare settings, and judge the paper's claims."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from reasvqa import paths
from reasvqa.companion.claims import LOOKS, Claim, Term, claims, claims_at, settings_of_claims
from reasvqa.companion.experiments import TABLE4, dataset_name, name_at, our_name, settings_of
from reasvqa.config import TrainConfig
from reasvqa.datasets import load
from reasvqa.evaluation import LEVEL, Estimate, estimate, holm, mean_estimate, plain, right_or_wrong, signed, verdict
from reasvqa.generation import read_reasoning
from reasvqa.learning import Run, train_all
from reasvqa.learning.training import kept_run

# --- runs -------------------------------------------------------------------------------------------------------------


def train_settings(
    configs: Mapping[str, TrainConfig], seeds: Sequence[int], *, force: bool = False
) -> dict[str, list[Run]]:
    """Return a run per seed, by the setting's name; missing runs are trained side by side."""
    wanted = {name: [replace(config, seed=seed) for seed in seeds] for name, config in configs.items()}
    return train_each(wanted, force=force)


def train_each(settings: Mapping[Any, Sequence[TrainConfig]], *, force: bool = False) -> dict[Any, list[Run]]:
    """Return the runs of several settings, by their keys; missing runs are trained side by side."""
    runs = iter(train_all([config for configs in settings.values() for config in configs], force=force))
    return {key: [next(runs) for _ in configs] for key, configs in settings.items()}


def kept_runs(config: TrainConfig, seeds: Iterable[int]) -> list[Run]:
    """Return the runs of a setting that are in the store, of these seeds; train nothing."""
    configs = [replace(config, seed=seed).resolve() for seed in seeds]
    return [run for config in configs if (run := kept_run(config))]


# --- aggregation ------------------------------------------------------------------------------------------------------


def outcomes(runs: Sequence[Run], group: str | None = None, split: str | None = None) -> pd.DataFrame:
    """Return right (1.0) or wrong (0.0): a row per question, by id and video, a column per run, by its seed.

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
    """Return a weighted sum of accuracies in points, paired by question and seed; the mean over data sets.

    Args:
        weighted: for each data set, weights with `outcomes`. Of a data set's seeds, those are used that all of its
            terms have.

    Raises:
        ValueError: no common seed, the same seed on two data sets (what it does to both would count as two), or
            different questions.
    """
    sums = []
    for terms in weighted:
        tables = [table for _, table in terms]
        seeds = [seed for seed in tables[0] if all(seed in table for table in tables)]
        if not seeds:
            raise ValueError(f"no seed is common to all settings: {'; '.join(str(list(table)) for table in tables)}")
        total = sum(weight * table[seeds] for weight, table in terms)
        assert isinstance(total, pd.DataFrame)
        if total.isna().any(axis=None):  # pandas aligns by question
            raise ValueError(
                "settings that answered different questions cannot be compared "
                f"({', '.join(str(len(table)) for table in tables)} questions); make the runs of one of them anew"
            )
        sums.append(total)
    used = [seed for total in sums for seed in total]
    if len(set(used)) < len(used) > len(sums):
        found = "; ".join(str(list(total)) for total in sums)
        raise ValueError(f"the same seed on two data sets: {found}; give each seeds of its own")
    return mean_estimate([(table.to_numpy().T, table.index.get_level_values("video")) for table in sums])


def accuracy_of(runs: Sequence[Run], group: str | None = None, split: str | None = None) -> Estimate:
    """Return a setting's accuracy in percent over its seeds; arguments of `outcomes`."""
    return contrast([[(1, outcomes(runs, group, split))]])


def difference(first: Sequence[Run], second: Sequence[Run]) -> Estimate:
    """Return second - first in points, paired on the questions and seeds of both."""
    return contrast([[(1, outcomes(second)), (-1, outcomes(first))]])


SUMMARY = ["accuracy", "low", "high", "sd of seeds", "seeds", "questions"]


def summary(runs: Mapping[Any, Sequence[Run]]) -> pd.DataFrame:
    """Return a row per setting, by its key, with the columns `SUMMARY`: accuracy in percent, the ends of its 95 %
    interval, the standard deviation over seeds in points, and the numbers of seeds and questions.

    Keys (dataset, row) become two index levels with these names.
    """
    return _summary(list(runs), [accuracy_of(setting) for setting in runs.values()])


def _summary(keys: Sequence, found: Sequence[Estimate]) -> pd.DataFrame:
    rows = [[one.value, one.low, one.high, one.seed_sd, one.seeds, one.questions] for one in found]
    pairs = all(isinstance(key, tuple) for key in keys)
    index = pd.MultiIndex.from_tuples(keys, names=["dataset", "row"]) if pairs else pd.Index(keys)
    return pd.DataFrame(rows, index, SUMMARY)


def by_group(runs: Mapping[Any, Sequence[Run]], split: str | None = None) -> pd.DataFrame:
    """Return accuracies in percent on one data set: a row per setting, a column for each question group of the paper
    (Tem, Cau, ...) and "Tot"; each cell an `Estimate`.

    Args:
        runs: by a row's name, or by (dataset, row).
        split: None: the runs' own.
    """
    rows = {}
    for key, setting in runs.items():
        groups = setting[0].predictions_on(split or setting[0].config.split)["group"].unique()
        found = {group: accuracy_of(setting, group, split) for group in groups}
        rows[key[1] if isinstance(key, tuple) else key] = found | {"Tot": accuracy_of(setting, None, split)}
    return pd.DataFrame.from_dict(rows, orient="index")


def values(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with each estimate replaced by its value."""
    if not any(isinstance(cell, Estimate) for cell in table.to_numpy().flat):
        return table
    return table.map(lambda cell: cell.value if isinstance(cell, Estimate) else cell).infer_objects()


PAPER = "paper, as printed"  # the block of the paper's rows in a table, see `tables.beside`


def our_names(table: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Return the table with readers' names for our rows (`experiments.our_name`); the paper's block keeps its own."""
    if table.index.nlevels == 1:
        return table.rename(index=lambda row: our_name(row, scale))
    rows = [(block, row if block == PAPER else our_name(row, scale)) for block, row in table.index]
    return table.set_axis(pd.MultiIndex.from_tuples(rows, names=table.index.names))


# --- generators -------------------------------------------------------------------------------------------------------


def generator_answers(dataset: str, generator: str) -> pd.DataFrame:
    """Return a generator's answers to the training questions: a row each, with id, video, group, prediction, correct.

    `correct` is 0.0 or 1.0; a response that names no option is not correct.

    Args:
        dataset: a name for `reasvqa.datasets.load`.
        generator: names the reasoning file.
    """
    samples = load(dataset, "train")[: TrainConfig(dataset=dataset).resolve().questions]
    answers = read_reasoning(paths.reasoning(paths.dataset(dataset), generator), samples)
    table = samples.to_pandas()[["id", "video", "group"]].merge(answers[["id", "prediction", "correct"]], on="id")
    return table.assign(correct=table["correct"].fillna(False).astype(float))


def generator_accuracy(scale: str, dataset: str, generator: str) -> Estimate:
    """Return a generator's accuracy on the training questions, in percent."""
    return _right_share(generator_answers(dataset_name(scale, dataset), generator))


def _right_share(answers: pd.DataFrame) -> Estimate:
    return estimate(answers["correct"].to_numpy(), answers["video"].to_numpy())


def generator_summary(scale: str, datasets: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """Return `summary` for generators on the training questions (keys: dataset, generator), with the column
    "no option": the percentage of responses that name none."""
    cells = [(dataset, name) for dataset in datasets for name in names]
    answers = [generator_answers(dataset_name(scale, dataset), name) for dataset, name in cells]
    table = _summary(cells, [_right_share(table) for table in answers])
    return table.assign(**{"no option": [100 * table["prediction"].isna().mean() for table in answers]})


# --- claims -----------------------------------------------------------------------------------------------------------


def effect_of(claim: Claim, scale: str, seeds: Sequence[int]) -> Estimate:
    """Return a claim's contrast on our runs; missing runs are trained."""

    def answers(term: Term, dataset: str) -> pd.DataFrame:
        if term.experiment != "table4":
            settings = settings_of(term.experiment, scale, seeds, [dataset], [term.row])
            return outcomes(train_each(settings)[dataset, term.row], split=claim.split)
        # The generators' own answers to the training questions: there is one file, not a run per seed.
        table = generator_answers(dataset_name(scale, dataset), name_at(scale, TABLE4[term.row]))
        return table.set_index(["id", "video"])[["correct"]].set_axis([0], axis=1)

    return contrast([[(term.weight, answers(term, dataset)) for term in claim.terms] for dataset in claim.datasets])


# The columns of the ledger: those of figures/claims.csv, and what its verdicts were computed from.
LEDGER = "claim where text kind paper effect low high margin detectable p_corrected seeds questions verdict".split()
STATISTICS = ["se", "df", "p", "inner_low", "inner_high"]


def ledger(scale: str, seeds: Sequence[int]) -> pd.DataFrame:
    """Return every claim, a row each, with the verdict of our runs; missing runs are trained.

    Claims are left out whose rows are not trained at this scale (`claims_at`). Columns: see `judge`.
    """
    train_all(settings_of_claims(scale, seeds))  # all that are missing side by side
    looks = LOOKS if scale == "mini" else {}
    return judge([(claim, effect_of(claim, scale, seeds)) for claim in claims_at(scale)], looks)


def judge(effects: Sequence[tuple[Claim, Estimate]], looks: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Return the ledger of these claims and their effects.

    Args:
        looks: by kind of claim, how often its runs were looked at, if more than once: each look is another chance of an
            effect that is not there, so p counts as often, and "no effect" needs the wider interval.

    Returns:
        Columns `LEDGER` and `STATISTICS`.
        kind: see `claims.Kind`. paper, effect, low, high (95 %), margin, se: points. df: of the effect's t
        distribution. p: two-sided. p_corrected: for the looks, and by Holm over the claims of a kind. detectable: the
        effect (points) that would have been found four times in five at the level that the corrections left to the
        claims that were not found. inner_low, inner_high: the interval that has to lie within the margin for "no
        effect". verdict: of `evaluation.verdict`. For a single seed verdict and p_corrected are missing.
    """
    table = pd.DataFrame(
        vars(effect) | vars(claim) | {"claim": claim.id, "effect": effect.value, "margin": claim.margin}
        for claim, effect in effects
    )
    table["paper"] = pd.Series([claim.paper for claim, _ in effects], dtype=float)
    tries = table["kind"].map(looks or {}).fillna(1)
    asked = (table["p"] * tries).clip(upper=1).where(table["seeds"] > 1)
    table["p_corrected"] = asked.groupby(table["kind"]).transform(holm)
    tested = asked.notna() if asked.notna().any() else table["p"].notna()
    left = (tested & ~(table["p_corrected"] < LEVEL)).groupby(table["kind"]).transform("sum").clip(lower=1)
    rows = list(zip(effects, table["p_corrected"], tries, left, strict=True))
    table["detectable"] = [effect.detectable(LEVEL / n / k) for (_, effect), _, k, n in rows]
    table["verdict"] = [verdict(effect, claim.margin, p, claim.paper, k) for (claim, effect), p, k, _ in rows]
    table[["inner_low", "inner_high"]] = [effect.interval(1 - 2 * LEVEL / k) for (_, effect), _, k, _ in rows]
    return table[LEDGER + STATISTICS]


def interval(row: Mapping[Any, Any]) -> str:
    """Return a ledger row's effect as text: "+2.1 [0.3, 3.9]"."""
    return f"{signed(row['effect'])} [{plain(row['low'])}, {plain(row['high'])}]"


def verdict_text(row: Mapping[Any, Any]) -> str:
    """Return a ledger row's verdict; a single seed has none."""
    found = "no verdict: one seed" if pd.isna(row["verdict"]) else row["verdict"]
    return f"{found} (set: no evidence)" if row["kind"] == "set" else found


def saved_ledger(scale: str) -> pd.DataFrame:
    """Return the ledger that 30_claims saved; an empty one if there is none."""
    path = paths.figures(scale) / "claims.csv"
    return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=LEDGER)


def judged(experiment: str, scale: str) -> pd.DataFrame:
    """Return the saved ledger's rows about a table or figure, by claim; none before 30_claims has saved a ledger.

    A claim has one verdict, corrected for all claims that are judged together; a notebook about one table cannot give
    another.
    """
    about = {claim.id for claim in claims() if any(term.experiment == experiment for term in claim.terms)}
    table = saved_ledger(scale).set_index("claim")
    return table[table.index.isin(about)]
