"""The notebooks' parameters, checked in their first cell. A parameter of one name means the same in every notebook."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, FiniteFloat, TypeAdapter

from reasvqa import paths
from reasvqa.companion.experiments import SETTINGS
from reasvqa.companion.scales import BENCHMARKS, SCALES
from reasvqa.config import Count, Index, Positive, TrainConfig
from reasvqa.datasets import DATASETS, load
from reasvqa.learning import run_key
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


_KINDS: dict[str, Any] = {
    "scale": among(SCALES),
    "split": among(("val", "test")),
    "dataset": among(DATASETS),
    "datasets": list_of(among(BENCHMARKS)),
    "seeds": list_of(Index),
    "betas": list_of(FiniteFloat),
    "generators": list_of(Annotated[str, Field(min_length=1)]),
    "student": Annotated[str, AfterValidator(_student)],
    "first second": Annotated[str, AfterValidator(_setting_or_run)],
    "path generator model base_url folder": Annotated[str, Field(min_length=1)],
    "request": dict[str, Any],
    "force retrain": bool,
    "seed question examples": Index,
    "batch_size steps rounds max_new_tokens questions": Count,
    "tolerance tflops": Positive,
}
_MAY_BE_NONE = "betas generators student generator model base_url folder request questions tflops".split()
_KIND_OF = {
    name: TypeAdapter(kind | None if name in _MAY_BE_NONE else kind)
    for names, kind in _KINDS.items()
    for name in names.split()
}


def checked(**parameters: Any) -> tuple:
    """Return the values in their order, checked; lists as lists. `TrainConfig` checks its own fields (beta, lora, ...).

    Raises:
        ValueError: the first value that is not possible; the message names it and says what is possible.
    """
    return tuple(validated(name, _KIND_OF[name], value) for name, value in parameters.items())


def ready(*configs: TrainConfig) -> None:
    """Read all that these runs will read, and make missing miniatures; raise what `reasvqa.learning.run_key` raises."""
    for config in configs:
        load(config.dataset, "train")
        run_key(config)
