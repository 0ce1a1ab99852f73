"""A finished run: its result, and its student, to be asked more or exported."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import pandas as pd

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples
from reasvqa.learning.answering import answer_table, generate_reasoning
from reasvqa.learning.export import card, export_folder, write_adapter, write_merged
from reasvqa.learning.features import Features, dtype_of, features_of, readable
from reasvqa.learning.key import digest, load_existing, questions_digest, videos_digest
from reasvqa.learning.store import WEIGHTS, SealedFolder
from reasvqa.samples import Sample
from reasvqa.students import Student, load_student, own_device
from reasvqa.students.adapters import load_trained, prepare

WRITTEN = "written.csv"


class WeightsLeftOut(ValueError):
    """The student of a run without weights is asked for. The message says how to train it."""


class Run(SealedFolder):
    """A finished run, read from its folder; raises `DamagedRun` where a file that is read is missing or has changed."""

    @cached_property
    def config(self) -> TrainConfig:
        """Resolved settings."""
        return TrainConfig(**json.loads(self.file("config.json").read_text(encoding="utf-8")))

    @property
    def root(self) -> Path:
        """Folder of the data set it learned from."""
        kept = self.meta.get("root")
        return Path(kept) if kept else paths.dataset(self.config.dataset)

    @cached_property
    def metrics(self) -> dict:
        """accuracy (%), questions, train_examples, with_reasoning, cut (numbers of texts over their token limits),
        trained_parameters, seconds (of features, training, answering), steps."""
        return json.loads(self.file("metrics.json").read_text(encoding="utf-8"))

    @property
    def accuracy(self) -> float:
        """Accuracy in percent on the evaluation split."""
        return self.metrics["accuracy"]

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row per question: id, prediction (Int64, NA: none), answer, type, group, text (what an STL student
        wrote)."""
        return _read_predictions(self.file("predictions.csv"))

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row per logged step: step, epoch, loss, answer_loss, reasoning_loss (with MTL), learning_rate."""
        return pd.read_csv(self.file("history.csv"))

    @property
    def name(self) -> str:
        """Short name as in the paper: Blind, STL_QA, STL_CR, STL_All, MTL_CR, MTL_All."""
        config = self.config
        if config.reasoning == "none":
            return "Blind" if config.blind else "STL_QA"
        amount = "CR" if config.subset == "cr" else "All"
        kind = "" if config.reasoning == "refined" else f" ({config.reasoning})"
        return f"{config.objective.upper()}_{amount}{kind}"

    def samples(self, split: str | None = None) -> Samples:
        """Return the questions of a split of its data set; default: those it was evaluated on."""
        return load_existing(self.config.dataset, split or self.config.split, self.root)

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
        student = load_student(self.config.student, dtype_of(self.config))
        prepare(student, self.config)
        load_trained(student, self.file(WEIGHTS))
        return student.eval()

    def predictions_on(self, split: str) -> pd.DataFrame:
        """Return the predictions on another split of the data set, in the form of `predictions`.

        The student answers once. A store that can be written to keeps the answers until that split's questions or
        videos change.
        """
        if split == self.config.split:
            return self.predictions
        samples = self.samples(split)
        asked = questions_digest(samples), *([] if self.config.blind else [videos_digest(samples)])
        name = f"predictions-{split}-{digest([asked])[:8]}.csv"
        if self.has(name):
            return _read_predictions(self.file(name))
        with self.adding():
            if self.has(name):  # another process answered meanwhile
                return _read_predictions(self.file(name))
            text = self.answer(samples).to_csv(index=False)
            self.add(name, text)
        return _read_predictions(io.StringIO(text))

    def answer(self, samples: Samples) -> pd.DataFrame:
        """Let the student answer questions about clips of its data set; return them in the form of `predictions`.

        Raises:
            WeightsLeftOut: see `load_student`.
            MissingVideos: see `readable`.
        """
        student, features = self._student_and_features(samples)
        return answer_table(student, readable(samples, features, self.config.skip_missing), features, self.config)

    def explain(self, samples: Samples) -> list[str]:
        """Return the reasoning that the student writes for questions of its data set, decoded once and kept as in
        `predictions_on`."""
        kept, hashes = self._written(), [_question_hash(sample) for sample in samples]
        missing = {asked: sample for asked, sample in zip(hashes, samples, strict=True) if asked not in kept}
        if missing:
            questions = Samples(missing.values(), samples.videos)
            student, features = self._student_and_features(questions)
            kept |= zip(missing, generate_reasoning(student, questions, features, self.config), strict=True)
            with self.adding():
                kept |= self._written()
                self.add(WRITTEN, pd.DataFrame(kept.items(), columns=["asked", "text"]).to_csv(index=False))
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

    def _student_and_features(self, samples: Samples) -> tuple[Student, Features | None]:
        """Load the student without its frozen half, and features of these clips. If the clips of the evaluated
        questions, whose features are cached, contain them, the features are of those."""
        evaluated, student = self.samples(), self.load_student()
        clips = {(sample.video, sample.clip) for sample in evaluated}
        covered = all((sample.video, sample.clip) in clips for sample in samples)
        features = features_of(evaluated if covered else samples, student, self.config)
        return student.without_vision_encoder(own_device()), features

    def export(self, path: str | Path, merged: bool = False) -> Path:
        """Write the trained student, with a model card, into a folder for use without this library.

        An adapter, for `PeftModel.from_pretrained(base, path)`; or `merged`, a whole checkpoint with tokenizer and
        processor, for `from_pretrained(path)` and `load_student(path)`. The folder appears whole or not at all and
        replaces an earlier export.

        Raises:
            WeightsLeftOut: see `load_student`.
            FileExistsError: something else is at `path`.
            DataError: the questions that it was evaluated on are gone; the card shows one of them.
            FileNotFoundError: the base's processor, for `merged`, is missing.
        """
        about = {"run": self.path.name, "merged": merged, "config": asdict(self.config)}
        with export_folder(Path(path), about) as folder:
            sample, student = self.samples()[0], self.load_student()
            (write_merged if merged else write_adapter)(student, self.config, folder)
            page = card(self.config, student, sample, {"run": self.path.name, **self.meta, **self.metrics}, merged)
            (folder / "README.md").write_text(page, encoding="utf-8")
        return Path(path).expanduser()


def _question_hash(sample: Sample) -> str:
    """Return a hash of what is asked about which clip."""
    return digest([(sample.video, str(sample.clip), sample.question, *sample.options)])[:12]


def _read_predictions(file: Path | io.StringIO) -> pd.DataFrame:
    blank = {"prediction": [""], "answer": [""]}
    texts = dict.fromkeys(("id", "type", "group", "text"), str)  # also where they look like numbers
    table = pd.read_csv(file, dtype=texts, keep_default_na=False, na_values=blank)
    return table.astype({"prediction": "Int64", "answer": "Int64"})
