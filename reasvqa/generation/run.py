"""Runs a generator over samples, and reads what it wrote.

One JSON object a line, appended as soon as it is known and flushed to disk, so that a killed run loses at most the samples in
flight and a second call goes on where the first stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from filelock import FileLock
from tqdm.auto import tqdm

from reasvqa.answers import parse_answer
from reasvqa.generation.prompts import build_prompt
from reasvqa.samples import Sample

FIELDS = ("id", "generator", "prompt", "response", "prediction", "correct")


class ReasoningError(ValueError):
    """A reasoning file cannot be used. The message names the file, the line and the remedy."""


class Generator(Protocol):
    """Anything that writes a response to a prompt about a sample's video."""

    name: str

    def __call__(self, samples: Sequence[Sample], prompts: Sequence[str]) -> Iterable[str]:
        """A response for each sample, in order; samples and prompts have equal length."""
        ...


class Written:
    """A generator for responses that exist already: written by hand, or by a model elsewhere."""

    def __init__(self, name: str, texts: dict[str, str]):
        """
        Args:
            texts: by sample id, the response.
        """
        self.name, self.texts = name, texts

    def __call__(self, samples: Sequence[Sample], prompts: Sequence[str]) -> list[str]:
        """See `Generator`.

        Raises:
            ReasoningError: a sample has no text.
        """
        absent = [sample.id for sample in samples if sample.id not in self.texts]
        if absent:
            raise ReasoningError(
                f"{len(absent)} of {len(samples)} questions have no reasoning, e.g. {absent[0]!r}. Write one, or let a model do it."
            )
        return [self.texts[sample.id] for sample in samples]


def generate(
    samples: Iterable[Sample], generator: Generator, path: str | Path, kind: str = "reasoning", batch_size: int = 16
) -> pd.DataFrame:
    """Lets `generator` explain every sample that `path` does not hold yet, and returns all of them.

    Args:
        samples: questions, labelled or not.
        generator: writes the responses; its `name` is kept with each of them.
        path: the JSON-lines file; it is created, or continued.
        kind: "reasoning", "brief_caption" or "detailed_caption" (see `build_prompt`).
        batch_size: samples handed to the generator at a time.

    Returns:
        A row per sample, in the order of `samples`, with the columns of `FIELDS`.

    Raises:
        ReasoningError: the file is damaged other than by an interrupted last line, or was written by another generator.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = list(samples)
    with FileLock(f"{path}.lock"):
        _drop_torn_line(path)
        done = read_reasoning(path) if path.exists() else pd.DataFrame(columns=list(FIELDS))
        others = set(done["generator"]) - {generator.name}
        if others:
            raise ReasoningError(
                f"{path}: written by {', '.join(sorted(others))}, not {generator.name}. Give each generator a file of its own."
            )
        have = set(done["id"])
        todo = [sample for sample in samples if sample.id not in have]
        with path.open("a", encoding="utf-8") as file:
            for at in tqdm(
                range(0, len(todo), batch_size), desc=generator.name, unit="batch", disable=len(todo) <= batch_size
            ):
                batch = todo[at : at + batch_size]
                prompts = [build_prompt(sample, kind) for sample in batch]
                for sample, prompt, response in zip(batch, prompts, generator(batch, prompts), strict=True):
                    prediction = parse_answer(response, sample.options) if kind == "reasoning" else None
                    correct = None if sample.answer is None or kind != "reasoning" else prediction == sample.answer
                    values = (sample.id, generator.name, prompt, response, prediction, correct)
                    file.write(json.dumps(dict(zip(FIELDS, values, strict=True)), ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
    return read_reasoning(path).set_index("id").loc[[sample.id for sample in samples]].reset_index()


def swap_reasoning(samples: Iterable[Sample], path: str | Path) -> Path:
    """A control: every question gets the response to another question of its type, as right or wrong as its own, mostly about
    another video. Words, style, length and correctness stay as they are; only the tie to the video is cut.

    Args:
        samples: the questions that `path` explains.
        path: a reasoning file; <name>-swapped.jsonl is written beside it.

    Raises:
        ReasoningError: a question has no line yet.
    """
    path = Path(path)
    out = path.with_name(f"{path.stem}-swapped.jsonl")
    rows = {
        row["id"]: row
        for row in read_reasoning(path).astype(object).where(lambda t: t.notna(), None).to_dict("records")
    }
    samples = list(samples)
    absent = [sample.id for sample in samples if sample.id not in rows]
    if absent:
        raise ReasoningError(
            f"{path}: {len(absent)} of {len(samples)} questions have no line, e.g. {absent[0]!r}. Let the generation run to its end."
        )
    rng = np.random.default_rng(0)
    groups: dict[tuple, list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.type, bool(rows[sample.id]["correct"])), []).append(sample)
    lines = []
    for group in groups.values():
        order = rng.permutation(len(group))
        # Turning a random order by half its length gives everybody somebody else, three questions a video notwithstanding.
        other = {group[i].id: group[j].id for i, j in zip(order, np.roll(order, max(1, len(group) // 2)), strict=True)}
        lines += [
            json.dumps(rows[sample.id] | {"generator": out.stem, "response": rows[other[sample.id]]["response"]})
            for sample in group
        ]
    partial = out.with_suffix(f".{os.getpid()}.partial")
    partial.write_text("\n".join(lines) + "\n")
    os.replace(partial, out)
    return out


def read_reasoning(path: str | Path) -> pd.DataFrame:
    """A reasoning file, whoever made it: columns of `FIELDS`; prediction Int64 or NA, correct boolean or NA.

    A last line without its line break is an interrupted write and is left out.

    Raises:
        ReasoningError: no such file; a line is no JSON object, lacks a field or has one of a wrong type; an id occurs twice.
    """
    path = Path(path)
    if not path.is_file():
        raise ReasoningError(
            f"{path}: no such file. Generate the reasoning first: notebooks/01_generate_reasoning.ipynb"
        )
    rows, seen = [], {}
    text = path.read_bytes()
    for number, line in enumerate(text[: text.rfind(b"\n") + 1].split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ReasoningError(
                f"{path}, line {number}: not valid JSON ({error}). Remove the line; a new run writes it again."
            ) from error
        problem = _problem_of(row)
        if problem:
            raise ReasoningError(f"{path}, line {number}: {problem}. Remove the line; a new run writes it again.")
        if row["id"] in seen:
            raise ReasoningError(
                f"{path}, line {number}: id {row['id']!r} occurs already in line {seen[row['id']]}. Remove one of them."
            )
        seen[row["id"]] = number
        rows.append({field: row.get(field) for field in FIELDS})
    return pd.DataFrame(rows, columns=list(FIELDS)).astype({"prediction": "Int64", "correct": "boolean"})


def _problem_of(row: object) -> str | None:
    if not isinstance(row, dict):
        return "expected a JSON object"
    for field in ("id", "response"):
        if not isinstance(row.get(field), str):
            return f"field {field!r} is missing or not text"
    if row.get("prediction") is not None and (
        isinstance(row["prediction"], bool) or not isinstance(row["prediction"], int) or row["prediction"] < 0
    ):
        return "field 'prediction' must be a 0-based index or null"
    if row.get("correct") is not None and not isinstance(row["correct"], bool):
        return "field 'correct' must be true, false or null"
    return None


def _drop_torn_line(path: Path) -> None:
    """Cuts off a last line that a kill left unfinished."""
    if path.exists():
        text = path.read_bytes()
        if text and not text.endswith(b"\n"):
            with path.open("r+b") as file:
                file.truncate(text.rfind(b"\n") + 1)
