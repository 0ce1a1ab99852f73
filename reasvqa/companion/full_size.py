"""Students of the paper's sizes without their checkpoints: random weights, and what training them would cost.

Speed and memory do not depend on what the weights are. What is **computed** here rather than measured says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForImageTextToText,
    Blip2Config,
    InternVLConfig,
    LlavaOnevisionConfig,
    SmolVLMConfig,
)

from reasvqa.companion.experiments import EXPERIMENTS, settings_of
from reasvqa.config import TrainConfig
from reasvqa.datasets import official
from reasvqa.learning.features import feature_bytes
from reasvqa.learning.objective import Objective
from reasvqa.mini.tiny import make_tokenizer
from reasvqa.preprocess import Preprocess
from reasvqa.students import (
    Blip2Student,
    InternVlStudent,
    LlavaStudent,
    PackedStudent,
    SmolVlmStudent,
    Student,
    load_student,
    own_device,
)
from reasvqa.students.adapters import prepare

PAPERS = ("blip2-flan-t5-xl", "llava-ov-0.5b", "llava-ov-7b")
SMALL = ("smolvlm2-256m", "smolvlm2-500m", "internvl3-1b", "internvl3-2b")
FULL_SIZE = (*PAPERS, *SMALL)
# Of the language model: layers (of encoder and of decoder), words.
LAYERS = {"blip2-flan-t5-xl": 24, "llava-ov-0.5b": 24, "llava-ov-7b": 28}
LAYERS |= {"smolvlm2-256m": 30, "smolvlm2-500m": 32, "internvl3-1b": 24, "internvl3-2b": 28}
VOCABULARY = {"blip2-flan-t5-xl": 32128, "llava-ov-0.5b": 152000, "llava-ov-7b": 152000}
VOCABULARY |= dict.fromkeys(SMALL[:2], 49280) | dict.fromkeys(SMALL[2:], 151674)


def random_student(name: str, device: torch.device, dtype: torch.dtype, layers: int | None = None) -> Student:
    """A student of the real architecture with random weights; its tokenizer is a small one (ids, not words, matter).

    Args:
        layers: so many in every stack, and 1000 words, but all widths as they are; None: the real size.
    """
    language = {
        "vocab_size": 1000 if layers else VOCABULARY[name],
        "num_hidden_layers": layers or LAYERS[name],
    }
    if name == "blip2-flan-t5-xl":
        tokenizer, kind = load_student("mini-blip2").tokenizer, Blip2Student
        config = _blip2(language, layers)
    elif name.startswith("llava"):
        tokenizer, kind = load_student("mini-llava-ov-small").tokenizer, LlavaStudent
        config = _llava(name, language, layers, tokenizer.convert_tokens_to_ids("<video>"))
    elif name.startswith("smolvlm2"):
        tokenizer, kind = make_tokenizer("smolvlm"), SmolVlmStudent
        config = _smolvlm(name, language, layers, tokenizer.get_vocab()["<image>"])
    else:
        tokenizer, kind = make_tokenizer("internvl"), InternVlStudent
        config = _internvl(name, language, layers, tokenizer.get_vocab()["<IMG_CONTEXT>"])
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    half = (0.5, 0.5, 0.5)
    side = model.config.vision_config.image_size
    return kind(model, tokenizer, Preprocess(side if isinstance(side, int) else side[0], half, half))


def _blip2(language: dict, layers: int | None) -> Blip2Config:
    """BLIP-2 FlanT5-XL: ViT-g, Q-Former of 32 queries, T5 XL."""
    return Blip2Config(
        num_query_tokens=32,
        vision_config={
            "hidden_size": 1408,
            "intermediate_size": 6144,
            "num_hidden_layers": layers or 39,
            "num_attention_heads": 16,
            "image_size": 224,
            "patch_size": 14,
            "initializer_range": 0.02,
        },
        qformer_config={
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": layers or 12,
            "num_attention_heads": 12,
            "encoder_hidden_size": 1408,
        },
        text_config={
            "model_type": "t5",
            "vocab_size": language["vocab_size"],
            "d_model": 2048,
            "d_kv": 64,
            "d_ff": 5120,
            "num_layers": language["num_hidden_layers"],
            "num_decoder_layers": language["num_hidden_layers"],
            "num_heads": 32,
            "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": False,
            "decoder_start_token_id": 0,
            "pad_token_id": 0,
        },
    )


def _llava(name: str, language: dict, layers: int | None, video_token: int) -> LlavaOnevisionConfig:
    """LLaVA-OneVision: SigLIP so400m, Qwen2 of 0.5 or 7 billion weights."""
    width, inner, heads, groups = {"llava-ov-0.5b": (896, 4864, 14, 2), "llava-ov-7b": (3584, 18944, 28, 4)}[name]
    return LlavaOnevisionConfig(
        video_token_index=video_token,
        image_token_index=999,
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": layers or 26,
            "num_attention_heads": 16,
            "image_size": 384,
            "patch_size": 14,
            "vision_use_head": False,
        },
        text_config={
            "model_type": "qwen2",
            "hidden_size": width,
            "intermediate_size": inner,
            "num_attention_heads": heads,
            "num_key_value_heads": groups,
            **language,
        },
    )


def _smolvlm(name: str, language: dict, layers: int | None, video_token: int) -> SmolVLMConfig:
    """SmolVLM2: SigLIP base at 512 pixels, 16 patches in a token, SmolLM2 of 135 or 360 million weights."""
    width, inner, heads, groups = {"smolvlm2-256m": (576, 1536, 9, 3), "smolvlm2-500m": (960, 2560, 15, 5)}[name]
    return SmolVLMConfig(
        image_token_id=video_token,
        scale_factor=4,
        vision_config={
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": layers or 12,
            "num_attention_heads": 12,
            "image_size": 512,
            "patch_size": 16,
        },
        text_config={
            "model_type": "llama",
            "hidden_size": width,
            "intermediate_size": inner,
            "num_attention_heads": heads,
            "num_key_value_heads": groups,
            "tie_word_embeddings": False,
            **language,
        },
        tie_word_embeddings=False,
    )


def _internvl(name: str, language: dict, layers: int | None, video_token: int) -> InternVLConfig:
    """InternVL3: InternViT of 0.3 billion weights at 448 pixels, 4 patches in a token, Qwen2.5 of 0.5 or 1.5."""
    width, inner, heads = {"internvl3-1b": (896, 4864, 14), "internvl3-2b": (1536, 8960, 12)}[name]
    return InternVLConfig(
        image_token_id=video_token,
        vision_config={"num_hidden_layers": layers or 24, "attention_bias": True},
        text_config={
            "model_type": "qwen2",
            "hidden_size": width,
            "intermediate_size": inner,
            "num_attention_heads": heads,
            "num_key_value_heads": 2,
            "tie_word_embeddings": False,
            **language,
        },
        tie_word_embeddings=False,
    )


def sizes(name: str) -> dict[str, float]:
    """Of a full-size student: parameters of its halves, tokens read and written for a question, and the FLOP they take.

    A frozen weight takes 2 FLOP a token forward and 2 backward (no gradient of its own); attention and LoRA are left
    out. Tokens: 80 of question and options, 130 of reasoning and answer, N = 4 frames.
    """
    student = random_student(name, torch.device("meta"), torch.bfloat16)
    vision = sum(_parameters(student.model.get_submodule(module)) for module in student.vision_modules)
    queries, _ = student.feature_shape
    if isinstance(student, Blip2Student):
        t5 = student.language_model
        words = t5.shared.weight.numel()  # looked up, not multiplied
        encoder = _parameters(t5.encoder) - words
        decoder = _parameters(t5.decoder) - words + _parameters(t5.lm_head)
        language, patches, read = _parameters(t5), 257, 4 * (queries + 2) + 80
        flop = 4 * (encoder * read + decoder * 130)
    else:
        head = _parameters(student.model.lm_head)  # as large as the embeddings, which are looked up
        language, patches = _parameters(student.language_model) + head, queries
        if isinstance(student, InternVlStudent):
            patches = 4 * queries  # four patches are one feature
        read = 80 + _frame_tokens(student, queries)
        flop = 4 * ((language - 2 * head) * (read + 130) + head * 130)
    return {
        "language_b": language / 1e9,
        "vision_b": vision / 1e9,
        "tokens_read": read,
        "tflop_per_sample": flop / 1e12,
        "tflop_per_clip": 2 * vision * 4 * patches / 1e12,
        "weights_gb": 2 * (language + vision) / 1e9,
        "cache_mb_per_clip": feature_bytes(1, 4, student.feature_shape, torch.bfloat16) / 1e6,
    }


def _frame_tokens(student: Student, queries: int) -> int:
    """Tokens that four frames are read as: patches and what stands around them."""
    if isinstance(student, LlavaStudent):
        return 4 * math.ceil(queries**0.5 / 2) ** 2 + 1  # pooled 2 x 2, newline
    if isinstance(student, SmolVlmStudent):
        return 4 * queries // 16 + 70  # introduction and times, of SmolLM2's tokenizer about
    return 4 * (queries + 8)  # "Frame1: <img>" and "</img>\n"


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def memory(name: str, batch_size: int = 8) -> dict[str, float]:
    """GB a training step of a full-size student needs, **computed**, not measured: for a GPU that nobody has at hand.

    weights: frozen ones in bfloat16 without the vision side, trained ones with gradient and two moments in float32.
    activations: what autograd keeps for the backward pass, counted on models of two and four layers and one question of
    100 tokens with a reasoning of 200, and extended to all layers and the batch; recomputed: with gradient
    checkpointing, each layer's input, and one layer's insides with their gradients. logits: of the target tokens, in
    bfloat16, float32 and as gradient.
    """
    (kept, trained, width), (kept_of_4, trained_of_4, _) = (_kept_and_trained(name, layers) for layers in (2, 4))
    depth, found = LAYERS[name], sizes(name)
    layer, rest = (kept_of_4 - kept) / 2, 2 * kept - kept_of_4
    targets = 202  # answer and reasoning
    tokens = found["tokens_read"] + 20 + targets
    weights = 2 * found["language_b"] + 16 * (trained + (trained_of_4 - trained) / 2 * (depth - 2)) / 1e9
    activations = batch_size * (rest + depth * layer) / 1e9
    recomputed = batch_size * (rest + 2 * layer + depth * 2 * tokens * width) / 1e9
    logits = batch_size * 10 * targets * VOCABULARY[name] / 1e9
    return {
        "weights": weights,
        "activations": activations,
        "recomputed": recomputed,
        "logits": logits,
        "together": weights + activations + logits,
        "together, recomputed": weights + recomputed + logits,
    }


@cache
def _kept_and_trained(name: str, layers: int) -> tuple[int, int, int]:
    """Of a student of so many layers: bytes that autograd keeps of a question, trained parameters, and the language
    model's width."""
    device, dtype = own_device(), torch.bfloat16
    student = random_student(name, device, dtype, layers)
    prepare(student, TrainConfig(dataset="nextqa", student=name).resolve())
    weights = {p.untyped_storage().data_ptr() for p in student.parameters()}
    kept: dict[int, int] = {}  # bytes by place, so that what is kept twice counts once

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    word = 20  # any
    video = [student.video_token] if isinstance(student, PackedStudent) else []
    question = torch.tensor([video + [word] * 100], device=device)
    features = torch.randn(1, 4, *student.feature_shape, device=device, dtype=dtype)
    answer, reasoning = (torch.full((1, length), word, device=device) for length in (2, 200))
    row = torch.zeros(1, dtype=torch.long, device=device)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        Objective(student.train(), 0.5)(features, question, torch.ones_like(question), answer, reasoning, row)
    trained = sum(p.numel() for p in student.parameters() if p.requires_grad)
    return sum(kept.values()), trained, student.language_model.config.hidden_size


def plan(tflops: float, seeds: Sequence[int] = (0,)) -> pd.DataFrame:
    """GPU-hours of the paper's tables and figures at paper scale, on a GPU that gives the training `tflops` TFLOP/s.

    Runs that several tables share are counted with each, and once in the total. Features and evaluation come on top.
    Runs on answers alone count for 0.55 of one with reasoning, which is the share of reading in BLIP-2's FLOP.
    """
    tflop = {name: sizes(name)["tflop_per_sample"] for name in PAPERS}
    questions = {row["dataset"]: int(row["questions"]) for row in official() if row["split"] == "train"}

    def hours(config: TrainConfig) -> float:
        share = 0.55 if config.reasoning == "none" else 1.0
        samples = questions[config.dataset] * config.epochs
        return share * samples * tflop[config.student] / tflops / 3600

    runs = {
        name: [config for configs in settings_of(name, "paper", seeds).values() for config in configs]
        for name in EXPERIMENTS
    }
    runs["together, each run once"] = list(dict.fromkeys(config for configs in runs.values() for config in configs))
    rows = {name: (len(configs), sum(map(hours, configs))) for name, configs in runs.items() if configs}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["runs", "gpu_hours"]).rename_axis("table")
    return table.assign(hours_on_8_gpus=table["gpu_hours"] / 8)
