"""The notebooks' parameters, checked in their first cell. A parameter of one name means the same in every notebook."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import AfterValidator, Field, TypeAdapter

from reasvqa import paths
from reasvqa.companion.experiments import SETTINGS
from reasvqa.companion.scales import BENCHMARKS, SCALES
from reasvqa.config import Count, Finite, Index, Positive, TrainConfig
from reasvqa.datasets import DATASETS, Samples, load
from reasvqa.learning import run_key
from reasvqa.samples import Sample
from reasvqa.students import STUDENTS
from reasvqa.validation import among, list_of, validated


def _student(value: str) -> str:
    if value not in STUDENTS and "/" not in value and not Path(value).exists():
        raise ValueError(f"choose one of {', '.join(STUDENTS)}; or give a local path or a hub id (OWNER/NAME)")
    return value


def _setting_or_run(value: str) -> str:
    if value not in SETTINGS and not (paths.runs() / value / "meta.json").is_file():
        raise ValueError(f"choose one of {', '.join(SETTINGS)}; or give the name of a folder in {paths.runs()}")
    return value


def _or_none(kind: Any) -> Any:
    return kind | None


_Text = Annotated[str, Field(min_length=1)]
_KINDS: dict[str, Any] = {
    "scale": among(SCALES),
    "split": among(("val", "test")),
    "dataset": among(DATASETS),
    "datasets": list_of(among(BENCHMARKS)),
    "seeds": list_of(Index),
    "betas": list_of(Finite),
    "generators": _or_none(list_of(_Text)),
    "student": _or_none(Annotated[str, AfterValidator(_student)]),
    "first second": Annotated[str, AfterValidator(_setting_or_run)],
    "path": _Text,
    "generator model base_url folder": _or_none(_Text),
    "request": _or_none(dict[str, Any]),
    "force retrain measure": bool,
    "seed question examples": Index,
    "batch_size steps rounds max_new_tokens": Count,
    "questions": _or_none(Count),
    "tolerance": Positive,
    "tflops": _or_none(Positive),
}
_KIND_OF = {name: TypeAdapter(kind) for names, kind in _KINDS.items() for name in names.split()}


def checked(**parameters: Any) -> tuple:
    """Return the values in their order, checked; lists as lists. `TrainConfig` checks its own fields (beta, lora, ...).

    Raises:
        ValueError: the first value that is not possible; the message names it and says what is possible.
    """
    return tuple(validated(name, _KIND_OF[name], value) for name, value in parameters.items())


def several(name: str, value: Any, choices: Iterable[str]) -> list[str]:
    """Return a list of different values, each one of `choices`; a single one and a list as text are understood."""
    return validated(name, TypeAdapter(list_of(among(choices))), value)


def ready(*configs: TrainConfig) -> None:
    """Read all that these runs will read, and make missing miniatures; raise what `reasvqa.learning.run_key` raises."""
    for config in configs:
        load(config.dataset, "train")
        run_key(config)


def one_wrong(samples: Samples, responses: pd.DataFrame, question: int) -> tuple[Sample, pd.Series]:
    """Return the training question at index `question` of those that the generator answers wrongly, and its response.

    Responses that name no option do not count: they show no wrong conclusion.

    Raises:
        ValueError: there are fewer such questions.
    """
    rows = responses[responses["prediction"].notna() & ~responses["correct"].fillna(True).astype(bool)].set_index("id")
    wrong = list(samples.select(rows.index))
    if not 0 <= question < len(wrong):
        raise ValueError(f"question={question}: the generator answered {len(wrong)} wrongly; choose below {len(wrong)}")
    response = rows.loc[wrong[question].id]
    assert isinstance(response, pd.Series)  # ids are unique
    return wrong[question], response
