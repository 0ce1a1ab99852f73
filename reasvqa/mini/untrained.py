"""The miniature's students before pretraining: the families' own architectures with random weights."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel, PreTrainedTokenizerFast

from reasvqa.preprocess import Preprocess
from reasvqa.students import FAMILIES, Blip2Student, Student, load_student

IMAGE_SIZE = 64
INIT = 0.08  # about 1/sqrt(width); with the library's 0.02 captions took ten times as long to learn
MEAN, STD = (0.84, 0.84, 0.82), (0.2, 0.2, 0.2)  # measured on the miniature's frames: rooms are pale


def make_student(name: str, tokenizer: PreTrainedTokenizerFast) -> Student:
    model = _blip2(len(tokenizer)) if name == "mini-blip2" else _llava(name, tokenizer)
    return FAMILIES[model.config.model_type](model, tokenizer, Preprocess(IMAGE_SIZE, MEAN, STD))


def byte_pairs(texts: Iterable[str], cuts: list, special: list[str], size: int) -> Tokenizer:
    """Learn a byte-level BPE tokenizer of at most `size` tokens, none of which reaches across the `cuts`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    tokenizer.decoder = decoders.ByteLevel()
    options = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet(), "show_progress": False}
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=special, **options))
    return tokenizer


def sizes(width: int, layers: int, heads: int = 4) -> dict[str, Any]:
    """Return the sizes of a stack of layers, in the words of a config."""
    size = {"hidden_size": width, "intermediate_size": 2 * width}
    return size | {"num_hidden_layers": layers, "num_attention_heads": heads}


_VISION = sizes(96, 3) | {"image_size": IMAGE_SIZE, "patch_size": 16}


def _blip2(vocabulary: int) -> PreTrainedModel:
    """Return mini-blip2 with random weights.

    Two of the library's defaults assume pretrained weights and would keep the model from learning: the range of the
    vision encoder's initialiser, and query tokens of zeros.
    """
    initial = {"initializer_range": INIT}
    qformer = {"vocab_size": 8, "encoder_hidden_size": 96, "cross_attention_frequency": 1}
    qformer |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    t5 = {"model_type": "t5", "vocab_size": vocabulary, "d_model": 128, "d_kv": 32, "d_ff": 256, "num_heads": 4}
    t5 |= {"num_layers": 3, "num_decoder_layers": 2, "feed_forward_proj": "gated-gelu", "dropout_rate": 0.0}
    t5 |= {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    parts = {"vision_config": _VISION | initial, "qformer_config": sizes(96, 2) | qformer | initial, "text_config": t5}
    config = AutoConfig.for_model("blip-2", **parts, num_query_tokens=4, frame_numbers="added", **initial)
    model = AutoModelForImageTextToText.from_config(config)
    torch.nn.init.normal_(model.query_tokens, std=0.5)
    return model


def _llava(name: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Return a decoder-only student whose language model has random weights.

    Both sizes have the same vision tower, as the real ones do. It starts as mini-blip2's ViT, which knows this world's
    pictures, as the real one starts as SigLIP.
    """
    ids = tokenizer.get_vocab()
    vision = {"model_type": "siglip_vision_model", "hidden_act": "gelu", "vision_use_head": False}
    text = sizes(96 if name.endswith("small") else 128, 3) | {"model_type": "qwen2", "num_key_value_heads": 2}
    text |= {"vocab_size": len(tokenizer), "max_position_embeddings": 1024, "tie_word_embeddings": False}
    text |= {"initializer_range": INIT, "bos_token_id": None, "pad_token_id": ids["<pad>"], "eos_token_id": ids["</s>"]}
    image = {"image_token_index": len(tokenizer) - 1, "image_grid_pinpoints": [[IMAGE_SIZE, IMAGE_SIZE]]}
    parts = {"vision_config": _VISION | vision, "text_config": text, "video_token_index": ids["<video>"], **image}
    config = AutoConfig.for_model("llava_onevision", **parts, tie_word_embeddings=False)
    model = AutoModelForImageTextToText.from_config(config)
    weights = {}
    for key, value in load_student("mini-blip2").model.vision_model.state_dict().items():
        if ".qkv." in key:
            for letter, piece in zip("qkv", value.chunk(3), strict=True):
                weights[key.replace("qkv", f"{letter}_proj")] = piece
        else:
            weights[key.replace(".projection.", ".out_proj.")] = value
    # SigLIP has no class token; its position comes first.
    weights["embeddings.position_embedding.weight"] = weights.pop("embeddings.position_embedding")[0, 1:]
    del weights["embeddings.class_embedding"]
    model.model.vision_tower.load_state_dict(weights)
    return model


def save_student(student: Student, path: Path) -> None:
    """Write a checkpoint with its preprocessing in the library's own format; `from_pretrained(path)` loads it."""
    student.model.save_pretrained(path)
    student.tokenizer.save_pretrained(path)
    size, mean, std = student.preprocess.size, student.preprocess.mean, student.preprocess.std
    kind = "BlipImageProcessor" if isinstance(student, Blip2Student) else "LlavaOnevisionImageProcessor"
    preprocess = {"image_processor_type": kind, "size": {"height": size, "width": size}, "resample": 3}
    preprocess |= dict.fromkeys(("do_resize", "do_rescale", "do_normalize", "do_convert_rgb"), True)
    preprocess |= {"rescale_factor": 1 / 255, "image_mean": mean, "image_std": std}
    (path / "preprocessor_config.json").write_text(json.dumps(preprocess, indent=2) + "\n", encoding="utf-8")
