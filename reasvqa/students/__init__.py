"""The students: one family a file on the contract of `reasvqa.students.base`. A new family is a file and a row of
`FAMILIES`."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoTokenizer,
    Blip2ForConditionalGeneration,
    LlavaOnevisionForConditionalGeneration,
)
from transformers.utils.hub import cached_file

from reasvqa import hub, paths
from reasvqa.preprocess import Preprocess
from reasvqa.students.base import Student, Targets, own_device
from reasvqa.students.blip2 import Blip2Student
from reasvqa.students.llava import LlavaStudent

# Short names; a local path or a hub id works everywhere, too.
STUDENTS: dict[str, str] = {
    "mini-blip2": str(paths.mini_student("mini-blip2")),
    "mini-llava-ov-small": str(paths.mini_student("mini-llava-ov-small")),
    "mini-llava-ov": str(paths.mini_student("mini-llava-ov")),
    "blip2-flan-t5-xl": "Salesforce/blip2-flan-t5-xl",
    "llava-ov-0.5b": "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
    "llava-ov-7b": "llava-hf/llava-onevision-qwen2-7b-ov-hf",
}
# By the model type of a checkpoint's config.json: transformers' class, and ours around it.
FAMILIES: dict[str, tuple[type, type[Student]]] = {
    "blip-2": (Blip2ForConditionalGeneration, Blip2Student),
    "llava_onevision": (LlavaOnevisionForConditionalGeneration, LlavaStudent),
}


def load_student(name: str, dtype: torch.dtype = torch.float32) -> Student:
    """A student by its short name, hub id or local path, on the CPU, in float32 or bfloat16.

    Weights are read from safetensors only and no code of the checkpoint is run.

    Raises: FileNotFoundError: the name is neither known nor a local path, and neither the hub's local cache nor the hub
        has it.
        ValueError: the checkpoint is of another family, is a BLIP-2 without an encoder-decoder language model, or lacks
            weights or has others than the model; the message lists them.
    """
    source = STUDENTS.get(name, name)
    absent = (
        f"student {name!r}: no checkpoint at {source!r}. "
        f"Known names: {', '.join(STUDENTS)}; a local path or a hub id (OWNER/NAME) works too."
    )
    if "/" not in source and not Path(source).exists():
        raise FileNotFoundError(absent)  # a hub id has an owner, so the hub need not be asked
    reason = "" if Path(source).is_dir() else hub.unreachable()
    cached = {"local_files_only": bool(reason)}
    transformers.logging.disable_progress_bar()  # a bar for reading a few megabytes only litters a notebook
    try:
        config = AutoConfig.from_pretrained(source, **cached)
        if config.model_type not in FAMILIES:
            raise ValueError(
                f"student {name!r}: a {config.model_type} checkpoint; students are {' or '.join(FAMILIES)}"
            )
        if config.model_type == "blip-2" and not config.text_config.is_encoder_decoder:
            kind = config.text_config.model_type
            raise ValueError(f"student {name!r}: its language model is {kind}, but this student needs T5")
        model_class, student_class = FAMILIES[config.model_type]
        options = {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
        model, found = model_class.from_pretrained(source, dtype=dtype, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, **cached)
    except OSError as error:
        raise FileNotFoundError(f"{absent} ({reason or error})") from error
    problems = {what: sorted(map(str, found[f"{what}_keys"])) for what in ("missing", "unexpected", "mismatched")}
    problems = {what: keys for what, keys in problems.items() if keys}
    if problems:  # transformers would draw missing weights at random and go on
        listed = "; ".join(
            f"{len(keys)} {what}: {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}"
            for what, keys in problems.items()
        )
        raise ValueError(f"student {name!r}: the weights at {source!r} do not fit the model ({listed}). Get it again.")
    return student_class(model, tokenizer, read_preprocess(source))


def read_preprocess(source: str) -> Preprocess:
    """The checkpoint's image size, mean and standard deviation, from its `preprocessor_config.json`."""
    path = cached_file(source, "preprocessor_config.json")
    assert path is not None  # where there is none, it raises
    config = json.loads(Path(path).read_text())
    size = config["size"].get("height") or config["size"]["shortest_edge"]
    return Preprocess(size, tuple(config["image_mean"]), tuple(config["image_std"]))


def fingerprint(name: str) -> str:
    """Tells checkpoints apart: a hash of all that `load_student` reads, weights, tokenizer and configuration.

    A hub id is its own fingerprint.
    """
    folder = Path(STUDENTS.get(name, name))
    if not folder.is_dir():
        return str(folder)
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json"), *folder.glob("*.txt")])
    return _digest(tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@lru_cache(maxsize=64)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """The hash of `fingerprint`; of files given with their times and sizes, so that it is computed again when they
    change."""
    digest = hashlib.sha256()
    for file, _, size in files:
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as data:
            digest.update(hashlib.file_digest(data, "sha256").digest())
    return digest.hexdigest()


__all__ = [
    "FAMILIES",
    "STUDENTS",
    "Blip2Student",
    "LlavaStudent",
    "Student",
    "Targets",
    "fingerprint",
    "load_student",
    "own_device",
    "read_preprocess",
]
