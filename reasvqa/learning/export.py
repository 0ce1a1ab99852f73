"""A trained student outside of this library: as an adapter of peft on its base, or as a checkpoint of transformers."""

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
from reasvqa.samples import Sample
from reasvqa.students import STUDENTS, Student, load_student
from reasvqa.students.adapters import merge

MARK = "reasvqa.json"  # what a folder holds if it is an export: the run's name, its settings, the names of all files
# What stands between pictures or words and a model. No checkpoint has all of them.
_PROCESSING = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "chat_template.jinja",
    "chat_template.json",
)


def write_adapter(student: Student, config: TrainConfig, folder: Path) -> None:
    """What was trained of `student` as `peft` keeps it: LoRA, and the connector as a module to save, in float32.

    Raises:
        ValueError: the base is another one than the student was trained on.
    """
    name_of = {module: name for name, module in student.model.named_modules()}
    connector, language = name_of[student.projection], name_of[student.language_model]
    trained = {name: p for name, p in student.model.named_parameters() if p.requires_grad}
    base = load_student(config.student, student.dtype).model
    lora = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=cast(int, config.lora_alpha),
        lora_dropout=config.lora_dropout,
        # A vision tower may have layers of the same names.
        target_modules=_pattern(language, student.lora_targets) if config.lora else DUMMY_TARGET_MODULES,
        modules_to_save=[connector],
        base_model_name_or_path=base_of(config),
        inference_mode=True,
    )
    adapter = peft.PeftModel(base, lora)
    adapter.peft_config["default"].base_model_name_or_path = base_of(config)
    own = {_plain(name): p for name, p in adapter.named_parameters() if "lora_" in name or "modules_to_save" in name}
    if own.keys() != trained.keys():
        differing = sorted(own.keys() ^ trained.keys())[:5]
        raise ValueError(f"{config.student}: the base does not fit what was trained; they differ in {differing}")
    with torch.no_grad():
        for name, value in trained.items():
            own[name].data = value.detach().clone()
    adapter.save_pretrained(str(folder), save_embedding_layers=False)


def _pattern(language: str, targets: tuple[str, ...]) -> str:
    """Which modules of the whole model get LoRA, for `peft`: these layers, inside of the language model."""
    return rf"{language.replace('.', '[.]')}[.](.*[.])?({'|'.join(targets)})"


def _plain(name: str) -> str:
    """A parameter's name in the model that `peft` has wrapped."""
    return name.removeprefix("base_model.model.").replace(".modules_to_save.default", "")


def write_merged(student: Student, config: TrainConfig, folder: Path) -> None:
    """The whole model in the library's own format, LoRA added to the weights, with tokenizer and processor.

    In the student's number format: in bfloat16 the sum is rounded.

    Raises:
        FileNotFoundError: the base's processor is neither in the hub's cache nor to be had.
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
            raise FileNotFoundError(f"{source}: its processor is not here. Get it with a network: hf download {source}")
        student.write_processing(folder)
    student.model.save_pretrained(folder)


def base_of(config: TrainConfig) -> str:
    """The base by its hub id, or, where it is no checkpoint of the hub, by the student's name."""
    source = STUDENTS.get(config.student, config.student)
    return config.student if Path(source).is_dir() else source


# --- the folder -------------------------------------------------------------------------------------------------------


@contextmanager
def export_folder(path: Path, about: dict[str, Any]) -> Iterator[Path]:
    """An empty folder to write into, which takes the place of `path` in the end, with `about` in it; if anything goes
    wrong, `path` stays as it was.

    Raises:
        FileExistsError: something else lies at `path`.
    """
    path = Path(os.path.abspath(path.expanduser()))
    check_replaceable(path)
    partial, old = (path.with_name(f".{path.name}.{os.getpid()}.{what}") for what in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        files = sorted(str(file.relative_to(partial)) for file in partial.rglob("*") if file.is_file())
        (partial / MARK).write_text(json.dumps(about | {"files": files}, indent=1) + "\n")
        check_replaceable(path)  # it took a while
        if path.exists():
            os.replace(path, old)
        os.replace(partial, path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_replaceable(path: Path) -> None:
    """Raises FileExistsError unless nothing is at `path`, or an empty folder, or an export and nothing else."""
    if not path.exists() and not path.is_symlink():
        return
    remedy = "Give another place, or move it away."
    if not path.is_dir() or path.is_symlink():
        raise FileExistsError(f"{path}: there is something that is no export. {remedy}")
    found = {str(file.relative_to(path)) for file in path.rglob("*") if not file.is_dir()}
    if not found:
        return
    try:
        known = {MARK, *json.loads((path / MARK).read_text())["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise FileExistsError(f"{path}: a folder that is no export ({min(found)} lies there). {remedy}") from None
    if found - known:
        raise FileExistsError(f"{path}: {min(found - known)} is no part of the export that lies there. {remedy}")


# --- the card ---------------------------------------------------------------------------------------------------------


def card(
    config: TrainConfig,
    student: Student,
    asked: tuple[Sample, str],
    found: dict[str, Any],
    accuracy: Estimate | None,
    merged: bool,
) -> str:
    """README.md of an export: what it is, how it is loaded and asked, accuracy, data, the licence question, settings.

    Args:
        asked: a question, and the prompt that is made of it.
        found: of the run: its name, finished, device, questions, train_examples, with_reasoning, generator_accuracy.
        accuracy: None: the split has no labels.
    """
    base, kind = base_of(config), type(student.model).__name__
    on_hub = "/" in base and not Path(base).exists()
    if merged:
        what = f"A `{kind}` with all of its weights, tokenizer and processor, made from {base}"
        what += "; LoRA is rounded to bfloat16 in it, an adapter is exact" if config.precision == "bf16" else ""
        load = f'from transformers import {kind}\n\nmodel = {kind}.from_pretrained("THIS FOLDER")'
    else:
        what = f"An adapter of `peft` on {base}: LoRA in the language model, the connector as a module to save"
        load = f"from peft import PeftModel\nfrom transformers import {kind}\n\n"
        place = base if on_hub else f"FOLDER OF {base}"
        load += f'base = {kind}.from_pretrained("{place}")\nmodel = PeftModel.from_pretrained(base, "THIS FOLDER")'
    taught, texts = f"{found['train_examples']} questions of {config.dataset}'s training split", ""
    if config.reasoning != "none":
        taught += f", {found['with_reasoning']} of them with {config.reasoning} texts of {config.generator}"
        if found["generator_accuracy"] is not None:
            taught += f", which answers {found['generator_accuracy']:.1f} % of them right"
        texts = f"; from texts of {config.generator}, whose terms may not allow to train with them"
    how_well = "not known, the split has no labels."
    if accuracy is not None:
        how_well = f"{accuracy.value:.1f} % [{accuracy.low:.1f}, {accuracy.high:.1f}]. "
        how_well += "The interval (95 %) is over videos and says nothing of other seeds."
    start, reasoning = student.tokenizer.convert_ids_to_tokens([student.answer_start, student.reasoning_start])
    starts = f"It writes its answer after the token `{start}`"
    if config.objective == "mtl":
        starts += f" and its reasoning after `{reasoning}`"
    sample, prompt = asked
    seen = f"{config.num_frames} frames, the middles of as many equal parts of the clip"
    head = [f"library_name: {'transformers' if merged else 'peft'}", "pipeline_tag: image-text-to-text"]
    head += ["tags: [video-question-answering, reasvqa]", *([f"base_model: {base}"] if on_hub else [])]
    parts = [
        "\n".join(["---", *head, "---"]),
        f"# {config.label}",
        f"{what}. reasvqa trained it (run `{found['name']}`, {found['finished']}, {found['device']}).",
        f"```python\n{load}\n```",
        "## How it was asked",
        f"It sees {'no frames' if config.blind else seen}, and reads, for the question {sample.question!r},",
        "\n".join(f"    {line}" for line in prompt.splitlines()),
        f"(`{type(student).__name__}` of reasvqa puts frames and text together.) {starts}. An option is chosen by "
        f"{_CHOSEN[config.answer_format]}. Asked otherwise, it may answer otherwise.",
        "## How well it answers",
        f"- Trained on {taught}.",
        f"- Accuracy on {found['questions']} questions of the split `{config.split}`: {how_well}",
        "## Licence",
        f"None is chosen yet. The weights come from {base}, whose licence goes on holding; from annotations and videos "
        f"of {config.dataset}, which may be for non-commercial use only{texts}. Read them, add `license:` to the "
        "head of this page, or do not publish it.",
        "## Settings",
        "\n".join(f"    {name} = {value!r}" for name, value in asdict(config).items()),
    ]
    return "\n\n".join(parts) + "\n"


_CHOSEN = {
    "letter": "comparing the logits of their letters at the first step",
    "text": "the mean log-likelihood of the tokens of their texts",
}
