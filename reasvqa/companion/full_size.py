"""Students of published sizes without their checkpoints: random weights, and what training them takes.

Speed and memory do not depend on the values of the weights. The architectures are in full_size.json, in the words of
the checkpoints' config.json. What is **computed** here rather than measured says so.
"""

import json
import math
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText

from reasvqa.config import TrainConfig
from reasvqa.learning.features import feature_bytes
from reasvqa.learning.objective import Objective
from reasvqa.mini.tiny import make_tokenizer
from reasvqa.preprocess import Preprocess
from reasvqa.students import FAMILIES, PackedStudent, Student, load_student, own_device
from reasvqa.students.adapters import prepare

ARCHITECTURES: dict[str, dict] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
FULL_SIZE = tuple(ARCHITECTURES)
PAPERS = ("blip2-flan-t5-xl", "llava-ov-0.5b", "llava-ov-7b")
SMALL = tuple(name for name in ARCHITECTURES if name not in PAPERS)


def random_student(name: str, device: torch.device, dtype: torch.dtype, layers: int | None = None) -> Student:
    """Return a student of a published architecture with random weights and a small tokenizer (ids matter, not words).

    Args:
        layers: number of layers in every stack, with 1,000 words and all widths as published; None: the real size.
    """
    values = json.loads(json.dumps(ARCHITECTURES[name]))
    if layers:
        values["text_config"]["vocab_size"] = 1000
        for part in (part for part in values.values() if isinstance(part, dict)):
            part.update({key: layers for key in part if key.endswith("_layers")})
    family = values.pop("model_type")
    if family == "blip-2":
        tokenizer = load_student("mini-blip2").tokenizer
    elif family == "llava_onevision":
        tokenizer = load_student("mini-llava-ov-small").tokenizer
        values["video_token_index"] = tokenizer.convert_tokens_to_ids("<video>")
    else:
        tokenizer = make_tokenizer(family)
        values["image_token_id"] = tokenizer.get_vocab()["<image>" if family == "smolvlm" else "<IMG_CONTEXT>"]
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(family, **values), dtype=dtype)
    side, half = model.config.vision_config.image_size, (0.5, 0.5, 0.5)
    preprocess = Preprocess(side if isinstance(side, int) else side[0], half, half)
    return FAMILIES[family](model, tokenizer, preprocess)


def sizes(name: str) -> dict[str, float]:
    """Return a full-size student's parameters (billions), tokens read for a question, FLOP (tera) and GB.

    A frozen weight takes 2 FLOP a token forward and 2 backward (it has no gradient); attention and LoRA are left out.
    Tokens: 80 of question and options, 130 of reasoning and answer, N = 4 frames.
    """
    family, student = ARCHITECTURES[name]["model_type"], random_student(name, torch.device("meta"), torch.bfloat16)
    vision = sum(_parameters(student.model.get_submodule(module)) for module in student.vision_modules)
    queries, _ = student.feature_shape
    if family == "blip-2":
        t5 = student.language_model
        words = t5.shared.weight.numel()  # looked up, not multiplied
        encoder = _parameters(t5.encoder) - words
        decoder = _parameters(t5.decoder) - words + _parameters(t5.lm_head)
        language, patches, read = _parameters(t5), 257, 4 * (queries + 2) + 80
        flop = 4 * (encoder * read + decoder * 130)
    else:
        head = _parameters(student.model.lm_head)  # as large as the embeddings, which are looked up
        language = _parameters(student.language_model) + head
        patches = 4 * queries if family == "internvl" else queries  # there, four patches are one feature
        frame_tokens = {
            "llava_onevision": 4 * math.ceil(queries**0.5 / 2) ** 2 + 1,  # pooled 2 x 2, newline
            "smolvlm": 4 * queries // 16 + 70,  # introduction and times, of SmolLM2's tokenizer about
            "internvl": 4 * (queries + 8),  # "Frame1: <img>" and "</img>\n"
        }
        read = 80 + frame_tokens[family]
        flop = 4 * ((language - 2 * head) * (read + 130) + head * 130)
    found = {"language_b": language / 1e9, "vision_b": vision / 1e9, "tokens_read": read}
    found |= {"tflop_per_sample": flop / 1e12, "tflop_per_clip": 2 * vision * 4 * patches / 1e12}
    cache = feature_bytes(1, 4, student.feature_shape, torch.bfloat16) / 1e6
    return found | {"weights_gb": 2 * (language + vision) / 1e9, "cache_mb_per_clip": cache}


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def memory(name: str, batch_size: int = 8) -> dict[str, float]:
    """Return the GB that a training step of a full-size student needs, **computed**, not measured.

    weights: frozen ones in bfloat16 without the vision side, trained ones with gradient and two moments in float32.
    activations: what autograd keeps for the backward pass, counted on models of two and four layers and one question of
    100 tokens with a reasoning of 200, then extended to all layers and the batch. recomputed: the same with gradient
    checkpointing, each layer's input and the inside of one layer with its gradients. logits: of the target tokens, in
    bfloat16, in float32 and as gradient.
    """
    (kept, trained, width), (kept_of_4, trained_of_4, _) = (_kept_and_trained(name, layers) for layers in (2, 4))
    text, found = ARCHITECTURES[name]["text_config"], sizes(name)
    depth = text.get("num_layers") or text["num_hidden_layers"]
    layer, rest = (kept_of_4 - kept) / 2, 2 * kept - kept_of_4
    targets = 202  # answer and reasoning
    tokens = found["tokens_read"] + 20 + targets
    weights = 2 * found["language_b"] + 16 * (trained + (trained_of_4 - trained) / 2 * (depth - 2)) / 1e9
    activations = batch_size * (rest + depth * layer) / 1e9
    recomputed = batch_size * (rest + 2 * layer + depth * 2 * tokens * width) / 1e9
    logits = batch_size * 10 * targets * text["vocab_size"] / 1e9
    parts = {"weights": weights, "activations": activations, "recomputed": recomputed, "logits": logits}
    together = {"together": weights + activations + logits, "together, recomputed": weights + recomputed + logits}
    return parts | together


@cache
def _kept_and_trained(name: str, layers: int) -> tuple[int, int, int]:
    """Return the bytes that autograd keeps of a question, the trained parameters, and the language model's width."""
    device, dtype = own_device(), torch.bfloat16
    student = random_student(name, device, dtype, layers)
    prepare(student, TrainConfig(dataset="nextqa", student=name).resolve())
    weights = {p.untyped_storage().data_ptr() for p in student.parameters()}
    kept: dict[int, int] = {}  # bytes by address, so that a tensor kept twice counts once

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    word = 20  # any id
    video = [student.video_token] if isinstance(student, PackedStudent) else []
    question = torch.tensor([video + [word] * 100], device=device)
    features = torch.randn(1, 4, *student.feature_shape, device=device, dtype=dtype)
    answer, reasoning = (torch.full((1, length), word, device=device) for length in (2, 200))
    row = torch.zeros(1, dtype=torch.long, device=device)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        Objective(student.train(), 0.5)(features, question, torch.ones_like(question), answer, reasoning, row)
    trained = sum(p.numel() for p in student.parameters() if p.requires_grad)
    return sum(kept.values()), trained, student.language_model.config.hidden_size
