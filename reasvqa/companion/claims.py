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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Literal, cast, get_args

import pandas as pd

from reasvqa import paths
from reasvqa.companion.experiments import EXPERIMENTS, TABLE4, rows_at, settings_of
from reasvqa.companion.paper import PRINTED, cell
from reasvqa.companion.scales import BENCHMARKS
from reasvqa.config import TrainConfig
from reasvqa.evaluation import margin_of
from reasvqa.validation import one_of

# A claim of the paper; one that compares what another does; one that the miniature was tuned to show, so that it is
# no evidence; a control of ours; a prediction of ours about when reasoning helps.
Kind = Literal["claim", "repeated", "set", "control", "prediction"]
# How often the miniature's runs were looked at before the last ones were made, where that is more than once
# (PROTOCOL.md, "A second look").
LOOKS: dict[str, int] = {"claim": 2, "repeated": 2}


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


@cache
def claims(folder: Path = paths.PAPER_NUMBERS) -> tuple[Claim, ...]:
    """Return the claims in `folder`, in the order of claims.csv.

    Raises:
        ValueError: a value is not possible; the message names file, line and column.
    """
    terms: dict[str, list[Term]] = {}
    for where, line in _lines(folder / "claims_terms.csv"):
        experiment, row = line["experiment"], line["row"]
        one_of(f"{where}, column experiment", experiment, EXPERIMENTS)
        one_of(f"{where}, column row", row, TABLE4 if experiment == "table4" else EXPERIMENTS[experiment].rows)
        try:
            weight = float(Fraction(line["weight"]))
        except (ValueError, ZeroDivisionError):
            raise ValueError(
                f"{where}, column weight: expected a number such as -1, 0.25 or 1/3, got {line['weight']!r}"
            ) from None
        terms.setdefault(line["claim"], []).append(Term(experiment, row, weight, line["printed"]))
    found: dict[str, Claim] = {}
    for where, line in _lines(folder / "claims.csv"):
        name, kind, datasets = line["claim"], line["kind"], tuple(line["datasets"].split())
        if name in found:
            raise ValueError(f"{where}, column claim: {name!r} occurs a second time; names must differ")
        one_of(f"{where}, column kind", kind, get_args(Kind))
        for dataset in datasets or ("",):
            one_of(f"{where}, column datasets", dataset, BENCHMARKS)
        contrast = tuple(terms.pop(name, ()))
        if not contrast or abs(sum(term.weight for term in contrast)) > 1e-9:
            raise ValueError(
                f"{where}: the weights of {name!r} in claims_terms.csv must be there and sum to zero, "
                "or the effect depends on the level of accuracy"
            )
        split = line["split"] or None
        found[name] = Claim(name, line["where"], line["text"], cast(Kind, kind), contrast, datasets, split)
    if terms:
        raise ValueError(
            f"{folder / 'claims_terms.csv'}: claims.csv has no {', '.join(map(repr, terms))}; add the claim there"
        )
    return tuple(found.values())


def claims_at(scale: str) -> list[Claim]:
    """Return the claims whose rows are all trained at a scale."""
    return [
        claim
        for claim in claims()
        if all(term.experiment == "table4" or term.row in rows_at(term.experiment, scale) for term in claim.terms)
    ]


def settings_of_claims(scale: str, seeds: Sequence[int]) -> list[TrainConfig]:
    """Return all runs of the claims that a scale can judge, each once."""
    configs = [
        config
        for claim in claims_at(scale)
        for term in claim.terms
        if term.experiment != "table4"  # the generators' own answers: nothing is trained
        for each in settings_of(term.experiment, scale, seeds, claim.datasets, [term.row]).values()
        for config in each
    ]
    return list(dict.fromkeys(configs))


def _lines(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows of a table as texts, each with its place for an error message."""
    for number, row in enumerate(pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records"), 2):
        yield f"{path}, line {number}", {str(column): str(value) for column, value in row.items()}
