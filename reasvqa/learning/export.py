"""Export a trained student for use without this library: as peft's adapter, or as a checkpoint of transformers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import peft
import torch
from peft.utils.constants import DUMMY_TARGET_MODULES

from reasvqa.config import TrainConfig
from reasvqa.evaluation import Estimate
from reasvqa.hub import cached
from reasvqa.learning.store import json_text, swap_in
from reasvqa.samples import Sample
from reasvqa.students import STUDENTS, Student, load_student
from reasvqa.students.adapters import merge

MARK = "reasvqa.json"  # marks a folder as an export; holds the run's name, its settings, and the names of all files
# Files of a processor. No checkpoint has all of them.
_PROCESSING = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "chat_template.jinja",
    "chat_template.json",
)


def write_adapter(student: Student, config: TrainConfig, folder: Path) -> None:
    """Write what was trained as `peft` keeps it: LoRA, and the connector as a module to save, in float32.

    Raises:
        ValueError: the base is not the one that the student was trained on.
    """
    name_of = {module: name for name, module in student.model.named_modules()}
    connector, language = name_of[student.projection], name_of[student.language_model]
    trained = {name: p for name, p in student.model.named_parameters() if p.requires_grad}
    base = load_student(config.student, student.dtype).model
    # Inside of the language model only: a vision tower may have layers of the same names.
    pattern = rf"{language.replace('.', '[.]')}[.](.*[.])?({'|'.join(student.lora_targets)})"
    lora = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=cast(int, config.lora_alpha),
        lora_dropout=config.lora_dropout,
        target_modules=pattern if config.lora else DUMMY_TARGET_MODULES,
        modules_to_save=[connector],
        base_model_name_or_path=base_of(config),
        inference_mode=True,
    )
    adapter = peft.PeftModel(base, lora)
    adapter.peft_config["default"].base_model_name_or_path = base_of(config)
    own = {
        _unwrapped(name): p for name, p in adapter.named_parameters() if "lora_" in name or "modules_to_save" in name
    }
    if own.keys() != trained.keys():
        differing = sorted(own.keys() ^ trained.keys())[:5]
        raise ValueError(f"{config.student}: the base lacks trained parameters or has others, such as {differing}")
    with torch.no_grad():
        for name, value in trained.items():
            own[name].data = value.detach().clone()
    adapter.save_pretrained(str(folder), save_embedding_layers=False)


def _unwrapped(name: str) -> str:
    """Return a parameter's name in the model that `peft` wraps."""
    return name.removeprefix("base_model.model.").replace(".modules_to_save.default", "")


def write_merged(student: Student, config: TrainConfig, folder: Path) -> None:
    """Write the whole model with tokenizer and processor, LoRA added to the weights, in the student's dtype.

    Raises:
        FileNotFoundError: the base's processor is neither in the hub's cache nor on the hub.
    """
    merge(student)
    source = STUDENTS.get(config.student, config.student)
    for name in _PROCESSING:
        found = cached(source, name, local_only=False)
        if found is not None:
            shutil.copyfile(found, folder / name)
    student.tokenizer.save_pretrained(folder)
    if not (folder / "processor_config.json").exists():
        if not Path(source).is_dir():
            raise FileNotFoundError(f"{source}: its processor is missing. Download it: hf download {source}")
        student.write_processing(folder)
    student.model.save_pretrained(folder)


def base_of(config: TrainConfig) -> str:
    """Return the hub id of the base; for a local folder, the student's name."""
    source = STUDENTS.get(config.student, config.student)
    return config.student if Path(source).is_dir() else source


# --- the folder -------------------------------------------------------------------------------------------------------


@contextmanager
def export_folder(path: Path, about: dict[str, Any]) -> Iterator[Path]:
    """Yield an empty folder to write into; on success it takes the place of `path`, with `about` in it.

    Raises:
        FileExistsError: `path` is neither absent nor an empty folder nor an export.
    """
    path = Path(os.path.abspath(path.expanduser()))
    _check_replaceable(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        (partial / MARK).write_text(json_text(about | {"files": sorted(_files(partial))}), encoding="utf-8")
        _check_replaceable(path)  # again: writing took a while
        swap_in(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir()}


def _check_replaceable(path: Path) -> None:
    if not path.exists() and not path.is_symlink():
        return
    remedy = "Give another place, or move it away."
    if not path.is_dir() or path.is_symlink():
        raise FileExistsError(f"{path}: this is not an export. {remedy}")
    if not (found := _files(path)):
        return
    try:
        exported = {MARK, *json.loads((path / MARK).read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise FileExistsError(f"{path}: this folder is not an export; it holds {min(found)}. {remedy}") from None
    if found - exported:
        raise FileExistsError(f"{path}: {min(found - exported)} is not part of the export in this folder. {remedy}")


# --- the card ---------------------------------------------------------------------------------------------------------


def card(
    config: TrainConfig,
    student: Student,
    example: tuple[Sample, str],
    facts: dict[str, Any],
    accuracy: Estimate | None,
    merged: bool,
) -> str:
    """Return README.md of an export: what it is, how to load and ask it, accuracy, data, licence, settings.

    Args:
        example: a question, and the prompt that is made of it.
        facts: of the run: name, finished, device, questions, train_examples, with_reasoning, generator_accuracy.
        accuracy: None: the split has no labels.
    """
    base, kind = base_of(config), type(student.model).__name__
    on_hub = "/" in base and not Path(base).exists()
    if merged:
        what = f"A complete `{kind}` with tokenizer and processor, fine-tuned from {base}"
        what += "; the sum with LoRA is rounded to bfloat16, an adapter is exact" if config.precision == "bf16" else ""
        load = f'from transformers import {kind}\n\nmodel = {kind}.from_pretrained("THIS FOLDER")'
    else:
        what = f"An adapter of `peft` for {base}: LoRA in the language model, the connector as a module to save"
        load = f"from peft import PeftModel\nfrom transformers import {kind}\n\n"
        place = base if on_hub else f"FOLDER OF {base}"
        load += f'base = {kind}.from_pretrained("{place}")\nmodel = PeftModel.from_pretrained(base, "THIS FOLDER")'
    taught, terms = f"{facts['train_examples']} questions of {config.dataset}'s training split", ""
    if config.reasoning != "none":
        taught += f", {facts['with_reasoning']} of them with {config.reasoning} texts of {config.generator}"
        if facts["generator_accuracy"] is not None:
            taught += f", which answers {facts['generator_accuracy']:.1f} % of them correctly"
        terms = f", and of {config.generator}, whose terms may forbid training on its texts"
    result = "unknown, the split has no labels."
    if accuracy is not None:
        result = f"{accuracy.value:.1f} % [{accuracy.low:.1f}, {accuracy.high:.1f}] "
        result += "(95 % interval over videos; it does not cover other seeds)."
    start, reasoning = student.tokenizer.convert_ids_to_tokens([student.answer_start, student.reasoning_start])
    starts = f"The answer follows the token `{start}`"
    starts += f", the reasoning `{reasoning}`." if config.objective == "mtl" else "."
    sample, prompt = example
    seen = f"{config.num_frames} frames, the middles of {config.num_frames} equal parts of the clip"
    head = [f"library_name: {'transformers' if merged else 'peft'}", "pipeline_tag: image-text-to-text"]
    head += ["tags: [video-question-answering, reasvqa]", *([f"base_model: {base}"] if on_hub else [])]
    parts = [
        "\n".join(["---", *head, "---"]),
        f"# {config.label}",
        f"{what}. Trained with reasvqa (run `{facts['name']}`, {facts['finished']}, {facts['device']}).",
        f"```python\n{load}\n```",
        "## Prompt",
        f"The model sees {'no frames' if config.blind else seen}. For the question {sample.question!r} it reads",
        "\n".join(f"    {line}" for line in prompt.splitlines()),
        f"(`{type(student).__name__}` of reasvqa joins frames and text.) {starts} The chosen option has "
        f"the {_CRITERION[config.answer_format]}. Other prompts may give other answers.",
        "## Training and accuracy",
        f"- Trained on {taught}.",
        f"- Accuracy on {facts['questions']} questions of the split `{config.split}`: {result}",
        "## Licence",
        f"No licence is chosen yet. Check those of {base}, of the annotations and videos of {config.dataset} (which "
        f"may forbid commercial use){terms}. Then add `license:` to the head of this page, or do not publish it.",
        "## Settings",
        "\n".join(f"    {name} = {value!r}" for name, value in asdict(config).items()),
    ]
    return "\n\n".join(parts) + "\n"


_CRITERION = {
    "letter": "largest logit of its letter at the first step",
    "text": "largest mean log-likelihood of its text",
}
