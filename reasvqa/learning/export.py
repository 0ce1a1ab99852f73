"""Export a trained student for use without this library: as an adapter of peft or a checkpoint of transformers."""

import json
import os
import shutil
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import peft
import safetensors.torch
from peft.utils.constants import DUMMY_TARGET_MODULES

from reasvqa.config import TrainConfig
from reasvqa.files import swap_in, write_json
from reasvqa.hub import cached
from reasvqa.learning.targets import source_text
from reasvqa.samples import Sample
from reasvqa.students import STUDENTS, Student
from reasvqa.students.adapters import merge, trained_state

MARK = "reasvqa.json"  # marks a folder as an export; holds the run's name and settings, and the names of all files
# Files of a processor. No checkpoint has all of them.
_PROCESSING = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
_PROCESSING += ("chat_template.jinja", "chat_template.json")


def write_adapter(student: Student, config: TrainConfig, folder: Path) -> None:
    """Write the trained weights in the form of `peft`, float32: LoRA, and the connector as a module to save."""
    model = student.model
    # Only inside the language model: a vision tower may have layers of the same names.
    pattern = rf"{student.language_name.replace('.', '[.]')}[.](.*[.])?({'|'.join(student.lora_targets)})"
    lora = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=cast(int, config.lora_alpha),
        lora_dropout=config.lora_dropout,
        target_modules=pattern if config.lora else DUMMY_TARGET_MODULES,
        modules_to_save=[student.projection_name],
        base_model_name_or_path=base_of(config),
        inference_mode=True,
    )
    of_base = {"base_model_class": type(model).__name__, "parent_library": type(model).__module__}
    lora.save_pretrained(str(folder), auto_mapping_dict=of_base)
    state = {f"base_model.model.{name.replace('.default', '')}": p for name, p in trained_state(model).items()}
    safetensors.torch.save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def write_merged(student: Student, config: TrainConfig, folder: Path) -> None:
    """Write the whole model with tokenizer and processor, in the student's dtype, with LoRA added to the weights. Raise
    as `Run.export` does."""
    merge(student)
    source = STUDENTS.get(config.student, config.student)
    for name in _PROCESSING:
        if found := cached(source, name, local_only=False):
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


@contextmanager
def export_folder(path: Path, about: dict[str, Any]) -> Iterator[Path]:
    """Yield an empty folder to write into; on success it replaces `path`, with `about` in it. Raise FileExistsError if
    `path` exists and is neither an empty folder nor an export."""
    path = Path(os.path.abspath(path.expanduser()))
    _check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as temporary:
        folder = Path(temporary) / path.name
        folder.mkdir()
        yield folder
        write_json(folder / MARK, about | {"files": sorted(_files(folder))})
        _check_replaceable(path)  # again: writing took a while
        swap_in(folder, path)


def _files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir()}


def _check_replaceable(path: Path) -> None:
    foreign: set[str] = set()
    if path.is_symlink() or path.is_file():
        foreign = {path.name}
    elif path.exists():
        foreign = _files(path)
        with suppress(OSError, ValueError, KeyError, TypeError):  # no export, or a damaged one
            foreign -= {MARK, *json.loads((path / MARK).read_text(encoding="utf-8"))["files"]}
    if foreign:
        raise FileExistsError(
            f"{path}: {min(foreign)} is not part of an export. Choose another folder, or move it away."
        )


def card(config: TrainConfig, student: Student, sample: Sample, facts: dict[str, Any], merged: bool) -> str:
    """Return README.md of an export: what it is, how to load and prompt it (`sample` is the example), training data,
    accuracy, licence. facts: the run's meta and metrics, and "run": its name."""
    base, kind = base_of(config), type(student.model).__name__
    on_hub = "/" in base and not Path(base).exists()
    what = f"A complete `{kind}` with tokenizer and processor, weights in {student.dtype}"
    load = f'model = {kind}.from_pretrained("THIS FOLDER")'
    if not merged:
        what = "An adapter of `peft` (LoRA in the language model, and the whole connector)"
        place = base if on_hub else f"FOLDER OF {base}"
        load = f'import peft\n\nbase = {kind}.from_pretrained("{place}")\n'
        load += 'model = peft.PeftModel.from_pretrained(base, "THIS FOLDER")'
    taught = terms = ""
    if config.reasoning != "none":
        taught = f", {facts['with_reasoning']} of them with {config.reasoning} texts of {config.generator}"
        terms = f", and of {config.generator}, whose terms may forbid training on its texts"
    accuracy = "unknown (no labels)" if facts["accuracy"] is None else f"{facts['accuracy']:.1f} %"
    (ids,) = student.source_ids([source_text(sample, config.answer_format)], config.max_source_tokens)
    start, other_start = student.tokenizer.convert_ids_to_tokens([student.answer_start, student.reasoning_start])
    return f"""\
---
library_name: {"transformers" if merged else "peft"}
pipeline_tag: image-text-to-text
tags: [video-question-answering, reasvqa]
{f"base_model: {base}" if on_hub else "# base_model: none on the hub"}
---

# {config.label}

{what}, fine-tuned from {base} with reasvqa (run `{facts["run"]}`, {facts["finished"]}, {facts["device"]}).

```python
from transformers import {kind}
{load}
```

- Input: {0 if config.blind else config.num_frames} frames, the middles of equal parts of the clip, joined with the text by reasvqa's
  `{type(student).__name__}`. For the question {sample.question!r} the text is

{textwrap.indent(student.tokenizer.decode(ids), "      ")}

- Output: the answer follows the token `{start}`, the reasoning follows `{other_start}`; reasvqa's `score_options` ranks the options.
- Training: {facts["train_examples"]} questions of {config.dataset}'s training split{taught}. `{MARK}` holds all settings.
- Accuracy: {accuracy} on {facts["questions"]} questions of the split `{config.split}`. Other prompts may give other answers.
- Licence: none is chosen yet. Check the licences of {base}, of the annotations and videos of {config.dataset} (which may forbid
  commercial use){terms}. Then add `license:` to the head of this page, or do not publish it.
"""  # noqa: E501
