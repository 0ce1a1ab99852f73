"""The book: notebooks with their stored results as a website, and the command that stores the results.

    reasvqa book                            build the site from the stored outputs
    reasvqa book --execute 04_train_mtl     execute notebooks in place, at mini scale; without a name, the stale ones
    reasvqa book --stale                    list notebooks whose stored outputs are out of date

Building executes and downloads nothing. notebooks/conf.py configures the site.
"""

import argparse
import base64
import hashlib
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from PIL import Image

from reasvqa import paths
from reasvqa.companion.experiments import EXPERIMENTS

_BAR = re.compile(r"\d+%\|.*\||\d+(\.\d+)?\s?\w+/s\]|\[\d\d:\d\d[<,?]")  # of tqdm
_WARNING = re.compile(r"^\S+:\d+: (\w+Warning: .*)\n(?:  .*(?:\n|$))?", re.MULTILINE)
_STYLED = re.compile(r"\bT_[0-9a-f]{5}(?![0-9a-f])")  # pandas names each styled table at random
_EMBEDDED = re.compile(r"(?<=data:image/png;base64,)[A-Za-z0-9+/=]+")


def execute(path: Path) -> None:
    """Execute a notebook and store its cleaned outputs and a stamp (see `is_stale`) in it; its cells stay as they are.

    Raises:
        PapermillExecutionError: a cell failed. The notebook is unchanged.
    """
    import papermill

    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as folder:
        out = papermill.execute_notebook(path, Path(folder) / "out.ipynb", cwd=paths.CHECKOUT)
    for count, (cell, done) in enumerate(zip(_code(notebook), _code(out), strict=True), 1):
        cell.outputs, cell.execution_count = [o for o in done.outputs if _clean(o, count)], count
    notebook.metadata["reasvqa"] = {"stamp": stamp(notebook)}
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def is_stale(notebook: NotebookNode) -> bool:
    """Tell whether a notebook has no stored outputs, or its cells or the shipped data have changed since."""
    return notebook.metadata.get("reasvqa") != {"stamp": stamp(notebook)}


def stamp(notebook: NotebookNode) -> str:
    """Return a hash of a notebook's code and of the shipped data."""
    shipped = sorted(path for kind in ("paper", "mini") for path in (paths.SHIPPED / kind).glob("*.csv"))
    texts = [cell.source for cell in _code(notebook)] + [path.read_text(encoding="utf-8") for path in shipped]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _clean(output: NotebookNode, count: int) -> bool:
    """Remove progress bars, live widgets and places on this machine from an output; return whether anything is left."""
    if output.output_type == "stream":
        lines = (line.rstrip("\r").split("\r")[-1] for line in output.text.split("\n"))
        text = "\n".join(line for line in lines if not _BAR.search(line))
        output.text = _without_places(_WARNING.sub(r"\1\n", f"{text}\n").strip("\n"))
        return bool(output.text)
    widget = output.data.pop("application/vnd.jupyter.widget-view+json", None)
    for kind, value in output.data.items():
        if kind == "image/png":
            output.data[kind] = _small(value)
        elif kind.startswith("text/"):
            value = _EMBEDDED.sub(lambda found: _small(found[0]), _without_places(value))
            value = re.sub(r" at 0x[0-9a-f]+>", ">", value)
            content = _STYLED.sub("", value)
            for i, name in enumerate(dict.fromkeys(_STYLED.findall(value))):
                value = value.replace(name, f"T_{hashlib.sha256(f'{i}{content}'.encode()).hexdigest()[:5]}")
            output.data[kind] = value
    if "execution_count" in output:
        output.execution_count = count
    return widget is None or not output.data.keys() <= {"text/plain"}  # a widget may come with HTML for readers


def _without_places(text: str) -> str:
    places = {paths.data(): "data", paths.notebooks().parent: ".", Path(sys.prefix): "python", Path.home(): "~"}
    for place, name in places.items():
        text = text.replace(str(place), name) if len(place.parts) > 1 else text
    return text


def _small(png: str) -> str:
    """Return a PNG (base64) reduced to 256 colours, if that makes it smaller."""
    data = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.convert("RGBA").quantize(256, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
    return min(base64.b64encode(data.getvalue()).decode(), png.strip(), key=len)


def build(root: Path, output: Path) -> Path:
    """Build the site of a checkout from its README and notebooks into a folder of its own; return its front page. Raise
    ValueError if the folder holds something else than a book, or Sphinx warned about a page (printed)."""
    from sphinx.application import Sphinx

    if output.exists() and any(output.iterdir()) and not (output / "searchindex.js").is_file():
        raise ValueError(f"{output} holds something else than a book: choose another folder with --output")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        site = Path(folder, "site")
        app = Sphinx(root, paths.notebooks(), site, f"{folder}/trees", "html", status=None, warningiserror=True)
        app.build()
        if app.statuscode:
            raise ValueError("the book was not built: Sphinx warned about the pages above")
        shutil.copy(site / "README.html", site / "index.html")
        shutil.rmtree(output, ignore_errors=True)
        site.rename(output)
    return output / "index.html"


def main(arguments: Sequence[str] | None = None) -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("reasvqa book", description=__doc__, formatter_class=formatter)
    parser.add_argument("--output", type=Path, default=paths.book(), help="folder of the site (default: %(default)s)")
    parser.add_argument("--execute", nargs="*", metavar="NAME", help="execute notebooks (default: the stale ones)")
    parser.add_argument("--stale", action="store_true", help="list stale notebooks; exit status 1 if there are any")
    given = parser.parse_args(arguments)
    found = {path.stem: path for path in sorted(paths.notebooks().glob("*.ipynb"))}
    if unknown := sorted(set(given.execute or ()) - set(found)):
        parser.error(f"no notebook {', '.join(unknown)}; choose from {', '.join(found)}")
    if given.execute is None and not given.stale:
        try:
            print(build(paths.notebooks().parent, given.output.resolve()))
        except ValueError as error:
            parser.exit(1, f"{error}\n")
        return 0
    names = given.execute or [name for name, path in found.items() if is_stale(nbformat.read(path, 4))]
    if given.stale:
        print(*names, sep="\n")
        return int(bool(names))
    names.sort(key=lambda name: name != EXPERIMENTS["controls"].notebook)  # the others repeat the ledger's verdicts
    for name in names:
        print(f"executing {name}", flush=True)
        execute(found[name])
    return 0
