"""The notebooks' parameters, checked in their first cell: what is wrong fails at once and says what is possible.

A parameter of one name means the same in every notebook. papermill hands over text where it knows no better: "[0, 1]",
"star", "false". A list as text, and one thing where a list is wanted, are understood; "false" is not: it is text.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from reasvqa import paths
from reasvqa.companion.experiments import SETTINGS
from reasvqa.companion.scales import BENCHMARKS, SCALES
from reasvqa.config import TrainConfig, check_seeds, one_of
from reasvqa.datasets import Samples, load
from reasvqa.learning import run_key
from reasvqa.samples import Sample
from reasvqa.students import STUDENTS


def checked(**parameters: Any) -> tuple:
    """The values in their order, checked; lists as lists.

    Parameters that are fields of `TrainConfig` (beta, lora, epochs, ...) are left to it.

    Raises:
        ValueError: the first value that is not possible; the message names it, says what came and what is possible.
    """
    return tuple(_CHECKS[name](name, value) for name, value in parameters.items())


def ready(*configs: TrainConfig) -> None:
    """Makes a miniature that is not there, and reads all that these runs read, so that nothing is wrong after an hour.

    Raises:
        ValueError, DataError, ReasoningError: settings, annotations or responses are wrong or missing.
    """
    for config in configs:
        load(config.dataset, "train")
        run_key(config)


def several(name: str, value: Any, known: Iterable[str] | None = None) -> list:
    """A list without repetition, each of it among `known`; one thing and a list as text are understood.

    Raises:
        ValueError: it is empty, something occurs twice, or something is not known.
    """
    given = value
    if isinstance(value, str):
        value = _literal(value)
    values = [value] if isinstance(value, str | int | float) else value
    if not isinstance(values, list | tuple) or not values or len(set(values)) != len(values):
        raise ValueError(f"{name}={given!r}: give a list of different things, for example {_example(known)}")
    return [one_of(name, item, known) for item in values] if known else list(values)


def _literal(text: str) -> Any:
    """'["star"]' and "[0.1, 0.5]" as lists, "[star, nextqa]" as well; other text as it is."""
    if not text.strip().startswith("["):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return [part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",")]


def _example(known: Iterable[str] | None) -> str:
    return str(list(known)[:2]) if known else "[0.0, 0.5]"


def _choice(known: Iterable[str]) -> Callable[[str, Any], str]:
    return lambda name, value: one_of(name, value, known)


def _whole(least: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}={value!r}: a whole number from {least} on is wanted")
        return value

    return check


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"{name}={value!r}: a number above 0 is wanted")
    return value


def _yes_or_no(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(
            f"{name}={value!r}: True or False is wanted (papermill: -p {name} True, with a capital letter)"
        )
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name}={value!r}: text is wanted")
    return value


def _student(name: str, value: Any) -> str:
    text = _text(name, value)
    if text not in STUDENTS and "/" not in text and not Path(text).exists():
        known = ", ".join(STUDENTS)
        raise ValueError(f"{name}={value!r}: choose one of {known}; or a local path, or a hub id (OWNER/NAME)")
    return text


def _setting(name: str, value: Any) -> str:
    """One of the paper's settings, or a kept run's folder."""
    known = list(SETTINGS)
    if isinstance(value, str) and (paths.runs() / value / "meta.json").is_file():
        known.append(value)
    return one_of(name, value, known)


def _numbers(name: str, value: Any) -> list[float]:
    values = several(name, value)
    if not all(isinstance(item, int | float) and not isinstance(item, bool) for item in values):
        raise ValueError(f"{name}={value!r}: give a list of different numbers, for example [0.0, 0.5]")
    return [float(item) for item in values]


def _texts(name: str, value: Any) -> list[str]:
    values = several(name, value)
    if not all(isinstance(item, str) and item.strip() for item in values):
        raise ValueError(f"{name}={value!r}: give a list of different names")
    return values


def _or_none(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else check(name, value)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "scale": _choice(SCALES),
    "dataset": _choice(BENCHMARKS),
    "split": _choice(("val", "test")),
    "datasets": lambda name, value: several(name, value, BENCHMARKS),
    "seeds": lambda _, value: check_seeds(value),
    "seed": _whole(0),
    "betas": _numbers,
    "student": _or_none(_student),
    "generator": _or_none(_text),
    "generators": _or_none(_texts),
    "model": _or_none(_text),
    "base_url": _or_none(_text),
    "folder": _or_none(_text),
    "path": _text,
    "first": _setting,
    "second": _setting,
    "question": _whole(0),
    "questions": _or_none(_whole(1)),
    "examples": _whole(0),
    "force": _yes_or_no,
    "retrain": _yes_or_no,
    "measure": _yes_or_no,
    "batch_size": _whole(1),
    "steps": _whole(1),
    "rounds": _whole(1),
    "tflops": _or_none(_positive),
    "tolerance": _positive,
    "max_new_tokens": _whole(1),
}


def one_wrong(samples: Samples, responses: pd.DataFrame, question: int) -> tuple[Sample, pd.Series]:
    """The training question at place `question` among those that the generator answers wrongly, and its response.

    Responses that name no option are passed over: they show no wrong conclusion.

    Raises:
        ValueError: there are fewer such questions.
    """
    columns = zip(responses["id"], responses["correct"], responses["prediction"], strict=True)
    wrong = list(samples.select(id for id, correct, chosen in columns if pd.notna(chosen) and not correct))
    if not 0 <= question < len(wrong):
        raise ValueError(
            f"question={question}: the generator got {len(wrong)} questions wrong; choose 0 to {len(wrong) - 1}"
        )
    row = responses.set_index("id").loc[wrong[question].id]
    assert isinstance(row, pd.Series)
    return wrong[question], row
