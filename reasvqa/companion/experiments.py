"""The paper's tables and figures as lists of settings.

An `Experiment` is one table or figure: rows, by the names the paper prints, and what differs from the default settings.
Equal settings are one run wherever they occur (beta = 0 is STL_QA, beta = 0.5 with all refined reasoning is MTL_All,
...), because a run is kept by its resolved settings.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from reasvqa.companion.scales import BENCHMARKS, OFFICIAL_SCALES, PREVIEW, SCALES
from reasvqa.config import TrainConfig, check_seeds
from reasvqa.registry import DATASETS
from reasvqa.validation import one_of

SEEDS = (0, 1, 2)  # of every setting; rows that important claims rest on get more
# Added to the seeds of a data set. A seed's initial weights and order of questions help or harm a method on all data
# sets alike, so each data set gets seeds of its own: a mean over three then rests on three times as many.
SEED_BLOCKS = {"nextqa": 0, "star": 1000, "intentqa": 2000}


def seeds_at(scale: str) -> tuple[int, ...]:
    """Return the seeds of a complete table: a preview has one."""
    return SEEDS[:1] if scale == "preview" else SEEDS


# The ways of training that the paper compares (Table 5), and a student that sees no frames.
SETTINGS: dict[str, dict] = {
    "Blind": {"objective": "stl", "reasoning": "none", "blind": True},
    "STL_QA": {"objective": "stl", "reasoning": "none"},
    "STL_CR": {"objective": "stl", "reasoning": "refined", "subset": "cr"},
    "STL_All": {"objective": "stl", "reasoning": "refined", "subset": "all"},
    "MTL_CR": {"objective": "mtl", "reasoning": "refined", "subset": "cr"},
    "MTL_All": {"objective": "mtl", "reasoning": "refined", "subset": "all"},
}
# What stands for the paper's models: in the miniature, with the same role and nothing else in common; and at the scale
# "small", a published model that fits a laptop or a small GPU.
STANDS_FOR = {
    "blip2-flan-t5-xl": ("mini-blip2", "smolvlm2-256m"),
    "llava-ov-0.5b": ("mini-llava-ov-small", "smolvlm2-500m"),
    "llava-ov-7b": ("mini-llava-ov", "internvl3-1b"),
    "internvl-4b": ("sim-4b", "InternVL3-1B-hf"),
    "internvl-26b": ("sim-26b", "InternVL3-2B-hf"),
}


def name_at(scale: str, name: str) -> str:
    """Return the name of a model of the paper at a scale: its own at paper scale, its stand-in's at the others."""
    if scale == "paper":
        return name
    in_miniature, small = STANDS_FOR[name]
    return small if scale == "small" else in_miniature


# --- the tables and figures -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Experiment:
    """One table or figure of the paper.

    Attributes:
        notebook: the notebook that shows it.
        datasets: "nextqa", "star", "intentqa".
        rows: by the paper's name of the row, the values of `TrainConfig` that make it; models by the paper's names.
        more: rows that important claims rest on; they get `added` more seeds: five, or two where nobody looked a second
            time (PROTOCOL.md, "A second look").
        official: rows that are only trained on official data, unless somebody asks for them: the miniature's ledger has
            to fit three hours.
    """

    notebook: str
    datasets: tuple[str, ...]
    rows: dict[str, dict]
    more: tuple[str, ...] = ()
    added: int = 5
    official: tuple[str, ...] = ()


_QA, _MTL = SETTINGS["STL_QA"], SETTINGS["MTL_All"]
_MODELS = {"BLIP-FlanT5(3B)": "blip2-flan-t5-xl", "LLaVA-OV(0.5B)": "llava-ov-0.5b", "LLaVA-OV(7B)": "llava-ov-7b"}
_AMOUNTS = {f"{share}% CR": {"subset": "cr", "fraction": share / 100} for share in (25, 50, 75)}
_AMOUNTS |= {"CR": {"subset": "cr"}, "All": {"subset": "all"}}
_TABLES_1_2 = {"STL_QA (baseline)": _QA, "ReasVQA": _MTL}
_TABLE_6 = {"BLIP-FlanT5 (baseline)": _QA, "BLIP-FlanT5 (w. ReasVQA)": _MTL}
BETAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Beyond the paper: simulated generators from guessing to faultless, weakest first.
GENERATORS = ("sim-chance", "sim-weak", "sim-4b", "sim-26b", "sim-strong", "sim-perfect")
_OTHER, _ERROR_FREE = _MTL | {"control": "other_videos"}, _MTL | {"generator": "sim-perfect"}
# What the dose-response of notebook 33 compares, and where: the look of the pictures (`reasvqa.mini.render.LOOKS`), the
# number of labelled questions, and answers that say more.
ARMS = {"answers only": _QA, "MTL_All": _MTL, "error-free": _ERROR_FREE, "other videos": _OTHER}
DIALS: dict[str, dict] = {
    "default": {},
    **{f"{look} pictures": {"look": look} for look in ("clear", "dusk", "night")},
    **{f"{count} questions": {"questions": count} for count in (30, 60, 120)},
    "text answers": {"answer_format": "text"},
}
_PREDICTED = ("default", "clear pictures", "60 questions", "text answers")  # the steps that predictions compare
TABLE4 = {"InternVL(4B)": "internvl-4b", "InternVL(26B)": "internvl-26b"}  # its rows are generators; nothing is trained

EXPERIMENTS: dict[str, Experiment] = {
    "table1": Experiment("10_table1_nextqa_star", ("nextqa", "star"), _TABLES_1_2, more=tuple(_TABLES_1_2)),
    "table2": Experiment("11_table2_intentqa", ("intentqa",), _TABLES_1_2, more=tuple(_TABLES_1_2)),
    "table3": Experiment(
        "12_table3_backbones",
        BENCHMARKS,
        {
            row + label: values | {"student": student}
            for row, student in _MODELS.items()
            for label, values in (("", _QA), (" w. ReasVQA", _MTL))
        },
        more=("BLIP-FlanT5(3B)", "BLIP-FlanT5(3B) w. ReasVQA"),
    ),
    "table4": Experiment("13_table4_generators", BENCHMARKS, {}),
    "table5": Experiment(
        "14_table5_stl_vs_mtl",
        BENCHMARKS,
        {name: SETTINGS[name] for name in SETTINGS if name != "Blind"},
        more=("STL_QA", "MTL_CR", "MTL_All"),
    ),
    "table6": Experiment("15_table6_atp_hard", ("nextqa",), _TABLE_6, more=tuple(_TABLE_6)),
    "table7": Experiment("16_table7_datasets", BENCHMARKS, {}),
    "table8": Experiment(
        "17_table8_components",
        ("star",),
        {
            "ReasVQA (3B)": _MTL,
            "w/o. Reasoning": _QA,
            "w/o. LoRA": _MTL | {"lora": False},
            "w/o. both": _QA | {"lora": False},
        },
        more=("ReasVQA (3B)", "w/o. Reasoning"),
    ),
    "table9": Experiment(
        "18_table9_captions",
        ("star",),
        {
            "QA only": _QA,
            "w. Cap brief": _MTL | {"reasoning": "brief_caption"},
            "w. Cap detailed": _MTL | {"reasoning": "detailed_caption"},
            "w. Reasoning": _MTL,
        },
        more=("QA only", "w. Reasoning"),
    ),
    "table10": Experiment(
        "19_table10_generator_4b",
        ("nextqa", "intentqa"),
        {
            f"{kind.capitalize()}, {amount}": {"reasoning": kind, "generator": "internvl-4b", **_AMOUNTS[amount]}
            for kind in ("original", "refined")
            for amount in ("75% CR", "CR", "All")
        },
        more=("Original, All", "Refined, All"),
        official=tuple(f"{kind}, {amount}" for kind in ("Original", "Refined") for amount in ("75% CR", "CR")),
    ),
    "figure1": Experiment("20_figure1_overview", ("star",), {}),
    "figure2": Experiment("21_figure2_example", ("star",), {}),
    "figure3": Experiment(
        "22_figure3_data_quantity",
        ("nextqa", "star"),
        {
            f"{kind.capitalize()}, {amount}": {"reasoning": kind, **values}
            for kind in ("original", "refined")
            for amount, values in _AMOUNTS.items()
        },
        more=tuple(f"{kind}, {amount}" for kind in ("Original", "Refined") for amount in ("25% CR", "CR", "All")),
        official=tuple(f"{kind}, {share}% CR" for kind in ("Original", "Refined") for share in (50, 75)),
    ),
    "figure4": Experiment(
        "23_figure4_beta",
        ("nextqa", "star"),
        {f"{beta:.1f}": _MTL | {"beta": beta} for beta in BETAS},
        more=("0.0", "0.5", "0.7", "0.9"),
        official=("0.2", "0.4", "0.6", "0.8"),
    ),
    # Not in the paper: is it what the reasoning says, or something else about training on it?
    "controls": Experiment(
        "30_claims",
        BENCHMARKS,
        {
            "STL_QA": _QA,
            "MTL_All": _MTL,
            "MTL, other videos' reasoning": _OTHER,
            "MTL, shuffled words": _MTL | {"control": "shuffled_words"},
            "MTL, error-free reasoning": _ERROR_FREE,
            "STL_QA, twice as long": _QA | {"longer": 2},
            "STL_QA, second student": _QA | {"student": "mini-blip2-b"},
            "MTL_All, second student": _MTL | {"student": "mini-blip2-b"},
        },
        more=("STL_QA", "MTL_All", "MTL, error-free reasoning", "STL_QA, second student", "MTL_All, second student"),
        added=2,
        official=("MTL, shuffled words", "STL_QA, twice as long"),
    ),
    "strength": Experiment(
        "31_generator_strength",
        ("nextqa",),
        {f"Refined, {name}": {"reasoning": "refined", "generator": name} for name in GENERATORS} | {"STL_QA": _QA},
    ),
    "numbers": Experiment("32_paper_numbers", (), {}),
    # When does reasoning help? Each way of training at each step of two dials, and with answers learned as texts.
    "dose": Experiment(
        "33_when_reasoning_helps",
        ("nextqa",),
        {f"{arm}, {step}": values | change for step, change in DIALS.items() for arm, values in ARMS.items()},
        more=(*(f"{arm}, {step}" for step in _PREDICTED for arm in ("answers only", "MTL_All")), "error-free, default"),
        added=2,
    ),
}


def settings_of(
    experiment: str,
    scale: str,
    seeds: Sequence[int],
    datasets: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
) -> dict[tuple[str, str], list[TrainConfig]]:
    """Return the runs of a table or figure: by (dataset, row) one resolved `TrainConfig` per seed.

    With three seeds or more, the rows `more` get others, the next integers. Each data set adds its own number to its
    seeds (`SEED_BLOCKS`).

    Args:
        experiment: a name of `EXPERIMENTS`.
        datasets, rows: only these; None: all.

    Raises:
        ValueError: a name is unknown (the message lists the possible ones), or seeds are not different integers.
    """
    what = EXPERIMENTS[one_of("experiment", experiment, EXPERIMENTS)]
    one_of("scale", scale, SCALES)
    seeds = check_seeds(seeds)
    extra = [max(seeds) + 1 + i for i in range(what.added)] if len(seeds) >= 3 else []
    datasets = what.datasets if datasets is None else [one_of("datasets", name, what.datasets) for name in datasets]
    rows = rows_at(experiment, scale) if rows is None else [one_of("rows", row, what.rows) for row in rows]
    seeds_of = {row: seeds + extra if row in what.more else seeds for row in rows}
    return {
        (dataset, row): [_config(experiment, row, scale, dataset, seed) for seed in seeds_of[row]]
        for dataset in datasets
        for row in rows
    }


def rows_at(experiment: str, scale: str) -> list[str]:
    """Return the rows of a table or figure that are trained at a scale if nobody asks for others. Looks, tiny students
    and simulated generators are the miniature's."""
    what = EXPERIMENTS[experiment]
    if scale not in OFFICIAL_SCALES:
        return [row for row in what.rows if row not in what.official]

    def tiny(values: dict) -> bool:
        return values.get("student", "").startswith("mini-") or values.get("generator", "").startswith("sim-")

    return [row for row, values in what.rows.items() if not (tiny(values) or "look" in values)]


@cache
def _config(experiment: str, row: str, scale: str, dataset: str, seed: int) -> TrainConfig:
    values = {
        "student": "blip2-flan-t5-xl",
        "seed": SEED_BLOCKS[dataset] + seed,
        **(PREVIEW if scale == "preview" else {}),
        **EXPERIMENTS[experiment].rows[row],
    }
    for model in ("student", "generator"):
        if values.get(model) in STANDS_FOR:
            values[model] = name_at(scale, values[model])
    longer, look = values.pop("longer", None), values.pop("look", None)
    name = dataset_name(scale, dataset) + (f"-{look}" if look else "")
    config = TrainConfig(dataset=name, **values).resolve()
    return replace(config, epochs=longer * config.epochs) if longer else config


def all_settings(scale: str, seeds: Sequence[int], only: Iterable[str] = tuple(EXPERIMENTS)) -> list[TrainConfig]:
    """Return the distinct runs that these tables and figures need, each once, in order of first use."""
    each = (settings_of(name, scale, seeds).values() for name in only)
    return list(dict.fromkeys(config for settings in each for configs in settings for config in configs))


# --- names ------------------------------------------------------------------------------------------------------------

_ANSWERS_ONLY = "answers only (STL_QA)"
_OUR_NAMES = {
    **dict.fromkeys(("STL_QA", "STL_QA (baseline)", "QA only", "w/o. Reasoning"), _ANSWERS_ONLY),
    **dict.fromkeys(("ReasVQA", "ReasVQA (3B)", "BLIP-FlanT5 (w. ReasVQA)", "w. Reasoning"), "MTL_All"),
    "BLIP-FlanT5 (baseline)": _ANSWERS_ONLY,
    "w/o. LoRA": "MTL_All, without LoRA",
    "w/o. both": "answers only, without LoRA",
    "w. Cap brief": "MTL, brief captions",
    "w. Cap detailed": "MTL, detailed captions",
    "STL_QA, twice as long": "answers only, twice as long",
    "STL_QA, second student": "answers only, second student",
    "0.0": "0.0, answers only (STL_QA)",
}


def our_name(row: str, scale: str) -> str:
    """Return what a reader sees for a row of ours: the paper's names of rows belong to the paper's numbers."""
    for printed, model in _MODELS.items():
        if row in (printed, f"{printed} w. ReasVQA"):
            return f"{name_at(scale, model)}, {'answers only' if row == printed else 'MTL_All'}"
    generators = TABLE4 | {"InternVL (26B)": "internvl-26b"}
    return name_at(scale, generators[row]) if row in generators else _OUR_NAMES.get(row, row)


# --- single settings --------------------------------------------------------------------------------------------------


def dataset_name(scale: str, dataset: str) -> str:
    """Return the registered name of a data set at a scale: "mini", "star" -> "mini-star".

    At paper scale that is its own name, and so it is for a data set that is not one of the paper's.

    Raises:
        ValueError: unknown scale or data set, with the choices: a notebook's first cell calls this.
    """
    one_of("scale", scale, SCALES)
    if dataset not in BENCHMARKS:
        return one_of("dataset", dataset, DATASETS)
    return dataset if scale == "paper" else f"{'mini' if scale == 'preview' else scale}-{dataset}"


def config_of(setting: str, scale: str, dataset: str, **values) -> TrainConfig:
    """Return one of `SETTINGS` on a data set, checked; `values` override fields of `TrainConfig`, None leaves them.

    Raises:
        ValueError: a name or a value is not possible.
    """
    one_of("setting", setting, SETTINGS)
    base = TrainConfig(dataset=dataset_name(scale, dataset))
    if dataset in BENCHMARKS:  # the presets of other data sets say which student is theirs
        base = replace(base, student=name_at(scale, "blip2-flan-t5-xl"))
    given = PREVIEW if scale == "preview" else {}
    given = given | {name: value for name, value in values.items() if value is not None}
    config = replace(base, **{**SETTINGS[setting], **given})
    config.resolve()
    return config
