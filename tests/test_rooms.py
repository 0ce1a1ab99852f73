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


def test_imports_point_downwards():
    assert {room(module) for module in MODULES} <= {"", *FLOOR}, "a new room: say where it stands in FLOORS"
    imports = {(module, other) for module in MODULES for other in imported(module)}
    assert not {other for _, other in imports} - set(MODULES), "what is imported is not there"
    across = {(module, other) for module, other in imports if room(other) != room(module) and module != "reasvqa"}
    assert not {(module, other) for module, other in across if FLOOR[room(other)] >= FLOOR[room(module)]}


# The command line is a face of the whole house, and may name any room.
NO_METHOD = {"", "__main__", *BUILD_ON_THE_METHOD}
METHOD = [module for module in MODULES if room(module) not in NO_METHOD]


def texts_in(node: ast.AST) -> set[str]:
    constants = {inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant)}
    return {value for value in constants if isinstance(value, str)}


def test_the_method_reaches_what_builds_on_it_through_the_registry():
    """It neither imports those packages nor names them in a string; `reasvqa.PLUG_INS` lists the ones to import."""
    for module in METHOD:
        named = imported(module) | {text for text in texts_in(tree(module)) if text.startswith("reasvqa.")}
        assert not {name for name in named if room(name) in BUILD_ON_THE_METHOD}, module


def test_the_method_does_not_branch_on_a_scale():
    """Presets are rows of a table. (Only `paths` names the folders of scales.)"""
    names = {"mini", "smoke", "preview", "small", "paper"}
    for module in METHOD:
        compared = [texts_in(node) for node in ast.walk(tree(module)) if isinstance(node, ast.Compare)]
        assert module == "reasvqa.paths" or not names & set().union(*compared), module


@pytest.mark.slow
def test_a_miniature_is_known_without_a_further_import():
    code = "from reasvqa.datasets import DATASETS\n"
    code += "for name in ('mini-star', 'smoke-nextqa'): print(DATASETS[name].preset, DATASETS[name].make is not None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["mini", "True", "smoke", "True"], done.stderr


def test_equation_2_stands_once():
    """alpha = 1 - beta, and the weighted sum: in `losses`."""
    places = []
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
                names = {ast.unparse(side) for side in (node.left, node.right)}
                if any(name.split(".")[-1] == "beta" for name in names):
                    places.append(module)
    assert places == ["reasvqa.losses"]


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
