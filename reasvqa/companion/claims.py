"""The paper's claims, each as a contrast of settings with an expected sign, read from data/paper.

A claim says that a weighted sum of accuracies is above zero: "multi-task beats answers alone" is MTL_All - STL_QA,
"refinement helps" is refined - original, "accuracy rises with the amount of reasoning" is a slope. The same sum over
the paper's own numbers, where it prints them, is the effect that the paper claims.

claims.csv has a line per claim: claim (a short name), where (in the paper), text, kind (see `Kind`), datasets, split
(empty: the test split). claims_terms.csv has a line per accuracy in its contrast: claim, experiment and row (of
`experiments.EXPERIMENTS`), weight, and printed: where the paper prints that accuracy, as table|row|column, with
{dataset} for the data set's printed name; empty: nowhere. A slope is weighed so that it says what the accuracy gains
over the whole range, in points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Literal, cast, get_args

import pandas as pd

from reasvqa import paths
from reasvqa.companion.experiments import EXPERIMENTS, SEEDS, TABLE4, settings_of
from reasvqa.companion.paper import PRINTED, cell
from reasvqa.companion.scales import BENCHMARKS
from reasvqa.config import TrainConfig
from reasvqa.evaluation import margin_of

# Of the paper; of the paper, but used to set up the miniature, so that its outcome is no evidence; a control of ours.
Kind = Literal["claim", "set", "control"]


ENOUGH = 5  # claims of the paper may stay undecided without a second look (data/mini/PROTOCOL.md)


@dataclass(frozen=True)
class Term:
    """An accuracy in a contrast, with its weight; see the module for `printed`."""

    experiment: str
    row: str
    weight: float
    printed: str


@dataclass(frozen=True)
class Claim:
    """The claim that a weighted sum of accuracies is above zero.

    Attributes:
        id, where, text: a short name, the place in the paper, and what it says.
        terms: the contrast.
        datasets: the effect is the mean over these.
        split: where the students answer; None: on the test split.
    """

    id: str
    where: str
    text: str
    kind: Kind
    terms: tuple[Term, ...]
    datasets: tuple[str, ...] = BENCHMARKS
    split: str | None = None

    @property
    def paper(self) -> float | None:
        """The paper's effect in points, the mean over the data sets; None where it does not print the accuracies."""
        if not all(term.printed for term in self.terms):
            return None
        effects = [
            sum(term.weight * cell(term.printed.format(dataset=PRINTED[dataset])) for term in self.terms)
            for dataset in self.datasets
        ]
        return sum(effects) / len(effects)

    @property
    def margin(self) -> float:
        """The smallest effect that matters, in points."""
        return margin_of(self.paper)

    @property
    def comparison(self) -> frozenset:
        """Which runs it compares, whatever the table: the paper prints some comparisons twice, and claims both."""
        return frozenset(
            (dataset, self.split, term.weight, config)
            for dataset in self.datasets
            for term in self.terms
            if term.experiment != "table4"
            for configs in settings_of(term.experiment, "mini", [0], [dataset], [term.row]).values()
            for config in configs
        )


@cache
def claims(folder: Path = paths.PAPER_NUMBERS) -> tuple[Claim, ...]:
    """The claims in `folder`, in the order of claims.csv.

    Raises:
        ValueError: a value that is not possible, with its file, line and column.
    """
    terms: dict[str, list[Term]] = {}
    known: dict[str, Claim] = {}
    for where, line in _lines(folder / "claims_terms.csv"):
        experiment, row = line["experiment"], line["row"]
        if experiment not in EXPERIMENTS:
            raise ValueError(f"{where}, column experiment: {experiment!r} is not among {', '.join(EXPERIMENTS)}")
        rows = TABLE4 if experiment == "table4" else EXPERIMENTS[experiment].rows
        if row not in rows:
            raise ValueError(f"{where}, column row: {experiment} has no {row!r}; it has {', '.join(rows)}")
        try:
            weight = float(Fraction(line["weight"]))
        except (ValueError, ZeroDivisionError):
            raise ValueError(
                f"{where}, column weight: {line['weight']!r} is not a number such as -1, 0.25 or 1/3"
            ) from None
        terms.setdefault(line["claim"], []).append(Term(experiment, row, weight, line["printed"]))
    for where, line in _lines(folder / "claims.csv"):
        name, kind, datasets = line["claim"], line["kind"], tuple(line["datasets"].split())
        if name in known:
            raise ValueError(f"{where}, column claim: {name!r} stands here a second time; names must differ")
        if kind not in get_args(Kind):
            raise ValueError(f"{where}, column kind: {kind!r} is not among {', '.join(get_args(Kind))}")
        if not datasets or not set(datasets) <= set(BENCHMARKS):
            raise ValueError(
                f"{where}, column datasets: {line['datasets']!r}; name one or more of {', '.join(BENCHMARKS)}"
            )
        contrast = terms.pop(name, [])
        if not contrast or abs(sum(term.weight for term in contrast)) > 1e-9:
            raise ValueError(
                f"{where}: the weights of {name!r} in claims_terms.csv must be there and sum to zero, "
                "or the effect depends on the level of accuracy"
            )
        known[name] = Claim(
            name,
            line["where"],
            line["text"],
            cast(Kind, kind),
            tuple(contrast),
            datasets,
            line["split"] or None,
        )
    if terms:
        raise ValueError(
            f"{folder / 'claims_terms.csv'}: {', '.join(map(repr, terms))} is no claim of claims.csv; add it there"
        )
    return tuple(known.values())


def second_look(scale: str, seeds: Sequence[int]) -> frozenset[str]:
    """Names of the claims that get ten seeds, their p doubled: those that the miniature's ledger, as it first stood
    (data/mini/first_look.csv), left undecided, if more than `ENOUGH` of the paper's are among them, and those that are
    the same comparison. None while there is no such file, at another scale, or of a part of the seeds."""
    if scale != "mini" or len(seeds) < len(SEEDS) or not paths.FIRST_LOOK.is_file():
        return frozenset()
    first = pd.read_csv(paths.FIRST_LOOK)
    undecided = first[(first["verdict"] == "undecided") & (first["kind"] != "set")]
    if (undecided["kind"] == "claim").sum() <= ENOUGH:
        return frozenset()
    asked = {claim.comparison for claim in claims() if claim.id in set(undecided["claim"])}
    return frozenset(undecided["claim"]) | {claim.id for claim in claims() if claim.comparison in asked}


def settings_of_claims(scale: str, seeds: Sequence[int]) -> list[TrainConfig]:
    """All runs of the claims, each once; of those that are looked at once more, ten seeds."""
    again = second_look(scale, seeds)
    configs = [
        config
        for claim in claims()
        for term in claim.terms
        if term.experiment != "table4"  # the generators' own answers: nothing is trained
        for each in settings_of(
            term.experiment, scale, seeds, claim.datasets, [term.row], second_look=claim.id in again
        ).values()
        for config in each
    ]
    return list(dict.fromkeys(configs))


def _lines(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table as texts, each with its place for an error."""
    for number, row in enumerate(pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records"), 2):
        yield f"{path}, line {number}", {str(column): str(value) for column, value in row.items()}
