"""The run store: finished runs, each under a key that says what the student was really taught and asked.

runs/<key>/
    config.json  metrics.json  predictions.csv  history.csv  weights.safetensors    the result
    meta.json                                       versions, place of the data, checksums
    predictions-<split>-<hash of the split>.csv     what its student was asked later
    written.csv                                     and what it wrote

A run that came with the repository has no weights (`reasvqa.learning.records`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import pandas as pd
import peft
import torch
import transformers

import reasvqa
from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import Samples, load
from reasvqa.evaluation import Estimate, estimate, right_or_wrong
from reasvqa.files import locked
from reasvqa.generation import read_reasoning
from reasvqa.learning.answering import generate_reasoning, predict
from reasvqa.learning.export import card, export_folder, write_adapter, write_merged
from reasvqa.learning.features import PROCEDURE as FEATURES_PROCEDURE
from reasvqa.learning.features import Features, build_features, readable, video_stamp
from reasvqa.learning.targets import build_examples, source_text
from reasvqa.samples import Sample
from reasvqa.students import Student, fingerprint, load_student, own_device
from reasvqa.students.adapters import load_trained, prepare

PROCEDURE = 2  # raise it when the same settings and texts lead to another student or other answers
WEIGHTS = "weights.safetensors"
WRITTEN = "written.csv"
RESULT = ("config.json", "metrics.json", "predictions.csv", "history.csv", WEIGHTS)


class DamagedRun(ValueError):
    """A kept run is not as it was written. The message names the file and the remedy."""


class WeightsLeftOut(ValueError):
    """A run that came with the repository is asked for its student."""


@dataclass(frozen=True)
class Run:
    """A finished run, read from its folder; every file is checked against the checksum it was kept with.

    Raises, from all that reads a file:
        DamagedRun: a file is missing or has changed.
    """

    path: Path

    @cached_property
    def meta(self) -> dict:
        """When it finished, versions, device, processes, the generator's accuracy, the data's folder, checksums."""
        try:
            meta = json.loads((self.path / "meta.json").read_text())
            whole = meta.pop("sha256") == _sha_of(meta)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged("meta.json", "cannot be read") from error
        if not whole:
            raise self._damaged("meta.json", "has changed since it was written")
        return meta

    def file(self, name: str) -> Path:
        """The path of one of the run's files, once its content is found to be what was written."""
        path = self.path / name
        if name not in self.meta["files"] or not path.is_file():
            raise self._damaged(name, "is missing")
        if _sha(path) != self.meta["files"][name]:
            raise self._damaged(name, "has changed since it was written")
        return path

    def check(self) -> Run:
        """The run itself, after a look at all of its files."""
        for name in RESULT:
            if name != WEIGHTS or self.has_weights:
                self.file(name)
        return self

    @property
    def has_weights(self) -> bool:
        """False if it came with the repository, which leaves them out."""
        return "left_out" not in self.meta

    def has(self, name: str) -> bool:
        """Is this file there, as it was written?"""
        try:
            return bool(self.file(name))
        except DamagedRun:
            return False

    def _damaged(self, name: str, what: str) -> DamagedRun:
        return DamagedRun(
            f"{self.path / name}: {what}, so this run cannot be trusted. "
            "Asking for it again (train, or reproduce) makes it anew."
        )

    @cached_property
    def config(self) -> TrainConfig:
        """Its resolved settings."""
        return TrainConfig(**json.loads(self.file("config.json").read_text()))

    @property
    def root(self) -> Path:
        """The folder of the data set it learned from."""
        kept = self.meta.get("root")
        return Path(kept) if kept else paths.dataset(self.config.dataset)

    @cached_property
    def metrics(self) -> dict:
        """accuracy (%), questions, train_examples, with_reasoning, cut (texts that were cut at their length limit),
        trained parameters, seconds of features, training and answering, steps, samples_per_second."""
        return json.loads(self.file("metrics.json").read_text())

    @property
    def accuracy(self) -> float:
        """Accuracy in percent on the evaluation split."""
        return self.metrics["accuracy"]

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row per question: id, prediction (Int64, NA if none), answer, type, group, text (what an STL student
        wrote)."""
        return _read_predictions(self.file("predictions.csv"))

    def predictions_on(self, split: str) -> pd.DataFrame:
        """Predictions on another split of the run's data set, in the form of `predictions`; answered once, and kept
        where the store can be written to, until that split's questions or videos change."""
        if split == self.config.split:
            return self.predictions
        asked = (_asked(self.config.dataset, split, self.root, _state(self.root)),)
        if not self.config.blind:
            asked += (_videos(self.config.dataset, split, self.root),)
        name = f"predictions-{split}-{_hash([asked])[:8]}.csv"
        if self.has(name):
            return _read_predictions(self.file(name))
        with self._to_write():
            self.__dict__.pop("meta", None)  # another process may have answered meanwhile
            if self.has(name):
                return _read_predictions(self.file(name))
            samples, student = self.samples(split), self.load_student()
            features = None if self.config.blind else features_of(samples, student, self.config)
            samples = samples if features is None else readable(samples, features, self.config.skip_missing)
            table = answers(student.without_vision_encoder(own_device()), samples, features, self.config)
            self._add(name, table)
        return _read_predictions(io.StringIO(table.to_csv(index=False)))

    @contextmanager
    def _to_write(self) -> Iterator[None]:
        """Inside, no other process adds to the run. Where nothing can be written, none does."""
        with ExitStack() as stack:
            with suppress(OSError):
                stack.enter_context(locked(Path(f"{self.path}.lock")))
            yield

    def _add(self, name: str, table: pd.DataFrame) -> None:
        """One more file of the run, where the store can be written to; whoever calls holds its lock."""
        with suppress(OSError):
            write(self.path / name, table.to_csv(index=False))
            self.meta["files"][name] = _sha(self.path / name)
            _write_meta(self.path, self.meta)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row per logged step: step, epoch, loss, answer_loss, reasoning_loss (where there is one), learning_rate."""
        return pd.read_csv(self.file("history.csv"))

    @property
    def name(self) -> str:
        """A short name, as the paper has it: Blind, STL_QA, STL_CR, STL_All, MTL_CR, MTL_All."""
        config = self.config
        if config.reasoning == "none":
            return "Blind" if config.blind else "STL_QA"
        amount = "CR" if config.subset == "cr" else "All"
        kind = "" if config.reasoning == "refined" else f" ({config.reasoning})"
        return f"{config.objective.upper()}_{amount}{kind}"

    def samples(self, split: str | None = None) -> Samples:
        """The questions of a split of its data set; default: those it was evaluated on."""
        return _load(self.config.dataset, split or self.config.split, self.root)

    def load_student(self) -> Student:
        """The trained student, on the CPU, ready to answer and write.

        Raises:
            WeightsLeftOut: the run came with the repository, which leaves them out. The message says how to get them.
        """
        if not self.has_weights:
            raise WeightsLeftOut(
                f"{self.path.name} came with the repository, without its weights: "
                "train(run.config, force=True) trains its student again (of the miniature, in about a minute)"
            )
        student = load_student(self.config.student, dtype_of(self.config))
        prepare(student, self.config)
        load_trained(student, self.file(WEIGHTS))
        return student.eval()

    def export(self, path: str | Path, merged: bool = False) -> Path:
        """Writes the trained student into a folder of its own, for use without this library, with a model card.

        Without `merged` an adapter: `PeftModel.from_pretrained(base, path)`. With it a whole checkpoint of
        transformers with tokenizer and processor: `from_pretrained(path)`, `transformers serve`, and
        `load_student(path)`. The folder appears whole or not at all; an earlier export there is replaced.

        Raises:
            FileExistsError: something that is no export lies at `path`.
            DataError: the questions that it was evaluated on are gone; the card needs their videos.
            FileNotFoundError: the base, or for `merged` its processor, is not to be had.
        """
        samples, path = self.samples(), Path(path).expanduser()
        with export_folder(path, {"run": self.path.name, "merged": merged, "config": asdict(self.config)}) as folder:
            student = self.load_student()
            (write_merged if merged else write_adapter)(student, self.config, folder)
            prompt = source_text(samples[0], self.config.answer_format)
            (ids,) = student.source_ids([prompt], self.config.max_source_tokens)
            asked = samples[0], student.tokenizer.decode(ids)
            found = {"name": self.path.name, **self.meta, **self.metrics}
            page = card(self.config, student, asked, found, self._estimate(samples), merged)
            (folder / "README.md").write_text(page, encoding="utf-8")
        return path

    def _estimate(self, samples: Samples) -> Estimate | None:
        """Its accuracy with the interval; None on a split without labels."""
        if self.accuracy is None:
            return None
        video = {sample.id: sample.video for sample in samples}
        return estimate(right_or_wrong([self.predictions]), self.predictions["id"].map(video).to_numpy())

    def explain(self, samples: Samples) -> list[str]:
        """The reasoning the trained student writes for some questions of its data set; written once, and kept where the
        store can be written to."""
        texts = self.written(samples)
        left = [i for i, text in enumerate(texts) if text is None]
        if left:
            missing = Samples([samples[i] for i in left], samples.videos)
            student = self.load_student()
            features = None if self.config.blind else features_of(self._with_features(missing), student, self.config)
            wrote = generate_reasoning(student.without_vision_encoder(own_device()), missing, features, self.config)
            new = pd.DataFrame({"asked": [_question(sample) for sample in missing], "text": wrote})
            with self._to_write():
                self.__dict__.pop("meta", None)  # another process may have written meanwhile
                self._add(WRITTEN, pd.concat([self._written(), new]).drop_duplicates("asked"))
            texts = [wrote[left.index(i)] if text is None else text for i, text in enumerate(texts)]
        return [str(text) for text in texts]

    def written(self, samples: Samples) -> list[str | None]:
        """Of what `explain` gives, what is kept already; None for a question that it was not asked yet."""
        kept = self._written().set_index("asked")["text"]
        return [kept.get(_question(sample)) for sample in samples]

    def _written(self) -> pd.DataFrame:
        """A row per question, by a hash of all that is asked: asked, text."""
        if not self.has(WRITTEN):
            return pd.DataFrame({"asked": [], "text": []}, dtype=str)
        return pd.read_csv(self.file(WRITTEN), dtype=str, keep_default_na=False)

    def _with_features(self, samples: Samples) -> Samples:
        """The questions that it was evaluated on if these are some of them, because their features are there; else
        these."""
        evaluated = self.samples()
        known = {(sample.video, sample.clip) for sample in evaluated}
        return evaluated if all((sample.video, sample.clip) in known for sample in samples) else samples


def _question(sample: Sample) -> str:
    """A hash of what is asked about which clip."""
    return _hash([(sample.video, str(sample.clip), sample.question, *sample.options)])[:12]


# --- the key ----------------------------------------------------------------------------------------------------------


def run_key(config: TrainConfig, root: Path | None = None) -> str:
    """A name for the run's folder that says what it is, and a hash of everything that determines its result: the built
    examples, the questions it is evaluated on, the videos of both, the settings, the student, and the versions that
    count.

    It only reads, and what it has read it keeps in memory, by the files' times and sizes.

    Args:
        root: the data set's folder; default: the one of its name under the data root.

    Raises:
        DataError, ReasoningError: data or responses are missing or wrong. ValueError: a setting is.
    """
    config = config.resolve()
    root = root or paths.dataset(config.dataset)
    learned = build_digest(config, root)
    asked = _asked(config.dataset, config.split, root, _state(root))
    torch_version = torch.__version__.split("+")[0]
    versions = [PROCEDURE, FEATURES_PROCEDURE, torch_version, transformers.__version__, peft.__version__]
    everything = [asdict(config), learned, asked, fingerprint(config.student), versions]
    if not config.blind:
        everything += [_videos(config.dataset, split, root) for split in ("train", config.split)]
    label = "blind" if config.blind else f"{config.objective}-{config.reasoning}"
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:12]
    return f"{config.dataset}-{Path(config.student).name}-{label}-s{config.seed}-{digest}"


def build_digest(config: TrainConfig, root: Path) -> str:
    """A hash of the training examples that these settings make of the data set in `root`: texts, in their order."""
    path = paths.reasoning(root, config.generator, config.kind)
    chosen = ("objective", "reasoning", "refinement", "control", "subset", "fraction", "target_order", "answer_format")
    named = {name: getattr(config, name) for name in chosen}
    seed = config.seed if config.fraction < 1 else 0  # it only draws the fraction
    small = TrainConfig(
        dataset=config.dataset, questions=config.questions, generator=config.generator, seed=seed, **named
    )
    return _examples_digest(small, root, _state(root), _state_of(path) if config.generator else None)


@lru_cache(maxsize=4096)
def _examples_digest(config: TrainConfig, root: Path, *_states) -> str:
    samples = _load(config.dataset, "train", root)[: config.questions]
    examples = build_examples(samples, responses_of(config, root, samples), config)
    return _hash((e.sample.id, e.source, e.target, e.reasoning or "", e.ending) for e in examples)


@lru_cache(maxsize=64)
def _asked(dataset: str, split: str, root: Path, _state) -> str:
    """A hash of the questions of a split, with options and answers."""
    samples = _load(dataset, split, root)
    return _hash((s.id, s.video, str(s.clip), s.question, *s.options, str(s.answer), s.type) for s in samples)


def _videos(dataset: str, split: str, root: Path) -> str:
    """A hash of the videos of a split, by their content."""
    samples = _load(dataset, split, root)
    return _hash((video, str(video_stamp(samples.videos / video))) for video in sorted({s.video for s in samples}))


def responses_of(config: TrainConfig, root: Path, samples: Samples) -> pd.DataFrame | None:
    """What the generator wrote about these questions, of `read_reasoning`; None where nothing is learned from it.

    Raises:
        ReasoningError: the file is missing, wrong, or written for other questions.
    """
    if not config.generator:
        return None
    return read_reasoning(paths.reasoning(root, config.generator, config.kind), samples, config.kind)


def _load(dataset: str, split: str, root: Path) -> Samples:
    """`load` without making anything, kept in memory until the folder's annotation files change."""
    return _loaded(dataset, split, root, _state(root))


@lru_cache(maxsize=32)
def _loaded(dataset: str, split: str, root: Path, _state) -> Samples:
    return load(dataset, split, root)


def _state(root: Path) -> tuple:
    """Times and sizes of the annotation files of a data set."""
    files = sorted(path for pattern in ("*.csv", "*.json", "*.txt") for path in root.glob(pattern))
    return tuple((path.name, *_state_of(path)) for path in files)


def _state_of(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except FileNotFoundError:
        return 0, 0
    return state.st_mtime_ns, state.st_size


def _hash(rows: Iterable[tuple[str, ...]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


# --- what training and reading a run share ----------------------------------------------------------------------------


def dtype_of(config: TrainConfig) -> torch.dtype:
    """Of frozen weights and features."""
    return torch.bfloat16 if config.precision == "bf16" else torch.float32


def features_of(samples: Samples, student: Student, config: TrainConfig) -> Features:
    """The features of these samples' clips, from the cache of the data root."""
    return build_features(samples, student, config.student, config.num_frames, paths.features())


def answers(student: Student, samples: Samples, features: Features | None, config: TrainConfig) -> pd.DataFrame:
    """The student's predictions as a table, see `Run.predictions`."""
    predictions, texts = predict(student, samples, features, config)
    table = pd.DataFrame(samples.to_pandas(), columns=["id", "answer", "type", "group"])
    table.insert(1, "prediction", pd.Series(predictions, dtype="Int64"))
    table["text"] = texts
    return table


def _read_predictions(file: Path | io.StringIO) -> pd.DataFrame:
    blank = {"prediction": [""], "answer": [""]}
    table = pd.read_csv(file, dtype={"id": str, "text": str}, keep_default_na=False, na_values=blank)
    return table.astype({"prediction": "Int64", "answer": "Int64"})


def write(path: Path, text: str) -> None:
    """A text file that appears whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_json(path: Path, content: dict) -> None:
    """See `write`."""
    write(path, _json(content))


def _json(content: dict) -> str:
    return json.dumps(content, indent=1) + "\n"


def seal(folder: Path, meta: dict) -> None:
    """Writes meta.json with versions and the checksums of the result's files: the last step of a run."""
    versions = {module.__name__: module.__version__ for module in (reasvqa, torch, transformers, peft)}
    versions["python"] = platform.python_version()
    files = {name: _sha(folder / name) for name in RESULT}
    _write_meta(folder, meta | {"versions": versions, "files": files})


def _write_meta(folder: Path, meta: dict) -> None:
    write(folder / "meta.json", meta_text(meta))


def meta_text(meta: dict) -> str:
    """What stands in meta.json: with a checksum of its own."""
    return _json(meta | {"sha256": _sha_of(meta)})


def _sha_of(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
