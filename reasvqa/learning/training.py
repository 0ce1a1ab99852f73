"""Phase 3, LR: trains a student by Eq. 1 or Eq. 2 and keeps the run.

A run is kept under data/runs/<key>; the key is a hash of everything that determines it (settings, data, reasoning, student,
library versions). Asking for the same run again reads it from there; an interrupted run continues from its last checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path

import pandas as pd
import peft
import safetensors.torch
import torch
import transformers
from accelerate import PartialState
from accelerate.utils import gather_object
from filelock import FileLock
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

import reasvqa
from reasvqa.datasets import DATA, MINIATURES, Samples, load
from reasvqa.evaluation import right_or_wrong
from reasvqa.generation import ReasoningError, read_reasoning, swap_reasoning
from reasvqa.learning.answering import pad, predict, write_reasoning
from reasvqa.learning.features import Features, build_features, fingerprint, readable
from reasvqa.learning.objective import IGNORE, Objective
from reasvqa.learning.students import Student, load_student, own_device
from reasvqa.learning.targets import ANSWER_FORMATS, OBJECTIVES, REASONINGS, SUBSETS, Example, build_examples

# What differs between the scales: the paper's own settings (appendix A.2), and the miniature's. Its learning rate, epochs and
# amount of questions were looked at on validation splits (notebooks/90_pretrain_mini.ipynb keeps the record): few epochs over more
# questions, as in the paper, because many epochs over few made students learn the reasoning by heart; and the paper's batch of 8,
# because with 16 there are too few steps for two tasks. `None` in a TrainConfig means: as the scale has it.
RECIPES: dict[str, dict] = {
    "paper": dict(
        learning_rate=3e-5,
        batch_size=8,
        epochs=10,
        answer_format="letter",
        split="val",
        generator="internvl-26b",
        lora_rank=8,
        precision="bf16",
    ),
    "mini": dict(
        learning_rate=2e-3,
        batch_size=8,
        epochs=4,
        answer_format="text",
        split="test",
        generator="sim-26b",
        lora_rank=16,
        precision="fp32",
    ),
    "smoke": dict(
        learning_rate=2e-3,
        batch_size=8,
        epochs=1,
        answer_format="text",
        split="test",
        generator="sim-26b",
        lora_rank=4,
        precision="fp32",
    ),
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a run. Fields left at None take the scale's value, see `RECIPES`.

    Attributes:
        dataset: a name for `reasvqa.datasets.load`.
        student: a name or path for `load_student`.
        objective: "stl" (Eq. 1) or "mtl" (Eq. 2).
        reasoning: "refined", "original", "none", "brief_caption" or "detailed_caption".
        subset: "all" reasoning, or "cr": only that of right answers.
        fraction: share of the usable reasoning that is used, 0 < fraction <= 1.
        beta: weight of the reasoning's loss in Eq. 2, 0 <= beta < 1; alpha = 1 - beta. 0 is STL_QA.
        generator: whose reasoning: names data/<dataset>/reasoning/<generator>.jsonl.
        num_frames: N.
        blind: the student sees no frames: what the questions alone give away.
        lora: train LoRA weights of the language model beside the projection?
        lora_rank: r; the scale lora_alpha is 2 r.
        answer_format: "letter" or "text", see `reasvqa.learning.answering`.
        questions: train on the first so many questions only; None: all.
        split: what the trained student is evaluated on.
        precision: "fp32"; or "bf16": frozen weights and features in bfloat16, autocast for the rest, trained weights in float32.
        gradient_checkpointing: compute activations of the language model twice instead of keeping them: less memory, more time.
        skip_missing: go on without questions whose videos cannot be read?
    """

    dataset: str = "mini-star"
    student: str = "mini-blip2"
    objective: str = "mtl"
    reasoning: str = "refined"
    subset: str = "all"
    fraction: float = 1.0
    beta: float = 0.5
    seed: int = 0
    blind: bool = False
    lora: bool = True
    num_frames: int = 4
    generator: str | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    lora_rank: int | None = None
    answer_format: str | None = None
    precision: str | None = None
    gradient_checkpointing: bool = False
    questions: int | None = None
    split: str | None = None
    skip_missing: bool = False

    @property
    def scale(self) -> str:
        """ "mini", "smoke" or "paper", by the data set."""
        prefix = self.dataset.split("-")[0]
        return prefix if prefix in MINIATURES else "paper"

    def resolve(self) -> TrainConfig:
        """All values in place and checked, and settings that mean the same made the same: MTL with beta 0 or without
        reasoning is STL_QA, and what a run does not use does not distinguish it.

        Raises:
            ValueError: a value is out of range; the message says which and what is possible.
        """
        missing = {field.name for field in fields(self) if getattr(self, field.name) is None}
        config = replace(self, **{name: value for name, value in RECIPES[self.scale].items() if name in missing})
        choices = {"objective": OBJECTIVES, "reasoning": REASONINGS, "subset": SUBSETS, "answer_format": ANSWER_FORMATS}
        for name, allowed in (choices | {"precision": ("fp32", "bf16")}).items():
            if getattr(config, name) not in allowed:
                raise ValueError(f"{name}={getattr(config, name)!r}: choose one of {', '.join(allowed)}")
        if not 0 <= config.beta < 1:
            raise ValueError(
                f"beta={config.beta}: the weight of the reasoning must be at least 0 and below 1 (alpha = 1 - beta)"
            )
        if not 0 < config.fraction <= 1:
            raise ValueError(f"fraction={config.fraction}: a share above 0 and at most 1")
        for name in ("epochs", "batch_size", "num_frames", "lora_rank", "learning_rate") + (
            ("questions",) if config.questions is not None else ()
        ):
            if getattr(config, name) <= 0:
                raise ValueError(f"{name}={getattr(config, name)}: must be positive")
        if config.objective == "mtl" and (config.beta == 0 or config.reasoning == "none"):
            config = replace(config, objective="stl", reasoning="none")
        if config.objective == "stl":
            config = replace(config, beta=0.0)
        if config.reasoning == "none":
            config = replace(config, generator="", subset="all", fraction=1.0)
        return config


@dataclass(frozen=True)
class Run:
    """A finished run, read from its folder.

    Files: config.json, metrics.json, predictions.csv, history.csv, weights.safetensors (what was trained), meta.json.
    """

    path: Path

    @cached_property
    def config(self) -> TrainConfig:
        return TrainConfig(**json.loads((self.path / "config.json").read_text()))

    @cached_property
    def metrics(self) -> dict:
        """accuracy (%), questions, trained parameters, seconds of features, training and answering, steps, samples/s."""
        return json.loads((self.path / "metrics.json").read_text())

    @property
    def accuracy(self) -> float:
        """Accuracy in percent on the evaluation split."""
        return self.metrics["accuracy"]

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row per question: id, prediction (Int64, NA if none), answer, type, group, text (what an STL student wrote)."""
        return _read_predictions(self.path / "predictions.csv")

    def predictions_on(self, split: str) -> pd.DataFrame:
        """Predictions on another split of the run's data set, in the form of `predictions`; answered once, then kept beside them."""
        if split == self.config.split:
            return self.predictions
        path = self.path / f"predictions-{split}.csv"
        with FileLock(f"{self.path}.lock"):
            if not path.exists():
                samples, student = load(self.config.dataset, split), self.load_student()
                features = None if self.config.blind else _features(samples, student, self.config)
                samples = samples if features is None else readable(samples, features, self.config.skip_missing)
                student = student.without_eyes(own_device())
                partial = path.with_suffix(".partial")
                _answers(student, samples, features, self.config).to_csv(partial, index=False)
                os.replace(partial, path)
        return _read_predictions(path)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row per logged step: step, epoch, loss, answer_loss, reasoning_loss (where there is one), learning_rate."""
        return pd.read_csv(self.path / "history.csv")

    @property
    def name(self) -> str:
        """A short name, as the paper has it: Blind, STL_QA, STL_CR, STL_All, MTL_CR, MTL_All."""
        config = self.config
        if config.reasoning == "none":
            return "Blind" if config.blind else "STL_QA"
        return f"{config.objective.upper()}_{'CR' if config.subset == 'cr' else 'All'}" + (
            "" if config.reasoning == "refined" else f" ({config.reasoning})"
        )

    def load_student(self) -> Student:
        """The trained student, on the CPU, ready to answer and write."""
        student = load_student(self.config.student, _dtype(self.config))
        prepare(student, self.config)
        load_trained(student, self.path / "weights.safetensors")
        return student.eval()

    def explain(self, samples: Samples) -> list[str]:
        """The reasoning the trained student writes for some questions of its data set."""
        student = self.load_student()
        features = None if self.config.blind else _features(samples, student, self.config)
        return write_reasoning(student.without_eyes(own_device()), samples, features, self.config.answer_format)


def train(config: TrainConfig, *, force: bool = False, runs: Path | None = None, root: Path | None = None) -> Run:
    """Trains a student as `config` says, evaluates it, and keeps the run; a run that is kept already is returned as it is.

    Started by `torchrun` or `accelerate launch`, the processes share each batch and the evaluation, one GPU each.

    Args:
        config: the settings.
        force: train even if the run is kept.
        runs: the run store; default data/runs.
        root: the data set's folder; default data/<dataset>.

    Raises:
        ValueError: a setting is out of range. DataError, ReasoningError, MissingVideos: see there.
    """
    config = config.resolve()
    runs = runs or DATA / "runs"
    root = root or DATA / config.dataset
    path = runs / run_key(config, root)
    runs.mkdir(parents=True, exist_ok=True)
    state = PartialState(cpu=not torch.cuda.is_available())
    with FileLock(f"{path}.lock") if state.is_main_process else nullcontext():
        if force and state.is_main_process:
            shutil.rmtree(path, ignore_errors=True)
            shutil.rmtree(f"{path}.partial", ignore_errors=True)
        state.wait_for_everyone()
        if not path.exists():
            _train(config, root, Path(f"{path}.partial"), state)
            if state.is_main_process:
                os.replace(f"{path}.partial", path)
            state.wait_for_everyone()
    return Run(path)


def run_key(config: TrainConfig, root: Path) -> str:
    """A name for the run's folder that says what it is, and a hash of everything that determines its result."""
    if root == DATA / config.dataset:
        _make(config.dataset)
    inputs = [
        _sha(file)
        for file in sorted([*root.glob("*.csv"), *root.glob("*.json")])
        if file.suffix == ".csv" or file.name.startswith(("STAR", "map", "complete"))
    ]
    if config.generator:
        path = reasoning_path(config, root)
        if (
            not path.exists()
            and path.stem.endswith("-swapped")
            and (own := path.with_name(path.name.replace("-swapped", ""))).exists()
        ):
            with suppress(ReasoningError):  # of a generation that has not ended: a run says so, a plan need not
                swap_reasoning(
                    load(config.dataset, "train", root), own
                )  # a control of any generator, made on first use
        inputs.append(_sha(path) if path.exists() else "")
    versions = [reasvqa.__version__, torch.__version__.split("+")[0], transformers.__version__, peft.__version__]
    everything = json.dumps([asdict(config), inputs, fingerprint(config.student), versions], sort_keys=True)
    label = "blind" if config.blind else f"{config.objective}-{config.reasoning}"
    student = Path(config.student).name
    return f"{config.dataset}-{student}-{label}-s{config.seed}-{hashlib.sha256(everything.encode()).hexdigest()[:12]}"


def reasoning_path(config: TrainConfig, root: Path) -> Path:
    """The reasoning file a run learns from."""
    kind = f"-{config.reasoning}" if config.reasoning.endswith("caption") else ""
    return root / "reasoning" / f"{config.generator}{kind}.jsonl"


@lru_cache
def _make(dataset: str) -> None:
    """A miniature is made on first use; its runs' keys depend on its files."""
    load(dataset, "train")


def _sha(file: Path) -> str:
    """A file's hash, computed again only when its time or size has changed."""
    state = file.stat()
    return _sha_of(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _sha_of(file: Path, changed: int, size: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


# --- the student's trainable part -------------------------------------------------------------------------------------


def prepare(student: Student, config: TrainConfig) -> None:
    """Freezes the student but for the projection, and adds LoRA to all linear layers of the language model (section 4.1).

    What is trained is in float32, whatever the rest is in.
    """
    student.requires_grad_(False)
    if config.lora:
        lora = peft.LoraConfig(
            r=config.lora_rank, lora_alpha=2 * config.lora_rank, lora_dropout=0.0, target_modules=list(student.linears)
        )
        peft.inject_adapter_in_model(lora, student.language_model)
    student.projection.requires_grad_(True)
    for module in student.modules():
        if isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer):
            module.cast_input_dtype_enabled = False  # autocast does it, in the cheaper direction
    for parameter in student.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _dtype(config: TrainConfig) -> torch.dtype:
    return torch.bfloat16 if config.precision == "bf16" else torch.float32


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained, by name, on the CPU."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def load_trained(module: nn.Module, path: Path) -> None:
    """Puts `trained_state` of an equally prepared module back.

    Raises:
        ValueError: the file does not have exactly the trained parameters.
    """
    state = safetensors.torch.load_file(path)
    own = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if own.keys() != state.keys():
        raise ValueError(
            f"{path}: not the weights of this student; they differ in {sorted(own.keys() ^ state.keys())[:5]}"
        )
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)


class _ByLength(Sampler[int]):
    """Random order in which neighbours are of similar length, so that little is padded; fixed by seed and epoch, so that a
    resumed run goes on in the same order."""

    def __init__(self, lengths: list[int], batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self):
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))


class _Trainer(Trainer):
    """`Trainer` that draws batches by length, keeps only the trained weights in its checkpoints and logs both losses."""

    def __init__(self, *args, **kwargs):
        self._sums: dict[str, list[Tensor]] = {}
        super().__init__(*args, **kwargs)

    def _get_train_sampler(self, *_):
        collator = self.data_collator
        lengths = [
            len(s) + len(t) + len(r or ())
            for s, t, r in zip(collator.sources, collator.targets, collator.reasonings, strict=True)
        ]
        return _ByLength(lengths, self.args.train_batch_size * self.args.world_size, self.args.seed)

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        outputs = model(**inputs)
        for name in ("answer_loss", "reasoning_loss"):
            if name in outputs:
                self._sums.setdefault(name, []).append(outputs[name])
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs, *args, **kwargs):
        if "loss" in logs:
            means = {
                name: self.accelerator.reduce(torch.stack(values).mean(), "mean").item()
                for name, values in self._sums.items()
            }
            logs = {**logs, **{name: round(mean, 4) for name, mean in means.items()}}
            self._sums = {}
        super().log(logs, *args, **kwargs)

    def _save(self, output_dir=None, state_dict=None):
        os.makedirs(output_dir, exist_ok=True)
        safetensors.torch.save_file(trained_state(self.model), os.path.join(output_dir, "trained.safetensors"))

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        load_trained(self.model, Path(resume_from_checkpoint) / "trained.safetensors")


class _Complete(TrainerCallback):
    """Marks a checkpoint as complete once all of its files are written: a kill in between leaves one that is not used."""

    def on_save(self, args, state, control, **_):
        PartialState().wait_for_everyone()  # each process writes its own random state
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / "complete").touch()


def _last_checkpoint(folder: Path, state: PartialState) -> str | None:
    done = [file.parent for file in folder.glob("checkpoint-*/complete")]
    if state.is_main_process:
        for other in set(folder.glob("checkpoint-*")) - set(done):
            shutil.rmtree(other)
    state.wait_for_everyone()
    return str(max(done, key=lambda path: int(path.name.split("-")[1]))) if done else None


# --- one run ----------------------------------------------------------------------------------------------------------


class Collator:
    """Examples -> a batch of `Objective`. Each text is tokenized once, when the run begins."""

    def __init__(self, student: Student, examples: list[Example], features: Features | None, max_length: int = 256):
        self.features, self.examples = features, examples
        self.sources = student.source_ids([e.source for e in examples], max_length)
        self.targets = student.target_ids([e.target for e in examples], max_length)
        reasonings = iter(student.target_ids([e.reasoning for e in examples if e.reasoning is not None], max_length))
        self.reasonings = [next(reasonings) if e.reasoning is not None else None for e in examples]
        self.pad, self.feature_shape = student.tokenizer.pad_token_id, student.feature_shape

    def __call__(self, indices: list[int]) -> dict[str, Tensor]:
        source, mask = pad([self.sources[i] for i in indices], self.pad)
        if self.features is None:
            features = torch.zeros(len(indices), 0, *self.feature_shape)
        else:
            features = self.features.tensor([self.examples[i].sample for i in indices])
        labels, _ = pad([self.targets[i] for i in indices], IGNORE)
        batch = {"features": features, "input_ids": source, "attention_mask": mask, "labels": labels}
        rows = [row for row, i in enumerate(indices) if self.reasonings[i] is not None]
        if rows:
            batch["reasoning_labels"], _ = pad([self.reasonings[indices[row]] for row in rows], IGNORE)
            batch["reasoning_rows"] = torch.tensor(rows)
        return batch


def _features(samples: Samples, student: Student, config: TrainConfig) -> Features:
    return build_features(samples, student, config.student, config.num_frames, DATA / "features")


def _train(config: TrainConfig, root: Path, folder: Path, state: PartialState) -> None:
    """The work of `train`: everything goes into `folder`, which `train` renames when all is there."""
    rank, world = state.process_index, state.num_processes
    if config.batch_size % world:
        raise ValueError(f"batch_size={config.batch_size}: {world} processes cannot share it evenly")
    folder.mkdir(parents=True, exist_ok=True)
    place = None if root == DATA / config.dataset else root
    train_samples, test_samples = (
        load(config.dataset, "train", place)[: config.questions],
        load(config.dataset, config.split, place),
    )
    reasoning = read_reasoning(reasoning_path(config, root)) if config.generator else None
    # All chance of a run: LoRA's initial weights, the order of samples, dropout.
    transformers.set_seed(config.seed)
    transformers.logging.set_verbosity_error()
    student = load_student(config.student, _dtype(config))
    began = time.time()
    features = test_features = None
    if not config.blind:
        features, test_features = _features(train_samples, student, config), _features(test_samples, student, config)
        train_samples = readable(train_samples, features, config.skip_missing)
        test_samples = readable(test_samples, test_features, config.skip_missing)
    seconds = {"features": time.time() - began}

    examples = build_examples(
        train_samples,
        reasoning,
        objective=config.objective,
        kind=config.reasoning,
        subset=config.subset,
        fraction=config.fraction,
        answer_format=config.answer_format,
        seed=config.seed,
    )
    prepare(student.without_eyes(own_device()), config)
    if config.gradient_checkpointing:
        student.language_model.gradient_checkpointing_enable({"use_reentrant": False})
    objective = Objective(student, config.beta)
    steps_per_epoch = -(-len(examples) // config.batch_size)
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size // world,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(0.05 * config.epochs * steps_per_epoch),
        weight_decay=0.01,
        max_grad_norm=1.0,
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        logging_steps=max(1, steps_per_epoch // 2),
        save_strategy="steps",
        # A checkpoint about every tenth of the run; at paper scale that is every epoch.
        save_steps=max(1, round(0.1 * config.epochs * steps_per_epoch)),
        save_total_limit=2,
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
    )
    arguments._n_gpu = 1  # several GPUs are for several processes, never for threads of one
    bar = _Progress(
        f"{config.dataset} {config.objective} {config.reasoning}{' blind' if config.blind else ''} seed {config.seed}"
    )
    trainer = _Trainer(
        model=objective,
        args=arguments,
        data_collator=Collator(student, examples, features),
        train_dataset=range(len(examples)),
        callbacks=[_Complete(), bar],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    began = time.time()
    trainer.train(resume_from_checkpoint=_last_checkpoint(folder / "checkpoints", state))
    seconds["training"] = time.time() - began

    began = time.time()
    table = _answers(student, test_samples[rank::world], test_features, config)
    if world > 1:
        table.index = range(rank, len(test_samples), world)
        table = pd.concat(gather_object([table])).sort_index()
    seconds["answering"] = time.time() - began
    if not state.is_main_process:
        return
    labelled = table["answer"].notna().all()
    history = pd.DataFrame([row for row in trainer.state.log_history if "loss" in row])
    metrics = {
        "accuracy": 100 * float(right_or_wrong([table])[0].mean()) if labelled else None,
        "questions": len(table),
        "train_examples": len(examples),
        "with_reasoning": sum(example.reasoning is not None for example in examples)
        if config.objective == "mtl"
        else len(examples) * (config.reasoning != "none"),
        "trained_parameters": sum(p.numel() for p in objective.parameters() if p.requires_grad),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "steps": trainer.state.global_step,
        "samples_per_second": round(len(examples) * config.epochs / seconds["training"], 1),
    }
    meta = {
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
        "versions": {module.__name__: module.__version__ for module in (reasvqa, torch, transformers, peft)}
        | {"python": platform.python_version()},
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "processes": world,
        "generator_accuracy": float(100 * reasoning["correct"].mean())
        if reasoning is not None and reasoning["correct"].notna().any()
        else None,
    }
    columns = [c for c in ("step", "epoch", "loss", "answer_loss", "reasoning_loss", "learning_rate") if c in history]
    history[columns].to_csv(folder / "history.csv", index=False)
    table.to_csv(folder / "predictions.csv", index=False)
    safetensors.torch.save_file(trained_state(student), folder / "weights.safetensors")
    for name, content in (("config", asdict(config)), ("metrics", metrics), ("meta", meta)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _answers(student: Student, samples: Samples, features: Features | None, config: TrainConfig) -> pd.DataFrame:
    """The student's predictions as a table, see `Run.predictions`."""
    written = config.objective == "stl" and config.reasoning != "none"
    predictions, texts = predict(student, samples, features, config.answer_format, written)
    table = samples.to_pandas()[["id", "answer", "type", "group"]]
    table.insert(1, "prediction", pd.array(predictions, dtype="Int64"))
    table["text"] = texts
    return table


def _read_predictions(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype={"id": str, "text": str}, keep_default_na=False, na_values={"prediction": [""]})
    return table.astype({"prediction": "Int64", "answer": "Int64"})


class _Progress(TrainerCallback):
    """One progress bar for the training, with the current losses."""

    def __init__(self, description: str):
        self.description = description

    def on_train_begin(self, args, state, control, **_):
        from tqdm.auto import tqdm

        self.bar = tqdm(
            total=state.max_steps, initial=state.global_step, desc=self.description, unit="step", mininterval=1
        )

    def on_step_end(self, args, state, control, **_):
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args, state, control, logs=None, **_):
        self.bar.set_postfix(
            {
                k.removesuffix("_loss"): f"{v:.3f}"
                for k, v in (logs or {}).items()
                if k.endswith("_loss") and not k.startswith("train")
            }
        )

    def on_train_end(self, args, state, control, **_):
        self.bar.close()
