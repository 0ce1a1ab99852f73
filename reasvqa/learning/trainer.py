"""Train one run with `transformers.Trainer`, from the data to the files of its result."""

import json
import platform
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch
import transformers
from accelerate import PartialState
from accelerate.utils import gather_object, reduce
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import ProgressCallback

from reasvqa import paths
from reasvqa.config import TrainConfig
from reasvqa.datasets import load
from reasvqa.evaluation import right_or_wrong
from reasvqa.files import write_json
from reasvqa.learning.answering import answer_table
from reasvqa.learning.collate import ByLength, Collator
from reasvqa.learning.features import dtype_of, features_of, readable
from reasvqa.learning.objective import Objective
from reasvqa.learning.runs import WEIGHTS, seal
from reasvqa.learning.targets import build_examples, responses_of
from reasvqa.learning.training import Diverged
from reasvqa.students import load_student, own_device
from reasvqa.students.adapters import load_trained, prepare, trained_state
from reasvqa.video import close as end_decoders

LOSSES = ("answer_loss", "reasoning_loss")
TRAINED = "trained.safetensors"  # the trained weights in a checkpoint
HELD_OUT = 64  # validation questions whose loss is logged beside the training loss


def fit(config: TrainConfig, root: Path, folder: Path, state: PartialState) -> None:
    """Train and evaluate a student; write the run into `folder`, which `train` renames when it is complete."""
    rank, world = state.process_index, state.num_processes
    if config.batch_size % world:
        raise ValueError(f"batch_size={config.batch_size}: {world} processes cannot divide it evenly")
    folder.mkdir(parents=True, exist_ok=True)
    train_samples = load(config.dataset, "train", root)[: config.questions]
    test_samples = load(config.dataset, config.split, root)
    responses = responses_of(config, root, train_samples)
    # Everything random in a run: LoRA's initial weights, the order of samples, dropout.
    transformers.set_seed(config.seed)
    transformers.logging.set_verbosity_error()
    student = load_student(config.student, dtype_of(config))
    times = [time.time()]
    features, test_features = (features_of(samples, student, config) for samples in (train_samples, test_samples))
    train_samples = readable(train_samples, features, config.skip_missing)
    test_samples = readable(test_samples, test_features, config.skip_missing)
    end_decoders()  # training may take hours
    times.append(time.time())

    examples = build_examples(train_samples, responses, config)
    prepare(student.without_vision_encoder(own_device()), config)
    if config.gradient_checkpointing:
        student.language_model.gradient_checkpointing_enable({"use_reentrant": False})
    objective, collator = Objective(student, config.beta), Collator(student, examples, features, config)
    if any(collator.cut.values()) and state.is_main_process:
        counts = ", ".join(f"{n} of {len(examples)} {what}" for what, n in collator.cut.items() if n)
        print(f"Texts cut at max_source_tokens or max_target_tokens: {counts}. Answers are kept whole.")
    trainer = _Trainer(
        model=objective,
        args=_arguments(config, len(examples), folder / "checkpoints", world),
        data_collator=collator,
        train_dataset=range(len(examples)),
        callbacks=[_Progress],
    )
    if config.split == "val" and world == 1 and (config.objective == "mtl" or config.reasoning == "none"):
        answers = replace(config, objective="stl", reasoning="none")
        held_out = build_examples(test_samples[:HELD_OUT], None, answers)
        trainer.held_out = Collator(student, held_out, test_features, answers)(range(len(held_out)))
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_checkpoint(folder / "checkpoints"))
    trained = trained_state(student)
    if not all(bool(torch.isfinite(value).all()) for value in trained.values()):
        remedy = f"Use a learning rate below {config.learning_rate:g}."
        raise Diverged(f"weights are NaN or infinite after the last step. {remedy}")

    times.append(time.time())
    table = answer_table(student, test_samples[rank::world], test_features, config)
    table.index = pd.RangeIndex(rank, len(test_samples), world)
    table = pd.concat(gather_object([table])).sort_index()
    times.append(time.time())
    if not state.is_main_process:
        return
    taught = sum(e.reasoning is not None for e in examples) if config.objective == "mtl" else len(examples)
    seconds = {"features": times[1] - times[0], "training": trainer.state.log_history[-1]["seconds"]}
    seconds["answering"] = times[3] - times[2]
    metrics = {
        "accuracy": 100 * float(right_or_wrong([table])[0].mean()) if table["answer"].notna().all() else None,
        "questions": len(table),
        "train_examples": len(examples),
        "with_reasoning": taught if config.reasoning != "none" else 0,
        "cut": collator.cut,
        "trained_parameters": sum(value.numel() for value in trained.values()),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "steps": trainer.state.global_step,
    }
    correct = [] if responses is None else responses["correct"].dropna().astype(bool).tolist()
    cpu = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    meta = {
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu,
        "processes": world,
        "generator_accuracy": 100 * sum(correct) / len(correct) if correct else None,
        "root": None if root == paths.dataset(config.dataset) else str(root.resolve()),
    }
    history = pd.DataFrame([row for row in trainer.state.log_history if "loss" in row])
    columns = ["step", "epoch", "loss", *LOSSES, "validation_loss", "learning_rate"]
    history.filter(columns).to_csv(folder / "history.csv", index=False)
    table.to_csv(folder / "predictions.csv", index=False)
    safetensors.torch.save_file(trained, folder / WEIGHTS)
    write_json(folder / "config.json", asdict(config))
    write_json(folder / "metrics.json", metrics)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    seal(folder, meta)


def _arguments(config: TrainConfig, examples: int, folder: Path, world: int) -> TrainingArguments:
    steps_per_epoch = -(-examples // config.batch_size)
    steps = config.epochs * steps_per_epoch
    log_every = max(1, steps_per_epoch // 2)
    arguments = TrainingArguments(
        output_dir=str(folder),
        run_name=config.label,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size // world,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=round(config.warmup * steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        logging_steps=log_every,
        logging_nan_inf_filter=False,
        # About ten checkpoints a run, each where a mean is logged: none may span an interruption.
        save_steps=log_every * max(1, round(0.1 * steps / log_every)),
        save_total_limit=2,
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
    )
    arguments._n_gpu = 1  # a process uses one GPU; several GPUs are for several processes
    return arguments


class _Trainer(Trainer):
    """Draw batches by length, keep only trained weights in checkpoints, log both losses (and the answer's of held-out
    questions), and stop if the loss diverges."""

    model: nn.Module
    data_collator: Collator

    def __init__(self, *args, **kwargs):
        self.held_out: dict[str, Tensor] | None = None  # a batch of validation questions
        self._losses: dict[str, list[Tensor]] = {}  # since the last log
        self._logged_at = time.time()
        super().__init__(*args, **kwargs)

    def _get_train_sampler(self, *_):
        return ByLength(self.data_collator.lengths(), self.args.train_batch_size * self.args.world_size, self.args.seed)

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        outputs = model(**inputs)
        for name in LOSSES:  # in this order: processes reduce them one by one
            if name in outputs:
                self._losses.setdefault(name, []).append(outputs[name])
        if not torch.isfinite(outputs["loss"]):
            raise Diverged(
                f"the loss is {outputs['loss'].item()} at step {self.state.global_step + 1}: training has diverged. "
                f"Nothing is kept. Use a learning rate below {self.args.learning_rate:g}, or a longer warmup."
            )
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs, *args, **kwargs):
        """Add both losses, and the seconds of training before and after interruptions; checkpoints keep the log."""
        if "loss" in logs:
            means = reduce({name: torch.stack(values).mean() for name, values in self._losses.items()}, "mean")
            logs |= {name: round(mean.item(), 4) for name, mean in means.items()}
            self._losses = {}
            if self.held_out is not None:
                self.model.eval()
                with torch.no_grad():
                    loss = self.model(**self._prepare_inputs(self.held_out))["answer_loss"]
                logs["validation_loss"] = round(loss.item(), 4)
        before = self.state.log_history[-1].get("seconds", 0) if self.state.log_history else 0
        logs["seconds"] = before + time.time() - self._logged_at
        self._logged_at = time.time()
        super().log(logs, *args, **kwargs)

    def _save(self, output_dir: str, state_dict=None):
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(trained_state(self.model), Path(output_dir, TRAINED))

    def _save_rng_state(self, output_dir: str):
        """Wait until all processes have written theirs: trainer_state.json comes next and marks a whole checkpoint."""
        super()._save_rng_state(output_dir)
        PartialState().wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        load_trained(self.model, Path(resume_from_checkpoint) / TRAINED)


def _last_checkpoint(folder: Path) -> str | None:
    """Return the newest complete checkpoint, or None. A later, incomplete one is written again."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1])):
        with suppress(OSError, ValueError):
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))  # the last of its files
            return str(checkpoint)
    return None


class _Progress(ProgressCallback):
    """Show the run and its current losses beside the progress bar instead of printing them."""

    def on_log(self, args, state, control, logs=None, **_):
        if self.training_bar is not None:
            losses = {name: f"{value:.3f}" for name, value in (logs or {}).items() if name in LOSSES}
            self.training_bar.set_description(args.run_name, refresh=False)
            self.training_bar.set_postfix(losses)
