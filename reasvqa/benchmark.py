"""Where the time goes: training against the reference recipe, answering, decoding, and what the paper's tables would
cost.

The *reference recipe* is what LAVIS-style training code does: the vision encoder runs for every sample in every epoch,
answer and reasoning are two full forward passes, and every text is padded to a fixed length. Ours caches the features,
reads video and question once for both losses, and pads batches of similar length to their longest. Model, batch size,
optimizer and number format are the same in both, unless a recipe's name says otherwise. Recipes alternate, so that a
busy machine slows all of them.

    python -m reasvqa.benchmark                                    the miniature, on this machine
    python -m reasvqa.benchmark --student blip2-flan-t5-xl         real size, random weights: for a GPU
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from reasvqa import paths
from reasvqa.datasets import load
from reasvqa.generation import read_reasoning
from reasvqa.learning import TrainConfig, build_examples, train
from reasvqa.learning.answering import generate_reasoning, predict
from reasvqa.learning.collate import Collator
from reasvqa.learning.features import build_features, feature_bytes
from reasvqa.learning.objective import Objective, target_losses
from reasvqa.learning.targets import Example
from reasvqa.losses import IGNORE, multi_task
from reasvqa.paper.experiments import EXPERIMENTS, settings_of
from reasvqa.students import Blip2Student, LlavaStudent, Student, load_student, own_device
from reasvqa.students.adapters import prepare
from reasvqa.video import decode, read_many

FIXED_LENGTH = 128  # SeViLA pads its texts to fixed lengths of this order
FULL_SIZE = ("blip2-flan-t5-xl", "llava-ov-0.5b", "llava-ov-7b")
LAYERS = {
    "blip2-flan-t5-xl": 24,
    "llava-ov-0.5b": 24,
    "llava-ov-7b": 28,
}  # of the language model (of encoder and decoder)
VOCABULARY = {"blip2-flan-t5-xl": 32128, "llava-ov-0.5b": 152000, "llava-ov-7b": 152000}
# Questions of the official training splits: rows of train.csv (NExT-QA, IntentQA) and entries of STAR_train.json.
TRAINING_QUESTIONS = {"nextqa": 34132, "star": 45731, "intentqa": 12119}


def device_name() -> str:
    """The device in words, for every table and figure."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    threads = torch.get_num_threads()
    return f"{model}, {threads} thread{'s' if threads > 1 else ''}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


# --- what is trained on -----------------------------------------------------------------------------------------------


@dataclass
class Workload:
    """Questions ready for training steps: token ids of `collator`, pixels float (n, N, 3, H, W), features as cached."""

    student: Student
    collator: Collator
    pixels: Tensor
    batch_size: int

    def batches(self, by_length: bool) -> list[list[int]]:
        """Rows of the batches: neighbours in length, or in the order of the file."""
        c = self.collator
        order = list(range(len(c.sources)))
        if by_length:
            order.sort(key=lambda i: len(c.sources[i]) + len(c.targets[i]) + len(c.reasonings[i] or ()))
        return [order[at : at + self.batch_size] for at in range(0, len(order) - self.batch_size + 1, self.batch_size)]


def mini_workload(
    student: str, dataset: str, batch_size: int, dtype: torch.dtype = torch.float32, questions: int = 96
) -> Workload:
    """Questions of a miniature, with its videos."""
    samples = load(dataset, "train")[:questions]
    model = load_student(student, dtype)
    features = build_features(samples, model, student, 4, paths.features())
    pixels = torch.stack(
        [model.preprocess(frames) for frames in read_many([(samples.videos / s.video, s.clip) for s in samples], 4)]
    )
    config = TrainConfig(dataset=dataset, student=student).resolve()
    table = read_reasoning(paths.reasoning(paths.dataset(dataset), config.generator, config.kind))
    examples = build_examples(samples, table, config)
    prepare(model, config)
    return Workload(model.to(own_device()).train(), Collator(model, examples, features, config), pixels, batch_size)


@dataclass
class RandomFeatures:
    """In the place of `Features`: (questions, N, Q, E), by a question's number."""

    array: Tensor

    def tensor(self, samples: Sequence[int]) -> Tensor:
        return self.array[list(samples)]


def full_size_workload(
    student: str, batch_size: int, dtype: torch.dtype = torch.bfloat16, questions: int = 32, layers: int | None = None
) -> Workload:
    """A student of the paper's widths with random weights on random pixels and words, of the lengths that NExT-QA's
    questions with options (60 to 100 tokens) and InternVL's refined reasoning (60 to 200) have. Speed does not depend
    on what they say."""
    model = random_student(student, own_device(), dtype, layers)
    pieces = sorted(word.lstrip("\u2581\u0120") for word in model.tokenizer.get_vocab())
    words = [
        word
        for word in pieces
        if word.isalpha() and len(model.tokenizer(f"{word} {word}", add_special_tokens=False).input_ids) == 2
    ]
    rng = np.random.default_rng(0)

    def text(low: int, high: int) -> str:
        return " ".join(rng.choice(words, size=int(rng.integers(low, high))))

    examples = [Example(i, text(60, 100), text(1, 2), text(60, 200)) for i in range(questions)]
    features = RandomFeatures(torch.randn(questions, 4, *model.feature_shape, dtype=dtype))
    config = TrainConfig(dataset="nextqa", student=student).resolve()
    prepare(model, config)
    pixels = torch.randn(questions, 4, 3, model.preprocess.size, model.preprocess.size)
    return Workload(model.train(), Collator(model, examples, features, config), pixels, batch_size)


def random_student(name: str, device: torch.device, dtype: torch.dtype, layers: int | None = None) -> Student:
    """A student of the real architecture with random weights; its tokenizer is the miniature's (ids, not words,
    matter).

    Args:
        layers: so many in every stack, and 1000 words, but all widths as they are; None: the real size.
    """
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        Qwen2Config,
        SiglipVisionConfig,
        T5Config,
    )

    from reasvqa.preprocess import Preprocess

    half = ((0.5,) * 3, (0.5,) * 3)
    blip2 = name == "blip2-flan-t5-xl"
    tokenizer = load_student("mini-blip2" if blip2 else "mini-llava-ov-small").tokenizer
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            if blip2:
                vision = Blip2VisionConfig(
                    hidden_size=1408,
                    intermediate_size=6144,
                    num_hidden_layers=layers or 39,
                    num_attention_heads=16,
                    image_size=224,
                    patch_size=14,
                    initializer_range=0.02,
                )
                qformer = Blip2QFormerConfig(
                    hidden_size=768,
                    num_hidden_layers=layers or 12,
                    num_attention_heads=12,
                    intermediate_size=3072,
                    encoder_hidden_size=1408,
                )
                text = T5Config(
                    vocab_size=1000 if layers else VOCABULARY[name],
                    d_model=2048,
                    d_kv=64,
                    d_ff=5120,
                    num_layers=layers or LAYERS[name],
                    num_decoder_layers=layers or LAYERS[name],
                    num_heads=32,
                    feed_forward_proj="gated-gelu",
                    tie_word_embeddings=False,
                    decoder_start_token_id=0,
                    pad_token_id=0,
                )
                config = Blip2Config(
                    vision_config=vision.to_dict(),
                    qformer_config=qformer.to_dict(),
                    text_config=text.to_dict(),
                    num_query_tokens=32,
                )
                return Blip2Student(Blip2ForConditionalGeneration(config), tokenizer, Preprocess(224, *half))
            wide, inner, heads, groups = {"llava-ov-0.5b": (896, 4864, 14, 2), "llava-ov-7b": (3584, 18944, 28, 4)}[
                name
            ]
            vision = SiglipVisionConfig(
                hidden_size=1152,
                intermediate_size=4304,
                num_hidden_layers=layers or 26,
                num_attention_heads=16,
                image_size=384,
                patch_size=14,
                vision_use_head=False,
            )
            text = Qwen2Config(
                vocab_size=1000 if layers else VOCABULARY[name],
                hidden_size=wide,
                intermediate_size=inner,
                num_hidden_layers=layers or LAYERS[name],
                num_attention_heads=heads,
                num_key_value_heads=groups,
            )
            video = tokenizer.convert_tokens_to_ids("<video>")
            config = LlavaOnevisionConfig(
                vision_config=vision.to_dict(),
                text_config=text.to_dict(),
                video_token_index=video,
                image_token_index=999,
            )
            return LlavaStudent(LlavaOnevisionForConditionalGeneration(config), tokenizer, Preprocess(384, *half))
    finally:
        torch.set_default_dtype(default)


# --- recipes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """Which of our ideas a training step uses."""

    cached: bool = True  # features from the cache, instead of the vision encoder in every step (and every pass)
    shared: bool = True  # one reading of video and question for both losses, instead of two
    by_length: bool = True  # batches of similar length padded to their longest, instead of fixed lengths
    recompute: bool = False  # activations computed again for the backward pass instead of kept (gradient checkpointing)


RECIPES = {
    "reference": Recipe(False, False, False),
    "ours": Recipe(),
    "ours without cached features": Recipe(cached=False),
    "ours without one reading": Recipe(shared=False),
    "ours without batches by length": Recipe(by_length=False),
}
FULL_SIZE_RECIPES = RECIPES | {"ours, recomputing": Recipe(recompute=True)}  # for a GPU of less memory


def step_loss(work: Workload, objective: Objective, rows: list[int], recipe: Recipe) -> Tensor:
    """Eq. 2 of a batch, by a recipe. All recipes give the same loss."""
    student = work.student
    batch = {name: value.to(student.device) for name, value in work.collator(rows).items()}
    if not recipe.by_length:
        batch = _fixed(batch, student.tokenizer.pad_token_id)
    pixels = None if recipe.cached else work.pixels[rows].to(student.device, student.dtype)
    if recipe.shared:
        return objective(**batch | ({} if recipe.cached else {"features": _look(student, pixels)}))["loss"]
    everybody = torch.arange(len(rows), device=student.device)
    tasks = [(batch["labels"], student.answer_start, everybody)]
    if "reasoning_rows" in batch:
        tasks.append((batch["reasoning_labels"], student.reasoning_start, batch["reasoning_rows"]))
    losses = []
    for labels, start, these in tasks:  # a full pass for each
        features = batch["features"][these] if recipe.cached else _look(student, pixels[these])
        states, mask = student.encode(features, batch["input_ids"][these], batch["attention_mask"][these])
        losses += target_losses(
            student, states, mask, [(labels, start, torch.arange(len(labels), device=labels.device))]
        )
    return multi_task(losses[0], losses[1] if len(losses) == 2 else None, objective.beta)


@torch.no_grad()
def _look(student: Student, pixels: Tensor) -> Tensor:
    features = student.vision(pixels.flatten(0, 1))
    return features.to(student.dtype).view(*pixels.shape[:2], *features.shape[1:])


def _fixed(batch: dict[str, Tensor], padding: int) -> dict[str, Tensor]:
    """Texts padded to a fixed length; those that are longer stay."""
    fill = {"input_ids": padding, "attention_mask": 0, "labels": IGNORE, "reasoning_labels": IGNORE}
    room = {name: max(0, FIXED_LENGTH - batch[name].shape[1]) for name in fill if name in batch}
    return batch | {
        name: torch.nn.functional.pad(batch[name], (0, width), value=fill[name]) for name, width in room.items()
    }


def compare_recipes(
    work: Workload, steps: int = 10, rounds: int = 3, recipes: dict[str, Recipe] = RECIPES
) -> pd.DataFrame:
    """Training steps (forward, backward, optimizer) by every recipe, in turns. The vision side is on the GPU only for
    recipes that use it.

    Returns: By recipe: samples_per_s (median of the rounds), times_reference with its smallest and largest, loss_gap
        (difference from the first recipe's loss), peak_gb (of the GPU). NA: the recipe does not fit on the GPU; there
        is no reference among `recipes`; features are random, so the losses differ; there is no GPU. A single recipe's
        peak is then that of this process (under Linux).
    """
    student, objective = work.student, Objective(work.student, 0.5)
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=0.0)

    def seconds(recipe: Recipe) -> float:
        order = work.batches(recipe.by_length)
        _synchronize()
        began = time.perf_counter()
        for step in range(steps):
            rows = order[int((step + 0.5) * len(order) / steps)]  # short and long batches alike, however few the steps
            step_loss(work, objective, rows, recipe).backward()
            optimizer.step()
            optimizer.zero_grad()
        _synchronize()
        return time.perf_counter() - began

    uses_vision = not all(recipe.cached for recipe in recipes.values())
    times, losses, peaks = {name: [] for name in recipes}, {}, {}
    for turn in range(rounds + 1):  # the first to warm up
        for name, recipe in recipes.items():
            if uses_vision:
                student.move_vision_encoder(torch.device("cpu") if recipe.cached else student.device)
            if recipe.recompute:
                student.language_model.gradient_checkpointing_enable({"use_reentrant": False})
            try:
                if turn == 0:
                    with torch.no_grad():
                        losses[name] = float(step_loss(work, objective, work.batches(False)[0], recipe))
                _reset_peak()
                spent = seconds(recipe)
            except torch.cuda.OutOfMemoryError:
                spent = losses[name] = np.nan
                optimizer.zero_grad()
                torch.cuda.empty_cache()
            told = np.isfinite(spent) and (
                torch.cuda.is_available() or len(recipes) == 1
            )  # a process keeps what others freed
            peaks[name] = _peak_gb() if told else np.nan
            times[name] += [spent] if turn else []
            if recipe.recompute:
                student.language_model.gradient_checkpointing_disable()
    table = pd.DataFrame(index=pd.Index(recipes, name="recipe"))
    ratios = {name: np.array(times.get("reference", [np.nan] * rounds)) / np.array(times[name]) for name in recipes}
    table["samples_per_s"] = [steps * work.batch_size / np.median(times[name]) for name in recipes]
    for column, function in (("times_reference", np.median), ("smallest", np.min), ("largest", np.max)):
        table[column] = [function(ratios[name]) for name in recipes]
    comparable = not isinstance(work.collator.features, RandomFeatures)
    table["loss_gap"] = [abs(losses[name] - next(iter(losses.values()))) if comparable else np.nan for name in recipes]
    table["peak_gb"] = [peaks[name] for name in recipes]
    return table


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM (man 5 proc)


def _peak_gb() -> float:
    """Since `_reset_peak`: of the GPU, or the resident memory of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return next(
        (int(line.split()[1]) * 1024 / 1e9 for line in _lines("/proc/self/status") if line.startswith("VmHWM")), np.nan
    )


def matrix_rate(dtype: torch.dtype, size: int | None = None) -> float:
    """What this device makes of a large matrix product, in FLOP/s: the measure for everything else."""
    size = size or (8192 if torch.cuda.is_available() else 2048)
    a, b = (torch.randn(size, size, device=own_device()).to(dtype) for _ in range(2))
    best = np.inf
    for _ in range(5):
        _synchronize()
        began = time.perf_counter()
        (a @ b).sum().item()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def matrix_fraction(work: Workload, samples_per_s: float) -> dict:
    """The FLOP of our training step's matrix products (counted by torch), and which share of `matrix_rate` they
    reach."""
    objective = Objective(work.student, 0.5)
    rows = work.batches(True)
    rows = rows[len(rows) // 2]
    with FlopCounterMode(display=False) as counter:
        step_loss(work, objective, rows, Recipe()).backward()
    objective.zero_grad()
    flop, rate = counter.get_total_flops() / len(rows), matrix_rate(work.student.dtype)
    return {
        "gflop_per_sample": flop / 1e9,
        "gflop_per_s": flop * samples_per_s / 1e9,
        "matrix_gflop_per_s": rate / 1e9,
        "fraction": flop * samples_per_s / rate,
    }


# --- answering, decoding, and how costs grow --------------------------------------------------------------------------


def compare_answering(dataset: str, student: str, questions: int = 192) -> pd.DataFrame:
    """Questions a second by one decoder step and letters, by ranking the options' texts, and by writing a text of
    reasoning's length (the pretrained student narrates), as answering by generation does."""
    samples = load(dataset, "test")[:questions]
    model = load_student(student).eval()
    features = build_features(samples, model, student, 4, paths.features())
    texts = TrainConfig(dataset=dataset, student=student, answer_format="text").resolve()
    letters = replace(texts, answer_format="letter")

    def write() -> None:
        for at in range(0, len(samples), 64):
            generate_reasoning(model, samples[at : at + 64], features, texts)

    ways = {
        "letters, one decoder step": lambda: predict(model, samples, features, letters),
        "ranking the options' texts": lambda: predict(model, samples, features, texts),
        "writing": write,
    }
    rows = {name: {"questions_per_s": len(samples) / min(_timed(way) for _ in range(3))} for name, way in ways.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("way")
    return table.assign(times_writing=table["questions_per_s"] / table["questions_per_s"].iloc[-1])


def compare_decoding(lengths: Sequence[int] = (8, 120)) -> pd.DataFrame:
    """Four frames of clips of so many seconds (256 x 256, 6 frames a second), by seeking and by decoding the whole
    file."""
    import av

    from reasvqa.mini.render import write_video
    from reasvqa.mini.world import Story, make_story

    def whole(path: str) -> np.ndarray:
        with av.open(path) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return np.stack([frames[int((i + 0.5) * len(frames) / 4)] for i in range(4)])

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds in lengths:
            rng = np.random.default_rng(0)
            scenes = [event for i in range(-(-seconds // 8)) for event in make_story(rng, f"B{i}", seen=4).events][
                : seconds // 2
            ]
            path = Path(folder) / f"{seconds}.mp4"
            write_video(Story(f"B{seconds}", "man", tuple(scenes), 0, len(scenes) - 1, "cup"), path)
            ours = min(_timed(lambda p=path: decode(str(p), 4, None)) for _ in range(5))
            theirs = min(_timed(lambda p=path: whole(str(p))) for _ in range(3))
            rows.append(
                {
                    "clip_s": seconds,
                    "ours_frames_per_s": 4 / ours,
                    "whole_file_frames_per_s": 4 / theirs,
                    "times_whole_file": theirs / ours,
                }
            )
    return pd.DataFrame(rows).set_index("clip_s")


def growth(
    dataset: str, student: str, questions: Sequence[int], frames: Sequence[int], epochs: Sequence[int]
) -> pd.DataFrame:
    """Seconds of the frozen half (all clips, from an empty cache) and of training, as questions, frames and epochs grow
    one at a time."""
    base = {"questions": questions[-1], "frames": 4, "epochs": epochs[0]}
    rows = []
    for what, values in (("questions", questions), ("frames", frames), ("epochs", epochs)):
        for value in values:
            setting = base | {what: value}
            samples = load(dataset, "train")[: setting["questions"]]
            with tempfile.TemporaryDirectory() as folder:
                frozen = _timed(
                    lambda s=samples, n=setting["frames"], f=folder: build_features(
                        s, load_student(student), student, n, Path(f)
                    )
                )
                config = TrainConfig(
                    dataset=dataset,
                    student=student,
                    questions=setting["questions"],
                    num_frames=setting["frames"],
                    epochs=setting["epochs"],
                )
                run = train(config, runs=Path(folder) / "runs")
                rows.append(
                    {
                        "what": what,
                        "value": value,
                        "features_s": frozen,
                        "training_s": run.metrics["seconds"]["training"],
                    }
                )
    return pd.DataFrame(rows)


def _timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


# --- what the paper would cost ----------------------------------------------------------------------------------------


def sizes(student: str) -> dict:
    """Of a full-size student: parameters of its halves, tokens read and written for a question, and the FLOP they take.

    A frozen weight takes 2 FLOP a token forward and 2 backward (no gradient of its own); attention and LoRA are left
    out. Tokens: 80 of question and options, 130 of reasoning and answer, N = 4 frames.
    """
    model = random_student(student, torch.device("meta"), torch.bfloat16)
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    vision = sum(count(model.model.get_submodule(name)) for name in model.vision_modules)
    queries, width = model.feature_shape
    patches = 4 * (257 if isinstance(model, Blip2Student) else queries)
    if isinstance(model, Blip2Student):
        language, read = count(model.language_model), 4 * (queries + 2) + 80
        words = model.language_model.shared.weight.numel()  # looked up, not multiplied
        encoder, decoder = (
            count(model.language_model.encoder) - words,
            count(model.language_model.decoder) - words + count(model.language_model.lm_head),
        )
        flop = 4 * (encoder * read + decoder * 130)
    else:
        head, side = count(model.model.lm_head), -(-int(queries**0.5) // 2)
        language, read = count(model.language_model) + head, 4 * side**2 + 1 + 80
        flop = 4 * ((language - 2 * head) * (read + 130) + head * 130)
    weights = 2 * (language + vision) / 1e9
    return {
        "language_b": language / 1e9,
        "vision_b": vision / 1e9,
        "tokens_read": read,
        "tflop_per_sample": flop / 1e12,
        "tflop_per_clip": 2 * vision * patches / 1e12,
        "weights_gb": weights,
        "cache_mb_per_clip": feature_bytes(1, 4, (queries, width), torch.bfloat16) / 1e6,
    }


def memory(student: str, batch_size: int = 8) -> dict:
    """GB a training step of a full-size student needs, **computed**, not measured: for a GPU that nobody has at hand.

    weights: frozen ones in bfloat16 without the vision side, trained ones with gradient and two moments in float32.
    activations: what autograd keeps for the backward pass, counted on models of two and four layers and one question as
    long as the longest of `full_size_workload`, and extended to all layers and the batch; recomputed: with gradient
    checkpointing, each layer's input, and one layer's insides with their gradients. logits: of the target tokens, in
    bfloat16, float32 and as gradient.
    """
    kept, trained = [], []
    for layers in (2, 4):
        work = full_size_workload(student, 1, questions=1, layers=layers)
        video = [work.student.video_token] if isinstance(work.student, LlavaStudent) else []
        work.collator.sources, work.collator.reasonings = [video + [20] * 100], [[20] * 200]
        storages: dict[int, int] = {}
        weights = {p.untyped_storage().data_ptr() for p in work.student.parameters()}

        def pack(tensor: Tensor, storages=storages, weights=weights) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = step_loss(work, Objective(work.student, 0.5), [0], Recipe())
        del loss
        kept.append(sum(storages.values()))
        trained.append(sum(p.numel() for p in work.student.parameters() if p.requires_grad))
    depth, found = LAYERS[student], sizes(student)
    layer, rest = (kept[1] - kept[0]) / 2, 2 * kept[0] - kept[1]
    width = work.student.language_model.config.hidden_size
    tokens, targets = found["tokens_read"] + 20 + 202, 202
    weights_gb = 2 * found["language_b"] + 16 * (trained[0] + (trained[1] - trained[0]) / 2 * (depth - 2)) / 1e9
    activations, recomputed = rest + depth * layer, rest + 2 * layer + depth * 2 * tokens * width
    logits = 10 * targets * VOCABULARY[student]
    return {
        "weights": weights_gb,
        "activations": batch_size * activations / 1e9,
        "recomputed": batch_size * recomputed / 1e9,
        "logits": batch_size * logits / 1e9,
        "together": weights_gb + batch_size * (activations + logits) / 1e9,
        "together, recomputed": weights_gb + batch_size * (recomputed + logits) / 1e9,
    }


def plan(tflops: float, seeds: Sequence[int] = (0,)) -> pd.DataFrame:
    """GPU-hours of the paper's tables and figures at paper scale, on a GPU that gives the training `tflops` TFLOP/s.

    Runs that several tables share are counted with each, and once in the total. Features and evaluation come on top.
    Runs on answers alone count for 0.55 of one with reasoning, which is the share of reading in BLIP-2's FLOP.
    """
    cost = {name: sizes(name)["tflop_per_sample"] for name in FULL_SIZE}

    def hours(configs: Sequence[TrainConfig]) -> float:
        return (
            sum(
                cost[c.student] * TRAINING_QUESTIONS[c.dataset] * c.epochs * (0.55 if c.reasoning == "none" else 1.0)
                for c in configs
            )
            / tflops
            / 3600
        )

    rows, every = {}, {}
    for name in EXPERIMENTS:
        configs = [config for configs in settings_of(name, "paper", seeds).values() for config in configs]
        every |= dict.fromkeys(configs)
        if configs:
            rows[name] = {"runs": len(configs), "gpu_hours": hours(configs)}
    rows["together, each run once"] = {"runs": len(every), "gpu_hours": hours(list(every))}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("table").astype({"runs": int})
    return table.assign(hours_on_8_gpus=table["gpu_hours"] / 8)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reasvqa.benchmark", description="Training throughput and memory against the reference recipe."
    )
    parser.add_argument("--dataset", default="mini-star", help="for students of the miniature")
    parser.add_argument(
        "--student",
        default="mini-blip2",
        help=f"one of the miniature's, or of full size with random weights: {', '.join(FULL_SIZE)}",
    )
    parser.add_argument(
        "--recipes",
        nargs="+",
        choices=list(FULL_SIZE_RECIPES),
        metavar="RECIPE",
        help=f"default: all of {', '.join(FULL_SIZE_RECIPES)}",
    )
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    recipes = {name: FULL_SIZE_RECIPES[name] for name in given.recipes or FULL_SIZE_RECIPES}
    if given.student in FULL_SIZE:
        work = full_size_workload(given.student, given.batch_size)
    else:
        work = mini_workload(given.student, given.dataset, given.batch_size)
    if all(recipe.cached for recipe in recipes.values()):
        work.student.without_vision_encoder(own_device())
    table = compare_recipes(work, given.steps, given.rounds, recipes)
    print(table.round(3).to_string())
    found = {"device": device_name(), "dtype": str(work.student.dtype)[6:]}
    if "ours" in recipes:
        found |= matrix_fraction(work, table.loc["ours", "samples_per_s"])
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
