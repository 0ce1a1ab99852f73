"""Write checkpoints of published families with a few ten thousand random weights, in the files that the hub's have.

They test everything from a checkpoint to a run without a download. Their answers mean nothing.
"""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Regex, pre_tokenizers
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedTokenizerFast
from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE

from reasvqa.mini.untrained import byte_pairs, sizes

# The tokenizers learn their pieces from the labels and prompts of the real families.
_TEXT = (
    "You are provided the following series of four frames from a 0:00:04 [H:MM:SS] video.\n\nFrame from 00:01: User: "
    "Assistant: user assistant Frame1: Frame2: Question: Why did the man open the door? Options: (A) to take the cup "
    "Answer with the letter of the correct option. Answer Reason Because the woman then put the box on the table."
)
# How Qwen's tokenizers cut a text before they merge pairs.
_QWEN_CUTS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# From InternVL3's conversion to transformers.
_INTERNVL_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<IMG_CONTEXT>\\n' }}{% elif part['type'] == 'video' %}{{ '<video>\\n' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_SIDE = 32  # of a picture in pixels; a patch has 4


def write_tiny(family: str, folder: Path) -> Path:
    """Write a checkpoint of the family "smolvlm" or "internvl" into a new folder and return the folder."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(family)
    values, pictures, processor = {"smolvlm": _smolvlm, "internvl": _internvl}[family](tokenizer)
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(family, **values))
    with torch.no_grad():  # larger weights, so that the output depends on the frames
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    transformers.logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for name, content in {"preprocessor_config": pictures, "processor_config": processor}.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return folder


def make_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer of at most 600 pieces with the family's special tokens and its way of cutting texts."""
    if family == "smolvlm":
        special = ["<|im_start|>", "<|im_end|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>"]
        special += ["<global-img>"]
        cuts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        names = {"fake_image_token": "<fake_token_around_image>", "image_token": "<image>"}
        names |= {"end_of_utterance_token": "<end_of_utterance>", "global_image_token": "<global-img>"}
        ends = {"pad_token": "<|im_end|>", "eos_token": "<end_of_utterance>", "bos_token": "<|im_start|>"}
    else:
        special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"]
        pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        cuts = [pre_tokenizers.Split(Regex(_QWEN_CUTS), behavior="isolated"), pieces]
        names = {"start_image_token": "<img>", "end_image_token": "</img>"}
        names |= {"context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"}
        ends = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=byte_pairs([_TEXT] * 3, cuts, special, 600),
        chat_template=DEFAULT_CHAT_TEMPLATE if family == "smolvlm" else _INTERNVL_TEMPLATE,
        additional_special_tokens=special,
        extra_special_tokens=names,
        clean_up_tokenization_spaces=False,
        **ends,
    )


def _smolvlm(tokenizer: PreTrainedTokenizerFast) -> tuple[dict, dict, dict]:
    """Return the contents of config.json, preprocessor_config.json and processor_config.json."""
    vision = {"image_size": _SIDE, "patch_size": 4, "initializer_range": 0.02} | sizes(24, 2, 2)
    config = {"vision_config": vision, "text_config": {"model_type": "llama"} | _language(tokenizer), "scale_factor": 4}
    config |= {"image_token_id": tokenizer.get_vocab()["<image>"], "pad_token_id": tokenizer.pad_token_id}
    half, named = [0.5, 0.5, 0.5], {"processor_class": "SmolVLMProcessor"}
    pictures = {"image_processor_type": "SmolVLMImageProcessor", **named, "do_convert_rgb": True}
    pictures |= {"do_image_splitting": False, "do_normalize": True, "do_pad": True, "do_rescale": True}
    pictures |= {"do_resize": True, "image_mean": half, "image_std": half, "max_image_size": {"longest_edge": _SIDE}}
    pictures |= {"resample": 1, "rescale_factor": 1 / 255, "size": {"longest_edge": 4 * _SIDE}}
    pictures |= {"video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": _SIDE}}}
    return config, pictures, {"image_seq_len": (_SIDE // 4 // 4) ** 2, **named}


def _internvl(tokenizer: PreTrainedTokenizerFast) -> tuple[dict, dict, dict]:
    """Return the contents of config.json, preprocessor_config.json and processor_config.json."""
    vision = {"image_size": [_SIDE, _SIDE], "patch_size": [4, 4], "attention_bias": True} | sizes(24, 2, 2)
    length = {"image_seq_length": (_SIDE // 4 // 2) ** 2}
    config = {"vision_config": vision, "text_config": {"model_type": "qwen2"} | _language(tokenizer), **length}
    config |= {"image_token_id": tokenizer.get_vocab()["<IMG_CONTEXT>"], "tie_word_embeddings": False}
    named = {"processor_class": "InternVLProcessor"}
    pictures = {"image_processor_type": "GotOcr2ImageProcessor", **named, "crop_to_patches": False}
    pictures |= {"do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True}
    pictures |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "max_patches": 12}
    pictures |= {"min_patches": 1, "resample": 3, "rescale_factor": 1 / 255, "size": {"height": _SIDE, "width": _SIDE}}
    return config, pictures, length | named


def _language(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    values = {"vocab_size": len(tokenizer), "max_position_embeddings": 8192, "tie_word_embeddings": False}
    return sizes(32, 3) | {"num_key_value_heads": 2} | ids | values
