"""Read the reasoning file: what a generator wrote about each question, one JSON object per line.

    {"id": "...", "generator": "...", "prompt": "...", "response": "...", "prediction": 2, "correct": true}

Any file in this form works; `id` and `response` are enough. `prediction` is 0-based, and null if the response names no
option; `correct` is null if the answer is unknown. A line is outdated if its prompt no longer asks the question.
"""

import json
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from reasvqa.answers import parse_answer
from reasvqa.generation.prompts import CAPTION_PROMPTS, build_prompt
from reasvqa.samples import LETTERS, Sample
from reasvqa.text import normalised

_DTYPES = {"id": "str", "generator": "category", "response": "str", "prediction": "Int64", "correct": "boolean"}


class ReasoningError(ValueError):
    """A fault in a reasoning file. The message names the file, the line and the remedy."""


def read_reasoning(path: str | Path, samples: Iterable[Sample] | None = None, kind: str = "reasoning") -> pd.DataFrame:
    """Read a reasoning file line by line. Prompts are checked but not kept; an unfinished last line is left out.

    Args:
        path: the JSON-lines file.
        samples: the questions; None: return each line as it is, with `correct` from the file.
        kind: what the prompts ask for, see `build_prompt`. Captions name no answer.

    Returns:
        Columns id, generator (category), response, prediction (Int64 or NA) and correct (boolean or NA). With samples,
        one row each, in their order: a missing prediction is parsed from the response, and `correct` compares it with
        the sample's answer. Questions that the generator could not answer have an empty response and NA; a warning
        counts them.

    Raises:
        ReasoningError: there is no such file; a line is no JSON object or has a missing or wrong field; an id occurs
            twice; a line's prompt asks another question than the sample with its id; a sample has no line.
    """
    path = Path(path)
    questions = None if samples is None else {sample.id: sample for sample in samples}
    columns: dict[str, list] = {name: [] for name in _DTYPES}
    for number, row in rows_of(path):
        if row is None or (questions is not None and row["id"] not in questions):
            continue
        judged = row.get("prediction"), row.get("correct")
        if questions is not None and (judged := judge(path, number, row, questions[row["id"]], kind)) is None:
            raise ReasoningError(
                f"{path}, line {number}: its prompt does not ask what {row['id']!r} asks now; question or options have "
                "changed. Generate again (only changed questions are asked anew), or remove the line's prompt if its "
                "response does answer the question."
            )
        values = row["id"], row.get("generator"), without_surrogates(row["response"]), *judged
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    table = pd.DataFrame({name: pd.Series(column, dtype=_DTYPES[name]) for name, column in columns.items()})
    if questions is None:
        return table
    present = set(table["id"])
    if absent := [id for id in questions if id not in present]:
        failures = read_failures(path)
        if unexplained := [id for id in absent if id not in failures]:
            raise ReasoningError(
                f"{path}: {len(unexplained)} of {len(questions)} questions have no line, e.g. {unexplained[0]!r}. "
                "Let the generation run to its end."
            )
        warnings.warn(
            f"{path}: {len(absent)} of {len(questions)} questions got no answer and have no reasoning; "
            f"{failures_path(path).name} says why.",
            stacklevel=2,
        )
    index = pd.Index(list(questions), dtype="str", name="id")
    return table.set_index("id").reindex(index).reset_index().fillna({"response": ""})


def judge(path: Path, number: int, row: dict, sample: Sample, kind: str) -> tuple[int | None, bool | None] | None:
    """Return (prediction, correct) of a line, or None if its prompt asks another question than the sample's.

    Raises:
        ReasoningError: the line's prompt visibly asks for another kind, or its prediction is not one of the sample's
            options.
    """
    prompt = row.get("prompt") or ""
    kinds = {text: name for name, text in CAPTION_PROMPTS.items()}
    found = "reasoning" if _parts(prompt) and kind in CAPTION_PROMPTS else kinds.get(prompt, kind)
    if found != kind:
        raise ReasoningError(
            f"{path}, line {number}: its prompt asks for {found}, not {kind}. Give each kind a file of its own."
        )
    if kind in CAPTION_PROMPTS:
        return None, None
    if not _asks(prompt, sample):
        return None
    prediction = row["prediction"] if "prediction" in row else parse_answer(row["response"], sample.options)
    if prediction is not None and prediction >= len(sample.options):
        raise ReasoningError(
            f"{path}, line {number}: prediction {prediction}, but {sample.id!r} has {len(sample.options)} options, "
            "counted from 0. Remove the field; the prediction is then read off the response."
        )
    return prediction, None if sample.answer is None else prediction == sample.answer


def _asks(prompt: str, sample: Sample) -> bool:
    """Tell whether a prompt, however worded, holds the sample's question and, if it lists lettered options, the same
    ones. True for a missing prompt, or one that is too short for a question: then the line's id decides."""
    if not prompt or prompt == build_prompt(sample):
        return True
    if parts := _parts(prompt):
        return parts == _parts(build_prompt(sample))
    if len(prompt) < len(sample.question):
        return True
    words, question = f" {normalised(prompt)} ", f" {normalised(sample.question)} "
    if not re.search(r"\bB[.:)]", prompt):
        return question in words
    before, options, after = words.partition(f" {normalised(sample.lettered)} ")
    one_more = after.startswith(f"{(LETTERS + '-')[len(sample.options)].lower()} ")
    return bool(options) and not one_more and question in f"{before} {after}"


def _parts(prompt: str) -> tuple[str, ...] | None:
    """Return (question, options) of a prompt in the form of appendix A.3, whatever its instructions, or None."""
    question, mark, options = prompt.partition("###Question:")[2].partition("###Hints:")
    texts = (" ".join(text.casefold().split()).strip(" ,.") for text in (question, options))
    return tuple(texts) if mark else None


def without_surrogates(text: str) -> str:
    """Replace lone surrogates (halves of a character, which no UTF-8 file can hold) by U+FFFD."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", text)


def rows_of(path: Path) -> Iterator[tuple[int, dict | None]]:
    """Yield (line number, checked object) for each line that is not empty; None for an unfinished last line.

    Raises:
        ReasoningError: there is no such file; a line is no JSON object or has a wrong field; an id occurs twice.
    """
    if not path.is_file():
        raise ReasoningError(
            f"{path}: no such file. Generate the reasoning first: notebooks/01_generate_reasoning.ipynb"
        )
    seen: dict[str, int] = {}
    with open_lines(path) as file:
        for number, line in enumerate(file, 1):
            if line.isspace():
                continue
            try:
                row = json.loads(line.removeprefix("\ufeff"))  # a byte order mark of some editors
                if not line.isascii():
                    line.encode()  # fails for bytes that are not UTF-8, which became surrogates
            except (ValueError, RecursionError) as error:
                # A kill or a power cut leaves the beginning of an object, or zeros, without a line break.
                if not line.endswith(("\n", "\r")) and line.startswith(("{", "\0")):
                    yield number, None
                    continue
                cause = {UnicodeEncodeError: "bytes that are not UTF-8", RecursionError: "nested too deeply"}
                raise ReasoningError(
                    f"{path}, line {number}: not valid JSON ({cause.get(type(error), error)}). Write one JSON object "
                    "per line in UTF-8, or remove the line; a new run writes it again."
                ) from None
            if problem := _problem_of(row):
                raise ReasoningError(f"{path}, line {number}: {problem}.")
            first = seen.setdefault(row["id"], number)
            if first != number:
                raise ReasoningError(f"{path}, line {number}: id {row['id']!r} is already in line {first}. Remove one.")
            if (generator := row.get("generator")) is not None:
                row["generator"] = sys.intern(generator)
            yield number, row


def open_lines(path: Path, mode: str = "r"):
    """Open a text file so that line ends, and bytes that are not UTF-8, survive reading and writing."""
    return path.open(mode, encoding="utf-8", errors="surrogateescape", newline="")


def _problem_of(row: object) -> str | None:
    """Return what is wrong with a line's value, and the remedy; None if nothing is wrong."""
    if not isinstance(row, dict):
        found = f"a list of {len(row)} values" if isinstance(row, list) else type(row).__name__
        return f"expected a JSON object, got {found}. Write one object per line, without brackets around them"
    prediction, last = row.get("prediction"), len(LETTERS) - 1
    indexes = prediction is None or (type(prediction) is int and 0 <= prediction <= last)
    for field, right, problem in (
        ("id", isinstance(row.get("id"), str), "missing or not text"),
        ("response", isinstance(row.get("response"), str), "missing or not text"),
        ("generator", isinstance(row.get("generator"), str | None), "not text"),
        ("prompt", isinstance(row.get("prompt"), str | None), "not text"),
        ("prediction", indexes, f"neither null nor the index of an option, an integer from 0 to {last}"),
        ("correct", isinstance(row.get("correct"), bool | None), "not true, false or null"),
    ):
        if not right:
            return f"field {field!r} is {problem}. Correct it, or remove the line; a new run writes it again"
    return None


def failures_path(path: Path) -> Path:
    """Return <name>.failed.jsonl beside <name>.jsonl: lines {"id", "error"} of the questions without an answer."""
    return path.with_name(f"{path.name.removesuffix('.jsonl')}.failed.jsonl")


def read_failures(path: Path) -> dict[str, str]:
    """Return, by id, why questions of the file `path` have no answer. Raise ReasoningError if the list is damaged."""
    if not (listed := failures_path(path)).exists():
        return {}
    try:
        rows = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines() if line]
        return {row["id"]: row["error"] for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise ReasoningError(f"{listed}: damaged ({error!r}). Remove it; it is only a list.") from None
