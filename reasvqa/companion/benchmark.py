"""Measure training throughput and memory against the reference recipe.

The *reference recipe* is what LAVIS-style code does: it runs the vision encoder for every sample in every epoch, makes
a full forward pass each for answer and reasoning, and pads every text to a fixed length. Ours caches the features,
reads video and question once for both losses, and pads batches of similar length to their longest. Model, batch size,
optimizer and number format are equal. Recipes take turns, so that a busy machine slows all of them.

    reasvqa benchmark                                   the miniature, on this machine
    reasvqa benchmark --student blip2-flan-t5-xl        real size, random weights: for a GPU
"""

import argparse
import gc
import json
import platform
import re
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from reasvqa import paths
from reasvqa.companion.full_size import FULL_SIZE, random_student
from reasvqa.config import Count
from reasvqa.datasets import load
from reasvqa.learning import TrainConfig, build_examples
from reasvqa.learning.collate import Collator
from reasvqa.learning.features import Features, build_features, to_disk
from reasvqa.learning.objective import Objective, target_losses
from reasvqa.learning.targets import Example, responses_of
from reasvqa.losses import IGNORE, multi_task
from reasvqa.samples import Sample
from reasvqa.students import Student, load_student, own_device
from reasvqa.students.adapters import prepare
from reasvqa.validation import validated
from reasvqa.video import read_frames

FIXED_LENGTH = 128  # SeViLA pads its texts to fixed lengths of this order


def device_name() -> str:
    """Return the device in words, for tables and figures."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    about, threads = Path("/proc/cpuinfo"), torch.get_num_threads()
    model = re.search("model name\\s*: *(.*\\S)", about.read_text(encoding="utf-8")) if about.exists() else None
    return f"{model[1] if model else platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"


@dataclass
class Workload:
    """Questions ready for training steps. pixels: float (questions, N, 3, H, W). random: the features do not belong to
    the pixels."""

    student: Student
    collator: Collator
    pixels: Tensor
    batch_size: int
    random: bool = False

    def batches(self, by_length: bool) -> list[list[int]]:
        """Return the rows of each batch: of similar length, or in the order of the file."""
        lengths = self.collator.lengths()
        order = sorted(range(len(lengths)), key=lengths.__getitem__ if by_length else None)
        return [order[at : at + self.batch_size] for at in range(0, len(order) - self.batch_size + 1, self.batch_size)]


def mini_workload(
    student: str, dataset: str, batch_size: int, dtype: torch.dtype = torch.float32, questions: int = 96
) -> Workload:
    """Return questions of a miniature with their videos."""
    model = load_student(student, dtype)
    samples = load(dataset, "train")[:questions]
    features = build_features(samples, model, student, 4, paths.features())
    clips = [read_frames(samples.videos / s.video, 4, s.clip) for s in samples]
    pixels = torch.stack([model.preprocess(frames) for frames in clips])
    config = TrainConfig(dataset=dataset, student=student).resolve()
    table = responses_of(config, paths.dataset(dataset), samples)
    examples = build_examples(samples, table, config)
    prepare(model, config)
    return Workload(model.to(own_device()).train(), Collator(model, examples, features, config), pixels, batch_size)


def full_size_workload(student: str, batch_size: int, questions: int = 32) -> Workload:
    """Return a student of a published size with random weights, random pixels and texts of random lengths.

    Speed depends on lengths only: 60 to 100 tokens for a question with options (as in NExT-QA), 60 to 200 for a refined
    reasoning (as InternVL writes).
    """
    model = random_student(student, own_device(), torch.bfloat16)
    rng = np.random.default_rng(0)

    def text(low: int, high: int) -> str:
        return " ".join(["A"] * int(rng.integers(low, high)))  # a token each

    samples = [Sample(str(i), f"{i}.mp4", None, "", ("", ""), 0, "") for i in range(questions)]
    examples = [Example(sample, text(60, 100), text(1, 2), text(60, 200)) for sample in samples]
    array = to_disk(torch.randn(questions, 4, *model.feature_shape, dtype=torch.bfloat16))
    features = Features(array, {(sample.video, sample.clip): i for i, sample in enumerate(samples)}, {})
    config = TrainConfig(dataset="nextqa", student=student).resolve()
    prepare(model, config)
    pixels = torch.randn(questions, 4, 3, model.preprocess.size, model.preprocess.size)
    return Workload(model.train(), Collator(model, examples, features, config), pixels, batch_size, random=True)


@dataclass(frozen=True)
class Recipe:
    """Choose which of our ideas a training step uses."""

    cached: bool = True  # features from the cache, not from the vision encoder in every pass
    shared: bool = True  # read video and question once for both losses, not twice
    by_length: bool = True  # pad batches of similar length to their longest, not to a fixed length
    recompute: bool = False  # gradient checkpointing


RECIPES = {
    "reference": Recipe(False, False, False),
    "ours": Recipe(),
    "ours without cached features": Recipe(cached=False),
    "ours without one reading": Recipe(shared=False),
    "ours without batches by length": Recipe(by_length=False),
}
FULL_SIZE_RECIPES = RECIPES | {"ours, recomputing": Recipe(recompute=True)}  # for a GPU with less memory


def step_loss(work: Workload, objective: Objective, rows: list[int], recipe: Recipe) -> Tensor:
    """Return Eq. 2 of a batch (a scalar). All recipes give the same loss."""
    student = work.student
    batch = {name: value.to(student.device) for name, value in work.collator(rows).items()}
    if not recipe.by_length:  # texts padded to a fixed length; longer ones stay
        fill = {"input_ids": student.pad, "attention_mask": 0, "labels": IGNORE, "reasoning_labels": IGNORE}
        if "option_rows" in batch:  # a reference recipe has one short answer, not five options
            del fill["labels"]
        for name in fill.keys() & batch.keys():
            missing = max(0, FIXED_LENGTH - batch[name].shape[1])
            batch[name] = F.pad(batch[name], (0, missing), value=fill[name])

    @torch.no_grad()
    def features(these: Tensor) -> Tensor:
        if recipe.cached:
            return batch["features"][these]
        seen = work.pixels[rows].to(student.device, student.dtype)[these]
        return student.vision(seen.flatten(0, 1)).to(student.dtype).unflatten(0, seen.shape[:2])

    everybody = torch.arange(len(rows), device=student.device)
    if recipe.shared:
        return objective(**batch | {"features": features(everybody)})["loss"]
    rows_of = batch.get("option_rows", everybody)
    tasks = [(everybody, (batch["labels"], student.answer_start, rows_of), batch.get("answers"))]
    if "reasoning_rows" in batch:
        labels = batch["reasoning_labels"]
        target = (labels, student.reasoning_start, everybody[: len(labels)])
        tasks.append((batch["reasoning_rows"], target, None))
    losses = []
    for these, target, answers in tasks:  # a full pass for each
        states, mask = student.encode(features(these), batch["input_ids"][these], batch["attention_mask"][these])
        losses += target_losses(student, states, mask, [target], answers)
    return multi_task(losses[0], losses[1] if len(losses) == 2 else None, objective.beta)


def compare_recipes(work: Workload, steps: int, rounds: int, recipes: dict[str, Recipe]) -> pd.DataFrame:
    """Time training steps (forward, backward, optimizer) of every recipe, in turns.

    Returns:
        By recipe: samples_per_s (median of the rounds), times_reference (median of the ratios within a round) with its
        smallest and largest, loss_gap (difference from the first recipe's loss; NA with random features) and, on a
        GPU, peak_gb. A recipe that does not fit on the GPU has NA everywhere.
    """
    student, objective = work.student, Objective(work.student, 0.5)
    trained = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0, fused=True)  # as the Trainer does

    def train(recipe: Recipe) -> None:
        order = work.batches(recipe.by_length)
        for step in range(steps):
            rows = order[int((step + 0.5) * len(order) / steps)]  # both short and long batches, however few the steps
            step_loss(work, objective, rows, recipe).backward()
            optimizer.step()
            optimizer.zero_grad()

    times, losses, peaks = {name: [] for name in recipes}, {}, {}
    for turn in range(rounds + 1):  # the first to warm up
        for name, recipe in recipes.items():
            student.move_vision_encoder(torch.device("cpu") if recipe.cached else student.device)
            if recipe.recompute:
                student.language_model.gradient_checkpointing_enable({"use_reentrant": False})
            try:
                if turn == 0:
                    with torch.no_grad():
                        losses[name] = float(step_loss(work, objective, work.batches(False)[0], recipe))
                if torch.cuda.is_available():
                    torch.cuda.reset_peak_memory_stats()
                took = seconds(lambda recipe=recipe: train(recipe))
            except torch.cuda.OutOfMemoryError:
                took = losses[name] = np.nan
                optimizer.zero_grad()
                torch.cuda.empty_cache()
            if torch.cuda.is_available() and np.isfinite(took):
                peaks[name] = torch.cuda.max_memory_allocated() / 1e9
            times[name] += [took] if turn else []
            if recipe.recompute:
                student.language_model.gradient_checkpointing_disable()
    spent = pd.DataFrame(times)  # a row a round
    ratios = spent.rdiv(spent.get("reference", np.nan), axis=0)
    table = pd.DataFrame({"samples_per_s": steps * work.batch_size / spent.median()}).rename_axis("recipe")
    table["times_reference"], table["smallest"], table["largest"] = ratios.median(), ratios.min(), ratios.max()
    first = np.nan if work.random else losses[next(iter(recipes))]
    table["loss_gap"] = [abs(losses[name] - first) for name in recipes]
    return table.assign(peak_gb=pd.Series(peaks)) if peaks else table


def matrix_fraction(work: Workload, samples_per_s: float) -> dict:
    """Return the FLOP of our training step's matrix products (counted by torch) and their share of what this device
    reaches in a large product in the same number format."""
    objective, batches = Objective(work.student, 0.5), work.batches(True)
    rows = batches[len(batches) // 2]
    with FlopCounterMode(display=False) as counter:
        step_loss(work, objective, rows, Recipe()).backward()
    objective.zero_grad()
    size = 8192 if torch.cuda.is_available() else 2048
    a, b = (torch.randn(size, size, device=own_device()).to(work.student.dtype) for _ in range(2))
    rate = 2 * size**3 / seconds(lambda: (a @ b).sum().item(), 5)
    flop = counter.get_total_flops() / len(rows)
    found = {"gflop_per_sample": flop / 1e9, "gflop_per_s": flop * samples_per_s / 1e9}
    return found | {"matrix_gflop_per_s": rate / 1e9, "fraction": flop * samples_per_s / rate}


def seconds(function: Callable[[], object], times: int = 1) -> float:
    """Return the seconds a call takes, on the GPU as well; the least of several."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    return min(timeit.repeat(lambda: (function(), wait()), gc.enable, number=1, repeat=times))


def main(arguments: Sequence[str] | None = None) -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("reasvqa benchmark", description=__doc__, formatter_class=formatter)
    students = f"of the miniature, or of full size with random weights: {', '.join(FULL_SIZE)}"
    names, add = list(FULL_SIZE_RECIPES), parser.add_argument
    add("--dataset", default="mini-star", help="for students of the miniature")
    add("--student", default="mini-blip2", help=students)
    add("--recipes", nargs="+", choices=names, default=names, metavar="RECIPE", help=f"of {', '.join(names)}")
    add("--batch-size", type=int, default=8)
    add("--steps", type=int, default=10)
    add("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    recipes = {name: FULL_SIZE_RECIPES[name] for name in given.recipes}
    try:
        for name in ("batch_size", "steps", "rounds"):
            validated(name, TypeAdapter(Count), getattr(given, name))
        if given.student in FULL_SIZE:
            work = full_size_workload(given.student, given.batch_size)
        else:
            work = mini_workload(given.student, given.dataset, given.batch_size)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    table = compare_recipes(work, given.steps, given.rounds, recipes)
    print(table.round(3).to_string())
    found = {"device": device_name(), "dtype": str(work.student.dtype)[6:]}
    if "ours" in recipes:
        found |= matrix_fraction(work, float(table["samples_per_s"]["ours"]))
    print(json.dumps(found, indent=1))
    return 0
