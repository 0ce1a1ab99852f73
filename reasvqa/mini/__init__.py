"""The miniature, a plug-in of the method. Importing it registers its data sets, students and presets."""

from pathlib import Path

from reasvqa import paths
from reasvqa.config import PRESETS
from reasvqa.datasets import nextqa, star
from reasvqa.registry import DATASETS, STUDENTS, Dataset

SHIPPED = paths.SHIPPED / "mini"

# Chosen on validation splits; notebooks/90_pretrain_mini.ipynb keeps the record.
_mini = {"student": "mini-blip2", "generator": "sim-26b", "answer_format": "choice", "questions": 240, "split": "test"}
_mini |= {"learning_rate": 1e-3, "lora_rank": 16, "lora_alpha": 32, "max_source_tokens": 256, "precision": "fp32"}
PRESETS["mini"] = PRESETS["paper"] | _mini
PRESETS["smoke"] = PRESETS["mini"] | {"epochs": 1, "lora_rank": 4, "lora_alpha": 8}


def _make(name: str, root: Path, split: str) -> None:
    from reasvqa.mini.build import build  # slow to import, and seldom needed

    build(name, root, split)


for _name, _read in {"star": star.load, "nextqa": nextqa.load, "intentqa": nextqa.load_intentqa}.items():
    for _preset in ("mini", "smoke"):
        for _look in ("", "-clear", "-dusk", "-night"):  # see `reasvqa.mini.render.LOOKS`; the first is indoors
            DATASETS[f"{_preset}-{_name}{_look}"] = Dataset(_read, preset=_preset, make=_make)
for _name in ("mini-blip2", "mini-blip2-b", "mini-llava-ov-small", "mini-llava-ov"):
    STUDENTS[_name] = str(SHIPPED / _name)
