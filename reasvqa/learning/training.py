"""Phase 3, LR: trains a student by Eq. 1 or Eq. 2.

A run is kept under a key that says what the student was really taught (`reasvqa.learning.runs`). Asking for it again
reads it from there; an interrupted run continues from its last checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch
import transformers
from accelerate import PartialState
from accelerate.utils import gather_object, reduce
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import Trainer, TrainerCallback, TrainingArguments

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import load
from reasvqa.evaluation import right_or_wrong
from reasvqa.files import locked
from reasvqa.learning.collate import ByLength, Collator
from reasvqa.learning.features import readable
from reasvqa.learning.objective import Objective
from reasvqa.learning.runs import (
    WEIGHTS,
    DamagedRun,
    Run,
    answers,
    dtype_of,
    features_of,
    responses_of,
    run_key,
    seal,
    write_json,
)
from reasvqa.learning.targets import build_examples
from reasvqa.students import load_student, own_device
from reasvqa.students.adapters import load_trained, prepare, trained_state


class Diverged(RuntimeError):
    """A loss is no number any more. The message names the step and what to change."""


def train(config: TrainConfig, *, force: bool = False, runs: Path | None = None, root: Path | None = None) -> Run:
    """Trains a student as `config` says, evaluates it, and keeps the run; a run that is kept already is returned as it
    is.

    Started by `torchrun` or `accelerate launch`, the processes share each batch and the evaluation, one GPU each.

    Args:
        config: the settings.
        force: train even if the run is kept; the kept one is replaced when the new one is finished. A damaged one is
            always made anew.
        runs: the run store; default: the data root's.
        root: the data set's folder; default: the one of its name under the data root, where a miniature is made on
            first use.

    Raises:
        ValueError: a setting is out of range. DataError, ReasoningError, MissingVideos, Diverged: see there.
    """
    config = config.resolve()
    runs, place = runs or paths.runs(), root or paths.dataset(config.dataset)
    if root is None:
        load(config.dataset, "train")
    path = runs / run_key(config, place)
    state = PartialState(cpu=not torch.cuda.is_available())
    if state.num_processes == 1 and not force and _is_whole(path, say=False):
        return Run(path)  # nothing is written: the store may lie where nothing can be
    runs.mkdir(parents=True, exist_ok=True)
    partial = Path(f"{path}.partial")
    with locked(Path(f"{path}.lock")) if state.is_main_process else nullcontext():
        finished = (partial / "meta.json").exists() and not path.exists()
        if state.is_main_process and finished and not force and _is_whole(partial):
            _replace(partial, path)  # killed between the end and its name
        state.wait_for_everyone()  # all look at the same store
        wanted = force or not _is_whole(path)
        if state.is_main_process and wanted and (force or path.exists()):
            shutil.rmtree(partial, ignore_errors=True)
        state.wait_for_everyone()
        if wanted:
            try:
                _train(config, place, partial, state)
            except Diverged:
                shutil.rmtree(partial, ignore_errors=True)  # its checkpoints lead there again
                raise
            if state.is_main_process:
                _compare(path, partial)
                _replace(partial, path)
            state.wait_for_everyone()
    return Run(path)


def _compare(kept: Path, new: Path) -> None:
    """Says if a run that came without weights, and is trained again, does not come out the same."""
    if _is_whole(kept, say=False) and not (came := Run(kept)).has_weights:
        again = Run(new)
        if again.meta["files"][WEIGHTS] != came.meta["left_out"]:
            said = f"{kept.name}: its weights differ from those of then (another processor?), {again.accuracy} %"
            print(said, file=sys.stderr)  # workers' standard output goes nowhere


def _is_whole(path: Path, say: bool = True) -> bool:
    if not path.exists():
        return False
    try:
        Run(path).check()
    except DamagedRun as damage:
        if say:
            print(damage)
        return False
    return True


def _replace(partial: Path, path: Path) -> None:
    """A folder in the place of another, which goes only then."""
    old = Path(f"{path}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(partial, path)
    shutil.rmtree(old, ignore_errors=True)


def _train(config: TrainConfig, root: Path, folder: Path, state: PartialState) -> None:
    """The work of `train`: everything goes into `folder`, which `train` renames when all is there."""
    rank, world = state.process_index, state.num_processes
    if config.batch_size % world:
        raise ValueError(f"batch_size={config.batch_size}: {world} processes cannot share it evenly")
    folder.mkdir(parents=True, exist_ok=True)
    train_samples = load(config.dataset, "train", root)[: config.questions]
    test_samples = load(config.dataset, config.split, root)
    responses = responses_of(config, root, train_samples)
    # All chance of a run: LoRA's initial weights, the order of samples, dropout.
    transformers.set_seed(config.seed)
    transformers.logging.set_verbosity_error()
    student = load_student(config.student, dtype_of(config))
    began = time.time()
    features = test_features = None
    if not config.blind:
        features, test_features = (features_of(samples, student, config) for samples in (train_samples, test_samples))
        train_samples = readable(train_samples, features, config.skip_missing)
        test_samples = readable(test_samples, test_features, config.skip_missing)
    seconds = {"features": time.time() - began}

    examples = build_examples(train_samples, responses, config)
    prepare(student.without_vision_encoder(own_device()), config)
    if config.gradient_checkpointing:
        student.language_model.gradient_checkpointing_enable({"use_reentrant": False})
    objective, collator = Objective(student, config.beta), Collator(student, examples, features, config)
    if any(collator.cut.values()) and state.is_main_process:
        counts = ", ".join(f"{n} of {len(examples)} {what}" for what, n in collator.cut.items() if n)
        print(f"Cut at their limit of tokens (max_source_tokens, max_target_tokens): {counts}. Answers are kept whole.")
    arguments = _arguments(config, len(examples), folder / "checkpoints", world)
    how = f"{config.objective} {config.reasoning}{' blind' if config.blind else ''}"
    last = _last_checkpoint(folder / "checkpoints", state)
    complete = _Complete(last)
    trainer = _Trainer(
        model=objective,
        args=arguments,
        data_collator=collator,
        train_dataset=range(len(examples)),
        callbacks=[complete, _Progress(f"{config.dataset} {how} seed {config.seed}")],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train(resume_from_checkpoint=last)
    seconds["training"] = complete.elapsed
    if not all(bool(torch.isfinite(value).all()) for value in trained_state(student).values()):
        raise Diverged(
            f"the weights are no numbers after the last step: use a learning rate below {config.learning_rate:g}"
        )

    began = time.time()
    table = answers(student, test_samples[rank::world], test_features, config)
    if world > 1:
        table.index = pd.RangeIndex(rank, len(test_samples), world)
        table = pd.concat(gather_object([table])).sort_index()
    seconds["answering"] = time.time() - began
    if not state.is_main_process:
        return
    labelled = bool(table["answer"].notna().all())
    history = pd.DataFrame([row for row in trainer.state.log_history if "loss" in row])
    in_target = len(examples) if config.reasoning != "none" else 0
    metrics = {
        "accuracy": 100 * float(right_or_wrong([table])[0].mean()) if labelled else None,
        "questions": len(table),
        "train_examples": len(examples),
        "with_reasoning": sum(e.reasoning is not None for e in examples) if config.objective == "mtl" else in_target,
        "cut": collator.cut,
        "trained_parameters": sum(p.numel() for p in objective.parameters() if p.requires_grad),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "steps": trainer.state.global_step,
        "samples_per_second": round(len(examples) * config.epochs / seconds["training"], 1),
    }
    columns = ("step", "epoch", "loss", "answer_loss", "reasoning_loss", "learning_rate")
    history[[c for c in columns if c in history]].to_csv(folder / "history.csv", index=False)
    table.to_csv(folder / "predictions.csv", index=False)
    safetensors.torch.save_file(trained_state(student), folder / "weights.safetensors")
    write_json(folder / "config.json", asdict(config))
    write_json(folder / "metrics.json", metrics)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    cpu = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    known = [] if responses is None else [bool(correct) for correct in responses["correct"].dropna()]
    meta = {
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu,
        "processes": world,
        "generator_accuracy": 100 * sum(known) / len(known) if known else None,
        "root": None if root == paths.dataset(config.dataset) else str(root.resolve()),
    }
    seal(folder, meta)


def _arguments(config: TrainConfig, examples: int, folder: Path, world: int) -> TrainingArguments:
    """The settings in transformers' words."""
    steps_per_epoch = -(-examples // config.batch_size)
    steps = config.epochs * steps_per_epoch
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size // world,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=round(config.warmup * steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        logging_steps=max(1, steps_per_epoch // 2),
        logging_nan_inf_filter=False,
        save_strategy="steps",
        # A checkpoint about every tenth of the run; at paper scale that is every epoch.
        save_steps=max(1, round(0.1 * steps)),
        save_total_limit=2,
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
    )
    arguments._n_gpu = 1  # several GPUs are for several processes, never for threads of one
    return arguments


class _Trainer(Trainer):
    """`Trainer` that draws batches by length, keeps only the trained weights in its checkpoints, logs both losses and
    stops where a loss is no number."""

    model: nn.Module
    data_collator: Collator

    def __init__(self, *args, **kwargs):
        self._sums: dict[str, list[Tensor]] = {}
        super().__init__(*args, **kwargs)

    def _get_train_sampler(self, *_):
        return ByLength(self.data_collator.lengths(), self.args.train_batch_size * self.args.world_size, self.args.seed)

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        outputs = model(**inputs)
        for name in ("answer_loss", "reasoning_loss"):
            if name in outputs:
                self._sums.setdefault(name, []).append(outputs[name])
        if not torch.isfinite(outputs["loss"]):
            raise Diverged(
                f"the loss is {outputs['loss'].item()} at step {self.state.global_step + 1}: training has diverged, "
                f"nothing is kept. Use a learning rate below {self.args.learning_rate:g}, or a longer warmup."
            )
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs, *args, **kwargs):
        if "loss" in logs:
            means = reduce({name: torch.stack(values).mean() for name, values in self._sums.items()}, "mean")
            logs = {**logs, **{name: round(mean.item(), 4) for name, mean in means.items()}}
            self._sums = {}
        super().log(logs, *args, **kwargs)

    def _save(self, output_dir: str, state_dict=None):
        os.makedirs(output_dir, exist_ok=True)
        safetensors.torch.save_file(trained_state(self.model), os.path.join(output_dir, "trained.safetensors"))

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        load_trained(self.model, Path(resume_from_checkpoint) / "trained.safetensors")


class _Complete(TrainerCallback):
    """Marks a checkpoint as complete, with its files' checksums, once all of them are written: a kill in between leaves
    one that is not used. With it goes how long training took until then, over all interruptions."""

    def __init__(self, last: str | None):
        told = Path(last or "") / "seconds.json"  # a checkpoint of an older version has none
        self.before = json.loads(told.read_text())["training"] if last and told.is_file() else 0.0
        self.began = time.time()

    @property
    def elapsed(self) -> float:
        """Seconds of training so far."""
        return self.before + time.time() - self.began

    def on_train_begin(self, *_, **__):
        self.began = time.time()

    def on_save(self, args, state, control, **_):
        processes = PartialState()
        processes.wait_for_everyone()  # each process writes its own random state
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if processes.is_main_process:
            write_json(folder / "seconds.json", {"training": self.elapsed})
            write_json(folder / "complete.json", _checksums(sorted(folder.iterdir())))


def _checksums(files: Sequence[Path]) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def _last_checkpoint(folder: Path, state: PartialState) -> str | None:
    """The newest checkpoint that is as it was written; the others of a damaged or unfinished kind are removed."""
    done = [path for path in folder.glob("checkpoint-*") if _is_complete(path)]
    state.wait_for_everyone()
    if state.is_main_process:
        for other in set(folder.glob("checkpoint-*")) - set(done):
            shutil.rmtree(other)
    state.wait_for_everyone()
    return str(max(done, key=lambda path: int(path.name.split("-")[1]))) if done else None


def _is_complete(checkpoint: Path) -> bool:
    try:
        sums = json.loads((checkpoint / "complete.json").read_text())
        return bool(sums) and _checksums([checkpoint / name for name in sums]) == sums
    except (OSError, ValueError, TypeError):
        return False


class _Progress(TrainerCallback):
    """One progress bar for the training, with the current losses."""

    def __init__(self, description: str):
        self.description = description

    def on_train_begin(self, args, state, control, **_):
        self.bar = tqdm(
            total=state.max_steps, initial=state.global_step, desc=self.description, unit="step", mininterval=1
        )

    def on_step_end(self, args, state, control, **_):
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args, state, control, logs=None, **_):
        losses = {name.removesuffix("_loss"): value for name, value in (logs or {}).items() if name.endswith("_loss")}
        self.bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items() if name != "train"})

    def on_train_end(self, args, state, control, **_):
        self.bar.close()
