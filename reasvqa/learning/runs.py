"""Read a finished run, a folder of the run store that is sealed with checksums of its files, and use its student.

runs/<key>/
    config.json  metrics.json  predictions.csv  history.csv  weights.safetensors    the result
    meta.json                                       versions, place of the data, checksums
    predictions-<split>-<hash of the split>.csv     what the student answered later
    written.csv                                     what the student wrote later
"""

import hashlib
import io
import json
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Self

import pandas as pd
import torch
import transformers

import reasvqa
from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.files import locked, write_text
from reasvqa.learning.answering import answer_table, generate_reasoning
from reasvqa.learning.features import Features, dtype_of, features_of, readable
from reasvqa.learning.key import digest, load_existing, questions_digest, videos_digest
from reasvqa.samples import Sample
from reasvqa.students import Student, load_student, own_device

WEIGHTS = "weights.safetensors"
RESULT = ("config.json", "metrics.json", "predictions.csv", "history.csv", WEIGHTS)
WRITTEN = "written.csv"


class DamagedRun(ValueError):
    """A kept run that has changed since it was written. The message names the file and the remedy."""


class WeightsLeftOut(ValueError):
    """A run without weights whose student is needed. The message says how to train it."""


@dataclass(frozen=True)
class Run:
    """A finished run. Every file is compared with its checksum before it is read.

    Everything that reads a file raises `DamagedRun` if the file is missing or has changed.
    """

    path: Path

    # --- its files ----------------------------------------------------------------------------------------------------

    @cached_property
    def meta(self) -> dict:
        """Return time, versions, device, processes, the generator's accuracy, the data's folder and checksums."""
        try:
            meta = json.loads((self.path / "meta.json").read_text(encoding="utf-8"))
            intact = meta.pop("sha256") == _checksum(meta)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged("meta.json", "cannot be read") from error
        if not intact:
            raise self._damaged("meta.json", "has changed since it was written")
        return meta

    def file(self, name: str) -> Path:
        """Return the path of one of the run's files, after checking that its content is intact."""
        path = self.path / name
        if name not in self.meta["files"] or not path.is_file():
            raise self._damaged(name, "is missing")
        if _file_checksum(path) != self.meta["files"][name]:
            raise self._damaged(name, "has changed since it was written")
        return path

    def _damaged(self, name: str, problem: str) -> DamagedRun:
        remedy = "Run train or reproduce again to remake it."
        return DamagedRun(f"{self.path / name}: {problem}, so this run cannot be used. {remedy}")

    def check(self) -> Self:
        """Return the run itself, after checking that all files of its result are intact."""
        for name in RESULT:
            if name != WEIGHTS or self.has_weights:
                self.file(name)
        return self

    @property
    def has_weights(self) -> bool:
        """Tell whether the run has weights; a run that came with the repository has none."""
        return "left_out" not in self.meta

    def has(self, name: str) -> bool:
        """Tell whether a file is there and intact."""
        with suppress(DamagedRun):
            return bool(self.file(name))
        return False

    @contextmanager
    def _adding(self) -> Iterator[None]:
        """Keep other processes from adding to the run, and read what they have added. A read-only store has no lock."""
        with ExitStack() as stack:
            with suppress(OSError):
                stack.enter_context(locked(Path(f"{self.path}.lock")))
            self.__dict__.pop("meta", None)
            yield

    def _add(self, name: str, text: str) -> None:
        """Add a file, inside `_adding`; a read-only store stays as it is."""
        with suppress(OSError):
            write_text(self.path / name, text)
            self.meta["files"][name] = _file_checksum(self.path / name)
            write_text(self.path / "meta.json", meta_text(self.meta))

    # --- its result ---------------------------------------------------------------------------------------------------

    @cached_property
    def config(self) -> TrainConfig:
        """Return the resolved settings."""
        return TrainConfig(**json.loads(self.file("config.json").read_text(encoding="utf-8")))

    @property
    def root(self) -> Path:
        """Return the folder of the data set that the student learned from."""
        return Path(self.meta.get("root") or paths.dataset(self.config.dataset))

    @cached_property
    def metrics(self) -> dict:
        """Return accuracy (%), questions, train_examples, with_reasoning, cut (numbers of texts over token limits),
        trained_parameters, seconds (of features, training, answering) and steps."""
        return json.loads(self.file("metrics.json").read_text(encoding="utf-8"))

    @property
    def accuracy(self) -> float:
        """Return the accuracy on the evaluation split, in percent. It is None if the split is unlabelled."""
        return self.metrics["accuracy"]

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Return a row per question: id, prediction (Int64, NA: none), answer, type, group, text (by STL students)."""
        return _read_predictions(self.file("predictions.csv"))

    @cached_property
    def history(self) -> pd.DataFrame:
        """Return a row per logged step: step, epoch, loss, answer_loss, reasoning_loss (with MTL), learning_rate; on
        split "val" also validation_loss, once an epoch."""
        return pd.read_csv(self.file("history.csv"))

    def samples(self, split: str | None = None) -> Samples:
        """Return the questions of a split of its data set; default: the evaluation split."""
        return load_existing(self.config.dataset, split or self.config.split, self.root)

    # --- its student --------------------------------------------------------------------------------------------------

    def load_student(self) -> Student:
        """Load the trained student, on the CPU, in evaluation mode.

        Raises:
            WeightsLeftOut: the run came with the repository, which ships no weights.
        """
        if not self.has_weights:
            raise WeightsLeftOut(
                f"{self.path.name} came with the repository, without weights. "
                "Retrain with train(run.config, force=True); a student of the miniature takes about a minute."
            )
        from reasvqa.students.adapters import load_trained, prepare  # with peft, in seconds

        student = load_student(self.config.student, dtype_of(self.config))
        prepare(student, self.config)
        load_trained(student, self.file(WEIGHTS))
        return student.eval()

    def answer(self, samples: Samples) -> pd.DataFrame:
        """Let the student answer questions about clips of its data set; return a table like `predictions`.

        Raises:
            WeightsLeftOut, MissingVideos: see `load_student` and `readable`.
        """
        student, features = self._student_and_features(samples)
        return answer_table(student, readable(samples, features, self.config.skip_missing), features, self.config)

    def predictions_on(self, split: str) -> pd.DataFrame:
        """Return the predictions on another split, a table like `predictions`. The student answers once; a writable
        store keeps the answers until the questions or videos of this split change."""
        if split == self.config.split:
            return self.predictions
        samples = self.samples(split)
        asked = questions_digest(samples), *([] if self.config.blind else [videos_digest(samples)])
        name = f"predictions-{split}-{digest([asked])[:8]}.csv"
        if not self.has(name):
            with self._adding():
                if not self.has(name):  # no other process answered meanwhile
                    text = self.answer(samples).to_csv(index=False)
                    self._add(name, text)
                    return _read_predictions(io.StringIO(text))
        return _read_predictions(self.file(name))

    def explain(self, samples: Samples) -> list[str]:
        """Return the reasoning that the student writes for questions of its data set. It is decoded once and then kept,
        as in `predictions_on`."""
        kept, hashes = self._written(), [_question_hash(sample) for sample in samples]
        missing = {asked: sample for asked, sample in zip(hashes, samples, strict=True) if asked not in kept}
        if missing:
            questions = Samples(missing.values(), samples.videos)
            student, features = self._student_and_features(questions)
            kept |= zip(missing, generate_reasoning(student, questions, features, self.config), strict=True)
            with self._adding():
                kept |= self._written()
                self._add(WRITTEN, pd.DataFrame(kept.items(), columns=["asked", "text"]).to_csv(index=False))
        return [kept[asked] for asked in hashes]

    def written(self, samples: Samples) -> list[str | None]:
        """Return what `explain` returns, without asking the student: None where nothing is kept."""
        kept = self._written()
        return [kept.get(_question_hash(sample)) for sample in samples]

    def _written(self) -> dict[str, str]:
        if not self.has(WRITTEN):
            return {}
        table = pd.read_csv(self.file(WRITTEN), dtype=str, keep_default_na=False)
        return dict(zip(table["asked"], table["text"], strict=True))

    def _student_and_features(self, samples: Samples) -> tuple[Student, Features]:
        """Return the student without its frozen half, and the features of these clips. If all of them occur in the
        evaluation split, use its features, which are cached."""
        evaluated, student = self.samples(), self.load_student()
        asked, cached = ({(sample.video, sample.clip) for sample in part} for part in (samples, evaluated))
        features = features_of(evaluated if asked <= cached else samples, student, self.config)
        return student.without_vision_encoder(own_device()), features

    def export(self, path: str | Path, merged: bool = False) -> Path:
        """Write the trained student and a model card into a folder, for use without this library.

        The result is an adapter, for `PeftModel.from_pretrained(base, path)`, or if `merged` a whole checkpoint with
        tokenizer and processor, for `from_pretrained(path)` and `load_student(path)`. The folder appears whole or not
        at all, and replaces an earlier export.

        Raises:
            WeightsLeftOut: see `load_student`.
            FileExistsError: something else is at `path`.
            DataError: the evaluation questions are gone (the card shows one of them).
            FileNotFoundError: `merged` needs the base's processor, which is missing.
        """
        from reasvqa.learning.export import card, export_folder, write_adapter, write_merged  # with peft, in seconds

        about = {"run": self.path.name, "merged": merged, "config": asdict(self.config)}
        with export_folder(Path(path), about) as folder:
            sample, student = self.samples()[0], self.load_student()
            (write_merged if merged else write_adapter)(student, self.config, folder)
            page = card(self.config, student, sample, {"run": self.path.name, **self.meta, **self.metrics}, merged)
            (folder / "README.md").write_text(page, encoding="utf-8")
        return Path(path).expanduser()


def seal(folder: Path, meta: dict) -> None:
    """Write meta.json, with versions and the checksums of the result, as the last step of a run."""
    versions = {module.__name__: module.__version__ for module in (reasvqa, torch, transformers)}
    versions |= {"peft": version("peft"), "python": platform.python_version()}
    files = {name: _file_checksum(folder / name) for name in RESULT}
    write_text(folder / "meta.json", meta_text(meta | {"versions": versions, "files": files}))


def problem_with(path: Path) -> str | None:
    """Return why the run in a folder cannot be used (missing or damaged), or None if it is intact."""
    try:
        Run(path).check()
    except DamagedRun as damage:
        return str(damage)
    return None


def meta_text(meta: dict) -> str:
    """Return the text of meta.json, with a checksum of its own."""
    return json.dumps(meta | {"sha256": _checksum(meta)}, indent=1) + "\n"


def _checksum(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _file_checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _question_hash(sample: Sample) -> str:
    """Return a hash of what is asked about which clip."""
    return digest([(sample.video, str(sample.clip), sample.question, *sample.options)])[:12]


def _read_predictions(file: Path | io.StringIO) -> pd.DataFrame:
    blank = {"prediction": [""], "answer": [""]}
    texts = dict.fromkeys(("id", "type", "group", "text"), str)  # also where they look like numbers
    table = pd.read_csv(file, dtype=texts, keep_default_na=False, na_values=blank)
    return table.astype({"prediction": "Int64", "answer": "Int64"})
