"""Load students. A family is a file, on the contract of `reasvqa.students.base`, and a row of `FAMILIES`."""

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import transformers

from reasvqa import hub
from reasvqa.files import file_state
from reasvqa.preprocess import Preprocess
from reasvqa.registry import STUDENTS
from reasvqa.students.base import Student, own_device
from reasvqa.students.blip2 import Blip2Student
from reasvqa.students.internvl import InternVlStudent
from reasvqa.students.llava import LlavaStudent
from reasvqa.students.packed import PackedStudent
from reasvqa.students.smolvlm import SmolVlmStudent

# Short names. Wherever they work, hub ids and folders work as well.
STUDENTS.update(
    {
        "blip2-flan-t5-xl": "Salesforce/blip2-flan-t5-xl",
        "llava-ov-0.5b": "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
        "llava-ov-7b": "llava-hf/llava-onevision-qwen2-7b-ov-hf",
        "smolvlm2-256m": "HuggingFaceTB/SmolVLM2-256M-Video-Instruct",
        "smolvlm2-500m": "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        "internvl3-1b": "OpenGVLab/InternVL3-1B-hf",
        "internvl3-2b": "OpenGVLab/InternVL3-2B-hf",
    }
)
# By the model type in config.json.
FAMILIES: dict[str, type[Student]] = {
    "blip-2": Blip2Student,
    "llava_onevision": LlavaStudent,
    "smolvlm": SmolVlmStudent,
    "internvl": InternVlStudent,
}


def load_student(name: str | Path, dtype: torch.dtype = torch.float32) -> Student:
    """Load a student by short name, hub id or local path, on the CPU, in float32 or bfloat16.

    Weights come from safetensors only, and no code of the checkpoint runs. The hub is asked only for missing files.

    Raises:
        FileNotFoundError: there is no such name, folder or cached checkpoint, and none on the hub.
        ValueError: the checkpoint cannot be a student, its tokenizer is empty, or weights are missing, unexpected or of
            another shape.
    """
    name = str(name)
    source = STUDENTS.get(name, name)
    absent = (
        f"student {name!r}: no checkpoint at {source!r}. "
        f"Known names: {', '.join(STUDENTS)}; a local path or a hub id (OWNER/NAME) works too."
    )
    if "/" not in source and not Path(source).exists():
        raise FileNotFoundError(absent)  # a hub id has an owner, so the hub need not be asked
    transformers.logging.disable_progress_bar()  # reading a few megabytes needs none
    try:
        return hub.local_first(source, lambda local_only: _load(name, source, dtype, local_only))
    except OSError as error:
        raise FileNotFoundError(f"{absent} ({error})") from error


def _load(name: str, source: str, dtype: torch.dtype, local_only: bool) -> Student:
    config = transformers.AutoConfig.from_pretrained(source, local_files_only=local_only)
    reasons = why_not(config)
    if reasons or config.model_type not in FAMILIES:
        why = f", which cannot be a student: {' '.join(reasons)} Students" if reasons else "; students"
        raise ValueError(f"student {name!r}: a {config.model_type} checkpoint{why} are {', '.join(FAMILIES)}")
    if config.model_type == "blip-2" and not config.text_config.is_encoder_decoder:
        kind = config.text_config.model_type
        raise ValueError(f"student {name!r}: its language model is {kind}, but this student needs T5")
    model_class: Any = transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
    options = {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
    model, found = model_class.from_pretrained(source, dtype=dtype, local_files_only=local_only, **options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=local_only)
    hub.check_tokenizer(tokenizer, source)
    listed = "; ".join(
        f"{len(keys)} {what}: {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}"
        for what in ("missing", "unexpected", "mismatched")
        if (keys := sorted(map(str, found[f"{what}_keys"])))
    )
    if listed:  # transformers would draw missing weights at random and go on
        raise ValueError(f"student {name!r}: the weights at {source!r} do not fit the model ({listed}). Get it again.")
    return FAMILIES[config.model_type](model, tokenizer, read_preprocess(source, local_only))


def why_not(config: transformers.PretrainedConfig) -> list[str]:
    """Return the reasons why a model cannot be a student, as sentences; an empty list if it can."""
    text: Any = config.get_text_config(decoder=True)
    reasons = []
    model_class = transformers.MODEL_MAPPING.get(type(config), None)
    if hasattr(model_class, "get_rope_index") or "mrope_section" in str(getattr(text, "rope_parameters", "")):
        reasons.append(
            'Its positions are three numbers (time, height, width; "mrope") that depend on where the frames stand in '
            "the text, but packed targets need positions of one number."
        )
    kinds = {str(kind) for kind in getattr(text, "layer_types", None) or ()}
    if recurrent := sorted(kind for kind in kinds if re.search("linear|mamba|recurrent|conv", kind)):
        reasons.append(
            f"It has recurrent layers ({', '.join(recurrent)}), which pass their state from token to token whatever "
            "the mask says, but packed targets must not see each other."
        )
    return reasons


def read_preprocess(source: str, local_only: bool = True) -> Preprocess:
    """Read the checkpoint's image size in pixels, mean and standard deviation.

    They are in `preprocessor_config.json`, or in `processor_config.json`, to which transformers 5 writes a whole
    processor. If the processor cuts large pictures (SmolVLM), the size is that of a part, as for a video's frames.

    Raises:
        FileNotFoundError: the checkpoint has neither.
    """
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = hub.cached(source, name, local_only)
        config = json.loads(path.read_text(encoding="utf-8")) if path else {}
        if config := config if name.startswith("pre") else config.get("image_processor"):
            break
    else:
        raise FileNotFoundError(f"{source}: neither preprocessor_config.json nor an image processor in {name}")
    size = config.get("max_image_size") or config["size"]
    side = size.get("height") or size.get("shortest_edge") or size["longest_edge"]
    return Preprocess(side, tuple(config["image_mean"]), tuple(config["image_std"]))


def fingerprint(name: str) -> str:
    """Return a hash of the files that `load_student` reads: weights, tokenizer, configuration; of a hub id, the id."""
    folder = Path(STUDENTS.get(name, name))
    if not folder.is_dir():
        return str(folder)
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json"), *folder.glob("*.txt")])
    return _digest(tuple(files), tuple(map(file_state, files)))


@lru_cache(maxsize=64)
def _digest(files: tuple[Path, ...], _states: object) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}".encode())
        with file.open("rb") as data:
            digest.update(hashlib.file_digest(data, "sha256").digest())
    return digest.hexdigest()


__all__ = ["FAMILIES", "STUDENTS", "PackedStudent", "Student", "fingerprint", "load_student", "own_device"]
__all__ += ["Blip2Student", "InternVlStudent", "LlavaStudent", "SmolVlmStudent"]
