"""The paper's claims, each as a contrast of settings with an expected sign, tested on our runs.

A claim says that a weighted sum of accuracies is above zero: "multi-task beats answers alone" is MTL_All - STL_QA, "refinement
helps" is refined - original, "accuracy rises with the amount of reasoning" is a slope. The same sum over the paper's own numbers,
where it prints them, is the effect that the paper claims.
"""

from __future__ import annotations

from dataclasses import dataclass

from reasvqa.paper.numbers import PRINTED

_ALL = ("nextqa", "star", "intentqa")


@dataclass(frozen=True)
class Claim:
    """A claim of the paper's text.

    Attributes:
        id, where, text: a short name, the place in the paper, and what it says.
        weights: by "experiment/row" the weight of its accuracy; the sum is claimed to be positive.
        datasets: the effect is the mean over these.
        printed: by (table or figure, row, column) the weight of a number that the paper prints; empty where it prints none.
        split: where the students answer, if not on the test split.
        control: not claimed by the paper; a control of ours. Kept out of the correction for many claims.
    """

    id: str
    where: str
    text: str
    weights: dict[str, float]
    datasets: tuple[str, ...] = _ALL
    printed: dict[tuple[str, str, str], float] | None = None
    split: str | None = None
    control: bool = False


def _of(
    table: str, weights: dict[str, float], datasets: tuple[str, ...] = _ALL, column: str = "{}"
) -> dict[tuple[str, str, str], float]:
    """The printed numbers of a table's rows, averaged over data sets."""
    return {(table, row, column.format(PRINTED[d])): w / len(datasets) for row, w in weights.items() for d in datasets}


def _rows(table: str, datasets: tuple[str, ...] = _ALL, column: str | None = "{}", **weights: float) -> dict:
    """`weights`, `printed` and `datasets` of a claim about rows of one table."""
    named = {row.replace("__", " "): w for row, w in weights.items()}
    return _claim(table, named, datasets, column)


def _claim(table: str, weights: dict[str, float], datasets: tuple[str, ...] = _ALL, column: str | None = "{}") -> dict:
    printed = None if column is None else _of(table, weights, datasets, column)
    return {"weights": {f"{table}/{row}": w for row, w in weights.items()}, "datasets": datasets, "printed": printed}


_TWO, _AMOUNTS = ("nextqa", "star"), ("25% CR", "50% CR", "75% CR", "CR", "All")
_SLOPE = {name: w / 10 for name, w in zip(_AMOUNTS, (-2, -1, 0, 1, 2), strict=True)}  # least squares: points per step
_FOUR_B = ("nextqa", "intentqa")


def _table10(weights: dict[str, float]) -> dict:
    """A claim about Table 10, which prints kinds as rows and data set with amount as columns."""
    printed = {}
    for row, weight in weights.items():
        kind, amount = row.split(", ")
        for dataset in _FOUR_B:
            printed["table10", kind, f"{PRINTED[dataset]} {amount}"] = weight / len(_FOUR_B)
    return {"weights": {f"table10/{row}": w for row, w in weights.items()}, "datasets": _FOUR_B, "printed": printed}


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "mtl",
        "Abstract, Table 5",
        "Learning from refined reasoning beats learning from answers alone",
        **_rows("table5", MTL_All=1, STL_QA=-1),
    ),
    *(
        Claim(
            f"mtl-{dataset}",
            "Abstract, Table 5",
            f"... on {PRINTED[dataset]}",
            **_rows("table5", (dataset,), MTL_All=1, STL_QA=-1),
        )
        for dataset in _ALL
    ),
    Claim("mtl-cr", "Table 5", "Correct reasoning alone helps, too", **_rows("table5", MTL_CR=1, STL_QA=-1)),
    Claim(
        "all-cr",
        "Table 5",
        "Incorrect reasoning, refined, adds to correct reasoning",
        **_rows("table5", MTL_All=1, MTL_CR=-1),
    ),
    Claim(
        "stl-cr",
        "Section 4.4",
        "Single-task: correct reasoning before the answer helps a little",
        **_rows("table5", STL_CR=1, STL_QA=-1),
    ),
    Claim(
        "stl-all",
        "Section 4.4",
        "Single-task: all reasoning before the answer hurts",
        **_rows("table5", STL_QA=1, STL_All=-1),
    ),
    Claim(
        "mtl-stl",
        "Section 4.4",
        "Multi-task beats single-task on the same reasoning",
        **_rows("table5", MTL_All=0.5, MTL_CR=0.5, STL_All=-0.5, STL_CR=-0.5),
    ),
    *(
        Claim(
            f"backbone-{i}",
            "Table 3",
            f"ReasVQA helps {model}",
            **_claim("table3", {f"{model} w. ReasVQA": 1, model: -1}),
        )
        for i, model in enumerate(("BLIP-FlanT5(3B)", "LLaVA-OV(0.5B)", "LLaVA-OV(7B)"), 1)
    ),
    Claim(
        "generators",
        "Table 4",
        "The larger generator answers better",
        **_claim("table4", {"InternVL(26B)": 1, "InternVL(4B)": -1}),
    ),
    Claim(
        "atp-hard",
        "Table 6",
        "ReasVQA helps on questions that no single frame answers",
        weights={"table6/BLIP-FlanT5 (w. ReasVQA)": 1, "table6/BLIP-FlanT5 (baseline)": -1},
        datasets=("nextqa",),
        split="atp-hard",
    ),
    Claim(
        "reasoning",
        "Table 8",
        "Without reasoning it is worse",
        **_claim("table8", {"ReasVQA (3B)": 1, "w/o. Reasoning": -1}, ("star",), "Tot"),
    ),
    Claim(
        "lora",
        "Table 8",
        "Without LoRA it is worse",
        **_claim("table8", {"ReasVQA (3B)": 1, "w/o. LoRA": -1}, ("star",), "Tot"),
    ),
    Claim(
        "reasoning-lora",
        "Appendix B.1",
        "Reasoning matters more than LoRA",
        **_claim("table8", {"w/o. LoRA": 1, "w/o. Reasoning": -1}, ("star",), "Tot"),
    ),
    Claim(
        "brief",
        "Table 9",
        "Brief captions do not help (they lower accuracy)",
        **_claim("table9", {"QA only": 1, "w. Cap brief": -1}, ("star",), "Tot"),
    ),
    Claim(
        "detailed",
        "Table 9",
        "Detailed captions help",
        **_claim("table9", {"w. Cap detailed": 1, "QA only": -1}, ("star",), "Tot"),
    ),
    Claim(
        "captions",
        "Table 9",
        "Reasoning helps more than detailed captions",
        **_claim("table9", {"w. Reasoning": 1, "w. Cap detailed": -1}, ("star",), "Tot"),
    ),
    Claim(
        "refined",
        "Section 4.3, Figure 3",
        "Refined reasoning beats original reasoning, all of it used",
        **_claim("figure3", {"Refined, All": 1, "Original, All": -1}, _TWO, None),
    ),
    Claim(
        "refined-mean",
        "Section 4.3, Figure 3",
        "... at every amount (mean over amounts)",
        **_claim(
            "figure3",
            {f"{kind}, {amount}": sign / 5 for kind, sign in (("Refined", 1), ("Original", -1)) for amount in _AMOUNTS},
            _TWO,
            None,
        ),
    ),
    Claim(
        "trend",
        "Section 4.3, Figure 3",
        "With refined reasoning, more is better (points per step)",
        **_claim("figure3", {f"Refined, {amount}": w for amount, w in _SLOPE.items()}, _TWO, None),
    ),
    Claim(
        "plateau",
        "Section 4.3, Figure 3",
        "... and rises more steeply than with original reasoning",
        **_claim(
            "figure3",
            {
                f"{kind}, {amount}": sign * w
                for kind, sign in (("Refined", 1), ("Original", -1))
                for amount, w in _SLOPE.items()
            },
            _TWO,
            None,
        ),
    ),
    Claim(
        "beta-half",
        "Section 4.4, Figure 4",
        "beta = 0.5 beats beta = 0",
        **_claim("figure4", {"0.5": 1, "0.0": -1}, _TWO, None),
    ),
    Claim(
        "beta-rise",
        "Section 4.4, Figure 4",
        "Accuracy rises with beta from 0 to 0.8 (points per 0.1)",
        **_claim("figure4", {f"{b / 10:.1f}": (b - 4) / 60 for b in range(9)}, _TWO, None),
    ),
    Claim(
        "beta-fall",
        "Section 4.4, Figure 4",
        "beta = 0.9 is worse than the plateau from 0.5 to 0.8",
        **_claim("figure4", {"0.5": 0.25, "0.6": 0.25, "0.7": 0.25, "0.8": 0.25, "0.9": -1}, _TWO, None),
    ),
    Claim(
        "refined-4b",
        "Table 10",
        "With the weaker generator, refined beats original",
        **_table10(
            {
                f"{kind}, {amount}": sign / 3
                for kind, sign in (("Refined", 1), ("Original", -1))
                for amount in ("75% CR", "CR", "All")
            }
        ),
    ),
    Claim(
        "original-all-4b",
        "Appendix B.3",
        "... unrefined, adding incorrect reasoning hurts",
        **_table10({"Original, CR": 1, "Original, All": -1}),
    ),
    Claim(
        "refined-all-4b",
        "Appendix B.3",
        "... refined, adding incorrect reasoning helps",
        **_table10({"Refined, All": 1, "Refined, CR": -1}),
    ),
    Claim(
        "stronger",
        "Appendix B.3",
        "A stronger generator makes a better student",
        weights={"table5/MTL_All": 1, "table10/Refined, All": -1},
        datasets=_FOUR_B,
        printed={("table5", "MTL_All", name): 0.5 for name in ("NExT-QA", "IntentQA")}
        | {("table10", "Refined", f"{name} All"): -0.5 for name in ("NExT-QA", "IntentQA")},
    ),
    Claim(
        "content",
        "control",
        "It is what the reasoning says: better than the reasoning about other videos",
        weights={"controls/MTL_All": 1, "controls/MTL, other videos' reasoning": -1},
        control=True,
    ),
    Claim(
        "compute",
        "control",
        "It is not only more computing: better than answers alone with three times the epochs",
        weights={"controls/MTL_All": 1, "controls/STL_QA, three times as long": -1},
        control=True,
    ),
    Claim(
        "longer",
        "control",
        "It needs a longer schedule: better than answers alone when both have three times the epochs",
        weights={"controls/MTL_All, three times as long": 1, "controls/STL_QA, three times as long": -1},
        control=True,
    ),
    Claim(
        "content-longer",
        "control",
        "... and then it is what the reasoning says: better than the reasoning about other videos, for as long",
        weights={
            "controls/MTL_All, three times as long": 1,
            "controls/MTL, other videos' reasoning, three times as long": -1,
        },
        control=True,
    ),
    Claim(
        "task",
        "control",
        "... and then the second task itself helps: reasoning about other videos beats answers alone",
        weights={
            "controls/MTL, other videos' reasoning, three times as long": 1,
            "controls/STL_QA, three times as long": -1,
        },
        control=True,
    ),
    Claim(
        "little",
        "control",
        "A little weight helps: beta = 0.1 beats beta = 0",
        **_claim("figure4", {"0.1": 1, "0.0": -1}, _TWO, None),
        control=True,
    ),
    Claim(
        "perfect",
        "control",
        "A faultless generator makes a better student than one that guesses",
        weights={"strength/Refined, sim-perfect": 1, "strength/Refined, sim-chance": -1},
        datasets=("star",),
        control=True,
    ),
)
