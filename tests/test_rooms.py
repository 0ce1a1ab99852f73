"""The house: imports point downwards, without circles; the method knows nothing of what builds on it."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import reasvqa

PACKAGE = Path(reasvqa.__file__).parent
# From the ground up; rooms of one floor do not know each other.
FLOORS = (
    ("registry", "validation", "files", "hub", "processes", "losses", "preprocess"),
    ("config", "paths", "samples"),
    ("text",),
    ("languages",),
    ("phrases",),
    ("answers", "evaluation", "video"),
    ("refinement", "datasets"),
    ("generation", "students"),
    ("learning",),
    ("mini", "lavis"),
    ("companion",),
    ("__main__",),
)
BUILD_ON_THE_METHOD = {"mini", "lavis", "companion"}
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def room(module: str) -> str:
    """ "reasvqa.learning.runs" -> "learning"; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def imported(module: str) -> set[str]:
    """The library's modules that a module imports, wherever in its code."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in inner}
    return {name for name in found if name.split(".")[0] == "reasvqa"} - {"reasvqa", module}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module):
    assert room(module) in {"", *FLOOR}, "a new room: say where it stands in FLOORS"
    for other in imported(module):
        assert other in MODULES, f"{module} imports {other}, which is not there"
        if room(other) != room(module):
            assert module == "reasvqa" or FLOOR[room(other)] < FLOOR[room(module)], f"{module} imports {other}"


# The command line is a face of the whole house, and may name any room.
NO_METHOD = {"", "__main__", *BUILD_ON_THE_METHOD}
METHOD = [module for module in MODULES if room(module) not in NO_METHOD]


@pytest.mark.parametrize("module", METHOD)
def test_the_method_reaches_what_builds_on_it_through_the_registry(module):
    """It neither imports those packages nor names them in a string; `reasvqa.PLUG_INS` lists the ones to import."""
    texts = [node.value for node in ast.walk(tree(module)) if isinstance(node, ast.Constant)]
    named = imported(module) | {text for text in texts if isinstance(text, str) and text.startswith("reasvqa.")}
    assert not {name for name in named if room(name) in BUILD_ON_THE_METHOD}


@pytest.mark.parametrize("module", [module for module in METHOD if module != "reasvqa.paths"])
def test_the_method_does_not_branch_on_a_scale(module):
    """Presets are rows of a table. (Only `paths` names the folders of scales.)"""
    names = {"mini", "smoke", "preview", "small", "paper"}
    compared = [
        side
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Compare)
        for side in ast.walk(node)
        if isinstance(side, ast.Constant)
    ]
    assert not names & {side.value for side in compared if isinstance(side.value, str)}


@pytest.mark.parametrize("name", ["mini-star", "smoke-nextqa"])
def test_a_miniature_is_known_without_a_further_import(name):
    code = (
        f"from reasvqa.datasets import DATASETS; print(DATASETS[{name!r}].preset, DATASETS[{name!r}].make is not None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == f"{name.split('-')[0]} True\n", done.stderr


def test_equation_2_stands_once():
    """alpha = 1 - beta, and the weighted sum: in `losses` (the sum) and `config` (what a run reports)."""
    places = []
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
                names = {ast.unparse(side) for side in (node.left, node.right)}
                if any(name.split(".")[-1] == "beta" for name in names):
                    places.append(module)
    assert places == ["reasvqa.losses"]


def test_the_phases_use_each_others_front_doors():
    """What one phase imports of another is public, and not its loop's inside."""
    private = {
        f"{module} imports {node.module}.{alias.name}"
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("reasvqa")
        for alias in node.names
        if alias.name.startswith("_") and room(str(node.module)) != room(module)
    }
    assert not private


def test_only_torch_is_needed_for_the_losses():
    """LAVIS's environment has other versions of everything else."""
    assert imported("reasvqa.losses") == set()
    assert {room(other) for other in imported("reasvqa.lavis.model")} <= {
        "losses",
        "preprocess",
        "video",
        "lavis",
        "paths",
    }
