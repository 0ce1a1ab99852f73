"""The stamps of executed notebooks, which tell when they are out of date."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from reasvqa import paths
from reasvqa.companion.experiments import EXPERIMENTS, all_settings
from reasvqa.datasets import DATASETS
from reasvqa.learning import TrainConfig, run_key

COMMANDS = ("reproduce", "check", "benchmark", "book")  # modules that no table depends on
LEDGER = EXPERIMENTS["controls"].notebook  # whose verdicts the other notebooks repeat


def stale(
    notebooks: Sequence[str], scale: str, seeds: Sequence[int], keys: Mapping[TrainConfig, str] | None = None
) -> list[str]:
    """Return those of these notebooks whose executed copy is missing or out of date.

    keys: run keys that are known already; the others are computed.
    """
    stamps = {name: paths.reproduced(scale) / f"{name}.stamp" for name in notebooks}
    return [
        name
        for name, stamp in stamps.items()
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != stamp_of(name, scale, seeds, keys or {})
    ]


def stamp_of(notebook: str, scale: str, seeds: Sequence[int], keys: Mapping[TrainConfig, str] | None = None) -> str:
    """Hash what can change a notebook's output: its code, parameters and run keys, the ledger whose verdicts it
    repeats, what ships, and the companion's modules but for the commands."""
    cells = json.loads((paths.notebooks() / f"{notebook}.ipynb").read_bytes())["cells"]
    code = ast.parse("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    digest = hashlib.sha256(ast.dump(code).encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        if module.stem not in COMMANDS:
            digest.update(_code_without_comments(module).encode())
    shipped = [*paths.PAPER_NUMBERS.rglob("*"), *(paths.SHIPPED / "mini").rglob("*.csv")]
    verdicts = [paths.figures(scale) / "claims.csv"] if notebook != LEDGER else []  # the ledger's notebook writes them
    for file in sorted(filter(Path.is_file, shipped + verdicts)):
        digest.update(file.read_bytes())
    names = [name for name, what in EXPERIMENTS.items() if what.notebook == notebook]
    used = [(keys or {}).get(config) or _key(config) for config in all_settings(scale, seeds, names)]
    return hashlib.sha256(json.dumps([digest.hexdigest(), scale, list(seeds), used]).encode()).hexdigest()


@cache
def _code_without_comments(file: Path) -> str:
    """Return a module's syntax tree as text: comments, docstrings and layout do not count."""
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            node.body = node.body[1:]
    return ast.dump(tree)


def _key(config: TrainConfig) -> str | None:
    with suppress(ValueError):
        return run_key(config) if has_data(config.dataset) else None


def has_data(dataset: str) -> bool:
    folder = paths.dataset(dataset)
    if DATASETS[dataset].make:
        return (folder / "complete.json").exists()
    return any(folder.glob("*.csv")) or any(folder.glob("*.json"))
