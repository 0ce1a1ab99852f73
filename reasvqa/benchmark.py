"""Training throughput against the reference recipe, both in one run: `python -m reasvqa.benchmark`.

The reference recipe is what LAVIS-style training code does: the vision encoder runs for every sample in every epoch, answer
and reasoning are two full forward passes, and every text is padded to a fixed length. Ours: cached features, one encoder pass
for both losses, padding to the longest of the batch. Model, numbers format, optimizer and batches are the same.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import pad

from reasvqa.datasets import DATA, load
from reasvqa.generation import read_reasoning
from reasvqa.learning import TrainConfig, build_examples, load_student
from reasvqa.learning.features import build_features
from reasvqa.learning.objective import IGNORE, Objective, target_losses
from reasvqa.learning.training import Collator, prepare, reasoning_path
from reasvqa.video import read_many

FIXED_LENGTH = 128  # SeViLA pads its texts to fixed lengths of this order


def reference_loss(objective: Objective, pixels: torch.Tensor, batch: dict) -> torch.Tensor:
    """Eq. 2 as the reference recipe computes it. pixels: float (B, N, 3, H, W)."""
    student, losses = objective.student, []
    ids = pad(batch["input_ids"], (0, FIXED_LENGTH - batch["input_ids"].shape[1]), value=student.tokenizer.pad_token_id)
    mask = pad(batch["attention_mask"], (0, FIXED_LENGTH - batch["attention_mask"].shape[1]))
    tasks = [(batch["labels"], student.answer_start, slice(None))]
    if "reasoning_rows" in batch:
        tasks.append((batch["reasoning_labels"], student.reasoning_start, batch["reasoning_rows"]))
    for labels, start, rows in tasks:
        with torch.no_grad():
            view = pixels[rows]
            features = student.vision(view.flatten(0, 1))
            features = features.view(*view.shape[:2], *features.shape[1:])
        states, states_mask = student.encode(features, ids[rows], mask[rows])
        labels = pad(labels, (0, FIXED_LENGTH - labels.shape[1]), value=IGNORE)
        losses += target_losses(student, states, states_mask, [(labels, start, torch.arange(len(labels), device=labels.device))])
    return (1 - objective.beta) * losses[0] + objective.beta * losses[1] if len(losses) == 2 else (1 - objective.beta) * losses[0]


def measure(config: TrainConfig, steps: int = 20, rounds: int = 3) -> dict:
    """Samples per second of both recipes, alternating, the median of `rounds`; and how far their losses are apart."""
    config = config.resolve()
    root = DATA / config.dataset
    samples = load(config.dataset, "train")[: config.batch_size * 8]
    student = load_student(config.student)
    features = build_features(samples, student, config.student, config.num_frames, DATA / "features")
    pixels = torch.stack([student.preprocess(frames) for frames in read_many([(samples.videos / s.video, s.clip) for s in samples], config.num_frames)])
    examples = build_examples(
        samples, read_reasoning(reasoning_path(config, root)), objective="mtl", kind="refined", answer_format=config.answer_format
    )
    prepare(student, config)
    objective = Objective(student, config.beta).train()
    collator = Collator(student, examples, features)
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=0.0)
    order = [list(range(at, at + config.batch_size)) for at in range(0, len(examples) - config.batch_size + 1, config.batch_size)]

    def ours(indices):
        return objective(**collator(indices))["loss"]

    def reference(indices):
        return reference_loss(objective, pixels[indices], collator(indices))

    def rate(loss_of) -> float:
        began = time.perf_counter()
        for step in range(steps):
            loss_of(order[step % len(order)]).backward()
            optimizer.step()
            optimizer.zero_grad()
        return steps * config.batch_size / (time.perf_counter() - began)

    with torch.no_grad():
        gap = max(abs(float(ours(indices)) - float(reference(indices))) for indices in order[:2])
    rate(ours), rate(reference)  # warm up
    rates = [(rate(ours), rate(reference)) for _ in range(rounds)]
    mine, theirs = np.median(rates, axis=0)
    ratios = [a / b for a, b in rates]
    return {
        "student": config.student, "batch_size": config.batch_size, "threads": torch.get_num_threads(), "loss_gap": gap,
        "ours_samples_per_s": round(float(mine), 1), "reference_samples_per_s": round(float(theirs), 1),
        "ratio": round(float(np.median(ratios)), 2), "ratio_min": round(min(ratios), 2), "ratio_max": round(max(ratios), 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="mini-star")
    parser.add_argument("--student", default="mini-blip2")
    parser.add_argument("--batch-size", type=int, default=None)
    arguments = parser.parse_args()
    config = replace(TrainConfig(dataset=arguments.dataset, student=arguments.student), batch_size=arguments.batch_size)
    print(json.dumps(measure(config), indent=1))


if __name__ == "__main__":
    main()
