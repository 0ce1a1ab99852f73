"""Compute a run's key: a name and a hash of everything that determines its result. This module writes nothing."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch
import transformers

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import DATASETS, Samples, load
from reasvqa.files import file_state
from reasvqa.learning.features import PROCEDURE as FEATURES_PROCEDURE
from reasvqa.learning.features import video_stamp
from reasvqa.learning.targets import build_examples, responses_of
from reasvqa.refinement import RULES
from reasvqa.students import fingerprint

PEFT = version("peft")  # not by an import, which takes seconds
PROCEDURE = 2  # raise it if the same settings and texts lead to another student or other answers
# The settings that training examples depend on. A seed counts only where it draws a fraction.
_OF_EXAMPLES = ("dataset", "questions", "generator", "objective", "reasoning", "refinement", "control", "subset")
_OF_EXAMPLES += ("fraction", "target_order", "answer_format")


def run_key(config: TrainConfig, root: Path | None = None) -> str:
    """Return the name of the run's folder, which ends with a hash of all that determines its result.

    These are the training examples, the evaluation questions, the content of the videos of both, the settings, the
    student, and the versions of the libraries that matter. `root` is as in `train`.

    Raises:
        DataError, ReasoningError: data or responses are missing or wrong.
        ValueError: a setting is wrong.
    """
    config = config.resolve()
    root = Path(root or paths.dataset(config.dataset))
    learned, asked = (load_existing(config.dataset, split, root) for split in ("train", config.split))
    settings = {name: getattr(config, name) for name in _OF_EXAMPLES}
    reduced = TrainConfig(**settings, seed=config.seed if config.fraction < 1 else 0)
    responses = paths.reasoning(root, config.generator, config.kind) if config.generator else root
    versions = [PROCEDURE, FEATURES_PROCEDURE, torch.__version__.split("+")[0], transformers.__version__]
    everything = [
        # Without a later setting at the value in its `metadata`, which all earlier runs had: they keep their keys.
        {f.name: value for f in fields(config) if (value := getattr(config, f.name)) != f.metadata.get("before", ...)},
        _examples_digest(reduced, root, learned, (file_state(responses), *RULES.values())),
        questions_digest(asked),
        fingerprint(config.student),
        [*versions, PEFT],
    ]
    if not config.blind:
        everything += [videos_digest(learned), videos_digest(asked)]
    label = "blind" if config.blind else f"{config.objective}-{config.reasoning}"
    key = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:12]
    return f"{config.dataset}-{Path(config.student).name}-{label}-s{config.seed}-{key}"


@lru_cache(maxsize=4096)
def _examples_digest(config: TrainConfig, root: Path, samples: Samples, _responses_and_rules: object) -> str:
    """Return a hash of the texts of the training examples, in their order."""
    samples = _first(samples, config.questions)
    examples = build_examples(samples, responses_of(config, root, samples), config)
    return digest((e.sample.id, e.source, e.target, e.reasoning or "", e.ending) for e in examples)


@lru_cache(maxsize=64)
def _first(samples: Samples, questions: int | None) -> Samples:
    return samples[:questions]  # the same object every time, for which responses are read once


@lru_cache(maxsize=64)
def questions_digest(samples: Samples) -> str:
    """Return a hash of questions, with options, answers, types and clips."""
    return digest((s.id, s.video, str(s.clip), s.question, *s.options, str(s.answer), s.type) for s in samples)


_seen: dict[Samples, str] | None = None


@contextmanager
def videos_seen_once() -> Iterator[None]:
    """Look at each split's videos only once inside this context, for the keys of many runs."""
    global _seen
    _seen = {}
    try:
        yield
    finally:
        _seen = None


def videos_digest(samples: Samples) -> str:
    """Return a hash of the content of the questions' videos. Every call notices changed files, except inside
    `videos_seen_once`."""
    seen = {} if _seen is None else _seen
    if samples not in seen:
        seen[samples] = _videos_digest(samples, tuple(map(file_state, _video_files(samples))))
    return seen[samples]


@lru_cache(maxsize=64)
def _videos_digest(samples: Samples, _states: object) -> str:
    return digest((name, str(video_stamp(Path(file)))) for file, name in _video_files(samples).items())


@lru_cache(maxsize=64)
def _video_files(samples: Samples) -> dict[str, str]:
    """Return the names of the questions' videos by their paths, which are texts because every key looks at them."""
    return {f"{samples.videos}/{name}": name for name in sorted({sample.video for sample in samples})}


def digest(rows: Iterable[tuple[str, ...]]) -> str:
    """Return a hash of rows of texts."""
    hashed = hashlib.sha256()
    for row in rows:
        hashed.update(json.dumps(row).encode())
    return hashed.hexdigest()


def load_existing(dataset: str, split: str, root: Path) -> Samples:
    """Load a split without making a missing miniature; return the same object until an annotation file changes."""
    files = sorted(path for pattern in ("*.csv", "*.json", "*.txt") for path in root.glob(pattern))
    return _loaded(dataset, split, root, tuple((path.name, file_state(path)) for path in files))


@lru_cache(maxsize=64)
def _loaded(dataset: str, split: str, root: Path, _files: object) -> Samples:
    return load(dataset, split, root) if root.is_dir() else DATASETS[dataset].read(root, split)
